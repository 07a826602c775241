"""Forwards by put-call parity: where no venue gives one, and only there."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import msgspec
import numpy as np
import pytest

from pricer.adapters.events import AnyEvent, InstrumentListed, OptionQuote
from pricer.adapters.instruments import Instrument
from pricer.conventions import NS_PER_DAY, Reason, Status, ttm_years
from pricer.engine import Engine, parity
from pricer.errors import NotTradable
from pricer.kernels.forward import parity_forward
from pricer.snapshot import Snapshot
from tests.embedded_chain import EmbeddedChain
from tests.scene import SECOND, START, Scene

NAN = math.nan
EXPIRY = START.wall_ns + 30 * NS_PER_DAY
AT_THE_MONEY = "BTC-30D-100000-C"


def bare(scene: Scene) -> list[OptionQuote]:
    """The scene's quotes as a venue gives them that says nothing of the underlying."""
    return [scene.quote(instrument, forward=NAN, index=NAN) for instrument in scene.instruments()]


def started(scene: Scene, events: Iterable[AnyEvent]) -> tuple[Engine, Snapshot]:
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), *events]:
        engine.apply(event)
    return engine, engine.price(scene.clock.now())


def after(engine: Engine, scene: Scene, events: Callable[[], Iterable[AnyEvent]], seconds: float = 1.0) -> Snapshot:
    """The snapshot some seconds later, when `events` are made and applied."""
    scene.clock.advance(int(seconds * SECOND))
    for event in events():
        engine.apply(event)
    return engine.price(scene.clock.now())


def changed(quote: AnyEvent, **changes: object) -> AnyEvent:
    return msgspec.structs.replace(quote, **changes)


@pytest.fixture
def scene() -> Scene:
    return Scene(forward=101_234.5)


def test_N08_quotes_alone_give_forwards_with_source_status_and_error(scene: Scene) -> None:
    _, snapshot = started(scene, bare(scene))
    assert len(snapshot.forwards) == 3
    for forward in snapshot.forwards.values():
        assert forward.source == "parity"
        assert forward.status is Status.DEGRADED
        assert forward.reasons == Reason.FORWARD_IMPLIED
        assert forward.received == START
        assert forward.valid_until_ns == START.mono_ns + 12 * SECOND
        assert 0.0 < forward.error < 1e-3 * scene.forward
        assert abs(forward.value - scene.forward) < min(forward.error, 1e-4 * scene.forward)
    assert math.isnan(snapshot.index.value)


def test_every_number_made_with_it_is_degraded_and_says_why(scene: Scene) -> None:
    _, snapshot = started(scene, bare(scene))
    ttm = ttm_years(EXPIRY, START.wall_ns)
    for row in snapshot:
        assert row.status is Status.DEGRADED
        assert Reason.FORWARD_IMPLIED in row.reasons
        status, reasons = row.status_of("mid_iv")
        assert status is Status.DEGRADED
        assert Reason.FORWARD_IMPLIED in reasons
        if row.name.startswith("BTC-30D"):
            wanted = scene.smile(math.log(row.strike / scene.forward), ttm)
            assert row.get("iv", allow={Status.DEGRADED}) == pytest.approx(wanted, abs=0.002)
    with pytest.raises(NotTradable) as refused:
        _ = snapshot[AT_THE_MONEY].delta
    assert Reason.FORWARD_IMPLIED in refused.value.reasons


def test_it_follows_the_quotes_and_reprices_the_slice(scene: Scene) -> None:
    engine, first = started(scene, bare(scene))
    scene.forward *= 1.01
    second = after(engine, scene, lambda: bare(scene))
    assert second.forwards[EXPIRY].value == pytest.approx(scene.forward, rel=1e-4)
    assert second.forwards[EXPIRY].received == scene.clock.now()
    allowed = {Status.DEGRADED}
    before, now = (snapshot[AT_THE_MONEY].get("delta", allow=allowed) for snapshot in (first, second))
    assert now is not None
    assert before is not None
    assert now > before + 0.01


def test_one_changed_quote_takes_the_forward_of_its_own_moment_and_leaves_the_others_theirs(scene: Scene) -> None:
    engine, first = started(scene, bare(scene))
    scene.forward *= 1.002
    (instrument,) = [each for each in scene.instruments() if each.name == AT_THE_MONEY]
    second = after(engine, scene, lambda: [scene.quote(instrument, forward=NAN, index=NAN)])
    other = "BTC-30D-90000-P"
    allowed = {Status.DEGRADED}
    assert second[other].get("mid_iv", allow=allowed) == first[other].get("mid_iv", allow=allowed)
    assert second[AT_THE_MONEY].get("mid_iv", allow=allowed) != first[AT_THE_MONEY].get("mid_iv", allow=allowed)


