"""What is wrong with settings, in a line each: the key's path, the fault and the value, unless that may be a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel, SecretStr, ValidationError

from pricer.config.section import Section

HIDDEN = "***"
LONGEST_SHOWN = 300


def describe(error: ValidationError, schema: type[BaseModel]) -> list[str]:
    """Each fault of a validation as `section.key: what is wrong (got value)`, with stars for what may be secret."""
    lines = []
    for fault in error.errors(include_url=False):
        path = ".".join(_plain(str(part)) for part in fault["loc"]) or "settings"
        what = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {what} (got {_short(repr(_shown(schema, path, fault['input'])))})")
    return lines


def _plain(name: str) -> str:
    """A name that somebody chose, on one line."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _shown(schema: type[BaseModel], path: str, value: Any) -> Any:
    """A value as a message may quote it: text under an unknown key may be a secret under a misspelt one."""
    section, *keys = path.split(".")
    key = keys[0] if keys else ""  # what is below it is an item of a list or of a table of names
    table = schema.model_fields.get(section)
    if path == "feed.proxy" or f"{section}.{key}" in _secrets(schema):
        return HIDDEN
    known = table is not None and (not key or key in getattr(table.annotation, "model_fields", {}))
    if isinstance(value, Mapping):
        return {name: _shown(schema, f"{path}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, int | float | Section) or value is None:
        return value
    return value if known else HIDDEN


def _secrets(schema: type[BaseModel]) -> frozenset[str]:
    """The paths of the settings that hold secrets, by their type."""
    return frozenset(
        f"{section}.{key}"
        for section, table in schema.model_fields.items()
        for key, field in getattr(table.annotation, "model_fields", {}).items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    )
