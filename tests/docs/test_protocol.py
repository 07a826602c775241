"""docs/protocol.md against the schemas and the sidecar: its examples are valid and complete, its lists whole."""

from __future__ import annotations

import ast
import re
import runpy
import zlib
from typing import Any

import httpx
import numpy as np
import orjson
import pytest

from pricer.clock import SystemClock
from pricer.sidecar import protocol
from pricer.sidecar.encodings import ENCODINGS, JSON, MSGPACK
from pricer.sidecar.protocol import CODES, parse
from pricer.sidecar.routes.errors import CODES as HTTP_CODES
from pricer.sidecar.routes.errors import MEANINGS, STATUSES
from pricer.sidecar.schemas.messages import MESSAGES, name_of
from pricer.sidecar.schemas.plan import columns, plan_of
from pricer.sidecar.schemas.requests import REQUESTS as REQUEST_MODELS
from pricer.sidecar.schemas.tables import FIXED, TABLES
from pricer.surfaces.arbitrage import Certificate
from pricer.surfaces.svi import SviParams
from tests.data import CHECKOUT
from tests.sidecar.schemas.checking import complaints
from tests.sidecar.serving import running
from tests.sidecar.snapshots import Market, Source

PAGE = CHECKOUT / "docs" / "protocol.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```json (\S+)\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE))
REQUESTS = BLOCKS.pop("client").splitlines()
AUTH = orjson.loads(BLOCKS.pop("auth"))
EXAMPLES = {title: orjson.loads(body) for title, body in BLOCKS.items()}
SHOWN = {title: body for title, body in EXAMPLES.items() if not title.startswith("/")}


def shape(value: Any, name: str = "") -> Any:
    """Field names down to the columns; what a list holds is told by its first entry."""
    if isinstance(value, dict):
        return {key: shape(inner, key) for key, inner in value.items()}
    if isinstance(value, list) and value and name in ("expiries", "feeds", "underlyings"):
        return [shape(value[0])]
    return None


# ---- messages


def test_every_type_of_message_and_every_channel_has_an_example() -> None:
    assert {name_of(body["type"], body.get("channel")) for body in SHOWN.values()} == set(SHOWN)
    assert {body["type"] for body in SHOWN.values()} == {plan_of(m).constants["type"] for m in MESSAGES.values()}
    assert {title.partition("-")[0] for title in SHOWN if "-" in title} == set(TABLES) == set(protocol.CHANNELS)


@pytest.mark.parametrize("title", SHOWN)
def test_an_example_is_valid_and_has_every_field_but_those_that_only_sometimes_come(title: str) -> None:
    body = SHOWN[title]
    assert complaints(title, body) == []
    plan = plan_of(MESSAGES[title])
    always = {field.name for field in plan.fields} | set(plan.constants)
    assert always - set(body) <= {
        "instrument",
        "crc32",
        *(("venue", "underlying", "channel") if title == "error" else ()),
    }


@pytest.mark.parametrize("title", [title for title in SHOWN if title.endswith("-snapshot")])
def test_the_checksum_of_an_example_is_that_of_its_columns(title: str) -> None:
    """The rule of the page, followed literally."""
    message = JSON.decode(orjson.dumps(SHOWN[title]))
    assert message.columns is not None
    channel = SHOWN[title]["channel"]
    known = columns(channel)
    values = [np.asarray(c) for n, c in message.columns.items() if known[n].dtype == "f8" and n not in FIXED[channel]]
    assert [n for n in known if n in message.columns] == [n for n in message.columns if n in known]
    rows = np.array(values, "<f8").T.copy()
    bits = np.where(np.isnan(rows), np.uint64(0x7FF8000000000000), rows.view(np.uint64))
    assert SHOWN[title]["crc32"] == zlib.crc32(bits.astype("<u8").tobytes())


