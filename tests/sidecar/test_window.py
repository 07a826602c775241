"""Windows of strikes: what is inside, and that none flaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pricer.sidecar.window import EMPTY, Measure, Window, window_of
from pricer.snapshot import FIELD_INDEX, SliceBlock
from tests.handmade import handmade_block

STRIKES = [float(strike) for strike in range(90_000, 111_000, 1000)]


def block_at(forward: float, deltas: dict[float, float] | None = None) -> SliceBlock:
    """One expiry at a forward; `deltas` are of the options out of the money, by strike."""
    block = handmade_block("BTC", 30, 100_000.0, STRIKES)
    values = block.values.copy()
    for strike, delta in (deltas or {}).items():
        values[FIELD_INDEX["delta"], block.definition.strike == strike] = delta
    return replace(block, values=values, forward=replace(block.forward, value=forward))


def shown(block: SliceBlock, window: Window) -> list[float]:
    """The strikes inside, each once."""
    strikes = block.definition.strike[window.rows(block.definition)]
    assert (np.unique(strikes, return_counts=True)[1] == 2).all(), "calls and puts come together"
    return np.unique(strikes).tolist()  # type: ignore[no-any-return]


def test_by_count_so_many_strikes_on_each_side() -> None:
    block = block_at(100_400.0)
    assert shown(block, window_of(block, ("count", 2.0))) == [99_000.0, 100_000.0, 101_000.0, 102_000.0]


def test_by_count_at_the_ends_there_are_fewer() -> None:
    low, high = block_at(80_000.0), block_at(120_000.0)
    assert shown(low, window_of(low, ("count", 2.0))) == [90_000.0, 91_000.0]
    assert shown(high, window_of(high, ("count", 2.0))) == [109_000.0, 110_000.0]


def test_by_percent_of_the_forward_the_edge_included() -> None:
    block = block_at(100_000.0)
    assert shown(block, window_of(block, ("percent", 2.0))) == [98_000.0 + 1000.0 * i for i in range(5)]


def test_by_delta_of_the_option_out_of_the_money() -> None:
    block = block_at(100_000.0)
    delta = dict(zip(block.definition.strike.tolist(), block.column("delta").tolist(), strict=True))
    inside = shown(block, window_of(block, ("delta", 0.4)))
    assert 0 < len(inside) < len(STRIKES)
    cp, strikes, deltas = block.definition.cp, block.definition.strike, np.abs(block.column("delta"))
    outside = cp * (strikes - 100_000.0) >= 0
    assert delta
    assert inside == np.unique(strikes[outside & (deltas >= 0.4)]).tolist()


@pytest.mark.parametrize(("measure", "swing"), [(("count", 3.0), 200.0), (("percent", 3.0), 140.0)])
def test_a_forward_that_swings_about_an_edge_moves_a_window_once_at_most(measure: Measure, swing: float) -> None:
    """Sixty swings about each of many places: one move for each place at most, not sixty."""
    window, moves = EMPTY, 0
    places = np.arange(95_000.0, 105_000.0, 125.0)
    for place in places:
        for step in range(60):
            after = window_of(block_at_cached(place + swing * (-1) ** step), measure, window)
            moves, window = moves + (after != window), after
    assert moves <= len(places)
    assert moves >= 9, "it follows the market all the same"


_BLOCK = block_at(100_000.0)


def block_at_cached(forward: float) -> SliceBlock:
    return replace(_BLOCK, forward=replace(_BLOCK.forward, value=forward))


def test_a_delta_that_swings_about_the_limit_brings_its_strike_in_once() -> None:
    measure: Measure = ("delta", 0.25)
    far = {105_000.0 + 1000.0 * i: 0.1 for i in range(6)}
    first = window_of(block_at(100_000.0, {104_000.0: 0.24, **far}), measure)
    assert first.high < 104_000.0
    window = window_of(block_at(100_000.0, {104_000.0: 0.251, **far}), measure, first)
    assert window.high == 104_000.0
    for delta in (0.249, 0.24, 0.23, 0.26, 0.226):
        kept = window_of(block_at(100_000.0, {104_000.0: delta, **far}), measure, window)
        assert kept == window
    left = window_of(block_at(100_000.0, {104_000.0: 0.22, **far}), measure, window)
    assert left.high < 104_000.0


@pytest.mark.parametrize("measure", [("count", 2.0), ("percent", 2.0)])
def test_without_a_forward_nothing_enters_and_what_was_inside_stays(measure: Measure) -> None:
    without = block_at(float("nan"))
    assert window_of(without, measure) == EMPTY
    assert shown(without, EMPTY) == []
    before = window_of(block_at(100_000.0), measure)
    assert window_of(without, measure, before) == before


def test_without_deltas_what_was_inside_stays() -> None:
    block = block_at(100_000.0)
    before = window_of(block, ("delta", 0.25))
    nothing = replace(block, values=np.full_like(block.values, np.nan))
    assert window_of(nothing, ("delta", 0.25), before) == before
    assert window_of(nothing, ("delta", 0.25)) == EMPTY
