// Quotes as bars from bid to ask volatility, the fitted smile through them, what one tick of price is worth as a band
// (no quote tells volatility better), and the venue's mark.
import { Panel, key } from "./panel.js";
import { Plot } from "./plot.js";
import { alpha, statusColor } from "./colors.js";
import { certificate, grid, percentAt, rangeOf } from "./smiles.js";
import { diamond, hatch, point, quote } from "./marks.js";
import { decimalsFor, niceTicks, steady } from "./scale.js";
import { quotesOf } from "./ladder.js";
import { d1, kAtD1, normalCdf, normalQuantile } from "../svi.js";
import { age, fixed, percent, strike as strikeText, NOTHING } from "../format.js";
import { told } from "../status.js";

const POINTS = 240;
const FIELDS = [
  ["strike", "Strike"], ["k", "ln K/F"], ["delta", "Δ"], ["bid", "Bid IV"], ["ask", "Ask IV"], ["fit", "Fit"],
  ["error", "± one tick"], ["mark", "Venue mark"], ["off", "Mid − fit"], ["status", "Status"],
];
const LEGEND = [
  key("quote", "bid – ask"), key("side", "ask alone, bid alone"), key("line", "fit"), key("band", "± one tick of price"), key("diamond", "venue mark"),
  key("dashed", "extrapolated"), key("warned", "degraded"), key("stale", "stale"),
];
const DELTAS = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99];

const text = (value, digits = 2) => (value === null ? NOTHING : `${fixed(value, digits)} %`);
const is = (value) => value !== null && value !== undefined && Number.isFinite(value);

// Axes of the horizontal direction: a place for each k, and words for places. Delta is Φ(−d1): puts left, calls right.
const AXES = {
  strike: {
    place: (k, { forward }) => forward * Math.exp(k),
    back: (x, { forward }) => Math.log(x / forward),
    ticks: (low, high, pixels) => niceTicks(low, high, pixels / 85),
    text: (x) => strikeText(x),
  },
  k: {
    place: (k) => k,
    back: (x) => x,
    ticks: (low, high, pixels) => niceTicks(low, high, pixels / 70),
    text: (x, step) => fixed(x, decimalsFor(step)),
  },
  delta: {
    place: (k, { smile }) => normalCdf(-d1(smile, k)),
    back: (x, { smile }) => kAtD1(smile, -normalQuantile(x)),
    ticks: (low, high) => DELTAS.filter((delta) => delta >= low && delta <= high),
    text: (x) => (x === 0.5 ? "50" : x < 0.5 ? `${Math.round(100 * x)} p` : `${Math.round(100 * (1 - x))} c`),
  },
};

export class Smile {
  #context;
  #plot;
  #panel;
  #axis;
  #quotes = [];
  #found = null; // as smilesOf gives it
  #y = null;
  #picked = null; // a strike
  #shown = null;
  #range = null; // of k

  constructor(context, axis) {
    this.#context = context;
    this.#axis = axis;
    this.#plot = new Plot(context, {
      label: "Implied volatility by strike. Arrow keys go from strike to strike.",
      x: { ticks: (...range) => this.#way.ticks(...range), text: (x, step) => this.#way.text(x, step) },
      y: { ticks: (low, high, pixels) => niceTicks(low, high, pixels / 45), text: (y, step) => `${fixed(y, decimalsFor(step))} %` },
      series: () => [{ stroke: "transparent" }],
      under: (plot, ctx) => this.#under(plot, ctx),
      draw: (plot, ctx) => plot.clipped(ctx, () => this.#draw(plot, ctx)),
      pick: (x) => this.#pick(x === null ? null : this.#nearest(x)),
      step: (by) => this.#step(by),
      open: () => this.#open(),
    });
    this.#panel = new Panel({ id: "smile", title: "Smile", fields: FIELDS, controls: [axis.element], chart: this.#plot.element, legend: LEGEND });
    this.element = this.#panel.element;
  }

  get #way() {
    return AXES[this.#axis.value === "delta" && !this.#found?.smile ? "k" : this.#axis.value];
  }

  // The range of k that is shown, where the axis is one of prices.
  get prices() {
    return this.#axis.value === "strike" ? this.#range : null;
  }

  // Another expiry: nothing is pointed at, and axes begin anew.
  forget() {
    this.#picked = null;
    this.#y = null;
    this.#quotes = [];
    this.#range = null;
  }

  turn() {
    this.#plot.remake();
  }

