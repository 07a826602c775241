"""The feed on real loopback sockets, with patience cut short; back-off figures on virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import struct
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from pricer.adapters.adapter import HttpGet, WsSend
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, UnderlyingPrice
from pricer.adapters.limits import FeedLimits
from pricer.adapters.transport import Connection, ConnectionLost
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError, ConnectError
from tests.adapters.deribit_frames import FIXED_CHANNELS, encoded, fixture
from tests.adapters.loopback import IMPATIENT, QUICK, Proxy, SmallVenue, Watch, listed
from tests.free_port import free_port
from tests.waiting import PATIENCE_S, until

NOWHERE = "ws://127.0.0.1:1/ws/api/v2"


pytestmark = pytest.mark.usefixtures("nothing_is_left_behind")


# Connecting


async def test_a_session_comes_up_and_goes_away(watch: Watch) -> None:
    venue = SmallVenue()
    venue.instruments = listed(3)
    async with venue.running(), watch(venue.url).running() as watched:
        await watched.feed.connected(PATIENCE_S)
        await until(lambda: watched.count("live") == 1)
        assert [each["method"] for each in venue.asked][:4] == [
            "public/set_heartbeat",
            "public/get_instruments",
            "public/subscribe",
            "public/get_instruments",
        ]
    assert [status.state for status in watched.statuses] == ["connecting", "open", "live", "closed"]
    assert watched.statuses[-1].reason == "shutdown"
    assert watched.feed.counters == {"attempts": 1, "connections": 1, "closed.shutdown": 1}


async def test_T01_refused_connections_are_retried_and_the_caller_is_told_at_its_own_deadline(watch: Watch) -> None:
    async with watch(NOWHERE).running() as watched:
        await until(lambda: watched.feed.counters["attempts"] >= 2)
        with pytest.raises(ConnectError, match=r"ws://127\.0\.0\.1:1/ws/api/v2 within 0\.1 s.*refused"):
            await asyncio.wait_for(watched.feed.connected(0.1), PATIENCE_S)
        attempts = watched.feed.counters["attempts"]
        await until(lambda: watched.feed.counters["attempts"] > attempts)
    assert {(loss.state, loss.reason) for loss in watched.losses} == {("closed", "refused")}


async def test_T01_a_server_that_comes_later_is_found(watch: Watch) -> None:
    venue = SmallVenue()
    venue.port = free_port()
    async with watch(venue.url).running() as watched:
        await until(lambda: watched.feed.counters["attempts"] >= 2)
        async with venue.running(port=venue.port):
            await watched.feed.connected(PATIENCE_S)


@pytest.mark.parametrize(
    ("status", "word"), [(429, "rate_limited"), (418, "banned"), (403, "banned"), (503, "http_5xx")]
)
async def test_W04_no_attempt_before_what_a_refusal_asks_for(watch: Watch, status: int, word: str) -> None:
    def busy(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(status, "no\n")
        response.headers["Retry-After"] = "3600"
        return response

    venue = SmallVenue()
    async with serve(venue._handle, "127.0.0.1", 0, process_request=busy) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with watch(url).running() as watched:
            await until(lambda: bool(watched.losses))
            await asyncio.sleep(0.4)
            assert watched.feed.counters["attempts"] == 1
            assert (watched.losses[0].reason, watched.losses[0].detail) == (word, f"HTTP {status}")


async def test_a_name_that_does_not_resolve_is_said_so(watch: Watch) -> None:
    async with watch("ws://no-such-host.invalid/ws").running() as watched:
        await until(lambda: bool(watched.losses))
        assert watched.losses[0].reason == "dns"


async def test_W03_a_handshake_that_never_ends_is_bounded(watch: Watch) -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    limits = FeedLimits(open_timeout_s=0.1, backoff_first_s=0.05)
    async with server, watch(url, limits=limits).running() as watched:
        await until(lambda: watched.count("closed") >= 1)
        assert watched.losses[0].reason == "timeout"


@pytest.mark.parametrize("url", ["http://localhost/", "localhost:80", "", "ws://", "wss:///path"])
def test_an_impossible_address_is_refused_at_once(url: str, watch: Watch) -> None:
    with pytest.raises(ConfigError, match="url"):
        watch(url)


@pytest.mark.parametrize("limits", [{"max_queue": 0}, {"ping_interval_s": -1.0}, {"open_timeout_s": float("nan")}])
def test_impossible_limits_are_refused_by_name(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limits))):
        FeedLimits(**limits)


# Losing a connection


async def test_T02_a_reset_is_told_at_once_and_everything_subscribed_again(watch: Watch, transport_name: str) -> None:
    venue = SmallVenue()
    venue.instruments = listed(300)
    async with venue.running(), Proxy(venue.port) as proxy, watch(proxy.url).running() as watched:
        await until(lambda: watched.count("live") == 1)
        proxy.reset()
        await until(lambda: watched.count("closed") == 1)
        # And not a timeout. picows does not say how a stream ended.
        assert watched.losses[-1].reason == ("reset" if transport_name == "websockets" else "eof")
        await until(lambda: watched.count("live") == 2)
        by_session = [each["params"]["channels"] for each in venue.asked if each["method"] == "public/subscribe"]
        names = [name for channels in by_session for name in channels]
        assert len(names) == 2 * (300 + len(FIXED_CHANNELS))
        assert set(names[: len(names) // 2]) == set(names[len(names) // 2 :])


@pytest.mark.parametrize(("code", "word"), [(1000, "closed_normal"), (1012, "closed_restart"), (4999, "closed_other")])
async def test_T03_a_close_is_told_with_its_code_as_a_bounded_word(code: int, word: str, watch: Watch) -> None:
    async def leave(connection: ServerConnection) -> None:
        if len(venue.connections) == 1:
            await asyncio.sleep(0.05)
            await connection.close(code, "because\nof \x1b[31mthat")

    venue = SmallVenue(leave)
    async with venue.running(), watch(venue.url).running() as watched:
        await until(lambda: watched.count("closed") == 1)
        (closed,) = watched.losses
        assert closed.reason == word
        assert closed.detail == f"{code} because\\nof \\x1b[31mthat"
        assert watched.feed.counters[f"closed.{word}"] == 1
        await until(lambda: watched.count("open") == 2)


async def test_T03_a_fin_without_a_close_frame_is_told(watch: Watch) -> None:
    async def vanish(connection: ServerConnection) -> None:
        if len(venue.connections) == 1:
            await asyncio.sleep(0.05)
            connection.transport.close()

    venue = SmallVenue(vanish)
    async with venue.running(), watch(venue.url).running() as watched:
        await until(lambda: watched.count("closed") == 1)
        assert watched.losses[-1].reason == "eof"
        await until(lambda: watched.count("open") == 2)


async def test_T04_half_open(watch: Watch) -> None:
    venue = SmallVenue()
    async with (
        venue.running(),
        Proxy(venue.port) as proxy,
        watch(proxy.url, limits=IMPATIENT).running() as watched,
    ):
        await until(lambda: watched.count("live") == 1)
        await asyncio.sleep(IMPATIENT.ping_interval_s + IMPATIENT.ping_timeout_s + 0.1)
        assert watched.count("closed") == 0, "answered pings keep it"
        proxy.black_hole()
        await until(lambda: watched.count("closed") == 1)
        assert watched.losses[-1].reason == "ping_timeout"
        proxy.heal()
        await until(lambda: watched.count("live") == 2)


async def test_T05_what_cannot_be_sent_is_bounded_and_noticed_though_data_arrives(watch: Watch) -> None:
    async def quote(connection: ServerConnection) -> None:
        while True:
            await connection.send(encoded(price(1.0)))
            await asyncio.sleep(0.005)

    venue = SmallVenue(quote)
    async with (
        venue.running(),
        Proxy(venue.port) as proxy,
        watch(proxy.url, limits=IMPATIENT).running() as watched,
    ):
        await until(lambda: watched.count("live") == 1)
        proxy.drop_upstream()
        before = len(watched.events)
        await until(lambda: watched.count("closed") == 1)
        assert watched.losses[0].reason == "ping_timeout"
        assert len(watched.events) > before + 5, "data went on coming"


async def test_T05_an_adapter_that_owes_more_than_a_mebibyte_is_given_up(watch: Watch) -> None:
    class Talkative(Deribit):
        """Has ever more to say to a venue that does not read."""

        def to_send(self, now: Instant) -> list[Any]:
            sends: list[Any] = super().to_send(now)
            return [*sends, *[WsSend("x" * 30_000)] * 12] if sends else sends

    async def deaf(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        while True:
            await connection.send(encoded(fixture("test_request")))  # which the adapter has to answer
            await asyncio.sleep(0.01)

    venue = SmallVenue(deaf)
    async with venue.running(), watch(venue.url, adapter=Talkative()).running() as watched:
        await until(lambda: watched.count("closed") == 1)
        assert watched.losses[0].reason == "outbox_full"


async def test_T05_a_ping_flood_at_a_venue_that_does_not_read_costs_no_memory(watch: Watch) -> None:
    async def flood(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        payload = b"\x89\x7d" + b"p" * 125
        for _ in range(400):
            connection.transport.write(payload * 200)
            await until(lambda: connection.transport.get_write_buffer_size() <= 2**20)
        await connection.send(encoded(price(1.0)))

    def unsent() -> int:
        """What the transport holds of ours; each of the two keeps it elsewhere."""
        connection: Any = watched.feed._current.connection
        if connection is None:
            return 0
        inner = connection._socket.transport if hasattr(connection, "_socket") else None
        return int((inner or connection.transport.underlying_transport).get_write_buffer_size())

    venue = SmallVenue(flood)
    limits = replace(QUICK, ping_interval_s=30.0)
    async with venue.running(), watch(venue.url, limits=limits).running() as watched:
        held: list[int] = []

        def is_over() -> bool:
            held.append(unsent())
            return watched.count("closed") == 1 or any(map(is_price, watched.events))

        await until(is_over)
    assert max(held) <= limits.max_outbox_bytes + 65_536 + 4096, "the limit, and the pongs of one read at most"


async def test_T09_bytes_in_pieces_give_the_same_events(watch: Watch) -> None:
    async def session(*, sliced: bool) -> list[AnyEvent]:
        async def send(connection: ServerConnection) -> None:
            for number in range(1, 20):
                await connection.send(encoded(price(float(number))))

        venue = SmallVenue(send)
        async with venue.running(), Proxy(venue.port) as proxy:
            if sliced:
                proxy.slice()
            async with watch(proxy.url).running() as watched:
                await until(lambda: sum(map(is_price, watched.events)) == 19 and watched.count("live") == 1)
                return [msgspec.structs.replace(event, received=Instant(0, 0)) for event in watched.events]

    whole, sliced = await session(sliced=False), await session(sliced=True)
    assert [event for event in sliced if is_price(event)] == [event for event in whole if is_price(event)]
    assert sorted(map(repr, sliced)) == sorted(map(repr, whole))


def test_T04_the_default_patience_is_ten_seconds_and_five() -> None:
    assert (FeedLimits().ping_interval_s, FeedLimits().ping_timeout_s) == (10.0, 5.0)


async def test_T04_a_venue_that_falls_silent_is_given_up_by_its_heartbeat(watch: Watch) -> None:
    adapter = Deribit()
    adapter._link._patience_ns = 150_000_000  # seconds counted as hundredths
    venue = SmallVenue()
    limits = FeedLimits(backoff_first_s=0.05)
    async with venue.running(), watch(venue.url, adapter=adapter, limits=limits).running() as watched:
        await until(lambda: watched.count("closed") >= 1)
        assert watched.losses[0].reason == "heartbeat_lost"
        await until(lambda: watched.count("open") >= 2)


async def test_W01_an_oversize_message_closes_the_connection_and_costs_no_memory(watch: Watch) -> None:
    async def flood(connection: ServerConnection) -> None:
        """A text frame of 64 MiB, written piece by piece so that the sender itself needs no memory for it."""
        if len(venue.connections) > 1:
            return
        await asyncio.sleep(0.05)
        connection.transport.write(struct.pack(">BBQ", 0x81, 127, 64 * 2**20))
        for _ in range(1024):
            connection.transport.write(b" " * 65536)
            await until(lambda: connection.transport.get_write_buffer_size() <= 2**20)

    venue = SmallVenue(flood)
    async with venue.running(), watch(venue.url).running() as watched:
        await until(lambda: watched.count("open") == 1)
        tracemalloc.start()
        try:
            await until(lambda: watched.count("closed") == 1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert watched.losses[-1].reason == "oversize"
        await until(lambda: watched.count("open") == 2)
    assert peak < 32 * 2**20


async def test_W05_a_frame_right_behind_the_upgrade_is_not_lost(watch: Watch) -> None:
    async def greet(connection: ServerConnection) -> None:
        await connection.send(encoded(price(1.0)))

    venue = SmallVenue(greet)
    async with venue.running(), watch(venue.url).running() as watched:
        await until(lambda: any(isinstance(event, UnderlyingPrice) for event in watched.events))


async def test_W07_text_that_is_no_utf8_is_counted_and_the_connection_kept(watch: Watch) -> None:
    async def garble(connection: ServerConnection) -> None:
        await connection.send(b"\xff\xfe\x00", text=True)
        await connection.send(encoded(price(1.0)))

    venue = SmallVenue(garble)
    async with venue.running(), watch(venue.url).running() as watched:
        await until(lambda: any(isinstance(event, UnderlyingPrice) for event in watched.events))
        assert watched.adapter.counters["bad_frame"] == 1
        assert watched.count("closed") == 0


async def test_W07_many_such_in_a_row_are_a_broken_stream(watch: Watch) -> None:
    async def garble(connection: ServerConnection) -> None:
        for number in range(40):
            # One that can be read among nineteen that cannot: that goes on for ever.
            good = len(venue.connections) > 1 and number % 20 == 19
            await connection.send(encoded(price(1.0)) if good else b"\xff\xfe", text=True)

    venue = SmallVenue(garble)
    async with venue.running(), watch(venue.url).running() as watched:
        await until(lambda: watched.count("closed") == 1)
        assert watched.losses[0].reason == "bad_frames"
        await until(lambda: watched.adapter.counters["bad_frame"] >= 20 + 38)
        assert watched.count("closed") == 1


async def test_W08_a_ping_flood_delays_no_data_and_keeps_no_silent_connection(watch: Watch) -> None:
    async def flood(connection: ServerConnection) -> None:
        for number in itertools.count():
            connection.transport.write(b"\x89\x04ping")
            if number % 100 == 0:
                if number < 2500 and len(venue.connections) == 1:
                    await connection.send(encoded(price(1.0 + number)))
                await asyncio.sleep(0.01)

    venue = SmallVenue(flood)
    limits = replace(QUICK, idle_timeout_s=20.0, ping_interval_s=0.05)
    async with venue.running(), watch(venue.url, limits=limits).running() as watched:

        def prices() -> list[float]:
            return [event.price for event in watched.events if isinstance(event, UnderlyingPrice)]

        await until(lambda: len(prices()) == 25 and watched.count("live") == 1)
        watched.clock.ahead_ns = 10 * NS_PER_SECOND
        await asyncio.sleep(0.2)  # pings and pongs both ways
        watched.clock.ahead_ns = 20 * NS_PER_SECOND
        await until(lambda: watched.count("closed") == 1)
        assert prices() == [1.0 + number for number in range(0, 2500, 100)]
        assert watched.losses[0].reason == "idle"


async def test_W09_a_ping_of_the_venue_waits_for_the_work_before_it_and_for_none_behind_it(watch: Watch) -> None:
    """So the pong is late by what stands before the ping in the stream; the wall-clock figure is a benchmark's."""
    computed: list[Instant] = []
    computed_by_then: list[int] = []

    async def ask(connection: ServerConnection) -> None:
        await connection.send(encoded(price(1.0)))
        pong = await connection.ping()
        for _ in range(600):
            await connection.send(encoded(price(1.0)))
        await pong
        computed_by_then.append(len(computed))

    def compute(events: list[AnyEvent], now: Instant) -> None:
        until_s = time.perf_counter() + 0.001
        while time.perf_counter() < until_s:
            pass
        computed.append(now)

    venue = SmallVenue(ask)
    async with venue.running(), watch(venue.url, deliver=compute).running():
        await until(lambda: len(computed) >= 600)
    assert computed_by_then[0] <= 300


