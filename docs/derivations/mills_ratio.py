"""Derives the polynomials in `pricer/kernels/normal.py`: run by hand, prints the coefficients and their error.

    python docs/derivations/mills_ratio.py

Y(z) = Φ(z)/φ(z), a Mills-type ratio, falls like 1/|z| to the left, its derivative Y'(z) = 1 + z·Y(z) like 1/z².
With u = Z_MAX − z ≥ 0 and the Moebius map y = (C − u)/(C + u), which takes z = Z_MAX to 1 and −∞ to −1, the products

    Y(z)·(C + u)    and    Y'(z)·(C + u)²

are smooth and tend to 1 at y = −1, so that one polynomial in y serves the whole half-line with small *relative*
error. C was scanned over 3 to 6; 4.5 gives the fastest fall of the coefficients of the two together. Each polynomial
is the Chebyshev interpolant of the degree named, expanded to powers of y at 60 digits and then rounded.
"""

from __future__ import annotations

import mpmath as mp

Z_MAX = mp.mpf("1.25")
C = mp.mpf("4.5")
DEGREE_Y = 26
DEGREE_DY = 28


def mills(z: mp.mpf) -> mp.mpf:
    """Y(z) = Φ(z)/φ(z)."""
    return mp.sqrt(mp.pi / 2) * mp.erfc(-z / mp.sqrt(2)) * mp.exp(z * z / 2)


def mills_slope(z: mp.mpf) -> mp.mpf:
    """Y'(z) = 1 + z·Y(z); the sum cancels like 1/z², hence the spare digits."""
    return 1 + z * mills(z)


def smooth(y: mp.mpf, order: int) -> mp.mpf:
    """What is fitted: Y·(C + u) for order 0, Y'·(C + u)² for order 1."""
    u = C * (1 - y) / (1 + y)
    return (mills_slope if order else mills)(Z_MAX - u) * (C + u) ** (order + 1)


def coefficients(order: int, degree: int) -> list[float]:
    """Powers of y, lowest first, of the Chebyshev interpolant of `smooth`."""
    with mp.workdps(60):
        count = degree + 1
        angles = [mp.pi * (2 * k + 1) / (2 * count) for k in range(count)]
        values = [smooth(mp.cos(angle), order) for angle in angles]
        chebyshev = [
            2 * mp.fsum(value * mp.cos(j * angle) for value, angle in zip(values, angles, strict=True)) / count
            for j in range(count)
        ]
        chebyshev[0] /= 2
        return [float(c) for c in to_powers(chebyshev)]


def to_powers(chebyshev: list[mp.mpf]) -> list[mp.mpf]:
    """Σ c_j·T_j(y) as a list of powers, by T_{j+1} = 2y·T_j − T_{j−1}."""
    count = len(chebyshev)
    older, newer = [mp.mpf(1)] + [mp.mpf(0)] * count, [mp.mpf(0), mp.mpf(1)] + [mp.mpf(0)] * (count - 1)
    total = [chebyshev[0] * a + chebyshev[1] * b for a, b in zip(older, newer, strict=True)]
    for c in chebyshev[2:]:
        next_ = [2 * a - b for a, b in zip([mp.mpf(0), *newer[:-1]], older, strict=True)]
        older, newer = newer, next_
        total = [t + c * a for t, a in zip(total, newer, strict=True)]
    return total[:count]


def worst_relative_error(stored: list[float], order: int, points: int = 400) -> float:
    """Of the rounded coefficients, evaluated exactly, over the whole half-line."""
    with mp.workdps(60):
        grid = [mp.mpf(2 * k + 1) / points - 1 for k in range(points)]
        return max(
            float(abs(mp.fsum(mp.mpf(c) * y**k for k, c in enumerate(stored)) / smooth(y, order) - 1)) for y in grid
        )


if __name__ == "__main__":
    for name, order, degree in (("MILLS", 0, DEGREE_Y), ("MILLS_SLOPE", 1, DEGREE_DY)):
        stored = coefficients(order, degree)
        print(f"{name} = (  # degree {degree}, worst relative error {worst_relative_error(stored, order):.1e}")
        for c in stored:
            print(f"    {c!r},")
        print(")")
