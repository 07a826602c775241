"""The protocol for programs: a JSON Schema for each message, the AsyncAPI document, and the .proto.

They are made of the models at the first question, on a thread: that takes a second, in which the loop serves others.
Names are looked up among what was made, and never become a path.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Path, Request, Response

from pricer.sidecar.encodings import JSON
from pricer.sidecar.messages import Message
from pricer.sidecar.routes import models
from pricer.sidecar.routes.documented import documented
from pricer.sidecar.routes.errors import Refusal
from pricer.sidecar.routes.views import is_known
from pricer.sidecar.schemas import published

ASYNCAPI, PROTO = "asyncapi.json", "volstream.proto"
SCHEMA = "application/schema+json"

Name = Annotated[str, Path(min_length=1, max_length=64, description="As `/schemas` lists it: chain-snapshot.json.")]


class File(NamedTuple):
    """One published file."""

    media_type: str
    body: bytes
    tag: str

    def answer(self, request: Request) -> Response:
        """It, or 304 where the client has it."""
        headers = {"etag": self.tag, "cache-control": "no-cache"}
        if is_known(request.headers.get("if-none-match"), self.tag):
            return Response(None, 304, headers)
        return Response(self.body, 200, headers, self.media_type)


class Published:
    """All of them, made once."""

    def __init__(self) -> None:
        self._files: dict[str, File] = {}
        self._making = asyncio.Lock()

    async def files(self) -> dict[str, File]:
        """By name; the index is the one with the empty name."""
        async with self._making:
            if not self._files:
                self._files = await asyncio.to_thread(made)
        return self._files


def made() -> dict[str, File]:
    """The files and their index."""
    files = {name: _file(media_type, body) for name, (media_type, body) in published().items()}
    index = {
        "files": [
            {"name": name, "path": path_of(name), "media_type": file.media_type, "bytes": len(file.body)}
            for name, file in files.items()
        ]
    }
    return files | {"": _file("application/json", Message(index).encoded(JSON))}


def _file(media_type: str, body: bytes) -> File:
    return File(media_type, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def path_of(name: str) -> str:
    """Where a file is served.

    >>> path_of("volstream.proto"), path_of("gap.json")
    ('/volstream.proto', '/schemas/gap.json')
    """
    return f"/{name}" if name in (ASYNCAPI, PROTO) else f"/schemas/{name}"


def schemas() -> APIRouter:
    """The paths; they need no token, since they say nothing of the market."""
    router = APIRouter(tags=["schemas"])
    known = Published()

    @router.get("/schemas", **documented(models.SchemaIndex, document="application/json"))
    async def index(request: Request) -> Response:
        """The published descriptions of the WebSocket's messages: names, paths and media types."""
        return (await known.files())[""].answer(request)

    @router.get("/schemas/{name}", **documented(models.Document, document=SCHEMA, also={404: None, 422: None}))
    async def schema(request: Request, name: Name) -> Response:
        """One message or request as JSON Schema (2020-12), as `chain-snapshot.json`."""
        file = (await known.files()).get(name)
        if file is None or path_of(name) != f"/schemas/{name}":
            raise Refusal(404, f"no schema {name!a}; /schemas lists them", "unknown_schema")
        return file.answer(request)

    @router.get("/asyncapi.json", **documented(models.Document, document="application/json"))
    async def asyncapi(request: Request) -> Response:
        """The WebSocket as an AsyncAPI 3 document: what is sent each way, with all schemas inside."""
        return (await known.files())[ASYNCAPI].answer(request)

    @router.get("/volstream.proto", **documented(None, document="text/plain"))
    async def proto(request: Request) -> Response:
        """The messages of the encoding `volstream.v1.protobuf`, proto3; field numbers are never given again."""
        return (await known.files())[PROTO].answer(request)

    return router
