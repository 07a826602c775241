"""The AsyncAPI 3 document of `/v1/stream`: what may be sent each way, with the JSON Schemas inside."""

from __future__ import annotations

from typing import Any

from pricer.sidecar.protocol import CODES, PROTOCOL
from pricer.sidecar.schemas.jsonschemas import Schema, message_schemas, request_schemas

REFS = "#/components/schemas/{model}"
DESCRIPTION = """\
Sequenced, resumable streams of option numbers: a snapshot, then deltas. The payloads here are those of the JSON
encoding; volstream.v1.msgpack has the same objects with columns as raw bytes, and volstream.v1.protobuf those of
volstream.proto. docs/protocol.md has the rules."""
SUBPROTOCOLS = ["volstream.v1.json", "volstream.v1.msgpack", "volstream.v1.protobuf"]


def asyncapi() -> Schema:
    """The whole document."""
    sent, received = message_schemas(REFS), request_schemas(REFS)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "volstream", "version": f"{PROTOCOL}.0.0", "description": DESCRIPTION.replace("\n", " ")},
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:8765", "protocol": "ws", "description": "The default address."}},
        "channels": {"stream": _channel([*sent, *received])},
        "operations": {
            "send": _operation("send", "What the sidecar sends.", list(sent)),
            "receive": _operation("receive", "What a client may send, as JSON text in every encoding.", list(received)),
        },
        "components": {
            "messages": {name: _message(name, schema) for name, schema in (sent | received).items()},
            "schemas": _schemas(sent | received),
        },
    }


def _channel(names: list[str]) -> Schema:
    headers = {
        "type": "object",
        "properties": {
            "Sec-WebSocket-Protocol": {"type": "string", "enum": SUBPROTOCOLS, "description": "The encoding."},
            "Authorization": {"type": "string", "description": "Bearer and the token, where tokens are asked for."},
        },
    }
    return {
        "address": "/v1/stream",
        "description": "The one WebSocket: all subscriptions of a client share it.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
        "bindings": {"ws": {"method": "GET", "headers": headers, "bindingVersion": "0.1.0"}},
    }


def _operation(action: str, summary: str, names: list[str]) -> Schema:
    messages = [{"$ref": f"#/channels/stream/messages/{name}"} for name in names]
    return {"action": action, "channel": {"$ref": "#/channels/stream"}, "summary": summary, "messages": messages}


def _message(name: str, schema: Schema) -> Schema:
    return {
        "name": name,
        "summary": schema["description"],
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{name}"},
    }


def _schemas(found: dict[str, Schema]) -> dict[str, Any]:
    """Every schema by name, and what they share."""
    out: dict[str, Any] = {}
    for name, schema in found.items():
        body = dict(schema)
        out |= body.pop("$defs", {})
        out[name] = body
    out["error"] = out["error"] | {"examples": [{"type": "error", "code": CODES[0], "message": "not JSON"}]}
    return out
