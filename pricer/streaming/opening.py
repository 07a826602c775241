"""`pricer.live`: what a caller wishes becomes a plan of what is asked for, the lanes to the venue, and a stream."""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pricer.adapters.deribit.account import Credentials, check_goal
from pricer.adapters.limits import FeedLimits
from pricer.adapters.network import Network
from pricer.adapters.recording import RecordingWriter
from pricer.adapters.transports import TransportName, transport_of
from pricer.clock import Clock, SystemClock
from pricer.engine import DEFAULT_SETTINGS, Engine, EngineSettings
from pricer.errors import ConfigError
from pricer.feedplan import FeedPlan
from pricer.orderflow import OrderFlow
from pricer.streaming.lanes import Lanes
from pricer.streaming.stream import LiveStream, Publish


def live(
    venue: str = "deribit",
    underlying: str | Sequence[str] = "BTC",
    url: str | None = None,
    *,
    publish: Publish = "when_drained",
    timeout: float | None = None,
    engine: EngineSettings = DEFAULT_SETTINGS,
    limits: FeedLimits | None = None,
    clock: Clock | None = None,
    seed: int | None = None,
    record: str | Path | None = None,
    transport: TransportName = "websockets",
    ca_file: str | Path | None = None,
    proxy: str = "environment",
    compression: bool = False,
    credentials: Credentials | None = None,
    books: Literal["all"] | Sequence[str] | None = None,
    trades: bool = False,
    strikes: int | None = None,
    expiries: int | None = None,
    connections: int = 1,
    books_on_demand: int = 0,
) -> LiveStream:
    """A live stream of snapshots: `async with pricer.live() as stream: async for snapshot in stream: ...`

    `url` overrides the venue's own address. `publish` is "when_drained" (frames already waiting are applied first),
    "every_event", or a number of milliseconds between snapshots. With `timeout` (seconds) entering raises
    `ConnectError` where no connection stands by then; without, the feed keeps trying. `seed` fixes the jitter of
    reconnections. `record` names a new file that `pricer.replay` reads back into the very same snapshots; of an account
    the names of what it holds are in it, since they decide what is asked for, and nothing else. `transport` "picows"
    (the extra `[fast]`) costs less per frame. Certificates are verified against the system's authorities or those in
    `ca_file`. `proxy` is the address of an HTTP proxy, "environment" for HTTPS_PROXY, HTTP_PROXY and NO_PROXY, or ""
    for none. `compression` offers permessage-deflate. `credentials` log in to read the account. A venue, a policy or a
    transport that does not exist is a `ConfigError`, as is a key that would go to an address it is not for.

    `books` ("all", or names) and `trades` are for `stream.book(name)`, `stream.microstructure(name)` and
    `stream.recent_trades(...)`; up to `books_on_demand` more books come and go by `stream.want_book(name)`. `strikes`
    (on each side of the money) and `expiries` (the nearest) narrow the chain, and roll with the market. `connections`
    spreads the options over so many, each with the index of its own.
    """
    if publish not in ("when_drained", "every_event") and not (isinstance(publish, int) and publish > 0):
        raise ConfigError(f"publish must be 'when_drained', 'every_event' or milliseconds, not {publish!r}")
    plan = FeedPlan(
        venue=venue,
        underlyings=(underlying,) if isinstance(underlying, str) else tuple(underlying),
        books="all" if books == "all" else None if books is None else tuple(books),
        trades=trades,
        strikes=strikes,
        expiries=expiries,
        connections=connections,
    )
    adapter_of = plan.adapters(credentials, nonce=lambda: secrets.token_hex(8))
    if credentials is not None and url is not None:
        check_goal(url, test_url=adapter_of(0).test_url)
    the_clock = clock or SystemClock()
    the_limits = limits or FeedLimits()
    network = Network(the_limits, ca_file=ca_file, proxy=proxy)
    lanes = Lanes(
        count=connections,
        adapter_of=adapter_of,
        url=url,
        clock=the_clock,
        rng=random.Random(seed),
        limits=the_limits,
        network=network,
        transport=transport_of(transport, the_limits, network, compression=compression),
    )
    writer = None if record is None else RecordingWriter(record, {**plan.to_meta(), **lanes.to_meta()})
    return LiveStream(
        lanes.fleet,
        Engine(engine, clock=the_clock),
        the_clock,
        publish,
        timeout,
        writer,
        OrderFlow(venue) if books is not None or trades or books_on_demand else None,
        trades=trades,
        books_on_demand=books_on_demand,
    )
