"""How frames go wrong (FAULTS P13): in their structure, in their values, in their bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec

# Nothing at all, and the wrong kind of something.
VALUES: tuple[Any, ...] = (None, "", 0, 0.0, -0.0, -1, True, False, [], {}, [[]], [None], {"a": 1}, "x", "\x00‮")
# Numbers at the edges of what a double, an integer, or nobody can hold, written as a sender may write them.
NUMBERS: tuple[bytes, ...] = (
    b"1e308",
    b"1e400",
    b"-1e400",
    b"5e-324",
    b"1e-400",
    b"9007199254740993",
    b"18446744073709551616",
    b"1e-4",
)
NUMBERS += (b"1" * 400, b"-2147483649", b"0.1000000000000000055511151231257827", b"1E+2", b"12345678901234567890")
# What no JSON number is, though some writers think so.
LITERALS = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"nan",
    b"inf",
    b"+1",
    b"01",
    b"1.",
    b".5",
    b"0x10",
    b"1,5",
    b"1_000",
    b"-",
)
TEXTS = (
    "NaN",
    "0.1",
    "1e5",
    "inf",
    "-",
    " 1",
    "1 ",
    "٣",
    "null",
    "true",
    "[]",
    "a" * 3000,
    "\ud7ff",
    "‮<script>",
    "\x1b[2J\r\n",
)
BYTES: tuple[bytes, ...] = (
    b"NaN",
    b"null",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"\xff",
    b"\xc3\x28",
    b"\x00",
)
BYTES += (b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xef\xbb\xbf", b" " * 50, b"1e999", b"tru", b"//", b"\xe2\x80\xa8")

HOLDERS = (dict, list)
Mutation = Callable[[Any, random.Random], bytes]


def encoded(message: Any) -> bytes:
    """As the venue writes it; `msgspec.Raw` inside stands for itself."""
    return msgspec.json.encode(message)


def removed(message: Any, rng: random.Random) -> bytes:
    """A field, or a row, is missing."""
    parent, key = place(message, rng)
    if parent is None:
        return b""
    copied, parent, key = along(message, parent, key)
    del parent[key]
    return encoded(copied)


def replaced(message: Any, rng: random.Random) -> bytes:
    """A value is null, empty, or of another kind."""
    return with_value(message, rng, rng.choice(VALUES))


def renumbered(message: Any, rng: random.Random) -> bytes:
    """A number too large, too small, or written strangely."""
    return with_value(message, rng, msgspec.Raw(rng.choice(NUMBERS)), numbers=True)


def not_numbered(message: Any, rng: random.Random) -> bytes:
    """No number where one should be."""
    return with_value(message, rng, msgspec.Raw(rng.choice(LITERALS)), numbers=True)


def quoted(message: Any, rng: random.Random) -> bytes:
    """A number as a string."""
    parent, key = place(message, rng, numbers=True)
    return with_value(message, rng, "0.25" if parent is None else str(parent[key]), numbers=True)


def worded(message: Any, rng: random.Random) -> bytes:
    """A string that is no name and no word of the venue's."""
    return with_value(message, rng, rng.choice(TEXTS))


def doubled(message: Any, rng: random.Random) -> bytes:
    """One key twice, with different values."""
    holders = [node for node in nodes(message) if isinstance(node, dict) and node]
    if not holders:
        return encoded(message) * 2
    holder = rng.choice(holders)
    key = rng.choice(sorted(holder))
    other = rng.choice((*VALUES, msgspec.Raw(rng.choice(NUMBERS))))
    pairs = [(name, holder[name]) for name in holder]
    pairs.insert(rng.randrange(len(pairs) + 1), (key, other))
    text = b"{" + b",".join(encoded(name) + b":" + encoded(value) for name, value in pairs) + b"}"
    return encoded(swapped(message, holder, msgspec.Raw(text)))


