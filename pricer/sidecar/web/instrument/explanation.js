// How the numbers came about: the answer to ?explain=true as a list of steps and, below, all that went into them.
// Nothing here knows the answer's fields but `steps`: what is nested is shown nested.
import { Panel, why } from "../panel.js";
import { h } from "../dom.js";
import { significant, fixed, time, date } from "../format.js";

const DAY_NS = 86_400e9;
const YEAR_2000_NS = 946_684_800e9;
const MOST_ROWS = 200;

export class Explanation {
  #context;
  #panel = new Panel("Explanation", { wide: true });
  #option = null;
  elements = [this.#panel.element];

  constructor(context) {
    this.#context = context;
  }

  show(option) {
    this.#option = option;
    const button = h("button", { type: "button", className: "button", onclick: () => this.#ask() }, "How did these numbers come about?");
    this.#panel.note("");
    this.#panel.body.replaceChildren(button);
    this.#panel.say("");
  }

  hide() {
    this.#option = null;
  }

  async #ask() {
    const option = this.#option;
    try {
      const path = `/v1/instrument/${encodeURIComponent(option.name)}?explain=true&venue=${encodeURIComponent(option.venue)}`;
      const answer = await this.#context.get(path);
      if (option !== this.#option) return;
      const told = answer.explain ?? answer.explanation;
      if (!told) return this.#panel.say("This sidecar does not explain its numbers.");
      this.#panel.note(`as of ${time(answer.computed_ns)} UTC`);
      const again = h("button", { type: "button", className: "button", onclick: () => this.#ask() }, "Again, as of now");
      this.#panel.body.replaceChildren(...explained(told), again);
    } catch (error) {
      if (error.name !== "ApiError") throw error;
      if (option === this.#option) this.#panel.say(why(error, "explanations"));
    }
  }
}

export function explained({ steps = [], ...rest }) {
  const list = steps.length ? [h("ol", { className: "steps" }, ...steps.map(step))] : [];
  const parts = Object.entries(rest).filter(([, value]) => value !== null);
  return [...list, ...parts.map(([name, value]) => h("details", {}, h("summary", {}, words(name)), shown(name, value)))];
}

function step({ symbol, formula, inputs = {}, value, field, published, ...rest }) {
  const given = Object.entries(inputs).map(([name, each]) => `${name} = ${scalar(name, each)}`).join(",  ");
  const more = Object.entries(rest).map(([name, each]) => `${words(name)}: ${scalar(name, each)}`).join(", ");
  const name = h("span", {}, h("b", {}, symbol ?? ""), field && field !== symbol ? ` ${words(field)}` : "");
  const result = h("span", { className: "result", title: published === undefined ? "" : `published as ${published}` }, scalar(field ?? symbol ?? "", value));
  return h("li", {}, name, h("code", {}, formula ?? ""), result, h("span", { className: "inputs" }, [given, more].filter(Boolean).join(" · ")));
}

function shown(name, value) {
  if (Array.isArray(value) && value.length && value.every(isObject)) return rows(value);
  if (Array.isArray(value)) return h("span", {}, value.map((each) => scalar(name, each)).join(", ") || "none");
  if (!isObject(value)) return h("span", {}, scalar(name, value));
  const entries = Object.entries(value).flatMap(([key, each]) => [h("dt", {}, words(key)), h("dd", {}, shown(key, each))]);
  return h("dl", { className: "tree" }, ...entries);
}

function rows(values) {
  const names = [...new Set(values.flatMap(Object.keys))];
  const head = h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, words(name))));
  const body = values.slice(0, MOST_ROWS).map((value) => h("tr", {}, ...names.map((name) => h("td", {}, shown(name, value[name] ?? null)))));
  return h("div", { className: "scrolls", tabindex: 0 }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...body)));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
const words = (name) => name.replaceAll("_", " ");

function scalar(name, value) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "object") return JSON.stringify(value);
  if (typeof value !== "number") return String(value);
  if (name.endsWith("_ns")) return value > YEAR_2000_NS ? `${date(value)} ${time(value)}` : value > DAY_NS ? `${significant(value / DAY_NS, 6)} days` : `${fixed(value / 1e6, 1)} ms`;
  return significant(value, 9);
}
