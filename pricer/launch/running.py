"""`demo` and `serve`: the live pricer and the sidecar in one process, the embedded market beside it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pricer
from pricer.adapters.deribit import Credentials
from pricer.config import Settings
from pricer.launch.plan import Plan, stop_on_signals, until_stopped
from pricer.launch.showing import show
from pricer.launch.warming import compile_unless
from pricer.streaming import LiveStream
from pricer.supervisor import Supervisor

if TYPE_CHECKING:
    from pricer.sidecar.webhook_address import WebhookAddress


async def demo(plan: Plan, seed: int) -> None:
    """The embedded market, the pricer and the sidecar, until stopped."""
    from pricer.embedded import market_process
    from pricer.sidecar.listener import bind, release
    from pricer.sidecar.preflight import check

    with stop_on_signals(plan.settings.server.exit_s) as stop:
        listener = bind(plan.settings.server)  # what cannot be is told before anything is compiled
        try:
            live_stream(plan.settings, None)
            webhooks = await check(plan.settings)
            await compile_unless(stop, plan.console)
            if stop.is_set():
                return

            def announce(text: str) -> None:
                plan.news.tell(plan.console, text)

            async with market_process(plan.settings.feed.venue, seed, plan.chaos, announce) as market:
                under = "" if plan.chaos is None else f", under faults of seed {plan.chaos}"
                told = f"embedded market at {market.url} (process {market.pid}, seed {seed}{under})"
                plan.console.print(told, style="dim")
                await _price_and_serve(
                    plan, listener, market.url, stop, market.watching, trades=True, webhooks=webhooks
                )
        finally:
            listener.close()
            release(plan.settings.server)


async def serve(plan: Plan) -> None:
    """The pricer and the sidecar on a venue, until stopped."""
    from pricer.sidecar.listener import bind, release
    from pricer.sidecar.preflight import check

    with stop_on_signals(plan.settings.server.exit_s) as stop:
        listener = bind(plan.settings.server)
        try:
            feed = plan.settings.feed
            credentials = feed.credentials()
            live_stream(plan.settings, feed.url, credentials)
            webhooks = await check(plan.settings)
            await compile_unless(stop, plan.console)
            if not stop.is_set():
                await _price_and_serve(plan, listener, feed.url, stop, credentials=credentials, webhooks=webhooks)
        finally:
            listener.close()
            release(plan.settings.server)


def live_stream(
    settings: Settings, url: str | None, credentials: Credentials | None = None, *, trades: bool = False
) -> LiveStream:
    """`pricer.live` as the settings say, at `url`; the account's key is used where it is given, not where it is set.

    `trades` is for settings that do not say.
    """
    feed = settings.feed
    return pricer.live(
        feed.venue,
        feed.underlyings,
        url,
        engine=settings.engine_settings(),
        transport=feed.transport,
        ca_file=feed.ca_file,
        proxy=feed.proxy,
        compression=feed.compression,
        connections=feed.connections,
        strikes=feed.strikes,
        expiries=feed.expiries,
        credentials=credentials,
        trades=trades if feed.trades is None else feed.trades,
        books_on_demand=feed.books_on_demand,
    )


async def _price_and_serve(
    plan: Plan,
    listener: socket.socket,
    url: str | None,
    stop: asyncio.Event,
    *others: asyncio.Task[None],
    credentials: Credentials | None = None,
    trades: bool = False,
    webhooks: tuple[WebhookAddress, ...] | None = None,
) -> None:
    from pricer.sidecar import app as sidecar

    with loaded_for_good():
        stream = Supervisor(lambda: live_stream(plan.settings, url, credentials, trades=trades))
        address = sidecar.address_of(listener, secure=plan.settings.server.tls_cert is not None)
        async with stream:
            listening = asyncio.Event()

            async def show_once_it_listens() -> None:
                await listening.wait()
                await show(plan, stream, address, stop)

            running = sidecar.serve(
                stream,
                plan.settings,
                listener,
                started=lambda _: listening.set(),
                reread=plan.reread,
                webhooks=webhooks,
            )
            serving = asyncio.create_task(running, name="sidecar")
            showing = asyncio.create_task(show_once_it_listens(), name="show")
            try:
                await until_stopped(plan, stop, serving, showing, *others)
            finally:
                stop.set()
                for task in (serving, showing):
                    task.cancel()
                await asyncio.wait({serving, showing})
    plan.console.print(f"stopped; {stream.stats['snapshots']:,} snapshots published")


@contextlib.contextmanager
def loaded_for_good() -> Iterator[None]:
    """What is in memory by now is not looked at by the garbage collector any more.

    Nearly all of it is libraries, which stay; a full collection that walks them holds up every client, some 80 ms each.
    To be entered before a stream is made: one that fails would else never be freed, for its parts know each other.
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
