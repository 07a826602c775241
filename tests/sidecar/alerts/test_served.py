"""Rules of a running sidecar: to the log, to clients, to a webhook; changed while it runs; refused at the start."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from pricer.config import Settings
from pricer.errors import ConfigError
from pricer.sidecar.app import serve
from tests.sidecar.alerts.receiver import Receiver
from tests.sidecar.serving import QUICK, ask, hear, joined
from tests.sidecar.snapshots import Market, Source
from tests.waiting import PATIENCE_S

LOCAL = "127.0.0.0/8"


class Operator:
    """Who writes the settings."""

    def __init__(self, **alerts: Any) -> None:
        self.alerts = {"every_ms": 50, **alerts}

    def settings(self) -> Settings:
        return Settings.load(server=QUICK, alerts=self.alerts)


@asynccontextmanager
async def watching(source: Source, operator: Operator) -> AsyncIterator[str]:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    started = serve(source, operator.settings(), started=address.set_result)
    task = asyncio.create_task(started)
    task.add_done_callback(lambda _: address.done() or address.cancel())
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            yield await address
    finally:
        task.cancel()
        await asyncio.wait({task})


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told; the watchdog may have something to say of a busy machine, too."""
    return [record.getMessage() for record in caplog.records if record.name == "pricer.sidecar.alerts.notices"]


async def fetched(address: str, path: str) -> str:
    async with httpx.AsyncClient(timeout=60, base_url=address, trust_env=False) as client:
        return (await client.get(path)).text


