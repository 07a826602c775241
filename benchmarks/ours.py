"""This project's implied volatilities in the form of `benchmarks.peers`, so that both are run by the same code."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

import pricer
from benchmarks.peers import Call, Quotes, Solver
from benchmarks.sets import Floats
from pricer.kernels import implied_vol

PACKAGE = "volstream"
TIMED_ROWS = 16_000  # a millisecond, too


def frozen(column: Floats) -> Floats:
    """A read-only view: the kind of array that the kernels are compiled for."""
    view = column.view()
    view.flags.writeable = False
    return view


def cold(quotes: Quotes) -> Call:
    premium, forward, strike, ttm, cp, _ = map(frozen, quotes)
    out, status = outputs(quotes)

    def call() -> Floats:
        implied_vol.implied_vol_chain(premium, forward, strike, ttm, cp, out, status)
        return out

    return call


def warm(change: float, quotes: Quotes) -> Call:
    """From previous volatilities that are so far from the answer (relative), half of them above it."""
    side = np.where(np.arange(len(quotes.cp)) % 2 == 0, 1.0, -1.0)
    premium, forward, strike, ttm, cp, exact = map(frozen, quotes)
    previous = frozen(exact * (1.0 + side * change))
    out, status = outputs(quotes)

    def call() -> Floats:
        implied_vol.implied_vol_chain_warm(premium, forward, strike, ttm, cp, previous, out, status)
        return out

    return call


def public(quotes: Quotes) -> Call:
    columns = quotes[:5]

    def call() -> Floats:
        return np.asarray(pricer.implied_vol(*columns))

    return call


def outputs(quotes: Quotes) -> tuple[Floats, NDArray[np.uint8]]:
    return np.empty(len(quotes.cp)), np.empty(len(quotes.cp), np.uint8)


def solver(name: str, prepare: Callable[[Quotes], Call], note: str) -> Solver:
    return Solver(f"{PACKAGE}, {name}", PACKAGE, prepare, note, TIMED_ROWS)


COLD = solver("cold", cold, "the kernel, a call a batch")
WARM = (
    solver("warm, 1e-4", partial(warm, 1e-4), "from a volatility 0.01 % off"),
    solver("warm, 3e-3", partial(warm, 3e-3), "from a volatility 0.3 % off"),
)
OURS = (COLD, *WARM, solver("pricer.implied_vol", public, "the public function, cold"))
