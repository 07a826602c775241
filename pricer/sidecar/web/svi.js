// Raw SVI as the sidecar publishes it: one expiry's total variance as a hyperbola in log-moneyness k = ln(K/F),
//
//   w(k) = a + b·(ρ·(k − m) + √((k − m)² + σ²)),   iv(k) = √(w(k)/ttm)
//
// and what follows from w, w′ and w″. A smile is { a, b, rho, m, sigma, ttm, forward }. The test compares all of it with
// the Python smiles. No page and no browser is needed here.
const SQRT2 = Math.SQRT2;
const SQRT_2PI = Math.sqrt(2 * Math.PI);
const Z25 = 0.6744897501960817; // Φ(z) = 0.75

export function variance({ a, b, rho, m, sigma }, k) {
  const x = k - m;
  return a + b * (rho * x + Math.sqrt(x * x + sigma * sigma));
}

// NaN where the smile has no variance.
export const iv = (smile, k) => Math.sqrt(variance(smile, k) / smile.ttm);

export function slope({ b, rho, m, sigma }, k) {
  const x = k - m;
  return b * (rho + x / Math.sqrt(x * x + sigma * sigma));
}

export function bend({ b, m, sigma }, k) {
  const root = Math.sqrt((k - m) ** 2 + sigma * sigma);
  return (b * sigma * sigma) / (root * root * root);
}

// Durrleman's g (Gatheral and Jacquier 2014, eq. 2.1): below zero there is butterfly arbitrage.
export function durrleman(smile, k) {
  const w = variance(smile, k);
  const first = slope(smile, k);
  const tilt = 1 - (0.5 * k * first) / w;
  return tilt * tilt - 0.25 * first * first * (1 / w + 0.25) + 0.5 * bend(smile, k);
}

// Risk-neutral density of the price at expiry, per unit of strike: g·φ(d2)/(K·√w).
export function density(smile, k) {
  const w = variance(smile, k);
  const d2 = -k / Math.sqrt(w) - 0.5 * Math.sqrt(w);
  return (durrleman(smile, k) * Math.exp(-0.5 * d2 * d2)) / (smile.forward * Math.exp(k) * Math.sqrt(2 * Math.PI * w));
}

// Of a flat smile with the volatility at the money: what the density is compared with.
export function lognormal({ forward }, w, k) {
  const d2 = -k / Math.sqrt(w) - 0.5 * Math.sqrt(w);
  return Math.exp(-0.5 * d2 * d2) / (forward * Math.exp(k) * Math.sqrt(2 * Math.PI * w));
}

// P(price at expiry ≤ K) = Φ(−d2) + φ(d2)·w′/(2√w).
export function cumulative(smile, k) {
  const s = Math.sqrt(variance(smile, k));
  const d2 = -k / s - 0.5 * s;
  return normalCdf(-d2) + (Math.exp(-0.5 * d2 * d2) / SQRT_2PI) * (slope(smile, k) / (2 * s));
}

export function d1(smile, k) {
  const s = Math.sqrt(variance(smile, k));
  return 0.5 * s - k / s;
}

// The delta of the call on the forward, Φ(d1).
export const callDelta = (smile, k) => normalCdf(d1(smile, k));

// Where d1 has a value; it falls in k where there is no butterfly arbitrage. NaN where it is not reached.
export function kAtD1(smile, level) {
  const unit = Math.sqrt(variance(smile, 0));
  if (!(unit > 0)) return NaN;
  let low = 0;
  let high = 0;
  for (let step = unit; !(d1(smile, low) >= level); step *= 2) if ((low = -step) < -690) return NaN;
  for (let step = unit; !(d1(smile, high) <= level); step *= 2) if ((high = step) > 690) return NaN;
  for (let i = 0; i < 200; i++) {
    const middle = 0.5 * (low + high);
    if (middle === low || middle === high) break;
    if (d1(smile, middle) >= level) low = middle;
    else high = middle;
  }
  return 0.5 * (low + high);
}

// At the money, 25-delta risk reversal and butterfly, as the sidecar's own: deltas on the forward, at the money K = F.
export function points(smile) {
  const atm = iv(smile, 0);
  const call = iv(smile, kAtD1(smile, -Z25));
  const put = iv(smile, kAtD1(smile, Z25));
  return { atm_iv: atm, rr25: call - put, bf25: 0.5 * (call + put) - atm };
}

// The volatility between two expiries, √(Δw/Δttm); NaN where variance falls.
export const forwardVolatility = (near, far) =>
  Math.sqrt((far.atm_iv ** 2 * far.ttm - near.atm_iv ** 2 * near.ttm) / (far.ttm - near.ttm));

// Φ(z), to some units of the last place also far out in the left tail.
export function normalCdf(z) {
  return 0.5 * erfc(-z / SQRT2);
}

// Φ⁻¹(p), by Newton from a start that is good to a few digits.
export function normalQuantile(p) {
  if (!(p > 0 && p < 1)) return NaN;
  const t = Math.sqrt(-2 * Math.log(Math.min(p, 1 - p)));
  let z = t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t ** 3);
  if (p < 0.5) z = -z;
  for (let i = 0; i < 3; i++) z -= ((normalCdf(z) - p) * SQRT_2PI) * Math.exp(0.5 * z * z);
  return z;
}

// erfc(x): the series of erf where x is small, the continued fraction (Abramowitz and Stegun 7.1.5, 7.1.14) where not.
function erfc(x) {
  if (x < 0) return 2 - erfc(-x);
  if (x < 1.5) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n++) {
      term *= (-x * x) / n;
      const next = term / (2 * n + 1);
      sum += next;
      if (Math.abs(next) < 1e-18 * Math.abs(sum)) break;
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  if (x > 27) return 0;
  let fraction = x;
  for (let n = 120; n > 0; n--) fraction = x + n / 2 / fraction;
  return Math.exp(-x * x) / (Math.sqrt(Math.PI) * fraction);
}
