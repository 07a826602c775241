// Total variance of every expiry over log-moneyness: lines that never cross are a surface without calendar arbitrage.
import { Panel, key } from "./panel.js";
import { Plot } from "./plot.js";
import { alpha, expiryColors } from "./colors.js";
import { grid } from "./smiles.js";
import { decimalsFor, niceTicks } from "./scale.js";
import { variance } from "../svi.js";
import { date, fixed, significant, NOTHING } from "../format.js";
import { told } from "../status.js";

const POINTS = 120;
const FIELDS = [["expiry", "Expiry"], ["k", "ln K/F"], ["w", "Total variance"], ["iv", "IV"], ["gap", "Least gap below"], ["status", "Status"]];
const LEGEND = [key("ramp", "near to far"), key("dashed", "beyond the quotes"), key("grey", "stale")];

const decades = (low, high) => {
  if (!(low > 0 && high < Infinity)) return [];
  const out = [];
  for (let power = Math.ceil(Math.log10(low)); 10 ** power <= high; power++) out.push(10 ** power);
  return out.length > 1 ? out : niceTicks(low, high, 4).filter((tick) => tick > 0);
};

export class TotalVariance {
  #context;
  #scale;
  #plot;
  #panel;
  #smiles = [];
  #ranges = null;
  #picked = null; // { expiry_ns, k }

  constructor(context, scale) {
    this.#context = context;
    this.#scale = scale;
    this.#make();
    this.#panel = new Panel({ id: "variance", title: "Total variance of all expiries", fields: FIELDS, controls: [scale.element], chart: this.#plot.element, legend: LEGEND });
    this.element = this.#panel.element;
  }

