"""What is listed, what changed, what ended."""

from __future__ import annotations

import msgspec

from pricer.adapters.deribit.instruments import instrument_from_name
from pricer.adapters.events import InstrumentChanged, InstrumentListed
from pricer.adapters.instruments import Instrument
from pricer.adapters.listing import Listing
from tests.adapters.deribit_frames import EXPIRY_NS, NOW


def definition(name: str = "BTC-12MAR25-65000-C") -> Instrument:
    found = instrument_from_name(name)
    assert found is not None
    return found


def test_an_instrument_is_news_once_a_session() -> None:
    it = Listing("deribit", most=10)
    assert isinstance(it.learn(definition(), NOW), InstrumentListed)
    assert it.learn(definition(), NOW) is None
    it.new_session()
    assert isinstance(it.learn(definition(), NOW), InstrumentListed)


def test_a_changed_definition_is_news() -> None:
    it = Listing("deribit", most=10)
    it.learn(definition(), NOW)
    halted = msgspec.structs.replace(definition(), state="halted")
    news = it.learn(halted, NOW)
    assert isinstance(news, InstrumentChanged)
    assert news.definition == halted


def test_instruments_end_at_their_expiry_and_once() -> None:
    it = Listing("deribit", most=10)
    it.learn(definition(), NOW)
    it.learn(definition("BTC-27JUN25-90000-P"), NOW)
    assert it.next_expiry_ns == EXPIRY_NS
    assert it.expire(NOW) == []
    at_expiry = NOW.plus(EXPIRY_NS - NOW.wall_ns)
    assert [each.instrument for each in it.expire(at_expiry)] == ["BTC-12MAR25-65000-C"]
    assert it.expire(at_expiry) == []
    assert list(it) == ["BTC-27JUN25-90000-P"]


def test_an_expiry_that_was_put_off_is_obeyed() -> None:
    it = Listing("deribit", most=10)
    it.learn(definition(), NOW)
    it.learn(msgspec.structs.replace(definition(), expiry_ns=EXPIRY_NS + 10), NOW)
    at_expiry = NOW.plus(EXPIRY_NS - NOW.wall_ns)
    assert it.expire(at_expiry) == []
    assert len(it.expire(at_expiry.plus(10))) == 1


def test_entries_of_changed_expiries_do_not_pile_up() -> None:
    it = Listing("deribit", most=10)
    for delay in range(1000):
        it.learn(msgspec.structs.replace(definition(), expiry_ns=EXPIRY_NS + delay), NOW)
    assert len(it._expiries) <= 20
    assert it.expire(NOW.plus(EXPIRY_NS - NOW.wall_ns + 998)) == []
