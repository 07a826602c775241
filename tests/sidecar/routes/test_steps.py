"""Heavy answers in short steps: the same bytes, made and sent piece by piece, and large bodies read off the loop."""

from __future__ import annotations

import sys
import threading
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from fastapi.exceptions import RequestValidationError

from pricer.conventions import NO_TIME
from pricer.sidecar.encodings import JSON, MSGPACK, Writer
from pricer.sidecar.messages import Columns, Message
from pricer.sidecar.routes.csv import CSV
from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.posted import SMALL_BYTES, Posted, Unread
from pricer.sidecar.routes.steps import LINES_A_STEP, PIECE_BYTES, ROWS_A_STEP, InPieces, encoded_in_steps, nested
from pricer.sidecar.routes.tables import as_lists
from pricer.sidecar.routes.valuing import PriceRequest, ScenarioRequest
from pricer.sidecar.routes.worker import TURN_S, Turns
from tests.sidecar.fitted import MONTH, Fitted


def table(rows: int) -> Columns:
    values = np.arange(rows) / 7.0
    values[::5] = np.nan
    instants = np.arange(rows, dtype=np.int64)
    instants[::3] = NO_TIME
    return {"value": values, "time_ns": instants, "name": [f'a "{i}"' for i in range(rows)]}


def bare(columns: Columns) -> dict[str, Any]:
    return {name: column for name, column in columns.items() if not isinstance(column, list)}


