// Ranges and ticks that stay where they are while the numbers in them move a little.

// [low, high] with room around it; the old range while it still fits well, so that axes do not tremble with every tick.
export function steady(old, low, high, room = 0.08) {
  if (!(low <= high)) return old;
  const span = Math.max(high - low, 1e-9, 1e-3 * Math.abs(high));
  if (old && low >= old[0] && high <= old[1] && span > 0.6 * (old[1] - old[0])) return old;
  return [low - room * span, high + room * span];
}

// Round numbers between low and high, about `count` of them.
export function niceTicks(low, high, count = 6) {
  const raw = (high - low) / Math.min(Math.max(count, 3), 12);
  if (!(raw > 0 && raw < Infinity)) return [];
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * ([1, 2, 2.5, 5].find((each) => each * unit >= raw) ?? 10);
  const ticks = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++) ticks.push(i * step || 0);
  return ticks;
}

// As many decimals as tell neighbouring ticks apart.
export function decimalsFor(step) {
  for (let digits = 0; digits < 8; digits++) {
    const scaled = Math.abs(step) * 10 ** digits;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6 * scaled) return digits;
  }
  return 8;
}

const DAY = 1 / 365;
const TENORS = [
  [1 / 24, "1h"], [0.25, "6h"], [1, "1d"], [2, "2d"], [4, "4d"], [7, "1w"], [14, "2w"], [30, "1mo"], [61, "2mo"],
  [91, "3mo"], [182, "6mo"], [273, "9mo"], [365, "1y"], [730, "2y"], [1095, "3y"],
].map(([days, label]) => ({ ttm: days * DAY, label }));

// Tenors that fit side by side on an axis in √time; `width` in pixels.
export function tenors(low, high, width, apart = 40) {
  const at = (ttm) => ((Math.sqrt(ttm) - low) / (high - low)) * width;
  const out = [];
  for (const tenor of TENORS.toReversed()) {
    const place = at(tenor.ttm);
    if (place < -0.5 || place > width + 0.5) continue;
    if (!out.length || at(out[0].ttm) - place >= apart) out.unshift(tenor);
  }
  return out;
}
