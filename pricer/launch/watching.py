"""`watch`: a chain in the terminal, priced here or by a sidecar, and nothing served."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from typing import Any

from rich.console import Console

from pricer.errors import ConfigError
from pricer.launch.plan import Plan, stop_on_signals, until_stopped
from pricer.launch.running import live_stream
from pricer.launch.warming import warm_kernels
from pricer.streaming import LiveStream
from pricer.viewer import Chains, LocalChains, Viewer


async def watch_venue(plan: Plan, *, once: bool) -> None:
    """Price a venue in this process and show its chain; nothing is served."""
    feed = plan.settings.feed
    opening = live_stream(plan.settings, feed.url)
    await asyncio.to_thread(warm_kernels, Console(stderr=True))
    async with opening as stream:
        await _watch(plan, LocalChains(stream, feed.underlyings), _until_ended(stream), once=once)


async def watch_sidecar(
    plan: Plan,
    url: str,
    underlyings: Sequence[str],
    *,
    once: bool,
    token_file: str | None = None,
    ca_file: str | None = None,
    unix_socket: str | None = None,
) -> None:
    """Show the chains of a running sidecar. Its token is in a file, or in the environment's VOLSTREAM_TOKEN."""
    try:
        from pricer.remote import SidecarChains, token_from  # only here is the sidecar's client needed

        token = token_from(token_file, os.environ)
        chains = SidecarChains(url, underlyings, token=token, ca_file=ca_file, unix_socket=unix_socket)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    await _watch(plan, chains, chains.run(), once=once)


async def _watch(plan: Plan, chains: Chains, run: Coroutine[Any, Any, None], *, once: bool) -> None:
    """Show `chains` while `run` keeps them fresh: one frame with `once` or away from a terminal, else until stopped."""
    with stop_on_signals() as stop:
        running: asyncio.Task[None] = asyncio.create_task(run, name="chains")
        viewer = Viewer(chains, console=plan.console, stop=stop, selection=plan.selection)
        showing = asyncio.create_task(viewer.once() if once else viewer.run(), name="show")
        try:
            await until_stopped(plan, stop, running, showing)
        finally:
            for task in (running, showing):
                task.cancel()
            await asyncio.wait({running, showing})


async def _until_ended(stream: LiveStream) -> None:
    """Raises what ended the stream. One snapshot a second is enough to notice."""
    async for _ in stream:
        await asyncio.sleep(1.0)
