"""`[engine]`: when a number is too old, too wide or too odd to be called OK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pricer.config.section import Section
from pricer.conventions import Dynamics

if TYPE_CHECKING:
    from pricer.engine import EngineSettings


class EngineSection(Section):
    """The limits behind the statuses."""

    quote_max_age_s: float = Field(
        12.0, gt=0, le=3600, description="A quote without a sign of life for so long is STALE."
    )
    forward_max_age_s: float = Field(2.0, gt=0, le=3600, description="The same for the index and the forwards.")
    last_good_s: float = Field(10.0, gt=0, le=3600, description="So long a last-good surface is DEGRADED; then STALE.")
    publish_every_ms: float = Field(250.0, ge=10, le=1000, description="Silence is published at least this often.")
    reprice_every_ms: float = Field(1000.0, ge=10, le=60_000, description="Renew model numbers for passing time alone.")
    settlement_window_s: float = Field(1800.0, ge=0, le=86_400, description="Before expiry, when the payoff averages.")
    forward_move: float = Field(1e-5, ge=0, lt=0.01, description="A smaller relative move of the forward is ignored.")
    wide_spread_iv: float = Field(0.25, gt=0, description="A bid-ask wider than this volatility makes a mid DEGRADED.")
    parity_gap: float = Field(
        3e-4, gt=0, lt=1, description="A forward so much (relative) off its options' put-call parity is DEGRADED."
    )
    freeze_move: float = Field(
        5e-4, gt=0, lt=1, description="An index or forward that is repeated while others move so much is STALE."
    )
    jump_floor: float = Field(
        0.01, gt=0, lt=1, description="A relative move of an index or forward below this is never doubted."
    )
    jump_sigmas: float = Field(
        10.0, ge=0, le=1000, description="One above it is, beyond so many standard deviations of the elapsed time."
    )
    jump_confirm_s: float = Field(
        1.0, gt=0, le=60, description="A doubted price that stands so long is taken, though nothing else confirms it."
    )
    mark_divergence_iv: float = Field(
        0.05, gt=0, description="A mark volatility of the venue that stays this far from ours raises an alarm."
    )
    surface_half_life: float = Field(
        0.0, ge=0, le=3600, description="Seconds in which half of a move of the fits is published; 0 smooths nothing."
    )
    dynamics: Dynamics = Field(
        "sticky_strike", description="How volatilities move with the market, for delta, gamma, vega and theta."
    )

    def to_engine(self) -> EngineSettings:
        """The engine's own form of this: integer nanoseconds."""
        from pricer.engine import EngineSettings

        return EngineSettings(
            quote_max_age_ns=_ns(self.quote_max_age_s),
            forward_max_age_ns=_ns(self.forward_max_age_s),
            last_good_ns=_ns(self.last_good_s),
            publish_every_ns=_ns(self.publish_every_ms / 1e3),
            reprice_every_ns=_ns(self.reprice_every_ms / 1e3),
            settlement_window_ns=_ns(self.settlement_window_s),
            forward_move=self.forward_move,
            wide_spread_iv=self.wide_spread_iv,
            parity_gap=self.parity_gap,
            freeze_move=self.freeze_move,
            jump_floor=self.jump_floor,
            jump_sigmas=self.jump_sigmas,
            jump_confirm_ns=_ns(self.jump_confirm_s),
            mark_divergence_iv=self.mark_divergence_iv,
            surface_half_life=self.surface_half_life,
            dynamics=self.dynamics,
        )


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
