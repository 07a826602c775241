// The density of the price at expiry that a smile implies, beside the lognormal one of its volatility at the money.
// Below zero, in red, there would be butterfly arbitrage. Heights are the chance of ending in one percent of the forward.
import { Panel, key } from "./panel.js";
import { Plot } from "./plot.js";
import { alpha } from "./colors.js";
import { grid } from "./smiles.js";
import { decimalsFor, niceTicks, steady } from "./scale.js";
import { cumulative, density, durrleman, kAtD1, lognormal, normalQuantile, variance } from "../svi.js";
import { fixed, strike as strikeText } from "../format.js";

const POINTS = 320;
const WIDEST = 1.5; // of k
const HEADROOM = 1.16; // for the median's label above the peak
const TAIL = 1e-3; // the chart ends where less than about this is left
const ROOMY = 2; // times as wide as that it may be, to have the axis of the smile above it
const FIELDS = [["price", "Price at expiry"], ["below", "P (lower)"], ["above", "P (higher)"], ["density", "Per 1 % of F"], ["g", "g"], ["middle", "Median"], ["range", "90 % between"]];
const LEGEND = [key("area", "implied"), key("dashed", "lognormal at ATM"), key("negative", "negative: arbitrage")];

export class Density {
  #context;
  #plot;
  #panel;
  #found = null;
  #curve = null;
  #y = null;
  #picked = null; // a price

