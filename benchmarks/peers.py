"""Other packages' implied volatilities on the forward, each called as its own documentation says is fastest.

A `Solver` is prepared outside the time measured: flags, columns of the types that the package takes, its compilation.
The call it returns takes nothing and gives sigma in the order of the rows, NaN where the package gives no answer.
Every package is imported here only when its solver is made, and runs on one thread (`one_thread`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.sets import Floats

Call = Callable[[], Floats]

# So that one core is measured. Read by Numba, Rayon and OpenMP when they are first used.
THREADS = ("NUMBA_NUM_THREADS", "RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Quotes(NamedTuple):
    """What is inverted: columns of one length."""

    premium: Floats
    forward: Floats
    strike: Floats
    ttm: Floats
    cp: Floats
    exact: Floats  # the answer; only a warm start may look at it, which is given something near it

    def take(self, rows: NDArray[np.intp]) -> Quotes:
        return Quotes(*(column[rows] for column in self))


class Solver(NamedTuple):
    name: str
    package: str  # as pip knows it
    prepare: Callable[[Quotes], Call]
    note: str = ""
    timed_rows: int = 2_000  # a millisecond or so: a longer run is interrupted more often by what else the machine does


def one_thread() -> None:
    """To be called before a package is imported."""
    for name in THREADS:
        os.environ[name] = "1"


def installed(package: str) -> str | None:
    """The version of a package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def lbriv(quotes: Quotes) -> Call:
    from lbriv import compute_trades_greeks

    premium, forward, strike, ttm, cp, _ = (column.copy() for column in quotes)  # it takes no read-only array
    is_call, discount, root = (cp > 0.0).astype(np.int8), np.ones(len(cp)), np.sqrt(ttm)
    total, delta, gamma, vega = (np.empty(len(cp)) for _ in range(4))

    def call() -> Floats:
        compute_trades_greeks(premium, forward, strike, is_call, discount, total, delta, gamma, vega)
        return total / root  # 0.0 where it found none

    return call


@functools.cache
def vanilla_option_pricers_chain() -> Callable[..., None]:
    """Its own loops take one expiry a call, so this is its scalar function in the same kind of loop.

    The bounds are opened, since by default it refuses volatilities under 1 % and over 500 %.
    """
    import numba
    from vanilla_option_pricers import infer_bsm_implied_vol

    @numba.njit(nogil=True)
    def chain(premium: Floats, forward: Floats, strike: Floats, ttm: Floats, cp: Floats, out: Floats) -> None:
        for i in range(len(out)):
            kind = "C" if cp[i] > 0.0 else "P"
            out[i] = infer_bsm_implied_vol(forward[i], ttm[i], strike[i], premium[i], 1.0, kind, 1e-8, 0.0, 1e6)

    return chain


def vanilla_option_pricers(quotes: Quotes) -> Call:
    chain, out = vanilla_option_pricers_chain(), np.empty(len(quotes.cp))

    def call() -> Floats:
        chain(*quotes[:5], out)
        return out

    return call


def iv_engine(quotes: Quotes) -> Call:
    from iv_engine import implied_volatilities

    # One call takes options of one kind.
    kinds = [(is_call, np.flatnonzero((quotes.cp > 0.0) == is_call)) for is_call in (True, False)]
    inputs = [(rows, [column[rows] for column in quotes[:4]], is_call) for is_call, rows in kinds]
    out = np.empty(len(quotes.cp))

    def call() -> Floats:
        for rows, columns, is_call in inputs:
            out[rows] = implied_volatilities(*columns, is_call=is_call, parallel=False)
        return out

    return call


def fast_vollib_jackel(quotes: Quotes) -> Call:
    from fast_vollib.jackel import jackel_iv_black

    premium, forward, strike, ttm, cp, _ = quotes
    is_call = cp > 0.0

    def call() -> Floats:
        with np.errstate(all="ignore"):
            return np.asarray(jackel_iv_black(premium, forward, strike, ttm, is_call))

    return call


def fast_vollib(quotes: Quotes) -> Call:
    from fast_vollib import fast_implied_volatility_black

    premium, forward, strike, ttm, cp, _ = quotes
    rate, flag = np.zeros(len(cp)), np.where(cp > 0.0, "c", "p")

    def call() -> Floats:
        with np.errstate(all="ignore"):
            found = fast_implied_volatility_black(
                premium, forward, strike, rate, ttm, flag, on_error="ignore", return_as="numpy", backend="numpy"
            )
        return np.asarray(found)

    return call


def pyvolr(quotes: Quotes) -> Call:
    from pyvolr import black76

    premium, forward, strike, ttm, cp, _ = quotes
    flag = np.where(cp > 0.0, "c", "p")

    def call() -> Floats:
        return np.asarray(black76.implied_vol(premium, flag, forward, strike, ttm, 0.0, on_error="ignore"))

    return call


def quantlib(quotes: Quotes) -> Call:
    import QuantLib as ql

    premium, forward, strike, ttm, cp, _ = (column.tolist() for column in quotes)
    kinds = [ql.Option.Call if sign > 0.0 else ql.Option.Put for sign in cp]
    root = np.sqrt(ttm).tolist()

    def call() -> Floats:
        out = []
        for p, f, k, r, kind in zip(premium, forward, strike, root, kinds, strict=True):
            try:
                out.append(ql.blackFormulaImpliedStdDev(kind, k, f, p, 1.0, 0.0, ql.nullDouble(), 1e-14) / r)
            except RuntimeError:  # its word for: not found
                out.append(np.nan)
        return np.array(out)

    return call


def vollib(quotes: Quotes) -> Call:
    from vollib.black.implied_volatility import implied_volatility
    from vollib.helpers.exceptions import PriceIsAboveMaximum, PriceIsBelowIntrinsic

    premium, forward, strike, ttm, cp, _ = (column.tolist() for column in quotes)
    flags = ["c" if sign > 0.0 else "p" for sign in cp]

    def call() -> Floats:
        out = []
        for p, f, k, t, flag in zip(premium, forward, strike, ttm, flags, strict=True):
            try:
                out.append(implied_volatility(p, f, k, 0.0, t, flag))
            except (PriceIsAboveMaximum, PriceIsBelowIntrinsic):
                out.append(np.nan)
        return np.array(out)

    return call


BASE = "lbriv"  # all times are given as multiples of this one's

PEERS = (
    Solver("lbriv", "lbriv", lbriv, "Cython; gives delta, gamma and vega in the same call"),
    Solver("vanilla-option-pricers", "vanilla-option-pricers", vanilla_option_pricers, "Numba, in a loop of ours"),
    Solver("iv-engine", "iv-engine", iv_engine, "Rust"),
    Solver("fast-vollib, jackel", "fast-vollib", fast_vollib_jackel, "NumPy", timed_rows=4_000),
    Solver("fast-vollib", "fast-vollib", fast_vollib, "NumPy, its default", timed_rows=4_000),
    Solver("pyvolr", "pyvolr", pyvolr, "Rust"),
    Solver("QuantLib", "QuantLib", quantlib, "C++, a call an option; accuracy 1e-14", timed_rows=400),
    Solver("vollib", "vollib", vollib, "Python, a call an option", timed_rows=50),
)
