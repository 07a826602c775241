"""A table as an Arrow IPC stream of one batch; the fields around it stand as JSON in the schema's metadata `volstream`.

Written by nanoarrow, the lightest of the writers that were measured (docs/decisions/0019-arrow.md). Where it is
not installed the answer is 501.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from pricer.conventions import NO_TIME, Reason, Status
from pricer.sidecar.messages import Column, Message
from pricer.sidecar.routes.errors import Refusal


def load() -> None:
    """Import the library now, where it is installed: the first answer would else keep everybody waiting for it."""
    with contextlib.suppress(ImportError):
        import nanoarrow.ipc  # noqa: F401 # for what it leaves in sys.modules


class ArrowEncoding:
    """float64, int64 (instants: UTC or monotonic nanoseconds), int8 and utf8 columns; null where there is no value.

    Statuses are names, reasons names joined by |.
    """

    name = "arrow"
    subprotocol = ""
    is_text = False

    def encode(self, message: Message) -> bytes:
        """The bytes of one stream; `Refusal` 501 where nanoarrow is not installed."""
        try:
            import nanoarrow
            from nanoarrow.ipc import StreamWriter
        except ImportError:
            raise Refusal(501, "Arrow needs the extra [arrow]: pip install 'volstream[arrow]'") from None
        columns = message.columns or {}
        arrays = {name: _array(nanoarrow, column) for name, column in columns.items()}
        rows = next((len(column) for column in columns.values()), 0)
        types = nanoarrow.struct({name: array.schema for name, array in arrays.items()}, nullable=False)
        head = orjson.dumps(message.head, option=orjson.OPT_SERIALIZE_NUMPY)
        schema = nanoarrow.c_schema(types).modify(metadata={"volstream": head})
        batch = nanoarrow.c_array_from_buffers(schema, rows, [None], children=list(arrays.values()), null_count=0)
        out = io.BytesIO()
        with StreamWriter.from_writable(out) as writer:
            writer.write_stream(batch)
        return out.getvalue()


def _array(na: Any, column: Column) -> Any:
    """One column as an Arrow array."""
    if isinstance(column, list):
        return _texts(na, column)
    if column.dtype == np.uint8:
        return _texts(na, [Status(code).name for code in column.tolist()])
    if column.dtype == np.uint64:
        names = {mask: "|".join(Reason(mask).names) for mask in set(column.tolist())}
        return _texts(na, [names[mask] for mask in column.tolist()])
    values = np.ascontiguousarray(column)
    absent = np.isnan(values) if values.dtype == np.float64 else values == NO_TIME
    kinds = {"float64": na.float64, "int64": na.int64, "int8": na.int8}
    kind = kinds[values.dtype.name]()
    return _built(na, kind, absent, [values])


def _texts(na: Any, texts: list[str] | list[str | None]) -> Any:
    data = [b"" if text is None else text.encode() for text in texts]
    offsets = np.zeros(len(data) + 1, np.int32)
    np.cumsum([len(each) for each in data], out=offsets[1:])
    absent = np.array([text is None for text in texts], np.bool_)
    return _built(na, na.string(), absent, [offsets, b"".join(data)])


def _built(na: Any, kind: Any, absent: NDArray[np.bool_], buffers: list[Any]) -> Any:
    missing = int(np.count_nonzero(absent))
    valid = np.packbits(~absent, bitorder="little") if missing else None
    return na.c_array_from_buffers(kind, len(absent), [valid, *buffers], null_count=missing)


ARROW = ArrowEncoding()
