// The published smiles as charts read them: raw SVI beside the status that the clock of this page gives it.
import { iv } from "../svi.js";

// One for each expiry, near to far. `smile` is null where there is none, or one of another model than raw SVI.
export function smilesOf(market) {
  return market.expiries.map(({ expiry_ns, ttm, forward, surface }) => {
    const state = surface ? market.state(surface) : { status: "INVALID", reasons: [] };
    const known = surface !== null && surface.model === "svi" && surface.b !== null && surface.b !== undefined;
    return {
      expiry_ns,
      ttm: surface?.ttm ?? ttm,
      forward,
      state,
      surface,
      smile: known ? { ...surface } : null,
      current: state.status === "OK" || state.status === "DEGRADED",
    };
  });
}

// Log-moneyness from a little below the quotes to a little above them; [low, high].
export function rangeOf({ k_min: low, k_max: high }, room = 0.12) {
  const span = high - low;
  return [low - room * span, high + room * span];
}

export function grid(low, high, count) {
  return Array.from({ length: count + 1 }, (_, i) => low + ((high - low) * i) / count);
}

// Where `k` lies between quotes; beyond them a smile is extrapolated.
export const isQuoted = ({ k_min: low, k_max: high }, k) => k >= low && k <= high;

export const percentAt = (smile, k) => 100 * iv(smile, k);

// What was proved of a smile, as badges.
export function certificate({ surface }, { significant }) {
  if (!surface || surface.min_g === null || surface.min_g === undefined) return [];
  const { certified, min_g: g, min_calendar_gap: gap } = surface;
  const status = (holds) => (holds ? "OK" : "DEGRADED");
  return [
    { status: status(g >= 0), text: `Butterfly: g ≥ ${significant(g, 2)}`, hint: "The least of Durrleman's g over the whole line; below zero there is butterfly arbitrage" },
    ...(gap === null ? [] : [{ status: status(gap >= 0), text: `Calendar: Δw ≥ ${significant(gap, 2)}`, hint: "The least distance in total variance to the expiry before; below zero there is calendar arbitrage" }]),
    ...(certified ? [] : [{ status: "DEGRADED", text: "Not certified" }]),
  ];
}
