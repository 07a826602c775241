"""Subscriptions as a desired set that one connection converges to; sans-I/O, time only from arguments.

The rules first:

1. `want` and `unwant` edit the desired set. Nothing else does: not a reconnect, not a refusal.
2. A desired channel is *wanted* (to be asked for), *requested* (asked, not answered), *live* (confirmed, or its data
   came) or *rejected* (asked again after a slow pause). `reset`, at each new connection, makes all of them wanted.
3. A reply confirms the channels of its own request only, and of those only the ones it lists.
4. A refused or unanswered request is asked again in halves, so that one bad name ends up alone and its neighbours live.
5. What is no longer desired is unsubscribed before anything else is asked, so that a channel wanted again is never
   subscribed twice at the venue.

All instants here are monotonic nanoseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from pricer.clock import NS_PER_SECOND

Operation = Literal["subscribe", "unsubscribe"]
Verdict = Literal["later", "split", "reject"]

# JSON around one name: two quotes and a comma.
NAME_OVERHEAD_BYTES = 3


class TokenBucket:
    """A venue's own accounting: a pool of credits, refilled at a steady rate; each call costs the same.

    >>> bucket = TokenBucket(pool=2.0, refill_per_s=1.0, cost=1.0)
    >>> [bucket.take(0), bucket.take(0), bucket.take(0), bucket.take(NS_PER_SECOND)]
    [True, True, False, True]
    """

    def __init__(self, pool: float, refill_per_s: float, cost: float) -> None:
        self._pool = pool
        self._refill_per_s = refill_per_s
        self._cost = cost
        self._level = pool
        self._at_ns: int | None = None

    def take(self, now_ns: int) -> bool:
        """Pay for one call, if the pool holds enough."""
        self._refill(now_ns)
        if self._level < self._cost:
            return False
        self._level -= self._cost
        return True

    def ready_ns(self, now_ns: int) -> int:
        """When the next `take` will succeed."""
        self._refill(now_ns)
        missing = self._cost - self._level
        # One more nanosecond covers the rounding down.
        return now_ns if missing <= 0 else now_ns + int(missing / self._refill_per_s * NS_PER_SECOND) + 1

    def _refill(self, now_ns: int) -> None:
        if self._at_ns is not None and now_ns > self._at_ns:
            self._level = min(self._pool, self._level + (now_ns - self._at_ns) / NS_PER_SECOND * self._refill_per_s)
        if self._at_ns is None or now_ns > self._at_ns:
            self._at_ns = now_ns


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What a venue allows, and how patient we are."""

    max_names: int = 250
    max_name_bytes: int = 31_000
    request_timeout_ns: int = 10 * NS_PER_SECOND
    retry_rejected_ns: int = 60 * NS_PER_SECOND
    first_pause_ns: int = 2 * NS_PER_SECOND
    longest_pause_ns: int = 60 * NS_PER_SECOND


class Request(NamedTuple):
    """A call that is owed to the venue; the adapter knows how it is written."""

    id: int
    operation: Operation
    channels: list[str]


class State(Enum):
    WANTED = "wanted"
    REQUESTED = "requested"
    LIVE = "live"
    REJECTED = "rejected"


class _Pending(NamedTuple):
    operation: Operation
    channels: list[str]
    deadline_ns: int


