"""Where a request comes from, for limits that count by address."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import Scope

LOCAL = "unix socket"


def peer_address(scope: Scope, *, behind_proxy: bool) -> str:
    """The address of the other end; behind a proxy, the one that the proxy itself saw.

    A proxy appends the address that it saw to X-Forwarded-For, so the last entry is its own word; what stands before
    it is the client's, and may be invented.
    """
    if behind_proxy:
        forwarded = Headers(scope=scope).getlist("x-forwarded-for")
        seen = forwarded[-1].rpartition(",")[2].strip() if forwarded else ""
        if seen:
            return seen[:64]
    client = scope.get("client")
    return str(client[0]) if client else LOCAL
