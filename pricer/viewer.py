"""The loop behind `volstream watch`: newest chain, one frame at a time, and the keys."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.live import Live

from pricer.chainview import ChainView, view_of
from pricer.conventions import NS_PER_DAY, Status
from pricer.errors import ConfigError
from pricer.expiries import expiry_label
from pricer.streaming import LiveStream
from pricer.supervisor import Supervisor
from pricer.terminal import FRAMES_PER_SECOND, ChainScreen, Selection

FRAME_S = 1 / FRAMES_PER_SECOND
# How long a single frame waits for its first numbers.
FIRST_S = 15.0

# What terminals send for the keys that we know: xterm's normal and application modes, and the usual letters.
KEYS = {
    "\x1b[D": "left",
    "\x1bOD": "left",
    "h": "left",
    "\x1b[C": "right",
    "\x1bOC": "right",
    "l": "right",
    "\x1b[A": "up",
    "\x1bOA": "up",
    "k": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "j": "down",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "0": "home",
    "\t": "tab",
    "q": "quit",
    "Q": "quit",
}


class Chains(Protocol):
    """Where frames come from: the newest chain of an underlying, None until there is one.

    `latest` raises what ended the source.
    """

    @property
    def underlyings(self) -> Sequence[str]: ...

    def latest(self, underlying: str) -> ChainView | None: ...


def keys_in(text: str) -> Iterator[str]:
    """The known keys in what a terminal sent, in order; anything else is skipped.

    >>> list(keys_in("\\x1b[Cxq"))
    ['right', 'quit']
    """
    while text:
        found = next((code for code in sorted(KEYS, key=len, reverse=True) if text.startswith(code)), None)
        if found:
            yield KEYS[found]
        text = text[len(found) if found else 1 :]


class Viewer:
    """Shows chains until `stop` is set or q is pressed.

    `ConfigError` where the chain has no expiry on the day of the one that `selection` asks for first.
    """

    def __init__(
        self,
        chains: Chains,
        *,
        console: Console,
        stop: asyncio.Event,
        selection: Selection | None = None,
        footer: str | Callable[[], str] = "",
    ) -> None:
        self._chains = chains
        self._console = console
        self._stop = stop
        self._selection = selection or Selection()
        self._asked_ns = self._selection.expiry_ns  # until it was found
        self._footer = footer
        self._at = 0

    async def run(self) -> None:
        """Draw frames on the terminal's other screen; the first one stays as it was when this ends."""
        with (
            keyboard(self.press) as has_keys,
            Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop") as live,
        ):
            while not self._stop.is_set():
                live.update(self.frame(keys=has_keys), refresh=True)
                await wait_for(self._stop, FRAME_S)

    async def once(self) -> None:
        """Print one frame as soon as the chain has numbers; the empty one where it has none for `FIRST_S`."""
        for _ in range(round(FIRST_S / FRAME_S)):
            view = self._view()
            if (view is not None and self._has_numbers(view)) or await wait_for(self._stop, FRAME_S):
                break
        self._console.print(self.frame(), end="")

    def frame(self, *, keys: bool = False) -> ChainScreen:
        """The chain of this moment."""
        footer = self._footer if isinstance(self._footer, str) else self._footer()
        view = self._view()
        if view is not None and self._asked_ns is not None:
            self._find(view, self._asked_ns)
        return ChainScreen(view, self._selection, footer, self._keys if keys else ())

    def _find(self, view: ChainView, asked_ns: int) -> None:
        """The expiry of that day, whatever its hour. That there is none is known only once another one has numbers."""
        expiries = [piece.expiry_ns for piece in view.slices]
        same_day = [ns for ns in expiries if ns // NS_PER_DAY == asked_ns // NS_PER_DAY]
        if same_day:
            self._selection.expiry_ns = min(same_day, key=lambda ns: abs(ns - asked_ns))
            self._asked_ns = None
        elif self._has_numbers(view):
            known = ", ".join(map(expiry_label, expiries))
            raise ConfigError(f"expiry: {view.underlying} has no {expiry_label(asked_ns)}; there are {known}")

    def _has_numbers(self, view: ChainView) -> bool:
        piece = view.slice_at(self._selection.expiry_ns)
        return piece is not None and piece.statuses[Status.OK] > 0

    @property
    def _keys(self) -> tuple[str, ...]:
        """What the legend says of the keys, the first ones first on a narrow screen."""
        more = ("tab: underlying",) if len(self._chains.underlyings) > 1 else ()
        return ("q: quit", "← → expiry", *more, "↑ ↓ strikes", "home: at the money")

    def press(self, key: str) -> None:
        """Change what is shown."""
        if key == "quit":
            self._stop.set()
        elif key == "tab":
            self._at += 1
            self._selection.offset = 0
        elif key == "home":
            self._selection.offset = 0
        elif key in ("up", "down"):
            self._selection.offset += 1 if key == "down" else -1
        else:
            self._turn(1 if key == "right" else -1)

    def _turn(self, step: int) -> None:
        view = self._view()
        piece = view.slice_at(self._selection.expiry_ns) if view else None
        if view is None or piece is None:
            return
        at = min(max(view.slices.index(piece) + step, 0), len(view.slices) - 1)
        self._selection.expiry_ns = view.slices[at].expiry_ns
        self._selection.offset = 0

    def _view(self) -> ChainView | None:
        underlyings = self._chains.underlyings
        return self._chains.latest(underlyings[self._at % len(underlyings)]) if underlyings else None


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Whether `event` was set within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


@contextmanager
def keyboard(press: Callable[[str], None]) -> Iterator[bool]:
    """Single keys from the terminal to `press`, while the block runs; False where there is no terminal to read.

    The terminal is put back however the block ends.
    """
    try:
        import termios
        import tty
    except ImportError:  # Windows: the screen works, the keys do not
        yield False
        return
    if not sys.stdin.isatty():
        yield False
        return
    descriptor = sys.stdin.fileno()
    loop = asyncio.get_running_loop()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        data = os.read(descriptor, 64)
        if not data:  # the terminal is gone: a reader that is always ready would spin
            loop.remove_reader(descriptor)
        for key in keys_in(data.decode("ascii", "ignore")):
            press(key)

    tty.setcbreak(descriptor)  # not raw: Ctrl-C still is SIGINT
    loop.add_reader(descriptor, read)
    try:
        yield True
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


class LocalChains:
    """The chains of a live stream in this process."""

    def __init__(self, stream: LiveStream | Supervisor, underlyings: Sequence[str]) -> None:
        self._stream = stream
        self.underlyings: Sequence[str] = tuple(underlyings)

    def latest(self, underlying: str) -> ChainView | None:
        """The newest snapshot's chain; None before the first."""
        snapshot = self._stream.latest
        return None if snapshot is None else view_of(snapshot, underlying)
