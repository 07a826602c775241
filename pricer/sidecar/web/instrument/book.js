// The order book as a ladder: price, amount, and how much vega stands up to there.
import { Panel, why } from "../panel.js";
import { h, setText, setTitle } from "../dom.js";
import { told } from "../status.js";

const SHOWN = 12; // levels a side

export class Book {
  #context;
  #panel = new Panel("Book", { size: "broad" });
  #stream = null;
  #sides = { bid: [], ask: [] };
  #micro = h("dl", { className: "figures" });
  elements = [this.#panel.element];

  constructor(context) {
    this.#context = context;
    const side = (name, titles) => {
      this.#sides[name] = Array.from({ length: SHOWN }, () => level(titles.map(([id]) => id)));
      const heading = h("div", { className: "level heading" }, ...titles.map(([, text]) => h("span", {}, text)));
      return h("div", { className: `${name}s` }, heading, ...this.#sides[name].map(({ element }) => element));
    };
    const titles = [["vega", "Σ vega"], ["amount", "Amount"], ["price", "Bid"]];
    const mirrored = [["price", "Ask"], ["amount", "Amount"], ["vega", "Σ vega"]];
    this.#panel.body.append(this.#micro, h("div", { className: "book" }, side("bid", titles), side("ask", mirrored)));
  }

  show({ venue, underlying, name }) {
    this.#panel.say("Waiting for the book …");
    this.#stream = this.#context.client.subscribe({ channel: "depth", venue, underlying, instrument: name }, {
      changed: () => this.#context.draw(),
      refused: (error) => this.#panel.say(why(error, "order books")),
    });
  }

  hide() {
    this.#stream?.close();
    this.#stream = null;
  }

  // `vega` of one contract in the unit of the book's prices, per volatility point; null where it is not known.
  update(vega, digits) {
    const table = this.#stream?.table;
    if (!table?.rows) return;
    this.#panel.say(table.columns.bid_price.concat(table.columns.ask_price).every((price) => price === null) ? "The book is empty or not known." : "");
    for (const side of ["bid", "ask"]) this.#side(side, table.columns, vega, digits);
    this.#head(table);
  }

  #side(side, columns, vega, digits) {
    const { fixed, significant } = this.#context.format;
    const prices = columns[`${side}_price`];
    const amounts = columns[`${side}_amount`];
    const all = amounts.slice(0, SHOWN).reduce((sum, amount) => sum + (amount ?? 0), 0);
    let sum = 0;
    this.#sides[side].forEach((line, i) => {
      const price = prices[i] ?? null;
      line.element.hidden = price === null;
      if (price === null) return;
      sum += amounts[i] ?? 0;
      setText(line.price, fixed(price, digits));
      setText(line.amount, significant(amounts[i], 5));
      setText(line.vega, significant(vega === null ? null : sum * vega, 3));
      line.bar.style.transform = `scaleX(${all ? sum / all : 0})`;
    });
  }

  #head({ head, clock }) {
    const { significant, fixed, age } = this.#context.format;
    const { book, micro } = head;
    if (book) {
      this.#panel.element.title = told(book);
      const old = book.age_ns === null || !clock ? null : clock.now() - head.mono_ns / 1e6 + book.age_ns / 1e6;
      this.#panel.note(`${book.status}, ${age(old)} old`);
    }
    if (!micro) return;
    const shown = [
      ["Spread", significant(micro.spread, 3)],
      ["Imbalance", fixed(micro.imbalance, 2)],
      ["Microprice", significant(micro.microprice, 5)],
      ["Bid vega, 1 pt", significant(micro.bid_depth_vega, 3)],
      ["Ask vega, 1 pt", significant(micro.ask_depth_vega, 3)],
    ];
    if (!this.#micro.children.length) {
      this.#micro.append(...shown.map(([name]) => h("div", {}, h("dt", {}, name), h("dd"))));
      setTitle(this.#micro, "Depth in vega: within the band of volatility points that the sidecar uses");
    }
    shown.forEach(([, text], i) => setText(this.#micro.children[i].lastChild, text));
  }
}

function level(ids) {
  const bar = h("i");
  const cells = Object.fromEntries(ids.map((id) => [id, h("span", { className: id })]));
  return { ...cells, bar, element: h("div", { className: "level", hidden: true }, bar, ...Object.values(cells)) };
}
