"""`volstream demo`: the whole program on an embedded market."""

from __future__ import annotations

from collections.abc import Sequence

from pricer.cli.options import Chaos, Duration, Headless, Port, Seed, Underlyings
from pricer.cli.running import run
from pricer.cli.values import underlying_list
from pricer.errors import ConfigError

EXAMPLE = "volstream demo --port 9000 --duration 60 --headless"


def demo(
    port: Port = 8765,
    duration: Duration = None,
    headless: Headless = False,
    seed: Seed = 7,
    chaos: Chaos = None,
    underlying: Underlyings = None,
) -> None:
    """All of it on this machine: an embedded market, the pricer, the sidecar, and the live chain in the terminal."""
    from pricer.config import Settings

    names = underlying_list(underlying) or ("BTC",)
    settings = Settings.load(server={"port": port}, feed={"underlyings": names, "venue": "deribit", "url": None})
    _known_to_the_market(settings.feed.underlyings)
    run(lambda launch, plan: launch.demo(plan, seed), settings, headless=headless, duration=duration, chaos=chaos)


def _known_to_the_market(underlyings: Sequence[str]) -> None:
    from pricer.simulator.listing import FAMILIES

    names = [family.name for family in FAMILIES]
    for underlying in underlyings:
        if underlying not in names:
            raise ConfigError(f"the embedded market has no {underlying!r}; it has {', '.join(names)}")
