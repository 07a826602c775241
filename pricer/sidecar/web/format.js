// Numbers and instants for people. No value is a dash, never a zero.
export const NOTHING = "–";
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// Formatters are costly to make and cheap to use: one for each number of digits.
function cached(options) {
  const made = new Map();
  return (digits) => made.get(digits) ?? made.set(digits, new Intl.NumberFormat("en-US", options(digits))).get(digits);
}
const decimals = cached((digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits }));
const figures = cached((digits) => ({ maximumSignificantDigits: digits }));

// A true minus sign, as wide as a plus.
const local = (formatter, value) => formatter.format(value).replace("-", "−");

export const fixed = (value, digits) =>
  value === null || value === undefined ? NOTHING : local(decimals(digits), value);

export const percent = (value, digits = 1) => fixed(value === null || value === undefined ? null : value * 100, digits);

// A difference; one of nothing has no sign.
export const signed = (value, digits) => {
  if (value === null || value === undefined) return NOTHING;
  const text = fixed(Math.abs(value), digits);
  return Number(text) === 0 ? text : `${value > 0 ? "+" : "−"}${text}`;
};

export const significant = (value, digits) =>
  value === null || value === undefined
    ? NOTHING
    : Math.abs(value) > 0 && Math.abs(value) < 1e-4
      ? value.toExponential(digits - 1).replaceAll("-", "−")
      : local(figures(digits), value);

export const decimalsOf = (tick) => (tick > 0 ? Math.max(0, Math.min(8, Math.ceil(-Math.log10(tick) - 1e-9))) : 4);

export function strike(value) {
  return value.toLocaleString("en-US", { maximumFractionDigits: 4 });
}

const month = new Intl.DateTimeFormat("en-US", { month: "short", timeZone: "UTC" });

export function date(ns) {
  const day = new Date(ns / 1e6);
  return `${day.getUTCDate()} ${month.format(day)} ${String(day.getUTCFullYear()).slice(2)}`;
}

export function left(ms) {
  if (ms <= 0) return "expired";
  if (ms >= 2 * DAY) return `${Math.floor(ms / DAY)} d`;
  if (ms >= HOUR) return `${Math.floor(ms / HOUR)} h ${Math.floor((ms % HOUR) / MINUTE)} m`;
  return `${Math.floor(ms / MINUTE)} m ${Math.floor((ms % MINUTE) / 1000)} s`;
}

export function age(ms) {
  if (ms === null) return NOTHING;
  if (ms < 10_000) return `${(Math.max(ms, 0) / 1000).toFixed(1)} s`;
  if (ms < 2 * MINUTE) return `${Math.round(ms / 1000)} s`;
  if (ms < 2 * HOUR) return `${Math.round(ms / MINUTE)} m`;
  return `${Math.round(ms / HOUR)} h`;
}

// The day of an expiry as the sidecar's filters take it: "2026-12-25".
export const day = (ns) => new Date(ns / 1e6).toISOString().slice(0, 10);

// A wall clock's time of the day: "14:03:07".
export const time = (ns) => (ns === null || ns === undefined ? NOTHING : new Date(ns / 1e6).toISOString().slice(11, 19));
