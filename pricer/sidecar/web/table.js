// The chain table: calls left, strike in the middle, puts right. Cells are made once per expiry; after that only what
// differs is written, and only as text.
import { age, decimalsOf, fixed, percent, significant, strike as strikeText } from "/web/format.js";
import { SYMBOLS, ladder } from "/web/model.js";

// From the outside in, for the calls; the puts mirror it. `p` is how early a column is given up on a narrow screen.
const SIDE = [
  { id: "status", title: "", p: 1, hint: "Status of IV, theo and Greeks" },
  { id: "age", title: "Age", p: 4, hint: "Since the quote was last confirmed" },
  { id: "gamma", title: "Γ", p: 4, hint: "Gamma: per 1 of the forward", text: (v) => significant(v, 3) },
  { id: "theta", title: "Θ / day", p: 3, hint: "Theta per day, in quote currency", text: (v) => fixed(v === null ? null : v / 365, 1) },
  { id: "vega", title: "Vega / pt", p: 3, hint: "Vega per volatility point, in quote currency", text: (v) => fixed(v === null ? null : v / 100, 1) },
  { id: "delta", title: "Δ", p: 2, hint: "Delta: dV/dF", text: (v) => fixed(v, 3) },
  { id: "theo", title: "Theo", p: 3, hint: "Value on the surface, as quoted" },
  { id: "bid_iv", title: "Bid IV", p: 2, hint: "Volatility of the bid, %", text: (v) => percent(v) },
  { id: "bid", title: "Bid", p: 1, hint: "Best bid, as quoted" },
  { id: "ask", title: "Ask", p: 1, hint: "Best ask, as quoted" },
  { id: "ask_iv", title: "Ask IV", p: 2, hint: "Volatility of the ask, %", text: (v) => percent(v) },
  { id: "iv", title: "IV", p: 1, hint: "Volatility of the surface, %", text: (v) => percent(v) },
];
// Left of the strike the best prices stand next to the strike's volatility; right of it in the mirrored order, but a
// bid is always left of its ask.
const swap = { bid: "ask", ask: "bid", bid_iv: "ask_iv", ask_iv: "bid_iv" };
const byId = Object.fromEntries(SIDE.map((column) => [column.id, column]));
const MIRROR = [...SIDE].reverse().map((column) => byId[swap[column.id] ?? column.id]);
const QUOTES = new Set(["bid", "ask", "bid_iv", "ask_iv"]);

function element(tag, className, text) {
  const out = document.createElement(tag);
  if (className) out.className = className;
  if (text !== undefined) out.textContent = text;
  return out;
}

// Write only what differs: most cells do not, most of the time.
function set(cell, key, value) {
  if (cell[key] !== value) cell[key] = value;
}

export class Table {
  #table;
  #rungs = [];
  #lines = [];
  #onPick;

