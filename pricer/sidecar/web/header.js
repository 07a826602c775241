// The header: what is chosen, the prices that all pages share, the connection, and the form for a token.
import { addressOf } from "./router.js";
import { age, fixed, percent, signed, time, NOTHING } from "./format.js";
import { h, setData, setText, setTitle } from "./dom.js";
import { token } from "./api.js";
import { told } from "./status.js";

const TITLE_MS = 1000;
const $ = (id) => document.getElementById(id);

export class Header {
  #app;
  #entitled = -TITLE_MS;
  #begun = null; // { underlying, value, at }: the index as it first was
  #links = [...document.querySelectorAll("#pages a")];

  constructor(app) {
    this.#app = app;
    $("theme").addEventListener("click", () => app.theme.toggle());
    $("help").addEventListener("click", () => app.help.open());
    $("token").addEventListener("submit", (event) => this.#authorize(event));
  }

  // What can be chosen, from /v1/underlyings.
  offer(underlyings) {
    const select = $("underlying");
    select.replaceChildren(...underlyings.map(({ venue, underlying }, i) =>
      h("option", { value: i }, underlyings.length > 1 || underlying.length > 12 ? `${underlying} · ${venue}` : underlying)));
    setTitle(select, underlyings[0]?.venue ?? "");
    select.onchange = () => {
      const { venue, underlying } = underlyings[Number(select.value)];
      setTitle(select, venue);
      this.#app.choose({ venue, underlying });
    };
  }

  here(name) {
    for (const link of this.#links) {
      if (link.dataset.page === name) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
  }

  // The n-th page of the navigation.
  go(n) {
    const link = this.#links.filter(({ hidden }) => !hidden)[n - 1];
    if (link) location.hash = addressOf(link.dataset.page);
  }

  update() {
    const { market, choice } = this.#app;
    const expiry = market.expiry(choice.expiry);
    this.#price("index", market.index, (price) => fixed(price.value, 2));
    this.#price("forward", expiry?.forward, (price) => fixed(price.value, 2));
    this.#price("perpetual", market.perpetual, ({ bid, ask, value }) =>
      bid === null || ask === null ? fixed(value, 1) : `${fixed(bid, 1)} / ${fixed(ask, 1)}`);
    const ofSmile = (value) => expiry && { ...(expiry.surface ?? expiry.forward), value };
    this.#price("atm", ofSmile(expiry?.atm_iv), ({ value }) => `${percent(value)} %`);
    this.#price("rr25", ofSmile(expiry?.rr25), ({ value }) => signed(100 * value, 2));
    this.#price("bf25", ofSmile(expiry?.bf25), ({ value }) => signed(100 * value, 2));
    this.#change(market.index.value, choice.underlying);
    this.#entitle(market.index.value, choice.underlying);
  }

  // How far the index has come since this page first knew it.
  #change(value, underlying) {
    if (value === null) return setText($("moved"), "");
    if (this.#begun?.underlying !== underlying) this.#begun = { underlying, value, at: Date.now() * 1e6 };
    const moved = 100 * (value / this.#begun.value - 1);
    setText($("moved"), `${signed(moved, 2)} %`);
    setData($("moved"), "way", Number(moved.toFixed(2)) === 0 ? "" : moved > 0 ? "up" : "down");
    setTitle($("moved"), `since ${time(this.#begun.at)} UTC, when this page was opened`);
  }

  // The tab's title tells the price, once a second: each one is a message to the browser's own process.
  #entitle(index, underlying) {
    const now = performance.now();
    if (now - this.#entitled < TITLE_MS) return;
    this.#entitled = now;
    const title = index === null ? "volstream" : `${fixed(index, 0)} ${underlying} · volstream`;
    if (document.title !== title) document.title = title;
  }

  #price(id, price, text) {
    const box = $(id);
    const { market } = this.#app;
    const state = price ? market.state(price) : { status: "INVALID", reasons: [] };
    setData(box, "status", state.status);
    setText(box.lastElementChild, price && price.value !== null ? text(price) : NOTHING);
    setTitle(box, price ? `${told(state)} · ${price.source ?? price.model ?? ""} · ${age(market.age(price))} old` : "");
  }

  askForToken() {
    setText($("why"), token.get() ? "The sidecar does not accept this token." : "This sidecar asks for a token.");
    if (!$("unlock").open) $("unlock").showModal();
  }

  #authorize(event) {
    event.preventDefault();
    token.set($("secret").value.trim());
    $("secret").value = "";
    $("unlock").close();
    this.#app.authorized();
  }
}
