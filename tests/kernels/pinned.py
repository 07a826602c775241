"""Results as exact hexadecimal doubles, for `test_pinned.py`.

    python -m tests.kernels.pinned > tests/kernels/pinned.json

keeps those of the kernels as they are: once their bits are meant to change.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from pricer.kernels import black76, elementary, normal
from pricer.kernels.implied_vol import implied_vol

NUMBERS = (5e-324, 1e-310, 1e-100, 0.7071067811865475, 0.9999999, 1.5, 59_987.37, 1.7e308)
EXPONENTS = (-745.13, -709.3, -30.1, -1e-9, 0.34657, 1.0, 88.8, 709.78)
DEVIATIONS = (-38.3, -20.0, -4.5, -1e-12, 0.6, 1.3, 7.0)

# premium, forward, strike, ttm, sigma, cp: at the money, beside it, in either wing, and where one step is not enough.
OPTIONS = (
    (3_000.0, 60_000.0, 60_000.0, 0.1, 0.4, 1.0),
    (263.0, 60_000.0, 60_000.001, 1e-4, 1.1, -1.0),
    (812.5, 60_000.0, 75_000.0, 0.25, 0.65, 1.0),
    (15_003.25, 60_000.0, 75_000.0, 0.25, 0.2, -1.0),
    (1e-12, 100.0, 180.0, 0.02, 0.7, 1.0),
    (1e-305, 100.0, 250.0, 1.0, 0.03, 1.0),
    (80.0, 100.0, 300.0, 1.0, 3.5, 1.0),
    (99.999999, 100.0, 20.0, 2.0, 9.0, 1.0),
    (20.000000001, 100.0, 120.0, 0.5, 0.15, -1.0),
)


KERNELS: dict[str, Callable[[], list[float]]] = {
    "log": lambda: [elementary.log(x) for x in NUMBERS],
    "exp": lambda: [elementary.exp(x) for x in EXPONENTS],
    "norm_cdf": lambda: [normal.norm_cdf(z) for z in DEVIATIONS],
    "implied_vol": lambda: [implied_vol(p, f, k, t, cp)[0] for p, f, k, t, _, cp in OPTIONS],
    "price": lambda: [black76.price(*option[1:]) for option in OPTIONS],
    "greeks": lambda: [value for option in OPTIONS[2:6:3] for value in black76.greeks(*option[1:])],
}


def results(names: list[str]) -> dict[str, list[str]]:
    """The results of the kernels named, in the order of their arguments above."""
    return {name: [float(value).hex() for value in KERNELS[name]()] for name in names}


if __name__ == "__main__":
    print(json.dumps(results(sys.argv[1:] or list(KERNELS)), indent=4))
