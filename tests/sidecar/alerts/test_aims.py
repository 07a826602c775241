"""Rules that can never fire are told of: at the start where that is sure, else once the chain is known."""

from __future__ import annotations

import logging

import pytest

from pricer.clock import Instant, ManualClock
from pricer.config import Settings
from pricer.errors import ConfigError
from pricer.expiries import expiry_iso, expiry_label
from pricer.sidecar.alerts.aims import Aims
from pricer.sidecar.alerts.language import parse
from pricer.sidecar.alerts.service import Alerts
from pricer.sidecar.preflight import check
from tests.handmade import SECOND
from tests.sidecar.snapshots import Market

START = Instant(1_795_000_000 * SECOND, 1000 * SECOND)


class Desk:
    """A market, a clock, and the rules' aims."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.market = Market(self.clock)
        self.aims = Aims()

    def look(self, *rules: str, seconds: float = 6.0) -> list[str]:
        parsed = tuple(parse(f"r{i}", text) for i, text in enumerate(rules))
        self.aims.look(parsed, self.market.snapshot(), self.clock.now())
        self.clock.advance(round(seconds * SECOND))
        self.aims.look(parsed, self.market.snapshot(), self.clock.now())
        return [str(each) for each in self.aims.missing]


def test_what_of_a_scope_is_not_in_the_chain_is_named() -> None:
    desk = Desk()
    first, other = desk.market.definitions[0], desk.market.definitions[1]
    day = expiry_iso(first.key.expiry_ns)
    found = desk.look(
        "iv > 1% in DOGE",
        "iv > 1% in 25DEC20",
        "iv > 1% in BTC-25DEC26-10000-C",
        f"iv > 1% in {day} {other.names[0]}",
        f"iv > 1% in BTC {day} {first.names[0]}",
        "iv > 1% in BTC nearest 3",
        "iv > 1%",
    )
    assert found == [
        "r0 (DOGE)",
        "r1 (25DEC20)",
        "r2 (BTC-25DEC26-10000-C)",
        "r3 (nothing is in all of its scope)",
    ]


def test_it_is_told_once_the_chain_stands_still_and_again_only_of_what_is_new(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    assert desk.look("iv > 1% in DOGE", seconds=1.0) == []
    assert not caplog.messages, "a chain comes in pieces"
    desk.look("iv > 1% in DOGE")
    desk.look("iv > 1% in DOGE")
    assert caplog.messages == ["alert rules that aim at what is not in the chain: r0 (DOGE)"]
    assert caplog.records[0].levelno == logging.WARNING
    expiry_ns = desk.market.definitions[0].key.expiry_ns
    desk.look("iv > 1% in DOGE", f"iv > 1% in {expiry_iso(expiry_ns)}")
    assert len(caplog.messages) == 1
    del desk.market.definitions[0], desk.market.blocks[0]
    desk.look("iv > 1% in DOGE", f"iv > 1% in {expiry_iso(expiry_ns)}")
    told = f"alert rules that aim at what is not in the chain: r1 ({expiry_label(expiry_ns)})"
    assert caplog.messages[1:] == [told]


def test_many_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    Desk().look(*(f"iv > {number}% in DOGE" for number in range(1, 101)))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("r19 (DOGE) and 80 more")


async def test_an_underlying_that_is_not_priced_is_refused_at_the_start_and_at_a_reload() -> None:
    settings = Settings.load(alerts={"rules": {"wild": "iv > 1% in BTC DOGE"}})
    refused = r"^alerts\.rules\.wild: 'DOGE' is not among feed\.underlyings \(BTC\)$"
    with pytest.raises(ConfigError, match=refused):
        await check(settings)
    desk = Desk()
    running = Alerts(Settings().alerts, desk.market.snapshot, desk.clock, ("BTC",))
    with pytest.raises(ConfigError, match=refused):
        running.check(settings.alerts)
    assert running.alarms["alerts_unaimed"] == 0
