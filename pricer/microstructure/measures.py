"""What one book says, or two that follow each other: imbalance, microprice, depth in vega, order flow.

Whatever cannot be said, for want of a side or of a vega, is NaN.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from pricer.adapters.events import BookDepth

NAN = math.nan

Levels = tuple[tuple[float, float], ...]


def imbalance(book: BookDepth, levels: int = 1) -> float:
    """(B − A)/(B + A) of the sizes on the best `levels` levels: 1 is all bids, −1 all asks. NaN without both sides."""
    if not book.bids or not book.asks:
        return NAN
    bid, ask = _size(book.bids[:levels]), _size(book.asks[:levels])
    return (bid - ask) / (bid + ask)


def microprice(book: BookDepth, levels: int = 1) -> float:
    """(A·b + B·a)/(B + A): the mid drawn towards the side that is thinner. In the price's unit; NaN without both sides.

    b, a are each side's average price and B, A its size, over the best `levels` levels: with one level, the usual form.
    """
    if not book.bids or not book.asks:
        return NAN
    (bid, bids), (ask, asks) = _average(book.bids[:levels]), _average(book.asks[:levels])
    return (asks * bid + bids * ask) / (bids + asks)


class VegaDepth(NamedTuple):
    """How much vega stands in the book near the mid: price units times size, per point of volatility (0.01).

    `complete` is False where all the levels shown are inside the band, so that there may be more.
    """

    bid: float
    ask: float
    complete: bool


NO_VEGA_DEPTH = VegaDepth(NAN, NAN, False)


def depth_in_vega(book: BookDepth, vega: float, points: float, depth: int | None = None) -> VegaDepth:
    """What can be sold and bought within `points` points of volatility of the mid, as vega.

    `vega` is ∂price/∂σ per 1.0 of volatility in the unit of the book's prices: `row.vega`, or `row.vega_coin` where
    premiums are in coin. A level counts whose price is at most vega·points/100 away from the mid; the sum of sizes
    times vega/100 is the answer. `depth` is how many levels a side the book was asked for: a side with fewer has no
    more. NaN without both sides, or where vega is not above zero.
    """
    if not book.bids or not book.asks or not vega > 0.0:
        return NO_VEGA_DEPTH
    mid, reach = 0.5 * (book.bids[0][0] + book.asks[0][0]), vega * points / 100.0
    bids = [level for level in book.bids if mid - level[0] <= reach]
    asks = [level for level in book.asks if level[0] - mid <= reach]
    complete = all(
        len(inside) < len(shown) or (depth is not None and len(shown) < depth)
        for inside, shown in ((bids, book.bids), (asks, book.asks))
    )
    return VegaDepth(_size(bids) * vega / 100.0, _size(asks) * vega / 100.0, complete)


def order_flow(before: BookDepth, after: BookDepth) -> float:
    """What one change of the best levels adds to the order-flow imbalance, in size: above zero is buying pressure.

    e = 1{b ≥ b₀}·B − 1{b ≤ b₀}·B₀ − 1{a ≤ a₀}·A + 1{a ≥ a₀}·A₀ for best bid b of size B and best ask a of size A,
    before (₀) and after. An empty side is one infinitely far away of size zero.
    """
    bid0, bids0 = before.bids[0] if before.bids else (-math.inf, 0.0)
    bid, bids = after.bids[0] if after.bids else (-math.inf, 0.0)
    ask0, asks0 = before.asks[0] if before.asks else (math.inf, 0.0)
    ask, asks = after.asks[0] if after.asks else (math.inf, 0.0)
    return (
        (bids if bid >= bid0 else 0.0)
        - (bids0 if bid <= bid0 else 0.0)
        - (asks if ask <= ask0 else 0.0)
        + (asks0 if ask >= ask0 else 0.0)
    )


def _size(levels: Levels | list[tuple[float, float]]) -> float:
    return sum(size for _, size in levels)


def _average(levels: Levels) -> tuple[float, float]:
    """The average price by size, and the whole size."""
    total = _size(levels)
    return sum(price * size for price, size in levels) / total, total
