"""Which strikes of an expiry a subscription shows, so that the choice follows the market and does not flap.

A window is chosen at one forward and then stays for a range of forwards. It moves when the forward has left that range,
and the range of the next one begins well before the edge that was crossed: a forward that swings about an edge moves
the window once. The edges of a window by delta move with each smile: a strike enters when its option out of the money
has the delta, and leaves when it has less than nine tenths of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import NamedTuple

import numpy as np

from pricer.snapshot import FIELD_INDEX, SliceBlock, SliceDefinition

Measure = tuple[str, float]
"""("count", strikes on each side of the forward), ("percent", of the forward) or ("delta", out of the money)."""

# By so much of the distance between two strikes the forward must pass a strike before a window by count moves.
PASSED = 0.25
# By so much of its width the forward must move before a window by percent moves, or fall short before a delta leaves.
SLACK = 0.1
_EDGE = 1e-12  # a strike on the very edge is inside, whatever the last bit of a product says


class Window(NamedTuple):
    """The strikes from `low` to `high`; right while the forward is above `above` and not above `below`."""

    low: float
    high: float
    above: float = -math.inf
    below: float = math.inf

    def rows(self, definition: SliceDefinition) -> slice:
        """The rows of an expiry inside, which lie side by side: they are sorted by strike."""
        low, high = np.searchsorted(definition.strike, (self.low, self.high * (1.0 + _EDGE)))
        return slice(int(low), max(int(low), int(high)))


EMPTY = Window(math.inf, -math.inf, math.inf, -math.inf)


def window_of(block: SliceBlock, measure: Measure, before: Window = EMPTY) -> Window:
    """The window of an expiry now; without a forward (or a delta) it stays what it was `before`."""
    kind, size = measure
    forward = block.forward.value
    if kind == "delta":
        return _by_delta(block, size, before)
    if not forward > 0.0 or before.above < forward <= before.below:
        return before
    return _by_count(block.definition, forward, int(size)) if kind == "count" else _by_percent(forward, size)


def _by_count(definition: SliceDefinition, forward: float, count: int) -> Window:
    strikes = np.unique(definition.strike).tolist()
    if not strikes:
        return EMPTY
    middle = bisect_left(strikes, forward)  # so many strikes are below the forward
    low, high = strikes[max(0, middle - count)], strikes[min(len(strikes), middle + count) - 1]
    under, over = strikes[max(0, middle - 1)], strikes[min(middle, len(strikes) - 1)]
    passed = PASSED * (over - under)
    return Window(
        low,
        high,
        under - passed if middle > 0 else -math.inf,
        over + passed if middle < len(strikes) else math.inf,
    )


def _by_percent(forward: float, percent: float) -> Window:
    part = percent / 100.0
    width, slack = part * forward, SLACK * part * forward
    return Window((forward - width) * (1.0 - _EDGE), forward + width, forward - slack, forward + slack)


def _by_delta(block: SliceBlock, least: float, before: Window) -> Window:
    strikes, cp = block.definition.strike, block.definition.cp
    outside = np.abs(block.values[FIELD_INDEX["delta"]])
    outside = np.where(cp * (strikes - block.forward.value) >= 0.0, outside, np.nan)
    entering, staying = strikes[outside >= least], strikes[outside >= (1.0 - SLACK) * least]
    if not entering.size:
        return before if not np.isfinite(outside).any() else EMPTY
    low, high = float(entering[0]), float(entering[-1])
    if staying[0] <= before.low <= low:
        low = before.low
    if high <= before.high <= staying[-1]:
        high = before.high
    return Window(low, high)
