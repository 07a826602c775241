// Which columns the chain has: a list of boxes in a dialog, remembered by the browser.
import { ALWAYS, COLUMNS, DEFAULT, byId, nameOf } from "./columns.js";
import { h } from "../dom.js";

const KEY = "volstream.chain.columns";

export class Chooser {
  element = h("dialog", { className: "chooser", "aria-label": "Columns" });
  chosen = remembered();
  #changed;

  constructor(changed) {
    this.#changed = changed;
    const boxes = COLUMNS.filter(({ id }) => !ALWAYS.includes(id)).map((column) => this.#box(column));
    const reset = h("button", { type: "button", className: "button", onclick: () => this.#set(DEFAULT) }, "Usual ones");
    const close = h("button", { type: "button", className: "button", onclick: () => this.element.close() }, "Close");
    this.element.append(h("h2", {}, "Columns"), h("div", { className: "boxes" }, ...boxes), h("div", { className: "row" }, reset, close));
  }

  open() {
    this.#show();
    this.element.showModal();
  }

  #box(column) {
    const box = h("input", { type: "checkbox", name: column.id, onchange: () => this.#toggle(column.id, box.checked) });
    return h("label", { title: column.hint }, box, h("b", {}, nameOf(column)), h("span", { className: "soft" }, column.hint));
  }

  #toggle(id, on) {
    this.#set(on ? [...this.chosen, id] : this.chosen.filter((each) => each !== id));
  }

  #set(ids) {
    this.chosen = ids;
    localStorage.setItem(KEY, JSON.stringify(ids));
    this.#show();
    this.#changed();
  }

  #show() {
    for (const box of this.element.querySelectorAll("input")) box.checked = this.chosen.includes(box.name);
  }
}

// What was chosen the last time, as far as there still are such columns.
function remembered() {
  try {
    const ids = JSON.parse(localStorage.getItem(KEY)) ?? DEFAULT;
    const known = ids.filter((id) => Object.hasOwn(byId, id));
    return known.length ? known : DEFAULT;
  } catch {
    return DEFAULT;
  }
}
