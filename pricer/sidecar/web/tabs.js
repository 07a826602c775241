// The expiries as tabs, each with the time to it. Arrow keys go from one to the next, as in any list of tabs.
import { date, left } from "./format.js";
import { h, setData, setText } from "./dom.js";

export class Tabs {
  #nav;
  #choose;
  #tabs = []; // { button, day, time, expiry }
  #centered = null; // the expiry that was brought to the middle

  constructor(nav, choose) {
    this.#nav = nav;
    this.#choose = choose;
    nav.addEventListener("keydown", (event) => this.#key(event));
  }

  update(market, chosen) {
    const { expiries } = market;
    if (expiries.length !== this.#tabs.length) this.#build(expiries.length);
    const now = Date.now();
    expiries.forEach((expiry, i) => {
      const tab = this.#tabs[i];
      if (tab.expiry !== expiry.expiry_ns) setText(tab.day, date((tab.expiry = expiry.expiry_ns)));
      setText(tab.time, left(expiry.expiry_ns / 1e6 - now));
      setData(tab.button, "status", market.state(expiry.forward).status);
      const selected = String(expiry.expiry_ns === chosen);
      if (tab.button.getAttribute("aria-selected") === selected) return;
      tab.button.setAttribute("aria-selected", selected);
      tab.button.tabIndex = selected === "true" ? 0 : -1;
    });
    // Hidden tabs have no width: they are brought to the middle once they are seen.
    const tab = this.#tabs.find(({ expiry }) => expiry === chosen);
    if (tab && this.#centered !== chosen && this.#nav.clientWidth) {
      this.#center(tab.button);
      this.#centered = chosen;
    }
  }

  #build(count) {
    this.#tabs = Array.from({ length: count }, () => {
      const day = h("b");
      const time = h("span");
      const tab = { day, time, expiry: null };
      tab.button = h("button", { role: "tab", type: "button", "aria-controls": "page", onclick: () => this.#choose(tab.expiry) }, day, time);
      return tab;
    });
    this.#nav.replaceChildren(...this.#tabs.map(({ button }) => button));
  }

  #center(button) {
    this.#nav.scrollTo({ left: button.offsetLeft - this.#nav.clientWidth / 2 + button.clientWidth / 2 });
  }

  #key(event) {
    const at = this.#tabs.findIndex(({ button }) => button === document.activeElement);
    const last = this.#tabs.length - 1;
    const to = { ArrowLeft: Math.max(at - 1, 0), ArrowRight: Math.min(at + 1, last), Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    this.#tabs[to].button.focus();
    this.#choose(this.#tabs[to].expiry);
  }
}
