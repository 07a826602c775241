"""What a running pricer shows of itself: when it is ready, then the chain, or a status line now and then."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from datetime import UTC, datetime

import numpy as np

from pricer.chainview import ChainView
from pricer.conventions import Status
from pricer.launch.plan import Plan
from pricer.streaming import LiveStream
from pricer.supervisor import Supervisor
from pricer.viewer import LocalChains, Viewer

STATUS_EVERY_S = 10.0
NOT_READY_EVERY_S = 5.0


async def show(plan: Plan, stream: LiveStream | Supervisor, address: str, stop: asyncio.Event) -> None:
    """Say when the sidecar is ready, then show the chain, or a status line now and then."""
    chains = LocalChains(stream, plan.settings.feed.underlyings)
    await _until_ready(plan, stream, chains, address)
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


async def _until_ready(plan: Plan, stream: LiveStream | Supervisor, chains: LocalChains, address: str) -> None:
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
            for underlying in feed.underlyings:  # one that the venue does not list must not hide the others
                if not plan.screen and readiness(stream.latest, feed.venue, [underlying]).ready:
                    plan.console.print(status_line(chains.latest(underlying), stream), soft_wrap=True)
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
