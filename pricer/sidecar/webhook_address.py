"""Where alerts may be posted to: an address of the operator's, looked up once, and never one inside by accident.

A URL can name what only this machine or its network can reach: the metadata service of a cloud, a router, a database.
So a webhook's host is resolved when the settings are read; every address it has must be a public one, or lie in a
network that the operator allows; and connections go to the address found then. A name that points elsewhere later (DNS
rebinding) changes nothing, redirects are not followed, and proxies of the environment are not asked.

The POST is written here, since all that is wanted of an answer is three digits: a library would read headers that may
be made to harm it (a redirect to what is no address, compressed bodies, interim answers without end), and would write
the path to its own log.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import httpx

from pricer.errors import ConfigError, ConnectError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]

LONGEST_URL = 2048
# Until the status is known; so much takes no time to read, whoever sends it.
LONGEST_LINE = 4096
MOST_LINES = 100
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")
# What a path and a query may have besides letters and digits; all else is written in percent.
ALLOWED = "%!$&'()*+,-./:;=?@[]_~"
TIMEOUT_S = 5.0
PORTS = {"http": 80, "https": 443}
# IPv6 addresses with an IPv4 address in them lead there: NAT64 and 6to4.
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class NoHttp(ValueError):
    """What came is no answer."""


def system_resolve(host: str, port: int) -> Sequence[str]:
    """The system's answer; blocks."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def inside(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address carries, if any."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)


def is_public(address: Address) -> bool:
    """Whether anybody on the internet could reach it: not loopback, private, link-local, metadata, multicast ...

    >>> [is_public(ipaddress.ip_address(each)) for each in ("8.8.8.8", "169.254.169.254", "::ffff:10.0.0.1")]
    [True, False, False]
    """
    carried = inside(address)
    if carried is not None and not is_public(carried):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def networks(words: Iterable[str]) -> tuple[Network, ...]:
    """Networks that are allowed though they are not public; `ConfigError` naming what is none."""
    out = []
    for word in words:
        try:
            out.append(ipaddress.ip_network(word))
        except ValueError as error:
            raise ConfigError(f"{word!r} is not a network such as 10.1.0.0/16: {error}") from None
    return tuple(out)


@dataclass(frozen=True, repr=False)
class WebhookAddress:
    """A URL and the one address that it means from now on. The URL's path may be a secret: `repr` leaves it out."""

    url: str
    host: str
    port: int
    address: str

    def __repr__(self) -> str:
        return f"WebhookAddress({self.host}:{self.port} at {self.address})"

    async def post(self, body: bytes, *, tls: ssl.SSLContext | None = None) -> int:
        """Send `body`; the status of the answer, of which nothing is read but that. `ConnectError` where none came."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._answered(body, tls)
        except (OSError, EOFError, ValueError) as error:
            raise ConnectError(f"no answer from the webhook at {self.host}: {type(error).__name__}") from None

    async def _answered(self, body: bytes, tls: ssl.SSLContext | None) -> int:
        secure = urlsplit(self.url).scheme == "https"
        reader, writer = await asyncio.open_connection(
            self.address,
            self.port,
            limit=LONGEST_LINE,
            ssl=(tls or httpx.create_ssl_context(trust_env=False)) if secure else None,
            # The certificate must be the name's, though the connection goes to the address.
            server_hostname=self.host if secure else None,
        )
        try:
            writer.write(self._request(body))
            await writer.drain()
            return await _status(reader)
        finally:
            writer.transport.abort()  # whatever else it has to say

    def _request(self, body: bytes) -> bytes:
        parts = urlsplit(self.url)
        target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=ALLOWED)
        head = (
            f"POST {target} HTTP/1.1\r\nhost: {parts.netloc}\r\nuser-agent: volstream\r\naccept: */*\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        )
        return head.encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    """The answer's, past interim ones such as 100 Continue; `NoHttp` where it is not to be found."""
    interim = False
    for _ in range(MOST_LINES):
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise EOFError
        if interim:
            interim = bool(line.strip())
            continue
        found = STATUS_LINE.fullmatch(line)
        if found is None:
            break
        status = int(found[1])
        if status >= 200 or status == 101:
            return status
        interim = True
    raise NoHttp


async def webhook_address(
    url: str, allowed: Sequence[Network] = (), *, resolve: Resolve = system_resolve
) -> WebhookAddress:
    """Look up a configured URL, once. `ConfigError` says what is wrong with it, without its path.

    `allowed` are networks that may be posted to though they are not public; to those plain http is allowed, too.
    """
    host, port, secure = _parts(url)
    try:
        found = await asyncio.wait_for(asyncio.to_thread(resolve, host, port), TIMEOUT_S)
    except (OSError, TimeoutError, UnicodeError):
        raise ConfigError(f"the webhook's host {host!r} has no address") from None
    addresses = [ipaddress.ip_address(each.partition("%")[0]) for each in found]
    if not addresses:
        raise ConfigError(f"the webhook's host {host!r} has no address")
    for address in addresses:  # one that is inside among ten that are not is still a way in
        listed = _is_listed(address, allowed)
        if not listed and not is_public(address):
            raise ConfigError(
                f"the webhook's host {host!r} is at {address}, which is not public: not allowed unless "
                "alerts.webhook_networks has its network"
            )
        if not listed and not secure:
            raise ConfigError(f"the webhook at {host!r} needs https:// unless alerts.webhook_networks has its network")
    return WebhookAddress(url, host, port, str(addresses[0]))


def _is_listed(address: Address, allowed: Sequence[Network]) -> bool:
    carried = inside(address) or address
    return any(carried in network for network in allowed)


def _parts(url: str) -> tuple[str, int, bool]:
    """Host, port and whether it is TLS."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("a webhook is of the form https://host/path") from None
    plain = url.isascii() and url.isprintable() and " " not in url and "\\" not in url and len(url) <= LONGEST_URL
    if not plain or parts.scheme not in PORTS or not parts.hostname:
        raise ConfigError("a webhook is of the form https://host/path")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"the webhook at {parts.hostname!r} has credentials in its address: send them in a header")
    return parts.hostname, port or PORTS[parts.scheme], parts.scheme == "https"
