"""Reading numbers that strangers wrote: loose JSON decoding in which nothing becomes a number by accident.

A string that holds digits, a boolean, something not finite or of a wrong type is no number: the field is "no value",
and `note` is told its name. Zero is never a default.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec

T = TypeVar("T")
NAN = math.nan

Note = Callable[[str], None]
"""Told of each oddity by a short name out of a bounded set."""

# What a sequence number may be: 64 bits, as everywhere else. One of a thousand digits would make all later ones old.
Sequence64 = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

# Everything msgspec raises on hostile input: malformed or mistyped JSON, nesting beyond the stack, broken UTF-8.
DECODE_ERRORS = (msgspec.DecodeError, RecursionError, UnicodeError)

# With float() as hook a 1e400 becomes infinite, and so one bad field, instead of failing the whole message.
_decode_loosely = msgspec.json.Decoder(float_hook=float).decode


# The items of an array, each still to be read: one that is odd costs none of the others.
decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


def decode_object(raw: msgspec.Raw | bytes) -> dict[str, Any] | None:
    """A JSON object without its types, or None for anything else."""
    try:
        value = _decode_loosely(raw)
    except DECODE_ERRORS:
        return None
    return value if isinstance(value, dict) else None


def number(value: object) -> float | None:
    """A finite JSON number as a float; None for everything else, booleans and digits in quotes included."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def not_negative(value: object) -> float | None:
    """Like `number`, for prices and amounts, which are never below zero."""
    found = number(value)
    return None if found is None or found < 0.0 else found


def text(value: object) -> str:
    """A string as it is, anything else as empty."""
    return value if isinstance(value, str) else ""


def text_or_none(value: object) -> str | None:
    """A string as it is, anything else as None."""
    return value if isinstance(value, str) else None


def noted(item: dict[str, Any], field: str, convert: Callable[[object], T | None], note: Note) -> T | None:
    """`item[field]` converted; a value that is there and cannot be converted is None and noted."""
    value = item.get(field)
    found = convert(value)
    if found is None and value is not None:
        note(f"bad_field.{field}")
    return found


def or_nan(value: float | None) -> float:
    """NaN for "no value"."""
    return NAN if value is None else value
