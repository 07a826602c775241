"""What an adapter asks for over HTTP (`HttpGet`), fetched beside the WebSocket and by the same rules.

The same certificates and proxy, a limit on every step and on the size; redirects are refused, since they would let
whoever answers choose where we go.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pricer.adapters.limits import FeedLimits
from pricer.adapters.network import Network, target_of
from pricer.adapters.transport import ConnectionLost


class Fetcher:
    """GETs of one feed over one client, which is made when it is first needed."""

    def __init__(self, network: Network | None = None, limits: FeedLimits | None = None) -> None:
        self._limits = limits or FeedLimits()
        self._network = network
        self._clients: dict[str, Any] = {}

    async def get(self, url: str, path: str) -> bytes:
        """The body of `path` at the host of the WebSocket address `url`; `ConnectionLost` says why there is none."""
        import httpx

        try:
            async with asyncio.timeout(self._limits.open_timeout_s):
                client = self._client(httpx, url)
                async with client.stream("GET", path) as response:
                    if response.status_code != 200:
                        raise ConnectionLost(f"http_{response.status_code // 100}xx", f"HTTP {response.status_code}")
                    return await self._body(response)
        except TimeoutError:
            raise ConnectionLost("timeout", f"{path}: no answer within {self._limits.open_timeout_s:g} s") from None
        except httpx.HTTPError as error:
            raise ConnectionLost("network", f"{path}: {type(error).__name__} {error}") from error

    async def _body(self, response: Any) -> bytes:
        body = bytearray()
        async for piece in response.aiter_bytes(65_536):
            body += piece
            if len(body) > self._limits.max_http_bytes:
                raise ConnectionLost("oversize", f"more than {self._limits.max_http_bytes} bytes")
        return bytes(body)

    async def close(self) -> None:
        """Close every client; `get` would make new ones."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    def _client(self, httpx: Any, url: str) -> Any:
        target = target_of(url)
        host = f"[{target.host}]" if ":" in target.host else target.host
        base = f"{'https' if target.secure else 'http'}://{host}:{target.port}"
        if base not in self._clients:
            network = self._network = self._network or Network(self._limits)
            proxy = network.proxy_for(target)
            self._clients[base] = httpx.AsyncClient(
                base_url=base,
                verify=network.tls() if target.secure else True,
                proxy=None if proxy is None else proxy.url,
                trust_env=False,  # `Network` has read the environment, for this and for the WebSocket alike
                follow_redirects=False,
                timeout=self._limits.open_timeout_s,
                limits=httpx.Limits(max_connections=2),
            )
        return self._clients[base]
