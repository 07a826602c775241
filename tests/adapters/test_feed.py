"""The feed on real loopback sockets, with patience cut short; back-off figures on virtual time."""

from __future__ import annotations

import asyncio
import gc
import inspect
import random
import shutil
import ssl
import struct
import subprocess
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from pricer.adapters.adapter import HttpGet
from pricer.adapters.deribit import Deribit
from pricer.adapters.events import AnyEvent, UnderlyingPrice
from pricer.adapters.feed import Backoff, Connection, ConnectionLost, Feed, FeedLimits, WebSocketTransport
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import ConfigError, ConnectError, ProtocolError
from tests.adapters.deribit_frames import encoded, fixture
from tests.adapters.loopback import QUICK, Proxy, SmallVenue, Watched, listed, until

NOWHERE = "ws://127.0.0.1:1/ws/api/v2"


@pytest.fixture(autouse=True)
async def nothing_is_left_behind() -> Any:
    """FAULTS I9 after every test here: no task, no transport."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    await asyncio.sleep(0.02)
    left = {task for task in left if not task.done()}
    assert not left, left
    gc.collect()  # an unclosed transport would warn here, and warnings are errors


# Connecting


async def test_a_session_comes_up_and_goes_away() -> None:
    venue = SmallVenue()
    venue.instruments = listed(3)
    async with venue.running(), Watched(venue.url).running() as watched:
        await watched.feed.connected(2)
        await until(lambda: watched.count("live") == 1)
        assert [each["method"] for each in venue.asked][:3] == [
            "public/set_heartbeat",
            "public/get_instruments",
            "public/subscribe",
        ]
    assert [status.state for status in watched.statuses] == ["open", "live", "closed"]
    assert watched.statuses[-1].reason == "shutdown"
    assert watched.feed.counters == {"attempts": 1, "connections": 1, "closed.shutdown": 1}


async def test_T01_refused_connections_are_retried_and_the_caller_is_told_at_its_own_deadline() -> None:
    async with Watched(NOWHERE).running() as watched:
        started = time.monotonic()
        with pytest.raises(ConnectError, match=r"ws://127\.0\.0\.1:1/ws/api/v2 within 0\.4 s.*refused"):
            await watched.feed.connected(0.4)
        assert time.monotonic() - started < 0.8
        assert watched.feed.counters["attempts"] >= 2
        attempts = watched.feed.counters["attempts"]
        await until(lambda: watched.feed.counters["attempts"] > attempts)
    assert {(status.state, status.reason) for status in watched.statuses} == {("closed", "refused")}


async def test_T01_a_server_that_comes_later_is_found() -> None:
    venue = SmallVenue()
    async with venue.running():
        port = venue.port
    async with Watched(venue.url).running() as watched:
        await until(lambda: watched.feed.counters["attempts"] >= 2)
        async with venue.running(port=port):
            await watched.feed.connected(2)


def delays(rng: random.Random, uptimes_s: list[float]) -> list[float]:
    """The waits after connections that stood so long; 0 is one that was refused."""
    limits = FeedLimits()
    it = Backoff(rng, first_s=limits.backoff_first_s, cap_s=limits.backoff_cap_s, stable_s=limits.stable_s)
    now_ns, found = 0, []
    for uptime_s in uptimes_s:
        if uptime_s > 0:
            it.opened(now_ns)
        now_ns += int(uptime_s * NS_PER_SECOND)
        found.append(it.next_delay_s(now_ns))
        now_ns += int(found[-1] * NS_PER_SECOND)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_T01_the_first_retry_is_quick_the_longest_bounded_and_none_too_often(seed: int) -> None:
    found = delays(random.Random(seed), [0.0] * 60)
    assert found[0] <= 1.0
    assert max(found) <= 30.0
    assert max(found[8:]) > 15.0
    assert 60 / sum(found) <= 1.0, "attempts per second, sustained"
    assert found == delays(random.Random(seed), [0.0] * 60)


def test_T11_a_flapping_connection_is_tried_ever_more_rarely() -> None:
    found = delays(random.Random(3), [3.0] * 40)
    assert sum(found[10:]) / 30 > 10.0


def test_T11_a_stable_connection_resets_the_back_off() -> None:
    found = delays(random.Random(3), [3.0] * 10 + [9.0, 11.0])
    assert found[-1] <= 0.5
    assert max(delays(random.Random(seed), [3.0] * 10 + [9.0])[-1] for seed in range(20)) > 0.5


def test_T02_a_drop_after_an_outage_is_retried_at_once() -> None:
    for seed in range(20):
        assert delays(random.Random(seed), [0.0] * 6 + [3.0])[-1] <= 0.5


async def test_a_retry_after_is_honoured() -> None:
    def busy(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(429, "too many\n")
        response.headers["Retry-After"] = "3600"
        return response

    venue = SmallVenue()
    async with serve(venue._handle, "127.0.0.1", 0, process_request=busy) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
        async with Watched(url).running() as watched:
            await until(lambda: bool(watched.statuses))
            await asyncio.sleep(0.4)
            assert watched.feed.counters["attempts"] == 1
            assert (watched.statuses[0].reason, watched.statuses[0].detail) == ("http_4xx", "HTTP 429")


async def test_a_name_that_does_not_resolve_is_said_so() -> None:
    async with Watched("ws://no-such-host.invalid/ws").running() as watched:
        await until(lambda: bool(watched.statuses), 8)
        assert watched.statuses[0].reason in ("dns", "network")


async def test_W03_a_handshake_that_never_ends_is_bounded() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    limits = FeedLimits(open_timeout_s=0.1, backoff_first_s=0.05)
    async with server, Watched(url, limits=limits).running() as watched:
        await until(lambda: watched.count("closed") >= 1)
        assert watched.statuses[0].reason == "timeout"


@pytest.mark.parametrize("url", ["http://localhost/", "localhost:80", "", "ws://", "wss:///path"])
def test_an_impossible_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="url"):
        Watched(url)


@pytest.mark.parametrize("limits", [{"max_queue": 0}, {"ping_interval_s": -1.0}, {"open_timeout_s": float("nan")}])
def test_impossible_limits_are_refused_by_name(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(limits))):
        FeedLimits(**limits)


# Losing a connection


async def test_T02_a_reset_is_told_at_once_and_everything_subscribed_again() -> None:
    venue = SmallVenue()
    venue.instruments = listed(300)
    async with venue.running(), Proxy(venue.port).running() as proxy, Watched(proxy.url).running() as watched:
        await until(lambda: watched.count("live") == 1)
        proxy.reset()
        reset_at = time.monotonic()
        await until(lambda: watched.count("closed") == 1)
        assert time.monotonic() - reset_at < 0.1
        assert watched.statuses[-1].reason == "reset"
        await until(lambda: watched.count("live") == 2)
        assert time.monotonic() - reset_at < 3.0
        by_session = [each["params"]["channels"] for each in venue.asked if each["method"] == "public/subscribe"]
        names = [name for channels in by_session for name in channels]
        assert len(names) == 2 * (300 + 4)
        assert set(names[:304]) == set(names[304:])


@pytest.mark.parametrize(("code", "word"), [(1000, "closed_normal"), (1012, "closed_restart"), (4999, "closed_other")])
async def test_T03_a_close_is_told_with_its_code_as_a_bounded_word(code: int, word: str) -> None:
    async def leave(connection: ServerConnection) -> None:
        if len(venue.connections) == 1:
            await asyncio.sleep(0.05)
            await connection.close(code, "because\nof \x1b[31mthat")

    venue = SmallVenue(leave)
    async with venue.running(), Watched(venue.url).running() as watched:
        await until(lambda: watched.count("closed") == 1)
        closed = watched.statuses[-1]
        assert closed.reason == word
        assert closed.detail == f"{code} because\\nof \\x1b[31mthat"
        assert watched.feed.counters[f"closed.{word}"] == 1
        await until(lambda: watched.count("open") == 2)


async def test_T03_a_fin_without_a_close_frame_is_told() -> None:
    async def vanish(connection: ServerConnection) -> None:
        if len(venue.connections) == 1:
            await asyncio.sleep(0.05)
            connection.transport.close()

    venue = SmallVenue(vanish)
    async with venue.running(), Watched(venue.url).running() as watched:
        await until(lambda: watched.count("closed") == 1)
        assert watched.statuses[-1].reason == "eof"
        await until(lambda: watched.count("open") == 2)


async def test_T04_half_open() -> None:
    venue = SmallVenue()
    async with venue.running(), Proxy(venue.port).running() as proxy, Watched(proxy.url).running() as watched:
        await until(lambda: watched.count("live") == 1)
        await asyncio.sleep(0.25)
        assert watched.count("closed") == 0, "answered pings keep it"
        proxy.black_hole()
        lost_at = time.monotonic()
        await until(lambda: watched.count("closed") == 1)
        bound = QUICK.ping_interval_s + QUICK.ping_timeout_s
        assert time.monotonic() - lost_at < bound + 0.2
        assert watched.statuses[-1].reason == "ping_timeout"
        proxy.heal()
        await until(lambda: watched.count("live") == 2)


def test_T04_the_default_patience_is_ten_seconds_and_five() -> None:
    assert (FeedLimits().ping_interval_s, FeedLimits().ping_timeout_s) == (10.0, 5.0)


async def test_T04_a_venue_that_falls_silent_is_given_up_by_its_heartbeat() -> None:
    class Impatient(Deribit):
        """Counts seconds as hundredths."""

        @property
        def _silent_at_ns(self) -> int:
            return self._last_frame_ns + 150_000_000

    venue = SmallVenue()
    limits = FeedLimits(backoff_first_s=0.05)
    async with venue.running(), Watched(venue.url, adapter=Impatient(), limits=limits).running() as watched:
        await until(lambda: watched.count("closed") == 1)
        assert watched.statuses[-1].reason == "heartbeat_lost"
        await until(lambda: watched.count("open") == 2)


async def test_W01_an_oversize_message_closes_the_connection_and_costs_no_memory() -> None:
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
    async with venue.running(), Watched(venue.url).running() as watched:
        await until(lambda: watched.count("open") == 1)
        tracemalloc.start()
        try:
            await until(lambda: watched.count("closed") == 1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert watched.statuses[-1].reason == "oversize"
        await until(lambda: watched.count("open") == 2)
    assert peak < 32 * 2**20


async def test_W05_a_frame_right_behind_the_upgrade_is_not_lost() -> None:
    async def greet(connection: ServerConnection) -> None:
        await connection.send(encoded(price(1.0)))

    venue = SmallVenue(greet)
    async with venue.running(), Watched(venue.url).running() as watched:
        await until(lambda: any(isinstance(event, UnderlyingPrice) for event in watched.events))


async def test_W07_text_that_is_no_utf8_is_counted_and_the_connection_kept() -> None:
    async def garble(connection: ServerConnection) -> None:
        await connection.send(b"\xff\xfe\x00", text=True)
        await connection.send(encoded(price(1.0)))

    venue = SmallVenue(garble)
    async with venue.running(), Watched(venue.url).running() as watched:
        await until(lambda: any(isinstance(event, UnderlyingPrice) for event in watched.events))
        assert watched.adapter.counters["bad_frame"] == 1
        assert watched.count("closed") == 0


async def test_P06_test_request_is_answered_over_the_socket() -> None:
    async def ask(connection: ServerConnection) -> None:
        await connection.send(encoded(fixture("test_request")))

    venue = SmallVenue(ask)
    async with venue.running(), Watched(venue.url).running():
        await until(lambda: any(each["method"] == "public/test" for each in venue.asked), 1.0)


# Handing over


def price(value: float) -> dict[str, Any]:
    message = fixture("price_index")
    assert isinstance(message, dict)
    message["params"]["data"]["price"] = value
    return message


async def test_waiting_frames_are_handed_over_in_order_and_the_loop_gets_its_turn() -> None:
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
    async with venue.running(), Watched(venue.url, deliver=deliver).running():
        await until(lambda: len(seen) == count, 10)
    assert seen == [float(number) for number in range(1, count + 1)]
    assert instants == sorted(instants)
    assert turns.count(-1) >= count // 64, "the loop's turn comes at least every 64 frames"


async def test_each_frame_is_stamped_once_and_the_taps_see_it() -> None:
    frames: list[tuple[bytes | str, Instant]] = []
    delivered: list[Instant] = []

    async def send(connection: ServerConnection) -> None:
        await connection.send(encoded(price(5.0)))

    def deliver(events: list[AnyEvent], now: Instant) -> None:
        delivered.extend(event.received for event in events if isinstance(event, UnderlyingPrice))

    def on_frame(data: bytes | str, now: Instant) -> None:
        frames.append((data, now))

    venue = SmallVenue(send)
    async with venue.running(), Watched(venue.url, deliver=deliver, on_frame=on_frame).running():
        await until(lambda: bool(delivered))
    (stamp,) = [now for data, now in frames if data == encoded(price(5.0))]
    assert delivered == [stamp]


@pytest.mark.parametrize("where", ["deliver", "tap"])
async def test_E08_an_error_of_the_consumer_reaches_the_caller_of_run(where: str) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    venue = SmallVenue()
    async with venue.running():
        more: dict[str, Any] = {"deliver": fail} if where == "deliver" else {"on_frame": fail}
        with pytest.raises(ZeroDivisionError):
            await asyncio.wait_for(Watched(venue.url, **more).feed.run(), 3)


async def test_a_request_over_http_is_refused_clearly() -> None:
    class Wants(Deribit):
        def to_send(self, now: Instant) -> list[Any]:
            return [HttpGet("/api/v2/public/get_time")]

    venue = SmallVenue()
    async with venue.running():
        with pytest.raises(ProtocolError, match="get_time"):
            await asyncio.wait_for(Watched(venue.url, adapter=Wants()).feed.run(), 3)


# Ending


@pytest.mark.parametrize("state", ["unstarted", "connecting", "backoff", "open"])
async def test_E11_close_ends_quickly_from_any_state(state: str) -> None:
    class Stuck:
        async def connect(self, url: str) -> Connection:
            await asyncio.sleep(3600)
            raise ConnectionLost("never")

    venue = SmallVenue()
    async with venue.running():
        watched = Watched(
            venue.url if state == "open" else NOWHERE,
            transport=Stuck() if state == "connecting" else None,
            limits=FeedLimits() if state == "backoff" else QUICK,
        )
        if state == "unstarted":
            await watched.feed.close()
            await asyncio.wait_for(watched.feed.run(), 1)
            return
        task = asyncio.create_task(watched.feed.run())
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await watched.feed.close()
        await task
        assert time.monotonic() - started < 1.0


async def test_E11_close_ends_even_when_the_peer_does_not_answer_any_more() -> None:
    venue = SmallVenue()
    limits = FeedLimits(close_timeout_s=0.2)
    async with venue.running(), Proxy(venue.port).running() as proxy:
        watched = Watched(proxy.url, limits=limits)
        task = asyncio.create_task(watched.feed.run())
        await watched.feed.connected(2)
        proxy.black_hole()
        started = time.monotonic()
        await watched.feed.close()
        await task
        assert time.monotonic() - started < 1.0


async def test_E11_a_cancelled_run_leaves_nothing_behind() -> None:
    venue = SmallVenue()
    async with venue.running():
        watched = Watched(venue.url)
        task = asyncio.create_task(watched.feed.run())
        await watched.feed.connected(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: not venue.connections[0].transport or venue.connections[0].close_code is not None)


async def test_a_feed_runs_once() -> None:
    async with Watched(NOWHERE).running() as watched:
        await until(lambda: watched.feed.counters["attempts"] > 0)
        with pytest.raises(RuntimeError, match="running already"):
            await watched.feed.run()


# TLS


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test authority, and certificates of its own making: good, for another host, expired, self-signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA", *authority)
    run("req", "-x509", *key, "-keyout", "self.key", "-out", "self.pem", "-days", "2", "-subj", "/CN=localhost")
    for name, host, days in (
        ("good", "IP:127.0.0.1", "2"),
        ("other", "DNS:example.org", "2"),
        ("expired", "IP:127.0.0.1", "-1"),
    ):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
        issue = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        run(*issue, "-out", f"{name}.pem", "-days", days, "-extfile", f"{name}.ext")
    return folder


def server_context(folder: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


async def test_L01_a_certificate_of_the_given_authority_is_accepted(certificates: Path) -> None:
    venue = SmallVenue()
    transport = WebSocketTransport(QUICK, ca_file=certificates / "ca.pem")
    async with venue.running(server_context(certificates, "good")):
        url = venue.url.replace("ws:", "wss:", 1)
        async with Watched(url, transport=transport).running() as watched:
            await until(lambda: watched.count("live") == 1)


@pytest.mark.parametrize("name", ["other", "expired", "self"])
@pytest.mark.parametrize("own_authority", [True, False])
async def test_L01_a_wrong_certificate_is_refused(certificates: Path, name: str, own_authority: bool) -> None:
    venue = SmallVenue()
    transport = WebSocketTransport(QUICK, ca_file=certificates / "ca.pem" if own_authority else None)
    async with venue.running(server_context(certificates, name)):
        url = venue.url.replace("ws:", "wss:", 1)
        async with Watched(url, transport=transport).running() as watched:
            await until(lambda: watched.count("closed") >= 1)
            assert watched.statuses[0].reason == "tls"
            assert watched.feed.counters["connections"] == 0
    assert venue.asked == []


def test_L01_nothing_in_the_public_list_switches_verification_off() -> None:
    for thing in (WebSocketTransport, Feed, FeedLimits):
        for name in inspect.signature(thing).parameters:
            assert not any(word in name for word in ("verify", "insecure", "check", "ssl"))
