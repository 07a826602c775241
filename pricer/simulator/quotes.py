"""Market makers: from a model price to a two-sided quote on the venue's price grid.

Three kinds quote, as in the 330 tickers recorded on 2026-06-27:

- *tight*: about one vol point wide, near the money and out of it;
- *medium*: in the money, about 1 % of the strike wide;
- *wide*: in the money where nobody trades, about 7 % of the strike wide.

The last two put their bids below intrinsic value, which is why the venue shows `bid_iv` 0 for about a quarter of the
two-sided quotes. Out of the money a bid that rounds below one tick is absent; far out, some books are empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricer.simulator.listing import Family, Ticks

Floats = NDArray[np.float64]

# Of the in-the-money options, the share that only the wide maker quotes: by days to expiry.
_WIDE_UNTIL_DAYS = np.array([22.0, 75.0])
_WIDE_SHARE = np.array([0.40, 0.15, 0.08])
_MEDIUM_SHARE = np.array([1.0, 1.0, 0.5])  # of the mildly in-the-money rest; the others have a tight maker

EMPTY_BEYOND_SD = 1.9  # standard deviations from the forward
_EMPTY_SHARE = 0.45
_PULLED_SHARE = 0.01  # quotes whose maker has just pulled one side


@dataclass(frozen=True, slots=True)
class Valued:
    """Model values of some options, all arrays of one length; prices and vega are fractions of the forward."""

    fair: Floats
    intrinsic: Floats
    vega: Floats  # per 1.0 of volatility
    delta: Floats
    strike: Floats  # K/F
    ttm: Floats
    distance: Floats  # |ln(K/F)| in standard deviations
    temper: Floats  # two uniform draws fixed for the life of the option, shape [n, 2]


@dataclass(frozen=True, slots=True)
class Quotes:
    """Premiums in the venue's unit and sizes; an empty side is 0 with size 0, as the venue shows it."""

    bid: Floats
    ask: Floats
    bid_size: Floats
    ask_size: Floats


def on_grid(price: Floats, ticks: Ticks, towards: np.ufunc) -> Floats:
    """`price` moved to the price grid, down with `np.floor`, up with `np.ceil`."""
    tick = np.where(price < ticks.above, ticks.fine, ticks.coarse)
    # A price on the grid must stay where it is, so a hair is taken off before rounding.
    nudge = 1e-9 if towards is np.floor else -1e-9
    rounded: Floats = np.round(towards(price / tick + nudge) * tick, ticks.decimals)
    return rounded


def make_quotes(rng: np.random.Generator, family: Family, value: Valued, unit: Floats | float) -> Quotes:
    """Draw one quote per option; `unit` makes a premium of a fraction of the forward: 1 for inverse, F for linear."""
    kind = _maker(value)
    widths = (
        0.5 * value.vega * (0.003 + 0.006 * value.temper[:, 1]),
        value.strike * (0.0045 + 0.0065 * value.ttm),
        value.strike * (0.035 + 0.020 * value.ttm),
    )
    half = np.choose(kind, widths)
    lean = np.clip(rng.normal(0.0, 0.2, half.size), -0.5, 0.5) * half
    ticks = family.ticks
    bid = on_grid(np.maximum(value.fair + lean - half, 0.0) * unit, ticks, np.floor)
    ask = on_grid(np.maximum((value.fair + lean + half) * unit, ticks.fine), ticks, np.ceil)
    bid_size, ask_size = _sizes(rng, family, kind), _sizes(rng, family, kind)
    empty = (value.distance > EMPTY_BEYOND_SD) & (value.temper[:, 0] < _EMPTY_SHARE)
    pulled = rng.random(half.size)
    no_bid = (bid <= 0.0) | empty | (pulled < _PULLED_SHARE)
    no_ask = empty | (pulled > 1.0 - _PULLED_SHARE / 4.0)
    return Quotes(
        np.where(no_bid, 0.0, bid),
        np.where(no_ask, 0.0, ask),
        np.where(no_bid, 0.0, bid_size),
        np.where(no_ask, 0.0, ask_size),
    )


def _maker(value: Valued) -> NDArray[np.int64]:
    """Who quotes each option: 0 tight, 1 medium, 2 wide."""
    depth = np.abs(value.delta)
    in_the_money = (value.intrinsic > 0.0) & (depth > 0.58)
    term = np.searchsorted(_WIDE_UNTIL_DAYS, value.ttm * 365.0)
    draw = value.temper[:, 0]
    wide = in_the_money & (draw < _WIDE_SHARE[term])
    mild = depth < 0.75
    medium = in_the_money & ~wide & (~mild | (value.temper[:, 1] < _MEDIUM_SHARE[term]))
    return np.where(wide, 2, np.where(medium, 1, 0))


def _sizes(rng: np.random.Generator, family: Family, kind: NDArray[np.int64]) -> Floats:
    """Amounts in coin: the tight makers' vary by orders of magnitude, the wide makers' hardly."""
    draw = rng.normal(size=kind.size)
    size = np.choose(kind, (np.exp(2.3 + 1.2 * draw), np.exp(3.3 + 0.6 * draw), 9.0 + draw))
    rounded: Floats = np.round(np.clip(size, family.min_amount, 300.0), family.size_decimals)
    return rounded
