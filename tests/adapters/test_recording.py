"""Recordings: what went in comes out, damage is found, and a replay repeats the live run."""

from __future__ import annotations

import asyncio
import builtins
import contextlib
import gzip
import random
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from pricer.adapters.adapter import WsSend
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, InstrumentExpired
from pricer.adapters.recording import MAGIC, RecordingWriter, open_recording
from pricer.adapters.records import Closed, Connecting, Frame, Gap, Opened, PriceMark, Record, Timer
from pricer.adapters.reenactment import apply_record
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import RecordingError
from tests.adapters.deribit_frames import NOW, Venue, encoded, fixture, frame
from tests.adapters.loopback import SmallVenue, Watched, listed
from tests.waiting import until

META = {"venue": "deribit", "underlyings": ["BTC"]}


def at(number: int) -> Instant:
    return NOW.plus(number * 1_000_000)


def written(path: Path, count: int, *, compress: bool = False) -> list[Record]:
    """A recording of `count` frames between an opening and a closing, and what it should hold."""
    records: list[Record] = [Opened(at(0))]
    with RecordingWriter(path, META, compress=compress) as writer:
        writer.opened(at(0))
        for number in range(1, count + 1):
            data = b'{"number":%d}' % number
            writer.frame(data, at(number))
            records.append(Frame(data, at(number)))
        writer.timer(at(count + 1))
        writer.price_mark(at(count + 2))
        writer.closed(at(count + 3), "reset: by peer")
    return [*records, Timer(at(count + 1)), PriceMark(at(count + 2)), Closed(at(count + 3), "reset: by peer")]