  #make() {
    const logarithmic = () => this.#scale.value === "log";
    this.#plot = new Plot(this.#context, {
      label: "Total variance over log-moneyness, one line for each expiry. Arrow keys go from expiry to expiry.",
      x: { ticks: (low, high, pixels) => niceTicks(low, high, pixels / 70), text: (x, step) => fixed(x, decimalsFor(step)) },
      y: {
        get log() {
          return logarithmic();
        },
        ticks: (low, high, pixels) => (logarithmic() ? decades(low, high) : niceTicks(low, high, pixels / 45)),
        text: (y) => (y >= 1e-4 || y === 0 ? significant(y, 3) : y.toExponential(0).replace("-", "−")),
      },
      series: () => [{ stroke: "transparent" }],
      draw: (plot, ctx) => plot.clipped(ctx, () => this.#draw(plot, ctx)),
      pick: (x, y) => this.#point(x, y),
      step: (by) => this.#step(by),
      open: () => this.#open(),
    });
  }

  turn() {
    this.#ranges = null;
    this.#plot.remake();
  }

  forget() {
    this.#picked = null;
    this.#ranges = null;
  }

  update(smiles) {
    this.#smiles = smiles.filter(({ smile }) => smile);
    const stale = this.#smiles.length && this.#smiles.every(({ current }) => !current);
    this.element.dataset.state = !this.#smiles.length ? "empty" : stale ? "stale" : this.#smiles.length < smiles.length ? "partial" : "live";
    if (!this.#smiles.length) {
      this.#panel.read(null);
      return this.#panel.say("No smile is known yet.");
    }
    this.#panel.say(stale ? "All of it is STALE" : "");
    this.#ranges = fitting(this.#ranges, this.#smiles, this.#scale.value);
    const { x, y } = this.#ranges;
    this.#plot.set([x, y], { x, y });
    this.#certify();
    this.#read();
  }

  #certify() {
    const surfaces = this.#smiles.map(({ surface }) => surface);
    const gaps = surfaces.map(({ min_calendar_gap: gap }) => gap).filter((gap) => gap !== null);
    const gs = surfaces.map(({ min_g }) => min_g).filter((g) => g !== null);
    const uncertified = surfaces.filter(({ certified }) => !certified);
    const [gap, g] = [Math.min(...gaps), Math.min(...gs)];
    this.#panel.certify([
      ...(gaps.length ? [{ status: gap >= 0 ? "OK" : "DEGRADED", text: gap >= 0 ? `No lines cross: Δw ≥ ${significant(gap, 2)}` : `Lines cross: Δw ${significant(gap, 2)}` }] : []),
      ...(gs.length ? [{ status: g >= 0 ? "OK" : "DEGRADED", text: `g ≥ ${significant(g, 2)}` }] : []),
      uncertified.length
        ? { status: "DEGRADED", text: `${uncertified.length} not certified`, hint: uncertified.map(({ expiry_ns }) => date(expiry_ns)).join(", ") }
        : { status: "OK", text: "Certified free of arbitrage" },
    ]);
  }

  #draw(plot, ctx) {
    if (!this.#ranges) return;
    const colors = expiryColors(this.#context.theme, this.#smiles.length);
    const [low, high] = this.#ranges.x;
    ctx.lineJoin = "round";
    this.#smiles.forEach(({ smile, current, expiry_ns }, i) => {
      const picked = expiry_ns === this.#picked?.expiry_ns;
      const faded = this.#picked && !picked;
      const color = current ? colors[i] : plot.color("--INVALID");
      ctx.strokeStyle = faded ? alpha(color, 0.35) : color;
      for (const [from, to, dash] of [[low, Math.min(smile.k_min, high), 3], [Math.max(smile.k_min, low), Math.min(smile.k_max, high), 0], [Math.max(smile.k_max, low), high, 3]]) {
        if (!(to > from)) continue;
        ctx.lineWidth = (picked ? 2.8 : dash ? 1 : 1.8) * plot.unit;
        ctx.setLineDash(dash ? [dash * plot.unit, 2 * dash * plot.unit] : []);
        ctx.beginPath();
        for (const k of grid(from, to, POINTS)) ctx.lineTo(plot.x(k), plot.y(variance(smile, k)));
        ctx.stroke();
      }
    });
    ctx.setLineDash([]);
    this.#labels(plot, ctx, colors);
  }

  // Each line's date at its end, where it has room.
  #labels(plot, ctx, colors) {
    const { left, width } = plot.box;
    ctx.font = plot.font(0.77, 500);
    ctx.textAlign = "right";
    ctx.textBaseline = "bottom";
    const height = 0.77 * 1.3 * plot.rem;
    ctx.lineJoin = "round";
    ctx.lineWidth = 5 * plot.unit;
    ctx.strokeStyle = plot.color("--card");
    const taken = [];
    for (let i = this.#smiles.length - 1; i >= 0; i--) {
      const { smile, current, expiry_ns } = this.#smiles[i];
      const y = plot.y(variance(smile, this.#ranges.x[1])) - 2 * plot.unit;
      const picked = expiry_ns === this.#picked?.expiry_ns;
      if (!picked && taken.some((other) => Math.abs(other - y) < height)) continue;
      taken.push(y);
      ctx.fillStyle = current ? colors[i] : plot.color("--INVALID");
      ctx.strokeText(date(expiry_ns), left + width - 4 * plot.unit, y);
      ctx.fillText(date(expiry_ns), left + width - 4 * plot.unit, y);
    }
  }

  // The line nearest to the pointer.
  #point(k, w) {
    if (k === null || !this.#smiles.length) return this.#pick(null);
    const place = (value) => (this.#scale.value === "log" ? Math.log(value) : value);
    const distance = ({ smile }) => Math.abs(place(variance(smile, k)) - place(w));
    const { expiry_ns } = this.#smiles.reduce((a, b) => (distance(b) < distance(a) ? b : a));
    this.#pick({ expiry_ns, k });
  }

  #step(by) {
    if (!this.#smiles.length) return;
    const now = this.#smiles.findIndex(({ expiry_ns }) => expiry_ns === this.#picked?.expiry_ns);
    const to = Math.min(Math.max(now + by, 0), this.#smiles.length - 1);
    this.#pick({ expiry_ns: this.#smiles[to].expiry_ns, k: this.#picked?.k ?? 0 });
  }

  #pick(picked) {
    this.#picked = picked;
    this.#read();
    this.#plot.redraw();
  }

  #open() {
    if (!this.#picked) return;
    this.#context.choose({ expiry: this.#picked.expiry_ns });
    this.#context.navigate("smile");
  }

  #read() {
    const expiry = this.#picked?.expiry_ns ?? this.#context.choice.expiry;
    const found = this.#smiles.find(({ expiry_ns }) => expiry_ns === expiry) ?? this.#smiles[0];
    if (!found) return this.#panel.read(null);
    const k = this.#picked?.k ?? 0;
    const w = variance(found.smile, k);
    const { min_calendar_gap: gap } = found.surface;
    this.#panel.read({
      expiry: date(found.expiry_ns),
      k: fixed(k, 3),
      w: significant(w, 4),
      iv: `${fixed(100 * Math.sqrt(w / found.smile.ttm), 2)} %`,
      gap: gap === null ? NOTHING : significant(gap, 3),
      status: told(found.state),
    });
  }
}

// The quoted range of the middle expiries on the x axis, and what all lines do there on the y axis; kept while it fits.
function fitting(old, smiles, scale) {
  const low = Math.min(...smiles.map(({ smile }) => smile.k_min));
  const high = Math.max(...smiles.map(({ smile }) => smile.k_max));
  const x = [Math.max(low, -1.2), Math.min(high, 1.2)];
  const heights = smiles.flatMap(({ smile }) => [0, ...grid(...x, 16)].map((k) => variance(smile, k))).filter((w) => w > 0);
  const [least, most] = [Math.min(...heights), Math.max(...heights)];
  const y = scale === "log" ? [least / 1.5, most * 1.5] : [0, most * 1.05];
  const fits = old && ["x", "y"].every((key) => {
    const [a, b] = key === "x" ? x : [least, most];
    return a >= old[key][0] - 1e-9 && b <= old[key][1] + 1e-9;
  });
  return fits ? old : { x, y };
}
