"""Large answers as bytes, made on a worker thread in steps that are short, so that nobody else waits for them.

A call into C keeps the interpreter until it returns, so for JSON and CSV no call is given more than one step's rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from fastapi import Response
from starlette.types import Receive, Scope, Send

from pricer.sidecar.encodings import JSON, MSGPACK, Writer
from pricer.sidecar.encodings.json import listed
from pricer.sidecar.messages import Column, Columns, Message
from pricer.sidecar.routes.csv import CSV, lines, names_line
from pricer.sidecar.routes.tables import listed_values
from pricer.sidecar.valuation import Check

# Half a millisecond of encoding: of a column of numbers, and of lines of text.
ROWS_A_STEP = 8192
LINES_A_STEP = 256
# Of a body, so much is handed to the kernel at once.
PIECE_BYTES = 256 * 1024


def encoded_in_steps(message: Message, encoding: Writer, check: Check) -> bytes:
    """The same bytes as `message.encoded(encoding)`; JSON and CSV are made piece by piece, with `check` between."""
    check()
    if message.columns is None or encoding not in (JSON, CSV):
        return message.encoded(encoding)
    return b"".join(_csv(message.columns, check) if encoding is CSV else _json(message.head, message.columns, check))


def nested(columns: Columns, encoding: Writer, check: Check) -> Any:
    """Columns to stand inside a head: lists with null for no value, as `as_lists` makes them of small ones."""
    if encoding is MSGPACK:
        return {name: _values(column, check) for name, column in columns.items()}
    return orjson.Fragment(b"".join(_table(columns, check)))


def _json(head: dict[str, Any], columns: Columns, check: Check) -> Iterator[bytes]:
    yield orjson.dumps(head, option=orjson.OPT_SERIALIZE_NUMPY)[:-1]
    yield b',"columns":' if head else b'"columns":'
    yield from _table(columns, check)
    yield b"}"


def _table(columns: Columns, check: Check) -> Iterator[bytes]:
    opening = b"{"
    for name, column in columns.items():
        yield opening + orjson.dumps(name) + b":["
        opening = b","
        for start in range(0, len(column), ROWS_A_STEP):
            check()
            piece = listed(column[start : start + ROWS_A_STEP])
            yield (b"," if start else b"") + orjson.dumps(piece, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1]
        yield b"]"
    yield b"}" if columns else b"{}"


def _csv(columns: Columns, check: Check) -> Iterator[bytes]:
    yield names_line(columns)
    rows = next((len(column) for column in columns.values()), 0)
    for start in range(0, rows, LINES_A_STEP):
        check()
        yield lines({name: column[start : start + LINES_A_STEP] for name, column in columns.items()})


def _values(column: Column, check: Check) -> list[Any]:
    if isinstance(column, list):
        return column
    out: list[Any] = []
    for start in range(0, len(column), ROWS_A_STEP):
        check()
        out += listed_values(column[start : start + ROWS_A_STEP])
    return out


class InPieces(Response):
    """A large body, sent as fast as it is taken: others have their turn between its pieces."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body = memoryview(self.body)
        for start in range(0, max(len(body), 1), PIECE_BYTES):  # an empty body has an end, too
            piece = bytes(body[start : start + PIECE_BYTES])
            more = start + PIECE_BYTES < len(body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})
