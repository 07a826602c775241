"""Derives the polynomials in `pricer/kernels/elementary.py`: run by hand, prints the coefficients and their error.

    python docs/derivations/elementary.py

ln: (2·atanh(r) − 2r)/r³ in z = r² up to 0.0405, r = (m − 1)/(m + 1) with m within a factor 1.5 of one.
exp: (exp(r) − 1 − r)/r² for |r| ≤ ln(2)/2 and a little beyond, since n = round(x/ln 2) is itself rounded.
Both are Chebyshev fits at 50 digits, then rounded to doubles.
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 50

Z_MAX = mp.mpf("0.0405")
R_MAX = mp.log(2) / 2 * mp.mpf("1.0001")


def atanh_tail(z: mp.mpf) -> mp.mpf:
    """(2·atanh(r) − 2r)/r³ at r = √z."""
    r = mp.sqrt(z)
    return (2 * mp.atanh(r) - 2 * r) / (r * z) if z > mp.mpf("1e-20") else mp.mpf(2) / 3 + 2 * z / 5


def exp_tail(r: mp.mpf) -> mp.mpf:
    """(exp(r) − 1 − r)/r²."""
    return (mp.exp(r) - 1 - r) / r**2 if abs(r) > mp.mpf("1e-10") else mp.mpf(1) / 2 + r / 6 + r * r / 24


FITS: dict[str, tuple[Callable[[mp.mpf], mp.mpf], mp.mpf, mp.mpf, int]] = {
    "ATANH": (atanh_tail, mp.mpf("1e-12"), Z_MAX, 8),
    "EXP": (exp_tail, -R_MAX, R_MAX, 10),
}


def coefficients(name: str) -> tuple[list[float], float]:
    """Powers, lowest first, of the named fit, and its largest error before rounding."""
    function, low, high, count = FITS[name]
    found, error = mp.chebyfit(function, [low, high], count, error=True)
    return [float(c) for c in reversed(found)], float(error)


def main() -> None:
    """Print all."""
    for name in FITS:
        found, error = coefficients(name)
        print(f"{name}: error {error:.1e}")
        for c in found:
            print(f"    {c!r},")


if __name__ == "__main__":
    main()
