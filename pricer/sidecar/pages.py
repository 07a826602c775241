"""The pages for people: the dashboard at `/` with its files, and `/docs`, made here from the OpenAPI document.

Files are read once and served by name from a fixed list, so no request ever becomes a path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, HTTPException, Response

from pricer.sidecar.docs_page import docs_page

TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
TYPES["svg"] = "image/svg+xml"


def pages(app: FastAPI) -> APIRouter:
    """The routes of the pages."""
    router = APIRouter(include_in_schema=False)
    web = dict(_files(files("pricer.sidecar.web")))

    made: list[tuple[dict[str, Any], str, bytes]] = []  # the document, and what it looks like as a page and as bytes
    making = asyncio.Lock()

    async def described() -> tuple[dict[str, Any], str, bytes]:
        async with making:
            document = await asyncio.to_thread(app.openapi)  # the first time it takes long, and others are served
            if not made or made[0][0] is not document:
                made[:] = [(document, docs_page(document), orjson.dumps(document))]
            return made[0]

    def page(name: str) -> Response:
        return Response(web[name], headers={"cache-control": "no-cache"}, media_type=TYPES[name.rpartition(".")[2]])

    @router.get("/")
    async def dashboard() -> Response:
        """The live dashboard."""
        return page("index.html")

    @router.get("/web/{name:path}")
    async def file(name: str) -> Response:
        """A script, a style or a picture of the pages."""
        if name not in web:
            raise HTTPException(404, f"no file {name!r}")
        return page(name)

    @router.get("/docs")
    async def docs() -> Response:
        """Every path and message, without any outside address."""
        _, html, _ = await described()
        return Response(html, headers={"cache-control": "no-cache"}, media_type=TYPES["html"])

    @router.get("/openapi.json")
    async def openapi() -> Response:
        """The document of all paths."""
        _, _, document = await described()
        return Response(document, headers={"cache-control": "no-cache"}, media_type="application/json")

    return router


def _files(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """What may be served, by its path below the folder, with its bytes."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _files(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in TYPES:
            yield f"{prefix}{entry.name}", entry.read_bytes()
