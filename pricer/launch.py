"""Starting the whole program in one process: kernels, the embedded market beside it, the live pricer, the sidecar."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import socket
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import pricer
from pricer.adapters.deribit import Credentials
from pricer.chainview import ChainView
from pricer.config import Settings
from pricer.conventions import Status
from pricer.errors import ConfigError
from pricer.logs import OneLine
from pricer.signals import watching
from pricer.streaming import LiveStream
from pricer.supervisor import Supervisor
from pricer.terminal import Selection
from pricer.viewer import Chains, LocalChains, Viewer

STATUS_EVERY_S = 10.0
NOT_READY_EVERY_S = 5.0
LOG_EVERY_S = 10.0  # FAULTS I11: a fault that repeats writes one line in this time
VENUES = ("deribit",)


def compiled_kernels() -> set[Path]:
    """The files of compiled code that are there for these very sources."""
    from pricer.kernels.jit import cache_directory

    return set(cache_directory().glob("*.nbc"))


class Stopped(Exception):
    """The user does not want to wait for the rest of the kernels."""


def warm_kernels(console: Console, is_stopped: Callable[[], bool] = lambda: False) -> float:
    """Compile the kernels, or load them, with a progress bar; says which it was and gives the seconds it took.

    `is_stopped` is asked between two kernels; `Stopped` is raised where it says yes.
    """
    start = time.perf_counter()
    before = compiled_kernels()
    console.print("loading the kernels …" if before else "compiling the kernels, once …", style="dim")
    bar = Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=40),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with bar:
        task = bar.add_task("kernels", total=None)

        def progress(done: int, total: int, name: str) -> None:
            if is_stopped():
                raise Stopped
            bar.update(task, completed=done, total=total, description=name.ljust(28)[:28])

        pricer.warmup(progress)
    seconds = time.perf_counter() - start
    new = len(compiled_kernels() - before)
    how = f"{new} compiled (cold start; the next one is warm)" if new else "loaded from the cache (warm start)"
    console.print(f"kernels: {how} in {seconds:.1f} s")
    return seconds


class News:
    """What is told of faults: on a line of its own, or, while a screen is shown, beside its footer."""

    def __init__(self) -> None:
        self.on_screen = False
        self._faults: list[str] = []

    def tell(self, console: Console, text: str) -> None:
        """One line: a fault that begins, or one that is over."""
        kind, _, told = text.partition(": ")
        name = told.partition(" ")[0]
        if kind == "fault over":
            self._faults = [each for each in self._faults if each != name]
        elif " for " in told:  # one that lasts; the others are over at once
            self._faults = [*self._faults, name][-8:]
        if not self.on_screen:
            clock = datetime.now(UTC).strftime("%H:%M:%S")
            console.print(f"{clock} {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)

    def footer(self, address: str) -> str:
        """The faults of now, and the address."""
        return f"faults: {', '.join(self._faults)}   {address}" if self._faults else address


@dataclass(frozen=True)
class Plan:
    """What `demo`, `serve` and `watch` have in common.

    `duration_s` counts from the start of the feed, not of the compiler; None runs until told to stop.
    """

    settings: Settings
    console: Console
    screen: bool
    selection: Selection
    duration_s: float | None = None
    started_s: float = 0.0  # time.perf_counter() when the command began
    chaos: int | None = None  # the seed of the demo's faults
    news: News = field(default_factory=News)
    reread: Callable[[], Settings] | None = None  # the settings anew, on SIGHUP


@contextlib.contextmanager
def stop_on_signals(longest_s: float = 8.0) -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set. A second signal, or an end that takes too long, ends it at once."""
    stop = asyncio.Event()
    with watching(stop.set, longest_s, to_the_end=True):
        yield stop


async def demo(plan: Plan, seed: int) -> None:
    """The embedded market, the pricer and the sidecar, until stopped."""
    from pricer.embedded import market_process
    from pricer.sidecar.listener import bind, release

    with stop_on_signals(plan.settings.server.exit_s) as stop:
        listener = bind(plan.settings.server)  # a port in use is told before anything is compiled
        try:
            await compile_unless(stop, plan.console)
            if stop.is_set():
                return

            def announce(text: str) -> None:
                plan.news.tell(plan.console, text)

            async with market_process(plan.settings.feed.venue, seed, plan.chaos, announce) as market:
                under = "" if plan.chaos is None else f", under faults of seed {plan.chaos}"
                told = f"embedded market at {market.url} (process {market.pid}, seed {seed}{under})"
                plan.console.print(told, style="dim")
                await _price_and_serve(plan, listener, market.url, stop, market.watching, trades=True)
        finally:
            listener.close()
            release(plan.settings.server)