def test_quotes_sent_again_unchanged_confirm_it(scene: Scene) -> None:
    engine, _ = started(scene, bare(scene))
    again = bare(scene)
    for _ in range(4):
        now = scene.clock.now().plus(4 * SECOND)
        stamped = [changed(quote, received=now, exchange_ns=now.wall_ns) for quote in again]
        snapshot = after(engine, scene, lambda: stamped, 4.0)  # noqa: B023 - called at once
    assert snapshot.forwards[EXPIRY].status is Status.DEGRADED
    assert snapshot.forwards[EXPIRY].received == scene.clock.now()


def test_it_goes_stale_with_its_quotes(scene: Scene) -> None:
    engine, _ = started(scene, bare(scene))
    snapshot = after(engine, scene, list, 12.1)
    forward = snapshot.forwards[EXPIRY]
    assert forward.status is Status.STALE
    assert forward.reasons == Reason.FORWARD_IMPLIED | Reason.UNDERLYING_STALE
    assert snapshot[AT_THE_MONEY].status is Status.STALE


def test_without_puts_an_old_forward_is_not_kept_alive_by_calls(scene: Scene) -> None:
    engine, _ = started(scene, bare(scene))

    def calls() -> list[OptionQuote]:
        return [quote for quote in bare(scene) if quote.instrument.endswith("C")]

    for _ in range(7):
        snapshot = after(engine, scene, calls, 4.0)
    assert snapshot.forwards[EXPIRY].status is Status.STALE


def test_a_lost_connection_makes_it_resync_until_quotes_return(scene: Scene) -> None:
    engine, _ = started(scene, bare(scene))
    lost = after(engine, scene, lambda: [scene.feed("closed", "reset")])
    assert lost.forwards[EXPIRY].status is Status.STALE
    assert Reason.RESYNCING in lost.forwards[EXPIRY].reasons
    back = after(engine, scene, lambda: bare(scene))
    assert back.forwards[EXPIRY].status is Status.DEGRADED
    assert back[AT_THE_MONEY].status is Status.DEGRADED


def test_one_pair_of_quotes_is_too_little(scene: Scene) -> None:
    pair = [quote for quote in bare(scene) if "-100000-" in quote.instrument]
    _, snapshot = started(scene, pair)
    assert snapshot.forwards[EXPIRY].source == "none"
    assert snapshot.forwards[EXPIRY].reasons == Reason.NO_UNDERLYING
    assert snapshot[AT_THE_MONEY].status is Status.INVALID


def test_a_bad_quote_does_not_move_it(scene: Scene) -> None:
    engine, first = started(scene, bare(scene))
    bad = scene.quote(next(scene.instruments()), forward=NAN, index=NAN)
    second = after(engine, scene, lambda: [changed(bad, bid=10 * bad.bid, ask=10 * bad.ask)])
    for expiry, forward in second.forwards.items():
        assert forward.value == pytest.approx(first.forwards[expiry].value, abs=0.5 * forward.error)


def test_the_venues_own_forward_takes_over_and_leaves_no_trace(scene: Scene) -> None:
    engine, _ = started(scene, bare(scene))
    snapshot = after(engine, scene, scene.quotes)
    assert {forward.source for forward in snapshot.forwards.values()} == {"venue"}
    assert all(row.status is Status.OK for row in snapshot if Reason.EXTRAPOLATED not in row.reasons)
    assert not any(Reason.FORWARD_IMPLIED in row.reasons for row in snapshot)
    # A quote that lacks it afterwards is one at the venue's own of that instant, and gets none made up.
    (instrument,) = [each for each in scene.instruments() if each.name == AT_THE_MONEY]
    again = after(engine, scene, lambda: [*scene.quotes(), scene.quote(instrument, forward=NAN, bid=0.05)])
    status, reasons = again[AT_THE_MONEY].status_of("bid_iv")
    assert status is Status.OK
    assert Reason.FORWARD_IMPLIED not in reasons
    scene.clock.advance(3 * SECOND)
    engine.apply(scene.quote(instrument, forward=NAN, index=NAN))
    status, reasons = engine.price(scene.clock.now())[AT_THE_MONEY].status_of("bid_iv")
    assert status is Status.INVALID
    assert Reason.NO_UNDERLYING in reasons


