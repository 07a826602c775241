"""How messages become payloads: one file an encoding, chosen by the WebSocket subprotocol.

A client that offers none gets JSON. Each encoding carries the same doubles. `ENCODINGS` has them by subprotocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from pricer.sidecar.messages import Message

if TYPE_CHECKING:
    from pricer.sidecar.encodings.json import JSON
    from pricer.sidecar.encodings.msgpack import MSGPACK
    from pricer.sidecar.encodings.protobuf import PROTOBUF

    ENCODINGS: dict[str, Encoding]


class Writer(Protocol):
    """One way to write messages; formats of HTTP answers are no more than that."""

    name: str  # in metrics and settings
    is_text: bool  # a WebSocket text message, or a binary one

    def encode(self, message: Message) -> bytes:
        """The payload; never fails on what our own channels make."""


class Encoding(Writer, Protocol):
    """One way to write and to read them, by subprotocol."""

    subprotocol: str

    def decode(self, payload: bytes | str) -> Message:
        """A client's side of `encode`: the message with numpy columns; `PayloadError` where it is none.

        Heads hold lists where the sidecar had tuples; otherwise all encodings give the same.
        """

    def encode_request(self, request: Mapping[str, Any]) -> bytes:
        """A client's request, as the JSON object that docs/protocol.md has."""

    def decode_request(self, payload: bytes) -> dict[str, Any]:
        """That object again, of whatever a client sent; `PayloadError` where it is none."""


# JSON first: what a client gets that offers nothing.
_MODULES = {"JSON": "json", "MSGPACK": "msgpack", "PROTOBUF": "protobuf"}


def __getattr__(name: str) -> Any:
    """Each at its first use: bots read MessagePack without the libraries that the sidecar writes the others with."""
    if name == "ENCODINGS":
        found: Any = {each.subprotocol: each for each in map(__getattr__, _MODULES)}
    elif name in _MODULES:
        found = getattr(import_module(f"pricer.sidecar.encodings.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


__all__ = ["ENCODINGS", "JSON", "MSGPACK", "PROTOBUF", "Encoding", "Writer"]
