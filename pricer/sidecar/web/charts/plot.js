// A chart on uPlot in the shell's colours: it fits its box, follows the theme, and is pointed at by mouse, touch and keys.
//
//   const plot = new Plot(context, { label, x, y, series, draw(plot, ctx), pick(x, y), step(by) });
//   plot.element            put it somewhere
//   plot.set(data, { x: [low, high], y: [low, high] })
//
// `x` and `y` describe the axes: { ticks(low, high, pixels) -> [values], text(value, step), log, size }; pixels are those of a
// laptop's type, 13 to the rem. `under` and `draw` paint
// on the canvas below and above the series. pick(null) says that nothing is pointed at any more.
import uPlot from "../vendor/uPlot.esm.js";
import { h } from "../dom.js";

const FONT = '"Inter", ui-sans-serif, system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif';

export class Plot {
  #options;
  #theme;
  #u = null;
  #data = null;
  #ranges = {};
  #rem = 0;
  #pointing = false;

  constructor(context, options) {
    this.#options = options;
    this.#theme = context.theme;
    this.element = h("div", { className: "plot", tabindex: 0, role: "img", "aria-label": options.label });
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("blur", () => options.pick?.(null));
    new ResizeObserver(() => this.#fit()).observe(this.element);
    context.theme.addEventListener("change", () => this.#u?.redraw(false, true));
  }

  get u() {
    return this.#u;
  }

  // What is one pixel on a laptop, on the canvas: it grows with the type.
  get unit() {
    return (devicePixelRatio * this.#rem) / 13;
  }

  get box() {
    return this.#u.bbox;
  }

  // One rem on the canvas.
  get rem() {
    return this.#rem * devicePixelRatio;
  }

  color(name) {
    return this.#theme.color(name);
  }

  x(value) {
    return this.#u.valToPos(value, "x", true);
  }

  y(value) {
    return this.#u.valToPos(value, "y", true);
  }

  font(rem = 0.8, weight = 400) {
    return `${weight} ${rem * this.rem}px ${FONT}`;
  }

  // Inside the axes only.
  clipped(ctx, paint) {
    const { left, top, width, height } = this.box;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    paint();
    ctx.restore();
  }

  set(data, ranges) {
    this.#data = data;
    this.#ranges = ranges;
    if (!this.#u) return this.#fit();
    this.#u.batch(() => {
      this.#u.setData(data, false);
      for (const [key, [min, max]] of Object.entries(ranges)) this.#u.setScale(key, { min, max });
    });
  }

  redraw() {
    this.#u?.redraw(false, false);
  }

  // Other axes: made anew with the data that is set next.
  remake() {
    this.#u?.destroy();
    this.#u = this.#data = null;
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!this.#data || width < 40 || height < 40) return;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    if (rem !== this.#rem) {
      this.#rem = rem;
      this.#u?.destroy();
      this.#u = null;
    }
    if (!this.#u) this.#make(width, height);
    else if (this.#u.width !== width || this.#u.height !== height) this.#u.setSize({ width, height });
  }

  #make(width, height) {
    const { x, y, series, under, draw } = this.#options;
    const hook = (paint) => (paint ? [(u) => ((this.#u = u), paint(this, u.ctx))] : []);
    const range = (key) => () => this.#ranges[key];
    this.#u = new uPlot(
      {
        width,
        height,
        padding: [0.7 * this.#rem, 1.1 * this.#rem, 0, 0],
        legend: { show: false },
        scales: { x: { time: false, range: range("x") }, y: { range: range("y"), distr: y.log ? 3 : 1 } },
        axes: [this.#axis(x, 0), this.#axis(y, 1)],
        series: [{}, ...series().map((each) => ({ spanGaps: false, points: { show: false }, ...each }))],
        cursor: { drag: { x: false, y: false }, points: { show: false }, x: false, y: false },
        hooks: { drawClear: hook(under), draw: hook(draw), setCursor: [() => this.#pointed()] },
      },
      this.#data,
      this.element,
    );
    this.#touch(this.#u.over);
  }

  #axis({ ticks, text, size }, side) {
    const rem = this.#rem;
    const pixels = (u) => (side === 0 ? u.bbox.width : u.bbox.height) / this.unit;
    return {
      font: `${0.8 * rem}px ${FONT}`,
      stroke: () => this.color("--soft"),
      grid: { stroke: () => this.color("--grid"), width: 1 },
      ticks: { show: false },
      border: { show: side === 0, stroke: () => this.color("--line"), width: 1 },
      gap: 0.35 * rem,
      size: (side === 0 ? 1.9 : (size ?? 3.4)) * rem,
      splits: (u, i, low, high) => ticks(low, high, pixels(u)),
      filter: (u, splits) => splits, // on logarithmic axes some would go
      values: (u, splits) => {
        const step = splits.length > 1 ? splits[1] - splits[0] : splits[0];
        return splits.map((value) => this.#whole(u, side, value, text(value, step)));
      },
    };
  }

  // The text of a tick; none where the right edge would cut it off.
  #whole(u, side, value, text) {
    if (side === 1) return text;
    u.ctx.font = this.font();
    const end = u.valToPos(value, "x", true) + u.ctx.measureText(text).width / 2;
    return end <= u.width * devicePixelRatio ? text : ""; // the canvas itself has its size only later
  }

  // Where the pointer is, as values; null outside.
  #pointed() {
    const { left, top } = this.#u.cursor;
    if (left < 0) {
      if (this.#pointing) this.#options.pick?.(null);
      this.#pointing = false;
      return;
    }
    this.#pointing = true;
    this.#options.pick?.(this.#u.posToVal(left, "x"), this.#u.posToVal(top, "y"));
  }

  // A finger points as a mouse does, and still scrolls the page up and down.
  #touch(over) {
    const move = (event) => {
      if (event.pointerType === "mouse") return;
      const { left, top } = over.getBoundingClientRect();
      this.#u.setCursor({ left: event.clientX - left, top: event.clientY - top });
    };
    over.addEventListener("pointerdown", move);
    over.addEventListener("pointermove", move);
    over.addEventListener("click", () => this.#options.open?.());
  }

  #key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (event.key === "Escape") this.#options.pick?.(null);
    else if (event.key === "Enter") this.#options.open?.();
    else if (by !== undefined) this.#options.step?.(by);
    else return;
    event.preventDefault();
  }
}
