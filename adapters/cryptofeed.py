"""The recordings that cryptofeed makes, read as ours are.

Its lines are `unixtime: {json}`, with `<->` for a connection and `<-` for what was sent. The REST answers stand in a
file beside it (`DERIBIT.0` for `DERIBIT.ws.1.0`) and are given as frames.
"""

from __future__ import annotations

import gzip
import heapq
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

from pricer.adapters.records import Frame, Opened, Record
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import RecordingError

_RECEIVED = re.compile(rb"(\d+)(?:\.(\d+))?: (.*)", re.DOTALL)
_SENT = re.compile(rb"\S+ <- \d+(?:\.\d+)?: .*", re.DOTALL)
_CONNECTED = re.compile(rb"\S+ <-> (\d+)(?:\.(\d+))?")
_ANSWERED = re.compile(rb"\S+ -> (\d+)(?:\.(\d+))?: (.*)", re.DOTALL)
_CONFIGURED = re.compile(rb"configuration: .*", re.DOTALL)
_WS_FILE = re.compile(r"(.+)\.ws\.\d+\.(\d+)(?:\.gz)?")


class CryptofeedRecording:
    """Their clock is the wall clock alone, so it stands for both."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self.meta: Mapping[str, Any] = {"venue": path.name.partition(".")[0].lower()}
        for number, line in _lines(path):
            if _record_in(line, path, number) is not None:
                break
        else:
            raise RecordingError(f"{path}: neither a volstream recording nor lines of cryptofeed")

    def __iter__(self) -> Iterator[Record]:
        self.notes.clear()
        rest = _beside(self.path)
        files = [self.path] if rest is None else [rest, self.path]
        yield from heapq.merge(*map(_records_of, files), key=lambda record: record.instant)


def _records_of(path: Path) -> Iterator[Frame | Opened]:
    for number, line in _lines(path):
        record = _record_in(line, path, number)
        if record is not None:
            yield record


def _record_in(line: bytes, path: Path, number: int) -> Frame | Opened | None:
    """What a line says; None for what is of no use to a replay."""
    if (match := _RECEIVED.fullmatch(line) or _ANSWERED.fullmatch(line)) is not None:
        return Frame(match[3], _instant(match[1], match[2]))
    if (match := _CONNECTED.fullmatch(line)) is not None:
        return Opened(_instant(match[1], match[2]))
    if not line or _SENT.fullmatch(line) or _CONFIGURED.fullmatch(line):
        return None
    raise RecordingError(f"{path}: line {number}: not a line of cryptofeed: {line[:60]!r}")


def _instant(seconds: bytes, fraction: bytes | None) -> Instant:
    """Exactly: a float would lose the last digits."""
    wall_ns = int(seconds) * NS_PER_SECOND + int((fraction or b"0").ljust(9, b"0")[:9])
    return Instant(wall_ns, wall_ns)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file, gzipped or not, numbered from 1, without their ends."""
    try:
        with path.open("rb") as plain:
            gzipped = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            file = cast(IO[bytes], gzip.GzipFile(fileobj=plain)) if gzipped else plain
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip(b"\r\n")
    except (OSError, EOFError, zlib.error) as error:
        raise RecordingError(f"{path}: {error}") from error


def _beside(path: Path) -> Path | None:
    """The REST answers that belong to `path`, if they are there."""
    match = _WS_FILE.fullmatch(path.name)
    if match is None:
        return None
    plain = path.with_name(f"{match[1]}.{match[2]}")
    return next((each for each in (plain, plain.with_name(plain.name + ".gz")) if each.exists()), None)