@pytest.mark.parametrize(("code", "shortest_s"), [(1013, 5.0), (1012, 0.0)])
async def test_W10_what_a_goodbye_asks_for_is_waited(watch: Watch, code: int, shortest_s: float) -> None:
    async def leave(connection: ServerConnection) -> None:
        await asyncio.sleep(0.02)
        await connection.close(code, "")

    venue = SmallVenue(leave)
    limits = replace(QUICK, try_later_s=0.4)  # of 5 s, which test_backoff asserts
    async with venue.running(), watch(venue.url, limits=limits).running() as watched:
        await until(lambda: watched.count("open") >= 2)
        lost, again = watched.losses[0], [each for each in watched.statuses if each.state == "open"][1]
    # Without such a wish it is the first back-off, which a busy machine may well draw out: that has no bound here.
    assert again.received.mono_ns - lost.received.mono_ns >= (400_000_000 if shortest_s else 0)


async def test_P06_test_request_is_answered_over_the_socket(watch: Watch) -> None:
    async def ask(connection: ServerConnection) -> None:
        await connection.send(encoded(fixture("test_request")))

    venue = SmallVenue(ask)
    async with venue.running(), watch(venue.url).running():
        await until(lambda: any(each["method"] == "public/test" for each in venue.asked))


# Handing over


