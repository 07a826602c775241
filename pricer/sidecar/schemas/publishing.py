"""The published files, in memory and on disk."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import orjson

from pricer.sidecar.schemas.asyncapi import asyncapi
from pricer.sidecar.schemas.jsonschemas import DIALECT, Schema, message_schemas, request_schemas
from pricer.sidecar.schemas.proto import check_append_only, proto

PROTO = "volstream.proto"
MEDIA = {"proto": "text/plain; charset=utf-8", "schema": "application/schema+json", "json": "application/json"}


@cache
def files() -> dict[str, tuple[str, bytes]]:
    """Name to media type and bytes."""
    schemas = message_schemas() | request_schemas()
    out = {
        PROTO: (MEDIA["proto"], proto().encode()),
        "asyncapi.json": (MEDIA["json"], _text(asyncapi())),
    }
    return out | {f"{name}.json": (MEDIA["schema"], _text(_standing_alone(n))) for name, n in schemas.items()}


def _standing_alone(schema: Schema) -> Schema:
    return {"$schema": DIALECT, **schema}


def _text(document: Schema) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write(directory: Path) -> None:
    """Bring a directory up to date; `ConfigError` where the `.proto` there has a number that is now another field's.

    Schemas of messages that no longer exist are removed.
    """
    new = files()
    known = directory / PROTO
    if known.exists():
        check_append_only(known.read_text(encoding="utf-8"), new[PROTO][1].decode())
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.json"):
        if old.name not in new:
            old.unlink()
    for name, (_, body) in new.items():
        (directory / name).write_bytes(body)
