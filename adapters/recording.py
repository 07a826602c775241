"""Raw frames with their receive instants, to file and back.

Our own format is append-only and needs no footer, so that a killed process loses what was not yet flushed and no more:

    file    = "VOLSTRM" version record*
    record  = sync length crc kind connection wall_ns mono_ns payload   little-endian; crc32 of all but sync and crc
    block   = a record whose payload is zstd of further records         (`compress=True`)

Version 1, before a feed could have two connections, had no `connection`; it is read as 0.

A reader stops at a damaged tail and says so in `notes`. Damage in the middle is reported as a `Gap`; reading goes on
at the next record whose checksum holds. `Reenactment` repeats the live run, since the records are the feed's own calls.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from pricer.adapters.cryptofeed import CryptofeedRecording
from pricer.adapters.records import (
    Closed,
    Connecting,
    Frame,
    Gap,
    Opened,
    PriceMark,
    Record,
    Recording,
    Timer,
    Wish,
)
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import RecordingError

MAGIC = b"VOLSTRM"
VERSION = 2
SYNC = b"\xf5\x9aVR"
# Inside a block another mark: what compression left readable must not pass for a record of a damaged file.
INNER_SYNC = b"\xf5\x9aIR"

# Four times the largest frame a feed takes; a longer one is damage that looks like a length.
LONGEST_PAYLOAD = 32 * 2**20
BLOCK_BYTES = 256 * 2**10


def open_recording(path: str | Path) -> Recording:
    """The recording at `path`, in whichever format. `RecordingError` when there is none that can be read."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(len(MAGIC) + 1)
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror or error}") from error
    if not head:
        raise RecordingError(f"{path}: the file is empty")
    if head.startswith(MAGIC):
        version = head[len(MAGIC)] if len(head) > len(MAGIC) else 0
        if version not in _BODIES:
            raise RecordingError(f"{path}: offset {len(MAGIC)}: version {version:02x}, not {VERSION:02x}")
        return _OwnRecording(path, _BODIES[version])
    return CryptofeedRecording(path)


_META, _FRAME, _PRICE_MARK, _OPENED, _CLOSED, _TIMER, _BLOCK, _CONNECTING, _WISH = range(9)
_HEAD = struct.Struct("<4sII")  # sync, length of the payload, crc
_BODY = struct.Struct("<BIqq")  # kind, connection, wall_ns, mono_ns
_BODY_1 = struct.Struct("<Bqq")  # version 1: no connection
_BODIES = {1: _BODY_1, VERSION: _BODY}
_LENGTH = struct.Struct("<I")


