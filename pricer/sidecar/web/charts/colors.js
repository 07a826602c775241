// Colours of charts: the theme's own, with an alpha, or between several of them.
const STATUS = { OK: "--OK", DEGRADED: "--DEGRADED", STALE: "--STALE", INVALID: "--INVALID" };
const EXPIRIES = ["--series-1", "--series-2", "--series-4", "--series-3"];
const VOLATILITY = ["--heat-1", "--heat-2", "--heat-3", "--heat-4"];

export const statusColor = (theme, status) => theme.color(STATUS[status] ?? "--INVALID");

export function parsed(color) {
  const [r, g, b] = color.match(/[\d.]+/g).map(Number);
  return [r, g, b];
}

export const alpha = (color, share) => `rgb(${parsed(color).join(" ")} / ${share})`;

// A function of 0..1 along the colours of a theme; [r, g, b].
function ramp(theme, names) {
  const stops = names.map((name) => parsed(theme.color(name)));
  return (share) => {
    const place = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
    const at = Math.min(Math.floor(place), stops.length - 2);
    return stops[at].map((low, i) => low + (place - at) * (stops[at + 1][i] - low));
  };
}

export const css = ([r, g, b]) => `rgb(${Math.round(r)} ${Math.round(g)} ${Math.round(b)})`;

// The i-th of n expiries, near to far.
export function expiryColors(theme, count) {
  const color = ramp(theme, EXPIRIES);
  return Array.from({ length: count }, (_, i) => css(color(count > 1 ? i / (count - 1) : 0)));
}

// Low volatility to high.
export const volatilityRamp = (theme) => ramp(theme, VOLATILITY);
