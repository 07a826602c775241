"""Tokens, scopes, origins and control requests of a running sidecar."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pricer.clock import NS_PER_SECOND, Instant, SystemClock
from pricer.config import ServerSection, Settings
from pricer.sidecar.admin import Control, Once
from pricer.sidecar.auth import Scopes, authority_of
from pricer.sidecar.denied import Denied
from pricer.sidecar.door import Door
from tests.free_port import free_port
from tests.sidecar.secured import Ring, bearer, fetch, secured
from tests.sidecar.serving import QUICK, ended, hear, joined, stream_of, subscribe
from tests.sidecar.snapshots import Market, Source

READING = ("v1/underlyings", "v1/chain/BTC", "v1/surface/BTC", "health/ready", "metrics")
OPEN = (
    "",
    "docs",
    "openapi.json",
    "health/live",
    "web/app.js",
    "schemas",
    "schemas/gap.json",
    "asyncapi.json",
    "volstream.proto",
)


def unknown(address: str) -> Any:
    """A WebSocket that has shown nothing yet: it is greeted once it has."""
    return open_websocket(stream_of(address), proxy=None)


@pytest.fixture
def ring(tmp_path: Path) -> Ring:
    return Ring(tmp_path / "tokens.toml")


async def test_Z03_http_answers_no_wrong_and_expired_tokens_alike(source: Source, ring: Ring) -> None:
    right = ring.add("bot")
    expired = ring.add("old", expires_ns=NS_PER_SECOND)
    async with secured(source, tokens_file=str(ring.path), auth_failures_per_minute=1000) as address:
        for path in READING:
            answers = [
                await fetch(address, path),
                await fetch(address, path, **bearer("wrong")),
                await fetch(address, path, **bearer(expired)),
                await fetch(address, path, authorization="Basic dXNlcjpwYXNz"),
            ]
            assert {(answer.status_code, answer.text) for answer in answers} == {(401, answers[0].text)}
            assert answers[0].headers["www-authenticate"] == 'Bearer realm="volstream"'
            assert answers[0].json()["code"] == "unauthorized"
            allowed = await fetch(address, path, **bearer(right))
            assert allowed.status_code == 200 or path == "health/ready"  # which may say that the numbers are old by now
        for path in OPEN:
            assert (await fetch(address, path)).status_code == 200
        assert (await fetch(address, "health/live")).json()["live"] is True


async def test_Z03_a_websocket_shows_its_token_in_the_handshake_or_first(source: Source, ring: Ring) -> None:
    right = ring.add("bot")
    async with secured(source, tokens_file=str(ring.path)) as address:
        async with joined(address, additional_headers=bearer(right)) as websocket:
            assert (await subscribe(websocket))["type"] == "snapshot"
        async with unknown(address) as websocket:
            await websocket.send(orjson.dumps({"op": "auth", "token": right}).decode())
            first, second = [orjson.loads(await websocket.recv()) for _ in range(2)]
            assert (first["type"], second) == ("welcome", {"type": "authorized", "scopes": ["read"]})
            assert (await subscribe(websocket))["type"] == "snapshot"
        with pytest.raises(InvalidStatus) as caught:
            async with joined(address, additional_headers=bearer("wrong")):
                pass
        assert caught.value.response.status_code == 401
        assert "Bearer" in caught.value.response.headers["WWW-Authenticate"]


@pytest.mark.parametrize(
    "first",
    [
        '{"op":"auth","token":"wrong"}',
        '{"op":"auth"}',
        '{"op":"auth","token":7}',
        '{"op":"subscribe","channel":"chain","underlying":"BTC"}',
        "[" * 3000,
        "x" * 5000,
        None,  # nothing at all
    ],
)
async def test_Z03_a_websocket_without_a_valid_token_is_told_and_closed(
    source: Source, ring: Ring, first: str | None
) -> None:
    ring.add("bot")
    given: dict[str, Any] = {"tokens_file": str(ring.path), "auth_timeout_s": 0.2}
    async with secured(source, **given) as address, unknown(address) as websocket:
        if first is not None:
            with suppress(ConnectionClosed):  # on a busy machine it comes too late, and all the same is heard
                await websocket.send(first)
        error = await hear(websocket)
        assert (error["type"], error["code"]) == ("error", "unauthorized")
        assert (await ended(websocket))[0] == 4401


async def test_Z03_wrong_tokens_are_limited_by_address(source: Source, ring: Ring) -> None:
    right = ring.add("bot")
    async with secured(source, tokens_file=str(ring.path), auth_failures_per_minute=3) as address:
        codes = [(await fetch(address, "v1/underlyings", **bearer(f"guess{n}"))).status_code for n in range(4)]
        assert codes == [401, 401, 401, 429]
        refused = await fetch(address, "v1/underlyings", **bearer(right))
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 21
        async with unknown(address) as websocket:
            await websocket.send(orjson.dumps({"op": "auth", "token": right}).decode())
            assert (await hear(websocket))["code"] == "rate_limited"


async def test_Z03_behind_a_proxy_the_address_is_the_one_that_the_proxy_saw(source: Source, ring: Ring) -> None:
    right = ring.add("bot")
    limits: dict[str, Any] = {"behind_proxy": True, "auth_failures_per_minute": 1}
    async with secured(source, tokens_file=str(ring.path), **limits) as address:
        for number in range(3):  # what a client invents stands before it
            seen = f"198.51.100.{number}, 203.0.113.5"
            code = (await fetch(address, "v1/underlyings", x_forwarded_for=seen, **bearer("guess"))).status_code
            assert code == (401 if number == 0 else 429)
        other = await fetch(address, "v1/underlyings", x_forwarded_for="203.0.113.6", **bearer(right))
        assert other.status_code == 200


@pytest.mark.parametrize("name", ["token", "access_token", "Token", "api_key"])
async def test_Z03_a_token_in_an_address_is_refused(source: Source, ring: Ring, name: str) -> None:
    right = ring.add("bot")
    async with secured(source, tokens_file=str(ring.path)) as address:
        answer = await fetch(address, f"v1/underlyings?{name}={right}", **bearer(right))
        assert (answer.status_code, answer.json()["code"]) == (400, "token_in_url")
        assert right not in answer.text
        with pytest.raises(InvalidStatus) as caught:
            await open_websocket(f"{stream_of(address)}?{name}={right}", proxy=None)
        assert caught.value.response.status_code == 400


async def test_Z04_a_token_that_reads_does_not_control(source: Source, ring: Ring) -> None:
    reads, admin = ring.add("bot"), ring.add("operator", Scopes.ADMIN)
    async with secured(source, tokens_file=str(ring.path), reread=lambda: Settings()) as address:
        body = {"sent_ns": time.time_ns(), "nonce": "n" * 16}
        refused = await fetch(address, "v1/admin/reload", method="POST", json=body, **bearer(reads))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        refused = await fetch(address, "v1/chain/BTC", **bearer(admin))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        with pytest.raises(InvalidStatus) as caught:
            async with joined(address, additional_headers=bearer(admin)):
                pass
        assert caught.value.response.status_code == 403
        async with unknown(address) as websocket:
            await websocket.send(orjson.dumps({"op": "auth", "token": admin}).decode())
            assert (await hear(websocket))["code"] == "forbidden"
        metrics = (await fetch(address, "metrics", **bearer(reads))).text
        assert 'volstream_auth_refusals_total{stage="forbidden"} 3.0' in metrics


async def test_Z04_without_tokens_nothing_is_asked_and_nothing_can_be_controlled(source: Source) -> None:
    async with secured(source, reread=lambda: Settings()) as address:
        assert (await fetch(address, "v1/underlyings")).status_code == 200
        body = {"sent_ns": time.time_ns(), "nonce": "n" * 16}
        for path in ("v1/admin/reload", "v1/admin/anything"):
            assert (await fetch(address, path, method="POST", json=body)).status_code == 403


class Ahead(SystemClock):
    """The system's clock, with a wall clock that can be set."""

    ahead_ns = 0

    def now(self) -> Instant:
        wall_ns, mono_ns = super().now()
        return Instant(wall_ns + self.ahead_ns, mono_ns)


