"""What happens to every request before a path is looked up: HEAD, the size of bodies, and how often one may ask.

Costs are counted in requests: a cheap question costs 1, and a costly one as many as it takes the time of. Each address
has a bucket that fills with `server.max_http_per_s` and holds twice that; a request that finds too little is answered
by 429 and the seconds to wait. The buckets of the addresses that asked last are kept, and no more.
"""

from __future__ import annotations

from collections import OrderedDict

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pricer.addresses import network_of
from pricer.clock import Clock
from pricer.sidecar.peer import peer_address
from pricer.sidecar.routes.errors import Refusal, problem
from pricer.sidecar.routes.shortcuts import Shortcuts

MOST_ADDRESSES = 4096
# Enough for the most contracts that may be posted, at a hundred bytes each.
MOST_BODY_BYTES = 256 * 1024
# Asked by supervisors, whoever else shares their address.
FREE = ("/health/live", "/health/ready", "/metrics")


class Budgets:
    """How much each address may still ask for."""

    def __init__(self, per_s: float, clock: Clock, *, behind_proxy: bool = False) -> None:
        self.per_s = per_s
        self._behind_proxy = behind_proxy
        self.refused = 0
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, int]] = OrderedDict()

    @property
    def most(self) -> float:
        """What a bucket holds. What costs more takes all that a full one has left after the request itself."""
        return max(2.0 * self.per_s, 2.0)

    def __len__(self) -> int:
        return len(self._left)

    def address_of(self, scope: Scope) -> str:
        """Whose bucket pays."""
        return network_of(peer_address(scope, behind_proxy=self._behind_proxy))

    def take(self, address: str, cost: float, paid: float = 0.0) -> None:
        """Pay for a request; `Refusal` 429 with Retry-After where the address has too little left.

        `paid` is what the same request has paid before, besides the one of every request.
        """
        now = self._clock.now().mono_ns
        left, before = self._left.pop(address, (self.most, now))
        left = min(self.most, left + (now - before) * 1e-9 * self.per_s)
        needs = min(cost, self.most - 1.0 - paid)
        enough = left >= needs
        self._left[address] = left - cost if enough else left, now
        if len(self._left) > MOST_ADDRESSES:
            self._left.popitem(last=False)
        if not enough:
            self.refused += 1
            wait = max(1, -int(-(needs - left) // self.per_s))
            raise Refusal(
                429,
                f"this costs as much as {cost:.0f} requests, and your address may make {self.per_s:g} a second; wait"
                f" {wait} s",
                headers={"retry-after": str(wait)},
            )


class Edge:
    """ASGI middleware for all of that."""

    def __init__(self, app: ASGIApp, budgets: Budgets, shortcuts: Shortcuts) -> None:
        self._app = app
        self._budgets = budgets
        self._shortcuts = shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if scope["path"] not in FREE:
                self._budgets.take(self._budgets.address_of(scope), 1.0)
            headers = Headers(scope=scope)
            check_length(headers.get("content-length"))
        except Refusal as refusal:
            answer = problem(refusal.status_code, refusal.code, refusal.detail, dict(refusal.headers or {}))
            await answer(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the same answer, without its body
            scope, send = {**scope, "method": "GET"}, without_body(send)
        known = self._shortcuts.answer(scope, headers) if scope["method"] == "GET" else None
        if known is not None:
            await known(scope, receive, send)
            return
        await self._app({**scope, "shortcuts": self._shortcuts}, limited(receive), send)


def check_length(header: str | None) -> None:
    """`Refusal` 413 where a body says that it is too large."""
    if header is not None and not (header.isdigit() and int(header) <= MOST_BODY_BYTES):
        raise Refusal(413, f"a body has at most {MOST_BODY_BYTES} bytes")


def limited(receive: Receive) -> Receive:
    """`Refusal` 413 where a body turns out too large. That it comes in time is the transport's business."""
    size, over = 0, False

    async def receive_limited() -> Message:
        nonlocal size, over
        if over:
            return await receive()
        message = await receive()
        if message["type"] == "http.request":
            size += len(message.get("body", b""))
            if size > MOST_BODY_BYTES:
                raise Refusal(413, f"a body has at most {MOST_BODY_BYTES} bytes")
            over = not message.get("more_body", False)
        return message

    return receive_limited


def without_body(send: Send) -> Send:
    """Headers as they are, an empty body."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head
