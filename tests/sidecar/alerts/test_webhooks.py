"""Deliveries to a real server on this machine: retried, in order, bounded, and never redirected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from pricer.clock import Instant
from pricer.sidecar.alerts.notices import Notice
from pricer.sidecar.alerts.webhooks import Webhook
from pricer.sidecar.webhook_address import networks, webhook_address
from tests.sidecar.alerts.receiver import Receiver

AT = Instant(1_795_000_000_000_000_000, 0)


def notice(number: int) -> Notice:
    return Notice(f"r{number}", "raised", "iv", "> 1", 3, ("X",), 1.5, AT)


@asynccontextmanager
async def delivering(receiver: Receiver, **limits: Any) -> AsyncIterator[Webhook]:
    async with receiver.listening() as url:
        address = await webhook_address(url, networks(["127.0.0.0/8"]))
        webhook = Webhook(address, first_retry_s=0.01, **limits)
        running = asyncio.create_task(webhook.run())
        try:
            async with asyncio.timeout(60):
                yield webhook
        finally:
            running.cancel()
            await asyncio.wait({running})


async def test_deliveries_arrive_in_order_and_are_tried_again() -> None:
    receiver = Receiver("500 No", "503 No", "200 Yes")
    async with delivering(receiver) as webhook:
        webhook.tell([notice(1), notice(2)])
        webhook.tell([notice(3)])
        await receiver.heard(2)
        while webhook.counters["delivered"] < 2:  # noqa: ASYNC110 - counted after the answer was read
            await asyncio.sleep(0.001)
    assert [[each["rule"] for each in body["alerts"]] for body in receiver.bodies] == [["r1", "r2"], ["r3"]]
    assert (webhook.counters["delivered"], webhook.counters["failed_attempts"]) == (2, 2)


async def test_X06_what_is_given_up_is_counted_in_what_follows(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver(*["500 No"] * 4)
    async with delivering(receiver) as webhook:
        webhook.tell([notice(1)])
        webhook.tell([notice(2)])
        await receiver.heard(1)
    assert receiver.bodies[0]["lost_before"] == 3
    assert "status 500" in caplog.text
    assert "secret" not in caplog.text


async def test_X06_the_queue_is_bounded() -> None:
    receiver = Receiver()
    async with delivering(receiver, most_waiting=2) as webhook:
        for number in range(10):  # the task has had no turn yet
            webhook.tell([notice(number)])
        await receiver.heard(2)
    assert [body["alerts"][0]["rule"] for body in receiver.bodies] == ["r8", "r9"]
    assert receiver.bodies[0]["lost_before"] == 24


async def test_Z09_redirects_are_not_followed() -> None:
    receiver = Receiver("302 Found\r\nlocation: /elsewhere", "200 Yes")
    async with delivering(receiver) as webhook:
        webhook.tell([notice(1)])
        await receiver.heard(1)
    assert receiver.paths == ["/hook/secret", "/hook/secret"]


async def test_Z09_an_answer_that_cannot_be_read_is_one_more_failure() -> None:
    receiver = Receiver("302 Found\r\nlocation: http://xn--/", "302 Found\r\nlocation: mailto:x", "200 Yes")
    async with delivering(receiver) as webhook:
        webhook.tell([notice(1)])
        await receiver.heard(1)
    assert webhook.counters["failed_attempts"] == 2
