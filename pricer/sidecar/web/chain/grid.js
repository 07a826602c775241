// The chain as a grid: calls left, strike in the middle, puts right. Only the rows on the screen exist; they are made
// once and moved as the reader scrolls, and of what they show only what differs is written, and only as text. What comes
// at once is written in shares, some rows a frame, so that no frame is late.
import { ALWAYS, STRIKE_WIDTH, fitting, mirrored, nameOf, shownAge } from "./columns.js";
import { SYMBOLS, told } from "../status.js";
import { h, setText, setTitle } from "../dom.js";
import { strike as strikeText } from "../format.js";

const SPARE = 4; // rows beyond each edge, so that a quick scroll shows no hole
const SIDES = ["call", "put"];
const PAGE = 10; // rows
const LINES_A_FRAME = 16; // a whole screen in three frames: sooner than the eye, and a frame costs a third
const BRIGHT_MS = 250;
const FLASH_MS = 800;
const ROW = 1.72; // rem, as in chain.css

export class Grid {
  element = h("div", { className: "grid", role: "grid", tabindex: 0, "aria-label": "Option chain" });
  rungs = [];
  picked = null; // { index, side }: where the keyboard is
  #head = h("div", { className: "head", role: "rowgroup" });
  #body = h("div", { className: "body", role: "rowgroup" });
  #columns = { call: [], put: [] };
  #chosen = [];
  #lines = []; // a pool: rung i is shown by line i modulo its length
  #next = 0; // the line that a frame begins with, so that each has its turn
  #shown = null; // { view, forward } of the last update
  #scrolled = 0; // px, as the last event told: asking would have the browser lay out in the middle of writing
  #height = 0; // of a row, px
  #atm = -1;
  #open;
  #point;

