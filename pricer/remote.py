"""Chains of a running sidecar, for a screen: the sidecar's own client, one subscription an underlying."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx

from pricer.chainview import ChainView, view_of
from pricer.errors import ConnectError, ProtocolError
from pricer.sidecar.client import connect
from pricer.snapshot import Snapshot

TIMEOUT_S = 5.0
SCHEMES = {"http": "ws", "ws": "ws", "https": "wss", "wss": "wss"}


def sidecar_addresses(url: str) -> tuple[str, str]:
    """The sidecar's HTTP root and its WebSocket, from the address of either; ValueError naming any other.

    >>> sidecar_addresses("ws://127.0.0.1:8765/v1/stream")
    ('http://127.0.0.1:8765', 'ws://127.0.0.1:8765/v1/stream')
    """
    parts = urlsplit(url)
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ValueError(f"{url!r} is no address of a sidecar: write http://127.0.0.1:8765")
    return f"{scheme.replace('ws', 'http')}://{parts.netloc}", f"{scheme}://{parts.netloc}/v1/stream"


class SidecarChains:
    """The chains of one sidecar; `run` keeps them fresh. A sidecar that has gone leaves them to turn STALE."""

    def __init__(self, url: str, underlyings: Sequence[str] = ()) -> None:
        self.root, self.stream = sidecar_addresses(url)
        self.underlyings: Sequence[str] = tuple(underlyings)
        self._snapshots: dict[str, Snapshot] = {}

    def latest(self, underlying: str) -> ChainView | None:
        """The newest chain, as it is to be seen now."""
        snapshot = self._snapshots.get(underlying)
        return None if snapshot is None else view_of(snapshot, underlying)

    async def run(self) -> None:
        """Until cancelled; `ConnectError` where no sidecar answers at first, `ProtocolError` where it refuses."""
        if not self.underlyings:
            self.underlyings = await asyncio.to_thread(self._ask_for_underlyings)
        following = [asyncio.create_task(self._follow(name), name=f"chain {name}") for name in self.underlyings]
        try:
            await asyncio.gather(*following)
        finally:
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)

    async def _follow(self, underlying: str) -> None:
        async with connect(self.stream, underlying) as chain:
            async for snapshot in chain:
                self._snapshots[underlying] = snapshot

    def _ask_for_underlyings(self) -> tuple[str, ...]:
        try:
            # trust_env off: a proxy of the environment must not be asked for the loopback.
            answer = httpx.get(f"{self.root}/v1/underlyings", timeout=TIMEOUT_S, trust_env=False)
            answer.raise_for_status()
            return tuple(entry["underlying"] for entry in answer.json()["underlyings"])
        except httpx.HTTPError as error:
            raise ConnectError(f"no sidecar answers at {self.root}: {error or type(error).__name__}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ProtocolError(f"what answers at {self.root} is no sidecar: {error!r}") from error
