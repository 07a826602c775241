"""The TCP proxy over real sockets: every fault of the path does what it says."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from pricer.simulator.faults import Fault, fault
from pricer.simulator.proxy import FaultProxy
from tests.waiting import PATIENCE_S

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Bench:
    """A server behind a proxy: `near` is a client's end of a connection, `far` the server's end of the same."""

    def __init__(self, proxy: FaultProxy, accepted: asyncio.Queue[Stream]) -> None:
        self.proxy = proxy
        self._accepted = accepted
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[Stream, Stream]:
        near = await asyncio.open_connection(self.proxy.host, self.proxy.port)
        far = await asyncio.wait_for(self._accepted.get(), PATIENCE_S)
        self._writers += [near[1], far[1]]
        return near, far

    def begin(self, name: str, **parameters: Any) -> Fault:
        each = fault(0.0, name, **parameters)
        self.proxy.path.begin(id(each), each)
        return each

    def end(self, each: Fault) -> None:
        self.proxy.path.end(id(each), each)

    async def close(self) -> None:
        while not self._accepted.empty():
            self._writers.append(self._accepted.get_nowait()[1])
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    accepted: asyncio.Queue[Stream] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        made = Bench(proxy, accepted)
        yield made
        await made.close()
    server.close()


async def read(stream: Stream, count: int, seconds: float = PATIENCE_S) -> bytes:
    return await asyncio.wait_for(stream[0].readexactly(count), seconds)


async def hears_nothing(stream: Stream, seconds: float) -> bool:
    """Neither bytes nor the end come."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stream[0].read(1), seconds)
        return False
    return True


async def timed(call: Awaitable[Any]) -> float:
    began = time.monotonic()
    await call
    return time.monotonic() - began


async def test_bytes_pass_both_ways_and_ends_are_passed_on(bench: Bench) -> None:
    near, far = await bench.connect()
    near[1].write(b"up" * 100_000)
    far[1].write(b"down")
    assert await read(far, 200_000) == b"up" * 100_000
    assert await read(near, 4) == b"down"
    far[1].close()
    assert await asyncio.wait_for(near[0].read(), PATIENCE_S) == b""
    assert bench.proxy.counters["bytes.up"] == 200_000


async def test_latency(bench: Bench) -> None:
    near, far = await bench.connect()
    slow = bench.begin("latency", seconds=0.15, jitter_s=0.05)
    near[1].write(b"x")
    assert await timed(read(far, 1)) >= 0.14
    far[1].write(b"x")
    assert await timed(read(near, 1)) >= 0.14
    bench.end(slow)
    times = []
    for _ in range(5):  # a busy machine may be late with some of them
        near[1].write(b"x")
        times.append(await timed(read(far, 1)))
    assert min(times) < 0.1


async def test_bandwidth_is_kept_within_a_fifth(bench: Bench) -> None:
    near, far = await bench.connect()
    bench.begin("bandwidth", bytes_per_s=100_000)
    for _ in range(5):  # a busy machine may be late, never early
        far[1].write(bytes(50_000))
        seconds = await timed(read(near, 50_000))
        assert seconds >= 0.4
        if seconds <= 0.6:
            return
    pytest.fail("it was always slower than that")


async def test_a_narrow_path_is_felt_by_the_sender(bench: Bench) -> None:
    _, far = await bench.connect()
    bench.begin("bandwidth", bytes_per_s=1_000)
    far[1].transport.set_write_buffer_limits(1)
    far[1].write(bytes(32_000_000))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(far[1].drain(), 0.5)


async def test_slices(bench: Bench) -> None:
    near, far = await bench.connect()
    bench.begin("slice", bytes=1)
    far[1].write(b"abcdefgh" * 20)
    pieces: list[bytes] = []
    while sum(map(len, pieces)) < 160:
        pieces.append(await asyncio.wait_for(near[0].read(1000), PATIENCE_S))
    assert b"".join(pieces) == b"abcdefgh" * 20
    assert len(pieces) > 20


@pytest.mark.parametrize(
    ("direction", "up", "down"), [("both", False, False), ("up", False, True), ("down", True, False)]
)
async def test_a_black_hole_swallows_bytes_and_ends(bench: Bench, direction: str, up: bool, down: bool) -> None:
    near, far = await bench.connect()
    hole = bench.begin("black_hole", direction=direction)
    near[1].write(b"x")
    far[1].write(b"x")
    assert await hears_nothing(far, PATIENCE_S if up else 0.2) is not up
    assert await hears_nothing(near, PATIENCE_S if down else 0.2) is not down
    far[1].close()
    assert await hears_nothing(near, PATIENCE_S if down else 0.2) is not down
    bench.end(hole)
    assert await asyncio.wait_for(near[0].read(), PATIENCE_S) == (b"" if down else b"x")


async def test_a_reset_is_a_reset_and_a_fin_is_none(bench: Bench) -> None:
    near, far = await bench.connect()
    bench.begin("reset")
    for reader, _ in (near, far):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(1), PATIENCE_S)
    near, far = await bench.connect()
    bench.begin("fin")
    for reader, _ in (near, far):
        assert await asyncio.wait_for(reader.read(1), PATIENCE_S) == b""


async def test_a_cut_comes_after_so_many_bytes(bench: Bench) -> None:
    near, far = await bench.connect()
    bench.begin("cut", bytes=1234)
    far[1].write(bytes(5000))
    assert len(await asyncio.wait_for(near[0].read(), PATIENCE_S)) == 1234


async def test_a_late_close(bench: Bench) -> None:
    near, far = await bench.connect()
    bench.begin("late_close", seconds=0.3)
    far[1].close()
    assert await timed(near[0].read()) >= 0.25


async def test_a_swizzle_holds_some_connections_and_frees_them_all(bench: Bench) -> None:
    pairs = [await bench.connect() for _ in range(8)]
    loop = asyncio.get_running_loop()
    bench.proxy.path.use_clock(lambda: loop.time() - 3.0)
    bench.begin("stall", share=0.7, for_s=6.0)  # all that will be held are by now, and they go on one by one
    for _, far in pairs:
        far[1].write(b"x")
    reading = [asyncio.create_task(read(near, 1)) for near, _ in pairs]
    free, held = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
    assert free
    assert held
    assert await asyncio.gather(*reading) == [b"x"] * 8


async def test_an_unreachable_venue_takes_no_connections(bench: Bench) -> None:
    bench.begin("unreachable")
    reader, writer = await asyncio.open_connection(bench.proxy.host, bench.proxy.port)
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), PATIENCE_S)
    writer.close()
    assert bench.proxy.counters["refused"] == 1


async def test_closing_leaves_no_task_behind(bench: Bench) -> None:
    before = asyncio.all_tasks()
    async with FaultProxy("127.0.0.1", bench.proxy.port) as second:
        reader, writer = await asyncio.open_connection(second.host, second.port)
        await asyncio.sleep(0.05)
    ours = {task for task in asyncio.all_tasks() - before if "_pass_on" in repr(task)}
    with contextlib.suppress(ConnectionResetError):
        await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    if ours:
        _, left = await asyncio.wait(ours, timeout=PATIENCE_S)
        assert left == set()