  constructor(context) {
    this.#context = context;
    this.#plot = new Plot(context, {
      label: "Implied density of the price at expiry. Arrow keys move along it.",
      x: { ticks: (low, high, pixels) => niceTicks(low, high, pixels / 85), text: (x) => strikeText(x) },
      y: { ticks: (low, high, pixels) => niceTicks(low, high, pixels / 40), text: (y, step) => `${fixed(y, decimalsFor(step))} %` },
      series: () => [{ stroke: "transparent" }],
      draw: (plot, ctx) => plot.clipped(ctx, () => this.#draw(plot, ctx)),
      pick: (x) => this.#pick(x),
      step: (by) => this.#step(by),
    });
    this.#panel = new Panel({ id: "density", title: "Density at expiry", fields: FIELDS, chart: this.#plot.element, legend: LEGEND });
    this.element = this.#panel.element;
  }

  forget() {
    this.#y = null;
    this.#picked = null;
  }

  // `beside`: the range of k on the smile's axis, null where that is not one of prices.
  update(found, beside) {
    this.#found = found ?? null;
    const smile = found?.smile;
    this.element.dataset.state = !smile ? "empty" : found.current ? "live" : "stale";
    if (!smile) {
      this.#curve = null;
      this.#panel.read(null);
      return this.#panel.say("There is no smile to tell a density from.");
    }
    this.#panel.say(found.current ? "" : `The smile is ${found.state.status}`);
    this.#curve = curveOf(smile, beside);
    const { ks, values } = this.#curve;
    this.#y = steady(this.#y, Math.min(0, ...values), Math.max(...values), 0.05);
    const x = [ks[0], ks.at(-1)].map((k) => smile.forward * Math.exp(k));
    this.#plot.set([x, [0, 0]], { x, y: [Math.min(...values) < -1e-6 ? this.#y[0] : 0, this.#y[1] * HEADROOM] });
    const least = Math.min(...this.#curve.gs);
    this.#panel.certify([{ status: least >= 0 ? "OK" : "DEGRADED", text: least >= 0 ? "Nowhere negative" : "Negative somewhere" }]);
    this.#read();
  }

  #draw(plot, ctx) {
    if (!this.#curve) return;
    const { smile, current } = this.#found;
    const { ks, values, flat } = this.#curve;
    const x = (k) => plot.x(smile.forward * Math.exp(k));
    const line = (heights) => {
      ctx.beginPath();
      ks.forEach((k, i) => ctx.lineTo(x(k), plot.y(heights[i])));
    };
    const color = current ? plot.color("--series-2") : plot.color("--INVALID");
    const zero = plot.y(0);
    for (const [sign, fill] of [[1, alpha(color, 0.16)], [-1, alpha(plot.color("--alarm"), 0.55)]]) {
      line(values.map((value) => (sign * value > 0 ? value : 0)));
      ctx.lineTo(x(ks.at(-1)), zero);
      ctx.lineTo(x(ks[0]), zero);
      ctx.fillStyle = fill;
      ctx.fill();
    }
    this.#quantiles(plot, ctx, x);
    ctx.lineJoin = "round";
    ctx.lineWidth = 1.3 * plot.unit;
    ctx.strokeStyle = plot.color("--faint");
    ctx.setLineDash([4 * plot.unit, 4 * plot.unit]);
    line(flat);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.lineWidth = 2.2 * plot.unit;
    ctx.strokeStyle = color;
    line(values);
    ctx.stroke();
    if (this.#picked !== null) this.#mark(plot, ctx, color);
  }

  // 5, 50 and 95 % as thin lines up to the curve.
  #quantiles(plot, ctx, x) {
    ctx.lineWidth = plot.unit;
    ctx.strokeStyle = alpha(plot.color("--ink"), 0.35);
    ctx.fillStyle = plot.color("--soft");
    ctx.font = plot.font(0.77);
    ctx.textAlign = "center";
    ctx.textBaseline = "bottom";
    for (const [share, k] of this.#curve.quantiles) {
      const height = plot.y(chance(this.#found.smile, k));
      ctx.beginPath();
      ctx.moveTo(x(k), plot.y(0));
      ctx.lineTo(x(k), height);
      ctx.stroke();
      ctx.fillText(`${share} %`, x(k) + (share === 50 ? 0 : (share - 50) / 2.4) * plot.unit, Math.min(height - 5 * plot.unit, plot.y(0) - 16 * plot.unit));
    }
  }

  #mark(plot, ctx, color) {
    const k = Math.log(this.#picked / this.#found.smile.forward);
    const { top, height } = plot.box;
    const at = plot.x(this.#picked);
    ctx.strokeStyle = alpha(plot.color("--ink"), 0.35);
    ctx.lineWidth = plot.unit;
    ctx.beginPath();
    ctx.moveTo(at, top);
    ctx.lineTo(at, top + height);
    ctx.stroke();
    ctx.fillStyle = color;
    ctx.beginPath();
    ctx.arc(at, plot.y(chance(this.#found.smile, k)), 4.5 * plot.unit, 0, 2 * Math.PI);
    ctx.fill();
  }

  #pick(price) {
    this.#picked = price;
    this.#read();
    this.#plot.redraw();
  }

  #step(by) {
    if (!this.#curve) return;
    const { forward } = this.#found.smile;
    const { ks } = this.#curve;
    const now = this.#picked === null ? 0 : Math.log(this.#picked / forward);
    const to = now + by * ((ks.at(-1) - ks[0]) / 80);
    this.#pick(forward * Math.exp(Math.min(Math.max(to, ks[0]), ks.at(-1))));
  }

  #read() {
    const { smile } = this.#found ?? {};
    if (!smile) return;
    const price = this.#picked ?? smile.forward;
    const k = Math.log(price / smile.forward);
    const below = cumulative(smile, k);
    const [low, middle, high] = this.#curve.quantiles.map(([, at]) => strikeText(Math.round(smile.forward * Math.exp(at))));
    this.#panel.read({
      price: strikeText(Math.round(price)),
      below: `${fixed(100 * below, 1)} %`,
      above: `${fixed(100 * (1 - below), 1)} %`,
      density: `${fixed(chance(smile, k), 2)} %`,
      g: fixed(durrleman(smile, k), 3),
      middle,
      range: `${low} – ${high}`,
    });
  }
}

// The chance, in percent, of a price in one percent of the forward.
const chance = (smile, k) => density(smile, k) * smile.forward;

function curveOf(smile, beside) {
  const w = variance(smile, 0);
  const most = Math.min(8 * Math.sqrt(w), WIDEST); // a smile with arbitrage may have no such strike
  const ends = [Math.max(kAtD1(smile, normalQuantile(1 - TAIL)) || -most, -most), Math.min(kAtD1(smile, normalQuantile(TAIL)) || most, most)];
  const ks = grid(...shared(ends, beside), POINTS);
  return {
    ks,
    values: ks.map((k) => chance(smile, k)),
    flat: ks.map((k) => lognormal(smile, w, k) * smile.forward),
    gs: ks.map((k) => durrleman(smile, k)),
    quantiles: [5, 50, 95].map((share) => [share, quantile(smile, share / 100, ...ends)]),
  };
}

// Both ranges, unless the density would be a needle in that.
function shared([low, high], beside) {
  if (!beside) return [low, high];
  const [from, to] = [Math.min(low, beside[0]), Math.max(high, beside[1])];
  return to - from <= ROOMY * (high - low) ? [from, to] : [low, high];
}

// Where the distribution reaches a share, by halving.
function quantile(smile, share, low, high) {
  for (let i = 0; i < 60; i++) {
    const middle = 0.5 * (low + high);
    if (cumulative(smile, middle) < share) low = middle;
    else high = middle;
  }
  return low;
}
