"""The limits behind the statuses."""

from __future__ import annotations

from dataclasses import dataclass

from pricer.conventions import Dynamics
from pricer.surfaces.dynamics import checked


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The limits behind the statuses, integer nanoseconds unless said otherwise.

    `quote_max_age_ns`: a Deribit ticker is re-sent every 5 s, so 12 s of silence means a lost channel.
    `forward_move`: a relative move of the forward below this re-prices nothing (0.1 bp).
    `reprice_every_ns`: model numbers are renewed this often for the passing of time alone.
    `settlement_window_ns`: before expiry the payoff is an average of the index, which Black-76 does not know.
    `wide_spread_iv`: a bid-ask wider than this volatility makes the mid DEGRADED.
    `parity_gap`: a venue's forward further (as a share of it) than this from put-call parity is DEGRADED.
    `freeze_move`: an index or forward that is repeated for longer than `forward_max_age_ns` while another price of its
    market makes this relative move is frozen, and STALE.
    `jump_floor`, `jump_sigmas`, `jump_confirm_ns`: a relative move of more than the first, and of more than so many
    standard deviations of the elapsed time, is not believed before another price confirms it or it has stood so long.
    `mark_divergence_iv`: a venue's mark volatility that stays this far from ours is counted and logged.
    `surface_half_life`: seconds in which the published surface has made half of its way to the fitted one; 0 is off.
    `dynamics`: how a strike's volatility moves with the market, for the published Greeks (an unknown one: ValueError).
    """

    quote_max_age_ns: int = 12_000_000_000
    forward_max_age_ns: int = 2_000_000_000
    last_good_ns: int = 10_000_000_000
    publish_every_ns: int = 250_000_000
    reprice_every_ns: int = 1_000_000_000
    settlement_window_ns: int = 1_800_000_000_000
    forward_move: float = 1e-5
    wide_spread_iv: float = 0.25
    parity_gap: float = 3e-4
    freeze_move: float = 5e-4
    jump_floor: float = 0.01
    jump_sigmas: float = 10.0
    jump_confirm_ns: int = 1_000_000_000
    mark_divergence_iv: float = 0.05
    surface_half_life: float = 0.0
    dynamics: Dynamics = "sticky_strike"

    def __post_init__(self) -> None:
        checked(self.dynamics)


DEFAULT_SETTINGS = EngineSettings()
