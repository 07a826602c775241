"""Messages against the published JSON Schemas, strictly: also what a reader would ignore is a complaint."""

from __future__ import annotations

from typing import Any

import jsonschema
import orjson

from pricer.sidecar.schemas import published


def schema(name: str) -> dict[str, Any]:
    """A published JSON Schema."""
    found: dict[str, Any] = orjson.loads(published()[f"{name}.json"][1])
    return found


def closed(value: Any) -> Any:
    """The schema without leave for fields that are not in it: nothing of ours may be unknown to it."""
    if isinstance(value, list):
        return [closed(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    out = {key: closed(inner) for key, inner in value.items()}
    return out | {"additionalProperties": False} if "properties" in value and value.get("type") == "object" else out


def complaints(name: str, body: Any) -> list[str]:
    """What a strict reading of a schema has against an object."""
    validator = jsonschema.Draft202012Validator(closed(schema(name)))
    return [f"{'.'.join(map(str, error.path))}: {error.message[:80]}" for error in validator.iter_errors(body)]
