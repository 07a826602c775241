// The newest trades: of one option, or of all of its underlying, where this one stands out. The channel's table is a ring:
// trade n stands in slot n % 256. Who has not chosen sees all of them while this option has none.
import { Panel, why } from "../panel.js";
import { Switch } from "../charts/panel.js";
import { h, setText } from "../dom.js";
import { told } from "../status.js";

const SHOWN = 40;
const TITLES = ["Time", "Side", "Price", "Amount", "IV", "Option"];

export class Trades {
  #context;
  #panel = new Panel("Trades", { size: "narrow" });
  #switch = new Switch("trades", "Trades of", [["own", "This option"], ["all", "All options"]], () => this.#again(true));
  #option = null;
  #stream = null;
  #newest = null;
  #hasChosen = this.#switch.isRemembered;
  #table;
  #lines = Array.from({ length: SHOWN }, () => h("tr", { hidden: true }, ...TITLES.map(() => h("td"))));
  elements = [this.#panel.element];

  constructor(context) {
    this.#context = context;
    const head = h("thead", {}, h("tr", {}, ...TITLES.map((text) => h("th", { scope: "col" }, text))));
    this.#table = h("table", { className: "trades" }, head, h("tbody", {}, ...this.#lines));
    this.#panel.element.firstElementChild.after(this.#switch.element);
    this.#panel.body.append(h("div", { className: "scrolls", tabindex: 0 }, this.#table));
  }

  show(option) {
    this.#option = option;
    if (!this.#hasChosen) this.#switch.show("own");
    this.#follow();
  }

  hide() {
    this.#stream?.close();
    this.#stream = this.#option = null;
  }

  #again(chosen) {
    this.#hasChosen ||= chosen;
    if (!this.#option) return;
    this.#stream.close();
    this.#follow();
  }

  #follow() {
    const { venue, underlying, name } = this.#option;
    this.#newest = null;
    this.#table.classList.toggle("own", this.#isOwn);
    this.#panel.say("Waiting for trades …");
    this.#panel.note("");
    const request = { channel: "trades", venue, underlying, ...(this.#isOwn && { instrument: name }) };
    this.#stream = this.#context.client.subscribe(request, {
      changed: () => this.#context.draw(),
      refused: (error) => this.#unoffered(why(error, "trades")),
    });
  }

  // Nothing to choose from.
  #unoffered(why) {
    this.#switch.element.hidden = true;
    this.#panel.note("");
    this.#panel.say(why);
  }

  get #isOwn() {
    return this.#switch.value === "own";
  }

  update(digits) {
    const table = this.#stream?.table;
    if (!table?.columns.number) return;
    const { columns, head } = table;
    if (head.tape?.detail) return this.#unoffered(head.tape.detail);
    this.#switch.element.hidden = false;
    const slots = columns.number.map((number, slot) => ({ number, slot })).filter(({ number }) => number !== null && number >= 0);
    if (!slots.length && this.#isOwn && !this.#hasChosen) {
      this.#switch.show("all");
      return this.#again(false);
    }
    slots.sort((a, b) => b.number - a.number);
    this.#panel.say(slots.length ? "" : "No trades since the sidecar began.");
    const state = head.tape && head.tape.status !== "OK" ? [head.tape.status] : [];
    const count = slots.length ? [`the newest ${Math.min(slots.length, SHOWN)}`] : [];
    this.#panel.note([...state, ...count].join(", "));
    this.#panel.element.title = head.tape ? told(head.tape) : "";
    const newest = slots[0]?.number ?? null;
    if (newest === this.#newest) return;
    this.#newest = newest;
    this.#lines.forEach((line, i) => this.#line(line, slots[i], columns, digits));
  }

  #line(line, trade, columns, digits) {
    line.hidden = !trade;
    if (!trade) return;
    const { fixed, percent, significant, time } = this.#context.format;
    const { slot } = trade;
    const bought = columns.side[slot] > 0;
    const name = columns.instrument?.[slot] ?? "";
    line.className = [bought ? "buy" : "sell", name === this.#option.name && "this"].filter(Boolean).join(" ");
    const iv = columns.iv[slot];
    const price = columns.price[slot];
    const texts = [
      ...[time(columns.exchange_ns[slot]), bought ? "buy" : "sell", this.#isOwn ? fixed(price, digits) : significant(price, 5)],
      ...[significant(columns.amount[slot], 5), iv === null ? fixed(null) : `${percent(iv)} %`, name],
    ];
    texts.forEach((text, i) => setText(line.cells[i], text));
  }
}