async def serve(plan: Plan) -> None:
    """The pricer and the sidecar on a venue, until stopped."""
    from pricer.sidecar.listener import bind, release

    with stop_on_signals(plan.settings.server.exit_s) as stop:
        listener = bind(plan.settings.server)
        try:
            await compile_unless(stop, plan.console)
            if not stop.is_set():
                feed = plan.settings.feed
                await _price_and_serve(plan, listener, feed.url, stop, credentials=feed.credentials())
        finally:
            listener.close()
            release(plan.settings.server)


async def compile_unless(stop: asyncio.Event, console: Console) -> None:
    """Warm the kernels on a thread, so that a signal is seen; what is compiled by then is kept for the next start."""
    with contextlib.suppress(Stopped):
        await asyncio.to_thread(warm_kernels, console, stop.is_set)


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
) -> None:
    from pricer.sidecar import app as sidecar

    stream = Supervisor(lambda: live_stream(plan.settings, url, credentials, trades=trades))
    address = sidecar.address_of(listener, secure=plan.settings.server.tls_cert is not None)
    async with stream:
        running = sidecar.serve(stream, plan.settings, listener, reread=plan.reread)
        serving = asyncio.create_task(running, name="sidecar")
        showing = asyncio.create_task(_show(plan, stream, address, stop), name="show")
        try:
            with loaded_for_good():
                await _until_stopped(plan, stop, serving, showing, *others)
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
    """
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def _until_stopped(plan: Plan, stop: asyncio.Event, *running: asyncio.Task[None]) -> None:
    """Until a signal, q, the duration, or the end of one of `running`, whose error is raised here."""
    stopping = asyncio.create_task(stop.wait())
    try:
        tasks: set[asyncio.Task[Any]] = {stopping, *running}
        done, _ = await asyncio.wait(tasks, timeout=plan.duration_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        stopping.cancel()


async def _show(plan: Plan, stream: LiveStream | Supervisor, address: str, stop: asyncio.Event) -> None:
    """Say when the sidecar is ready, then show the chain, or a status line now and then."""
    await _until_ready(plan, stream, address)
    chains = LocalChains(stream, plan.settings.feed.underlyings)
    if plan.screen:
        plan.news.on_screen = True
        viewer = Viewer(
            chains,
            console=plan.console,
            stop=stop,
            selection=plan.selection,
            footer=lambda: plan.news.footer(address),
        )
        try:
            await viewer.run()
        finally:
            plan.news.on_screen = False
        return
    while True:
        for underlying in chains.underlyings:
            plan.console.print(status_line(chains.latest(underlying), stream), soft_wrap=True)
        await asyncio.sleep(STATUS_EVERY_S)


async def _until_ready(plan: Plan, stream: LiveStream | Supervisor, address: str) -> None:
    from pricer.sidecar.readiness import readiness

    feed = plan.settings.feed
    plan.console.print(f"sidecar at {address} (not ready yet: waiting for quotes)", soft_wrap=True)
    said_s = time.perf_counter()
    while True:
        state = readiness(stream.latest, feed.venue, feed.underlyings)
        if state.ready:
            seconds = time.perf_counter() - plan.started_s
            plan.console.print(f"[bold green]ready[/] after {seconds:.1f} s: [bold]{address}[/]", soft_wrap=True)
            return
        if time.perf_counter() - said_s > NOT_READY_EVERY_S:
            said_s = time.perf_counter()
            plan.console.print(f"not ready: {'; '.join(state.missing[:3])}", soft_wrap=True, markup=False)
        await asyncio.sleep(0.05)


def status_line(view: ChainView | None, stream: LiveStream | Supervisor) -> str:
    """One underlying in one line, for logs."""
    if view is None:
        return "no snapshot yet"
    totals: Counter[Status] = sum((piece.statuses for piece in view.slices), Counter())
    clock = datetime.fromtimestamp(view.computed_ns / 1e9, UTC).strftime("%H:%M:%S")
    parts = [
        f"{clock} {view.underlying}: " + " ".join(f"{totals[status]} {status.name}" for status in Status),
        "no index" if math.isnan(view.index.value) else f"index {view.index.value:,.2f}",
        "feed " + (", ".join(feed.state for feed in view.feeds) or "not started"),
        f"{stream.stats['snapshots']:,} snapshots",
    ]
    latencies = stream.latencies.values()
    if len(latencies):
        middle, late = np.percentile(latencies, (50, 99)) / 1e6
        parts.append(f"frame to snapshot p50 {middle:.2f} ms, p99 {late:.2f} ms")
    return "; ".join(parts)


async def watch_venue(plan: Plan, *, once: bool) -> None:
    """Price a venue in this process and show its chain; nothing is served."""
    feed = plan.settings.feed
    opening = live_stream(plan.settings, feed.url)
    await asyncio.to_thread(warm_kernels, Console(stderr=True))
    async with opening as stream:
        await _watch(plan, LocalChains(stream, feed.underlyings), _until_ended(stream), once=once)


async def _until_ended(stream: LiveStream) -> None:
    """Raises what ended the stream. One snapshot a second is enough to notice."""
    async for _ in stream:
        await asyncio.sleep(1.0)


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


@contextlib.contextmanager
def logging_beside(screen: bool) -> Iterator[None]:
    """Warnings go to stderr; while a screen is shown they wait, so that they do not write over it."""
    waiting = _Waiting()
    handler: logging.Handler = waiting if screen else logging.StreamHandler()
    handler.addFilter(Seldom())
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for line in waiting.lines:
            print(line, file=sys.stderr)


# These keep a pace of their own.
PACED = frozenset({"pricer.sidecar.alerts.notices"})


class Seldom(logging.Filter):
    """Lets a message pass once in `every_s`, by its logger and its words before the values; then with a count."""

    MOST = 1000

    def __init__(self, every_s: float = LOG_EVERY_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s, self._monotonic = every_s, monotonic
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is to be written."""
        if record.name in PACED:
            return True
        key, now = (record.name, str(record.msg)), self._monotonic()
        at, suppressed = self._passed.get(key, (-math.inf, 0))
        if now - at < self._every_s:
            self._passed[key] = at, suppressed + 1
            return False
        if len(self._passed) >= self.MOST:
            self._passed.clear()
        self._passed[key] = now, 0
        if suppressed:
            record.msg, record.args = f"{record.getMessage()} ({suppressed} more like it before)", None
        return True


