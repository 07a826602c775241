"""JSON, CSV, Arrow and msgpack of the same answer, chosen by Accept or ?format=; ETags; and what cannot be had."""

from __future__ import annotations

import builtins
import csv
import gc
import io
import weakref
from typing import Any

import msgspec
import orjson
import pytest

from pricer.sidecar.routes.formats import FORMATS, chosen
from pricer.sidecar.routes.shortcuts import Shortcuts
from pricer.sidecar.routes.views import Views
from tests.scene import SECOND
from tests.sidecar.fitted import MONTH, Fitted

EXPIRY = "2026-10-21T14:13:20Z"
TABLES = [
    "/v1/underlyings",
    "/v1/chain/BTC",
    "/v1/surface/BTC",
    "/v1/forward/BTC",
    f"/v1/smile/BTC/{EXPIRY}",
    f"/v1/smile/BTC/{EXPIRY}?table=quotes",
    f"/v1/instrument/{MONTH}-105000-C",
]


@pytest.fixture(scope="module")
def quiet() -> Fitted:
    fitted = Fitted()
    fitted.clock.advance(SECOND // 5)
    return fitted


def arrow_table(payload: bytes) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Columns and head of an Arrow stream."""
    import nanoarrow

    with nanoarrow.ArrayStream.from_readable(io.BytesIO(payload)) as stream:
        schema = stream.schema
        found = stream.read_all()
    names = [schema.field(i).name for i in range(schema.n_fields)]
    metadata = dict(nanoarrow.c_schema(schema).metadata.items())
    columns = [found.child(i).to_pylist() for i in range(schema.n_fields)]
    return dict(zip(names, columns, strict=True)), orjson.loads(metadata[b"volstream"])


def texts(column: list[Any]) -> list[Any]:
    """As a table has a JSON column: reasons joined."""
    return ["|".join(value) if isinstance(value, list) else value for value in column]


async def test_the_chain_is_the_same_in_every_format(quiet: Fitted) -> None:
    body = (await quiet.get("/v1/chain/BTC")).json()
    wanted = {name: texts(column) for name, column in body["columns"].items()}
    text = (await quiet.get("/v1/chain/BTC", accept="text/csv")).text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == len(wanted["name"]) == 78
    for name, column in wanted.items():
        found = [row[name] for row in rows]
        if isinstance(column[0], str):
            assert found == column
        else:
            assert [None if each == "" else float(each) for each in found] == column
    columns, head = arrow_table((await quiet.get("/v1/chain/BTC?format=arrow")).content)
    assert columns == wanted
    assert head == {name: value for name, value in body.items() if name != "columns"}


@pytest.mark.parametrize("path", TABLES)
async def test_every_table_comes_as_csv_and_arrow(quiet: Fitted, path: str) -> None:
    async with quiet.client() as client:
        answer = await client.get(path, params=None, headers={"accept": "text/csv"})
        assert answer.headers["content-type"].startswith("text/csv")
        arrow = await client.get(path, headers={"accept": "application/vnd.apache.arrow.stream"})
    rows = list(csv.reader(io.StringIO(answer.text)))
    columns, _ = arrow_table(arrow.content)
    assert rows[0] == list(columns)
    assert len(rows) - 1 == len(next(iter(columns.values()))) > 0


async def test_msgpack_is_the_encoding_of_the_stream(quiet: Fitted) -> None:
    answer = await quiet.get("/v1/chain/BTC", accept="application/msgpack")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/msgpack"
    body, said = msgspec.msgpack.decode(answer.content), (await quiet.get("/v1/chain/BTC")).json()
    assert {name: value for name, value in body.items() if name != "columns"} == {
        name: value for name, value in said.items() if name != "columns"
    }
    assert list(body["columns"]) == list(said["columns"])


@pytest.mark.parametrize(
    ("accept", "name"),
    [
        (None, "json"),
        ("*/*", "json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("text/csv", "csv"),
        ("text/*", "csv"),
        ("application/json;q=0.5, text/csv", "csv"),
        ("application/json;q=0, */*", "csv"),
        ("APPLICATION/JSON", "json"),
        ("application/x-msgpack", "msgpack"),
        ("text/csv;q=nonsense, application/json;q=0.1", "json"),
    ],
)
def test_accept_decides_by_quality(accept: str | None, name: str) -> None:
    assert chosen(None, accept).name == name


@pytest.mark.parametrize(
    ("path", "accept", "status", "said"),
    [
        ("/v1/chain/BTC?format=xml", "*/*", 406, "'xml'; there are json, csv, msgpack, arrow"),
        ("/v1/chain/BTC", "image/png", 406, "application/vnd.apache.arrow.stream"),
        (f"/v1/instrument/{MONTH}-105000-C?explain=true", "text/csv", 406, "none of them"),
        (f"/v1/instrument/{MONTH}-105000-C?explain=true&format=arrow", "*/*", 406, "json or msgpack, not arrow"),
    ],
)
async def test_a_format_that_cannot_be_had_is_refused(
    quiet: Fitted, path: str, accept: str, status: int, said: str
) -> None:
    answer = await quiet.get(path, accept=accept)
    assert answer.status_code == status
    assert said in answer.json()["detail"]


async def test_without_nanoarrow_arrow_says_what_to_install(quiet: Fitted, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *more: Any) -> Any:
        if name.startswith("nanoarrow"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    answer = await quiet.get(f"/v1/smile/BTC/{EXPIRY}?points=3&format=arrow")
    assert (answer.status_code, answer.json()["code"]) == (501, "not_installed")
    assert "volstream[arrow]" in answer.json()["detail"]


async def test_names_and_fields_that_need_it_are_quoted() -> None:
    from pricer.sidecar.messages import Message
    from pricer.sidecar.routes.csv import CSV

    text = CSV.encode(Message({}, {"name": ['a,"b"\nc', None], "x,y": ["=1", "<script>"]})).decode()
    assert text == 'name,"x,y"\n"a,""b""\nc",=1\n,<script>\n'
    assert list(csv.reader(io.StringIO(text)))[1] == ['a,"b"\nc', "=1"]


# ---- ETags


async def test_an_answer_that_is_known_is_304_until_something_changes() -> None:
    fitted = Fitted()
    for path in ("/v1/chain/BTC", "/v1/surface/BTC", "/v1/forward/BTC", f"/v1/smile/BTC/{EXPIRY}?points=5"):
        first = await fitted.get(path)
        tag = first.headers["etag"]
        assert first.json()["session"] in tag
        assert first.headers["cache-control"] == "private, no-cache"
        known = await fitted.get(path, **{"if-none-match": f'"other", {tag.removeprefix("W/")}'})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", tag)
        fitted.clock.advance(SECOND // 4)  # only ages
        assert (await fitted.get(path, **{"if-none-match": tag})).status_code == 304
        fitted.move(fitted.scene.forward * 1.001)
        changed = await fitted.get(path, **{"if-none-match": tag})
        assert (changed.status_code, changed.json()["seq"]) == (200, first.json()["seq"] + 1)
        assert changed.headers["etag"] != tag


async def test_a_status_that_the_clock_changes_is_a_change() -> None:
    fitted = Fitted()
    tag = (await fitted.get("/v1/forward/BTC")).headers["etag"]
    fitted.clock.advance(3 * SECOND)
    answer = await fitted.get("/v1/forward/BTC", **{"if-none-match": tag})
    assert answer.status_code == 200
    assert {each["status"] for each in answer.json()["prices"]} == {"STALE"}


async def test_a_stream_that_was_forgotten_does_not_come_back_under_an_old_tag() -> None:
    fitted = Fitted(max_streams=1)
    tag = (await fitted.get("/v1/chain/BTC")).headers["etag"]
    await fitted.get("/v1/chain/BTC?columns=iv")  # takes its place
    answer = await fitted.get("/v1/chain/BTC", **{"if-none-match": tag})
    assert (answer.status_code, answer.json()["seq"] > 1) == (200, True)
    assert answer.headers["etag"] != tag


# ---- V14


async def test_Z07_streams_that_made_room_for_others_are_gone() -> None:
    fitted = Fitted(max_streams=4)
    made = set()
    for number in range(40):
        answer = await fitted.get(f"/v1/chain/BTC?strikes=percent:{10 + number}")
        assert answer.status_code == 200
        made |= {weakref.ref(stream) for stream in fitted.hub.streams.values()}
    gc.collect()
    assert len(made) == 40
    assert sum(stream() is not None for stream in made) == 4


async def test_V14_polling_encodes_once_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = Fitted()
    views = Views(fitted.hub)
    made = 0

    def make() -> Any:
        nonlocal made
        made += 1
        from pricer.sidecar.routes.chain import chain_message

        return chain_message(views.of(None, "BTC"))

    payloads = set()
    for _ in range(500):
        view = views.of(None, "BTC")
        from pricer.sidecar.encodings import JSON

        payloads.add(id(view.kept("chain", make).encoded(JSON)))
    assert (made, len(payloads)) == (1, 1)
    fitted.move(100_700.0)
    assert views.of(None, "BTC").kept("chain", make).encoded(JSON)
    assert made == 2


async def test_V14_the_same_question_again_takes_a_shortcut_to_the_same_answer() -> None:
    fitted = Fitted()
    for path in ("/v1/chain/BTC?columns=iv", "/v1/forward/BTC", f"/v1/instrument/{MONTH}-105000-C", "/v1/chain/DOGE"):
        for headers in ({}, {"accept": "text/csv"}):
            first, again = await fitted.get(path, **headers), await fitted.get(path, **headers)
            assert (again.status_code, again.content, again.headers) == (
                first.status_code,
                first.content,
                first.headers,
            )
            if first.status_code == 200:
                tag = first.headers["etag"]
                assert (await fitted.get(path, **headers, **{"if-none-match": tag})).status_code == 304
    known = (await fitted.get("/v1/forward/BTC")).json()
    fitted.move(100_900.0)
    moved = (await fitted.get("/v1/forward/BTC")).json()
    assert moved["seq"] == known["seq"] + 1
    assert moved["prices"][2]["value"] == 100_900.0
    fitted.clock.advance(3 * SECOND)
    assert (await fitted.get("/v1/forward/BTC")).json()["prices"][2]["status"] == "STALE"


def test_V14_remembered_questions_are_bounded() -> None:
    shortcuts, view = Shortcuts(), Views(Fitted().hub).of(None, "BTC")
    for i in range(2000):
        scope = {"type": "http", "path": f"/v1/instrument/{i}", "query_string": b"", "headers": []}
        shortcuts.remember(scope, view, i, FORMATS["json"])
    assert len(shortcuts) == 512
    shortcuts.remember({"path": "x" * 600, "query_string": b"", "headers": []}, view, 0, FORMATS["json"])
    assert len(shortcuts) == 512


async def test_V14_who_polls_too_fast_is_told_when_to_come_back() -> None:
    fitted = Fitted(max_http_per_s=100)
    answers = [await fitted.get("/v1/forward/BTC") for _ in range(205)]
    assert [each.status_code for each in answers].count(429) == 5
    assert answers[-1].headers["retry-after"] == "1"


async def test_what_is_kept_of_a_picture_is_bounded() -> None:
    from pricer.sidecar.messages import Message
    from pricer.sidecar.routes.views import MOST_KEPT

    view = Views(Fitted().hub).of(None, "BTC")
    for i in range(3 * MOST_KEPT):
        view.kept(i, lambda: Message({}))
    assert len(view._kept) <= MOST_KEPT
