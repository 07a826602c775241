"""Which channels have fallen silent that ought to speak; sans-I/O, time only from arguments.

1. A `Cadence` channel is sent again every so often whether or not anything changed: it is judged by the clock. It is
   overdue after two intervals and a second.
2. An `OnChange` channel speaks when there is news: no silence of its own says anything, and a deep out-of-the-money
   option may be quiet for hours. The connection's heartbeat and a probe, a question that the venue has to answer,
   speak for it.
3. A confirmed channel that owes a first message and does not bring it in time is an alarm. It was never live.
4. What is overdue is asked for again, alone. A channel that this does not cure is asked for ever more rarely.
5. A connection is given up when *nothing* has come since something was overdue and asked for again, or when a vital
   channel (the index, on which every price stands) that has spoken on it cannot be revived. What has never spoken is an
   alarm, and no reason to leave: the next connection would not bring it either.

The price of all that per message is one look-up and one store; `judge` walks over all channels when the earliest of
them may be overdue, every few seconds. Instants are monotonic nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pricer.clock import NS_PER_SECOND

# A channel that keeps falling silent is asked for again after 1, 2, 4 ... 64 times its limit.
MOST_DOUBLINGS = 6
# So long without another silence, and the channel's past is forgotten.
FORGIVEN_AFTER_NS = 600 * NS_PER_SECOND
# When a probe is not due and nothing is watched.
NEVER_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Cadence:
    """Sent again at least every `every_ns`. Without a `vital` channel the connection is worth nothing."""

    every_ns: int
    vital: bool = False

    @property
    def limit_ns(self) -> int:
        """The longest silence that is no alarm."""
        return 2 * self.every_ns + NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class OnChange:
    """Sent when there is news. `first_message`: a confirmed subscription begins with one; `probed`: see rule 2."""

    first_message: bool = False
    probed: bool = False


Rule = Cadence | OnChange
RuleOf = Callable[[str], Rule]


@dataclass(frozen=True, slots=True)
class LivenessLimits:
    """How patient we are."""

    first_message_ns: int = 10 * NS_PER_SECOND
    probe_every_ns: int = 60 * NS_PER_SECOND
    # After asking again for what was overdue; while nothing at all comes.
    revival_ns: int = 10 * NS_PER_SECOND


class Silence(NamedTuple):
    """A channel that does not bring what it owes."""

    channel: str
    kind: Literal["first_message", "silent"]


class Judgement(NamedTuple):
    """What has gone silent by now, and whether the connection has to go.

    `give_up`: "silent" at first; "zombie" when the connection before this one was given up, too, and nothing has come
    since: another address may be better.
    """

    silences: list[Silence]
    give_up: Literal["silent", "zombie"] | None


_NOTHING = Judgement([], None)
_ON_CHANGE = OnChange()


def always_on_change(_: str) -> Rule:
    """For venues and tests without any cadence."""
    return _ON_CHANGE


class Liveness:
    """The silence of one connection's channels. The caller says what is confirmed, heard, and no longer wanted."""

    def __init__(self, rule_of: RuleOf = always_on_change, limits: LivenessLimits | None = None) -> None:
        self._rule_of = rule_of
        self._limits = limits or LivenessLimits()
        # All of these are keyed by channels that are desired now, and hence bounded as those are.
        self._heard_ns: dict[str, int] = {}  # cadence channels that have spoken since they were confirmed
        self._limit_ns: dict[str, int] = {}
        self._awaited: dict[str, int] = {}  # confirmed, the first message owed; value: since when
        self._asked_ns: dict[str, int] = {}  # asked for again, and since when it has not spoken
        self._strikes: dict[str, tuple[int, int]] = {}  # how often it fell silent, and when last
        self._vital_spoken: set[str] = set()
        self._probed: dict[str, None] = {}  # in the order of their turns
        self._alarmed: set[str] = set()
        self._last_any_ns: int | None = None
        self._fired_ns: int | None = None
        self._next_look_ns = NEVER_NS
        self._next_probe_ns = NEVER_NS
        self._fruitless = 0

    # What the caller tells

    def new_connection(self) -> None:
        """Nothing has been confirmed or heard yet. Whether the last one brought anything is remembered."""
        for each in (self._heard_ns, self._limit_ns, self._awaited, self._asked_ns, self._strikes, self._probed):
            each.clear()
        self._vital_spoken.clear()
        self._alarmed.clear()
        self._last_any_ns = self._fired_ns = None
        self._next_look_ns = self._next_probe_ns = NEVER_NS

    def confirmed(self, channels: Iterable[str], now_ns: int) -> None:
        """The venue has accepted these, or their data shows that it has."""
        for channel in channels:
            rule = self._rule_of(channel)
            if (isinstance(rule, Cadence) or rule.first_message) and channel not in self._heard_ns:
                self._awaited.setdefault(channel, now_ns)
                # Once it has spoken nobody plans anew, so the first look comes as early as it may be overdue.
                limit_ns = rule.limit_ns if isinstance(rule, Cadence) else NEVER_NS
                self._look_by(now_ns + min(self._limits.first_message_ns, limit_ns))
            if isinstance(rule, OnChange) and rule.probed:
                self._probed[channel] = None
                self._next_probe_ns = min(self._next_probe_ns, now_ns + self._limits.probe_every_ns)

    @property
    def speaking(self) -> dict[str, int]:
        """Channels that keep their rhythm, and when each was heard last: for the hot path, which writes the latter.

        It is the same dictionary for the whole life of this object.
        """
        return self._heard_ns

    def heard(self, channel: str, now_ns: int) -> None:
        """A desired channel has brought a good message."""
        if channel in self._heard_ns:
            self._heard_ns[channel] = now_ns
            return
        self._last_any_ns = now_ns
        self._fruitless = 0
        if channel in self._awaited:
            self._first_message(channel, now_ns)

    def forget(self, channels: Iterable[str]) -> None:
        """No longer desired."""
        for channel in channels:
            self.pause(channel)
            self._strikes.pop(channel, None)
            self._asked_ns.pop(channel, None)
            self._vital_spoken.discard(channel)
            self._alarmed.discard(channel)

    def pause(self, channel: str) -> None:
        """It is being asked for again: not expected to speak until it is confirmed."""
        self._heard_ns.pop(channel, None)
        self._limit_ns.pop(channel, None)
        self._awaited.pop(channel, None)
        self._probed.pop(channel, None)

    def excuse(self, now_ns: int) -> None:
        """The venue has told of an interruption: no silence until now counts, against a channel or the connection."""
        self._note_newest()
        for each in (self._heard_ns, self._awaited, self._asked_ns):
            each.update(dict.fromkeys(each, now_ns))
        self._fired_ns = None
        self._plan(now_ns, self._overdue(now_ns)[1])

    # What is due

    def judge(self, now_ns: int) -> Judgement:
        """What has gone silent by now. Each channel is named once; it is expected again when it is confirmed again."""
        if now_ns < self._next_look_ns:
            return _NOTHING
        overdue, next_ns = self._overdue(now_ns)
        silences = [Silence(channel, "silent") for channel in overdue]
        silences += [Silence(channel, "first_message") for channel in self._missing(now_ns)]
        for silence in silences:
            self._strike(silence.channel, now_ns)
        give_up = self._verdict(now_ns)
        self._plan(now_ns, next_ns)
        if give_up is not None:
            self._fruitless += 1
            self._next_look_ns = NEVER_NS  # it has been said; what is left is to go
        return Judgement(silences, give_up)

    def is_silent(self, channel: str) -> bool:
        """Whether it has been found silent and has not spoken since, however often it was confirmed."""
        return channel in self._alarmed

    def is_news(self, silence: Silence) -> bool:
        """Whether this silence has not been told since the channel last spoke (retries are quiet)."""
        if silence.channel in self._alarmed:
            return False
        self._alarmed.add(silence.channel)
        return True

    def probe(self, now_ns: int) -> str | None:
        """A probe is due now: about the channel that is given, another one each time. None while none is due."""
        if now_ns < self._next_probe_ns:
            return None
        channel = next(iter(self._probed), None)
        if channel is None:
            self._next_probe_ns = NEVER_NS
            return None
        self._probed[channel] = self._probed.pop(channel)  # to the end of the queue
        self._next_probe_ns = now_ns + self._limits.probe_every_ns
        return channel

    def probe_now(self) -> None:
        """The last probe was lost: another one must say whether that was chance."""
        self._next_probe_ns = 0

    def next_deadline(self) -> int | None:
        """When `judge` has something to look at, or a probe is due."""
        deadline_ns = min(self._next_look_ns, self._next_probe_ns)
        return None if deadline_ns == NEVER_NS else deadline_ns

    # Inside

    def _first_message(self, channel: str, now_ns: int) -> None:
        del self._awaited[channel]
        self._alarmed.discard(channel)
        self._asked_ns.pop(channel, None)
        rule = self._rule_of(channel)
        if isinstance(rule, Cadence):
            doublings = min(self._strikes.get(channel, (0, 0))[0], MOST_DOUBLINGS)
            self._heard_ns[channel] = now_ns
            self._limit_ns[channel] = rule.limit_ns << doublings
            self._look_by(now_ns + self._limit_ns[channel])
            if rule.vital:
                self._vital_spoken.add(channel)

    def _overdue(self, now_ns: int) -> tuple[list[str], int]:
        """Which are overdue, and when the first of the others may be: the one walk over all channels."""
        limits, overdue, next_ns = self._limit_ns, [], NEVER_NS
        for channel, heard_ns in self._heard_ns.items():
            due_ns = heard_ns + limits[channel]
            if due_ns <= now_ns:
                overdue.append(channel)
            elif due_ns < next_ns:
                next_ns = due_ns
        return overdue, next_ns

    def _missing(self, now_ns: int) -> list[str]:
        return [channel for channel, since_ns in self._awaited.items() if now_ns - since_ns >= self._patience(channel)]

    def _patience(self, channel: str) -> int:
        doublings = min(self._strikes.get(channel, (0, 0))[0], MOST_DOUBLINGS)
        return self._limits.first_message_ns << doublings

    def _strike(self, channel: str, now_ns: int) -> None:
        self._note_newest()
        self.pause(channel)
        self._strikes[channel] = (self._strikes.get(channel, (0, 0))[0] + 1, now_ns)
        self._asked_ns.setdefault(channel, now_ns)
        if self._fired_ns is None:
            self._fired_ns = now_ns

    def _note_newest(self) -> None:
        """The hot path keeps no newest instant of its own: it is found here, when it is wanted."""
        newest_ns = max(self._heard_ns.values(), default=None)
        if newest_ns is not None and (self._last_any_ns is None or newest_ns > self._last_any_ns):
            self._last_any_ns = newest_ns

    def _verdict(self, now_ns: int) -> Literal["silent", "zombie"] | None:
        self._note_newest()
        if self._fired_ns is not None and self._last_any_ns is not None and self._last_any_ns > self._fired_ns:
            self._fired_ns = None  # something speaks: not the connection's fault
        dead = self._fired_ns is not None and now_ns - self._fired_ns >= self._dead_after_ns
        lame = any(now_ns - self._asked_ns.get(each, now_ns) >= self._limits.revival_ns for each in self._vital_spoken)
        if not dead and not lame:
            return None
        return "zombie" if self._fruitless else "silent"

    @property
    def _dead_after_ns(self) -> int:
        """Longer with each connection that brought nothing: a retired address is no reason to hammer on its door."""
        return self._limits.revival_ns << min(self._fruitless, MOST_DOUBLINGS)

    def _plan(self, now_ns: int, next_ns: int) -> None:
        for channel in [each for each, (_, at_ns) in self._strikes.items() if now_ns - at_ns >= FORGIVEN_AFTER_NS]:
            if channel in self._heard_ns:
                del self._strikes[channel]
                self._limit_ns[channel] = self._cadence_limit(channel)
                next_ns = min(next_ns, self._heard_ns[channel] + self._limit_ns[channel])
        times = [next_ns]
        times += [since_ns + self._patience(channel) for channel, since_ns in self._awaited.items()]
        if self._fired_ns is not None:
            times.append(self._fired_ns + self._dead_after_ns)
        times += [self._asked_ns[each] + self._limits.revival_ns for each in self._vital_spoken & self._asked_ns.keys()]
        self._next_look_ns = max(now_ns + 1, min(times))

    def _cadence_limit(self, channel: str) -> int:
        rule = self._rule_of(channel)
        return rule.limit_ns if isinstance(rule, Cadence) else NEVER_NS

    def _look_by(self, at_ns: int) -> None:
        self._next_look_ns = min(self._next_look_ns, at_ns)
