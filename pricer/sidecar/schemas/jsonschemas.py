"""One JSON Schema (2020-12) a message and request, in the form that JSON has; msgpack has the same but for columns."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any, get_args

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from pricer.sidecar import protocol
from pricer.sidecar.schemas.messages import MESSAGES
from pricer.sidecar.schemas.tables import ALWAYS, FIXED

Schema = dict[str, Any]
DIALECT = "https://json-schema.org/draft/2020-12/schema"
# The very models that the sidecar checks requests with.
REQUESTS = {get_args(model.model_fields["op"].annotation)[0]: model for model in get_args(protocol.AnyRequest)}


class _Plain(GenerateJsonSchema):
    """Without titles that only repeat names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> JsonSchemaValue:
        out = super().model_schema(schema)
        out.pop("title", None)
        return out


@cache
def message_schemas(refs: str = "#/$defs/{model}") -> dict[str, Schema]:
    """What the sidecar sends, by name. `refs` says where the shared definitions stand."""
    found = {name: _schema(model, refs) for name, model in MESSAGES.items()}
    for name, schema in found.items():
        channel, _, kind = name.partition("-")
        if kind == "snapshot":
            columns = schema["properties"]["columns"]
            what = columns.pop("description")
            schema["properties"]["columns"] = {
                "description": what,
                "allOf": [columns],
                "required": [*FIXED[channel], *ALWAYS[channel]],
            }
    return found


@cache
def request_schemas(refs: str = "#/$defs/{model}") -> dict[str, Schema]:
    """What clients may send, by name."""
    return {f"request-{op}": _schema(model, refs) for op, model in REQUESTS.items()}


def _schema(model: Any, refs: str) -> Schema:
    schema: Schema = _tidy(model.model_json_schema(ref_template=refs, schema_generator=_Plain))
    schema["description"] = inspect.cleandoc(model.__doc__ or "")
    return schema


def _tidy(value: Any) -> Any:
    """`default: null` says nothing: a field that is not required may be absent."""
    if isinstance(value, list):
        return [_tidy(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    out = {key: _tidy(entry) for key, entry in value.items()}
    if "default" in out and out["default"] is None:
        del out["default"]
    return out