def is_price(event: AnyEvent) -> bool:
    return isinstance(event, UnderlyingPrice)


def price(value: float) -> dict[str, Any]:
    message = fixture("price_index")
    assert isinstance(message, dict)
    message["params"]["data"]["price"] = value
    return message


async def test_waiting_frames_are_handed_over_in_order_and_the_loop_gets_its_turn(watch: Watch) -> None:
    count = 3000

    async def burst(connection: ServerConnection) -> None:
        for number in range(1, count + 1):
            await connection.send(encoded(price(float(number))))

    turns: list[int] = []
    seen: list[float] = []
    instants: list[Instant] = []

    def deliver(events: list[AnyEvent], now: Instant) -> None:
        prices = [event.price for event in events if isinstance(event, UnderlyingPrice)]
        if prices and (not turns or turns[-1] != 0):
            turns.append(0)
            asyncio.get_running_loop().call_soon(lambda: turns.append(-1))
        for each in prices:
            instants.append(now)
            seen.append(each)
            batches[-1 if turns[-1] == 0 else 0] += 1

    batches = [0]
    venue = SmallVenue(burst)
    async with venue.running(), watch(venue.url, deliver=deliver).running():
        await until(lambda: len(seen) == count)
    assert seen == [float(number) for number in range(1, count + 1)]
    assert instants == sorted(instants)
    assert turns.count(-1) >= count // 64, "the loop's turn comes at least every 64 frames"


