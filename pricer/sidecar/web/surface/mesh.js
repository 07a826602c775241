// The surface as a net: one row for each expiry and some between, from the left end of the quotes to the right. Between
// expiries total variance runs straight in time at the same place in the row, which is for the eye and prices nothing.
import { HEIGHT } from "./camera.js";
import { iv, kAtD1, normalQuantile, d1, normalCdf } from "../svi.js";
import { niceTicks, steady } from "../charts/scale.js";
import { date, strike as strikeText } from "../format.js";

export const COLUMNS = 44;
const ROWS = 30; // about so many in all
const DELTAS = [0.05, 0.25, 0.5, 0.75, 0.95];
const EDGE = 0.02; // of delta, by strike
const LIGHT = [-0.35, 0.85, -0.4];

const AXES = { strike: strikeAxis, delta: deltaAxis };

export class Mesh {
  rows = 0;
  lines = []; // { row, expiry_ns, current } of each expiry, near to far
  vertices = new Float32Array(0); // x, y, z
  vols = new Float32Array(0);
  shades = new Float32Array(0); // one a cell
  stale = new Uint8Array(0); // one a cell
  range = null; // of volatility, percent
  ticks = []; // of the horizontal axis: { x, text }
  dates = []; // of time: { z, text, expiry_ns }
  levels = []; // of volatility: { vol, y, text }

  // Smiles as smilesOf gives them, near to far.
  build(smiles, kind) {
    const known = smiles.filter(({ smile, ttm }) => smile && ttm > 0 && Number.isFinite(smile.k_min));
    this.smiles = known;
    this.rows = 0;
    if (known.length < 2) return false;
    const [first, last] = [Math.sqrt(known[0].ttm), Math.sqrt(known.at(-1).ttm)];
    this.timeOf = (ttm) => (2 * (Math.sqrt(ttm) - first)) / (last - first) - 1;
    this.axis = AXES[kind](known);
    this.#net(known);
    this.#colour();
    this.ticks = this.axis.ticks();
    this.dates = this.#dates(0.17);
    this.levels = niceTicks(...this.range, 5).map((vol) => ({ vol, y: this.heightOf(vol), text: `${vol} %` }));
    return true;
  }

  #net(known) {
    const rows = known.map((each) => this.axis.row(each)); // [{ x, iv }] along each smile
    const steps = known.slice(1).map((each, i) =>
      Math.max(1, Math.round(((this.timeOf(each.ttm) - this.timeOf(known[i].ttm)) / 2) * ROWS)));
    this.rows = steps.reduce((a, b) => a + b, 1);
    const wide = COLUMNS + 1;
    this.vols = new Float32Array(this.rows * wide);
    this.vertices = new Float32Array(3 * this.rows * wide);
    this.old = new Uint8Array(this.rows);
    this.lines = [];
    let row = 0;
    known.forEach((near, i) => {
      this.lines.push({ row, expiry_ns: near.expiry_ns, current: near.current });
      const far = known[i + 1] ?? near;
      for (let step = 0; step < (steps[i] ?? 1); step++, row++) {
        const share = step / (steps[i] ?? 1);
        const root = Math.sqrt(near.ttm) + share * (Math.sqrt(far.ttm) - Math.sqrt(near.ttm));
        this.#row(row, rows[i], rows[i + 1] ?? rows[i], near.ttm, far.ttm, root * root, share);
        this.old[row] = near.current && (share === 0 || far.current) ? 0 : 1;
      }
    });
    this.#heights();
  }

  #row(row, near, far, nearTtm, farTtm, ttm, share) {
    const time = farTtm > nearTtm ? (ttm - nearTtm) / (farTtm - nearTtm) : 0;
    for (let i = 0; i <= COLUMNS; i++) {
      const at = row * (COLUMNS + 1) + i;
      const w = (1 - time) * near[i].iv ** 2 * nearTtm + time * far[i].iv ** 2 * farTtm;
      this.vols[at] = 100 * Math.sqrt(w / ttm);
      this.vertices[3 * at] = near[i].x + share * (far[i].x - near[i].x);
      this.vertices[3 * at + 2] = this.timeOf(ttm);
    }
  }

  #heights() {
    let [low, high] = [Infinity, -Infinity];
    for (const vol of this.vols) {
      low = Math.min(low, vol);
      high = Math.max(high, vol);
    }
    this.range = steady(this.range, low, high, 0.06);
    for (let i = 0; i < this.vols.length; i++) this.vertices[3 * i + 1] = this.heightOf(this.vols[i]);
  }

  heightOf(vol) {
    const [low, high] = this.range;
    return HEIGHT * ((2 * (vol - low)) / (high - low) - 1);
  }

  // How much light falls on each cell.
  #colour() {
    const wide = COLUMNS + 1;
    const cells = (this.rows - 1) * COLUMNS;
    this.shades = new Float32Array(cells);
    this.stale = new Uint8Array(cells);
    const v = this.vertices;
    for (let row = 0, cell = 0; row < this.rows - 1; row++) {
      for (let i = 0; i < COLUMNS; i++, cell++) {
        const [a, b, c] = [3 * (row * wide + i), 3 * (row * wide + i + 1), 3 * ((row + 1) * wide + i)];
        const [ux, uy, uz] = [v[b] - v[a], v[b + 1] - v[a + 1], v[b + 2] - v[a + 2]];
        const [wx, wy, wz] = [v[c] - v[a], v[c + 1] - v[a + 1], v[c + 2] - v[a + 2]];
        const [nx, ny, nz] = [wy * uz - wz * uy, wz * ux - wx * uz, wx * uy - wy * ux];
        const length = Math.hypot(nx, ny, nz) || 1;
        const shade = (nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2]) / length;
        this.shades[cell] = Math.abs(shade);
        this.stale[cell] = this.old[row] || this.old[row + 1];
      }
    }
  }

  // The expiries that have room on their axis: [{ z, text, expiry_ns }].
  #dates(apart) {
    const out = [];
    for (const { expiry_ns, ttm } of this.smiles.toReversed()) {
      const z = this.timeOf(ttm);
      if (!out.length || out.at(-1).z - z >= apart) out.push({ z, text: date(expiry_ns), expiry_ns });
    }
    return out;
  }
}

