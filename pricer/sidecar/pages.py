"""The pages for people: the live chain at `/` with its files, and `/docs`, made here from the OpenAPI document.

Files are read once and served by name from a fixed list, so no request ever becomes a path.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Response

from pricer.sidecar import protocol

TYPES = {"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
TYPES["svg"] = "image/svg+xml"


def pages(app: FastAPI) -> APIRouter:
    """The routes of the pages."""
    router = APIRouter(include_in_schema=False)
    web = {
        entry.name: entry.read_bytes()
        for entry in files("pricer.sidecar.web").iterdir()
        if entry.name.rpartition(".")[2] in TYPES
    }

    def page(name: str) -> Response:
        return Response(web[name], headers={"cache-control": "no-cache"}, media_type=TYPES[name.rpartition(".")[2]])

    @router.get("/")
    async def chain() -> Response:
        """The live chain table."""
        return page("index.html")

    @router.get("/web/{name}")
    async def file(name: str) -> Response:
        """A script, a style or a picture of the pages."""
        if name not in web:
            raise HTTPException(404, f"no file {name!r}")
        return page(name)

    @router.get("/docs")
    async def docs() -> Response:
        """Every path and message, without any outside address."""
        return Response(docs_page(app.openapi()), headers={"cache-control": "no-cache"}, media_type=TYPES["html"])

    return router


def docs_page(openapi: dict[str, Any]) -> str:
    """The OpenAPI document for reading."""
    info = openapi["info"]
    paths = "".join(
        _operation(path, method, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>volstream API</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="/web/icon.svg"><link rel="stylesheet" href="/web/docs.css"></head><body><main>'
        f"<h1>{escape(info['title'])} <small>{escape(info['version'])}</small></h1>"
        f"<p>{escape(info['description'])}</p>"
        '<p><a href="/">The live chain</a> · <a href="/openapi.json">The OpenAPI document</a></p>'
        f"<h2>HTTP</h2>{paths}"
        f"<h2>WebSocket</h2><section><h3><b>WS</b> <code>/v1/stream</code></h3>"
        f"<pre>{escape(protocol.__doc__ or '')}</pre></section></main></body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{escape(p['name'])}</code> <i>in {escape(p['in'])}"
        f"{', required' if p.get('required') else ''}</i> {escape(p.get('description', ''))}</li>"
        for p in operation.get("parameters", ())
    )
    link = f'<a href="{escape(path)}">{escape(path)}</a>' if "{" not in path else escape(path)
    return (
        f"<section><h3><b>{escape(method.upper())}</b> <code>{link}</code></h3>"
        f"<p>{escape(operation.get('description', ''))}</p>{f'<ul>{parameters}</ul>' if parameters else ''}</section>"
    )