async def test_each_frame_is_stamped_once_and_the_taps_see_it(watch: Watch) -> None:
    frames: list[tuple[bytes | str, Instant]] = []
    delivered: list[Instant] = []

    async def send(connection: ServerConnection) -> None:
        await connection.send(encoded(price(5.0)))

    def deliver(events: list[AnyEvent], now: Instant) -> None:
        delivered.extend(event.received for event in events if isinstance(event, UnderlyingPrice))

    def on_frame(data: bytes | str, now: Instant) -> None:
        frames.append((data, now))

    venue = SmallVenue(send)
    async with venue.running(), watch(venue.url, deliver=deliver, on_frame=on_frame).running():
        await until(lambda: bool(delivered))
    (stamp,) = [now for data, now in frames if data == encoded(price(5.0))]
    assert delivered == [stamp]


@pytest.mark.parametrize("where", ["deliver", "tap"])
async def test_E08_an_error_of_the_consumer_reaches_the_caller_of_run(where: str, watch: Watch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    venue = SmallVenue()
    async with venue.running():
        more: dict[str, Any] = {"deliver": fail} if where == "deliver" else {"on_frame": fail}
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(watch(venue.url, **more).feed.run(), PATIENCE_S)


# Over HTTP


class Wanting(Deribit):
    """Asks over HTTP once, and keeps what comes."""

    path = "/api/v2/public/get_time"

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes | str] = []
        self._asked = False

    def to_send(self, now: Instant) -> list[Any]:
        sends: list[Any] = super().to_send(now)
        if not self._asked and sends:
            self._asked = True
            sends.append(HttpGet(self.path))
        return sends

    def receive(self, frame: bytes | str, now: Instant) -> list[AnyEvent]:
        self.bodies.append(frame)
        return super().receive(frame, now)


