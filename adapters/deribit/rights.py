"""What a login of Deribit is good for, and what of it nobody here needs (FAULTS Z15).

The answer to `public/auth` names it as words, `area:level`: `trade:read_write`, `wallet:none` (protocol sheet 7). We
ask for reading alone, and the venue may grant more: a key made for a trading bot, an old key, a rule of the venue's
own. Who steals such a token, or this program's memory, can trade with it.
"""

from __future__ import annotations

ASKED = {"account": "read", "trade": "read", "wallet": "none"}
SCOPE = " ".join(["connection", *(f"{area}:{level}" for area, level in ASKED.items())])

_LEVELS = ("none", "read", "read_write")
# Words about the session rather than rights: a session may well be named "read".
_NO_AREAS = ("session", "expires", "ip")


def excess(granted: str) -> tuple[str, ...]:
    """The rights among `granted` that go beyond `ASKED`, in alphabetical order.

    In areas that we know nothing of reading is no danger, and writing is.

    >>> excess("connection mainaccount account:read trade:read_write wallet:none")
    ('trade:read_write',)
    """
    found = set()
    for word in granted.split():
        area, _, level = word.partition(":")
        if area not in _NO_AREAS and level in _LEVELS:
            allowed = ASKED.get(area, "read")
            if _LEVELS.index(level) > _LEVELS.index(allowed):
                found.add(word)
    return tuple(sorted(found))
