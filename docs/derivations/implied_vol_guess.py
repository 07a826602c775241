"""Derives the first guess of `pricer/kernels/implied_vol.py`: run by hand, prints the coefficients and their error.

    python docs/derivations/implied_vol_guess.py

Wanted is s = sigma·√ttm from x = |ln(F/K)| and beta = time value/√(F·K), to 4e-4 wherever beta is below 0.74 of its
bound and s below 2.6, so that one step ends at round-off. Two fits do it:

1. Bachelier's inverse. With eta = x/s₀ his formula reads beta/x = φ(eta)/eta − Φ(−eta), an equation in one unknown. In
   u = √ln(1 + x²/(2π·beta²)), which is eta itself to first order at both ends, eta/u is one polynomial in
   y = (4 − u)/(4 + u).
2. The lognormal correction s/s₀ = 1/(1 − q·P), q = s₀²/(3 + 2·eta + eta²), P a polynomial in q and v = 2/(2 + eta) of
   degree 3 in q and 5 in v, its mixed terms below the diagonal. Forms with even powers of eta only, or a series in s₀²,
   need three times the terms.

Both are least squares, reweighted toward the largest relative error until that is nearly even.
"""

from __future__ import annotations

import mpmath as mp
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DEGREE = 12
DEGREE_Q, DEGREE_V = 3, 5
S_MAX, SHARE_MAX = 2.6, 0.74

mp.mp.dps = 40


def mills(z: mp.mpf) -> mp.mpf:
    """Y(z) = Φ(z)/φ(z)."""
    return mp.sqrt(mp.pi / 2) * mp.erfc(-z / mp.sqrt(2)) * mp.exp(z * z / 2)


def log_value(h: float, t: float) -> mp.mpf:
    """ln b for h = −x/s and t = s/2: ln of φ's weight times Y(h + t) − Y(h − t)."""
    high, low = mp.mpf(h) + t, mp.mpf(h) - t
    return mp.log(mills(high) - mills(low)) - (mp.mpf(h) ** 2 + mp.mpf(t) ** 2) / 2 - mp.log(2 * mp.pi) / 2


def spread(log_ratio: mp.mpf) -> mp.mpf:
    """u of ln(x/(√(2π)·beta))."""
    return mp.sqrt(mp.log1p(mp.exp(2 * log_ratio)))


def bachelier_log_ratio(eta: mp.mpf) -> mp.mpf:
    """ln(x/(√(2π)·beta)) where beta is Bachelier's value: its beta/x is φ(eta)·(1/eta − Y(−eta))."""
    return eta * eta / 2 - mp.log(1 / eta - mills(-eta))


def bachelier_eta(log_ratio: mp.mpf) -> mp.mpf:
    """Its inverse; Newton's steps in ln eta, from below."""
    eta = mp.mpf("0.9") * spread(log_ratio)
    for _ in range(60):
        gap = 1 / eta - mills(-eta)
        change = (bachelier_log_ratio(eta) - log_ratio) * gap * eta
        eta *= mp.exp(-max(min(change, mp.mpf("0.5")), mp.mpf("-0.5")))
        if abs(change) < mp.mpf("1e-25"):
            return eta
    raise ArithmeticError(f"no Bachelier eta for {log_ratio}")


def fitted(basis: Floats, values: Floats, weights: Floats) -> tuple[Floats, float]:
    """Coefficients and the largest weighted error of a nearly even fit."""
    best = np.zeros(basis.shape[1])
    least, reweighted = np.inf, weights.copy()
    for _ in range(60):
        found = np.linalg.lstsq(basis * reweighted[:, None], values * reweighted, rcond=None)[0]
        error = np.abs(basis @ found - values) * weights
        if error.max() < least:
            best, least = found, error.max()
        reweighted *= (1e-3 + error / error.max()) ** 0.3
        reweighted /= reweighted.max()
    return best, float(least)


def inverse_fit() -> tuple[Floats, float]:
    """Coefficients of eta/u in powers of y."""
    etas = np.concatenate([np.geomspace(1e-6, 0.1, 40), np.linspace(0.11, 12.0, 500), np.linspace(12.1, 40.0, 150)])
    u = np.array([float(spread(bachelier_log_ratio(mp.mpf(eta)))) for eta in etas])
    y = (4.0 - u) / (4.0 + u)
    return fitted(np.vander(y, DEGREE + 1, increasing=True), etas / u, u / etas)


def powers() -> list[tuple[int, int]]:
    """The exponents (of q, of v) of the correction's terms."""
    pairs = [(i, j) for i in range(DEGREE_Q + 1) for j in range(DEGREE_V + 1)]
    return [(i, j) for i, j in pairs if i * DEGREE_V + j * DEGREE_Q <= DEGREE_Q * DEGREE_V]


def correction_points() -> tuple[Floats, Floats, Floats]:
    """(s/s₀, s₀, eta) over the domain, denser toward the money and toward large s."""
    random = np.random.default_rng(1)
    s = np.concatenate([random.uniform(0.01, S_MAX, 3000), np.full(500, S_MAX), np.geomspace(1e-3, 1.0, 500)])
    h = -38.0 * random.uniform(0.0, 1.0, len(s)) ** 3
    h[::3] = -random.uniform(0.0, 3.0, len(h[::3]))
    h[::11] = -(10.0 ** random.uniform(-6.0, 0.0, len(h[::11])))
    ratios, starts, etas = [], [], []
    for si, hi in zip(s, h, strict=True):
        log_beta = log_value(hi, si / 2)
        x = -mp.mpf(hi) * si
        if log_beta > mp.log(SHARE_MAX) - x / 2:
            continue
        eta = bachelier_eta(mp.log(x) - log_beta - mp.log(2 * mp.pi) / 2)
        ratios.append(float(si * eta / x))
        starts.append(float(x / eta))
        etas.append(float(eta))
    return np.array(ratios), np.array(starts), np.array(etas)


def correction_fit() -> tuple[Floats, float]:
    """Coefficients of P in the order of `powers`."""
    ratio, start, eta = correction_points()
    q = start**2 / (3.0 + 2.0 * eta + eta**2)
    v = 2.0 / (2.0 + eta)
    basis = np.stack([q**i * v**j for i, j in powers()], 1)
    return fitted(basis, (1.0 - 1.0 / ratio) / q, q)


def main() -> None:
    """Print both tables and what they are good for."""
    inverse, error = inverse_fit()
    print(f"eta/u: relative error {error:.1e}")
    for c in inverse:
        print(f"    {float(c)!r},")
    correction, error = correction_fit()
    print(f"s0/s: error {error:.1e}")
    for i in range(DEGREE_Q + 1):
        print(f"q^{i}:", [float(c) for (k, _), c in zip(powers(), correction, strict=True) if k == i])


if __name__ == "__main__":
    main()
