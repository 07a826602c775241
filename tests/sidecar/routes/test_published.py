"""What is published of the protocol, over HTTP: as the models make it, by name, with ETags."""

from __future__ import annotations

import orjson
import pytest

from pricer.sidecar.schemas import published
from tests.sidecar.fitted import Fitted


@pytest.fixture(scope="module")
def quiet() -> Fitted:
    return Fitted()


async def test_the_index_names_every_file_and_each_is_served_as_it_was_made(quiet: Fitted) -> None:
    index = await quiet.get("/schemas")
    assert index.headers["content-type"] == "application/json"
    files = index.json()["files"]
    assert [each["name"] for each in files] == list(published())
    for each in files:
        answer = await quiet.get(each["path"])
        media_type, body = published()[each["name"]]
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, body, media_type)
        assert (each["media_type"], each["bytes"]) == (media_type, len(body))
        again = await quiet.get(each["path"], **{"if-none-match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert (await quiet.get("/schemas", **{"if-none-match": index.headers["etag"]})).status_code == 304


async def test_the_media_types_are_those_of_their_formats(quiet: Fitted) -> None:
    schema = await quiet.get("/schemas/chain-snapshot.json")
    assert schema.headers["content-type"] == "application/schema+json"
    assert orjson.loads(schema.content)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert (await quiet.get("/asyncapi.json")).json()["asyncapi"] == "3.0.0"
    proto = await quiet.get("/volstream.proto")
    assert proto.headers["content-type"] == "text/plain; charset=utf-8"
    assert proto.text.startswith("//") or proto.text.startswith("syntax")


@pytest.mark.parametrize(
    "name", ["nothing.json", "volstream.proto", "asyncapi.json", "chain-snapshot", "%2e%2e", "%00"]
)
async def test_a_name_that_is_no_schema_is_404(quiet: Fitted, name: str) -> None:
    answer = await quiet.get(f"/schemas/{name}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"code", "detail"}


async def test_two_who_ask_first_wait_for_one_making(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from pricer.sidecar.routes import published as routes

    made, real = 0, routes.made

    def counted() -> dict[str, routes.File]:
        nonlocal made
        made += 1
        return real()

    monkeypatch.setattr(routes, "made", counted)
    fitted = Fitted()
    answers = await asyncio.gather(*(fitted.get("/schemas") for _ in range(5)))
    assert ({each.status_code for each in answers}, made) == ({200}, 1)
