"""`volstream simulate`: the embedded venue, for any client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pricer.cli.options import Chaos, Seed, Venue, option
from pricer.cli.reporting import UsageError
from pricer.cli.values import port_number

EXAMPLE = "volstream simulate --venue deribit --port 9100 --seed 7"


def simulate(
    venue: Venue = "deribit",
    port: Annotated[
        int, option("--port", parse=port_number, metavar="PORT", help="The port; 0 takes a free one.")
    ] = 9100,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    seed: Seed = 7,
    chaos: Chaos = None,
    faults: Annotated[
        Path | None,
        typer.Option("--faults", metavar="FILE", help="A script of faults, JSON or TOML: docs/simulator.md."),
    ] = None,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """The embedded venue alone, for any client: REST and WebSocket on one port, as the real one."""
    import asyncio

    from pricer import launch

    if chaos is not None and faults is not None:
        raise UsageError("give at most one of --chaos, whose faults are random, and --faults, which names them")

    def announce(url: str, http_url: str) -> None:
        text = json.dumps({"url": url, "http_url": http_url}) if child else f"WebSocket  {url}\nREST       {http_url}"
        print(text, flush=True)

    faulty = launch.Faulty(chaos or 0, faults) if chaos is not None or faults is not None else None
    asyncio.run(launch.simulate(venue, port, host, seed, announce, child=child, faulty=faulty))
