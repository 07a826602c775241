// The live chain: one stream, one table, and a clock of its own that lets numbers turn stale without any message.
import { age, date, fixed, left, NOTHING, percent, significant, strike } from "/web/format.js";
import { COLUMNS, Model, STATUSES, SYMBOLS, atTheMoney } from "/web/model.js";
import { Stream } from "/web/stream.js";
import { Table } from "/web/table.js";

const AGE_MS = 250; // how often ages and limits are looked at without a message
const WEEK = 7 * 86_400_000;
const $ = (id) => document.getElementById(id);

const state = { stream: null, expiry: null, built: null, centered: null, picked: null, due: false, flash: false };
const table = new Table($("chain"), (row) => {
  state.picked = row;
  draw();
});

const listener = {
  changed(rows) {
    if (rows === null) state.built = null;
    state.flash = rows !== null;
    draw();
  },
  connection(kind, text) {
    document.body.dataset.connection = kind;
    $("connection").textContent = text;
    draw();
  },
  refused(text) {
    say(`The sidecar refuses: ${text}`);
  },
};

// At most one update a frame, however many messages come.
function draw() {
  if (state.due) return;
  state.due = true;
  requestAnimationFrame(() => {
    state.due = false;
    render();
  });
}

function render() {
  const chain = state.stream?.chain;
  if (!chain) return;
  if (!chain.expiries.length) return say("No options are known yet.");
  say("");
  const model = new Model(chain, state.stream.clock);
  const ranges = Model.ranges(chain);
  const at = position(chain);
  const expiry = chain.expiries[at];
  if (state.built !== chain.columns || state.shown !== expiry.expiry_ns) {
    table.build(chain.columns, ranges[at]);
    state.built = chain.columns;
    state.shown = expiry.expiry_ns;
  }
  const forward = expiry.forward.value;
  const atm = atTheMoney(table.rungs, forward);
  table.update(model, expiry, forward, atm, state.flash);
  state.flash = false;
  if (state.centered !== expiry.expiry_ns && atm >= 0) {
    table.center(atm);
    state.centered = expiry.expiry_ns;
  }
  tabs(chain, at, model);
  heading(chain, expiry, model, atm);
  counts(model.counts(ranges[at], expiry));
  detail(model, chain, expiry, ranges[at]);
}

// The chosen expiry, or the first that is at least a week away.
function position(chain) {
  const chosen = chain.expiries.findIndex(({ expiry_ns }) => expiry_ns === state.expiry);
  if (chosen >= 0) return chosen;
  const later = chain.expiries.findIndex(({ expiry_ns }) => expiry_ns / 1e6 - Date.now() > WEEK);
  const at = later >= 0 ? later : chain.expiries.length - 1;
  state.expiry = chain.expiries[at].expiry_ns;
  return at;
}

function tabs(chain, at, model) {
  const nav = $("expiries");
  if (nav.children.length !== chain.expiries.length) {
    nav.replaceChildren(...chain.expiries.map(() => {
      const tab = document.createElement("button");
      tab.role = "tab";
      tab.append(document.createElement("b"), document.createElement("span"));
      return tab;
    }));
  }
  chain.expiries.forEach((expiry, i) => {
    const tab = nav.children[i];
    const ms = expiry.expiry_ns / 1e6 - Date.now();
    tab.firstChild.textContent = date(expiry.expiry_ns);
    tab.lastChild.textContent = left(ms);
    tab.dataset.status = model.price(expiry.forward).status;
    tab.onclick = () => choose(expiry.expiry_ns);
    const selected = String(i === at);
    if (tab.ariaSelected !== selected) {
      tab.ariaSelected = selected;
      if (i === at) nav.scrollTo({ left: tab.offsetLeft - nav.clientWidth / 2 + tab.clientWidth / 2 });
    }
  });
}

function choose(expiry) {
  state.expiry = expiry;
  state.picked = null;
  draw();
}

