"""/v1/history over HTTP: formats, bounds and refusals as everywhere else."""

from __future__ import annotations

import csv
import io

import pytest

from tests.sidecar.fitted import MONTH, Fitted

NAME = f"{MONTH}-105000-C"


@pytest.fixture(scope="module")
def quiet() -> Fitted:
    fitted = Fitted()
    fitted.hub.publish()
    return fitted


@pytest.mark.parametrize("path", ["/v1/history/BTC", f"/v1/history/BTC/{NAME}"])
async def test_a_history_comes_as_csv_msgpack_and_arrow_too(quiet: Fitted, path: str) -> None:
    body = (await quiet.get(path)).json()
    text = await quiet.get(path, accept="text/csv")
    rows = list(csv.DictReader(io.StringIO(text.text)))
    assert list(rows[0]) == list(body["columns"])
    for name, column in body["columns"].items():
        assert [row[name] for row in rows] == ["" if value is None else str(value) for value in column]
    for form in ("msgpack", "arrow"):
        answer = await quiet.get(f"{path}?format={form}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/")
    assert text.headers["cache-control"] == "no-store"
    assert "etag" not in text.headers


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("DOGE", 404, "unknown_underlying"),
        ("BTC?venue=nasdaq", 404, "unknown_venue"),
        ("BTC?expiry=2031-01-03", 404, "unknown_expiry"),
        ("BTC?expiry=soon", 422, "invalid"),
        ("BTC?since=-1", 422, "invalid"),
        (f"BTC?since={2**63}", 422, "invalid"),
        ("BTC?format=xml", 406, "not_acceptable"),
        ("BTC/BTC-1-C", 404, "unknown_instrument"),
    ],
)
async def test_what_there_is_not_is_refused_with_a_code(quiet: Fitted, path: str, status: int, code: str) -> None:
    answer = await quiet.get(f"/v1/history/{path}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"code", "detail"}


async def test_a_long_history_costs_more_than_a_short_one() -> None:
    fitted = Fitted(max_http_per_s=1)
    for _ in range(900):
        fitted.clock.advance(1_000_000_000)
        fitted.hub.publish()
    assert (await fitted.get("/v1/history/BTC")).status_code == 200
    assert (await fitted.get("/v1/history/BTC")).status_code == 429
