"""Sizes and patience of a feed. Every one has a bound, and none can be switched off."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pricer.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """Sizes and patience; every one has a bound. Times in seconds."""

    # A message as it is handed over, so after inflating; and with compression also as it comes.
    max_frame_bytes: int = 8 * 2**20
    max_queue: int = 64
    # What is owed to the venue and not yet taken by the system, in messages and in bytes (FAULTS T05).
    max_outbox: int = 1024
    max_outbox_bytes: int = 2**20
    max_http_bytes: int = 8 * 2**20
    # A venue that says nothing readable for so many frames in a row is asked anew (FAULTS W07).
    max_bad_frames: int = 20
    dns_timeout_s: float = 5.0
    # One address of several that swallows everything must not cost the others their turn.
    address_timeout_s: float = 3.0
    open_timeout_s: float = 10.0
    ping_interval_s: float = 10.0
    ping_timeout_s: float = 5.0
    # Without one data frame; pings and pongs do not count (FAULTS W08).
    idle_timeout_s: float = 60.0
    close_timeout_s: float = 1.0
    backoff_first_s: float = 0.5
    backoff_cap_s: float = 30.0
    # After 1013 "try again later" at least this, and after a ban (403, 418) this, doubled up to the cap.
    try_later_s: float = 5.0
    ban_backoff_s: float = 300.0
    ban_backoff_cap_s: float = 3600.0
    # Long past a full resync (a second or two). With a minute, two hiccups within it cost half a minute in the dark.
    stable_s: float = 10.0
    # Venues cut a connection at 24 h; another takes over before (FAULTS W12). The jitter goes both ways.
    rotate_after_s: float = 82_800.0
    rotate_jitter_s: float = 1_800.0
    # How long a second connection may take until it is live, how long both then stand, and the pause after a failure.
    warm_timeout_s: float = 60.0
    overlap_s: float = 1.0
    rotate_retry_s: float = 60.0
    burst_s: float = 0.002
    burst_frames: int = 64

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if not 0 < value < float("inf"):
                raise ConfigError(f"{each.name}: {value!r} is not a positive number")
        if self.rotate_jitter_s >= self.rotate_after_s:
            raise ConfigError(f"rotate_jitter_s: {self.rotate_jitter_s!r} is not below rotate_after_s")