class Session:
    """One connection's subscriptions, and the numbering of its requests."""

    def __init__(self, bucket: TokenBucket, limits: SessionLimits | None = None) -> None:
        self._bucket = bucket
        self._limits = limits or SessionLimits()
        self._state: dict[str, State] = {}
        self._wanted: dict[str, None] = {}
        self._halves: deque[list[str]] = deque()
        self._unwanted: dict[str, None] = {}
        self._pending: dict[int, _Pending] = {}
        self._retry_ns: dict[str, int] = {}
        self._paused_until_ns = 0
        self._pause_ns = self._limits.first_pause_ns
        self._last_id = 0

    # The desired set

    def want(self, channels: Iterable[str]) -> None:
        """Add to the desired set; what is there already stays as it is."""
        for channel in channels:
            if channel not in self._state:
                self._state[channel] = State.WANTED
                self._wanted[channel] = None

    def unwant(self, channels: Iterable[str]) -> None:
        """Take out of the desired set, and unsubscribe what the venue may be sending."""
        for channel in channels:
            state = self._state.pop(channel, None)
            self._wanted.pop(channel, None)
            self._retry_ns.pop(channel, None)
            if state in (State.REQUESTED, State.LIVE):
                self._unwanted[channel] = None

    def reset(self) -> None:
        """A new connection: nothing asked, confirmed or rejected on the last one counts. Pauses and credits stay."""
        self._state = dict.fromkeys(self._state, State.WANTED)
        self._wanted = dict.fromkeys(self._state)
        self._halves.clear()
        self._unwanted.clear()
        self._pending.clear()
        self._retry_ns.clear()
        self._last_id = 0

    # What the venue answers

    def accepted(self, request_id: int, channels: Collection[str], now_ns: int) -> list[str] | None:
        """The reply of `request_id` lists `channels`. Gives those left out of it, or None for an unknown id."""
        pending = self._pending.pop(request_id, None)
        if pending is None:
            return None
        self._pause_ns = self._limits.first_pause_ns
        if pending.operation == "unsubscribe":
            return []
        listed = set(channels)
        asked = self._still_requested(pending)
        self._state.update(dict.fromkeys([channel for channel in asked if channel in listed], State.LIVE))
        return self._reject([channel for channel in asked if channel not in listed], now_ns)

    def refused(self, request_id: int, verdict: Verdict, now_ns: int) -> list[str] | None:
        """`request_id` was answered with an error. Gives the channels rejected by it, or None for an unknown id.

        `later` asks for the same again after a growing pause, `split` in halves, `reject` gives up on all of them.
        """
        pending = self._pending.pop(request_id, None)
        if pending is None:
            return None
        if verdict == "later":
            self._paused_until_ns = now_ns + self._pause_ns
            self._pause_ns = min(2 * self._pause_ns, self._limits.longest_pause_ns)
        if pending.operation == "unsubscribe":
            return []
        asked = self._still_requested(pending)
        if verdict == "reject" or (verdict == "split" and len(asked) == 1):
            return self._reject(asked, now_ns)
        self._ask_again(asked, halve=verdict == "split")
        return []

    def is_pending(self, request_id: int) -> bool:
        """Whether `request_id` is a subscription call that waits for its reply."""
        return request_id in self._pending

    def saw(self, channel: str) -> None:
        """Data came on `channel`, so it is live, whatever became of the reply."""
        if self._state.get(channel) is State.REQUESTED:
            self._state[channel] = State.LIVE

    # What is owed, and when

    def new_id(self) -> int:
        """The next request number of this connection."""
        self._last_id += 1
        return self._last_id

    def next_request(self, now_ns: int) -> Request | None:
        """The next call that is due and may be paid for, or None."""
        if not self._has_work or now_ns < self._paused_until_ns:
            return None
        if self._bucket.ready_ns(now_ns) > now_ns:
            return None
        operation, channels = self._next_chunk()
        if not channels:
            return None
        self._bucket.take(now_ns)
        request = Request(self.new_id(), operation, channels)
        if operation == "subscribe":
            self._state.update(dict.fromkeys(channels, State.REQUESTED))
        queue = self._wanted if operation == "subscribe" else self._unwanted
        for channel in channels:
            queue.pop(channel, None)
        self._pending[request.id] = _Pending(operation, channels, now_ns + self._limits.request_timeout_ns)
        return request

    def on_time(self, now_ns: int) -> int:
        """Let time-outs and retries fall due. Gives how many requests went unanswered."""
        overdue = [key for key, pending in self._pending.items() if pending.deadline_ns <= now_ns]
        for key in overdue:
            pending = self._pending.pop(key)
            if pending.operation == "subscribe":
                # The venue's answer to an oversize frame names no id: a smaller one may pass.
                self._ask_again(self._still_requested(pending), halve=True)
        for channel in [channel for channel, at_ns in self._retry_ns.items() if at_ns <= now_ns]:
            del self._retry_ns[channel]
            self._state[channel] = State.WANTED
            self._wanted[channel] = None
        return len(overdue)

    def next_deadline(self, now_ns: int) -> int | None:
        """When `on_time` or `next_request` has something to do; None when everything is settled."""
        times = [pending.deadline_ns for pending in self._pending.values()]
        times += [min(self._retry_ns.values())] if self._retry_ns else []
        if self._has_work:
            times.append(max(self._bucket.ready_ns(now_ns), self._paused_until_ns))
        return min(times, default=None)

    @property
    def settled(self) -> bool:
        """Every desired channel has been answered: live or rejected."""
        return not self._has_work and not self._pending

    def state(self, channel: str) -> State | None:
        """How far `channel` is; None when it is not desired."""
        return self._state.get(channel)

    def channels(self, state: State) -> list[str]:
        """The desired channels that are in `state`."""
        return [channel for channel, its_state in self._state.items() if its_state is state]

    # Inside

    @property
    def _has_work(self) -> bool:
        return bool(self._wanted or self._halves or self._unwanted)

    def _next_chunk(self) -> tuple[Operation, list[str]]:
        if self._unwanted:
            return "unsubscribe", self._fitting(self._unwanted)
        while self._halves:
            channels = [channel for channel in self._halves.popleft() if self._state.get(channel) is State.WANTED]
            if channels:
                return "subscribe", channels
        return "subscribe", self._fitting(self._wanted)

    def _fitting(self, channels: Iterable[str]) -> list[str]:
        """The first of `channels` that fit one frame by number and by bytes; at least one."""
        chunk: list[str] = []
        free = self._limits.max_name_bytes
        for channel in channels:
            free -= len(channel.encode()) + NAME_OVERHEAD_BYTES
            if chunk and (free < 0 or len(chunk) == self._limits.max_names):
                break
            chunk.append(channel)
        return chunk

    def _still_requested(self, pending: _Pending) -> list[str]:
        return [channel for channel in pending.channels if self._state.get(channel) is State.REQUESTED]

    def _ask_again(self, channels: list[str], *, halve: bool) -> None:
        self._state.update(dict.fromkeys(channels, State.WANTED))
        middle = (len(channels) + 1) // 2 if halve else len(channels)
        self._halves.extend(half for half in (channels[:middle], channels[middle:]) if half)

    def _reject(self, channels: list[str], now_ns: int) -> list[str]:
        for channel in channels:
            self._state[channel] = State.REJECTED
            self._retry_ns[channel] = now_ns + self._limits.retry_rejected_ns
        return channels