def test_where_the_venue_gives_forwards_the_quotes_are_asked_about_them_once_a_second(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def counted(*arguments: object) -> int:
        asked.append(scene.clock.now().mono_ns / SECOND)
        return parity_forward(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(parity, "parity_forward", counted)
    engine, first = started(scene, scene.quotes())
    for step in range(8):
        scene.half_spread_iv *= 1.001  # new quotes each time
        after(engine, scene, lambda: [*scene.quotes(), scene.index()], 0.25)
        assert len(asked) == 3 * (1 + (step + 1) // 4)
    after(engine, scene, list, 20.0)
    for forward in first.forwards.values():
        assert forward.source == "venue"
        assert forward.parity is not None
        assert abs(forward.parity.gap) < forward.parity.error
        assert forward.parity.value == pytest.approx(forward.value - forward.parity.gap, rel=1e-15)


@pytest.mark.parametrize("inverse", [True, False])
@pytest.mark.parametrize("bias", [-5e-4, 5e-4])
def test_F09_a_forward_five_basis_points_off_its_options_raises_the_alarm(bias: float, inverse: bool) -> None:
    scene = Scene(strikes=tuple(range(70_000, 131_000, 2_000)), half_spread_iv=0.0003, forward=100_400.0)
    instruments = [each if inverse else linear(each) for each in scene.instruments()]

    def quoted(wrong: float) -> list[AnyEvent]:
        quotes = [(scene.quote(each), each.name) for each in scene.instruments()]
        unit = 1.0 if inverse else scene.forward
        return [
            changed(q, instrument=name, bid=unit * q.bid, ask=unit * q.ask, forward=scene.forward * (1.0 + wrong))
            for q, name in quotes
        ]

    engine = Engine(clock=scene.clock)
    now = scene.clock.now()
    listings = [InstrumentListed(venue="deribit", received=now, definition=each) for each in instruments]
    for event in [*listings, scene.index(), *quoted(0.0)]:
        engine.apply(event)
    right = engine.price(now)
    assert all(forward.status is Status.OK for forward in right.forwards.values())
    assert engine.counters["parity_gap"] == 0
    wrong = after(engine, scene, lambda: [scene.index(), *quoted(bias)])
    for forward in wrong.forwards.values():
        assert (forward.status, forward.reasons) == (Status.DEGRADED, Reason.OUT_OF_BAND)
        assert forward.parity is not None
        assert abs(forward.parity.value - scene.forward) < 3.0 * forward.parity.error
        assert forward.parity.gap == pytest.approx(bias * scene.forward, abs=3.0 * forward.parity.error)
    assert all(row.status >= Status.DEGRADED and Reason.OUT_OF_BAND in row.reasons for row in wrong)
    assert engine.counters["parity_gap"] == 3
    again = after(engine, scene, lambda: [scene.index(), *quoted(0.0)])
    assert all(forward.status is Status.OK for forward in again.forwards.values())
    assert engine.counters["parity_gap"] == 3


def test_F09_spreads_too_wide_to_tell_raise_no_alarm_and_say_so() -> None:
    scene = Scene(expiry_days=(90.0,), half_spread_iv=0.03)
    wrong = [changed(quote, forward=scene.forward * 1.0005) for quote in scene.quotes()]
    engine, snapshot = started(scene, [scene.index(), *wrong])
    for forward in snapshot.forwards.values():
        assert forward.status is Status.OK
        assert forward.parity is not None
        assert forward.parity.error > 0.0001 * scene.forward
    assert engine.counters["parity_gap"] == 0


def test_F09_a_market_that_moves_while_it_is_quoted_is_not_off() -> None:
    """Each quote has the forward of its own instant: the first ones are 60 bp behind the last."""
    scene = Scene(strikes=tuple(range(70_000, 131_000, 2_000)), half_spread_iv=0.001)
    engine, _ = started(scene, [scene.index(), *scene.quotes()])
    instruments = list(scene.instruments())
    np.random.default_rng(3).shuffle(instruments)
    for part in range(12):
        scene.clock.advance(SECOND // 3)
        scene.forward *= 1.0005
        scene.spot = scene.forward
        engine.apply(scene.index())
        for each in instruments[part::12]:
            engine.apply(scene.quote(each))
        snapshot = engine.price(scene.clock.now())
        assert all(forward.status is Status.OK for forward in snapshot.forwards.values())
    assert engine.counters["parity_gap"] == 0
    assert all(forward.parity is not None for forward in snapshot.forwards.values())


def test_F09_the_embedded_market_agrees_with_its_options() -> None:
    market = EmbeddedChain()
    engine = Engine(clock=market.clock)
    for event in [*market.listings(), market.index(), *market.quotes()]:
        engine.apply(event)
    engine.price(market.clock.now())
    for _ in range(100):
        for event in market.step():
            engine.apply(event)
        snapshot = engine.price(market.clock.now())
    assert engine.counters["parity_gap"] == 0
    assert sum(forward.parity is not None for forward in snapshot.forwards.values()) >= 8


def linear(instrument: Instrument) -> Instrument:
    return msgspec.structs.replace(instrument, settlement="linear")


def test_a_new_strike_joins(scene: Scene) -> None:
    scene.strikes = (90_000, 100_000)
    engine, first = started(scene, bare(scene))
    scene.strikes = (90_000, 95_000, 100_000, 105_000, 110_000)
    second = after(engine, scene, lambda: [*scene.listings(), *bare(scene)])
    assert second.forwards[EXPIRY].error < first.forwards[EXPIRY].error
    assert np.isfinite(second.forwards[EXPIRY].value)
