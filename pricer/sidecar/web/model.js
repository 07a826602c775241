// What the table shows, from the stream's chain: expiries, ladders of strikes, and statuses by this page's own clock.
export const STATUSES = ["OK", "DEGRADED", "STALE", "INVALID"];
export const SYMBOLS = { OK: "●", DEGRADED: "▲", STALE: "◷", INVALID: "✕" };
export const COLUMNS = ["bid", "ask", "bid_iv", "ask_iv", "iv", "theo", "delta", "gamma", "vega", "theta"];

// A status that was current, past its limit.
function late(status, reasons, until, reason, now) {
  const current = status === "OK" || status === "DEGRADED";
  return current && !(until !== null && now <= until / 1e6)
    ? { status: "STALE", reasons: [...reasons, reason] }
    : { status, reasons };
}

export class Model {
  constructor(chain, clock) {
    this.chain = chain;
    this.now = clock.now();
  }

  // The rows of each expiry, as [first, after the last].
  static ranges(chain) {
    let start = 0;
    return chain.expiries.map((expiry) => [start, (start += expiry.options)]);
  }

  // Model numbers are as fresh as their expiry's forward and fit.
  row(row, expiry) {
    const { status, reasons } = this.chain.columns;
    return late(status[row], reasons[row], expiry.valid_until_ns, "UNDERLYING_STALE", this.now);
  }

  // The bid's and the ask's volatilities are as fresh as the row's quote.
  quote(row, side) {
    const columns = this.chain.columns;
    const until = columns.quote_valid_until_ns[row];
    return late(columns[`${side}_iv_status`][row], columns[`${side}_iv_reasons`][row], until, "QUOTE_STALE", this.now);
  }

  price(value) {
    return late(value.status, value.reasons, value.valid_until_ns, "UNDERLYING_STALE", this.now);
  }

  quoteAge(row) {
    const mono = this.chain.columns.quote_mono_ns[row];
    return mono === null ? null : this.now - mono / 1e6;
  }

  quoteIsStale(row) {
    const until = this.chain.columns.quote_valid_until_ns[row];
    return until !== null && this.now > until / 1e6;
  }

  counts([first, end], expiry) {
    const out = Object.fromEntries(STATUSES.map((status) => [status, 0]));
    for (let row = first; row < end; row++) out[this.row(row, expiry).status]++;
    return out;
  }
}

// One expiry's strikes, ascending, with the row of the call and of the put.
export function ladder(columns, [first, end]) {
  const strikes = new Map();
  for (let row = first; row < end; row++) {
    const at = columns.strike[row];
    if (!strikes.has(at)) strikes.set(at, { strike: at, call: null, put: null });
    strikes.get(at)[columns.cp[row] > 0 ? "call" : "put"] = row;
  }
  return [...strikes.values()].sort((a, b) => a.strike - b.strike);
}

// The position of the strike next to the forward; -1 where there is none.
export function atTheMoney(rungs, forward) {
  if (forward === null || !rungs.length) return -1;
  let best = 0;
  rungs.forEach(({ strike }, i) => {
    if (Math.abs(strike - forward) < Math.abs(rungs[best].strike - forward)) best = i;
  });
  return best;
}
