"""docs/protocol.md against the sidecar: its examples have the shape of real messages, its lists are complete."""

from __future__ import annotations

import re
from typing import Any

import httpx
import orjson
import pytest

from pricer.clock import Instant, ManualClock, SystemClock
from pricer.config import ServerSection
from pricer.sidecar.hub import Hub
from pricer.sidecar.protocol import CODES, Subscribe, gap, key_of, parse
from pricer.surfaces.arbitrage import Certificate
from pricer.surfaces.svi import SviParams
from tests.data import CHECKOUT
from tests.handmade import SECOND
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source

TEXT = (CHECKOUT / "docs" / "protocol.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```json (\S+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
REQUESTS = BLOCKS.pop("client").splitlines()
EXAMPLES = {title: orjson.loads(body) for title, body in BLOCKS.items()}


def shape(value: Any, name: str = "") -> Any:
    """Field names down to the columns; what a list holds is told by its first entry."""
    if isinstance(value, dict):
        return {key: shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list) and value and name in ("expiries", "feeds", "underlyings"):
        return [shape(value[0])]
    return None


def messages() -> dict[str, dict[str, Any]]:
    """One message of each type, as a hub sends them to a client that does what the page shows."""
    clock = ManualClock(Instant(1_795_000_000 * SECOND, 1000 * SECOND))
    market, source = Market(clock), Source()
    source.publish(market.snapshot())
    hub = Hub(source, ServerSection(), venue="deribit", underlyings=["BTC"], clock=clock)
    client = hub.join(lambda code, reason: None)
    subscription = parse(REQUESTS[1], 1000)
    assert isinstance(subscription, Subscribe)
    texts: list[str | bytes] = [gap(key_of(subscription, "deribit"), 3, 17)]

    def hear() -> None:
        while more := hub.next_texts(client):
            texts.extend(more)
            client.outbox.written()

    for request in (REQUESTS[1], REQUESTS[3], '{"op":"subscribe","channel":"chain","underlying":"DOGE"}'):
        hub.receive(client, request)
        hear()
    clock.advance(SECOND // 10)
    market.quote(0, 0, iv=0.7, delta=0.4)
    source.publish(market.snapshot())
    hub.publish()
    hear()
    clock.advance(SECOND)
    hub.settings = ServerSection(heartbeat_s=0.5)
    hub.publish()
    hear()
    hub.receive(client, REQUESTS[2])
    hear()
    return {message["type"]: message for message in map(orjson.loads, texts)}


def test_every_type_of_message_has_an_example_with_its_very_fields() -> None:
    real = messages()
    examples = {title: example for title, example in EXAMPLES.items() if not title.startswith("/")}
    assert set(real) == set(examples)
    # Which columns a delta has depends on what changed.
    real["delta"]["columns"] = examples["delta"]["columns"]
    assert {title: shape(message) for title, message in real.items()} == {k: shape(v) for k, v in examples.items()}
    assert real["error"]["code"] == examples["error"]["code"]


@pytest.mark.parametrize("request_text", REQUESTS)
def test_what_a_client_may_send_is_understood(request_text: str) -> None:
    assert parse(request_text, 1000).op == orjson.loads(request_text)["op"]


def test_every_error_code_stands_in_the_table() -> None:
    assert re.findall(r"^\| `(\w+)` \| \w", TEXT, re.MULTILINE) == list(CODES)


async def test_every_http_path_is_listed_and_answers_as_shown() -> None:
    market, source = Market(SystemClock()), Source()
    source.publish(market.snapshot())
    async with running(source) as address, httpx.AsyncClient(base_url=address, trust_env=False) as client:
        paths = set((await client.get("/openapi.json")).json()["paths"])
        answers = {
            path: (await client.get(path.format(underlying="BTC"))).json() for path in EXAMPLES if path.startswith("/")
        }
    assert set(re.findall(r"^\| `GET (\S+)` \|", TEXT, re.MULTILINE)) == paths
    surface = answers["/v1/surface/{underlying}"]["expiries"][0]
    assert (surface["params"], surface["certificate"]) == (None, None), "the market made by hand has no surface"
    surface["params"] = dict.fromkeys(SviParams._fields)
    surface["certificate"] = dict.fromkeys(Certificate.__dataclass_fields__)
    assert {path: shape(body) for path, body in answers.items()} == {path: shape(EXAMPLES[path]) for path in answers}
