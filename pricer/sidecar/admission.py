"""Who may have a connection at all: counted per address, and refused before anything is made for it.

A connection begins as HTTP, of which there may be `max_http_connections`, each for a short time without a request. Its
WebSocket handshake makes it a client, of which there may be `max_clients`; where tokens are asked for and the handshake
shows none, it is one of `MOST_UNKNOWN` until its first message has. Of each kind an address may have
`max_clients_per_address`, of the last `MOST_UNKNOWN_OF_ONE`, so that nobody alone keeps all others from showing theirs;
a unix socket has no address, and there only the totals count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from pricer.addresses import network_of
from pricer.config import ServerSection

# WebSockets that have not shown a token yet; they cost nothing but themselves.
MOST_UNKNOWN, MOST_UNKNOWN_OF_ONE = 64, 8
# Why connections were refused or cut, for the metrics.
TOTAL, ADDRESS, TIMEOUT, TOO_LARGE, MALFORMED, UNREAD = (
    "total",
    "address",
    "timeout",
    "too_large",
    "malformed",
    "unread",
)
REFUSALS = (TOTAL, ADDRESS, TIMEOUT, TOO_LARGE, MALFORMED, UNREAD)


class Places:
    """So many at once, and so many of one address."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self.limit(most, most_of_one)
        self._taken: Counter[str] = Counter()
        self.count = 0

    def limit(self, most: int, most_of_one: int) -> None:
        """From now on."""
        self._most, self._most_of_one = most, most_of_one

    def take(self, address: str) -> str:
        """Take a place; why not, where there is none."""
        if self.count >= self._most:
            return TOTAL
        if address and self._taken[address] >= self._most_of_one:
            return ADDRESS
        self.count += 1
        self._taken[address] += 1
        return ""

    def give_back(self, address: str) -> None:
        """A place is free again."""
        self.count -= 1
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]


class Admission:
    """The places of one sidecar, and how often there was none. `most`: what the machine allows in all."""

    def __init__(self, settings: ServerSection, most: int | None = None) -> None:
        self._most = most
        self.http, self.clients, self.unknown = Places(0, 0), Places(0, 0), Places(0, 0)
        self.asks: Callable[[], bool] = lambda: False  # are tokens asked for?
        self.refused: Counter[str] = Counter()
        self.reconfigure(settings)

    def reconfigure(self, settings: ServerSection) -> None:
        """Other limits from now on. Whoever is inside stays."""
        self.settings = settings
        wanted = settings.max_http_connections + settings.max_clients
        share = 1.0 if self._most is None else min(1.0, self._most / wanted)
        one = settings.max_clients_per_address
        self.http.limit(max(int(settings.max_http_connections * share), 1), one)
        self.clients.limit(max(int(settings.max_clients * share), 1), one)
        self.unknown.limit(MOST_UNKNOWN, min(one, MOST_UNKNOWN_OF_ONE))

    def websockets(self, shows_token: bool) -> Places:
        """The places for a handshake."""
        return self.clients if shows_token or not self.asks() else self.unknown

    def address_of(self, client: tuple[str, int] | None) -> str:
        """Whom a connection counts for: nobody behind a proxy, which is the address of all."""
        return "" if client is None or self.settings.behind_proxy else network_of(client[0])
