"""Login, tokens, and what they open; no sockets."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest

from pricer.simulator.venues.deribit.rpc import Limits
from tests.simulator.venues.sans_io import SECOND, SECRETS, START, Bench, Client

NOW_MS = START // 1_000_000
RAW = "book.BTC-PERPETUAL.raw"


@pytest.fixture
def bench() -> Bench:
    return Bench(limits=Limits(token_s=60.0))


@pytest.fixture
def client(bench: Bench) -> Client:
    return bench.client()


def signature(nonce: str = "abc", stamp: int = NOW_MS, data: str = "", key: str = "key-1") -> dict[str, Any]:
    signed = f"{stamp}\n{nonce}\n{data}".encode()
    return {
        "grant_type": "client_signature",
        "client_id": key,
        "timestamp": stamp,
        "nonce": nonce,
        "data": data,
        "signature": hmac.new(SECRETS[key].encode(), signed, hashlib.sha256).hexdigest(),
    }


def test_credentials_log_in_and_the_answer_says_until_when(client: Client) -> None:
    granted = client.log_in()
    assert set(granted) >= {"access_token", "refresh_token", "expires_in", "scope", "token_type"}
    assert (granted["expires_in"], granted["token_type"]) == (60, "bearer")
    assert client.ask("private/get_positions")["result"]


def test_a_named_session_is_echoed_in_the_scope(client: Client) -> None:
    granted = client.ask("public/auth", **signature(), scope="session:desk")["result"]
    assert granted["scope"].split()[0] == "session:desk"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"client_secret": "wrong"}, 13004),
        ({"client_id": "nobody"}, 13004),
        ({"client_id": "nobody", "client_secret": ""}, 13004),
        ({"client_secret": None}, -32602),
        ({"grant_type": "password"}, -32602),
        ({"grant_type": "refresh_token"}, -32602),
        ({"grant_type": "refresh_token", "refresh_token": "x"}, 13009),
    ],
)
def test_wrong_credentials_are_refused_and_open_nothing(client: Client, changes: dict[str, Any], code: int) -> None:
    asked = {"grant_type": "client_credentials", "client_id": "key-1", "client_secret": SECRETS["key-1"], **changes}
    assert client.ask("public/auth", **asked)["error"]["code"] == code
    assert client.ask("private/get_positions")["error"]["code"] == 13009
    assert client.session.closing is None


def test_a_signature_is_checked_over_timestamp_nonce_and_data(client: Client) -> None:
    assert "result" in client.ask("public/auth", **signature(nonce="n1", data="x"))
    for changes in ({"data": "y"}, {"nonce": "n9"}, {"timestamp": NOW_MS + 1}, {"client_id": "key-2"}):
        asked = {**signature(nonce="n2", data="x"), **changes}
        assert client.ask("public/auth", **asked)["error"]["code"] == 13004


@pytest.mark.parametrize("off_ms", [-5_001, 5_001, -3_600_000])
def test_P10_a_signature_of_another_time_is_refused(client: Client, off_ms: int) -> None:
    refused = client.ask("public/auth", **signature(stamp=NOW_MS + off_ms))["error"]
    assert (refused["code"], refused["data"]["param"]) == (13004, "timestamp")


def test_a_nonce_serves_once(bench: Bench, client: Client) -> None:
    assert "result" in client.ask("public/auth", **signature())
    again = client.ask("public/auth", **signature())["error"]
    assert (again["code"], again["data"]["param"]) == (13004, "nonce")
    assert "result" in client.ask("public/auth", **signature(key="key-2"))  # a nonce belongs to its key
    bench.tick(1, 11 * SECOND)
    assert "result" in client.ask("public/auth", **signature(stamp=NOW_MS + 11_000))


def test_P09_a_token_that_runs_out_ends_raw_and_private_subscriptions_but_no_public_ones(
    bench: Bench, client: Client
) -> None:
    client.log_in()
    client.read(RAW, "book.BTC-PERPETUAL.100ms", "user.portfolio.BTC")
    assert {RAW, "user.portfolio.BTC"} <= set(client.hear(10))
    client.hear(1, 55 * SECOND)
    heard = client.hear(100)
    assert set(heard) == {"book.BTC-PERPETUAL.100ms"} | ({RAW, "user.portfolio.BTC"} & set(heard))
    assert len(heard["book.BTC-PERPETUAL.100ms"]) > 90
    assert client.session.channels == {"book.BTC-PERPETUAL.100ms"}
    assert client.ask("private/get_positions")["error"]["code"] == 13009
    assert client.ask("public/subscribe", channels=[RAW])["error"]["code"] == 13009
    assert set(client.hear(10)) == {"book.BTC-PERPETUAL.100ms"}


def test_a_refresh_in_time_keeps_everything_and_a_refresh_token_serves_once(bench: Bench, client: Client) -> None:
    token = client.log_in()["refresh_token"]
    client.read(RAW)
    client.hear(1, 50 * SECOND)
    refreshed = client.ask("public/auth", grant_type="refresh_token", refresh_token=token)["result"]
    assert refreshed["refresh_token"] != token
    assert len(client.hear(40, SECOND)[RAW]) >= 40  # past the end of the first token
    assert client.ask("public/auth", grant_type="refresh_token", refresh_token=token)["error"]["code"] == 13009


def test_an_access_token_serves_on_another_connection_and_by_http(bench: Bench, client: Client) -> None:
    token = client.log_in()["access_token"]
    other = bench.client()
    assert other.ask("private/get_positions", access_token=token)["result"]
    assert other.ask("private/get_positions", access_token="x")["error"]["code"] == 13009
    status, body = bench.venue.http("/api/v2/private/get_positions", "currency=BTC", f"Bearer {token}")
    assert status == 200
    assert json.loads(body)["result"]
    assert bench.venue.http("/api/v2/private/get_positions", "currency=BTC")[0] == 400


def test_http_requests_may_be_signed(bench: Bench) -> None:
    path, query = "/api/v2/private/get_account_summary", "currency=BTC"
    signed = f"{NOW_MS}\nn\nGET\n{path}?{query}\n\n".encode()
    good = hmac.new(SECRETS["key-1"].encode(), signed, hashlib.sha256).hexdigest()
    for made, expected in ((good, 200), (good, 400), ("0" * 64, 400)):  # the second time the nonce is used up
        header = f"deri-hmac-sha256 id=key-1,ts={NOW_MS},sig={made},nonce=n"
        assert bench.venue.http(path, query, header)[0] == expected


def test_a_key_has_sixteen_sessions(bench: Bench) -> None:
    clients = [bench.client() for _ in range(17)]
    for each in clients[:16]:
        each.log_in()
    refused = clients[16].ask("public/auth", **signature())["error"]
    assert refused["code"] == 13021
    assert clients[16].ask("private/get_positions")["error"]["code"] == 13009
    clients[0].log_in()  # again on the same session
    bench.venue.close(clients[1].session)
    assert clients[16].log_in()


def test_private_channels_need_a_login_and_show_only_ones_own(bench: Bench, client: Client) -> None:
    assert client.ask("public/subscribe", channels=["user.portfolio.BTC"])["result"] == []
    assert client.ask("private/subscribe", channels=["user.portfolio.BTC"])["error"]["code"] == 13009
    other = bench.client()
    for each, key in ((client, "key-1"), (other, "key-2")):
        each.log_in(key)
        each.read("user.portfolio.BTC")
    first, second = (each.first["user.portfolio.BTC"]["delta_total"] for each in (client, other))
    assert first != second
    heard = bench.tick(10)
    deltas = [{m["params"]["data"]["delta_total"] for m in heard[each.session]} for each in (client, other)]
    assert all(deltas)
    assert not deltas[0] & deltas[1]


def test_I10_secrets_and_tokens_stay_out_of_reprs_and_errors(bench: Bench, client: Client) -> None:
    granted = client.log_in()
    refused = client.ask("public/auth", grant_type="client_credentials", client_id="key-1", client_secret="canary-1")
    shown = repr(bench.venue.rpc) + repr(bench.venue.rpc.keys) + json.dumps(refused)
    for secret in (*SECRETS.values(), "canary-1", granted["access_token"], granted["refresh_token"]):
        assert secret not in shown
