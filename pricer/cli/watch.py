"""`volstream watch`: a chain in the terminal, of a sidecar or of a venue."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from pricer.cli.options import Duration, Expiry, Rows, Underlyings
from pricer.cli.reporting import UsageError
from pricer.cli.running import given, new_console
from pricer.cli.values import underlying_list

DEFAULT_SIDECAR = "http://127.0.0.1:8765"
EXAMPLE = (
    "volstream watch --url http://127.0.0.1:8765 --expiry 26MAR27    or without a sidecar:"
    "  volstream watch --venue deribit --underlying BTC"
)


def watch(
    url: Annotated[
        str | None, typer.Option("--url", metavar="HTTP", help="A running sidecar; by default the local one.")
    ] = None,
    venue: Annotated[
        str | None, typer.Option("--venue", metavar="NAME", help="Without a sidecar: price this exchange here.")
    ] = None,
    venue_url: Annotated[
        str | None, typer.Option("--venue-url", metavar="WS", help="The venue's WebSocket address.")
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", metavar="FILE", help="The sidecar's token; or VOLSTREAM_TOKEN has it."),
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option("--ca-file", metavar="PEM", help="Authorities to verify an https:// sidecar against.")
    ] = None,
    unix_socket: Annotated[
        str | None, typer.Option("--unix-socket", metavar="PATH", help="The socket that the sidecar listens on.")
    ] = None,
    underlying: Underlyings = None,
    expiry: Expiry = None,
    rows: Rows = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and exit; also without a terminal.")] = False,
    duration: Duration = None,
) -> None:
    """The live chain: calls left, the strike in the middle, puts right, centred on the forward."""
    import asyncio

    from pricer import launch
    from pricer.config import Settings
    from pricer.terminal import Selection

    if (url or token_file or ca_file or unix_socket) and (venue or venue_url):
        raise UsageError("give either --url of a sidecar, or --venue and --venue-url")
    console = new_console()
    names = underlying_list(underlying)
    plan = launch.Plan(
        settings=Settings.load(feed=given({"venue": venue, "url": venue_url, "underlyings": names})),
        console=console,
        screen=console.is_terminal,
        selection=Selection(expiry, rows=rows),
        duration_s=duration,
        started_s=time.perf_counter(),
    )
    alone = not console.is_terminal or once
    if venue or venue_url:
        asyncio.run(launch.watch_venue(plan, once=alone))
    else:
        watching = launch.watch_sidecar(
            plan,
            url or DEFAULT_SIDECAR,
            names or (),
            once=alone,
            token_file=token_file,
            ca_file=ca_file,
            unix_socket=unix_socket,
        )
        asyncio.run(watching)
