"""Notices to webhooks: one POST of JSON for all that is told at once, in order, retried, bounded.

Addresses come from the configuration alone; `pricer.sidecar.webhook_address` says where they may lead (FAULTS Z09).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter, deque

import httpx
import orjson

from pricer.errors import ConnectError
from pricer.sidecar.alerts.notices import Notice
from pricer.sidecar.webhook_address import WebhookAddress

log = logging.getLogger("pricer.sidecar.alerts")

MOST_WAITING = 100
ATTEMPTS = 4
FIRST_RETRY_S = 0.5


class Webhook:
    """One address. `tell` never waits; `run` delivers until cancelled. `counters` counts what was sent and lost."""

    def __init__(
        self,
        address: WebhookAddress,
        *,
        tls: ssl.SSLContext | None = None,
        first_retry_s: float = FIRST_RETRY_S,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._address = address
        # Made once: reading the authorities takes longer than the loop may be held up.
        self._tls = tls or httpx.create_ssl_context(trust_env=False)
        self._first_retry_s = first_retry_s
        self._most_waiting = most_waiting
        self._waiting: deque[list[Notice]] = deque()
        self._wake = asyncio.Event()

    def tell(self, notices: list[Notice]) -> None:
        """Queue a delivery; where there is no room the oldest one goes, and the next delivery says how many did."""
        if len(self._waiting) >= self._most_waiting:
            self.counters["dropped"] += sum(notice.count for notice in self._waiting.popleft())
        self._waiting.append(notices)
        self._wake.set()

    async def run(self) -> None:
        """Deliver in order, until cancelled; what fails several times is given up and counted."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._deliver(self._waiting.popleft())

    async def _deliver(self, notices: list[Notice]) -> None:
        lost = self.counters["dropped"] + self.counters["given_up"]
        body = orjson.dumps({"alerts": [notice.as_json() for notice in notices], "lost_before": lost})
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._first_retry_s * 2.0 ** (attempt - 1))
            why = await self._post(body)
            if not why:
                self.counters["delivered"] += 1
                return
            self.counters["failed_attempts"] += 1
        self.counters["given_up"] += sum(notice.count for notice in notices)
        log.warning("alerts could not be delivered to the webhook at %s: %s", self._address.host, why)

    async def _post(self, body: bytes) -> str:
        """Why it was not taken; empty when it was."""
        try:
            status = await self._address.post(body, tls=self._tls)
        except ConnectError as error:
            return str(error)
        return "" if 200 <= status < 300 else f"status {status}"
