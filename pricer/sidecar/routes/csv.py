"""A table as CSV (RFC 4180, lines end in LF): one header, statuses as names, reasons joined by |, nothing for null."""

from __future__ import annotations

import re

import numpy as np
import orjson

from pricer.conventions import Reason
from pricer.sidecar.encodings.json import STATUS_TEXTS, listed
from pricer.sidecar.messages import Column, Columns, Message

_NEEDS_QUOTES = re.compile('[",\r\n]')


class CsvEncoding:
    """The table of a message; the fields around it are left out, but the header ETag has session and seq."""

    name = "csv"
    subprotocol = ""
    is_text = True

    def encode(self, message: Message) -> bytes:
        """UTF-8; no rows but the header where the table is empty."""
        columns = message.columns or {}
        return names_line(columns) + lines(columns)


def names_line(columns: Columns) -> bytes:
    """The header."""
    return (",".join(map(_quoted, columns)) + "\n").encode()


def lines(columns: Columns) -> bytes:
    """One line a row."""
    cells = [_cells(column) for column in columns.values()]
    return "".join([f"{','.join(row)}\n" for row in zip(*cells, strict=True)]).encode()


def _cells(column: Column) -> list[str]:
    """A column as text; numbers exactly as JSON has them."""
    if isinstance(column, list):
        return ["" if value is None else _quoted(value) for value in column]
    if column.dtype == np.uint8:
        return [STATUS_TEXTS[code].decode().strip('"') for code in column.tolist()]
    if column.dtype == np.uint64:
        names = {mask: "|".join(Reason(mask).names) for mask in set(column.tolist())}
        return [names[mask] for mask in column.tolist()]
    text = orjson.dumps(listed(column), option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1]
    return ["" if cell == "null" else cell for cell in text.split(",")] if text else []


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if _NEEDS_QUOTES.search(text) else text


CSV = CsvEncoding()