@pytest.mark.parametrize("rows", [0, 1, LINES_A_STEP, 2 * ROWS_A_STEP + 3])
@pytest.mark.parametrize("encoding", [JSON, CSV, MSGPACK], ids=lambda each: each.name)
@pytest.mark.parametrize("head", [{}, {"seq": 1}], ids=["headless", "headed"])
def test_Z08_an_answer_in_steps_is_the_same_answer(rows: int, encoding: Writer, head: dict[str, Any]) -> None:
    steps = 0

    def check() -> None:
        nonlocal steps
        steps += 1

    assert encoded_in_steps(Message(head, table(rows)), encoding, check) == Message(head, table(rows)).encoded(encoding)
    needed = {"json": 3 * rows // ROWS_A_STEP, "csv": rows // LINES_A_STEP, "msgpack": 1}
    assert steps >= needed[encoding.name]


@pytest.mark.parametrize("rows", [0, 1, ROWS_A_STEP + 1])
def test_Z08_a_large_table_inside_a_head_is_made_in_steps_too(rows: int) -> None:
    columns = bare(table(rows))
    steps: list[None] = []
    plain = as_lists(columns)
    assert orjson.loads(orjson.dumps(nested(columns, JSON, lambda: steps.append(None)))) == plain
    assert len(steps) == 2 * -(-rows // ROWS_A_STEP)
    assert msgspec.msgpack.encode(nested(columns, MSGPACK, lambda: None)) == msgspec.msgpack.encode(plain)


async def test_Z08_a_large_answer_is_sent_piece_by_piece() -> None:
    body, sent = bytes(range(256)) * (PIECE_BYTES // 100), []

    async def send(message: Any) -> None:
        sent.append(message)

    await InPieces(body, 200, {"vary": "accept"}, "text/csv")({"type": "http"}, None, send)  # type: ignore[arg-type] # never asked
    start, *pieces = sent
    assert (b"content-length", str(len(body)).encode()) in start["headers"]
    assert b"".join(piece["body"] for piece in pieces) == body
    assert [piece["more_body"] for piece in pieces] == [True] * (len(pieces) - 1) + [False]
    assert max(len(piece["body"]) for piece in pieces) == PIECE_BYTES


async def test_Z08_an_empty_answer_ends_too() -> None:
    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    await InPieces(b"", 200)({"type": "http"}, None, send)  # type: ignore[arg-type] # never asked
    assert sent[1:] == [{"type": "http.response.body", "body": b"", "more_body": False}]


async def test_Z08_threads_take_short_turns_while_a_job_runs() -> None:
    before, turns = sys.getswitchinterval(), Turns()
    with turns.short():
        with turns.short():
            assert sys.getswitchinterval() == pytest.approx(min(before, TURN_S))
        assert sys.getswitchinterval() == pytest.approx(min(before, TURN_S))
    assert sys.getswitchinterval() == pytest.approx(before)


async def test_Z08_a_large_body_is_read_on_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is in it, and with the same words as a small one."""
    readers: list[bool] = []
    checked = Posted.checked

    def watched(self: Posted[Any]) -> Any:
        readers.append(threading.current_thread() is threading.main_thread())
        return checked(self)

    monkeypatch.setattr(Posted, "checked", watched)
    fitted = Fitted()
    good: list[dict[str, Any]] = [{"instrument": f"{MONTH}-105000-C"}]
    many = good * (SMALL_BYTES // 20)
    for contracts, status in ((good, 200), (many, 200), ([*many, {"junk": 1}], 422), ([*good, {"junk": 1}], 422)):
        answer = await fitted.post("/v1/price", {"contracts": contracts})
        assert answer.status_code == status
        if status == 422:
            assert answer.json()["detail"].startswith(f"contracts[{len(contracts) - 1}].junk: ")
    assert readers == [True, False, False, True]
    async with fitted.client(headers={"content-type": "application/json"}) as client:
        for junk in ("[" * 2000 + " " * SMALL_BYTES, '{"contracts":[{"strike":' + "1" * 5000 + "}]}", b"\xff", "{"):
            refused = await client.post("/v1/price", content=junk)
            assert (refused.status_code, refused.json()["code"]) == (400, "bad_json")


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ('{"contracts":[' + "[]," * 85_000 + "[]]}", "at most 2048 lists and objects"),
        ('{"contracts":[' + "{}," * 3_000 + "{}]}", "at most 2048 lists and objects"),
        ('{"contracts":[' + "0," * 130_000 + "0]}", "at most 8192 commas"),
        ("{" + ",".join(f'"{i}":0' for i in range(8_000)) + "}", "at most 16 fields"),
        ('{"contracts":[{' + ",".join(f'"{i}":0' for i in range(20)) + "}]}", "at most 16 fields"),
    ],
    ids=["lists", "objects", "numbers", "names", "names-inside"],
)
def test_Z08_V05_a_body_with_more_in_it_than_any_legal_one_is_refused_before_it_is_looked_at(
    body: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsing it, or telling all that is wrong with it, would be one long call that keeps the loop from its turn."""
    monkeypatch.setattr(PriceRequest, "model_validate", None)
    with pytest.raises(Refusal, match=limit) as refused:
        Posted(PriceRequest, Unread(body.encode())).checked()
    assert (refused.value.status_code, refused.value.code) == (422, "too_many_values")


def test_Z08_an_endless_number_is_not_read() -> None:
    with pytest.raises(Refusal, match="endless number") as refused:
        Posted(PriceRequest, Unread(b'{"contracts":[{"expiry":' + b"1" * 401 + b"}]}")).checked()
    assert refused.value.code == "bad_json"


@pytest.mark.parametrize("axis", ["forward_moves", "vol_shifts", "days"])
def test_Z08_the_first_bad_point_of_an_axis_is_enough(axis: str) -> None:
    body = orjson.dumps({"contracts": [{"instrument": "x"}], axis: ["a"] * 101})
    with pytest.raises(RequestValidationError) as refused:
        Posted(ScenarioRequest, Unread(body)).checked()
    # Of the others it is only said that they are missing.
    assert [fault["loc"] for fault in refused.value.errors()] == [("body", axis, 0), ("body", axis)]


def test_Z08_the_largest_legal_body_is_read() -> None:
    contract = {"expiry": "2026-12-25T08:00Z", "strike": 100_000.123456789, "cp": "call", "quantity": -1.5}
    axes = {name: [i / 1000 for i in range(101)] for name in ("forward_moves", "vol_shifts", "days")}
    body = {"contracts": [contract | {"instrument": None}] * 1000, "underlying": "BTC", "venue": "deribit"}
    asked = Posted(ScenarioRequest, Unread(orjson.dumps(body | axes | {"totals_only": True}))).checked()
    assert len(asked.contracts) == 1000


async def test_Z08_the_first_bad_contract_is_enough() -> None:
    """A thousand of them would cost a thousand descriptions that nobody is shown."""
    answer = await Fitted().post("/v1/price", {"contracts": [{"strike": -1}] * 1000})
    assert answer.status_code == 422
    assert "strike" in answer.json()["detail"]
    more = answer.json()["detail"].partition("(and ")[2].partition(" more")[0] or "0"
    assert int(more) < 10
