"""How messages of the binary encodings go wrong: as objects that are packed again, as fields of protobuf, as bytes."""

from __future__ import annotations

import functools
import random
import struct
from typing import Any

import msgspec

from pricer.errors import PayloadError
from pricer.sidecar.encodings.wireformat import FIXED32, FIXED64, LENGTH, VARINT, fields, tag, varint
from tests.fuzz.mutations import TEXTS, VALUES, along, place, scrambled

# What JSON cannot say: bytes, columns that are none, and numbers that are not finite.
PACKED: tuple[Any, ...] = (
    *(b"", b"\x00", b"\xff" * 8, b"\x00" * 7, b"\x7f" * 800),
    *(float("nan"), float("inf"), 1e308, 2**63 - 1, -(2**63), 2**64 - 1),
    *({"t": t, "b": b"\xff" * 16} for t in ("f8", "i8", "i1", "u1", "u8", "u4", "c16", "", "O")),
    *({"t": "f8"}, {"b": b""}, {"t": 1, "b": b""}, {"t": "f8", "b": "text"}, {1: 2}, {None: None}),
)
BODIES = (
    b"",
    b"\x00",
    b"\xff" * 8,
    b"\x80" * 11,
    b"\x0a\xff\xff\xff\xff\x0f",
    struct.pack("<3d", 0.5, float("nan"), 1e308),
)
NUMBERS = (0, 1, 2, 0x7F, 2**31, 2**63, 2**64 - 1)


@functools.lru_cache(maxsize=64)  # of a few good messages, of which mutations change copies
def _unpacked(payload: bytes) -> Any:
    return msgspec.msgpack.decode(payload)


def mutated_msgpack(payload: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The name of a mutation and what it made of a packed map."""
    chance = rng.random()
    if chance < 0.1:
        return "unchanged", payload
    if chance < 0.65:
        body = _unpacked(payload)
        copied, parent, key = along(body, *place(body, rng))
        if rng.random() < 0.3:
            del parent[key]
            return "removed", msgspec.msgpack.encode(copied)
        parent[key] = rng.choice((*VALUES, *TEXTS, *PACKED))
        return "replaced", msgspec.msgpack.encode(copied)
    if chance < 0.66:
        depth = rng.choice((50, 500, 5000))
        return "nested", rng.choice((b"\x81\xa2op", b"\x91", b"\x81\xa7columns")) * depth
    return scrambled(payload, rng)


def mutated_protobuf(payload: bytes, rng: random.Random) -> tuple[str, bytes]:
    """The name of a mutation and what it made of a message."""
    chance = rng.random()
    if chance < 0.1:
        return "unchanged", payload
    if chance < 0.65:
        return "refielded", _with_another_field(payload, rng, 0.9)
    if chance < 0.66:
        out = b"\x01"
        for _ in range(rng.choice((50, 500))):
            out = tag(rng.randrange(1, 6), LENGTH) + varint(len(out)) + out
        return "nested", out
    return scrambled(payload, rng)


def _with_another_field(data: bytes, rng: random.Random, inside: float) -> bytes:
    """One field is missing, doubled, of another number, type or value: here, or `inside` of one that is a message."""
    try:
        parts: list[tuple[int, int, Any]] = list(fields(memoryview(data)))
    except PayloadError:  # it was no message but a text or a column
        return scrambled(data, rng)[1]
    if not parts:
        return rng.choice(BODIES)
    at = rng.randrange(len(parts))
    number, kind, value = parts[at]
    if kind == LENGTH and len(value) and rng.random() < inside:
        parts[at] = number, kind, _with_another_field(bytes(value), rng, 0.4)
    else:
        parts[at : at + 1] = rng.choice(
            (
                [],
                [parts[at], parts[at]],
                [(rng.randrange(1, 60), kind, value)],
                [(number, *_other(rng))],
                [(number, *_other(rng)), parts[at]],
            )
        )
    return b"".join(_written(*part) for part in parts)


def _other(rng: random.Random) -> tuple[int, Any]:
    kind = rng.choice((VARINT, FIXED64, LENGTH, FIXED32))
    if kind == VARINT:
        return kind, rng.choice(NUMBERS)
    if kind == LENGTH:
        return kind, rng.choice((*BODIES, *(text.encode() for text in TEXTS)))
    return kind, rng.randbytes(8 if kind == FIXED64 else 4)


def _written(number: int, kind: int, value: Any) -> bytes:
    head = tag(number, kind)
    if kind == VARINT:
        return head + varint(value)
    return head + varint(len(value)) + bytes(value) if kind == LENGTH else head + bytes(value)
