// The chain of one expiry, live. The sidecar is asked for this expiry and these columns only.
import { byId, needed } from "../chain/columns.js";
import { Chooser } from "../chain/chooser.js";
import { Grid } from "../chain/grid.js";
import { View } from "../chain/view.js";
import { atTheMoney, ladder, rangeOf } from "../chain/ladder.js";
import { STATUSES, SYMBOLS, told } from "../status.js";
import { day } from "../format.js";
import { h, setText } from "../dom.js";

const AGES_MS = 200; // ages go on also without a message

export function page(context) {
  return new ChainPage(context);
}

class ChainPage {
  expiries = true;
  help = [
    ["↑  ↓", "the strike above, the strike below"],
    ["←  →", "the call, the put"],
    ["Enter", "open the option"],
    ["a", "back to at the money"],
    ["c", "choose columns"],
  ];
  #context;
  #stream = null;
  #grid;
  #chooser;
  #counts = STATUSES.map((status) => h("li", { className: `is-${status} mark`, hidden: true }));
  #empty = h("p", { className: "empty", role: "status" });
  #built = null; // the columns that the grid's rows belong to
  #centered = null; // the expiry that was brought to its middle
  #due = true; // something to draw: other streams' messages come between ours
  #drawn = 0;
  #pointed = null;

  constructor(context) {
    this.#context = context;
    const rowName = (row) => this.#stream.table.columns.name[row];
    this.#grid = new Grid({
      open: (row) => context.navigate("instrument", rowName(row)),
      point: (row) => this.#point(row),
    });
    this.#grid.moved = () => this.#context.draw();
    this.#chooser = new Chooser(() => this.#columns());
    this.#grid.choose(this.#chooser.chosen);
    const columns = h("button", { type: "button", className: "button", onclick: () => this.#chooser.open() }, "Columns");
    const counts = h("ul", { className: "counts", "aria-label": "Options of this expiry by status" }, ...this.#counts);
    const [calls, puts] = ["Calls", "Puts"].map((text) => h("span", { className: text.toLowerCase() }, text));
    const bar = h("div", { className: "bar" }, counts, calls, puts, columns);
    this.element = h("section", { className: "chain", "aria-label": "Chain" }, bar, this.#grid.element, this.#empty, this.#chooser.element);
  }

  key(event) {
    if (event.key !== "c") return this.#grid.key(event);
    this.#chooser.open();
    return true;
  }

  show() {
    const { venue, underlying, expiry } = this.#context.choice;
    const columns = needed(this.#chooser.chosen.map((id) => byId[id]));
    const expiries = expiry === null ? undefined : [day(expiry)];
    const request = { channel: "chain", venue, underlying, columns, expiries };
    this.#built = null;
    this.#say("");
    this.#stream = this.#context.client.subscribe(request, {
      changed: (rows) => {
        if (rows === null) this.#built = null;
        this.#context.heard(this.#stream.table);
        this.#draw();
      },
      refused: (error) => this.#say(`The sidecar refuses: ${error.message}`),
    });
  }

  hide() {
    this.#stream?.close();
    this.#stream = null;
    this.#point(null);
  }

  #draw() {
    this.#due = true;
    this.#context.draw();
  }

  update() {
    if (!this.#due && performance.now() - this.#drawn < AGES_MS) return this.#goOn(this.#grid.sweep());
    this.#due = false;
    this.#drawn = performance.now();
    const table = this.#stream?.table;
    const { expiry: chosen } = this.#context.choice;
    const range = table?.head.expiries && rangeOf(table.head.expiries, chosen);
    if (!range) return;
    const expiry = table.head.expiries.find(({ expiry_ns }) => expiry_ns === chosen);
    if (this.#built !== table.columns) {
      this.#grid.build(ladder(table.columns, range));
      this.#built = table.columns;
    }
    this.#say(this.#grid.rungs.length ? "" : "No options are known yet.");
    const view = new View(table, expiry);
    const forward = expiry.forward.value;
    const atm = atTheMoney(this.#grid.rungs, forward);
    if (this.#centered !== chosen && atm >= 0 && this.#grid.element.clientHeight) {
      this.#grid.center(atm);
      this.#centered = chosen;
    }
    this.#goOn(this.#grid.update(view, forward, atm));
    this.#count(view.counts(range));
    if (this.#pointed !== null) this.#context.say(detail(view, this.#pointed, this.#context.format));
  }

  // The next frame goes on with the rows that this one had no time for.
  #goOn(more) {
    if (more) this.#context.draw();
  }

  #columns() {
    this.#grid.choose(this.#chooser.chosen);
    this.hide();
    this.show();
  }

  #count(found) {
    STATUSES.forEach((status, i) => {
      this.#counts[i].hidden = !found[status];
      setText(this.#counts[i], `${SYMBOLS[status]} ${found[status]} ${status}`);
    });
  }

  #point(row) {
    this.#pointed = row;
    if (row === null) this.#context.say("");
    else this.#draw();
  }

  #say(text) {
    setText(this.#empty, text);
    this.#empty.hidden = !text;
  }
}

// One line about one option: all that its row has no room for.
function detail(view, row, { age, fixed, percent, significant }) {
  const { columns } = view;
  const figures = [
    ["iv", (v) => `IV ${percent(v, 2)} %`],
    ["mark_iv", (v) => `venue ${percent(v, 2)} %`],
    ["delta", (v) => `Δ ${fixed(v, 4)}`],
    ["gamma", (v) => `Γ ${significant(v, 3)}`],
    ["vega", (v) => `vega ${fixed(v === null ? null : v / 100, 2)} a point`],
  ].filter(([name]) => columns[name]).map(([name, text]) => text(columns[name][row]));
  return [columns.name[row], told(view.model(row)), `quote ${age(view.quoteAge(row))} old`, ...figures].join(" · ");
}
