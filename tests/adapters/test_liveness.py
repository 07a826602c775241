"""Silence that means something, and silence that does not; on made-up times."""

from __future__ import annotations

import random
from collections.abc import Collection

import pytest

from pricer.adapters.liveness import Cadence, Liveness, LivenessLimits, OnChange, Rule
from pricer.adapters.session import Session, SessionLimits, State, subscription_budget
from pricer.clock import NS_PER_SECOND

S = NS_PER_SECOND
TICKER = Cadence(5 * S)
INDEX = Cadence(1 * S, vital=True)


def rule_of(channel: str) -> Rule:
    if channel.startswith("ticker"):
        return TICKER
    if channel.startswith("index"):
        return INDEX
    return OnChange(first_message=channel.startswith("book"), probed=not channel.startswith("news"))


class Connection:
    """A session whose venue confirms at once and sends what is due on every channel that is not `dead`."""

    def __init__(self, channels: list[str], dead: Collection[str] = ()) -> None:
        self.session = Session(subscription_budget(30_000, 10_000, 3_000), SessionLimits(), Liveness(rule_of))
        self.now_ns = 0
        self.dead = set(dead)
        self.subscribed: dict[str, None] = {}
        self.asked: list[tuple[int, str, list[str]]] = []
        rules = {channel: rule_of(channel) for channel in channels}
        self.rhythm = {each: rule.every_ns // S for each, rule in rules.items() if isinstance(rule, Cadence)}
        self.alarms: list[tuple[int, str, str]] = []
        self.given_up: list[tuple[int, str]] = []
        self.probes: list[tuple[int, str]] = []
        self.session.want(channels)
        self.talk()

    def reconnect(self) -> None:
        self.session.reset()
        self.subscribed.clear()
        self.talk()

    def talk(self) -> None:
        while (request := self.session.next_request(self.now_ns)) is not None:
            self.asked.append((self.now_ns, request.operation, request.channels))
            if request.operation == "unsubscribe":
                for channel in request.channels:
                    self.subscribed.pop(channel, None)
                self.session.accepted(request.id, request.channels, self.now_ns)
                continue
            self.subscribed.update(dict.fromkeys(request.channels))
            self.session.accepted(request.id, request.channels, self.now_ns)
            for channel in request.channels:
                if channel not in self.dead and rule_of(channel) != OnChange(probed=True):
                    self.session.saw(channel, self.now_ns)

    def run(self, seconds: float, *, reconnects: bool = False) -> None:
        """Every tenth of a second a tenth of what is due comes; `on_time` at each deadline."""
        end_ns = self.now_ns + int(seconds * S)
        send_ns = self.now_ns
        while self.now_ns < end_ns:
            deadline_ns = self.session.next_deadline(self.now_ns)
            step_ns = min(send_ns, end_ns if deadline_ns is None else deadline_ns, end_ns)
            self.now_ns = max(self.now_ns, step_ns)
            if deadline_ns is not None and deadline_ns <= self.now_ns:
                self.time()
                if reconnects and self.given_up and self.given_up[-1][0] == self.now_ns:
                    self.reconnect()
            if self.now_ns >= send_ns:
                second = send_ns // S
                for channel, every_s in self.rhythm.items():
                    if second % every_s == 0 and channel in self.subscribed and channel not in self.dead:
                        self.session.saw(channel, self.now_ns)
                send_ns += S

    def time(self) -> None:
        self.session.on_time(self.now_ns)
        judgement = self.session.judge(self.now_ns)
        self.alarms += [(self.now_ns, silence.channel, silence.kind) for silence in judgement.silences]
        if judgement.give_up is not None:
            self.given_up.append((self.now_ns, judgement.give_up))
        if (channel := self.session.probe(self.now_ns)) is not None:
            self.probes.append((self.now_ns, channel))
        self.talk()


def tickers(count: int) -> list[str]:
    return [f"ticker.{number}" for number in range(count)]


def test_what_keeps_its_rhythm_is_left_alone() -> None:
    it = Connection(["index", *tickers(100)])
    it.run(600)
    assert not it.alarms
    assert not it.given_up
    assert len(it.asked) == 1


@pytest.mark.parametrize(("every_s", "limit_s"), [(1, 3), (5, 11), (60, 121)])
def test_T06_a_cadence_channel_is_overdue_after_two_intervals_and_a_second(every_s: int, limit_s: int) -> None:
    it = Liveness(lambda _: Cadence(every_s * S))
    it.confirmed(["a"], 0)
    it.heard("a", 0)
    for second in range(0, 600, every_s):
        it.heard("a", second * S)
    last_ns = (600 - every_s) * S
    assert it.judge(last_ns + limit_s * S - 1).silences == []
    deadline_ns = it.next_deadline()
    assert deadline_ns is not None
    assert deadline_ns <= last_ns + limit_s * S
    assert it.judge(last_ns + limit_s * S).silences == [("a", "silent")]


def test_T06_a_few_silent_tickers_are_asked_for_again_alone() -> None:
    it = Connection(["index", *tickers(500)])
    it.run(59.5)
    it.dead = set(tickers(500)[:3])
    last_ns = 55 * S  # tickers come at 0, 5 ... 55
    it.run(20)
    assert {channel for _, channel, _ in it.alarms} == it.dead
    assert {at_ns for at_ns, _, _ in it.alarms} == {last_ns + 11 * S}
    again = [each for each in it.asked if each[0] > 0]
    assert [(operation, sorted(channels)) for _, operation, channels in again[:2]] == [
        ("unsubscribe", sorted(it.dead)),
        ("subscribe", sorted(it.dead)),
    ]
    it.run(1200)
    assert not it.given_up, "the others flow: the connection is not to blame"
    assert {channel for _, _, channels in again for channel in channels} == it.dead
    assert len(it.alarms) == 3, "told once; the retries are quiet"
    assert len(it.session.channels(State.LIVE)) == 498


def test_T06_a_channel_that_stays_silent_is_asked_for_ever_more_rarely() -> None:
    it = Connection(["index", *tickers(3)])
    it.run(60)
    it.dead = {"ticker.1"}
    it.run(7200)
    assert 5 <= len([each for each in it.asked if each[1] == "subscribe"]) <= 20


def test_T06_a_zombie_is_asked_again_then_left_then_another_address_is_named() -> None:
    it = Connection(["index", *tickers(200)])
    it.run(59.5)
    it.dead = {"index", *tickers(200)}
    it.run(300, reconnects=True)
    first_alarm_ns, channel, kind = it.alarms[0]
    assert (channel, kind) == ("index", "silent")
    assert first_alarm_ns == (59 + 3) * S, "two intervals of the index and a second"
    again = [each for each in it.asked if first_alarm_ns <= each[0] < it.given_up[0][0]]
    assert again[0][1:] == ("unsubscribe", ["index"])
    assert it.given_up[0] == (first_alarm_ns + 10 * S, "silent")
    assert it.given_up[1][1] == "zombie", "not one message on the new connection, either"
    gaps = [later[0] - sooner[0] for sooner, later in zip(it.given_up, it.given_up[1:], strict=False)]
    assert gaps == sorted(gaps), "and with growing patience"


def test_T06_data_after_a_reconnection_makes_it_an_ordinary_one_again() -> None:
    it = Connection(["index", *tickers(5)])
    it.run(10)
    it.dead = {"index", *tickers(5)}
    it.run(20)
    assert [word for _, word in it.given_up] == ["silent"]
    it.dead.clear()
    it.reconnect()
    it.run(60)
    it.dead = {"index", *tickers(5)}
    it.run(20)
    assert [word for _, word in it.given_up] == ["silent", "silent"]


def test_T06_an_index_that_stops_takes_the_connection_along_once_and_not_for_ever() -> None:
    """Nothing is worth anything without it; but where it never spoke, leaving again would not bring it."""
    it = Connection(["index", *tickers(50)])
    it.run(60)
    it.dead = {"index"}
    it.run(3600, reconnects=True)
    assert [word for _, word in it.given_up] == ["silent"]
    assert it.alarms[-1][1:] == ("index", "first_message")


def test_P02_a_confirmed_channel_without_a_first_message_is_an_alarm_after_ten_seconds() -> None:
    it = Connection(["index", *tickers(3), "book.1", "book.2", "quote.1", "news"], dead={"ticker.1", "book.2"})
    assert it.session.settled
    it.run(9.999)
    assert not it.alarms
    it.run(0.002)
    assert sorted(it.alarms) == [(10 * S, "book.2", "first_message"), (10 * S, "ticker.1", "first_message")]
    assert sorted(it.session.channels(State.SILENT)) == ["book.2", "ticker.1"]
    assert "ticker.1" not in it.session.channels(State.LIVE)
    it.run(600)
    assert len(it.alarms) == 2, "told once"
    assert not it.given_up
    it.dead.clear()
    it.run(1300)
    assert it.session.channels(State.SILENT) == []
    assert len(it.session.channels(State.LIVE)) == 8


def test_P05_a_quiet_healthy_instrument_causes_no_reconnection_in_two_hours() -> None:
    quiet = [f"quote.{number}" for number in range(500)] + [f"trades.{number}" for number in range(500)]
    it = Connection(["index", *quiet, "news"])
    it.run(7200)
    assert it.given_up == []
    assert it.alarms == []
    assert len(it.asked) == 5, "five calls at the start, and never again"
    assert len(it.probes) == 120, "one question a minute vouches for them"
    assert len({channel for _, channel in it.probes}) == 120, "about another one each time"


def test_P05_not_even_when_nothing_with_a_rhythm_is_wanted() -> None:
    it = Connection(["quote.1", "news"])
    it.run(7200)
    assert (it.given_up, it.alarms, len(it.probes)) == ([], [], 120)


def test_no_probe_where_nothing_needs_it() -> None:
    it = Connection(["index", "news", *tickers(3)])
    it.run(600)
    assert it.probes == []


def test_a_channel_that_only_speaks_when_asked_is_given_more_and_more_time() -> None:
    """A venue that does not keep its promise: asked again and again it must not become a storm."""
    it = Connection(["index", "ticker.1", "ticker.2"])
    it.run(5)
    for _ in range(3600):
        it.run(1)
        it.dead = {"ticker.1"} if it.session.state("ticker.1") is State.LIVE else set()
    asked = [each for each in it.asked if each[1] == "subscribe" and "ticker.1" in each[2]]
    assert not it.given_up
    assert len(asked) < 20


def test_forgotten_channels_leave_nothing_behind() -> None:
    rng = random.Random(2)
    it = Liveness(rule_of)
    for second in range(3000):
        names = [f"{rng.choice(['ticker', 'index', 'quote', 'book'])}.{rng.randrange(10**6)}" for _ in range(5)]
        it.confirmed(names, second * S)
        for name in names[:3]:
            it.heard(name, second * S)
        for silence in it.judge(second * S + S // 2).silences:
            it.is_news(silence)
        it.forget(names)
    for part in (it._heard_ns, it._limit_ns, it._awaited, it._asked_ns, it._strikes, it._probed, it._alarmed):
        assert len(part) == 0
    assert not it._vital_spoken


def test_patience_is_a_setting() -> None:
    it = Liveness(rule_of, LivenessLimits(first_message_ns=2 * S))
    it.confirmed(["ticker.1"], 0)
    assert it.judge(2 * S).silences == [("ticker.1", "first_message")]


def test_what_the_venue_has_excused_counts_against_nobody() -> None:
    it = Liveness(rule_of)
    speaking = it.speaking
    it.confirmed(["index", "ticker.1", "book.1"], 0)
    it.heard("index", S)
    it.heard("ticker.1", S)
    silences, _ = it.judge(5 * S)
    assert [each.channel for each in silences] == ["index"], "before it was told, it counts"
    for now_s in range(6, 600):
        it.excuse(now_s * S)
        assert it.judge(now_s * S) == ([], None)
    it.confirmed(["index"], 600 * S)
    assert it.judge(605 * S) == ([], None)
    silences, give_up = it.judge(610 * S)
    assert {(each.channel, each.kind) for each in silences} == {
        ("ticker.1", "silent"),
        ("book.1", "first_message"),
    }
    assert give_up == "silent", "the vital one has had its ten seconds"
    assert it.speaking is speaking