@contextlib.asynccontextmanager
async def answering(response_of: Callable[[ServerConnection], Response]) -> AsyncIterator[SmallVenue]:
    """A venue that answers plain requests, too."""

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        return None if "Upgrade" in request.headers else response_of(connection)

    venue = SmallVenue()
    async with serve(venue._handle, "127.0.0.1", 0, process_request=answer) as server:
        venue.port = next(iter(server.sockets)).getsockname()[1]
        yield venue


async def test_what_is_asked_over_http_is_received_like_a_frame(watch: Watch) -> None:
    body = b'{"jsonrpc":"2.0","result":1741731610450}'
    taken: list[bytes | str] = []
    adapter = Wanting()
    async with (
        answering(lambda connection: connection.respond(200, body.decode())) as venue,
        watch(venue.url, adapter=adapter, on_frame=lambda data, now: taken.append(data)).running() as watched,
    ):
        await until(lambda: body in adapter.bodies)
        assert watched.feed.counters["http_gets"] == 1
    assert body in taken, "so a recorder has it, too"


@pytest.mark.parametrize(("status", "word"), [(302, "http_3xx"), (404, "http_4xx"), (200, "oversize")])
async def test_what_cannot_be_fetched_is_counted_and_costs_nothing_else(watch: Watch, status: int, word: str) -> None:
    def refuse(connection: ServerConnection) -> Response:
        response = connection.respond(status, "x" * 5000)
        response.headers["Location"] = "/elsewhere"
        return response

    limits = replace(QUICK, max_http_bytes=4096)
    async with answering(refuse) as venue, watch(venue.url, adapter=Wanting(), limits=limits).running() as watched:
        await until(lambda: watched.feed.counters[f"http_failed.{word}"] == 1)
        assert watched.feed.counters["http_gets"] == 1, "a redirect is not followed"
        assert watched.losses == []