  // `open(row)` when an option is chosen, `point(row or null)` when one is pointed at.
  constructor({ open, point }) {
    this.#open = open;
    this.#point = point;
    this.element.append(this.#head, this.#body);
    this.element.addEventListener("scroll", () => this.#scroll(), { passive: true });
    this.#body.addEventListener("click", (event) => this.#at(event, this.#open));
    this.#body.addEventListener("pointerover", (event) => this.#at(event, this.#point));
    this.#body.addEventListener("pointerleave", () => this.#point(null));
    this.observer = new ResizeObserver(() => this.#resized());
    this.observer.observe(this.element);
  }

  // Which columns there are to be, by id.
  choose(ids) {
    this.#chosen = ids;
    this.#shown = null; // it may lack what is chosen now
    this.#resized();
  }

  // Other options.
  build(rungs) {
    this.rungs = rungs;
    this.element.setAttribute("aria-rowcount", rungs.length + 1);
    for (const line of this.#lines) line.rung = null;
    this.#body.style.height = `${rungs.length * this.#height}px`;
    if (this.picked && this.picked.index >= rungs.length) this.picked = null;
  }

  // The row of the option under the keyboard, or null.
  get row() {
    return this.picked && (this.rungs[this.picked.index]?.[this.picked.side] ?? null);
  }

  center(index) {
    if (index < 0) return;
    const middle = (this.element.clientHeight - this.#head.offsetHeight) / 2;
    const top = (index + 0.5) * this.#height - middle;
    this.element.scrollTop = Math.round(top / this.#height) * this.#height; // no row is cut in two below the head
    this.#scroll();
  }

  #scroll() {
    this.#scrolled = this.element.scrollTop;
    this.moved?.();
  }

  // All cells on the screen are out of date; the first of them are written. True while some are left for `sweep`.
  update(view, forward, atm) {
    this.#shown = { view, forward };
    this.#atm = atm;
    for (const line of this.#lines) line.due = true;
    return this.sweep();
  }

  // The next frame's share: rows that come into view, and some of those that are out of date. True while some are left.
  sweep() {
    if (!this.#shown) return false;
    this.#place();
    const count = this.#lines.length;
    let room = LINES_A_FRAME;
    for (let i = 0; i < count && room > 0; i++) {
      const line = this.#lines[(this.#next + i) % count];
      if (!line.rung || !line.due) continue;
      this.#line(line, true);
      if (--room === 0) this.#next = (this.#next + i + 1) % count;
    }
    return this.#lines.some(({ rung, due }) => rung && due);
  }

  // Rungs that have come into view get a line and are written; lines of those that have left are hidden.
  #place() {
    const first = Math.max(0, Math.floor(this.#scrolled / this.#height) - SPARE);
    const end = Math.min(this.rungs.length, first + this.#lines.length);
    for (let i = first; i < end; i++) {
      const line = this.#lines[i % this.#lines.length];
      if (line.rung === this.rungs[i]) continue;
      this.#bind(line, i);
      this.#line(line, false);
    }
    for (const line of this.#lines) {
      if (line.rung === null || line.index < first || line.index >= end) this.#hide(line);
    }
  }

  #bind(line, i) {
    line.rung = this.rungs[i];
    line.index = i;
    line.element.hidden = false;
    line.element.style.transform = `translateY(${i * this.#height}px)`;
    line.element.setAttribute("aria-rowindex", i + 2);
    setText(line.strike, strikeText(line.rung.strike));
    for (const side of SIDES) {
      for (const cell of line[side]) Object.assign(cell, { value: undefined, at: -Infinity });
      line[side].forEach((cell) => cell.element.classList.toggle("none", line.rung[side] === null));
    }
  }

  #hide(line) {
    if (line.index === -1) return;
    line.element.hidden = true;
    line.rung = null;
    line.index = -1;
  }

  #line(line, flash) {
    const { view, forward } = this.#shown;
    const { strike } = line.rung;
    line.due = false;
    const picked = this.picked?.index === line.index ? this.picked.side : "";
    const classes = `line${line.index === this.#atm ? " atm" : ""}${picked ? ` picked ${picked}` : ""}`;
    if (line.classes !== classes) line.element.className = line.classes = classes;
    for (const side of SIDES) {
      const row = line.rung[side];
      const inside = forward !== null && (side === "call" ? strike < forward : strike > forward);
      if (row === null) for (const cell of line[side]) this.#write(cell, inside ? "in" : "", "", "");
      else this.#side(line[side], row, view, inside ? "in " : "", flash);
    }
  }

  #side(cells, row, view, where, flash) {
    const states = { model: view.model(row), venue: view.venue(row) };
    const now = performance.now();
    for (const cell of cells) {
      const { column } = cell;
      const kind = column.kind;
      if (kind === "status") {
        const { status } = states.model;
        this.#write(cell, `${where}is-${status}`, SYMBOLS[status], told(states.model));
        continue;
      }
      if (kind === "age") {
        this.#write(cell, `${where}is-${states.venue.status}`, shownAge(view.quoteAge(row)), "");
        continue;
      }
      const state = (states[kind] ??= view.quote(row, kind));
      const value = column.value ? column.value(view.columns, row) : (view.columns[column.id]?.[row] ?? null);
      const moved = flash && column.flashes ? this.#flash(cell, value, now) : "";
      const text = cell.value === value ? cell.shownText : this.#text(column, view, row, value);
      cell.value = value;
      this.#write(cell, `${where}is-${state.status}${moved}`, text, state.reasons.join(" · "));
    }
  }

  #text(column, view, row, value) {
    const scaled = column.scale ? column.scale(value) : value;
    return column.text ? column.text(scaled) : view.premium(row, scaled);
  }

  // A price that moved is marked, more faintly after a moment, and then no more. Not an animation: a hundred of those
  // would have the browser compute styles for every frame.
  #flash(cell, value, now) {
    if (value !== null && typeof cell.value === "number" && cell.value !== value) {
      Object.assign(cell, { moved: value > cell.value ? " up" : " down", at: now });
    }
    const age = now - cell.at;
    return age < BRIGHT_MS ? cell.moved : age < FLASH_MS ? `${cell.moved} faint` : "";
  }

  #write(cell, classes, text, hint) {
    if (cell.classes !== classes) {
      cell.classes = classes;
      const none = cell.element.classList.contains("none") ? " none" : "";
      cell.element.className = `${cell.base} ${classes}${none}`;
    }
    if (cell.shownText !== text) cell.text.nodeValue = cell.shownText = text; // the same node: no box is made anew
    setTitle(cell.element, hint);
  }

  // The columns for which there is room, and as many lines as fill the screen.
  #resized() {
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const width = this.element.clientWidth / rem;
    if (!width || !this.#chosen.length) return;
    const columns = fitting([...new Set([...ALWAYS, ...this.#chosen])], (width - STRIKE_WIDTH) / 2);
    const before = this.#columns.call.map(({ id }) => id).join();
    if (columns.map(({ id }) => id).join() !== before) this.#rebuild(columns);
    // What there is too little room for by a third is squeezed; by more, it is scrolled to.
    const total = 2 * columns.reduce((sum, column) => sum + column.width, 0) + STRIKE_WIDTH;
    this.element.classList.toggle("squeezed", total > width && total < width * 1.34);
    this.#height = ROW * rem;
    const wanted = Math.ceil(this.element.clientHeight / this.#height) + 2 * SPARE;
    if (wanted > this.#lines.length || !this.#lines.length) this.#pool(wanted);
    this.#body.style.height = `${this.rungs.length * this.#height}px`;
    for (const line of this.#lines) line.rung = null;
    this.moved?.();
  }

  #rebuild(columns) {
    this.#columns = { call: columns, put: mirrored(columns) };
    const tracks = (least) => {
      const track = ({ width }) => `minmax(${least(width)}, ${width}fr)`;
      return [...columns.map(track), track({ width: STRIKE_WIDTH }), ...this.#columns.put.map(track)].join(" ");
    };
    this.element.style.setProperty("--wide-tracks", tracks((width) => `${width}rem`));
    this.element.style.setProperty("--squeezed-tracks", tracks(() => "0"));
    const title = (column) => {
      const cell = h("span", { role: "columnheader", className: column.id, title: column.hint }, column.title);
      if (!column.title) cell.setAttribute("aria-label", nameOf(column));
      return cell;
    };
    const titles = h("div", { role: "row", className: "titles" });
    titles.append(...columns.map(title), h("span", { role: "columnheader", className: "strike" }, "Strike"));
    titles.append(...this.#columns.put.map(title));
    this.#head.replaceChildren(titles);
    this.#lines = [];
    this.#body.replaceChildren();
  }

  #pool(count) {
    this.#lines = Array.from({ length: count }, (_, i) => this.#newLine(i));
    this.#body.replaceChildren(...this.#lines.map(({ element }) => element));
  }

  #newLine(number) {
    const line = { rung: null, index: -1, due: false, element: h("div", { role: "row", className: "line", hidden: true }) };
    line.strike = h("span", { role: "rowheader", className: "strike" });
    for (const side of SIDES) {
      line[side] = this.#columns[side].map((column) => {
        const id = column.id === "status" ? `line-${number}-${side}` : null;
        const base = `${column.id} of-${column.kind} ${side}`;
        const text = document.createTextNode("");
        return { column, base, text, element: h("span", { role: "gridcell", className: base, id }, text) };
      });
    }
    const elements = (side) => line[side].map(({ element }) => element);
    line.element.append(...elements("call"), line.strike, ...elements("put"));
    line.element.line = line;
    return line;
  }

  #at(event, act) {
    const line = event.target.closest(".line")?.line;
    if (!line?.rung) return;
    const left = event.target.closest(".call, .put")?.classList.contains("call");
    const side = event.target.closest(".strike") ? null : left ? "call" : "put";
    const row = side && line.rung[side];
    if (row !== null && row !== undefined) act(row);
  }

  // True where the key was for the grid.
  key(event) {
    const last = this.rungs.length - 1;
    if (last < 0) return false;
    const at = this.picked ?? { index: Math.max(this.#atm, 0), side: "call" };
    const steps = { ArrowUp: -1, ArrowDown: 1, PageUp: -PAGE, PageDown: PAGE, Home: -last, End: last };
    if (event.key in steps) this.#pick(this.picked ? at.index + steps[event.key] : at.index, at.side);
    else if (event.key === "ArrowLeft") this.#pick(at.index, "call");
    else if (event.key === "ArrowRight") this.#pick(at.index, "put");
    else if (event.key === "a") this.center(this.#atm);
    else if (event.key === "Enter" && this.row !== null) this.#open(this.row);
    else return false;
    return true;
  }

  #pick(index, side) {
    this.picked = { index: Math.max(0, Math.min(index, this.rungs.length - 1)), side };
    this.#reveal(this.picked.index);
    const number = this.picked.index % this.#lines.length;
    this.element.setAttribute("aria-activedescendant", `line-${number}-${side}`);
    this.#point(this.row);
    for (const line of this.#lines) line.due = true;
    this.moved?.();
  }

  #reveal(index) {
    const { element } = this;
    const top = index * this.#height;
    const room = element.clientHeight - this.#head.offsetHeight - this.#height;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top > element.scrollTop + room) element.scrollTop = top - room;
  }
}
