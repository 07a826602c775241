"""A message decoded in one typed pass, and where that fails field by field, so that its good fields survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import msgspec

from pricer.adapters.wire import (
    DECODE_ERRORS,
    Note,
    decode_items,
    decode_object,
    not_negative,
    noted,
    number,
    text_or_none,
)

S = TypeVar("S", bound=msgspec.Struct)


def flag_or_none(value: object) -> bool | None:
    """A JSON boolean as it is, anything else as None."""
    return value if isinstance(value, bool) else None


class Fields(Generic[S]):
    """Reads messages into `kind`, a struct in which None is "no value" for every field.

    Fields are numbers not below zero, but for those named as texts, as signed numbers, as flags, with a way of their
    own to be read, or as standing apart, which only the typed pass reads.
    """

    def __init__(
        self,
        kind: type[S],
        *,
        texts: tuple[str, ...] = (),
        signed: tuple[str, ...] = (),
        flags: tuple[str, ...] = (),
        others: Mapping[str, Callable[[object], Any]] | None = None,
        apart: tuple[str, ...] = (),
    ) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode
        self._decode_all = msgspec.json.Decoder(list[kind]).decode  # type: ignore[valid-type]
        converters: dict[str, Callable[[object], Any]] = dict.fromkeys(kind.__struct_fields__, not_negative)
        converters |= dict.fromkeys(texts, text_or_none)
        converters |= dict.fromkeys(signed, number)
        converters |= dict.fromkeys(flags, flag_or_none)
        converters |= others or {}
        self._converters = {field: convert for field, convert in converters.items() if field not in apart}

    def read(self, raw: msgspec.Raw, note: Note) -> S | None:
        """The message in `raw`; None when it is no object."""
        try:
            return self._decode(raw)
        except DECODE_ERRORS:
            item = decode_object(raw)
        return None if item is None else self._loosely(item, note)

    def read_all(self, raw: msgspec.Raw, note: Note) -> list[S | None] | None:
        """The messages of the array in `raw`, None for what is no object among them; None when it is no array."""
        try:
            return list(self._decode_all(raw))
        except DECODE_ERRORS:
            pass
        try:
            items = decode_items(raw)
        except DECODE_ERRORS:
            return None
        return [self.read(item, note) for item in items]

    def update(self, message: S, item: dict[str, Any], note: Note) -> None:
        """Overwrite what `item` speaks of, an explicit null included; the rest of `message` stays."""
        for field, convert in self._converters.items():
            if field in item:
                setattr(message, field, noted(item, field, convert, note))

    def _loosely(self, item: dict[str, Any], note: Note) -> S:
        message = self._kind()
        self.update(message, item, note)
        return message