class _Waiting(logging.Handler):
    """Keeps the last lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=100)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


async def _watch(plan: Plan, chains: Chains, run: Coroutine[Any, Any, None], *, once: bool) -> None:
    """Show `chains` while `run` keeps them fresh: one frame with `once` or away from a terminal, else until stopped."""
    with stop_on_signals() as stop:
        running: asyncio.Task[None] = asyncio.create_task(run, name="chains")
        viewer = Viewer(chains, console=plan.console, stop=stop, selection=plan.selection)
        showing = asyncio.create_task(viewer.once() if once else viewer.run(), name="show")
        try:
            await _until_stopped(plan, stop, running, showing)
        finally:
            for task in (running, showing):
                task.cancel()
            await asyncio.wait({running, showing})


@dataclass(frozen=True)
class Faulty:
    """Faults for the embedded venue: random ones by seed, or those of a file."""

    seed: int = 0
    file: Path | None = None


async def simulate(
    venue: str,
    port: int,
    host: str,
    seed: int,
    announce: Callable[[str, str], None],
    *,
    child: bool,
    faulty: Faulty | None = None,
) -> None:
    """The embedded venue alone, until stopped; a child also stops when its standard input ends."""
    from pricer.simulator.chaos import ChaosMarket
    from pricer.simulator.faults import load_script
    from pricer.simulator.venues.deribit import DeribitServer

    if venue not in VENUES:
        raise ConfigError(f"there is no embedded venue {venue!r}; there are: {', '.join(VENUES)}")

    def tell(text: str) -> None:
        print(text, flush=True)

    market: DeribitServer | ChaosMarket = DeribitServer(seed=seed, host=host, port=port)
    if faulty is not None:
        script = None if faulty.file is None else load_script(faulty.file)
        market = ChaosMarket(seed, faulty.seed, tell, host=host, port=port, script=script)
    with stop_on_signals() as stop:
        async with market as server:
            announce(server.url, server.http_url)
            reading = asyncio.create_task(_stop_with_input(stop)) if child else None
            await stop.wait()
            if reading is not None:
                reading.cancel()


async def _stop_with_input(stop: asyncio.Event) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.read(1024):
        pass
    stop.set()