async def test_a_rule_fires_for_the_log_a_client_and_a_webhook(
    market: Market, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pricer.sidecar.alerts.notices")
    receiver = Receiver()
    name = market.definitions[0].names[10]
    async with receiver.listening() as url:
        operator = Operator(
            rules={"wild": "iv > 500% clear < 400%"},
            template="{rule} {state}: {subjects} at {value}",
            webhooks=[url],
            webhook_networks=[LOCAL],
        )
        async with watching(source, operator) as address, joined(address) as websocket:
            empty = await ask(websocket, op="subscribe", channel="alerts")
            assert (empty["raised"], empty["columns"]["rule"], empty["underlying"]) == (0, [], "")
            market.quote(0, 10, iv=6.0)
            source.publish(market.snapshot())
            shown = await hear(websocket, "snapshot")
            table = shown["columns"]
            assert (shown["raised"], table["rule"], table["subject"]) == (1, ["wild"], [name])
            assert (table["metric"], table["limit"], table["value"]) == (["iv"], ["> 5"], [6.0])
            assert (table["state"], table["status"], table["reasons"]) == (["raised"], ["OK"], [[]])
            market.quote(0, 10, iv=4.5)
            source.publish(market.snapshot())
            assert (await hear(websocket, "delta"))["columns"]["value"] == [4.5], "the alert lasts until it is cleared"
            metrics = await fetched(address, "/metrics")
            health = await ask(websocket, op="subscribe", channel="health")
            assert health["alarms"]["alerts_raised"] == 1
            market.quote(0, 10, iv=1.0)
            source.publish(market.snapshot())
            while (await hear(websocket, "snapshot"))["channel"] != "alerts":
                pass
            await receiver.heard(2)
    assert "\nvolstream_alerts_active 1.0\n" in metrics
    assert '\nvolstream_alerts_total{stage="raised"} 1.0\n' in metrics
    told = [each for body in receiver.bodies for each in body["alerts"]]
    assert [(each["rule"], each["state"], each["subjects"]) for each in told] == [
        ("wild", "raised", [name]),
        ("wild", "cleared", [name]),
    ]
    assert lines(caplog) == [f"wild raised: {name} at 6", f"wild cleared: {name} at 1"]


async def test_Z09_a_webhook_that_leads_inside_keeps_the_sidecar_from_starting(source: Source) -> None:
    for networks in ([], ["10.0.0.0/8"]):
        operator = Operator(webhooks=["https://127.0.0.1:9/secret-path"], webhook_networks=networks)
        with pytest.raises(
            ConfigError, match=r"^alerts\.webhooks: .*not allowed unless alerts\.webhook_networks"
        ) as refused:
            await serve(source, operator.settings(), started=lambda address: pytest.fail("it began to serve"))
        assert "secret-path" not in str(refused.value)


async def test_Z09_no_request_of_a_client_adds_a_rule_or_an_address(source: Source) -> None:
    async with watching(source, Operator()) as address, joined(address) as websocket:
        wish = {"op": "subscribe", "channel": "alerts", "rules": {"a": "iv > 0"}, "webhooks": ["http://127.0.0.1/"]}
        assert (await ask(websocket, **wish))["raised"] == 0
        metrics = await fetched(address, "/metrics")
    assert "\nvolstream_alert_rules 0.0\n" in metrics


async def test_X06_a_storm_on_a_real_sidecar_is_a_few_lines_and_a_bounded_table(
    market: Market, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pricer.sidecar.alerts.notices")
    rules = {f"r{i}": f"iv > 0.{i:04d}1 in nearest 1 delta 0.45..0.55" for i in range(5000)}
    started = time.monotonic()
    async with watching(source, Operator(rules=rules, notices_per_s=2)) as address, joined(address) as websocket:
        shown = await ask(websocket, op="subscribe", channel="alerts")
        while not shown["raised"]:
            shown = await hear(websocket, "snapshot")
        assert shown["raised"] > 1000 == len(shown["columns"]["rule"])
        told = lines(caplog)
        assert 1 <= len(told) <= 2 * (1 + time.monotonic() - started), "two a second, however long it takes"
        assert "rules raised" in told[-1]


@pytest.mark.parametrize("text", ["__import__('os').system('true') > 1", "iv > 1; iv > 2", "{0.__class__} > 1"])
def test_Z14_a_hostile_rule_in_the_settings_is_refused_by_its_path(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^alerts\.rules\.wild: ") as refused:
        Settings.load(alerts={"rules": {"fine": "iv > 1", "wild": text}})
    assert "fine" not in str(refused.value)


async def test_Z13_a_template_of_the_settings_is_data(
    market: Market, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    template = "{rule.__class__} {subjects!r} %s {0} {rule}"
    market.quote(0, 10, iv=6.0)
    source.publish(market.snapshot())
    async with watching(source, Operator(rules={"wild": "iv > 500%"}, template=template)):
        async with asyncio.timeout(PATIENCE_S):
            while not lines(caplog):  # noqa: ASYNC110 - the log tells nobody
                await asyncio.sleep(0.01)
    assert lines(caplog) == ["{rule.__class__} {subjects!r} %s {0} wild"]


@pytest.mark.parametrize(
    ("alerts", "path"),
    [
        ({"rules": {"a\nb": "iv > 1"}}, r"alerts.rules.a\nb.[key]: "),
        ({"rules": {f"r{i}": "iv > 1" for i in range(5001)}}, "alerts.rules: "),
        ({"webhook_networks": ["10.0.0.1/8"]}, "alerts.webhook_networks.0: "),
        ({"webhooks": ["https://hooks.example/planted-secret", 5]}, "alerts.webhooks.1: "),
        ({"webhooks": {"a": "https://hooks.example/planted-secret"}}, "alerts.webhooks: "),
        ({"notices_per_s": 11}, "alerts.notices_per_s: "),
    ],
)
def test_E09_I10_a_setting_that_is_wrong_is_named_and_no_address_shown(alerts: dict[str, Any], path: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Settings.load(alerts=alerts)
    text = str(refused.value)
    assert text.startswith(path)
    assert "\n" not in text
    assert "planted-secret" not in text
    assert len(text) < 600


def test_I10_webhooks_are_never_shown() -> None:
    settings = Settings.load(alerts={"webhooks": ["https://hooks.example/planted-secret"]})
    assert "planted-secret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
