// One expiry's strikes, ascending, with the row of the call and of the put (null where there is none).
export function ladder(columns, [first, end]) {
  const strikes = new Map();
  for (let row = first; row < end; row++) {
    const at = columns.strike[row];
    if (!strikes.has(at)) strikes.set(at, { strike: at, call: null, put: null });
    strikes.get(at)[columns.cp[row] > 0 ? "call" : "put"] = row;
  }
  return [...strikes.values()].sort((a, b) => a.strike - b.strike);
}

// The rows of one expiry in a chain's table, [first, after the last]; null where the chain does not have it.
export function rangeOf(expiries, expiryNs) {
  let start = 0;
  for (const { expiry_ns, options } of expiries) {
    if (expiry_ns === expiryNs) return [start, start + options];
    start += options;
  }
  return null;
}

// The position of the strike next to the forward; -1 where there is none.
export function atTheMoney(rungs, forward) {
  if (forward === null || forward === undefined || !rungs.length) return -1;
  let best = 0;
  rungs.forEach(({ strike }, i) => {
    if (Math.abs(strike - forward) < Math.abs(rungs[best].strike - forward)) best = i;
  });
  return best;
}
