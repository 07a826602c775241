"""What is posted is read where it keeps nobody waiting: a small body on the loop, a large one on a worker thread.

FastAPI reads and checks each body on the loop; a thousand contracts take 10 ms of it, and everybody else waits. So a
route asks for a body that is `Posted`: it gets the bytes, the document shows the model, and `read` gives it.

A worker keeps the interpreter for as long as one call of the parser takes, so what no legal body has is refused before
it is parsed: 256 KiB of empty lists would take a tenth of a second, and what is wrong with 27,000 names another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Generic, TypeVar

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, PlainValidator, ValidationError

from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.worker import Workers

Model = TypeVar("Model", bound=BaseModel)

# Read in half a millisecond.
SMALL_BYTES = 4096
# Nearly twice what a thousand contracts with all their fields have.
MOST_CONTAINERS = 2048
MOST_COMMAS = 8192
# Twice as many as the largest model has.
MOST_FIELDS = 16
# No number that anybody means has more; Python reads 4,300, in a quarter of a millisecond each.
MOST_DIGITS = 400


class Unread(bytes):
    """A body that says it is JSON."""


class Posted(Generic[Model]):
    """A body that nobody has read yet."""

    def __init__(self, model: type[Model], body: Unread) -> None:
        self._model = model
        self._body = body

    @property
    def cost(self) -> float:
        """What reading it costs, in requests; nothing but the request itself where it is small."""
        return len(self._body) / SMALL_BYTES if len(self._body) > SMALL_BYTES else 0.0

    async def read(self, request: Request, workers: Workers) -> Model:
        """The checked model; `RequestValidationError` where it is none, `Refusal` 400 where the body is no JSON."""
        if len(self._body) <= SMALL_BYTES:
            return self.checked()
        return await workers.run(request, lambda check: self.checked())

    def checked(self) -> Model:
        """At once, on this thread."""
        try:
            return self._model.model_validate(_parsed(self._body))
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False)
            raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in faults]) from None


def unread(model: type[BaseModel]) -> PlainValidator:
    """What makes a parameter of a `PostedRoute` the `Posted` body of this model."""
    return PlainValidator(partial(_taken, model), json_schema_input_type=model)


def _taken(model: type[Model], body: Any) -> Posted[Model]:
    if not isinstance(body, Unread):
        raise ValueError("a body is JSON")
    return Posted(model, body)


def _parsed(body: bytes) -> Any:
    if body.count(b"[") + body.count(b"{") > MOST_CONTAINERS:
        raise Refusal(422, f"a body has at most {MOST_CONTAINERS} lists and objects", "too_many_values")
    if body.count(b",") > MOST_COMMAS:
        raise Refusal(422, f"a body has at most {MOST_COMMAS} commas", "too_many_values")
    try:
        # Functions of Python's own, as they let others have the interpreter between two numbers.
        return json.loads(body, object_pairs_hook=_object, parse_int=_integer, parse_float=_float)
    except json.JSONDecodeError as error:
        raise Refusal(400, f"the body is not JSON: {error.msg}", "bad_json") from None
    except (RecursionError, ValueError):
        raise Refusal(400, "the body is not JSON: too deep, not UTF-8, or with an endless number", "bad_json") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_FIELDS:
        raise Refusal(422, f"an object has at most {MOST_FIELDS} fields", "too_many_values")
    return dict(pairs)


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError("an endless number")
    return int(digits)


def _float(digits: str) -> float:
    return float(digits)


class PostedRoute(APIRoute):
    """A route whose body is handed over as it came."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive))

        return handler


class _Request(Request):
    async def json(self) -> Unread:
        return Unread(await self.body())
