"""Chains of a running sidecar, for a screen: the sidecar's own client, one subscription an underlying."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from pricer.adapters.network import Network
from pricer.chainview import ChainView, FeedLine, view_of
from pricer.clock import SystemClock
from pricer.errors import ConfigError, ConnectError, ProtocolError
from pricer.sidecar.client import Connection, connect
from pricer.snapshot import Snapshot

TIMEOUT_S = 5.0
TOKEN_VARIABLE = "VOLSTREAM_TOKEN"
PATHS = ("", "/v1/stream")
SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}


def sidecar_addresses(url: str) -> tuple[str, str]:
    """The sidecar's HTTP root and its WebSocket, from the address of either; ValueError naming any other.

    >>> sidecar_addresses("ws://127.0.0.1:8765/v1/stream")
    ('http://127.0.0.1:8765', 'ws://127.0.0.1:8765/v1/stream')
    """
    parts = urlsplit(url)
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None or not parts.netloc or parts.path.rstrip("/") not in PATHS or parts.query or parts.fragment:
        raise ValueError(f"{url!r} is no address of a sidecar: write http://127.0.0.1:8765")
    return f"{scheme.replace('ws', 'http')}://{parts.netloc}", f"{scheme}://{parts.netloc}/v1/stream"


def token_from(path: str | None, environment: Mapping[str, str]) -> str | None:
    """The token in the file at `path`, else in the environment's VOLSTREAM_TOKEN; None where there is neither.

    ConfigError names a file that cannot be read or holds none; the token itself is never shown.

    >>> token_from(None, {"VOLSTREAM_TOKEN": "abc"})
    'abc'
    """
    if path is None:
        return environment.get(TOKEN_VARIABLE) or None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"token file: cannot read {path}: {getattr(error, 'strerror', None) or 'no text'}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"token file: {path} holds no token on a line of its own")
    return token


class SidecarChains:
    """The chains of one sidecar; `run` keeps them fresh.

    A sidecar that has gone leaves them to turn STALE. That it is lost, and since when, then stands in the place of its
    feeds, of which nothing is known.

    `token`, `ca_file` and `unix_socket` are as in `pricer.sidecar.client.connect`.
    """

    def __init__(
        self,
        url: str,
        underlyings: Sequence[str] = (),
        *,
        token: str | None = None,
        ca_file: str | None = None,
        unix_socket: str | None = None,
    ) -> None:
        self.root, self.stream = sidecar_addresses(url)
        self.underlyings: Sequence[str] = tuple(underlyings)
        self._ways: dict[str, Any] = {"token": token, "ca_file": ca_file, "unix_socket": unix_socket}
        self._where = unix_socket or self.root
        if ca_file is not None and not self.root.startswith("https:"):
            raise ConfigError(f"ca_file: {url} shows no certificate that {ca_file} could verify: write https://")
        connect(self.stream, **self._ways)  # what is impossible is told before anything is sent
        self._snapshots: dict[str, Snapshot] = {}
        self._connections: dict[str, Connection] = {}
        self._lost_ns: dict[str, int] = {}  # since when, as far as somebody looked

    def latest(self, underlying: str) -> ChainView | None:
        """The newest chain, as it is to be seen now."""
        self._look_for_losses()
        snapshot = self._snapshots.get(underlying)
        if snapshot is None:
            return None
        view = view_of(snapshot, underlying)
        if underlying not in self._lost_ns:
            return view
        since = datetime.fromtimestamp(self._lost_ns[underlying] / 1e9, UTC)
        return replace(view, feeds=(FeedLine(view.venue, "sidecar lost", f"since {since:%H:%M:%S} UTC"),))

    def _look_for_losses(self) -> None:
        """Of all chains, so that one that is shown later knows its time, too."""
        now = SystemClock().now()
        for underlying, chain in self._connections.items():
            if chain.is_lost:
                self._lost_ns.setdefault(underlying, now.wall_ns)
            else:
                self._lost_ns.pop(underlying, None)

    async def run(self) -> None:
        """Until cancelled; `ConnectError` where no sidecar answers at first, `ProtocolError` where it refuses."""
        # Also where they are given: HTTP says more plainly than a WebSocket why nobody is let in.
        offered = await asyncio.to_thread(self._ask_for_underlyings)
        self.underlyings = self.underlyings or offered
        following = [asyncio.create_task(self._follow(name), name=f"chain {name}") for name in self.underlyings]
        try:
            await asyncio.gather(*following)
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)

    async def _follow(self, underlying: str) -> None:
        async with connect(self.stream, underlying, **self._ways) as chain:
            self._connections[underlying] = chain
            async for snapshot in chain:
                self._snapshots[underlying] = snapshot

    def _ask_for_underlyings(self) -> tuple[str, ...]:
        socket = self._ways["unix_socket"]
        if socket is not None and not os.path.exists(socket):
            raise ConnectError(f"no sidecar answers at {socket}: there is no such socket")
        try:
            with self._http() as http:
                answer = http.get("/v1/underlyings")
        except httpx.HTTPError as error:
            raise ConnectError(f"no sidecar answers at {self._where}: {error or type(error).__name__}") from error
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise self._locked()
        try:
            said = answer.json()
            if answer.is_success:
                return tuple(entry["underlying"] for entry in said["underlyings"])
            detail = said["detail"]
        except (ValueError, KeyError, TypeError):
            what = f"HTTP {answer.status_code}, and nothing of its protocol"
            raise ProtocolError(f"what answers at {self._where} is no sidecar: {what}") from None
        raise ConnectError(f"the sidecar at {self._where} refuses: {detail}")

    def _locked(self) -> ConnectError:
        wants = "asks for a token: give" if self._ways["token"] is None else "does not accept the token of"
        return ConnectError(f"the sidecar at {self._where} {wants} --token-file or {TOKEN_VARIABLE}")

    def _http(self) -> httpx.Client:
        token, ca_file, unix_socket = self._ways.values()
        return httpx.Client(
            base_url=self.root,
            timeout=TIMEOUT_S,
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            trust_env=False,  # a proxy of the environment must not be asked for the loopback
            verify=Network(ca_file=ca_file).tls(),
            transport=None if unix_socket is None else httpx.HTTPTransport(uds=unix_socket),
        )
