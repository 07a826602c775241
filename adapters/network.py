"""How a connection reaches the venue, whichever library then speaks on it: addresses, the proxy, and TLS.

Certificates are always verified, against the system's authorities or those in `ca_file`, with TLS 1.2 at least: there
is nothing to switch that off with. Where a proxy is set, nothing goes around it; its credentials are never shown.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
import ssl
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from pricer.adapters.limits import FeedLimits
from pricer.adapters.resolver import Address, Resolver
from pricer.adapters.transport import ConnectionLost
from pricer.addresses import is_loopback
from pricer.errors import ConfigError

# A proxy's answer to CONNECT is a few lines.
LONGEST_PROXY_ANSWER = 16_384
_PORTS = {"ws": 80, "wss": 443}


class Target(NamedTuple):
    """What a WebSocket address names."""

    secure: bool
    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether a proxy could not reach it in any case."""
        return is_loopback(self.host)


def target_of(url: str) -> Target:
    """The parts of ws://host:port/path; `ConfigError` where it is none."""
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in _PORTS and parts.hostname and not parts.fragment and parts.username is None:
            return Target(parts.scheme == "wss", parts.hostname, parts.port or _PORTS[parts.scheme])
    except ValueError:
        pass
    raise ConfigError(f"url: {url!r} is not of the form ws://host/path or wss://host/path")


class Proxy:
    """An HTTP proxy that is asked to CONNECT. Its `repr` and `str` show no credentials."""

    def __init__(self, url: str) -> None:
        shown = _without_credentials(url)
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port or 80
        except ValueError:
            raise ConfigError(f"proxy: {shown!r} is not of the form http://host:port") from None
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise ConfigError(f"proxy: {shown!r} is not of the form http://host:port; no other kind is supported")
        self.url = url
        self.host = parts.hostname
        self.port = port
        self._authorization = ""
        if parts.username is not None:
            pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._authorization = base64.b64encode(pair.encode()).decode("ascii")

    def __repr__(self) -> str:
        return f"Proxy('http://{self.host}:{self.port}')"

    def request(self, host: str, port: int) -> bytes:
        """The CONNECT request for one destination."""
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if self._authorization:
            lines.append(f"Proxy-Authorization: Basic {self._authorization}")
        return "\r\n".join([*lines, "", ""]).encode("ascii")


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def proxy_from_environment(target: Target) -> Proxy | None:
    """What HTTPS_PROXY (for wss), HTTP_PROXY (for ws) and NO_PROXY say; None where nothing does."""
    found = urllib.request.getproxies().get("https" if target.secure else "http")
    if not found or target.is_loopback or urllib.request.proxy_bypass(f"{target.host}:{target.port}"):
        return None
    return Proxy(found if "://" in found else f"http://{found}")


class Network:
    """The way out. `proxy` is an address, "environment" (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) or "" for none.

    A CA file that cannot be read, or a proxy of another kind than http://, is a `ConfigError`.
    """

    def __init__(
        self,
        limits: FeedLimits | None = None,
        *,
        ca_file: str | Path | None = None,
        proxy: str = "environment",
        resolver: Resolver | None = None,
    ) -> None:
        self.limits = limits or FeedLimits()
        self._ca_file = ca_file
        self._tls: ssl.SSLContext | None = None
        self._from_environment = proxy == "environment"
        self._proxy = None if proxy in ("environment", "") else Proxy(proxy)
        self._resolver = resolver or Resolver()
        if ca_file is not None:
            self.tls()  # a file that is none is told at once, not at the first connection

    def tls(self) -> ssl.SSLContext:
        """The one context of all connections."""
        if self._tls is None:
            try:
                self._tls = ssl.create_default_context(cafile=self._ca_file)
            except OSError as error:  # SSLError is one
                raise ConfigError(f"ca_file: {str(self._ca_file)!r}: {error.strerror or error}") from error
            self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        return self._tls

    def proxy_for(self, target: Target) -> Proxy | None:
        """The proxy that leads there."""
        return proxy_from_environment(target) if self._from_environment else self._proxy

    async def socket_for(self, url: str, *, context: str) -> tuple[socket.socket, dict[str, Any]]:
        """Where both libraries begin: a connected socket, and for wss what TLS on it is to be, in asyncio's words.

        `context` is the library's word for the context.
        """
        target = target_of(url)
        tls: dict[str, Any] = {}
        if target.secure:
            tls = {
                context: self.tls(),
                "ssl_handshake_timeout": self.limits.open_timeout_s,
                "ssl_shutdown_timeout": self.limits.close_timeout_s,
            }
        return await self.dial(target), tls

    async def dial(self, target: Target) -> socket.socket:
        """A connected socket on which the venue hears us, in bounded time; `ConnectionLost` where there is none."""
        proxy = self.proxy_for(target)
        if proxy is None:
            return await self._reach(target.host, target.port)
        try:
            plain = await self._reach(proxy.host, proxy.port)
        except ConnectionLost as lost:
            raise ConnectionLost("proxy_unreachable", f"{proxy!r}: {lost}") from lost
        try:
            async with asyncio.timeout(self.limits.open_timeout_s):
                await _tunnel(plain, proxy, target)
        except TimeoutError:
            plain.close()
            raise ConnectionLost("proxy_timeout", f"{proxy!r} does not answer CONNECT") from None
        except BaseException:
            plain.close()
            raise
        return plain

    async def _reach(self, host: str, port: int) -> socket.socket:
        """The first of the host's addresses, asked for anew each time, that takes the connection."""
        lost = ConnectionLost("dns", f"{host}: no address")
        for address in await self._resolver.resolve(host, port, self.limits.dns_timeout_s):
            try:
                return await _connected(address, self.limits.address_timeout_s)
            except TimeoutError:
                lost = ConnectionLost("timeout", f"{address.where[0]} does not answer")
            except ConnectionRefusedError as error:
                lost = ConnectionLost("refused", f"{address.where[0]}: {error.strerror}")
            except OSError as error:
                lost = ConnectionLost("network", f"{address.where[0]}: {error.strerror or error}")
        raise lost


async def _connected(address: Address, timeout_s: float) -> socket.socket:
    made = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        async with asyncio.timeout(timeout_s):
            await asyncio.get_running_loop().sock_connect(made, address.where)
    except BaseException:
        made.close()
        raise
    return made


async def _tunnel(plain: socket.socket, proxy: Proxy, target: Target) -> None:
    loop = asyncio.get_running_loop()
    answer = b""
    try:
        await loop.sock_sendall(plain, proxy.request(target.host, target.port))
        while b"\r\n\r\n" not in answer and len(answer) < LONGEST_PROXY_ANSWER:
            # The venue is silent until we speak, so what is read here is the proxy's own.
            piece = await loop.sock_recv(plain, 4096)
            if not piece:
                break
            answer += piece
    except OSError as error:
        raise ConnectionLost("proxy_refused", f"{proxy!r}: {error.strerror or error}") from error
    status = _status(answer)
    if status == 407:
        raise ConnectionLost("proxy_auth", f"{proxy!r} wants other credentials (HTTP 407)")
    if status is None or not 200 <= status < 300 or not answer.endswith(b"\r\n\r\n"):
        first = answer.partition(b"\r\n")[0][:60]
        raise ConnectionLost("proxy_refused", f"{proxy!r} answered {first!r}")


def _status(answer: bytes) -> int | None:
    words = answer.partition(b"\r\n")[0].split()
    with contextlib.suppress(IndexError, ValueError):
        if words[0].startswith(b"HTTP/1."):
            return int(words[1])
    return None