@pytest.mark.parametrize("compress", [False, True])
def test_what_went_in_comes_out_each_time_it_is_read(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "a.rec"
    if compress:
        pytest.importorskip("zstandard")
    records = written(path, 5000, compress=compress)
    recording = open_recording(path)
    assert recording.meta == META
    assert list(recording) == records
    assert list(recording) == records
    assert recording.notes == []


def test_compressed_recordings_are_smaller(tmp_path: Path) -> None:
    pytest.importorskip("zstandard")
    written(tmp_path / "a", 5000)
    written(tmp_path / "b", 5000, compress=True)
    assert (tmp_path / "b").stat().st_size * 3 < (tmp_path / "a").stat().st_size


def test_text_and_bytes_are_the_same_frame(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a", META) as writer:
        writer.frame("σ", NOW)
        writer.frame("σ".encode(), NOW)
    first, second = open_recording(tmp_path / "a")
    assert first == second


@pytest.mark.parametrize("compress", [False, True])
def test_R01_a_recording_cut_anywhere_is_readable_to_its_last_whole_record(tmp_path: Path, compress: bool) -> None:
    if compress:
        pytest.importorskip("zstandard")
    records = written(tmp_path / "whole", 12, compress=compress)
    whole = (tmp_path / "whole").read_bytes()
    start = whole.index(b"}", len(MAGIC)) + 1  # behind the description
    path = tmp_path / "cut"
    for length in range(start, len(whole)):
        path.write_bytes(whole[:length])
        recording = open_recording(path)
        found = list(recording)
        assert found == records[: len(found)]
        if recording.notes:
            (note,) = recording.notes
            assert str(path) in note
            assert "offset" in note
        else:
            assert length == start or found, "a cut between two records is no damage"


def test_R01_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a", META, flush_interval_s=1.0)
    for number in range(30):
        writer.frame(b"%d" % number, NOW.plus(number * NS_PER_SECOND // 10))
    found = list(open_recording(tmp_path / "a"))  # as another process would see it, the writer being gone
    writer.close()
    assert len(found) >= 30 - 10, "at most a second's worth is missing"


@pytest.mark.parametrize("seed", range(30))
def test_R06_damage_in_the_middle_is_reported_and_skipped(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    records = written(tmp_path / "a", 100)
    damaged = bytearray((tmp_path / "a").read_bytes())
    place = rng.randrange(200, len(damaged) - 200)
    for offset in range(place, place + rng.choice([1, 1, 5, 60])):
        damaged[offset] ^= 1 << rng.randrange(8)
    (tmp_path / "a").write_bytes(damaged)
    recording = open_recording(tmp_path / "a")
    found = list(recording)
    gaps = [record for record in found if isinstance(record, Gap)]
    assert len(gaps) == 1
    assert gaps[0].offset <= place < gaps[0].offset + gaps[0].length
    kept = [record for record in found if not isinstance(record, Gap)]
    assert [record for record in records if record in kept] == kept, "the rest in order, nothing made up"
    assert len(records) - 4 <= len(kept) < len(records)
    assert str(tmp_path / "a") in recording.notes[0]


def test_random_bytes_never_break_the_reader(tmp_path: Path) -> None:
    rng = random.Random(9)
    written(tmp_path / "a", 20)
    good = (tmp_path / "a").read_bytes()
    path, survived = tmp_path / "b", 0
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 30)):
            data[rng.randrange(len(MAGIC) + 1, len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with contextlib.suppress(RecordingError):
            survived += bool(list(open_recording(path)))
    assert survived > 100


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    written(tmp_path / "a", 1)
    with pytest.raises(RecordingError, match="exists already"):
        RecordingWriter(tmp_path / "a", META)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (MAGIC + b"\x07rest", "offset 7: version 07"),
        (MAGIC + b"\x01rest", "offset 8: the description"),
        (b"what is this\n", "line 1: not a line of cryptofeed"),
        (b"\n\n", "neither a volstream recording nor"),
        (b"\x1f\x8bbroken", "ended before"),
    ],
)
def test_what_cannot_be_read_says_where(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "x.rec"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError, match=message) as caught:
        list(open_recording(path))
    assert str(path) in str(caught.value)


def test_a_folder_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="directory"):
        open_recording(tmp_path)


def test_without_zstandard_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("zstandard")
    written(tmp_path / "a", 5, compress=True)
    imported = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "zstandard":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "zstandard", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(RecordingError, match=r"volstream\[record\]"):
        RecordingWriter(tmp_path / "b", META, compress=True)
    with pytest.raises(RecordingError, match=r"volstream\[record\]"):
        list(open_recording(tmp_path / "a"))


def test_a_bomb_in_a_block_is_refused_by_its_size(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "a"
    with RecordingWriter(path, META, compress=True) as writer:
        writer._compress = lambda data: zstandard.ZstdCompressor(level=1).compress(bytes(64 * 2**20))
        writer.frame(b"x", NOW)
    with pytest.raises(RecordingError, match="too large"):
        list(open_recording(path))


def test_R09_version_1_which_had_no_connections_stays_readable(tmp_path: Path) -> None:
    def record(kind: int, instant: Instant, payload: bytes) -> bytes:
        rest = struct.pack("<Bqq", kind, *instant) + payload
        crc = zlib.crc32(rest, zlib.crc32(struct.pack("<I", len(payload))))
        return struct.pack("<4sII", b"\xf5\x9aVR", len(payload), crc) + rest

    old = [
        record(0, Instant(0, 0), b'{"venue":"deribit","underlyings":["BTC"]}'),
        record(3, at(0), b""),
        record(1, at(1), b'{"number":1}'),
        record(5, at(2), b""),
        record(2, at(3), b""),
        record(4, at(4), b"reset: by peer"),
    ]
    (tmp_path / "old").write_bytes(b"VOLSTRM\x01" + b"".join(old) + b"torn")
    recording = open_recording(tmp_path / "old")
    assert recording.meta == META
    expected = [Opened(at(0)), Frame(b'{"number":1}', at(1)), Timer(at(2)), PriceMark(at(3))]
    assert list(recording) == [*expected, Closed(at(4), "reset: by peer")]
    assert "the last 4 bytes" in recording.notes[0]


def test_connections_are_told_apart(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a", META) as writer:
        writer.connecting(at(0), 2)
        writer.opened(at(1), 2**32 - 1)
        writer.frame(b"x", at(2), 2)
        writer.timer(at(3), 2)
        writer.closed(at(4), "rotated", 2)
    assert list(open_recording(tmp_path / "a")) == [
        Connecting(at(0), 2),
        Opened(at(1), 2**32 - 1),
        Frame(b"x", at(2), 2),
        Timer(at(3), 2),
        Closed(at(4), "rotated", 2),
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to stand for a full disk")
def test_R03_a_full_disk_is_told_as_an_error_of_the_recording_also_when_closing(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "a", META)
    writer._file.close()
    writer._file = open("/dev/full", "wb")  # noqa: SIM115 - closed by the writer
    writer.frame(b"x" * 100, NOW)
    with pytest.raises(RecordingError, match="No space left"):
        writer.close()
    assert writer._file.closed


# Replays


async def test_a_replay_repeats_the_live_run(tmp_path: Path) -> None:
    """Every event of a live session, with its instants, comes again from the recording."""

    async def send(connection: Any) -> None:
        await asyncio.sleep(0.05)
        for name in ("price_index", "ticker_perpetual", "test_request"):
            await connection.send(encoded(fixture(name)))
        await connection.send(b'{"broken')
        if len(venue.connections) == 1:
            await asyncio.sleep(0.05)
            await connection.close(1012, "restart")

    venue = SmallVenue(send)
    venue.instruments = listed(5)
    with RecordingWriter(tmp_path / "a", META) as writer:
        async with venue.running(), Watched(venue.url, tap=writer).running() as watched:
            await until(lambda: watched.count("live") == 2)
            await until(lambda: watched.adapter.counters["bad_frame"] == 2)
    adapter = Deribit()
    replayed: list[AnyEvent] = []
    for record in open_recording(tmp_path / "a"):
        replayed += apply_record(adapter, record)
    assert replayed == watched.events
    assert adapter.counters == watched.adapter.counters


def test_R07_secrets_are_not_recorded(tmp_path: Path) -> None:
    """Only what the venue sends is recorded, so a login frame of ours cannot be."""
    canary = "canary-7f3a"

    class LoggingIn(Deribit):
        def to_send(self, now: Instant) -> list[Any]:
            return [WsSend(f'{{"client_secret":"{canary}"}}', secret=True)] if super().to_send(now) else []

    async def main() -> None:
        venue = SmallVenue()
        venue._answer = lambda message: {"id": 1, "result": "ok"}  # type: ignore[method-assign]
        original = venue._handle

        with RecordingWriter(tmp_path / "a", META) as writer:

            async def lenient(connection: Any) -> None:
                async for text in connection:
                    seen.append(text)
                    await connection.send(encoded({"id": 1, "result": "ok", "testnet": False}))

            venue._handle = lenient  # type: ignore[method-assign]
            async with venue.running(), Watched(venue.url, adapter=LoggingIn(), tap=writer).running():
                await until(lambda: len(seen) >= 1)
                await asyncio.sleep(0.02)
            venue._handle = original  # type: ignore[method-assign]

    seen: list[str] = []
    asyncio.run(main())
    assert canary in seen[0], "it was sent"
    assert canary.encode() not in (tmp_path / "a").read_bytes()


def test_apply_record_calls_on_time_when_a_deadline_passed_between_frames() -> None:
    venue = Venue(Deribit(), fixture("instruments_btc")["result"])
    venue.open()
    expiry = 1_741_766_400 * NS_PER_SECOND
    late = NOW.plus(expiry - NOW.wall_ns)
    events = apply_record(venue.adapter, Frame(frame("heartbeat"), late))
    expired = [event for event in events if isinstance(event, InstrumentExpired)]
    assert len(expired) == 2, "two options expired on the way"
    assert apply_record(venue.adapter, PriceMark(late)) == apply_record(venue.adapter, Gap(0, 1)) == []


# cryptofeed's lines

LINES = b"""wss://www.deribit.com/ws/api/v2 <-> 1626993723.5
wss://www.deribit.com/ws/api/v2 <- 1626993723.7145221: {"jsonrpc":"2.0","id":0}

1626993723.8049479: {"a":1}
1626993724: {"b":"x: y <- z"}
"""


def test_cryptofeed_lines_become_records_with_exact_instants(tmp_path: Path) -> None:
    path = tmp_path / "DERIBIT.ws.1.0"
    path.write_bytes(LINES)
    recording = open_recording(path)
    assert recording.meta == {"venue": "deribit"}
    opened, first, second = recording
    assert opened == Opened(Instant(1626993723_500000000, 1626993723_500000000))
    assert first == Frame(b'{"a":1}', Instant(1626993723_804947900, 1626993723_804947900))
    assert second == Frame(b'{"b":"x: y <- z"}', Instant(1626993724_000000000, 1626993724_000000000))


@pytest.mark.parametrize("zipped", [False, True])
def test_rest_answers_beside_it_come_first(tmp_path: Path, zipped: bool) -> None:
    (tmp_path / "DERIBIT.ws.1.0").write_bytes(LINES)
    rest = b'https://www.deribit.com/api/v2/public/get_instruments?currency=BTC -> 1626993723.1: {"result":[]}\n'
    rest += b'configuration: {"trades":["BTC"]}\n'
    if zipped:
        (tmp_path / "DERIBIT.0.gz").write_bytes(gzip.compress(rest))
    else:
        (tmp_path / "DERIBIT.0").write_bytes(rest)
    first, second, *_ = open_recording(tmp_path / "DERIBIT.ws.1.0")
    assert first == Frame(b'{"result":[]}', Instant(1626993723_100000000, 1626993723_100000000))
    assert isinstance(second, Opened)


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "DERIBIT.ws.1.0"
    path.write_bytes(LINES + b"garbage\n")
    with pytest.raises(RecordingError, match=r"DERIBIT\.ws\.1\.0: line 6: not a line of cryptofeed: b'garbage'"):
        list(open_recording(path))
