"""Alerts as the sidecar runs them: made from the settings, changed by a reload, looked at by clients and metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from pricer.clock import Clock
from pricer.config import AlertsSection
from pricer.errors import ConfigError
from pricer.sidecar.alerts.aims import check_underlyings
from pricer.sidecar.alerts.language import Rule, parse
from pricer.sidecar.alerts.notices import Notices
from pricer.sidecar.alerts.runner import Alerting, LogSink
from pricer.sidecar.alerts.watch import Active, Watch
from pricer.sidecar.alerts.webhooks import Webhook
from pricer.sidecar.webhook_address import WebhookAddress, networks, webhook_address
from pricer.snapshot import Snapshot


class Alerts:
    """All of it: the rules' task, and one for each webhook. `settings` are those in force."""

    def __init__(
        self,
        settings: AlertsSection,
        newest: Callable[[], Snapshot],
        clock: Clock,
        underlyings: Iterable[str],
        addresses: Iterable[WebhookAddress] = (),
    ) -> None:
        self.settings = settings
        self.webhooks = webhooks = tuple(map(Webhook, addresses))
        self._underlyings = tuple(underlyings)
        self._lines = LogSink(settings.template)
        self._alerting = Alerting(
            Watch(rules_of(settings)),
            Notices(settings.notices_per_s),
            (self._lines, *webhooks),
            newest=newest,
            clock=clock,
            every_s=settings.every_ms / 1e3,
        )

    @property
    def active(self) -> tuple[Active, ...]:
        """What is raised, by the newest round."""
        return self._alerting.active

    @property
    def rules(self) -> int:
        """How many rules are in force."""
        return len(self._alerting.watch.rules)

    async def run(self) -> None:
        """Watch and deliver until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._alerting.run(), name="sidecar-alerts")
            for webhook in self.webhooks:
                group.create_task(webhook.run(), name="sidecar-webhook")

    def check(self, settings: AlertsSection) -> None:
        """`ConfigError` where `settings` ask for what this sidecar cannot watch."""
        check_rules(settings, self._underlyings)

    def reconfigure(self, settings: AlertsSection) -> None:
        """Other rules, pace and template from now on; webhooks stay those of the start."""
        self._alerting.reconfigure(
            rules_of(settings), per_second=settings.notices_per_s, every_s=settings.every_ms / 1e3
        )
        self._lines.template = settings.template
        self.settings = settings

    @property
    def counts(self) -> Mapping[str, int]:
        """What has begun, ended, found no room, and was told; deliveries of all webhooks together."""
        delivered: Counter[str] = Counter()
        for webhook in self.webhooks:
            delivered.update(webhook.counters)
        sent = {f"webhook_{what}": count for what, count in delivered.items()}
        return {**self._alerting.watch.counters, **self._alerting.counters, **sent}

    @property
    def alarms(self) -> dict[str, int]:
        """What `health` tells: how many are raised, what rules aim at in vain, and what was lost."""
        counts = self.counts
        lost = ("untracked", "webhook_dropped", "webhook_given_up")
        told = {"alerts_raised": len(self.active), "alerts_unaimed": len(self._alerting.aims.missing)}
        return told | {f"alerts_{what}": counts.get(what, 0) for what in lost}


def rules_of(settings: AlertsSection) -> list[Rule]:
    """The rules in the order of the file; the settings have proved that they can be read."""
    return [parse(name, text) for name, text in settings.rules.items()]


async def webhooks_of(settings: AlertsSection) -> tuple[WebhookAddress, ...]:
    """Where webhooks lead, looked up once; `ConfigError`, with the key, where one leads to where it must not."""
    allowed = networks(settings.webhook_networks)
    try:
        return tuple([await webhook_address(url.get_secret_value(), allowed) for url in settings.webhooks])
    except ConfigError as error:
        raise ConfigError(f"alerts.webhooks: {error}") from None


def check_rules(settings: AlertsSection, underlyings: Sequence[str]) -> None:
    """`ConfigError` where a rule is of what this sidecar does not price."""
    check_underlyings(rules_of(settings), underlyings)
