"""What is wrong with a request, in plain words: which field, what it ought to be, and what it was."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

# Of a client's own value, so much is repeated to it.
SHOWN = 60
# Of a field with several forms pydantic names the form as well.
_FORMS = ("str", "int")
# As pydantic tells of a list with too few or too many entries; it means the same in fewer words.
_LENGTH = re.compile(r"(?:Tuple|List|Value) should have (.*?) after validation, not (.*)")


def described(faults: Sequence[Any]) -> str:
    """The first fault in words, with field, index and value; in how many more places there are others.

    >>> described([{"loc": ("body", "contracts", 3, "strike"), "msg": "Input should be greater than 0", "input": -5}])
    'contracts[3].strike: should be greater than 0, not -5'
    """
    first = path_of(faults[0]["loc"])
    # A list whose entries are wrong counts as too short, too.
    more = len({place for fault in faults if not first.startswith(place := path_of(fault["loc"]))})
    return fault_told(faults[0]) + (f" (and {more} more)" if more else "")


def fault_told(fault: Any) -> str:
    """One fault of pydantic's.

    >>> fault_told({"loc": ("body", "contracts"), "input": [],
    ...             "msg": "Tuple should have at least 1 item after validation, not 0"})
    'contracts: should have at least 1 item, not 0'
    """
    where, shown = path_of(fault["loc"]), value_shown(fault.get("input"))
    if fault.get("type") == "extra_forbidden":
        return f"{where}: there is no such field"
    length = _LENGTH.fullmatch(fault["msg"])
    if length is not None:
        return f"{where}: should have {length[1]}, not {length[2]}"
    what = fault["msg"].removeprefix("Value error, ").removeprefix("Input ").replace("valid tuple", "list")
    told = fault.get("type") == "missing" or shown in what or "token" in fault["loc"]
    return f"{where}: {what}" + ("" if told else f", not {shown}")


def path_of(where: Sequence[str | int]) -> str:
    """A place in a request as people write it; body and query are clear from the name.

    >>> path_of(("body", "contracts", 3, "strike")), path_of(("query", "points")), path_of(("body",))
    ('contracts[3].strike', 'points', 'body')
    """
    out = ""
    for part in where[1:] or where:
        if part in _FORMS:
            break
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out


def value_shown(value: Any) -> str:
    """A client's own value: short, and one line.

    >>> value_shown({"instrument": "BTC"}), value_shown("x\\ny")
    ('an object', "'x\\\\ny'")
    """
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = ascii(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
