"""The embedded Deribit of tests that ask for tradable numbers at whatever hour they run."""

from __future__ import annotations

from typing import Any

from pricer.clock import SystemClock
from pricer.simulator.market import Market
from pricer.simulator.venues.deribit import DeribitServer

DAY_S = 86_400.0


def embedded_market(seed: int = 7, *, activity: float = 0.1, **more: Any) -> DeribitServer:
    """Without the next 24 hours' expiry: near its end its few quotes determine no smile, and then it settles."""
    return DeribitServer(Market(seed, SystemClock().now().wall_ns, activity=activity, shortest_s=DAY_S), **more)