async def test_Z03_a_connection_ends_with_its_token(source: Source, ring: Ring) -> None:
    clock = Ahead()
    short = ring.add("short", expires_ns=time.time_ns() + 3600 * NS_PER_SECOND)
    async with (
        secured(source, tokens_file=str(ring.path), clock=clock) as address,
        joined(address, additional_headers=bearer(short)) as websocket,
    ):
        await subscribe(websocket)
        clock.ahead_ns = 3700 * NS_PER_SECOND
        assert await ended(websocket) == (4401, "the token is not valid any more")


def test_Z03_who_came_in_without_a_token_goes_when_one_is_asked_for(ring: Ring) -> None:
    door = Door(ServerSection(), SystemClock())
    closed: list[int] = []
    visit = door.admit(None, "127.0.0.1")
    door.enter(visit, lambda code, reason: closed.append(code))
    door.sweep()
    assert closed == []
    ring.add("bot")
    settings = ServerSection(tokens_file=str(ring.path))
    door.replace(settings, authority_of(settings, SystemClock()))
    assert closed == [4401]


async def test_Z02_a_right_token_does_not_open_the_door_to_a_foreign_page(source: Source, ring: Ring) -> None:
    right = ring.add("bot")
    allowed = "https://desk.example"
    async with secured(source, tokens_file=str(ring.path), allowed_origins=(allowed,)) as address:
        for origin in (
            "https://evil.example",
            "https://desk.example.evil.example",
            "http://desk.example",
            "null",
            "http://[",
        ):
            assert (await fetch(address, "v1/underlyings", origin=origin, **bearer(right))).status_code == 403
            with pytest.raises(InvalidStatus) as caught:
                async with joined(address, origin=origin, additional_headers=bearer(right)):
                    pass
            assert caught.value.response.status_code == 403
        assert (await fetch(address, "v1/underlyings", host="evil.example", **bearer(right))).status_code == 403
        answer = await fetch(address, "v1/underlyings", origin=allowed, **bearer(right))
        assert answer.headers["access-control-allow-origin"] == allowed
        asked = await fetch(address, "v1/underlyings", method="OPTIONS", origin=allowed)
        assert (asked.status_code, "authorization" in asked.headers["access-control-allow-headers"]) == (204, True)
        unknown = await fetch(address, "v1/underlyings", origin=allowed)
        assert unknown.status_code == 401, "a missing token is refused also to an allowed page"
        async with joined(address, origin=allowed, additional_headers=bearer(right)) as websocket:
            await subscribe(websocket)