function heading(chain, expiry, model, atm) {
  price("index", chain.index, model, fixed(chain.index.value, 2));
  price("forward", expiry.forward, model, fixed(expiry.forward.value, 2), expiry.forward.source);
  const { bid, ask } = chain.perpetual;
  const shown = bid === null && ask === null ? NOTHING : `${fixed(bid, 1)} / ${fixed(ask, 1)}`;
  price("perpetual", chain.perpetual, model, shown);
  const rung = table.rungs[atm];
  const row = rung && (rung.call ?? rung.put);
  const iv = row === undefined || row === null ? null : chain.columns.iv[row];
  $("atm").lastElementChild.textContent = iv === null ? NOTHING : `${percent(iv)} %`;
  $("atm").dataset.status = row === undefined || row === null ? "INVALID" : model.row(row, expiry).status;
  document.title = `${fixed(chain.index.value, 0)} ${chain.underlying} · volstream`;
}

function price(id, value, model, text, source) {
  const { status, reasons } = model.price(value);
  const box = $(id);
  const old = value.age_ns === null ? null : model.now - (model.chain.mono_ns - value.age_ns) / 1e6;
  box.dataset.status = status;
  box.lastElementChild.textContent = text;
  box.title = [status, ...reasons, source ?? value.source, `${age(old)} old`].join(" · ");
}

function counts(found) {
  const list = $("counts");
  if (!list.children.length) {
    list.replaceChildren(...STATUSES.map((status) => {
      const item = document.createElement("li");
      item.className = `is-${status}`;
      item.title = status;
      return item;
    }));
  }
  STATUSES.forEach((status, i) => {
    list.children[i].textContent = `${SYMBOLS[status]} ${found[status]}`;
    list.children[i].hidden = !found[status];
  });
}

function detail(model, chain, expiry, [first, end]) {
  const row = state.picked;
  if (row === null || row < first || row >= end) {
    const feeds = chain.feeds.map((feed) => `${feed.venue} ${feed.state}${feed.reason ? ` (${feed.reason})` : ""}`);
    $("detail").textContent = [...feeds, `${chain.columns.name.length} options`, `version ${chain.version}`].join(" · ");
    return;
  }
  const columns = chain.columns;
  const { status, reasons } = model.row(row, expiry);
  const forwardAge = model.now - (chain.mono_ns - expiry.forward.age_ns) / 1e6;
  $("detail").textContent = [
    columns.name[row],
    `${SYMBOLS[status]} ${status}${reasons.length ? ` (${reasons.join(", ")})` : ""}`,
    `quote ${age(model.quoteAge(row))}, forward ${age(forwardAge)} old`,
    `Δ ${fixed(columns.delta[row], 4)}, Γ ${significant(columns.gamma[row], 3)}, vega ${significant(columns.vega[row], 5)}, K ${strike(columns.strike[row])}`,
  ].join(" · ");
}

function say(text) {
  $("empty").textContent = text;
  $("empty").hidden = !text;
}

function follow(venue, underlying) {
  state.stream?.close();
  Object.assign(state, { expiry: null, built: null, centered: null, picked: null });
  state.stream = new Stream({ venue, underlying, columns: COLUMNS }, listener);
}

// The list of underlyings may not be had at once when the sidecar is just starting.
async function begin() {
  for (let pause = 300; ; pause = Math.min(pause * 2, 5000)) {
    try {
      const answer = await fetch("/v1/underlyings");
      const { underlyings } = await answer.json();
      return offer(underlyings);
    } catch {
      listener.connection("lost", "no connection");
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

function offer(underlyings) {
  const select = $("underlying");
  select.replaceChildren(...underlyings.map(({ venue, underlying }, i) => {
    const option = document.createElement("option");
    option.value = String(i);
    option.textContent = `${underlying} · ${venue}`;
    return option;
  }));
  const chosen = () => underlyings[Number(select.value)];
  select.onchange = () => follow(chosen().venue, chosen().underlying);
  follow(chosen().venue, chosen().underlying);
}

setInterval(draw, AGE_MS);
begin();
