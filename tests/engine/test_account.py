"""The account beside the prices: FAULTS P09, Q03."""

from __future__ import annotations

import pytest

from pricer.adapters.events import AccountStatus, AnyEvent, Portfolio, Position
from pricer.conventions import Reason, Status
from pricer.engine import Engine
from pricer.engine.account import MOST_POSITIONS
from pricer.snapshot import AccountView
from tests.scene import Scene

ATM = "BTC-30D-100000-C"


@pytest.fixture
def scene() -> Scene:
    return Scene()


def running(scene: Scene) -> Engine:
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    return engine


def login(scene: Scene, state: str, reason: str = "") -> AccountStatus:
    return AccountStatus(venue="deribit", received=scene.clock.now(), state=state, reason=reason)  # type: ignore[arg-type]


def position(scene: Scene, size: float, name: str = ATM) -> Position:
    return Position(venue="deribit", received=scene.clock.now(), instrument=name, size=size, delta=0.5 * size)


def portfolio(scene: Scene) -> Portfolio:
    return Portfolio(venue="deribit", received=scene.clock.now(), currency="BTC", equity=10.0)


def after(engine: Engine, scene: Scene, *events: AnyEvent) -> AccountView:
    """The account after these events; the public numbers are OK all the while."""
    for event in events:
        engine.apply(event)
    snapshot = engine.price(scene.clock.now())
    assert {row.status for row in snapshot} == {Status.OK}
    assert snapshot.account is not None
    return snapshot.account


def test_positions_and_portfolios_are_the_venues_own(scene: Scene) -> None:
    engine = running(scene)
    assert engine.price(scene.clock.now()).account is None
    account = after(engine, scene, login(scene, "logged_in"), position(scene, -2.0), portfolio(scene))
    assert (account.status, account.positions[ATM].delta, account.portfolios["BTC"].equity) == (Status.OK, -1.0, 10.0)
    assert after(engine, scene) is account, "shared while nothing changes"
    assert not after(engine, scene, position(scene, 0.0)).positions
    assert account.positions[ATM].size == -2.0, "an older snapshot keeps what it had"


def test_P09_a_login_that_ends_or_is_refused_takes_nothing_public_with_it(scene: Scene) -> None:
    engine = running(scene)
    after(engine, scene, login(scene, "logged_in"), position(scene, 1.0))
    out = after(engine, scene, login(scene, "logged_out", "token_expired"))
    assert (out.status, out.reasons) == (Status.STALE, Reason.RESYNCING)
    assert out.positions[ATM].size == 1.0
    refused = after(engine, scene, login(scene, "refused", "13009"))
    assert (refused.status, dict(refused.positions), refused.login.reason) == (Status.INVALID, {}, "13009")


def test_Q03_after_a_new_login_old_positions_are_forgotten_until_the_venue_speaks(scene: Scene) -> None:
    engine = running(scene)
    after(engine, scene, login(scene, "logged_in"), position(scene, 1.0), login(scene, "logged_out"))
    again = after(engine, scene, login(scene, "logged_in"))
    assert (again.status, dict(again.positions)) == (Status.STALE, {})
    assert after(engine, scene, portfolio(scene)).status is Status.OK


def test_I6_positions_are_bounded(scene: Scene) -> None:
    engine = running(scene)
    events = [position(scene, 1.0, f"X{i}") for i in range(MOST_POSITIONS + 5)]
    account = after(engine, scene, login(scene, "logged_in"), *events)
    assert len(account.positions) == MOST_POSITIONS
    assert engine.counters["too_many_positions"] == 5