async def test_Z18_metrics_and_health_can_have_a_port_of_their_own(source: Source, ring: Ring) -> None:
    right, port = ring.add("bot"), free_port()
    async with secured(source, tokens_file=str(ring.path), metrics_port=port) as address:
        beside = f"http://127.0.0.1:{port}/"
        assert "volstream_clients 0.0" in (await fetch(beside, "metrics")).text
        assert (await fetch(beside, "health/ready")).status_code in (200, 503)
        for path in ("v1/underlyings", "openapi.json", "docs", "v1/admin/reload"):
            assert (await fetch(beside, path)).status_code == 404
        assert (await fetch(beside, "metrics", host="evil.example")).status_code == 403
        assert (await fetch(address, "metrics", **bearer(right))).status_code == 404
        assert (await fetch(address, "health/live")).status_code == 200


async def test_Z18_an_error_inside_shows_nothing_of_it(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    from pricer.sidecar.hub import Hub

    def broken(hub: Hub) -> dict[str, set[str]]:
        raise RuntimeError("secret-inside")

    monkeypatch.setattr(Hub, "known", broken)
    async with secured(source) as address:
        answer = await fetch(address, "v1/underlyings")
    assert answer.status_code == 500
    assert "secret-inside" not in answer.text
    assert "Traceback" not in answer.text


async def test_Z19_a_control_request_is_served_once(source: Source, ring: Ring) -> None:
    admin = ring.add("operator", Scopes.ADMIN)
    server = QUICK | {"tokens_file": str(ring.path)}
    async with secured(source, tokens_file=str(ring.path), reread=lambda: Settings(server=server)) as address:
        body: dict[str, Any] = {"sent_ns": time.time_ns(), "nonce": "abcdefghijklmnop"}

        async def send(**changed: Any) -> tuple[int, str]:
            answer = await fetch(address, "v1/admin/reload", method="POST", json=body | changed, **bearer(admin))
            return answer.status_code, answer.json().get("code", "")

        assert await send() == (200, "")
        assert await send() == (409, "repeated")
        assert await send(sent_ns=body["sent_ns"] - 3600 * NS_PER_SECOND, nonce="q" * 16) == (409, "not_now")
        assert await send(nonce="short") == (422, "invalid")
        assert await send(sent_ns=time.time_ns(), nonce="another-one-of-16") == (200, "")


def test_Z19_what_was_captured_before_a_restart_is_refused_after_it() -> None:
    clock = SystemClock()
    once = Once(clock)
    captured = Control(sent_ns=clock.now().wall_ns, nonce="n" * 16)
    once.take(captured)
    with pytest.raises(Denied, match="before its start"):
        Once(clock).take(captured)


async def test_Z03_who_shows_no_token_takes_no_clients_place(source: Source, ring: Ring) -> None:
    right = ring.add("bot")
    async with secured(source, tokens_file=str(ring.path), max_clients=1) as address:
        silent = [await open_websocket(stream_of(address), proxy=None) for _ in range(5)]
        async with joined(address, additional_headers=bearer(right)) as websocket:
            await subscribe(websocket)
            metrics = (await fetch(address, "metrics", **bearer(right))).text
            assert "\nvolstream_unknown_clients 5.0" in metrics
            assert "\nvolstream_clients 1.0" in metrics
            await silent[0].send(orjson.dumps({"op": "auth", "token": right}).decode())
            assert (await hear(silent[0]))["code"] == "too_many_clients"
            assert (await ended(silent[0]))[0] == 1013
        await asyncio.gather(*(each.close() for each in silent))


async def test_the_market_of_a_secured_sidecar_moves(source: Source, market: Market, ring: Ring) -> None:
    right = ring.add("bot")
    async with (
        secured(source, tokens_file=str(ring.path)) as address,
        joined(address, additional_headers=bearer(right)) as websocket,
    ):
        await subscribe(websocket)
        market.move()
        source.publish(market.snapshot())
        assert (await hear(websocket, "delta"))["seq"] == 2
