"""The parts of protobuf's wire format that the `.proto` needs: tags, varints, and fields one by one.

Source: "Encoding" in the Protocol Buffers documentation. A packed field of fixed-size numbers is a length and then the
numbers' little-endian bytes, which is what a numpy column is in memory already.
"""

from __future__ import annotations

from collections.abc import Iterator

from pricer.errors import PayloadError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_ONE_BYTE = [bytes([number]) for number in range(0x80)]
_SIZES = {FIXED64: 8, FIXED32: 4}


def varint(number: int) -> bytes:
    """A non-negative integer, seven bits a byte, the lowest first."""
    if number < 0x80:
        return _ONE_BYTE[number]
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def tag(number: int, wire_type: int) -> bytes:
    """What stands before a field."""
    return varint(number << 3 | wire_type)


def fields(data: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Every field of a message: its number, its wire type, and a varint's number or else the bytes.

    `PayloadError` where the bytes end too early or hold what proto3 does not have (groups, field number 0).
    """
    place = 0
    while place < len(data):
        key, place = (data[place], place + 1) if data[place] < 0x80 else _varint(data, place)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise PayloadError("a field has the number 0")
        if wire_type == VARINT:
            value, place = _varint(data, place)
            yield number, wire_type, value
            continue
        if wire_type == LENGTH:
            size, place = _varint(data, place)
        elif wire_type in _SIZES:
            size = _SIZES[wire_type]
        else:
            raise PayloadError(f"wire type {wire_type} is not of proto3")
        if size > len(data) - place:
            raise PayloadError(f"a field of {size} bytes with {len(data) - place} left")
        yield number, wire_type, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    """The number at `place`, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise PayloadError("a number is cut off")
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFFFFFFFFFFFFFF, place
    raise PayloadError("a number of more than ten bytes")
