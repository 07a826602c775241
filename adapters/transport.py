"""The seam between a feed and a WebSocket library, and the words for how connections end."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Protocol

# Whatever a peer or the system tells us is shown escaped, on one line, and no longer than this.
LONGEST_DETAIL = 200
# A venue may ask for a long pause (Retry-After), but not for an endless one.
LONGEST_RETRY_AFTER_S = 3600.0

# RFC 6455 section 7.4.1; any other code is "closed_other", so that metrics stay bounded.
CLOSE_WORDS = {
    1000: "closed_normal",
    1001: "closed_going_away",
    1002: "closed_protocol_error",
    1003: "closed_unsupported_data",
    1007: "closed_bad_payload",
    1008: "closed_policy",
    1009: "closed_too_big",
    1011: "closed_server_error",
    1012: "closed_restart",
    1013: "closed_try_later",
}


class ConnectionLost(Exception):
    """A connection ended or could not be made; `reason` is a word from a bounded set, `detail` is for people."""

    def __init__(self, reason: str, detail: str = "", retry_after_s: float = 0.0) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail.encode("unicode_escape").decode("ascii")[:LONGEST_DETAIL]
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class Connection(Protocol):
    """One open WebSocket. Everything that awaits raises `ConnectionLost` when the connection is gone."""

    async def recv(self) -> bytes | str:
        """The next message. Takes no turn of the loop while messages wait."""

    async def send(self, text: str) -> None:
        """Returns when the system has taken most of it: what waits in buffers is bounded."""

    async def ping(self) -> None:
        """Returns when the pong has come."""

    async def abort(self) -> None:
        """Drop it without a word to the peer, which may be gone."""

    async def close(self) -> None:
        """Take leave properly."""


class Transport(Protocol):
    """How connections are made; raises `ConnectionLost`."""

    async def connect(self, url: str) -> Connection: ...


def closed_by_peer(code: int, text: str) -> ConnectionLost:
    """The peer said goodbye with `code`."""
    return ConnectionLost(CLOSE_WORDS.get(code, "closed_other"), f"{code} {text}")


def closed_by_us(code: int, text: str) -> ConnectionLost:
    """We closed it, because of what the peer had sent."""
    return ConnectionLost("oversize" if code == 1009 else "bad_websocket", f"{code} {text}")


def refused_upgrade(status: int, retry_after: str | None, date: str | None) -> ConnectionLost:
    """The venue answered the upgrade with an HTTP status; its headers say when to come back."""
    words = {403: "banned", 418: "banned", 429: "rate_limited"}
    reason = words.get(status, f"http_{status // 100}xx")
    return ConnectionLost(reason, f"HTTP {status}", retry_after_s(retry_after, date))


def retry_after_s(value: str | None, date: str | None = None) -> float:
    """The header in seconds, 0 where it is absent; a date counts from the answer's own `Date`, not from our clock.

    >>> retry_after_s("120"), retry_after_s("Sat, 21 Nov 2026 10:00:30 GMT", "Sat, 21 Nov 2026 10:00:00 GMT")
    (120.0, 30.0)
    """
    if value is None:
        return 0.0
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), LONGEST_RETRY_AFTER_S)
    try:
        asked = parsedate_to_datetime(value) - parsedate_to_datetime(date or "")
    except (ValueError, TypeError):  # no dates; or one with a zone and one without
        return 0.0
    return min(max(asked.total_seconds(), 0.0), LONGEST_RETRY_AFTER_S)
