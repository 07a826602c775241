"""Lines for people and logs, of which parts were written by somebody else: a venue, a client, a file.

A name with a line feed in it would write a second, forged line; one with an escape sequence would paint the operator's
terminal; one with a direction mark would be read backwards. So all of them are escaped, in this one place, the line is
cut at a length, and tokens are starred out, should one ever come here.
"""

from __future__ import annotations

import logging
import re
import unicodedata

LONGEST_LINE = 8192

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