  update(found, table, refused) {
    this.#found = found ?? null;
    const forward = found?.smile?.forward ?? found?.forward?.value ?? null;
    this.#quotes = quotesOf(table, found?.expiry_ns, forward);
    if (!this.#quotes.length || !forward) return this.#say(refused || "No quotes are known yet.");
    this.#shown = { forward, smile: found.smile };
    const [low, high] = found.smile && is(found.smile.k_min) ? rangeOf(found.smile) : extent(this.#quotes);
    this.#range = [low, high];
    const places = [this.#way.place(low, this.#shown), this.#way.place(high, this.#shown)];
    this.#y = steady(this.#y, ...this.#heights(low, high));
    const y = this.#y ?? [0, 100];
    this.#plot.set([places, [y[0], y[1]]], { x: places, y });
    this.#say(refused);
    this.#read();
  }

  #say(why) {
    const { smile, state, current } = this.#found ?? {};
    const stale = smile && !current;
    this.element.dataset.state = !this.#found || !this.#quotes.length ? "empty" : stale ? "stale" : smile ? "live" : "partial";
    const reasons = state?.reasons.length ? ` (${state.reasons.join(", ")})` : "";
    this.#panel.say(why || (stale ? `The smile is ${state.status}${reasons}` : smile ? "" : `There is no smile${reasons}`));
    const fit = this.#found?.surface && { status: state.status, text: `Fit ${told(state)}`, hint: `${age(this.#context.market.age(this.#found.surface))} old` };
    this.#panel.certify(this.#found ? [...(fit ? [fit] : []), ...certificate(this.#found, this.#context.format)] : []);
  }

  // The least and the largest volatility to be seen; a wild quote does not squeeze the rest.
  #heights(low, high) {
    const seen = [];
    const { smile } = this.#shown;
    if (smile) for (const k of grid(low, high, 24)) seen.push(percentAt(smile, k));
    const inside = this.#quotes.filter(({ k }) => k >= low && k <= high);
    // An ask without a bid may be anywhere: it has no say where there is a smile.
    for (const { bid, ask, mark } of inside) seen.push(mark, ...(smile && !(is(bid) && is(ask)) ? [] : [bid, ask]));
    const values = seen.filter(is).sort((a, b) => a - b);
    if (!values.length) return [NaN, NaN];
    const cut = Math.floor(values.length * 0.01);
    return [Math.max(values[cut], 0), values[values.length - 1 - cut]];
  }

  #under(plot, ctx) {
    const smile = this.#found?.smile;
    const { left, top, width, height } = plot.box;
    if (!smile || !is(smile.k_min)) return;
    const edge = (k) => Math.min(Math.max(plot.x(this.#way.place(k, this.#shown)), left), left + width);
    const [from, to] = [edge(smile.k_min), edge(smile.k_max)];
    const color = alpha(plot.color("--faint"), 0.16);
    hatch(ctx, color, left, top, from - left, height, plot.unit);
    hatch(ctx, color, to, top, left + width - to, height, plot.unit);
    this.#at(plot, ctx, this.#way.place(0, this.#shown), plot.color("--line"), "F");
  }

  #at(plot, ctx, x, color, label) {
    const { top, height } = plot.box;
    const at = plot.x(x);
    ctx.strokeStyle = color;
    ctx.lineWidth = plot.unit;
    ctx.beginPath();
    ctx.moveTo(at, top);
    ctx.lineTo(at, top + height);
    ctx.stroke();
    if (!label) return;
    ctx.fillStyle = plot.color("--faint");
    ctx.font = plot.font(0.77);
    ctx.textAlign = "center";
    ctx.textBaseline = "top";
    ctx.fillText(label, at + 7 * plot.unit, top + 2 * plot.unit);
  }

  #draw(plot, ctx) {
    if (this.#found?.smile) {
      this.#band(plot, ctx);
      this.#curve(plot, ctx);
    }
    this.#bars(plot, ctx);
    if (this.#picked !== null) this.#highlight(plot, ctx);
  }

  // One tick to both sides, from quote to quote.
  #band(plot, ctx) {
    const known = this.#quotes.filter(({ bid, ask, fit, error }) => is(bid) && is(ask) && is(fit) && is(error));
    if (known.length < 2 || !this.#found.current) return;
    const x = ({ k }) => plot.x(this.#way.place(k, this.#shown));
    ctx.fillStyle = alpha(plot.color("--accent"), 0.16);
    ctx.beginPath();
    known.forEach((each) => ctx.lineTo(x(each), plot.y(percentAt(this.#found.smile, each.k) + each.error)));
    known.toReversed().forEach((each) => ctx.lineTo(x(each), plot.y(percentAt(this.#found.smile, each.k) - each.error)));
    ctx.fill();
  }

  // Solid between quotes, dashed beyond, grey where it is old.
  #curve(plot, ctx) {
    const { smile, current } = this.#found;
    const [low, high] = rangeOf(smile);
    ctx.strokeStyle = current ? plot.color("--accent") : plot.color("--INVALID");
    ctx.lineWidth = 2.2 * plot.unit;
    ctx.lineJoin = ctx.lineCap = "round";
    for (const [from, to, dash] of [[low, smile.k_min, 4], [smile.k_min, smile.k_max, 0], [smile.k_max, high, 4]]) {
      ctx.setLineDash(dash ? [dash * plot.unit, 1.6 * dash * plot.unit] : []);
      ctx.beginPath();
      for (const k of grid(from, to, dash ? 30 : POINTS)) ctx.lineTo(plot.x(this.#way.place(k, this.#shown)), plot.y(percentAt(smile, k)));
      ctx.stroke();
    }
    ctx.setLineDash([]);
  }

  #bars(plot, ctx) {
    const { left, width } = plot.box;
    const pixel = plot.unit;
    const wide = Math.max(2.2, Math.min(5, width / pixel / this.#quotes.length / 3.2)) * pixel;
    const { theme } = this.#context;
    for (const { k, bid, ask, mark, state } of this.#quotes) {
      const x = plot.x(this.#way.place(k, this.#shown));
      if (!(x > left - 20 && x < left + width + 20)) continue;
      const y = (value) => (is(value) ? plot.y(value) : null);
      const own = state.status === "OK" ? alpha(plot.color("--ink"), 0.62) : statusColor(theme, state.status);
      ctx.strokeStyle = own;
      ctx.lineWidth = (state.status === "STALE" ? 1 : 1.4) * pixel;
      ctx.setLineDash(state.status === "STALE" ? [2 * pixel, 2 * pixel] : []);
      if (is(bid) || is(ask)) quote(ctx, x, y(bid), y(ask), wide, pixel);
      ctx.setLineDash([]);
      if (state.status === "DEGRADED") point(ctx, theme, "DEGRADED", x, y(is(ask) ? ask : bid) - 6 * pixel, 2.4 * pixel, own);
      ctx.lineWidth = 1.3 * pixel;
      if (is(mark)) diamond(ctx, plot.color("--series-2"), x, plot.y(mark), 0.68 * wide + 0.2 * pixel);
    }
  }

  #highlight(plot, ctx) {
    const found = this.#quotes.find(({ strike }) => strike === this.#picked);
    if (!found) return;
    const x = this.#way.place(found.k, this.#shown);
    this.#at(plot, ctx, x, alpha(plot.color("--ink"), 0.35), "");
    if (!this.#found.smile) return;
    ctx.lineWidth = 2 * plot.unit;
    ctx.strokeStyle = plot.color("--card");
    ctx.fillStyle = this.#found.current ? plot.color("--accent") : plot.color("--INVALID");
    ctx.beginPath();
    ctx.arc(plot.x(x), plot.y(percentAt(this.#found.smile, found.k)), 5 * plot.unit, 0, 2 * Math.PI);
    ctx.fill();
    ctx.stroke();
  }

  // ---- what is pointed at

  #nearest(x) {
    const distance = ({ k }) => Math.abs(this.#way.place(k, this.#shown) - x);
    return this.#quotes.length ? this.#quotes.reduce((a, b) => (distance(b) < distance(a) ? b : a)).strike : null;
  }

  #step(by) {
    if (!this.#quotes.length) return;
    const now = this.#quotes.findIndex(({ strike }) => strike === (this.#picked ?? this.#atTheMoney));
    const to = Math.min(Math.max(now + by, 0), this.#quotes.length - 1);
    this.#pick(this.#quotes[to].strike);
  }

  #pick(strike) {
    if (this.#picked === strike) return;
    this.#picked = strike;
    this.#read();
    this.#plot.redraw();
  }

  #open() {
    const found = this.#quotes.find(({ strike }) => strike === this.#picked);
    if (found) this.#context.navigate("instrument", found.name);
  }

  get #atTheMoney() {
    return this.#quotes.reduce((a, b) => (Math.abs(b.k) < Math.abs(a.k) ? b : a)).strike;
  }

  // Of the strike that is pointed at; else of the one at the money.
  #read() {
    if (!this.#quotes.length) return this.#panel.read(null);
    const found = this.#quotes.find(({ strike }) => strike === (this.#picked ?? this.#atTheMoney));
    if (!found) return this.#panel.read(null);
    const { bid, ask, mark, fit, error, k, state } = found;
    const mid = is(bid) && is(ask) ? 0.5 * (bid + ask) : null;
    const off = mid !== null && is(fit) ? mid - fit : null;
    this.#panel.read({
      strike: `${strikeText(found.strike)} ${found.cp > 0 ? "call" : "put"}`,
      k: fixed(k, 3),
      delta: fixed(found.delta, 3),
      bid: text(bid),
      ask: text(ask),
      fit: text(fit),
      error: is(error) ? fixed(error, 2) : NOTHING,
      mark: text(mark),
      off: off === null ? NOTHING : `${off > 0 ? "+" : ""}${fixed(off, 2)}`,
      status: told(state),
    });
    if (this.#picked !== null) this.#context.say(`${found.name} · ${told(found.model)} · quote ${age(found.age)} old · Δ ${fixed(found.delta, 4)} · fit ${percent(fit === null ? null : fit / 100, 3)} %`);
  }
}

// Where quotes are, when there is no smile to say so.
function extent(quotes) {
  const ks = quotes.filter(({ bid, ask }) => is(bid) || is(ask)).map(({ k }) => k);
  return ks.length > 1 ? [Math.min(...ks), Math.max(...ks)] : [-0.2, 0.2];
}
