// Volatility at the money of each expiry, and the forward volatility between one and the next: √(Δw/Δttm). The axis is
// √time, so that a day and a year both have room.
import { Panel, key } from "./panel.js";
import { Plot } from "./plot.js";
import { alpha } from "./colors.js";
import { decimalsFor, niceTicks, steady, tenors } from "./scale.js";
import { point } from "./marks.js";
import { forwardVolatility } from "../svi.js";
import { date, fixed, left, NOTHING } from "../format.js";
import { told } from "../status.js";

const FIELDS = [["expiry", "Expiry"], ["left", "Time left"], ["atm", "ATM vol"], ["forward", "Forward vol to here"], ["rr", "25Δ RR"], ["bf", "25Δ BF"], ["status", "Status"]];
const LEGEND = [key("line", "at the money"), key("step", "forward volatility between expiries"), key("warned", "degraded"), key("old", "stale")];
const percent = (value) => (value === null || !Number.isFinite(value) ? NOTHING : `${fixed(100 * value, 2)} %`);

export class TermStructure {
  #context;
  #plot;
  #panel;
  #rows = [];
  #y = null;
  #picked = null; // expiry_ns

  constructor(context) {
    this.#context = context;
    this.#plot = new Plot(context, {
      label: "Volatility at the money by expiry. Arrow keys go from expiry to expiry.",
      x: { ticks: (low, high, pixels) => tenors(low, high, pixels).map(({ ttm }) => Math.sqrt(ttm)), text: (x) => tenors(x - 1e-9, x + 1e-9, 1)[0]?.label ?? "" },
      y: { ticks: (low, high, pixels) => niceTicks(low, high, pixels / 45), text: (y, step) => `${fixed(y, decimalsFor(step))} %` },
      series: () => [{ stroke: "transparent" }],
      draw: (plot, ctx) => plot.clipped(ctx, () => this.#draw(plot, ctx)),
      pick: (x) => this.#pick(x === null ? null : this.#nearest(x)),
      step: (by) => this.#step(by),
      open: () => this.#open(),
    });
    this.#panel = new Panel({ id: "term", title: "Term structure at the money", fields: FIELDS, chart: this.#plot.element, legend: LEGEND });
    this.element = this.#panel.element;
  }

  forget() {
    this.#y = null;
    this.#picked = null;
  }

  update(smiles) {
    this.#rows = rowsOf(smiles);
    const rows = this.#rows;
    this.element.dataset.state = !rows.length ? "empty" : rows.every(({ current }) => !current) ? "stale" : rows.length < smiles.length ? "partial" : "live";
    if (!rows.length) {
      this.#panel.read(null);
      return this.#panel.say("No smile is known yet.");
    }
    this.#panel.say(this.element.dataset.state === "stale" ? "All of it is STALE" : "");
    const heights = rows.flatMap(({ atm, forward }) => [atm, forward]).filter(Number.isFinite).map((value) => 100 * value);
    this.#y = steady(this.#y, Math.min(...heights), Math.max(...heights), 0.12);
    const x = rows.map(({ ttm }) => Math.sqrt(ttm));
    const room = 0.03 * (x.at(-1) - x[0]) + 0.01;
    const ends = [Math.max(x[0] - room, 0), x.at(-1) + room];
    this.#plot.set([ends, [this.#y[0], this.#y[1]]], { x: ends, y: this.#y });
    const falls = rows.filter(({ forward }) => Number.isNaN(forward)).length;
    this.#panel.certify([{ status: falls ? "DEGRADED" : "OK", text: falls ? `Variance falls ${falls} times` : "Variance rises with time" }]);
    this.#read();
  }

  #draw(plot, ctx) {
    const rows = this.#rows;
    const at = ({ ttm, atm }) => [plot.x(Math.sqrt(ttm)), plot.y(100 * atm)];
    this.#forwards(plot, ctx);
    const stale = rows.every(({ current }) => !current);
    ctx.strokeStyle = stale ? plot.color("--INVALID") : plot.color("--accent");
    ctx.lineWidth = 2.2 * plot.unit;
    ctx.lineJoin = "round";
    ctx.beginPath();
    rows.forEach((row) => ctx.lineTo(...at(row)));
    ctx.stroke();
    for (const row of rows) {
      const [x, y] = at(row);
      const radius = (row.expiry_ns === this.#picked ? 6 : 4) * plot.unit;
      ctx.lineWidth = 1.5 * plot.unit;
      const color = row.state.status === "OK" ? plot.color("--accent") : undefined;
      ctx.save();
      ctx.fillStyle = plot.color("--card");
      ctx.beginPath();
      ctx.arc(x, y, radius + 2 * plot.unit, 0, 2 * Math.PI);
      ctx.fill();
      ctx.restore();
      point(ctx, this.#context.theme, row.state.status, x, y, radius, color);
    }
  }

  #forwards(plot, ctx) {
    const rows = this.#rows;
    ctx.strokeStyle = plot.color("--series-2");
    ctx.fillStyle = alpha(plot.color("--series-2"), 0.1);
    ctx.lineWidth = 1.6 * plot.unit;
    const { top, height } = plot.box;
    for (let i = 1; i < rows.length; i++) {
      const { forward } = rows[i];
      if (!Number.isFinite(forward)) continue;
      const [from, to, y] = [plot.x(Math.sqrt(rows[i - 1].ttm)), plot.x(Math.sqrt(rows[i].ttm)), plot.y(100 * forward)];
      if (rows[i].expiry_ns === this.#picked) ctx.fillRect(from, top, to - from, height);
      ctx.beginPath();
      ctx.moveTo(from, y);
      ctx.lineTo(to, y);
      ctx.stroke();
    }
  }

  #nearest(x) {
    const distance = ({ ttm }) => Math.abs(Math.sqrt(ttm) - x);
    return this.#rows.length ? this.#rows.reduce((a, b) => (distance(b) < distance(a) ? b : a)).expiry_ns : null;
  }

  #step(by) {
    if (!this.#rows.length) return;
    const now = this.#rows.findIndex(({ expiry_ns }) => expiry_ns === this.#picked);
    this.#pick(this.#rows[Math.min(Math.max(now + by, 0), this.#rows.length - 1)].expiry_ns);
  }

  #pick(expiry) {
    if (this.#picked === expiry) return;
    this.#picked = expiry;
    this.#read();
    this.#plot.redraw();
  }

  #open() {
    if (this.#picked === null) return;
    this.#context.choose({ expiry: this.#picked });
    this.#context.navigate("smile");
  }

  #read() {
    const row = this.#rows.find(({ expiry_ns }) => expiry_ns === this.#picked) ?? this.#rows.find(({ expiry_ns }) => expiry_ns === this.#context.choice.expiry) ?? this.#rows[0];
    if (!row) return this.#panel.read(null);
    this.#panel.read({
      expiry: date(row.expiry_ns),
      left: left(row.expiry_ns / 1e6 - Date.now()),
      atm: percent(row.atm),
      forward: Number.isNaN(row.forward) ? "variance falls" : percent(row.forward),
      rr: percent(row.surface.rr25),
      bf: percent(row.surface.bf25),
      status: told(row.state),
    });
  }
}

// Those with a volatility, each with the forward volatility since the one before: null for the first, NaN where variance falls.
function rowsOf(smiles) {
  const known = smiles.filter(({ surface, ttm }) => surface && surface.atm_iv !== null && surface.atm_iv !== undefined && ttm > 0);
  return known.map((each, i) => {
    const atm_iv = each.surface.atm_iv;
    const before = known[i - 1];
    const forward = before ? forwardVolatility({ atm_iv: before.surface.atm_iv, ttm: before.ttm }, { atm_iv, ttm: each.ttm }) : null;
    return { ...each, atm: atm_iv, forward };
  });
}
