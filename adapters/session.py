"""Subscriptions as a desired set that one connection converges to; sans-I/O, time only from arguments.

The rules first:

1. `want` and `unwant` edit the desired set. Nothing else does: not a reconnect, not a refusal, not silence.
2. A desired channel is *wanted* (to be asked for), *requested* (asked, not answered), *live* (confirmed, or its data
   came), *silent* (confirmed, and what it owes did not come) or *rejected* (asked again after a slow pause). `reset`,
   at each new connection, makes all of them wanted.
3. A reply confirms the channels of its own request only, and of those only the ones it lists.
4. A refused or unanswered request is asked again in halves, so that one bad name ends up alone and its neighbours live.
5. What is no longer desired is unsubscribed before anything else is asked. What may be subscribed at the venue already
   (a lost reply, a book with a gap, a silent channel) is unsubscribed right before it is asked for again. So no channel
   is ever subscribed twice at the venue, which some count.
6. The most urgent is asked for first: by `priority`, then in the order of `want`. Gaps that come together are asked for
   together, a moment later.

All instants here are monotonic nanoseconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

from pricer.adapters.budget import Budget, Price, TokenBucket
from pricer.adapters.liveness import Judgement, Liveness
from pricer.clock import NS_PER_SECOND

Operation = Literal["subscribe", "unsubscribe"]
Verdict = Literal["later", "split", "reject"]

# JSON around one name: two quotes and a comma.
NAME_OVERHEAD_BYTES = 3


class Priority:
    """What is asked for first. In between any number may stand: NEAR + 0.1 is a tenth away from the money."""

    UNDERLYING = 0.0
    POSITION = 1.0
    NEAR = 2.0
    REST = 3.0


# The kinds of call that a session pays for. The urgent one leaves nothing in the pool; the other leaves room for it.
URGENT = "urgent_subscription"
ORDINARY = "subscription"


def subscription_budget(pool: float, refill_per_s: float, cost: float) -> Budget:
    """A venue's accounting of subscription calls alone; the last call in the pool is kept for underlyings.

    >>> budget = subscription_budget(pool=2.0, refill_per_s=1.0, cost=1.0)
    >>> budget.take(ORDINARY, 0), budget.take(ORDINARY, 0), budget.take(URGENT, 0)
    (True, False, True)
    """
    pools = {"subscriptions": TokenBucket(pool, refill_per_s)}
    return Budget(pools, subscription_prices("subscriptions", cost))


def subscription_prices(pool: str, cost: float) -> dict[str, Price]:
    """What both kinds of subscription call cost: the same, but the ordinary one leaves one urgent call's worth."""
    return {URGENT: Price(pool, cost), ORDINARY: Price(pool, cost, leave=cost)}


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What a venue allows, and how patient we are."""

    max_names: int = 250
    max_name_bytes: int = 31_000
    # Far beyond any venue's listing: a flood of made-up names must not fill the memory.
    max_channels: int = 100_000
    request_timeout_ns: int = 10 * NS_PER_SECOND
    retry_rejected_ns: int = 60 * NS_PER_SECOND
    first_pause_ns: int = 2 * NS_PER_SECOND
    longest_pause_ns: int = 60 * NS_PER_SECOND
    # Gaps come in bursts, and each call has its price: so long is waited for company.
    gather_ns: int = 20_000_000


class Request(NamedTuple):
    """A call that is owed to the venue; the adapter knows how it is written."""

    id: int
    operation: Operation
    channels: list[str]


class State(Enum):
    WANTED = "wanted"
    REQUESTED = "requested"
    LIVE = "live"
    SILENT = "silent"
    REJECTED = "rejected"


class _Pending(NamedTuple):
    operation: Operation
    channels: list[str]
    deadline_ns: int


class _Half(NamedTuple):
    """What is asked again as one call of its own; `number` keeps those of one priority in order."""

    priority: float
    number: int
    channels: list[str]


class Session:
    """One connection's subscriptions, and the numbering of its requests.

    `budget` knows the prices of `URGENT` and `ORDINARY` calls and may be shared with other connections.
    """

    def __init__(self, budget: Budget, limits: SessionLimits | None = None, liveness: Liveness | None = None) -> None:
        self._budget = budget
        self._limits = limits or SessionLimits()
        self._liveness = liveness or Liveness()
        self._speaking = self._liveness.speaking
        self._state: dict[str, State] = {}
        self._priority: dict[str, float] = {}
        self._wanted: dict[str, None] = {}
        self._in_order = True
        self._halves: list[_Half] = []
        self._unwanted: dict[str, None] = {}
        self._doubtful: dict[str, None] = {}  # desired, and perhaps subscribed at the venue already
        self._gathered: dict[str, None] = {}
        self._gathered_until_ns = 0
        self._pending: dict[int, _Pending] = {}
        self._retry_ns: dict[str, int] = {}
        self._paused_until_ns = 0
        self._pause_ns = self._limits.first_pause_ns
        self._last_id = 0
        self._last_half = 0
        self.overflow = 0  # channels that were wanted beyond `max_channels`

    # The desired set

    def want(self, channels: Iterable[str], priority: float = Priority.REST) -> None:
        """Add to the desired set; what is there already stays as it is, but for its priority."""
        for channel in channels:
            if channel not in self._state:
                if len(self._state) >= self._limits.max_channels:
                    self.overflow += 1
                    continue
                self._state[channel] = State.WANTED
                self._wanted[channel] = None
                self._in_order = False
            elif self._priority[channel] != priority:
                self._in_order = False
            self._priority[channel] = priority

    def unwant(self, channels: Iterable[str]) -> None:
        """Take out of the desired set, and unsubscribe what the venue may be sending."""
        gone = list(channels)
        for channel in gone:
            state = self._state.pop(channel, None)
            self._priority.pop(channel, None)
            self._wanted.pop(channel, None)
            self._gathered.pop(channel, None)
            self._retry_ns.pop(channel, None)
            if state in (State.REQUESTED, State.LIVE, State.SILENT) or channel in self._doubtful:
                self._unwanted[channel] = None
            self._doubtful.pop(channel, None)
        self._liveness.forget(gone)

    def resubscribe(self, channels: Iterable[str], now_ns: int) -> None:
        """Ask again for what is live: a book with a gap, a channel that has fallen silent. The rest is left alone."""
        for channel in channels:
            if self._state.get(channel) not in (State.LIVE, State.SILENT):
                continue  # being asked for in any case, or not desired
            if not self._gathered:
                self._gathered_until_ns = now_ns + self._limits.gather_ns
            self._gathered[channel] = None
            self._liveness.pause(channel)

    def reset(self) -> None:
        """A new connection: nothing asked, confirmed or rejected on the last one counts. Pauses and credits stay."""
        self._state = dict.fromkeys(self._state, State.WANTED)
        self._wanted = dict.fromkeys(self._state)
        self._in_order = False
        for each in (self._halves, self._unwanted, self._doubtful, self._gathered, self._pending, self._retry_ns):
            each.clear()
        self._liveness.new_connection()
        self._last_id = 0

    def resume(self, now_ns: int) -> None:
        """The venue answers again after it refused everything: no pause or silence in between counts."""
        self._paused_until_ns, self._pause_ns = 0, self._limits.first_pause_ns
        self._liveness.excuse(now_ns)

    def excuse(self, now_ns: int) -> None:
        """The venue has said that it would be silent: until now nothing was owed."""
        self._liveness.excuse(now_ns)

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
        confirmed = [channel for channel in asked if channel in listed]
        for channel in confirmed:
            self._state[channel] = State.SILENT if self._liveness.is_silent(channel) else State.LIVE
        self._liveness.confirmed(confirmed, now_ns)
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
            if verdict == "later":
                self._unsubscribe_again(pending)
            return []
        asked = self._still_requested(pending)
        if verdict == "reject" or (verdict == "split" and len(asked) == 1):
            return self._reject(asked, now_ns)
        self._ask_again(asked, halve=verdict == "split")
        return []

    def is_pending(self, request_id: int) -> bool:
        """Whether `request_id` is a subscription call that waits for its reply."""
        return request_id in self._pending

    def saw(self, channel: str, now_ns: int) -> None:
        """Good data came on `channel`, so it is live, whatever became of the reply."""
        if channel in self._speaking:  # the hot path: live, and heard before
            self._speaking[channel] = now_ns
            return
        state = self._state.get(channel)
        if state is None:
            return
        if state is State.REQUESTED or state is State.SILENT:
            self._state[channel] = State.LIVE
            self._liveness.confirmed((channel,), now_ns)
        self._liveness.heard(channel, now_ns)

    # What is owed, and when

    def new_id(self) -> int:
        """The next request number of this connection."""
        self._last_id += 1
        return self._last_id

    def next_request(self, now_ns: int) -> Request | None:
        """The next call that is due and may be paid for, or None."""
        self._disperse(now_ns)
        if not self._has_work or now_ns < self._paused_until_ns:
            return None
        if self._budget.ready_ns(self._kind(), now_ns) > now_ns:
            return None
        kind = self._kind()
        operation, channels = self._next_chunk()
        if not channels:
            return None
        self._budget.take(kind, now_ns)
        request = Request(self.new_id(), operation, channels)
        if operation == "subscribe":
            self._state.update(dict.fromkeys(channels, State.REQUESTED))
        self._pending[request.id] = _Pending(operation, channels, now_ns + self._limits.request_timeout_ns)
        return request

    def on_time(self, now_ns: int) -> int:
        """Let time-outs and retries fall due. Gives how many requests went unanswered."""
        overdue = [key for key, pending in self._pending.items() if pending.deadline_ns <= now_ns]
        for key in overdue:
            pending = self._pending.pop(key)
            if pending.operation == "unsubscribe":
                self._unsubscribe_again(pending)
                continue
            unanswered = self._still_requested(pending)
            self._doubtful.update(dict.fromkeys(unanswered))
            # The venue's answer to an oversize frame names no id: a smaller one may pass.
            self._ask_again(unanswered, halve=True)
        for channel in [channel for channel, at_ns in self._retry_ns.items() if at_ns <= now_ns]:
            del self._retry_ns[channel]
            self._ask(channel)
        return len(overdue)

    def judge(self, now_ns: int) -> Judgement:
        """What has fallen silent; it is asked for again. The silences given are those not told of before."""
        judgement = self._liveness.judge(now_ns)
        if not judgement.silences:
            return judgement
        for silence in judgement.silences:
            self._state[silence.channel] = State.SILENT
        self.resubscribe([silence.channel for silence in judgement.silences], now_ns)
        news = [silence for silence in judgement.silences if self._liveness.is_news(silence)]
        return judgement._replace(silences=news)

    def probe(self, now_ns: int) -> str | None:
        """A channel that the venue is to be asked about now, on behalf of all that speak only when there is news.

        Its answer, whatever it says, proves that the venue listens. None while no probe is due.
        """
        return self._liveness.probe(now_ns)

    def probe_now(self) -> None:
        """A probe was not answered: the next one is due at once."""
        self._liveness.probe_now()

    def next_deadline(self, now_ns: int) -> int | None:
        """When `on_time`, `judge`, a probe or `next_request` has something to do; None when everything is settled."""
        times = [pending.deadline_ns for pending in self._pending.values()]
        times += [min(self._retry_ns.values())] if self._retry_ns else []
        times += [self._gathered_until_ns] if self._gathered else []
        if self._unwanted or self._wanted or self._halves:
            times.append(max(self._budget.ready_ns(self._kind(), now_ns), self._paused_until_ns))
        if (silent_ns := self._liveness.next_deadline()) is not None:
            times.append(silent_ns)
        return min(times, default=None)

    @property
    def settled(self) -> bool:
        """Every desired channel has been answered: live, silent or rejected."""
        return not self._has_work and not self._pending

    def priority(self, channel: str) -> float:
        """When a desired channel is asked for, against the others."""
        return self._priority[channel]

    def state(self, channel: str) -> State | None:
        """How far `channel` is; None when it is not desired."""
        return self._state.get(channel)

    def channels(self, state: State) -> list[str]:
        """The desired channels that are in `state`."""
        return [channel for channel, its_state in self._state.items() if its_state is state]

    # Inside: what is asked next

    @property
    def _has_work(self) -> bool:
        return bool(self._wanted or self._halves or self._unwanted or self._gathered)

    def _kind(self) -> str:
        """Which price the next call has."""
        if self._unwanted:
            return ORDINARY
        urgency = self._halves[0].priority if self._halves else Priority.REST
        if self._wanted:
            self._put_in_order()
            urgency = min(urgency, self._priority[next(iter(self._wanted))])
        return URGENT if urgency <= Priority.UNDERLYING else ORDINARY

    def _next_chunk(self) -> tuple[Operation, list[str]]:
        """The channels of the next call, taken out of their queue; perhaps what stands in their way, instead."""
        if self._unwanted:
            return "unsubscribe", self._taken(self._unwanted, self._fitting(self._unwanted))
        half = self._next_half()
        channels = half.channels if half is not None else self._fitting(self._wanted)
        doubtful = [channel for channel in channels if channel in self._doubtful]
        if doubtful:
            return "unsubscribe", self._taken(self._doubtful, doubtful)
        if half is not None:
            heapq.heappop(self._halves)
        return "subscribe", self._taken(self._wanted, channels)

    def _next_half(self) -> _Half | None:
        """The most urgent half, if nothing else is more so; what was dropped or asked for since is taken out of it."""
        self._put_in_order()
        while self._halves:
            half = self._halves[0]
            still = [channel for channel in half.channels if self._is_in_half(channel)]
            if not still:
                heapq.heappop(self._halves)
                continue
            if self._wanted and self._priority[next(iter(self._wanted))] < half.priority:
                return None
            if len(still) < len(half.channels):
                half = half._replace(channels=still)
                self._halves[0] = half  # priority and number, and so the heap, are as before
            return half
        return None

    def _is_in_half(self, channel: str) -> bool:
        return self._state.get(channel) is State.WANTED and channel not in self._wanted

    def _put_in_order(self) -> None:
        if not self._in_order:
            self._wanted = dict.fromkeys(sorted(self._wanted, key=self._priority.__getitem__))
            self._in_order = True

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

    def _taken(self, queue: dict[str, None], channels: list[str]) -> list[str]:
        for channel in channels:
            queue.pop(channel, None)
        return channels

    # Inside: what is asked again

    def _still_requested(self, pending: _Pending) -> list[str]:
        return [channel for channel in pending.channels if self._state.get(channel) is State.REQUESTED]

    def _ask(self, channel: str) -> None:
        self._state[channel] = State.WANTED
        self._wanted[channel] = None
        self._in_order = False

    def _disperse(self, now_ns: int) -> None:
        """The time for company is over: what was gathered is asked for again."""
        if self._gathered and now_ns >= self._gathered_until_ns:
            self._doubtful.update(self._gathered)
            for channel in self._gathered:
                self._liveness.pause(channel)
                self._ask(channel)
            self._gathered.clear()

    def _ask_again(self, channels: list[str], *, halve: bool) -> None:
        self._state.update(dict.fromkeys(channels, State.WANTED))
        middle = (len(channels) + 1) // 2 if halve else len(channels)
        for half in (channels[:middle], channels[middle:]):
            if half:
                self._last_half += 1
                priority = min(self._priority[channel] for channel in half)
                heapq.heappush(self._halves, _Half(priority, self._last_half, half))

    def _unsubscribe_again(self, pending: _Pending) -> None:
        """Of an unsubscription that failed: what is desired and has been subscribed since then stays."""
        for channel in pending.channels:
            state = self._state.get(channel)
            if state is None:
                self._unwanted[channel] = None
            elif state is State.WANTED:
                self._doubtful[channel] = None

    def _reject(self, channels: list[str], now_ns: int) -> list[str]:
        for channel in channels:
            self._state[channel] = State.REJECTED
            self._retry_ns[channel] = now_ns + self._limits.retry_rejected_ns
        return channels
