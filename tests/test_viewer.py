"""The loop around the screen: keys, the chosen expiry, single frames, and the end."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import termios
import time
from dataclasses import replace

import pytest
from rich.console import Console

from pricer import viewer as module
from pricer.chainview import ChainView, view_of
from pricer.conventions import Reason, Status
from pricer.errors import ConfigError
from pricer.expiries import parse_expiry
from pricer.snapshot import Snapshot
from pricer.terminal import Selection
from pricer.viewer import Viewer, keyboard, keys_in, wait_for
from tests.handmade import handmade_snapshot, set_status


class Made:
    """Chains of handmade snapshots."""

    def __init__(self, **snapshots: Snapshot) -> None:
        self.snapshots = snapshots

    @property
    def underlyings(self) -> tuple[str, ...]:
        return tuple(self.snapshots)

    def latest(self, underlying: str) -> ChainView | None:
        return view_of(self.snapshots[underlying], underlying)


def viewer_of(chains: Made) -> tuple[Viewer, Console, asyncio.Event]:
    console = Console(width=180, height=30, file=io.StringIO())
    stop = asyncio.Event()
    return Viewer(chains, console=console, stop=stop), console, stop


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def frame(viewer: Viewer) -> str:
    console = Console(width=180, height=30, file=io.StringIO())
    console.print(viewer.frame(keys=True), end="")
    return text_of(console)


def test_keys_are_found_among_what_terminals_send() -> None:
    assert list(keys_in("\x1b[C\x1b[D\x1bOA\x1b[B\x1b[H\tq")) == ["right", "left", "up", "down", "home", "tab", "quit"]
    assert list(keys_in("z\x1b[15~é")) == []


def test_right_and_left_turn_through_the_expiries_and_stop_at_the_ends() -> None:
    viewer, _, _ = viewer_of(Made(BTC=handmade_snapshot()[0]))
    assert " 27NOV26 in" in frame(viewer)
    viewer.press("right")
    assert " 4DEC26 in" in frame(viewer)
    for _ in range(20):
        viewer.press("left")
    assert " 19NOV26 in" in frame(viewer)
    for _ in range(20):
        viewer.press("right")
    assert " 24SEP27 in" in frame(viewer)


def test_up_down_and_home_scroll_the_strikes() -> None:
    viewer, _, _ = viewer_of(Made(BTC=handmade_snapshot()[0]))
    centred = frame(viewer)
    for _ in range(5):
        viewer.press("down")
    assert frame(viewer) != centred
    viewer.press("up")
    viewer.press("home")
    assert frame(viewer) == centred


def test_tab_turns_through_the_underlyings_and_is_offered_only_then() -> None:
    both = Made(BTC=handmade_snapshot()[0], ETH=handmade_snapshot("ETH", 3_000.0)[0])
    viewer, _, _ = viewer_of(both)
    assert "tab: underlying" in frame(viewer)
    assert "  BTC ·" in frame(viewer)
    viewer.press("tab")
    assert "  ETH ·" in frame(viewer)
    viewer.press("tab")
    assert "  BTC ·" in frame(viewer)
    assert "tab:" not in frame(viewer_of(Made(BTC=handmade_snapshot()[0]))[0])


def test_q_stops() -> None:
    viewer, _, stop = viewer_of(Made(BTC=handmade_snapshot()[0]))
    viewer.press("quit")
    assert stop.is_set()


async def test_the_screen_is_drawn_at_most_four_times_a_second_until_stopped() -> None:
    console = Console(width=180, height=30, file=io.StringIO(), force_terminal=True)
    stop = asyncio.Event()
    viewer = Viewer(Made(BTC=handmade_snapshot()[0]), console=console, stop=stop)
    started = time.monotonic()
    running = asyncio.create_task(viewer.run())
    await asyncio.sleep(0.6)
    stop.set()
    await asyncio.wait_for(running, 30.0)
    frames = text_of(console).count("volstream")
    assert 1 <= frames <= 4 * (time.monotonic() - started) + 2  # the first, and rich draws once as it leaves
    assert "\x1b[?1049h" in text_of(console)
    assert "\x1b[?1049l" in text_of(console), "the terminal's first screen is put back"


async def test_a_single_frame_waits_for_numbers() -> None:
    snapshot, _ = handmade_snapshot()
    block = snapshot.blocks[2]
    for row in range(len(block.definition)):
        set_status(block, row, Status.INVALID, Reason.NO_UNDERLYING)
    viewer, console, _ = viewer_of(Made(BTC=snapshot))
    printing = asyncio.create_task(viewer.once())
    await asyncio.sleep(0.3)
    assert not printing.done()
    block.status[:] = Status.OK
    await asyncio.wait_for(printing, 30.0)
    assert "CALLS" in text_of(console)


async def test_a_single_frame_without_numbers_comes_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_S", 0.25)
    viewer, console, _ = viewer_of(Made())
    await asyncio.wait_for(viewer.once(), 30.0)
    assert "waiting" in text_of(console)


def asking_for(expiry: str, snapshot: Snapshot) -> Viewer:
    selection = Selection(parse_expiry(expiry))
    console = Console(width=180, height=30, file=io.StringIO())
    return Viewer(Made(BTC=snapshot), console=console, stop=asyncio.Event(), selection=selection)


@pytest.mark.parametrize(("asked", "label"), [("25NOV30", "25NOV30"), ("2026-11-28", "28NOV26")])
async def test_an_expiry_that_does_not_exist_is_an_error_that_names_those_there_are(asked: str, label: str) -> None:
    viewer = asking_for(asked, handmade_snapshot()[0])
    for showing in (viewer.once(), viewer.run()):
        with pytest.raises(ConfigError, match=rf"BTC has no {label}; there are 19NOV26, .*, 24SEP27$"):
            await asyncio.wait_for(showing, 30.0)


async def test_an_expiry_is_looked_for_by_its_day_and_not_before_the_chain_is_known() -> None:
    snapshot, _ = handmade_snapshot()
    viewer = asking_for("2026-12-04T16:00", replace(snapshot, blocks=()))
    assert "waiting" in frame(viewer)
    viewer._chains = Made(BTC=snapshot)
    assert " 4DEC26 in" in frame(viewer)
    viewer._chains = Made(BTC=replace(snapshot, blocks=snapshot.blocks[-1:]))  # it has been settled
    assert " 24SEP27 in" in frame(viewer)


async def test_keys_come_from_a_terminal_which_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    pressed: list[str] = []
    quitting = asyncio.Event()

    def press(key: str) -> None:
        pressed.append(key)
        if key == "quit":
            quitting.set()

    try:
        with os.fdopen(theirs, "r", closefd=False) as terminal:
            monkeypatch.setattr("sys.stdin", terminal)
            before = termios.tcgetattr(theirs)
            with keyboard(press) as has_keys:
                assert has_keys
                os.write(ours, b"\x1b[Cq")
                await asyncio.wait_for(quitting.wait(), 30)
            assert pressed == ["right", "quit"]
            assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


async def test_without_a_terminal_there_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with keyboard(lambda key: None) as has_keys:
        assert not has_keys


async def test_waiting_ends_with_the_event_or_the_time() -> None:
    event = asyncio.Event()
    assert not await wait_for(event, 0.01)
    event.set()
    assert await wait_for(event, 10.0)
