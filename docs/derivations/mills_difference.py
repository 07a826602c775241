"""Derives `MILLS_RISE` in `pricer/kernels/normal.py`: run by hand, prints the coefficients and their error.

    python docs/derivations/mills_difference.py

Y(a) − Y(b) is wanted for Y = Φ/φ to round-off however near a and b are. In y = z/(POLE − z), which takes the half-line
z ≤ Z_MAX to −1 < y ≤ Z_MAX/(POLE − Z_MAX), Y is a smooth function; its derivative there is

    S(y) = Y'(z)·(POLE − z)²/POLE,   z = POLE·y/(1 + y),

a polynomial of degree 24 in y, integrated term by term, gives Y up to a constant, and the divided difference of that is
the mean of S between the two arguments: as good, relatively, as S itself.

The error asked of S is 1e-16·max(1, z²/3): an implied volatility feels a relative error of A only in proportion to
A/s, which is 1/z² in the wing. POLE was scanned over 4.5 to 7; at 5.75 degree 24 suffices, at 4.5 and 7 it is 26. The
fit is least squares, reweighted three times toward the largest error, in Chebyshev polynomials at 50 digits.
"""

from __future__ import annotations

import mpmath as mp

Z_MAX = mp.mpf("1.25")
POLE = mp.mpf("5.75")
DEGREE = 24
POINTS = 220
Y_MAX = Z_MAX / (POLE - Z_MAX)
MIDDLE, HALF = (Y_MAX - 1) / 2, (Y_MAX + 1) / 2

Series = list[mp.mpf]


def mills_slope(z: mp.mpf) -> mp.mpf:
    """Y'(z) = 1 + z·Y(z), by its asymptotic series far out, where the sum has no digits left."""
    if z < -60:
        return mp.fsum((-1) ** k * (2 * k + 1) * mp.fac2(2 * k - 1) / z ** (2 * k + 2) for k in range(8))
    return 1 + z * mp.sqrt(mp.pi / 2) * mp.erfc(-z / mp.sqrt(2)) * mp.exp(z * z / 2)


def slope(y: mp.mpf) -> tuple[mp.mpf, mp.mpf]:
    """S(y), and the relative error allowed there in units of 1e-16."""
    z = POLE * y / (1 + y)
    return mills_slope(z) * (POLE - z) ** 2 / POLE, max(mp.mpf(1), z * z / 3)


def coefficients() -> tuple[list[float], float]:
    """(powers of y of Y's integral, lowest first; the largest error of S over the allowed one, before rounding)."""
    with mp.workdps(80):
        nodes = [mp.cos(mp.pi * (k + mp.mpf(1) / 2) / POINTS) for k in range(POINTS)]
        values, allowed = zip(*(slope(MIDDLE + HALF * node) for node in nodes), strict=True)
    with mp.workdps(50):
        weights = [1 / (value * limit) for value, limit in zip(values, allowed, strict=True)]
        rows = [chebyshev_values(node) for node in nodes]
        squares = [w * w for w in weights]
        for _ in range(3):
            found = least_squares(rows, list(values), squares)
            errors = [abs(mp.fdot(found, r) - v) * w for r, v, w in zip(rows, values, weights, strict=True)]
            worst = max(errors)
            squares = [s * (error / worst + mp.mpf("0.05")) for s, error in zip(squares, errors, strict=True)]
        powers = to_powers(found)
        return [0.0, *(float(c / (k + 1)) for k, c in enumerate(powers))], float(worst)


def chebyshev_values(node: mp.mpf) -> Series:
    """T_0 … T_DEGREE at one point."""
    values = [mp.mpf(1), node]
    while len(values) <= DEGREE:
        values.append(2 * node * values[-1] - values[-2])
    return values


def least_squares(rows: list[Series], values: Series, squares: Series) -> Series:
    """The coefficients of the weighted fit, by its normal equations."""
    count = DEGREE + 1
    normal, right = mp.matrix(count), mp.matrix(count, 1)
    for i in range(count):
        weighted = [s * row[i] for s, row in zip(squares, rows, strict=True)]
        right[i] = mp.fdot(weighted, values)
        for j in range(i, count):
            normal[i, j] = normal[j, i] = mp.fdot(weighted, [row[j] for row in rows])
    return list(mp.lu_solve(normal, right))


def to_powers(chebyshev: Series) -> Series:
    """Σ c_n·T_n((y − MIDDLE)/HALF) in powers of y."""
    older, newer = [mp.mpf(1)], [-MIDDLE / HALF, 1 / HALF]
    total = [mp.mpf(0)] * len(chebyshev)
    for c in chebyshev:
        for k, value in enumerate(older):
            total[k] += c * value
        following = [mp.mpf(0)] * (len(newer) + 1)
        for k, value in enumerate(newer):
            following[k + 1] += 2 * value / HALF
            following[k] -= 2 * MIDDLE / HALF * value
        for k, value in enumerate(older):
            following[k] -= value
        older, newer = newer, following
    return total


def main() -> None:
    """Print the coefficients and how well they do."""
    found, error = coefficients()
    print(f"MILLS_RISE: error {error:.1e} of the slope, relative, times what is allowed")
    for c in found:
        print(f"    {c!r},")


if __name__ == "__main__":
    main()
