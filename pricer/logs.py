"""Lines for people and logs, of which parts were written by somebody else: a venue, a client, a file.

A name with a line feed in it would write a second, forged line; one with an escape sequence would paint the operator's
terminal; one with a direction mark would be read backwards. So all of them are escaped, in this one place, the line is
cut at a length, and tokens are starred out, should one ever come here. And whoever repeats himself is heard seldom.
"""

from __future__ import annotations

import contextlib
import logging
import math
import re
import sys
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterator

LONGEST_LINE = 8192
LOG_EVERY_S = 10.0  # FAULTS I11: a fault that repeats writes one line in this time
# These keep a pace of their own, or are an operator's acts, each of which has an outcome.
PACED = frozenset({"pricer.sidecar.alerts.notices", "pricer.sidecar.reload"})

# Control characters, format characters (direction marks, zero-width ones), line and paragraph separators, surrogates.
_HIDDEN_CATEGORIES = frozenset(("Cc", "Cf", "Zl", "Zp", "Cs"))
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
# Our own tokens begin with `vst_`; others are known by what stands before them.
_SECRETS = (
    (re.compile(r"vst_[A-Za-z0-9_\-]{8,}"), "vst_***"),
    (re.compile(r"(?i)(\bbearer[ :]+)[^\s'\",;]+"), r"\1***"),
    (re.compile(r"(?i)([?&](?:access_)?token=)[^\s&'\"]+"), r"\1***"),
)


def plain(text: str, longest: int = LONGEST_LINE) -> str:
    r"""`text` as one line that shows what is in it, of at most `longest` characters.

    >>> plain("BTC\r\n\x1b[31mforged"), plain("abcdef", 4)
    ('BTC\\r\\n\\x1b[31mforged', 'abc…')
    """
    text = text[: longest + 1]  # escaping a line of megabytes would be a cost of its own
    if not text.isprintable():  # nearly all lines are
        text = "".join(map(_escaped, text))
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN_CATEGORIES:
        return character
    code = ord(character)
    short = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return _NAMED.get(character) or (short if code < 0x10000 else f"\\U{code:08x}")


def starred(text: str) -> str:
    """`text` without tokens.

    >>> starred("Authorization: Bearer abc.def, GET /?token=abc&x=1")
    'Authorization: Bearer ***, GET /?token=***&x=1'
    """
    for pattern, stars in _SECRETS:
        text = pattern.sub(stars, text)
    return text


class OneLine(logging.Formatter):
    """A record as one line, whatever is in it, also with a traceback; and without tokens."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """The escaped line."""
        return plain(starred(super().format(record)[: LONGEST_LINE + 1]))


class Seldom(logging.Filter):
    """Lets a message pass once in `every_s`, by its logger and its words before the values; then with a count."""

    MOST = 1000

    def __init__(self, every_s: float = LOG_EVERY_S, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._every_s, self._monotonic = every_s, monotonic
        self._passed: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is to be written."""
        if record.name in PACED:
            return True
        key, now = (record.name, str(record.msg)), self._monotonic()
        at, suppressed = self._passed.get(key, (-math.inf, 0))
        if now - at < self._every_s:
            self._passed[key] = at, suppressed + 1
            return False
        if len(self._passed) >= self.MOST:
            self._passed.clear()
        self._passed[key] = now, 0
        if suppressed:
            record.msg, record.args = f"{record.getMessage()} ({suppressed} more like it before)", None
        return True


class _Waiting(logging.Handler):
    """Keeps the last lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[str] = deque(maxlen=100)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextlib.contextmanager
def logging_beside(screen: bool) -> Iterator[None]:
    """Warnings go to stderr; while a screen is shown they wait, so that they do not write over it."""
    waiting = _Waiting()
    handler: logging.Handler = waiting if screen else logging.StreamHandler()
    handler.addFilter(Seldom())
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        for line in waiting.lines:
            print(line, file=sys.stderr)