def nested(message: Any, rng: random.Random) -> bytes:
    """Deeper than any reader's stack, closed or not."""
    depth = rng.choice((50, 500, 2000, 20_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    inside = b"1" if rng.random() < 0.5 else b""
    ends = closing * depth if rng.random() < 0.7 else b""
    return with_raw(message, rng, opening * depth + inside + ends)


def truncated(data: bytes, rng: random.Random) -> bytes:
    """The end is missing."""
    return data[: rng.randrange(len(data) + 1)]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """Some bits are wrong."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def spliced(data: bytes, rng: random.Random) -> bytes:
    """Strange bytes inside, and no UTF-8 perhaps."""
    at = rng.randrange(len(data) + 1)
    to = min(len(data), at + rng.choice((0, 0, 1, 3, 12)))
    return data[:at] + rng.choice(BYTES) + data[to:]


def repeated(data: bytes, rng: random.Random) -> bytes:
    """A piece comes twice."""
    at = rng.randrange(len(data) + 1)
    to = min(len(data), at + rng.randrange(1, 64))
    return data[:to] + data[at:]


def unchanged(message: Any, rng: random.Random) -> bytes:
    """As it was: so that mutated frames meet a state that good ones made."""
    return encoded(message)


STRUCTURE: tuple[Mutation, ...] = (removed, replaced, renumbered, not_numbered, quoted, worded, doubled)
RAW: tuple[Callable[[bytes, random.Random], bytes], ...] = (truncated, flipped, spliced, repeated)


def mutated(message: Any, rng: random.Random) -> tuple[str, bytes]:
    """The name of a mutation and what it made of `message`."""
    chance = rng.random()
    if chance < 0.10:
        mutation: Mutation = unchanged
    elif chance < 0.70:
        mutation = rng.choice(STRUCTURE)
    elif chance < 0.71:
        mutation = nested
    else:
        return scrambled(encoded(message), rng)
    return mutation.__name__, mutation(message, rng)


def scrambled(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The same for bytes of whatever encoding; there is at least one."""
    mutation = rng.choice(RAW)
    return mutation.__name__, mutation(data, rng)


# Finding places, and changing them in a copy that shares all the rest


def nodes(message: Any) -> list[Any]:
    """Every object and list, from the outside in."""
    found, at = [message], 0
    while at < len(found):
        node = found[at]
        at += 1
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        found += [each for each in inner if isinstance(each, HOLDERS)]
    return found


def place(message: Any, rng: random.Random, *, numbers: bool = False) -> tuple[Any, Any]:
    """A holder and a key or position in it, with `numbers` of a number; (None, None) where there is none."""
    holders = [node for node in nodes(message) if node]
    for _ in range(6 if numbers else 1):
        if not holders or not isinstance(message, HOLDERS):
            break
        holder = rng.choice(holders)
        key = rng.choice(sorted(holder)) if isinstance(holder, dict) else rng.randrange(len(holder))
        if not numbers or type(holder[key]) in (int, float):
            return holder, key
    return None, None


def with_value(message: Any, rng: random.Random, value: Any, *, numbers: bool = False) -> bytes:
    parent, key = place(message, rng, numbers=numbers)
    if parent is None:
        parent, key = place(message, rng)
    if parent is None:
        return encoded(value)
    copied, parent, key = along(message, parent, key)
    parent[key] = value
    return encoded(copied)


def with_raw(message: Any, rng: random.Random, raw: bytes) -> bytes:
    return with_value(message, rng, msgspec.Raw(raw))


def along(message: Any, parent: Any, key: Any) -> tuple[Any, Any, Any]:
    """A copy of `message` in which `parent` may be changed: the copy, its parent, the key."""
    fresh = dict(parent) if isinstance(parent, dict) else list(parent)
    return swapped(message, parent, fresh), fresh, key


def swapped(message: Any, old: Any, new: Any) -> Any:
    """`message` with the very object `old` exchanged for `new`."""
    if message is old:
        return new
    if isinstance(message, dict):
        return {
            key: swapped(value, old, new) if isinstance(value, HOLDERS) else value for key, value in message.items()
        }
    if isinstance(message, list):
        return [swapped(value, old, new) if isinstance(value, HOLDERS) else value for value in message]
    return message
