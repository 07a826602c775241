"""Real snapshots made by hand, and a source that hands them out: the sidecar's tests need no engine."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from pricer.clock import NS_PER_SECOND, Clock, Instant, SystemClock
from pricer.conventions import NO_REASON, NS_PER_DAY, Reason, Status
from pricer.sidecar.channels import CHANNELS
from pricer.sidecar.channels import Market as Known
from pricer.sidecar.encodings import JSON
from pricer.sidecar.messages import Message
from pricer.sidecar.protocol import StreamKey
from pricer.snapshot import (
    FIELD_INDEX,
    FIRST_MODEL,
    VALUE_FIELDS,
    FeedHealth,
    ParityForward,
    SliceBlock,
    SliceDefinition,
    Snapshot,
    UnderlyingValue,
)
from tests.handmade import FORWARD_MAX_AGE, QUOTE_MAX_AGE, block_of, define


def listed(expiry_ns: int, strikes: int, underlying: str = "BTC", venue: str = "deribit") -> SliceDefinition:
    """`strikes` strikes around 100,000, a call and a put each."""
    ladder = [100_000.0 + 1000.0 * (i - strikes // 2) for i in range(strikes)]
    return define(f"{underlying}-{expiry_ns // NS_PER_DAY}", expiry_ns, ladder, underlying, venue)


# What a test serves by the machine's own clock stays fresh while it is held up by something else.
LONG_NS = 60 * NS_PER_SECOND


def price(value: float, now: Instant, lasts_ns: int = FORWARD_MAX_AGE) -> UnderlyingValue:
    """An index or a forward that has just been confirmed."""
    return UnderlyingValue(value, "venue", now.wall_ns - 3_000_000, now, now.mono_ns + lasts_ns, Status.OK, NO_REASON)


def forward_price(value: float, now: Instant, lasts_ns: int = FORWARD_MAX_AGE) -> UnderlyingValue:
    """A venue's forward that its options agree with."""
    return replace(price(value, now, lasts_ns), parity=ParityForward(value, 2.5, 0.0))


def plausible(
    definition: SliceDefinition, now: Instant, forward: float, seed: int, lasts_ns: int = FORWARD_MAX_AGE
) -> SliceBlock:
    """One expiry with plausible numbers: all OK, but for a deep put without a bid and a call without any quote."""
    rng = np.random.default_rng(seed)
    rows = len(definition)
    values = np.abs(rng.normal(1.0, 0.2, (len(VALUE_FIELDS), rows)))
    values[FIELD_INDEX["mark_iv"]] = values[FIELD_INDEX["iv"]] = 0.6
    values[FIELD_INDEX["delta"]] = definition.cp / (1 + np.exp(definition.cp * (definition.strike - forward) / 5000))
    block = block_of(definition, values, now, forward_price(forward, now, lasts_ns), quoted=now, fitted=now)
    block = replace(
        block,
        quote_valid_until_ns=np.full(rows, now.mono_ns + max(lasts_ns, QUOTE_MAX_AGE), np.int64),
        model_valid_until_ns=now.mono_ns + lasts_ns,
    )
    one_sided, empty = 1, rows - 2
    values[[FIELD_INDEX["bid"], FIELD_INDEX["bid_iv"], FIELD_INDEX["mid_iv"]], one_sided] = np.nan
    block.status[[0, 2], one_sided] = Status.INVALID
    block.reasons[[0, 2], one_sided] = Reason.ONE_SIDED
    block.status[3, one_sided], block.reasons[3, one_sided] = Status.DEGRADED, Reason.ONE_SIDED | Reason.EXTRAPOLATED
    block.status[:, empty], block.reasons[:, empty] = Status.INVALID, Reason.NO_QUOTE
    values[:, empty] = np.nan
    return block


