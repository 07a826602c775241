// Alerts as the channel `alerts` tells them: a row each, for as long as it is raised. The shell shows those that begin as
// notes in the corner and counts those that last; a sidecar without the channel has neither the notes nor the page.
import { aged } from "./status.js";
import { h, setText } from "./dom.js";
import { NOTHING, fixed, significant } from "./format.js";

const SHOWN_MS = 12_000; // a note
const MOST = 4; // notes at a time; the page has them all
const LIMIT = /^([<>]=?) (\S+)$/;
// What a metric is told in: a volatility and a share in percent, an age in seconds, the rest as it is.
const PERCENT = /(^|_)iv\b|iv_error|divergence|spread_iv|rr25|bf25|parity_gap|not_ok/;
const AGE = /_age\b/;
const inPercent = { number: (value) => `${fixed(100 * value, 2)} %`, distance: (value) => `${fixed(100 * value, 2)} pt` };
const inSeconds = sameFor((value) => `${fixed(value, 1)} s`);
const plainly = sameFor((value) => significant(value, 6));

export class Alerts {
  offered = false;
  table = null;
  #stream = null;
  #known = null; // the keys of what is raised; null before the first answer, whose alerts are no news
  #corner = document.getElementById("toasts");
  #link = document.querySelector('#pages [data-page="alerts"]');
  #count = this.#link.querySelector(".count");

  follow(client, { venue }, draw) {
    this.#stream?.close();
    this.#known = null;
    const stream = client.subscribe({ channel: "alerts", venue }, {
      changed: () => {
        this.#offer(stream.table);
        this.#news();
        draw();
      },
      refused: () => {
        this.#offer(null);
        draw();
      },
    });
    this.#stream = stream;
  }

  #offer(table) {
    this.offered = table !== null;
    this.table = table;
    this.#link.hidden = !this.offered;
  }

  #news() {
    const raised = alertsOf(this.table);
    const fresh = this.#known ? raised.filter(({ key }) => !this.#known.has(key)) : [];
    for (const rule of new Set(fresh.map((each) => each.rule))) this.#note(fresh.filter((each) => each.rule === rule));
    this.#known = new Set(raised.map(({ key }) => key));
    const all = this.table.head.raised ?? raised.length;
    setText(this.#count, all > 99 ? "99+" : String(all));
    this.#count.hidden = !all;
  }

  // One for all that a rule has raised at once.
  #note([{ rule, subject, text }, ...others]) {
    const about = others.length ? `${subject} and ${others.length} more` : subject;
    const note = h("div", { className: "toast" }, h("b", {}, [rule, about].filter(Boolean).join(" · ")));
    const close = h("button", { type: "button", "aria-label": "Close", onclick: () => note.remove() }, "✕");
    note.append(close, h("span", {}, text));
    this.#corner.append(note);
    while (this.#corner.children.length > MOST) this.#corner.firstChild.remove();
    setTimeout(() => note.remove(), SHOWN_MS);
  }
}

// What is raised now, the newest first. `status` is that of the number; of a sidecar that is not `live` all are STALE.
export function alertsOf({ columns, rows }, live = true) {
  const text = (name, row) => String(columns[name]?.[row] ?? "");
  return Array.from({ length: rows }, (_, row) => {
    const [rule, subject, metric, limit] = ["rule", "subject", "metric", "limit"].map((name) => text(name, row));
    const value = columns.value?.[row] ?? null;
    const since = columns.since_ns?.[row] ?? null;
    const given = [columns.status?.[row] ?? "INVALID", columns.reasons?.[row] ?? []];
    const texts = textsOf(metric, limit, value);
    return {
      ...{ key: [rule, subject, since].join("\n"), rule, subject, metric, since, state: text("state", row), ...texts },
      ...aged(...given, live ? Infinity : null, "RESYNCING", 0),
      text: `${metric} is ${texts.value}, the limit ${texts.bound}`,
    };
  }).sort((a, b) => (b.since ?? 0) - (a.since ?? 0));
}

// A number, its limit and the distance between them as text; `beyond` is null where the limit is not passed any more.
function textsOf(metric, limit, value) {
  const { number, distance } = PERCENT.test(metric) ? inPercent : AGE.test(metric) ? inSeconds : plainly;
  const [, sign, text] = limit.match(LIMIT) ?? [];
  const bound = sign ? Number(text) : NaN;
  const isKnown = value !== null && Number.isFinite(bound);
  const beyond = sign?.startsWith("<") ? bound - value : value - bound;
  return {
    value: value === null ? NOTHING : number(value),
    bound: Number.isFinite(bound) ? `${sign} ${number(bound)}` : limit,
    beyond: !isKnown ? NOTHING : beyond < 0 ? null : distance(beyond),
  };
}

function sameFor(text) {
  return { number: text, distance: text };
}
