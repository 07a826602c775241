"""Derives the polynomial INVERSE in `pricer/kernels/bachelier.py`: run by hand, prints coefficients and their error.

    python docs/derivations/bachelier_inverse.py

With x = |F − K|, b the time value and eta = x/s, the normal model says

    b/x = m(eta) = φ(eta)/eta − Φ(−eta).

The variable u = √(ln(1 + 1/(2π·m²))) undoes both ends of m: u tends to eta at the money (eta → 0), and u² tends to
eta² + 6·ln(eta) in the wings. What is left is R(u) = eta/u between 0.55 and 1. It is interpolated at Chebyshev nodes
in y = (C − u)/(C + u) for u up to U_MAX, where b/x is under 1e-450: more than any two doubles of the domain reach.
One step of the kernel's third order turns the error of DEGREE 16 into less than 1e-16.
"""

from __future__ import annotations

import mpmath as mp

C = mp.mpf(4)
U_MAX = mp.mpf(46)
DEGREE = 16


def u_of_eta(eta: mp.mpf) -> mp.mpf:
    """√(ln(1 + 1/(2π·m(eta)²)))."""
    m = mp.exp(-eta * eta / 2) / (mp.sqrt(2 * mp.pi) * eta) - mp.erfc(eta / mp.sqrt(2)) / 2
    return mp.sqrt(mp.log1p(1 / (2 * mp.pi * m * m)))


def ratio(u: mp.mpf) -> mp.mpf:
    """R(u) = eta/u."""
    if u < mp.mpf("1e-6"):
        return mp.mpf(1)
    return mp.findroot(lambda eta: u_of_eta(eta) - u, (u * 7 / 10, u * 19 / 20), tol=mp.mpf("1e-35")) / u


def coefficients() -> list[float]:
    """Powers of y, lowest first."""
    with mp.workdps(40):
        low = (C - U_MAX) / (C + U_MAX)
        count = DEGREE + 1
        nodes = [(1 + low) / 2 + (1 - low) / 2 * mp.cos(mp.pi * (2 * k + 1) / (2 * count)) for k in range(count)]
        powers = mp.matrix([[y**k for k in range(count)] for y in nodes])
        return [float(c) for c in mp.lu_solve(powers, mp.matrix([ratio(C * (1 - y) / (1 + y)) for y in nodes]))]


def worst_relative_error(stored: list[float], points: int = 100) -> float:
    """Of the stored polynomial over 0 < u < U_MAX."""
    with mp.workdps(40):
        worst = mp.mpf(0)
        for k in range(points):
            u = U_MAX * ((k + mp.mpf("0.5")) / points) ** 2
            y = (C - u) / (C + u)
            worst = max(worst, abs(mp.fsum(mp.mpf(c) * y**i for i, c in enumerate(stored)) / ratio(u) - 1))
        return float(worst)


if __name__ == "__main__":
    stored = coefficients()
    print(f"INVERSE = (  # degree {DEGREE}, worst relative error {worst_relative_error(stored):.1e}")
    for c in stored:
        print(f"    {c!r},")
    print(")")
