"""What can be known before anything is started: no kernels are compiled for a sidecar that cannot be."""

from __future__ import annotations

from pricer.clock import SystemClock
from pricer.config import Settings
from pricer.sidecar.alerts.service import check_rules, webhooks_of
from pricer.sidecar.auth import authority_of
from pricer.sidecar.listener import bind_port
from pricer.sidecar.tls import server_context
from pricer.sidecar.webhook_address import WebhookAddress


async def check(settings: Settings) -> tuple[WebhookAddress, ...]:
    """`ConfigError` names the key that `serve` would refuse; else where webhooks lead, for it."""
    own = settings.server
    server_context(own)
    authority_of(own, SystemClock())
    check_rules(settings.alerts, settings.feed.underlyings)
    if own.metrics_port is not None:
        bind_port("127.0.0.1", own.metrics_port, "metrics_port").close()
    return await webhooks_of(settings.alerts)
