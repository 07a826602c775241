// One option's numbers: prices and volatilities side by side, and the Greeks with their units.
import { Panel } from "../panel.js";
import { h, setText, setTitle } from "../dom.js";
import { told } from "../status.js";

const per = (by) => (value) => (value === null ? null : value / by);
const GREEKS = [
  ["delta", "Δ", "", (f, v) => f.fixed(v, 4)],
  ["gamma", "Γ", "per 1", (f, v) => f.significant(v, 4)],
  ["vega", "Vega", "per point", (f, v) => f.fixed(per(100)(v), 2)],
  ["theta", "Theta", "per day", (f, v) => f.fixed(per(365)(v), 2)],
  ["rho", "Rho", "per 1.00", (f, v) => f.significant(v, 4)],
  ["vanna", "Vanna", "∂²V/∂F∂σ", (f, v) => f.significant(v, 4)],
  ["volga", "Volga", "∂²V/∂σ²", (f, v) => f.significant(v, 4)],
  ["charm", "Charm", "per day", (f, v) => f.significant(per(365)(v), 3)],
];
const QUOTES = [["Bid", "bid", "bid_iv", "bid"], ["Ask", "ask", "ask_iv", "ask"], ["Venue", "mark", "mark_iv", "venue"], ["Ours", "theo", "iv", "model"]];
export const NEEDED = [...new Set([...GREEKS.map(([id]) => id), ...QUOTES.flatMap(([, value, iv]) => [value, iv]), "bid_size", "ask_size"])];

export class Figures {
  #format;
  #quotes = new Panel("Price and volatility", { size: "broad" });
  #greeks = new Panel("Greeks", { size: "narrow" });
  #cells = {};
  elements = [this.#quotes.element, this.#greeks.element];

  constructor(format) {
    this.#format = format;
    this.#quotes.body.append(this.#table());
    this.#greeks.body.append(h("dl", { className: "figures greeks" }, ...GREEKS.map(([id, name, unit]) => {
      this.#cells[id] = h("dd", { className: "value" });
      return h("div", {}, h("dt", {}, name, unit ? ` ${unit}` : ""), this.#cells[id]);
    })));
  }

  #table() {
    const heads = ["", "Price", "Volatility", "Size"].map((text) => h("th", { scope: "col" }, text));
    const rows = QUOTES.map(([name, value, iv]) => {
      const cells = [value, iv, `${value}_size`].map((id) => (this.#cells[id] = h("td", { className: "value" })));
      cells[0].classList.add("strong");
      return (this.#cells[`${name}-row`] = h("tr", {}, h("td", {}, name), ...cells));
    });
    return h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
  }

  update(view, row) {
    const { fixed, percent, significant, age } = this.#format;
    const { columns } = view;
    for (const panel of [this.#quotes, this.#greeks]) panel.say("");
    for (const [name, value, iv, kind] of QUOTES) {
      const state = kind === "model" ? view.model(row) : kind === "venue" ? view.venue(row) : view.quote(row, kind);
      this.#cells[`${name}-row`].className = `is-${state.status}`;
      setTitle(this.#cells[`${name}-row`], told(state));
      setText(this.#cells[value], view.premium(row, columns[value][row]));
      setText(this.#cells[iv], columns[iv][row] === null ? fixed(null) : `${percent(columns[iv][row], 2)} %`);
      const size = columns[`${value}_size`];
      setText(this.#cells[`${value}_size`], size ? significant(size[row], 5) : "");
    }
    const state = view.model(row);
    this.#greeks.body.className = `is-${state.status}`;
    for (const [id, , , text] of GREEKS) setText(this.#cells[id], text(this.#format, columns[id][row]));
    this.#quotes.note(`quote ${age(view.quoteAge(row))} old`);
    this.#greeks.note("in quote currency, at our volatility");
  }

  say(text) {
    for (const panel of [this.#quotes, this.#greeks]) {
      panel.note(""); // which was of the option before
      panel.say(text);
    }
  }
}
