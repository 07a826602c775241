"""What the OpenAPI document says of each answer: its model, a real example, its formats, and what may go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from fastapi import FastAPI
from pydantic import BaseModel

from pricer.sidecar.door import needed
from pricer.sidecar.routes.errors import Problem

_WHY = {
    400: "The request is not HTTP or JSON as it should be, or has a token in its address.",
    401: "A token is asked for, and there is none or a wrong one.",
    403: "The Host, the Origin or the token does not allow this.",
    404: "There is no such venue, underlying, expiry, instrument or document.",
    406: "None of the formats asked for is one of these.",
    408: "The body did not come in time.",
    409: "Not now, or not a second time.",
    413: "The body is too large.",
    415: "The body is not sent as application/json.",
    422: "A value is not as it should be; `detail` names field, index and value.",
    429: "Too much was asked for from this address; `retry-after` has the seconds to wait.",
    501: "The format needs a library that is not installed.",
    503: "Too much is going on at once; come back.",
}
_ANYWHERE = (400, 401, 403, 429)
_POSTED = (408, 413, 415, 422)
_DATA = (404, 406, 422, 501, 503)
_UNCHANGED = {"description": "Nothing has changed since the answer that If-None-Match names."}
_FORMATS: dict[str, Any] = {
    "application/json": {},
    "text/csv": {"schema": {"type": "string"}},
    "application/msgpack": {"schema": {"type": "string", "contentMediaType": "application/msgpack"}},
    "application/vnd.apache.arrow.stream": {
        "schema": {"type": "string", "contentMediaType": "application/vnd.apache.arrow.stream"}
    },
}
BEARER = {"type": "http", "scheme": "bearer", "description": "As `volstream token` makes them; see docs/deploying.md."}

Also = Mapping[int, type[BaseModel] | None]


@cache
def examples() -> dict[str, Any]:
    """By path: a real answer, shortened; for what is posted, `request` and `answer`."""
    found: dict[str, Any] = orjson.loads(files("pricer.sidecar.routes").joinpath("examples.json").read_bytes())
    return found


def documented(
    model: type[BaseModel] | None,
    *,
    also: Also | None = None,
    plain: bool = False,
    posted: bool = False,
    tagged: bool = True,
    document: str = "",
) -> dict[str, Any]:
    """Arguments for a route that answers in all formats.

    `plain` answers come as JSON alone, to whoever asks; a `document` in its one media type. Without `tagged` there is
    no ETag. `also` has further statuses, with their model where it is not that of refusals.
    """
    whole = not plain and not document
    responses: dict[int | str, Any] = {200: _found(model, _FORMATS if whole else {document or "application/json": {}})}
    statuses = {*_ANYWHERE, *(_POSTED if posted else ()), *(_DATA if whole else ()), *(also or {})}
    for status in sorted(statuses):
        other = (also or {}).get(status)
        responses[status] = (
            {"model": Problem, "description": _WHY[status]}
            if other is None
            else {"model": other, "description": "The same, and not so."}
        )
    if not plain and not posted and tagged:
        responses[304] = _UNCHANGED
    return {"responses": responses}


def _found(model: type[BaseModel] | None, content: dict[str, Any]) -> dict[str, Any]:
    if model is None:  # text
        return {"content": {media: {"schema": {"type": "string"}} for media in content}}
    if "application/json" in content:
        return {"model": model, "content": content}
    # FastAPI writes a model as application/json alone.
    return {"content": {media: {"schema": {"type": "object"}} for media in content}}


class Documented(FastAPI):
    """The program's application: its document has the examples as they are, and says where a token is asked for.

    Given to the routes the examples would lose what is null. Whether tokens are asked for may change with the settings.
    """

    def __init__(self, *, asks: Callable[[], bool], **more: Any) -> None:
        super().__init__(openapi_url=None, **more)  # pages.py serves it
        self._asks = asks
        self._documents: dict[bool, dict[str, Any]] = {}

    def openapi(self) -> dict[str, Any]:
        """The document, made once; half a second's work on a busy machine."""
        asks = self._asks()
        if asks not in self._documents:
            self._documents[asks] = _completed(super().openapi(), asks=asks)
        return self._documents[asks]


def _completed(document: dict[str, Any], *, asks: bool) -> dict[str, Any]:
    paths = {
        path: {verb: _operation(path, verb, operation, asks=asks) for verb, operation in verbs.items()}
        for path, verbs in document["paths"].items()
    }
    components = document["components"] | {"securitySchemes": {"bearer": BEARER}}
    return document | {"paths": paths, "components": components}


def _operation(path: str, verb: str, operation: dict[str, Any], *, asks: bool) -> dict[str, Any]:
    scope = list(needed(path).words)
    if path in examples():
        _show(operation, examples()[path], posted=verb == "post")
    return operation | {"security": [{"bearer": scope}]} if scope and (asks or scope == ["admin"]) else operation


def _show(operation: dict[str, Any], example: Any, *, posted: bool) -> None:
    answer = operation["responses"]["200"]["content"]["application/json"]
    answer["example"] = example["answer"] if posted else example
    if posted:
        operation["requestBody"]["content"]["application/json"]["example"] = example["request"]
