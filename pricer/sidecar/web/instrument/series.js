// Volatility, value and Greeks of one option through the last hour, from /v1/history: small lines, drawn anew now and
// then. Gaps stay gaps.
import { Panel, why } from "../panel.js";
import { h, setText, svg } from "../dom.js";

const EVERY_MS = 10_000; // as often as the sidecar takes a sample
const WIDTH = 300;
const HEIGHT = 60;

const SHOWN = [
  ["iv", "IV", (f, v) => `${f.percent(v, 2)} %`],
  ["theo", "Theo", (f, v) => f.significant(v, 5)],
  ["delta", "Δ", (f, v) => f.fixed(v, 4)],
  ["vega", "Vega per point", (f, v) => f.fixed(v === null ? null : v / 100, 2)],
];

export class Series {
  #context;
  #panel = new Panel("The last hour", { wide: true });
  #charts = {};
  #timer = null;
  #stopped = null;
  elements = [this.#panel.element];

  constructor(context) {
    this.#context = context;
    const box = h("div", { className: "series" });
    for (const [id, name] of SHOWN) {
      const chart = (this.#charts[id] = new Line(name));
      box.append(chart.element);
    }
    this.#panel.body.append(box);
  }

  show(option) {
    this.#panel.say("Waiting for the history …");
    const { signal } = (this.#stopped = new AbortController());
    const fetched = async () => {
      await this.#fetch(option, signal);
      if (!signal.aborted) this.#timer = setTimeout(fetched, EVERY_MS);
    };
    fetched();
  }

  hide() {
    this.#stopped?.abort();
    clearTimeout(this.#timer);
  }

  async #fetch({ venue, underlying, name }, signal) {
    const path = `/v1/history/${encodeURIComponent(underlying)}/${encodeURIComponent(name)}?venue=${encodeURIComponent(venue)}`;
    try {
      const { columns } = await this.#context.get(path, { signal });
      this.#draw(columns);
    } catch (error) {
      if (error.name === "ApiError") this.#panel.say(why(error, "a history of this option"));
      else if (error.name !== "AbortError") throw error;
    }
  }

  #draw(columns) {
    const times = Object.entries(columns).find(([name]) => name.endsWith("_ns"))?.[1] ?? [];
    const enough = times.length > 1;
    this.#panel.say(enough ? "" : "The history has just begun.");
    if (!enough) return;
    const { time } = this.#context.format;
    this.#panel.note(`${time(times[0])} – ${time(times.at(-1))} UTC`);
    for (const [id, , text] of SHOWN) {
      this.#charts[id].draw(times, columns[id] ?? [], (value) => text(this.#context.format, value));
    }
  }
}

class Line {
  #last = h("b");
  #low = h("span");
  #high = h("span");
  #drawing;

  constructor(name) {
    this.#drawing = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": name });
    const ends = h("p", { className: "ends" }, this.#low, this.#high);
    this.element = h("div", {}, h("h3", {}, name, this.#last), this.#drawing, ends);
  }

  draw(times, values, text) {
    const known = values.filter((value) => value !== null);
    const low = Math.min(...known);
    const high = Math.max(...known);
    const span = high - low || Math.abs(high) || 1;
    const x = (i) => ((times[i] - times[0]) / (times.at(-1) - times[0] || 1)) * WIDTH;
    const y = (value) => HEIGHT - 3 - ((value - low) / span) * (HEIGHT - 6);
    const pieces = [[]];
    values.forEach((value, i) => {
      if (value === null) pieces.push([]);
      else pieces.at(-1).push(`${x(i).toFixed(1)},${y(value).toFixed(1)}`);
    });
    const rims = [1, HEIGHT - 1].map((at) => svg("line", { class: "rim", x1: 0, x2: WIDTH, y1: at, y2: at }));
    const lines = pieces.filter(({ length }) => length > 1).map((points) => svg("polyline", { points: points.join(" ") }));
    this.#drawing.replaceChildren(...rims, ...lines);
    setText(this.#last, text(known.at(-1) ?? null));
    setText(this.#low, known.length ? `low ${text(low)}` : "");
    setText(this.#high, known.length ? `high ${text(high)}` : "");
  }
}