class RecordingWriter:
    """Appends records to a new file; never overwrites one. Fits a feed's `tap`.

    What the venue sends is recorded, nothing of what we send: so no secret can be. Flushed to the system each
    `flush_interval_s` of monotonic time, as records come.
    """

    def __init__(
        self, path: str | Path, meta: Mapping[str, Any], *, compress: bool = False, flush_interval_s: float = 1.0
    ) -> None:
        self.path = Path(path)
        self._compress = _zstandard().ZstdCompressor(level=3).compress if compress else None
        self._flush_ns = int(flush_interval_s * NS_PER_SECOND)
        self._flushed_ns: int | None = None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        try:
            self._file = self.path.open("xb")
        except FileExistsError as error:
            raise RecordingError(f"{self.path}: exists already; a recording is never overwritten") from error
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror or error}") from error
        self._write(MAGIC + bytes([VERSION]) + _encoded(_META, Instant(0, 0), msgspec.json.encode(meta)))
        self.flush()

    def connecting(self, now: Instant, connection: int = 0) -> None:
        """An attempt to connect began."""
        self._add(_CONNECTING, now, b"", connection)

    def opened(self, now: Instant, connection: int = 0) -> None:
        """A connection stands."""
        self._add(_OPENED, now, b"", connection)

    def frame(self, data: bytes | str, now: Instant, connection: int = 0) -> None:
        """A frame was received."""
        encoded = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
        self._add(_FRAME, now, encoded, connection)

    def timer(self, now: Instant, connection: int = 0) -> None:
        """`on_time` was called between two frames."""
        self._add(_TIMER, now, b"", connection)

    def closed(self, now: Instant, reason: str, connection: int = 0) -> None:
        """The connection is gone, or could not be made."""
        self._add(_CLOSED, now, reason.encode(), connection)

    def wish(self, names: Collection[str], now: Instant, connection: int = 0) -> None:
        """These books are wanted on demand."""
        self._add(_WISH, now, msgspec.json.encode(sorted(names)), connection)

    def price_mark(self, now: Instant) -> None:
        """The engine priced."""
        self._add(_PRICE_MARK, now)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        if self._compress is not None and self._waiting:
            block = self._compress(b"".join(self._waiting))
            self._waiting, self._waiting_bytes = [], 0
            self._write(_encoded(_BLOCK, Instant(0, 0), block))
        try:
            self._file.flush()
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror or error}") from error

    def close(self) -> None:
        """Flush and close."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._close_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _close_file(self) -> None:
        # Closing writes what a failed flush has left behind, so a full disk is told here once more.
        try:
            self._file.close()
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror or error}") from error

    def _add(self, kind: int, now: Instant, payload: bytes = b"", connection: int = 0) -> None:
        record = _encoded(kind, now, payload, SYNC if self._compress is None else INNER_SYNC, connection)
        if self._compress is None:
            self._write(record)
        else:
            self._waiting.append(record)
            self._waiting_bytes += len(record)
        if self._flushed_ns is None:
            self._flushed_ns = now.mono_ns
        if now.mono_ns - self._flushed_ns >= self._flush_ns or self._waiting_bytes >= BLOCK_BYTES:
            self._flushed_ns = now.mono_ns
            self.flush()

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise RecordingError(f"{self.path}: {error.strerror or error}") from error


def _encoded(kind: int, instant: Instant, payload: bytes, mark: bytes = SYNC, connection: int = 0) -> bytes:
    length = len(payload)
    rest = _BODY.pack(kind, connection, *instant) + payload
    return _HEAD.pack(mark, length, zlib.crc32(rest, zlib.crc32(_LENGTH.pack(length)))) + rest


class _Raw(NamedTuple):
    kind: int
    connection: int
    instant: Instant
    payload: bytes
    end: int


Buffer = bytes | mmap.mmap


def _record_at(buffer: Buffer, offset: int, body: struct.Struct, mark: bytes = SYNC) -> _Raw | None:
    """The record that begins at `offset`; None unless it is complete and its checksum holds."""
    body_at = offset + _HEAD.size
    payload_at = body_at + body.size
    if payload_at > len(buffer):
        return None
    sync, length, crc = _HEAD.unpack_from(buffer, offset)
    end = payload_at + length
    if sync != mark or length > LONGEST_PAYLOAD or end > len(buffer):
        return None
    if zlib.crc32(buffer[body_at:end], zlib.crc32(_LENGTH.pack(length))) != crc:
        return None
    kind, *connection, wall_ns, mono_ns = body.unpack_from(buffer, body_at)
    return _Raw(kind, connection[0] if connection else 0, Instant(wall_ns, mono_ns), buffer[payload_at:end], end)


def _next_record(buffer: Buffer, offset: int, body: struct.Struct) -> int | None:
    """Where the first sound record after `offset` begins."""
    while (offset := buffer.find(SYNC, offset + 1)) >= 0:
        if _record_at(buffer, offset, body) is not None:
            return offset
    return None


class _OwnRecording:
    def __init__(self, path: Path, body: struct.Struct) -> None:
        self.path = path
        self.notes: list[str] = []
        self._body = body
        self.meta: Mapping[str, Any] = self._read_meta()

    def __iter__(self) -> Iterator[Record]:
        self.notes.clear()
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            yield from self._records(buffer, len(MAGIC) + 1)

    def _read_meta(self) -> Mapping[str, Any]:
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            raw = _record_at(buffer, len(MAGIC) + 1, self._body)
        meta = msgspec.json.decode(raw.payload) if raw is not None and raw.kind == _META else None
        if not isinstance(meta, dict):
            raise RecordingError(f"{self.path}: offset {len(MAGIC) + 1}: the description of the recording is damaged")
        return meta

    def _records(self, buffer: Buffer, offset: int) -> Iterator[Record]:
        while offset < len(buffer):
            raw = _record_at(buffer, offset, self._body)
            if raw is not None:
                yield from self._decoded(raw, offset)
                offset = raw.end
                continue
            sound = _next_record(buffer, offset, self._body)
            lost = (len(buffer) if sound is None else sound) - offset
            if sound is None:
                self.notes.append(f"{self.path}: offset {offset}: cut here; the last {lost} bytes are no whole record")
                return
            self.notes.append(f"{self.path}: offset {offset}: {lost} bytes are damaged and left out")
            yield Gap(offset, lost)
            offset = sound

    def _decoded(self, raw: _Raw, offset: int) -> Iterator[Record]:
        if raw.kind == _FRAME:
            yield Frame(raw.payload, raw.instant, raw.connection)
        elif raw.kind == _PRICE_MARK:
            yield PriceMark(raw.instant)
        elif raw.kind == _TIMER:
            yield Timer(raw.instant, raw.connection)
        elif raw.kind == _OPENED:
            yield Opened(raw.instant, raw.connection)
        elif raw.kind == _CLOSED:
            yield Closed(raw.instant, raw.payload.decode(errors="replace"), raw.connection)
        elif raw.kind == _CONNECTING:
            yield Connecting(raw.instant, raw.connection)
        elif raw.kind == _WISH:
            yield from self._wish(raw, offset)
        elif raw.kind == _BLOCK:
            yield from self._block(raw.payload, offset)
        elif raw.kind != _META:
            self.notes.append(f"{self.path}: offset {offset}: a record of unknown kind {raw.kind} is left out")

    def _wish(self, raw: _Raw, offset: int) -> Iterator[Record]:
        try:
            names = msgspec.json.decode(raw.payload, type=tuple[str, ...])
        except msgspec.DecodeError:
            self.notes.append(f"{self.path}: offset {offset}: a wish that names no books is left out")
        else:
            yield Wish(names, raw.instant, raw.connection)

    def _block(self, payload: bytes, offset: int) -> Iterator[Record]:
        zstandard = _zstandard()
        try:
            # The size stands in the block itself: asked first, so that a made-up one allocates nothing.
            size = zstandard.frame_content_size(payload)
            if not 0 <= size <= LONGEST_PAYLOAD + BLOCK_BYTES:
                raise RecordingError(f"{self.path}: offset {offset}: a block of {size} bytes is too large")
            inner = zstandard.ZstdDecompressor().decompress(payload)
        except zstandard.ZstdError as error:
            raise RecordingError(f"{self.path}: offset {offset}: {error}") from error
        place = 0
        while place < len(inner):
            raw = _record_at(inner, place, self._body, INNER_SYNC)
            if raw is None or raw.kind == _BLOCK:
                raise RecordingError(f"{self.path}: offset {offset}: the block is damaged at its byte {place}")
            yield from self._decoded(raw, offset)
            place = raw.end


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise RecordingError("compressed recordings need zstandard: pip install 'volstream[record]'") from error
    return zstandard
