// One option: its numbers live, its book and trades, the last hour, and how the numbers came about. Each part stands by
// itself: where the sidecar does not offer its source, it says so and the others go on.
import { Book } from "../instrument/book.js";
import { Explanation } from "../instrument/explanation.js";
import { Figures, NEEDED } from "../instrument/figures.js";
import { Series } from "../instrument/series.js";
import { Trades } from "../instrument/trades.js";
import { View } from "../chain/view.js";
import { SYMBOLS, told } from "../status.js";
import { h, setText, setTitle } from "../dom.js";
import { rangeOf } from "../chain/ladder.js";

const PACE_MS = 250; // of one expiry's stream, of which one row is shown
const RETRY_MS = 3000;

export function page(context) {
  return new InstrumentPage(context);
}

class InstrumentPage {
  help = [["Backspace", "back to the chain"]];
  #context;
  #name = h("h1");
  #about = h("span", { className: "soft" });
  #badge = h("span", { className: "badge", hidden: true });
  #figures;
  #parts;
  #option = null; // { venue, underlying, name, expiry, digits }
  #stream = null;
  #row = null;
  #looking = null;

  constructor(context) {
    this.#context = context;
    this.#figures = new Figures(context.format);
    this.book = new Book(context);
    this.trades = new Trades(context);
    this.#parts = [this.book, this.trades, new Series(context), new Explanation(context)];
    const back = h("a", { className: "back", href: "#/chain" }, "← Chain");
    const title = h("div", { className: "title" }, back, this.#name, this.#badge, this.#about);
    const elements = [this.#figures, ...this.#parts].flatMap((part) => part.elements);
    this.element = h("div", { className: "panels option", "aria-label": "Instrument" }, title, ...elements);
  }

  show({ argument: name }) {
    setText(this.#name, name || "No option is chosen");
    setText(this.#about, "");
    this.#badge.hidden = true;
    this.#figures.say(name ? "Waiting for the numbers …" : "Choose one in the chain.");
    for (const { elements } of this.#parts) for (const element of elements) element.hidden = true;
    if (name) this.#find(name);
  }

  // What the option is decides what is subscribed to.
  async #find(name) {
    const looking = (this.#looking = new AbortController());
    try {
      const found = await this.#context.get(`/v1/instrument/${encodeURIComponent(name)}`, { signal: looking.signal });
      this.#follow(found);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.name !== "ApiError") throw error;
      this.#figures.say(error.message);
      this.retry = setTimeout(() => this.#find(name), RETRY_MS);
    }
  }

  #follow({ venue, underlying, name, expiry, expiry_ns, strike, cp, tick_size, settlement_currency }) {
    const { date, time, strike: strikeText, decimalsOf } = this.#context.format;
    this.#option = { venue, underlying, name, expiry_ns, digits: decimalsOf(tick_size), inverse: expiry.settlement === "inverse" };
    setText(this.#about, [
      `${cp > 0 ? "Call" : "Put"} ${strikeText(strike)}`,
      `expires ${date(expiry_ns)} ${time(expiry_ns).slice(0, 5)} UTC`,
      `${venue}, settled in ${settlement_currency}`,
    ].join(" · "));
    for (const { elements } of this.#parts) for (const element of elements) element.hidden = false;
    const request = {
      ...{ channel: "chain", venue, underlying, columns: [...NEEDED, "vega_coin"] },
      ...{ expiries: [this.#context.format.day(expiry_ns)], interval_ms: PACE_MS },
    };
    this.#stream = this.#context.client.subscribe(request, {
      changed: (rows) => {
        if (rows === null) this.#row = null;
        this.#context.heard(this.#stream.table);
        this.#context.draw();
      },
      refused: (error) => this.#figures.say(`The sidecar refuses: ${error.message}`),
    });
    for (const part of this.#parts) part.show(this.#option);
  }

  hide() {
    this.#looking?.abort();
    clearTimeout(this.retry);
    this.#stream?.close();
    if (this.#option) for (const part of this.#parts) part.hide();
    this.#stream = this.#option = this.#row = null;
  }

  key(event) {
    if (event.key !== "Backspace") return false;
    this.#context.navigate("chain");
    return true;
  }

  update() {
    if (!this.#option) return;
    const vega = this.#numbers();
    this.book.update(vega, this.#option.digits);
    this.trades.update(this.#option.digits);
  }

  // The live row; gives the vega of one contract per point, in the unit of the book's prices, or null.
  #numbers() {
    const table = this.#stream?.table;
    if (!table?.head.expiries) return null;
    const { name, expiry_ns } = this.#option;
    this.#row ??= table.columns.name.indexOf(name);
    const expiry = table.head.expiries.find((each) => each.expiry_ns === expiry_ns);
    if (this.#row < 0 || !expiry || !rangeOf(table.head.expiries, expiry_ns)) {
      this.#figures.say("This option is not in the chain any more.");
      return null;
    }
    const view = new View(table, expiry);
    const state = view.model(this.#row);
    this.#figures.update(view, this.#row);
    this.#badge.hidden = false;
    this.#badge.className = `badge is-${state.status}`;
    setText(this.#badge, `${SYMBOLS[state.status]} ${state.status}`);
    setTitle(this.#badge, told(state));
    const vega = table.columns[this.#option.inverse ? "vega_coin" : "vega"][this.#row];
    return vega === null ? null : vega / 100;
  }
}
