"""How often the engine asks to be called when nothing arrives."""

from __future__ import annotations

from pricer.adapters.events import FeedStatus
from pricer.engine import Engine
from tests.scene import SECOND, Scene


def test_T02_a_lost_connection_is_no_reason_to_price_without_pause() -> None:
    scene = Scene()
    engine = Engine(clock=scene.clock)
    for event in [*scene.listings(), scene.index(), *scene.quotes()]:
        engine.apply(event)
    engine.price(scene.clock.now())
    scene.clock.advance(SECOND // 10)
    now = scene.clock.now()
    engine.apply(FeedStatus(venue="deribit", received=now, connection="deribit+BTC", state="closed", reason="reset"))
    pricings, end = 0, now.mono_ns + 3 * SECOND
    while scene.clock.now().mono_ns < end and pricings < 1000:
        engine.price(scene.clock.now())
        pricings += 1
        due = engine.next_deadline()
        assert due is not None
        scene.clock.advance(max(due - scene.clock.now().mono_ns, 0))
    assert pricings <= 40, "the engine comes round every 250 ms, and when a limit passes"
