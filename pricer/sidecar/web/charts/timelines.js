// Figures of smiles through time, one above the other on the same axis, with one read-out for all.
import { Panel, key } from "./panel.js";
import { Plot } from "./plot.js";
import { alpha, expiryColors } from "./colors.js";
import { decimalsFor, niceTicks, steady } from "./scale.js";
import { date, fixed, NOTHING } from "../format.js";

const AXIS = 4.6; // rem: the same for all, so that a moment is at one place in each
const GAP_S = 4; // samples further apart than this many steps are not joined
const percent = (value, digits = 2) => (value === null || value === undefined ? NOTHING : `${fixed(100 * value, digits)} %`);
const signed = (value) => (value > 0 ? `+${percent(value)}` : percent(value));
const CHARTS = [
  { id: "atm", name: "atm_iv", title: "Volatility at the money", scale: 100, text: percent },
  { id: "rr", name: "rr25", title: "25-delta risk reversal: call less put", scale: 100, text: signed, zero: true },
  { id: "bf", name: "bf25", title: "25-delta butterfly: mean of both less at the money", scale: 100, text: percent },
  { id: "forward", name: "forward", title: "Forward", scale: 1, text: (value) => fixed(value, 2) },
];
const STEPS = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);

export class Timelines {
  #context;
  #charts;
  #recorder = null;
  #window = null; // the samples on the screen: [first, after the last]
  #picked = null; // seconds

  constructor(context, controls) {
    this.#context = context;
    this.#charts = CHARTS.map((chart, i) => this.#chart(chart, i === 0 ? controls : []));
    this.elements = this.#charts.map(({ panel }) => panel.element);
  }

