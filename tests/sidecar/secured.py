"""A real sidecar with tokens, and what its tests ask of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from pricer.clock import Clock
from pricer.config import Settings
from pricer.sidecar.app import serve
from pricer.sidecar.auth import Scopes, Token, new_token
from pricer.sidecar.hub import SnapshotSource
from tests.sidecar.serving import QUICK


@asynccontextmanager
async def secured(
    source: SnapshotSource,
    *,
    reread: Callable[[], Settings] | None = None,
    clock: Clock | None = None,
    feed: dict[str, Any] | None = None,
    **server: Any,
) -> AsyncIterator[str]:
    """Serve `source`; yields the address. An error before it serves is raised here."""
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    settings = Settings(server=QUICK | server, feed=feed or {})
    task = asyncio.create_task(serve(source, settings, clock=clock, started=address.set_result, reread=reread))
    task.add_done_callback(lambda _: address.done() or address.cancel())
    await asyncio.wait({address})
    if address.cancelled():
        await task
    try:
        yield address.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


class Ring:
    """A file of tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[str, str] = {}
        self.write()

    def add(self, name: str, scopes: Scopes = Scopes.READ, expires_ns: int | None = None) -> str:
        """A new token; what its owner holds."""
        secret, token = new_token(name, scopes, expires_ns)
        self.put(token)
        return secret

    def put(self, token: Token) -> None:
        self.lines[token.name] = token.line()
        self.write()

    def remove(self, name: str) -> None:
        del self.lines[name]
        self.write()

    def write(self) -> None:
        self.path.write_text("\n".join(self.lines.values()) + "\n")
        self.path.chmod(0o600)


def bearer(token: str) -> dict[str, Any]:
    return {"authorization": f"Bearer {token}"}


async def fetch(
    address: str,
    path: str,
    *,
    method: str = "GET",
    tls: ssl.SSLContext | None = None,
    json: Any = None,
    **headers: str,
) -> httpx.Response:
    """One request on a connection of its own."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with httpx.AsyncClient(timeout=60, trust_env=False, verify=tls or False) as client:
        return await client.request(method, address + path, headers=sent, json=json)
