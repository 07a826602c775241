"""Greeks of what one holds: unit Greeks times quantity times contract size, applied once and visibly.

`Greeks` are those of one unit of the underlying; `PositionGreeks` are those of a line or of a portfolio. They are two
types, so that the multiplier can be neither forgotten nor applied twice: only positions add up, only unit Greeks can be
made into a position, and neither size nor quantity has a default.

>>> from pricer.pricing import greeks
>>> line = PositionGreeks.of(greeks(100.0, 100.0, 1.0, 0.2, "call"), quantity=-3, contract_size=100.0)
>>> round(line.delta, 2)
-161.95
>>> round((line + line).delta, 2)
-323.9
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from pricer.pricing import Greeks

__all__ = ["PositionGreeks"]


@dataclass(frozen=True, slots=True)
class PositionGreeks:
    """Value and Greeks of a line or a portfolio, in quote currency and as in `Greeks`; without arguments those of none.

    `+` adds lines, `sum(lines, PositionGreeks())` all of them. A NaN stays one: a portfolio with an unknown line has no
    known sum. Deltas of different forwards may be added only by one who takes the forwards to move together.
    """

    value: float = 0.0
    delta: float = 0.0
    gamma: float = 0.0
    vega: float = 0.0
    theta: float = 0.0
    rho: float = 0.0
    vanna: float = 0.0
    volga: float = 0.0
    charm: float = 0.0
    veta: float = 0.0
    speed: float = 0.0
    zomma: float = 0.0
    color: float = 0.0
    ultima: float = 0.0

    @classmethod
    def of(cls, unit: Greeks[float], *, quantity: float, contract_size: float) -> PositionGreeks:
        """`quantity` contracts (negative: short) of `contract_size` units of the underlying each.

        TypeError for anything but `Greeks`: those of a position have had their multiplier. ValueError for a quantity
        that is not finite or a size that is not positive and finite.
        """
        if not isinstance(unit, Greeks):
            raise TypeError(f"a position is made from unit Greeks, not from {type(unit).__name__}")
        if not math.isfinite(quantity):
            raise ValueError(f"quantity must be finite, not {quantity!r}")
        if not 0.0 < contract_size < math.inf:
            raise ValueError(f"contract_size must be positive and finite, not {contract_size!r}")
        units = quantity * contract_size
        return cls(*(units * float(getattr(unit, field.name)) for field in fields(unit)))

    def __add__(self, other: PositionGreeks) -> PositionGreeks:
        if not isinstance(other, PositionGreeks):
            return NotImplemented  # unit Greeks have no quantity; Python makes this a TypeError
        return PositionGreeks(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))
