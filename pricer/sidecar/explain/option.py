"""The option that is explained: one row of a picture."""

from __future__ import annotations

from dataclasses import dataclass

from pricer.sidecar.moment import or_none
from pricer.sidecar.slices import Slice
from pricer.snapshot import FIELD_INDEX, Snapshot


@dataclass(frozen=True, slots=True)
class Option:
    """One row of a picture."""

    snapshot: Snapshot
    piece: Slice
    row: int
    digits: int

    def raw(self, name: str) -> float:
        """A field as it was computed, before rounding."""
        return float(self.piece.block.values[FIELD_INDEX[name], self.row])

    def published(self, name: str) -> float | None:
        """A field as it is published."""
        return or_none(float(self.piece.values[FIELD_INDEX[name], self.row]))

    @property
    def strike(self) -> float:
        return float(self.piece.block.definition.strike[self.row])

    @property
    def cp(self) -> int:
        return int(self.piece.block.definition.cp[self.row])

    @property
    def has_own_volatility(self) -> bool:
        """Is `iv` the option's own mid, since no curve is determined?"""
        fit = self.piece.block.fit
        determined = fit is not None and fit.smile is not None and fit.determined
        return not determined and self.raw("iv") == self.raw("mid_iv")
