// Statuses as people see them, by the clock of this page: a number turns STALE at its limit without any message.
export const STATUSES = ["OK", "DEGRADED", "STALE", "INVALID"];
export const SYMBOLS = { OK: "●", DEGRADED: "▲", STALE: "◷", INVALID: "✕" };

// A status that was current, past its limit: `untilNs` and `now` (milliseconds) on the sidecar's clock.
export function aged(status, reasons, untilNs, reason, now) {
  const current = status === "OK" || status === "DEGRADED";
  return current && !(untilNs !== null && untilNs !== undefined && now <= untilNs / 1e6)
    ? { status: "STALE", reasons: [...reasons, reason] }
    : { status, reasons };
}

// "DEGRADED · ONE_SIDED · EXTRAPOLATED"
export const told = ({ status, reasons }) => [status, ...(reasons ?? [])].join(" · ");
