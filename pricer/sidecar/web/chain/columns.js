// The columns of one side of the chain, from the outside in; the puts mirror the calls. `p` is how early a column is
// given up where there is no room, `needs` what the sidecar is asked for, `kind` whose status goes with it.
import { age, fixed, percent, signed, significant } from "../format.js";

const scaled = (by) => (value) => (value === null ? null : value / by);
const difference = (a, b) => (columns, row) =>
  columns[a]?.[row] == null || columns[b]?.[row] == null ? null : columns[a][row] - columns[b][row];

const greek = (id, title, hint, { by = 1, text = (v) => significant(v, 3), p = 6, width = 5 } = {}) => ({
  ...{ id, title, hint, p, width, kind: "model", needs: [id], scale: scaled(by), text },
});
const volatility = (id, title, hint, kind, p, width = 3.7) => ({
  ...{ id, title, hint, p, width, kind, needs: [id], text: (v) => percent(v) },
});
const premium = (id, title, hint, kind, p) => ({ id, title, hint, p, width: 4.7, kind, needs: [id] });
const size = (id, title, hint) => ({ id, title, hint, p: 6, width: 4.2, kind: "venue", needs: [id], text: (v) => significant(v, 4) });

export const COLUMNS = [
  { id: "status", title: "", name: "Status", hint: "Status of IV, theo and Greeks", p: 0, width: 1.3, kind: "status", needs: [] },
  { id: "age", title: "Age", hint: "Since the quote was last confirmed", p: 7, width: 3.9, kind: "age", needs: [] },
  greek("rho", "ρ", "Rho: per 1.00 of the rate"),
  greek("volga", "Volga", "∂²V/∂σ²"),
  greek("vanna", "Vanna", "∂²V/∂F∂σ"),
  greek("charm", "Charm / d", "∂Δ/∂t, a day", { by: 365 }),
  greek("gamma", "Γ", "Gamma: per 1 of the forward", { p: 7, width: 5.2 }),
  greek("theta", "Θ / day", "Theta a day, in quote currency", { by: 365, text: (v) => fixed(v, 1), p: 6, width: 4.6 }),
  greek("vega", "Vega / pt", "Vega a volatility point, in quote currency", { by: 100, text: (v) => fixed(v, 1), p: 5, width: 4.6 }),
  greek("delta", "Δ", "Delta: dV/dF", { text: (v) => fixed(v, 3), p: 3, width: 4.5 }),
  premium("theo", "Theo", "Value on our surface, as quoted", "model", 5),
  premium("mark", "Mark", "The venue's own value", "venue", 6),
  size("bid_size", "Bid size", "Amount at the best bid"),
  volatility("bid_iv", "Bid IV", "Volatility of the bid, %", "bid", 4, 4.1),
  { ...premium("bid", "Bid", "Best bid, as quoted", "venue", 0), flashes: true },
  { ...premium("ask", "Ask", "Best ask, as quoted", "venue", 0), flashes: true },
  volatility("ask_iv", "Ask IV", "Volatility of the ask, %", "ask", 4, 4.1),
  size("ask_size", "Ask size", "Amount at the best ask"),
  volatility("mid_iv", "Mid IV", "Volatility of the mid, %", "mid", 6, 4.1),
  volatility("mark_iv", "Mark IV", "The venue's own volatility, %", "venue", 5, 4.4),
  {
    ...{ id: "difference", title: "Δ venue", hint: "Our volatility less the venue's, in points", p: 5, width: 4.3 },
    ...{ kind: "model", needs: ["iv", "mark_iv"], value: difference("iv", "mark_iv"), scale: scaled(0.01) },
    text: (v) => signed(v, 2),
  },
  {
    ...{ id: "richness", title: "Mid − IV", hint: "Volatility of the mid less our surface's, in points", p: 6, width: 4.3 },
    ...{ kind: "mid", needs: ["mid_iv", "iv"], value: difference("mid_iv", "iv"), scale: scaled(0.01) },
    text: (v) => signed(v, 2),
  },
  volatility("iv", "IV", "Volatility of our surface, %", "model", 0),
];
export const byId = Object.fromEntries(COLUMNS.map((column) => [column.id, column]));
export const DEFAULT = ["status", "age", "theta", "vega", "delta", "theo", "bid_iv", "bid", "ask", "ask_iv", "difference", "iv"];
export const ALWAYS = ["status", "iv"];
export const nameOf = ({ name, title }) => name ?? title;
export const STRIKE_WIDTH = 5.6; // rem, as all widths here

// A bid is left of its ask, on both sides of the strike.
const SWAP = { bid: "ask", ask: "bid", bid_iv: "ask_iv", ask_iv: "bid_iv", bid_size: "ask_size", ask_size: "bid_size" };
export const mirrored = (columns) => [...columns].reverse().map(({ id }) => byId[SWAP[id] ?? id]);

// What the sidecar is to send for these columns.
export const needed = (columns) => [...new Set(["iv", ...columns.flatMap(({ needs }) => needs)])];

// The chosen columns for which there is room on each side, `room` in rem; those that a reader added of his own stay.
export function fitting(chosen, room) {
  const kept = new Set(chosen);
  const own = (id) => !DEFAULT.includes(id);
  const order = chosen.filter((id) => !own(id) && byId[id].p > 0).sort((a, b) => byId[b].p - byId[a].p);
  const width = () => [...kept].reduce((sum, id) => sum + byId[id].width, 0);
  for (const id of order) if (width() > room) kept.delete(id);
  return COLUMNS.filter(({ id }) => kept.has(id));
}

// In whole seconds: a tenth that runs in every row is no news, and draws the eye.
export const shownAge = (ms) => (ms === null || ms >= 60_000 ? age(ms) : `${Math.max(0, Math.floor(ms / 1000))} s`);
