"""Options that several commands have, and how any option comes by its parser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from pricer.cli.values import count, moment, port_number, positive, whole


def option(*names: str, parse: Callable[[str], Any] | None = None, metavar: str | None = None, help: str) -> Any:
    """A typer option whose text `parse` turns into its value."""
    return typer.Option(*names, parser=parse, metavar=metavar, help=help)


Venue = Annotated[str, typer.Option("--venue", metavar="NAME", help="The exchange.")]
Port = Annotated[
    int, option("--port", parse=port_number, metavar="PORT", help="The sidecar's port; 0 takes a free one.")
]
Duration = Annotated[
    float | None, option("--duration", parse=positive, metavar="SECONDS", help="End by itself after this long.")
]
Headless = Annotated[
    bool, typer.Option("--headless", help="A status line now and then in place of the live chain in the terminal.")
]
Seed = Annotated[
    int, option("--seed", parse=whole, metavar="N", help="The embedded market's: the same seed gives the same market.")
]
Chaos = Annotated[
    int | None,
    option(
        "--chaos",
        parse=whole,
        metavar="SEED",
        help="Put the market under random faults; the same seed, the same faults.",
    ),
]
Underlyings = Annotated[
    str | None, typer.Option("--underlying", metavar="NAMES", help="What to price: BTC, or BTC,BTC_USDC.")
]
Expiry = Annotated[
    int | None,
    option("--expiry", parse=moment, metavar="DATE", help="The expiry to show first: 26MAR27 or 2026-03-26."),
]
Rows = Annotated[
    int | None, option("--rows", parse=count, metavar="N", help="How many strikes to show; by default all that fit.")
]