  #chart(kind, controls) {
    const chart = { kind, y: null };
    chart.plot = new Plot(this.#context, {
      label: `${kind.title}, through time. Arrow keys go from sample to sample.`,
      x: { ticks: (low, high, pixels) => timeTicks(low, high, pixels), text: (x) => clock(x).replace(/:00$/, "") },
      y: { size: AXIS, ticks: (low, high, pixels) => niceTicks(low, high, pixels / 38), text: (y, step) => `${fixed(y, decimalsFor(step))}${kind.scale === 1 ? "" : " %"}` },
      series: () => [{ stroke: "transparent" }],
      draw: (plot, ctx) => plot.clipped(ctx, () => this.#draw(chart, plot, ctx)),
      pick: (x) => this.#pick(x),
      step: (by) => this.#step(by),
    });
    chart.panel = new Panel({
      id: kind.id, title: kind.title, fields: [["time", "Time, UTC"], ["expiry", "Expiry"], ["value", "Value"], ["change", "Change in window"]],
      controls, chart: chart.plot.element, legend: controls.length ? [key("line", "OK or degraded"), key("gap", "gap: stale or unknown")] : [],
    });
    return chart;
  }

  // `span` in seconds up to the newest sample.
  update(recorder, span) {
    this.#recorder = recorder;
    const { times, expiries, state, why } = recorder ?? { times: [], expiries: [], state: "loading" };
    const known = times.length && expiries.length;
    for (const { panel } of this.#charts) {
      const lost = known && expiries.every(({ status }) => status === "STALE" || status === "INVALID");
      panel.element.dataset.state = !known ? "empty" : lost ? "stale" : "live";
      panel.say(state === "failed" ? `No history: ${why}` : !known ? (state === "loading" ? "Asking for the history" : "Nothing has been sampled yet.") : lost ? "Nothing new: STALE" : "");
    }
    this.#window = null;
    if (!known) return;
    const end = times.at(-1);
    const first = Math.max(times.findIndex((time) => time >= end - span), 0);
    this.#window = [first, times.length];
    const from = Math.max(end - span, Math.min(times[first], end - 30));
    for (const chart of this.#charts) this.#fit(chart, [from, end]);
    this.#read();
  }

  // Many expiries have as many levels of the forward: only one is drawn.
  #shown({ kind }) {
    const { expiries } = this.#recorder;
    return kind.name === "forward" && expiries.length > 1 ? expiries.filter(({ expiry_ns }) => expiry_ns === this.#context.choice.expiry) : expiries;
  }

  #fit(chart, x) {
    const { kind } = chart;
    let [low, high] = [Infinity, -Infinity];
    for (const each of this.#shown(chart)) {
      for (let i = this.#window[0]; i < this.#window[1]; i++) {
        const value = each[kind.name][i];
        if (value === null) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    chart.y = steady(chart.y, low * kind.scale, high * kind.scale, 0.15) ?? [0, 1];
    chart.plot.set([x, [chart.y[0], chart.y[1]]], { x, y: chart.y });
  }

  #draw(chart, plot, ctx) {
    if (!this.#window || !this.#recorder) return;
    const { times } = this.#recorder;
    const shown = this.#shown(chart);
    const colors = shown.length > 1 ? expiryColors(this.#context.theme, shown.length) : [plot.color(chart.kind.scale === 1 ? "--series-2" : "--accent")];
    if (chart.kind.zero) this.#zero(plot, ctx);
    const [first, end] = this.#window;
    const step = Math.max(1, (times[end - 1] - times[first]) / Math.max(end - first - 1, 1));
    shown.forEach((each, i) => {
      const mine = each.expiry_ns === this.#context.choice.expiry;
      ctx.strokeStyle = mine || shown.length === 1 ? colors[i] : alpha(colors[i], 0.55);
      ctx.lineWidth = (mine ? 2 : 1.2) * plot.unit;
      ctx.lineJoin = "round";
      this.#line(chart, plot, ctx, each, step);
    });
    if (this.#picked !== null) this.#mark(chart, plot, ctx, shown, colors);
  }

  // A sample between two gaps is a dot.
  #line({ kind }, plot, ctx, each, step) {
    const { times } = this.#recorder;
    const values = each[kind.name];
    const [first, end] = this.#window;
    let joined = false;
    ctx.beginPath();
    for (let i = first; i < end; i++) {
      if (values[i] === null) {
        joined = false;
        continue;
      }
      const [x, y] = [plot.x(times[i]), plot.y(values[i] * kind.scale)];
      if (joined && times[i] - times[i - 1] < GAP_S * step) ctx.lineTo(x, y);
      else {
        ctx.moveTo(x - plot.unit, y);
        ctx.lineTo(x, y);
      }
      joined = true;
    }
    ctx.stroke();
  }

  #zero(plot, ctx) {
    const { left, width } = plot.box;
    ctx.strokeStyle = alpha(plot.color("--ink"), 0.3);
    ctx.lineWidth = plot.unit;
    ctx.beginPath();
    ctx.moveTo(left, plot.y(0));
    ctx.lineTo(left + width, plot.y(0));
    ctx.stroke();
  }

  #mark({ kind }, plot, ctx, shown, colors) {
    const at = this.#sample();
    const { top, height } = plot.box;
    const x = plot.x(this.#recorder.times[at]);
    ctx.strokeStyle = alpha(plot.color("--ink"), 0.35);
    ctx.lineWidth = plot.unit;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    shown.forEach((each, i) => {
      const value = each[kind.name][at];
      if (value === null) return;
      ctx.fillStyle = colors[i];
      ctx.beginPath();
      ctx.arc(x, plot.y(value * kind.scale), 3.5 * plot.unit, 0, 2 * Math.PI);
      ctx.fill();
    });
  }

  // The number of the sample that is pointed at; else of the newest.
  #sample() {
    const { times } = this.#recorder;
    const [first, end] = this.#window;
    if (this.#picked === null) return end - 1;
    let at = first;
    for (let i = first; i < end; i++) if (Math.abs(times[i] - this.#picked) < Math.abs(times[at] - this.#picked)) at = i;
    return at;
  }

  #step(by) {
    if (!this.#window) return;
    const [first, end] = this.#window;
    const to = Math.min(Math.max(this.#sample() + by, first), end - 1);
    this.#pick(this.#recorder.times[to]);
  }

  #pick(seconds) {
    this.#picked = seconds;
    if (!this.#window) return;
    this.#read();
    for (const { plot } of this.#charts) plot.redraw();
  }

  #read() {
    const at = this.#sample();
    const { times, expiries } = this.#recorder;
    const mine = expiries.find(({ expiry_ns }) => expiry_ns === this.#context.choice.expiry) ?? expiries[0];
    for (const { kind, panel } of this.#charts) {
      const values = mine[kind.name];
      const begin = values.slice(...this.#window).find((value) => value !== null) ?? null;
      const change = values[at] === null || begin === null ? null : values[at] - begin;
      const digits = kind.scale === 1 ? 2 : 3;
      panel.read({
        time: clock(times[at]),
        expiry: date(mine.expiry_ns),
        value: kind.text(values[at]),
        change: change === null ? NOTHING : `${change > 0 ? "+" : ""}${fixed(change * kind.scale, digits)}`,
      });
    }
  }
}

function timeTicks(low, high, pixels) {
  const apart = (high - low) / Math.max(pixels / 80, 1);
  const step = STEPS.find((each) => each >= apart) ?? STEPS.at(-1);
  const out = [];
  for (let at = Math.ceil(low / step) * step; at <= high; at += step) out.push(at);
  return out;
}