class Market:
    """A chain that moves when told: each `tick` gives the next snapshot.

    Its prices last a minute by the machine's own clock, by others as long as the engine's, or `lasts_ns`.
    """

    def __init__(
        self,
        clock: Clock,
        expiries: int = 3,
        strikes: int = 10,
        underlying: str = "BTC",
        lasts_ns: int | None = None,
    ) -> None:
        self.clock = clock
        self.lasts_ns = lasts_ns or (LONG_NS if isinstance(clock, SystemClock) else FORWARD_MAX_AGE)
        self.quotes_last_ns = max(self.lasts_ns, QUOTE_MAX_AGE)
        self.version = 0
        self.spot = 100_000.0
        now = clock.now()
        day = now.wall_ns // NS_PER_DAY + 1
        self.definitions = [listed((day + 7 * i) * NS_PER_DAY, strikes, underlying) for i in range(expiries)]
        self.blocks = [
            plausible(d, now, self.spot + 100.0 * i, i, self.lasts_ns) for i, d in enumerate(self.definitions)
        ]
        self.feed = FeedHealth("deribit", "main", "live", "", now)

    def snapshot(self, reasons: Reason = NO_REASON) -> Snapshot:
        """What is known now, as the next version."""
        self.version += 1
        now = self.clock.now()
        key, index = self.definitions[0].key.price_index, price(self.spot, now, self.lasts_ns)
        return Snapshot(
            version=self.version,
            computed=now,
            blocks=tuple(self.blocks),
            indices={key: index},
            perpetuals={key: replace(index, bid=self.spot - 0.5, ask=self.spot + 0.5, funding=1e-5)},
            surfaces={},
            feeds=(self.feed,),
            clock=self.clock,
            reasons=reasons,
        )

    def quote(self, expiry: int, row: int, **values: float) -> None:
        """One option gets a new quote."""
        block, now = self.blocks[expiry], self.clock.now()
        changed = block.values.copy()
        for name, value in values.items():
            changed[FIELD_INDEX[name], row] = value
        mono, received, until = (
            array.copy() for array in (block.quote_mono_ns, block.quote_received_ns, block.quote_valid_until_ns)
        )
        mono[row], received[row], until[row] = now.mono_ns, now.wall_ns, now.mono_ns + self.quotes_last_ns
        self.blocks[expiry] = replace(
            block,
            values=changed,
            quote_mono_ns=mono,
            quote_received_ns=received,
            quote_valid_until_ns=until,
            model_valid_until_ns=now.mono_ns + self.lasts_ns,
            computed=now,
            version=block.version + 1,
        )

    def move(self, forward_move: float = 1e-3) -> None:
        """The forwards move: every model number changes, and every forward is fresh."""
        now = self.clock.now()
        self.spot *= 1 + forward_move
        for i, block in enumerate(self.blocks):
            values = block.values.copy()
            values[FIRST_MODEL:] *= 1 + forward_move
            self.blocks[i] = replace(
                block,
                values=values,
                forward=forward_price(block.forward.value * (1 + forward_move), now, self.lasts_ns),
                model_valid_until_ns=now.mono_ns + self.lasts_ns,
                computed=now,
                version=block.version + 1,
            )

    def confirm(self) -> None:
        """Fresh proof of everything, without a change: new instants and limits."""
        now = self.clock.now()
        for i, block in enumerate(self.blocks):
            mono = np.full(len(block.definition), now.mono_ns, np.int64)
            self.blocks[i] = replace(
                block,
                quote_mono_ns=mono,
                quote_received_ns=np.full(len(mono), now.wall_ns, np.int64),
                quote_valid_until_ns=mono + self.quotes_last_ns,
                model_valid_until_ns=now.mono_ns + self.lasts_ns,
                forward=forward_price(block.forward.value, now, self.lasts_ns),
            )

    def list_strike(self, expiry: int, strikes: int) -> None:
        """The expiry has other options now: its block is another one."""
        self.definitions[expiry] = listed(self.definitions[expiry].key.expiry_ns, strikes)
        self.blocks[expiry] = plausible(self.definitions[expiry], self.clock.now(), self.spot, 7, self.lasts_ns)


class Slot:
    """A mailbox: one slot, the latest wins."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Snapshot | Exception] = asyncio.Queue(1)
        self.closed = False

    def put(self, item: Snapshot | Exception) -> None:
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(item)

    def close(self) -> None:
        self.closed = True

    def __aiter__(self) -> AsyncIterator[Snapshot]:
        return self

    async def __anext__(self) -> Snapshot:
        item = await self._queue.get()
        if isinstance(item, Exception):
            raise item
        return item


class Source:
    """An in-memory `SnapshotSource`: `publish` is the engine."""

    def __init__(self) -> None:
        self.latest: Snapshot | None = None
        self.slots: list[Slot] = []
        self.subscribed = asyncio.Event()

    def subscribe(self) -> Slot:
        self.subscribed.set()
        slot = Slot()
        self.slots.append(slot)
        if self.latest is not None:
            slot.put(self.latest)
        return slot

    def publish(self, snapshot: Snapshot) -> None:
        self.latest = snapshot
        for slot in self.slots:
            slot.put(snapshot)

    def fail(self, error: Exception) -> None:
        """The engine dies."""
        for slot in self.slots:
            slot.put(error)


def is_null_or_finite(value: object) -> bool:
    """What a number on the wire may be."""
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def whole_chain(snapshot: Snapshot) -> dict[str, Any]:
    """What a client gets of a snapshot's chain, decoded."""
    key = StreamKey("chain", "deribit", "BTC")
    content = CHANNELS["chain"].take(Known(snapshot, None, 9), key).whole()
    message: dict[str, Any] = orjson.loads(Message(content.head, content.columns).encoded(JSON))
    return message