  constructor(table, onPick) {
    this.#table = table;
    this.#onPick = onPick;
    this.#table.tHead.replaceChildren(this.#groups(), this.#titles());
    addEventListener("resize", () => this.#span());
    this.#span();
  }

  // Other options: make the rows anew.
  build(columns, range) {
    this.#rungs = ladder(columns, range);
    this.#lines = this.#rungs.map((rung) => this.#line(rung, columns));
    this.#table.tBodies[0].replaceChildren(...this.#lines.map((line) => line.tr));
  }

  get rungs() {
    return this.#rungs;
  }

  // Bring every cell up to date; `flash` marks prices that moved.
  update(model, expiry, forward, atm, flash) {
    this.#lines.forEach((line, i) => {
      const { strike } = line.rung;
      set(line.tr, "className", i === atm ? "atm" : "");
      for (const [side, row] of [["call", line.rung.call], ["put", line.rung.put]]) {
        if (row === null) continue;
        const inside = forward !== null && (side === "call" ? strike < forward : strike > forward);
        this.#side(line[side], row, model, expiry, inside, flash);
      }
    });
  }

  center(atm) {
    this.#lines[atm]?.tr.scrollIntoView({ block: "center" });
  }

  #groups() {
    const tr = element("tr", "groups");
    const calls = element("th", "", "Calls");
    const puts = element("th", "", "Puts");
    tr.append(calls, element("th", "strike"), puts);
    return tr;
  }

  // Columns come and go with the width of the window; the two headings span what is left.
  #span() {
    const [groups, titles] = this.#table.tHead.rows;
    const shown = [...titles.cells].filter((th) => getComputedStyle(th).display !== "none").length;
    groups.cells[0].colSpan = groups.cells[2].colSpan = (shown - 1) / 2;
  }

  #titles() {
    const title = ({ id, title, hint, p }) => {
      const th = element("th", `p${p} ${id}`, title);
      th.scope = "col";
      th.title = hint;
      if (!title) th.setAttribute("aria-label", "Status");
      return th;
    };
    const tr = element("tr", "titles");
    tr.append(...SIDE.map(title), element("th", "strike", "Strike"), ...MIRROR.map(title));
    return tr;
  }

  #line(rung, columns) {
    const tr = document.createElement("tr");
    const line = { tr, rung, call: this.#cells(SIDE, rung.call, columns), put: this.#cells(MIRROR, rung.put, columns) };
    const strike = element("th", "strike", strikeText(rung.strike));
    strike.scope = "row";
    tr.append(...line.call.list, strike, ...line.put.list);
    return line;
  }

  #cells(side, row, columns) {
    const digits = row === null ? 4 : decimalsOf(columns.tick_size[row]);
    const cells = { list: [], digits };
    for (const { id, p } of side) {
      const td = element("td");
      td.baseClass = `p${p} ${id}`;
      td.className = td.baseClass;
      if (row !== null) td.addEventListener("pointerenter", () => this.#onPick(row));
      if (row !== null) td.addEventListener("click", () => this.#onPick(row));
      cells[id] = td;
      cells.list.push(td);
    }
    return cells;
  }

  #side(cells, row, model, expiry, inside, flash) {
    const columns = model.chain.columns;
    const own = model.row(row, expiry);
    const sides = { bid: model.quote(row, "bid"), ask: model.quote(row, "ask") };
    const stale = model.quoteIsStale(row);
    const where = inside ? " in" : "";
    const reasons = own.reasons.join(" · ");
    for (const { id, text } of SIDE) {
      const cell = cells[id];
      if (id === "status") {
        this.#mark(cell, `${where} is-${own.status}`, reasons ? `${own.status} · ${reasons}` : own.status);
        this.#write(cell, SYMBOLS[own.status]);
      } else if (id === "age") {
        const shown = age(model.quoteAge(row));
        this.#mark(cell, where + (stale ? " is-STALE" : ""), "");
        this.#write(cell, stale ? `${SYMBOLS.STALE} ${shown}` : shown);
      } else if (QUOTES.has(id)) {
        this.#quote(cell, id, columns[id][row], sides[id.slice(0, 3)], stale, where, text, cells.digits, flash);
      } else {
        this.#mark(cell, `${where} is-${own.status}`, reasons);
        this.#value(cell, columns[id][row], text, cells.digits);
      }
    }
  }

  // A price of the venue is a fact, only old or not; its volatility has a status of its own.
  #quote(cell, id, value, state, stale, where, text, digits, flash) {
    if (id.endsWith("_iv")) {
      this.#mark(cell, `${where} is-${state.status}`, state.reasons.join(" · "));
    } else {
      if (flash && cell.value !== value && value !== null && typeof cell.value === "number") {
        const moved = value > cell.value ? "up" : "down";
        cell.flash = cell.flash === ` ${moved} a` ? ` ${moved} b` : ` ${moved} a`; // another name starts it anew
      }
      this.#mark(cell, `${where} is-${stale ? "STALE" : "OK"}${cell.flash ?? ""}`, "");
    }
    this.#value(cell, value, text, digits);
  }

  #value(cell, value, text, digits) {
    if (cell.value === value) return;
    cell.value = value;
    this.#write(cell, text ? text(value) : fixed(value, digits));
  }

  #write(cell, text) {
    if (cell.shown !== text) cell.textContent = cell.shown = text;
  }

  #mark(cell, classes, hint) {
    if (cell.classes !== classes) cell.className = cell.baseClass + (cell.classes = classes);
    if ((cell.hint ?? "") !== hint) cell.title = cell.hint = hint;
  }
}
