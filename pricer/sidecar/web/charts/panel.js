// A chart with its title, controls, badges and read-out: what is pointed at stands there as text, for eyes and for others.
import { h, setData, setText, setTitle } from "../dom.js";
import { NOTHING } from "../format.js";
import { SYMBOLS } from "../status.js";

export class Panel {
  // `fields` names what the read-out has: [[id, label], ...].
  constructor({ id, title, fields, controls = [], chart, legend = [] }) {
    this.values = {};
    this.badges = h("div", { className: "badges" });
    this.readout = h("dl", { className: "readout", "aria-label": `${title}: values` },
      ...fields.map(([name, label]) => {
        this.values[name] = h("dd", { "data-field": name }, NOTHING);
        return h("div", {}, h("dt", {}, label), this.values[name]);
      }));
    this.note = h("p", { className: "note", role: "status", hidden: true });
    this.stage = h("div", { className: "stage" }, chart, this.note);
    this.legend = h("ul", { className: "legend", "aria-label": "Legend" }, ...legend);
    this.element = h("section", { className: "panel-chart", "data-chart": id, "aria-label": title },
      h("div", { className: "panel-head" }, h("h2", {}, title), this.badges, h("div", { className: "controls" }, ...controls)),
      this.readout, this.stage, this.legend);
  }

  // Text for the read-out; what is left out is a dash.
  read(texts) {
    for (const [name, value] of Object.entries(this.values)) setText(value, texts?.[name] ?? NOTHING);
  }

  // Words over the chart where there is nothing to see, or not what one would think; "" takes them back.
  say(text) {
    this.note.hidden = !text;
    setText(this.note, text);
  }

  // [{ status, text, hint }]
  certify(badges) {
    while (this.badges.children.length < badges.length) this.badges.append(h("span", { className: "badge" }, h("i", { "aria-hidden": "true" }), h("span")));
    while (this.badges.children.length > badges.length) this.badges.lastChild.remove();
    badges.forEach(({ status, text, hint = "" }, i) => {
      const badge = this.badges.children[i];
      setData(badge, "status", status);
      setText(badge.firstChild, SYMBOLS[status]);
      setText(badge.lastChild, text);
      setTitle(badge, hint);
    });
  }
}

// One of several: a row of buttons, remembered for the next visit.
export class Switch {
  constructor(key, label, options, onchange, usual = options[0][0]) {
    this.key = `volstream.${key}`;
    const known = localStorage.getItem(this.key);
    this.isRemembered = options.some(([value]) => value === known);
    this.value = this.isRemembered ? known : usual;
    this.buttons = options.map(([value, text]) =>
      h("button", { type: "button", "data-value": value, onclick: () => this.set(value, onchange) }, text));
    this.element = h("div", { className: "switch", role: "group", "aria-label": label }, ...this.buttons);
    this.#mark();
  }

  set(value, onchange) {
    localStorage.setItem(this.key, value);
    this.show(value);
    onchange(value);
  }

  // Another one for now; nothing is remembered and nobody told.
  show(value) {
    this.value = value;
    this.#mark();
  }

  #mark() {
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.value === this.value));
  }
}

// An entry of a legend: a shape drawn by CSS, and what it means.
export const key = (shape, text) => h("li", {}, h("i", { className: `key key-${shape}`, "aria-hidden": "true" }), text);
