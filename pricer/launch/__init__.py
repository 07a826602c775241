"""The programs behind the commands: `running` is demo and serve, `watching` is watch, `simulating` is simulate.

`plan` is what they have in common, `showing` what they print or draw, `warming` the kernels before all else.
"""

from __future__ import annotations

from pricer.launch.plan import News, Plan
from pricer.launch.running import demo, live_stream, serve
from pricer.launch.simulating import Faulty, simulate
from pricer.launch.warming import warm_kernels
from pricer.launch.watching import watch_sidecar, watch_venue

__all__ = [
    "Faulty",
    "News",
    "Plan",
    "demo",
    "live_stream",
    "serve",
    "simulate",
    "warm_kernels",
    "watch_sidecar",
    "watch_venue",
]
