"""The live chain on a terminal: what is shown where, how statuses are told apart, and that it is cheap."""

from __future__ import annotations

import io
import itertools
import time
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from pricer.chainview import ChainView, decimals_of, view_of
from pricer.conventions import Reason, Status
from pricer.snapshot import Snapshot, UnderlyingValue
from pricer.terminal import SYMBOLS, ChainScreen, Selection, layout_for
from tests.handmade import SECOND, handmade_snapshot, set_status


def shown(
    view: ChainView | None,
    width: int = 180,
    height: int = 50,
    *,
    footer: str = "",
    keys: tuple[str, ...] = (),
    **selected: Any,
) -> list[str]:
    """The lines of one frame, without colours."""
    console = Console(width=width, height=height, file=io.StringIO(), color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(ChainScreen(view, Selection(**selected), footer, keys, height), end="")
    return capture.get().splitlines()


def coloured(view: ChainView) -> str:
    console = Console(width=180, height=50, file=io.StringIO(), force_terminal=True, color_system="256")
    with console.capture() as capture:
        console.print(ChainScreen(view, height=50), end="")
    return capture.get()


def line_with(lines: list[str], text: str) -> str:
    return next(line for line in lines if text in line)


@pytest.fixture
def snapshot() -> Snapshot:
    return handmade_snapshot()[0]


@pytest.mark.parametrize(("width", "height"), [(40, 10), (80, 24), (100, 30), (130, 40), (180, 50), (220, 60)])
def test_a_frame_fills_the_screen_exactly_at_any_size(snapshot: Snapshot, width: int, height: int) -> None:
    lines = shown(
        view_of(snapshot, "BTC"), width, height, keys=("q: quit", "home: at the money"), footer="http://127.0.0.1:8765"
    )
    assert len(lines) == max(height, 11)
    assert {len(line) for line in lines} == {width}


def test_calls_stand_left_of_the_strike_and_puts_right_of_it(snapshot: Snapshot) -> None:
    lines = shown(view_of(snapshot, "BTC"))
    groups = line_with(lines, "CALLS")
    assert groups.index("CALLS") < groups.index("STRIKE") < groups.index("PUTS")
    # 27NOV26, strike 98,000 just above the forward: the call's delta is below one half, the put's is it minus one.
    calls, puts = line_with(lines, " 98,000 ").split(" 98,000 ")
    block = snapshot.blocks[2]
    row = block.definition.names.index("BTC-9D-98000-C")
    delta = block.column("delta")[row]
    assert f"{delta:.3f}" in calls
    assert f"{delta - 1:.3f}" in puts
    assert f"{block.column('bid')[row]:.4f}" in calls
    assert f"{100 * block.column('iv')[row]:.1f}" in calls
    assert f"{block.column('theta')[row] / 365:.1f}" in calls


def test_the_forward_is_drawn_between_its_two_strikes_in_the_middle(snapshot: Snapshot) -> None:
    lines = shown(view_of(snapshot, "BTC"), height=30)
    at = next(i for i, line in enumerate(lines) if "97,532.41 ─" in line)
    assert " 96,000 " in lines[at - 1]
    assert " 98,000 " in lines[at + 1]
    table = [i for i, line in enumerate(lines) if "000 " in line and i > 4]
    assert abs((table[0] + table[-1]) / 2 - at) <= 1


def test_scrolling_moves_the_strikes_and_stops_at_the_ends(snapshot: Snapshot) -> None:
    view = view_of(snapshot, "BTC")
    assert any(" 58,000 " in line for line in shown(view, height=20, offset=-1000))
    assert any(" 138,000 " in line for line in shown(view, height=20, offset=1000))
    assert not any(" 98,000 " in line for line in shown(view, height=20, offset=1000))


def test_rows_limits_the_strikes(snapshot: Snapshot) -> None:
    lines = shown(view_of(snapshot, "BTC"), rows=6)
    strikes = [line for line in lines if "●" in line and ",000 " in line and "forward" not in line]
    assert len(strikes) == 6


def test_every_status_has_a_symbol_and_a_colour_of_its_own(snapshot: Snapshot) -> None:
    block = snapshot.blocks[2]
    row = block.definition.names.index("BTC-9D-98000-C")
    frames = {}
    for status in Status:
        set_status(block, row, status, Reason.WIDE_SPREAD)
        view = view_of(snapshot, "BTC")
        assert line_with(shown(view), " 98,000 ").startswith(f" {SYMBOLS[status]} ")
        frames[status] = next(line for line in coloured(view).splitlines() if " 98,000 " in line)
    assert len(set(frames.values())) == len(Status)
    assert len(set(SYMBOLS.values())) == len(Status)


def test_an_invalid_number_is_not_shown_at_all(snapshot: Snapshot) -> None:
    block = snapshot.blocks[2]
    row = block.definition.names.index("BTC-9D-98000-C")
    set_status(block, row, Status.INVALID, Reason.NO_UNDERLYING)
    calls, _ = line_with(shown(view_of(snapshot, "BTC")), " 98,000 ").split(" 98,000 ")
    assert "nan" not in calls
    assert calls.count("·") == 8  # four Greeks, three volatilities, the theoretical price


def test_reasons_are_counted_below_the_table(snapshot: Snapshot) -> None:
    for row in range(3):
        set_status(snapshot.blocks[2], row, Status.DEGRADED, Reason.WIDE_SPREAD | Reason.ONE_SIDED)
    lines = shown(view_of(snapshot, "BTC"))
    assert "WIDE_SPREAD 3" in lines[-2]
    assert "ONE_SIDED 3" in lines[-2]
    assert "no reasons" in shown(view_of(handmade_snapshot()[0], "BTC"))[-2]


def test_a_screen_that_gets_no_new_snapshot_goes_stale_by_itself() -> None:
    snapshot, clock = handmade_snapshot()
    assert "● 82" in shown(view_of(snapshot, "BTC"))[2]
    clock.advance(3 * SECOND)
    lines = shown(view_of(snapshot, "BTC"))
    assert "○ 82" in lines[2]
    assert "3.0s ago" in lines[0]
    assert "○ 3.2s" in lines[2]  # the forward's own age and status
    assert "UNDERLYING_STALE 82" in lines[-2]


def test_the_feeds_state_is_shown_with_its_reason() -> None:
    snapshot, _ = handmade_snapshot()
    closed = replace(snapshot, feeds=(replace(snapshot.feeds[0], state="closed", reason="heartbeat_missed"),))
    assert "● live" in shown(view_of(snapshot, "BTC"))[0]
    assert "× closed (heartbeat_missed)" in shown(view_of(closed, "BTC"))[0]


def test_a_chosen_expiry_is_shown_and_an_expired_one_gives_way_to_the_next(snapshot: Snapshot) -> None:
    view = view_of(snapshot, "BTC")
    assert shown(view, expiry_ns=snapshot.blocks[4].key.expiry_ns)[2].startswith(" 25DEC26 in 36.9 days")
    assert shown(view, expiry_ns=snapshot.blocks[4].key.expiry_ns + 1)[2].startswith(" 22JAN27")
    assert shown(view, expiry_ns=2 * 10**18)[2].startswith(" 24SEP27")
    assert shown(view)[2].startswith(" 27NOV26"), "by default the first expiry a week away"


def test_more_expiries_than_fit_are_hinted_at(snapshot: Snapshot) -> None:
    view = view_of(snapshot, "BTC")
    first, last = shown(view, 80)[1], shown(view, 80, expiry_ns=snapshot.blocks[-1].key.expiry_ns)[1]
    assert first.startswith(" ")
    assert first.rstrip().endswith(">")
    assert last.startswith("<")
    assert "24SEP27" in last


def test_before_the_first_quotes_the_screen_says_so() -> None:
    snapshot, _ = handmade_snapshot()
    assert "waiting" in shown(None)[1]
    assert "waiting" in shown(view_of(replace(snapshot, blocks=()), "BTC"))[1]


def test_a_slice_without_a_forward_or_a_fit_is_shown(snapshot: Snapshot) -> None:
    bare = replace(snapshot.blocks[2], forward=UnderlyingValue(), fitted=None)
    lines = shown(view_of(replace(snapshot, blocks=(bare,)), "BTC"))
    assert "forward · × ·" in lines[2]
    assert "no fit yet" in lines[2]


def test_a_terminal_without_unicode_gets_ascii_symbols(snapshot: Snapshot) -> None:
    raw = io.BytesIO()
    console = Console(width=180, height=30, file=io.TextIOWrapper(raw, encoding="ascii", errors="replace"))
    console.print(ChainScreen(view_of(snapshot, "BTC"), height=30), end="")
    console.file.flush()
    assert b" * OK  + DEGRADED  ~ STALE  x INVALID" in raw.getvalue()


def test_a_narrow_screen_drops_columns_in_order_and_keeps_the_essential_ones() -> None:
    names = [{column.name for column in layout_for(width).calls} for width in (180, 164, 148, 120, 104, 80)]
    assert all(narrow <= wide for wide, narrow in itertools.pairwise(names))
    assert "gamma" in names[0]
    assert names[-1] == {"delta", "iv", "bid", "ask"}
    for width in range(80, 200):
        layout = layout_for(width)
        assert 2 * layout.side + 10 <= width, width


def test_decimals_follow_the_tick() -> None:
    assert [decimals_of(tick) for tick in (0.0001, 0.0005, 0.5, 2.5, 5.0, float("nan"))] == [4, 4, 1, 1, 0, 4]


def test_a_frame_costs_far_less_than_its_share_of_a_core(snapshot: Snapshot) -> None:
    console = Console(width=180, height=50, file=io.StringIO(), force_terminal=True)
    best = float("inf")
    for _ in range(5):
        start = time.thread_time()
        console.render_lines(ChainScreen(view_of(snapshot, "BTC"), height=50))
        best = min(best, time.thread_time() - start)
    # Measured 7 ms for 42 strikes; rich.Table took 176 ms. The bound only tells these two apart.
    assert best < 0.06