// ln K: each smile where it is quoted, and not into wings whose options are worth next to nothing.
function strikeAxis(known) {
  const ends = new Map(known.map((each) => [each, endsOf(each)]));
  const lowest = Math.min(...known.map((each) => Math.log(each.smile.forward) + ends.get(each)[0]));
  const highest = Math.max(...known.map((each) => Math.log(each.smile.forward) + ends.get(each)[1]));
  const place = (strike) => (2 * (Math.log(strike) - lowest)) / (highest - lowest) - 1;
  return {
    title: "Strike",
    place: (each, k) => {
      const [low, high] = ends.get(each);
      return k >= low && k <= high ? place(each.smile.forward * Math.exp(k)) : null;
    },
    row: (each) => {
      const [low, high] = ends.get(each);
      return Array.from({ length: COLUMNS + 1 }, (_, i) => {
        const k = low + ((high - low) * i) / COLUMNS;
        return { x: place(each.smile.forward * Math.exp(k)), iv: iv(each.smile, k) };
      });
    },
    ticks: () => spread(niceTicks(Math.exp(lowest), Math.exp(highest), 14).filter((strike) => strike > 0).map((strike) => ({ x: place(strike), text: strikeText(strike) })), 0.2),
  };
}

function endsOf({ smile }) {
  const at = (share) => kAtD1(smile, -normalQuantile(share));
  return [Math.max(smile.k_min, at(EDGE)), Math.min(smile.k_max, at(1 - EDGE))];
}

// Φ(−d1): puts left, calls right, at the money in the middle, for all expiries alike.
function deltaAxis() {
  const [low, high] = [DELTAS[0], DELTAS.at(-1)];
  const place = (share) => (2 * (share - low)) / (high - low) - 1;
  return {
    title: "Delta",
    place: ({ smile }, k) => {
      const share = normalCdf(-d1(smile, k));
      return share >= low && share <= high ? place(share) : null;
    },
    row: ({ smile }) =>
      Array.from({ length: COLUMNS + 1 }, (_, i) => {
        const share = low + ((high - low) * i) / COLUMNS;
        const k = kAtD1(smile, -normalQuantile(share));
        return { x: place(share), iv: iv(smile, k) };
      }),
    ticks: () => DELTAS.map((share) => ({ x: place(share), text: share === 0.5 ? "50Δ" : share < 0.5 ? `${Math.round(100 * share)}Δ put` : `${Math.round(100 * (1 - share))}Δ call` })),
  };
}

function spread(ticks, apart) {
  const out = [];
  for (const tick of ticks) if (!out.length || tick.x - out.at(-1).x >= apart) out.push(tick);
  return out;
}
