"""`volstream serve`: the whole program on a venue."""

from __future__ import annotations

from typing import Annotated

import typer

from pricer.cli.options import Duration, Underlyings, option
from pricer.cli.running import given, run
from pricer.cli.values import port_number, underlying_list

EXAMPLE = "volstream serve --venue deribit --underlying BTC,ETH --port 9000"


def serve(
    venue: Annotated[str | None, typer.Option("--venue", metavar="NAME", help="The exchange.")] = None,
    underlying: Underlyings = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="WS", help="The venue's WebSocket address; by default its own.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="The address to listen on; by default 127.0.0.1.")] = None,
    port: Annotated[
        int | None, option("--port", parse=port_number, metavar="PORT", help="The port to listen on; by default 8765.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="A TOML file; options here go before it.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front does TLS and authentication: allows any --host.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show the live chain in this terminal, too.")] = False,
    duration: Duration = None,
) -> None:
    """The pricer and the sidecar on a real venue, or on any server that speaks its protocol."""
    from pricer.config import Settings

    feed = {"venue": venue, "underlyings": underlying_list(underlying), "url": url}
    server = {"host": host, "port": port, "behind_proxy": behind_proxy or None}

    def read() -> Settings:
        return Settings.load(config, feed=given(feed), server=given(server))

    run(lambda launch, plan: launch.serve(plan), read(), headless=not watch, duration=duration, reread=read)