def test_the_worked_example_of_the_checksum() -> None:
    (lines,) = re.findall(r"```text crc32\n(.*?)```", TEXT, re.DOTALL)
    values = re.findall(r"^(\S+) +((?:[0-9a-f]{2} ){7}[0-9a-f]{2})$", lines, re.MULTILINE)
    assert [value for value, _ in values] == ["0.65", "0.5", "null", "-0.25"]
    for value, shown in values:
        number = np.float64("nan") if value == "null" else np.float64(value)
        assert bytes.fromhex(shown) == number.tobytes()
    (result,) = re.findall(r"crc32 of these 32 bytes: (\d+)", lines)
    assert zlib.crc32(bytes.fromhex("".join(shown for _, shown in values))) == int(result)


def test_the_bytes_that_are_shown_of_msgpack_are_those() -> None:
    payload = MSGPACK.encode(JSON.decode(orjson.dumps(SHOWN["chain-delta"])))
    shown = re.findall(r'"b": ((?:[0-9a-f]{2} )+[0-9a-f]{2})', TEXT)
    assert len(shown) == 2
    assert all(bytes.fromhex(text) in payload for text in shown)


# ---- lists


def test_the_tables_of_columns_are_those_of_the_models() -> None:
    assert runpy.run_path(str(PAGE.with_suffix(".py")))["page"]() == TEXT, "run: python docs/protocol.py"
    assert re.findall(r"<!-- columns of (\w+) -->", TEXT) == list(TABLES)


def test_every_subprotocol_is_listed() -> None:
    assert re.findall(r"^\| `(volstream\.\S+)` \|", TEXT, re.MULTILINE) == list(ENCODINGS)


def test_every_error_code_stands_in_the_table() -> None:
    listed = re.findall(r"^\| `([a-z_]+)` \| (?:sen|left|has|ask|nam|uns|wou)", TEXT, re.MULTILINE)
    assert len(set(listed)) == len(listed)
    assert set(listed) == set(CODES)


def test_every_code_of_a_refusal_over_http_has_a_meaning() -> None:
    """By what the sources say: `Refusal(status, detail, code)`, `Denied(status, code, detail)`, `problem(...)`."""
    said = {*HTTP_CODES.values(), *STATUSES, "bad_request", "unknown_expiry", "unknown_subprotocol"}
    for path in (CHECKOUT / "pricer" / "sidecar").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
            if name in ("Refusal", "Denied", "problem") and isinstance(call, ast.Call):
                values = [each.value for each in call.args if isinstance(each, ast.Constant)]
                said |= {each for each in values if isinstance(each, str) and re.fullmatch("[a-z]+(_[a-z]+)*", each)}
    assert said - {"client_gone"} == set(MEANINGS)  # nobody is there to read that one


def test_every_field_of_a_subscription_is_explained() -> None:
    explained = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| `.*? \| ", TEXT, re.MULTILINE))))
    assert set(protocol.Subscribe.model_fields) - {"op"} <= explained


@pytest.mark.parametrize("request_text", REQUESTS)
def test_what_a_client_may_send_is_understood(request_text: str) -> None:
    assert parse(request_text, 1000).op == orjson.loads(request_text)["op"]


def test_a_token_is_sent_as_the_proto_has_it_too() -> None:
    assert set(AUTH) == {"op", *REQUEST_MODELS["auth"].model_fields}


# ---- HTTP


async def test_every_http_path_is_listed_and_answers_as_shown() -> None:
    market, source = Market(SystemClock()), Source()
    source.publish(market.snapshot())
    async with running(source) as address, httpx.AsyncClient(timeout=60, base_url=address, trust_env=False) as client:
        paths = set((await client.get("/openapi.json")).json()["paths"])
        answers = {
            path: (await client.get(path.format(underlying="BTC"))).json() for path in EXAMPLES if path.startswith("/")
        }
    assert set(re.findall(r"^\| `(?:GET|POST) (\S+)` \|", TEXT, re.MULTILINE)) == paths
    surface = answers["/v1/surface/{underlying}"]["expiries"][0]
    assert (surface["params"], surface["certificate"]) == (None, None), "the market made by hand has no surface"
    surface["params"] = dict.fromkeys(SviParams._fields)
    surface["certificate"] = dict.fromkeys(Certificate.__dataclass_fields__)
    assert {path: shape(body) for path, body in answers.items()} == {path: shape(EXAMPLES[path]) for path in answers}