# Ending


@pytest.mark.parametrize("state", ["unstarted", "connecting", "backoff", "open"])
async def test_E11_close_ends_quickly_from_any_state(state: str, watch: Watch) -> None:
    class Stuck:
        async def connect(self, url: str) -> Connection:
            await asyncio.sleep(3600)
            raise ConnectionLost("never")

    venue = SmallVenue()
    async with venue.running():
        watched = watch(
            venue.url if state == "open" else NOWHERE,
            transport=Stuck() if state == "connecting" else None,
            limits=FeedLimits() if state == "backoff" else QUICK,
        )
        if state == "unstarted":
            await watched.feed.close()
            await asyncio.wait_for(watched.feed.run(), PATIENCE_S)
            return
        task = asyncio.create_task(watched.feed.run())
        if state == "open":
            await watched.feed.connected(PATIENCE_S)
        else:
            await until(lambda: watched.count("closed" if state == "backoff" else "connecting") > 0)
        async with asyncio.timeout(PATIENCE_S):  # one that does not end waits an hour for its connection
            await watched.feed.close()
            await task


async def test_E11_close_ends_even_when_the_peer_does_not_answer_any_more(watch: Watch) -> None:
    venue = SmallVenue()
    limits = FeedLimits(close_timeout_s=0.2, ping_interval_s=600.0)  # so that no ping ends it instead
    async with venue.running(), Proxy(venue.port) as proxy:
        watched = watch(proxy.url, limits=limits)
        task = asyncio.create_task(watched.feed.run())
        await watched.feed.connected(PATIENCE_S)
        proxy.black_hole()
        async with asyncio.timeout(PATIENCE_S):
            await watched.feed.close()
            await task


async def test_E11_a_cancelled_run_leaves_nothing_behind(watch: Watch) -> None:
    venue = SmallVenue()
    async with venue.running():
        watched = watch(venue.url)
        task = asyncio.create_task(watched.feed.run())
        await watched.feed.connected(PATIENCE_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not venue.connections[0].transport or venue.connections[0].close_code is not None)


async def test_a_feed_runs_once(watch: Watch) -> None:
    async with watch(NOWHERE).running() as watched:
        await until(lambda: watched.feed.counters["attempts"] > 0)
        with pytest.raises(RuntimeError, match="running already"):
            await watched.feed.run()
