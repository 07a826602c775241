"""`[alerts]`: rules, and whom the sidecar tells."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

from pricer.config.section import Section, split

# What a running sidecar takes over, as of the server; where webhooks lead is looked up once, at the start.
RELOADABLE_ALERTS = frozenset(("rules", "every_ms", "notices_per_s", "template"))


def _rule(text: str) -> str:
    """A rule that the sidecar will understand; its name is in the path of the error."""
    from pricer.sidecar.alerts.language import parse

    parse("", text)
    return text


def _network(text: str) -> str:
    """What pydantic's own network types would refuse to write back as it was."""
    ipaddress.ip_network(text)
    return text


RuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_ .:/-]{0,63}$")]
Webhooks = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(split)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(split)]


class AlertsSection(Section):
    """What the sidecar watches and whom it tells; docs/alerts.md has the language of rules."""

    rules: dict[RuleName, Annotated[str, AfterValidator(_rule)]] = Field(
        {}, max_length=5000, description='By name: `wild = "iv > 120% for 10s clear < 110% in BTC nearest 3"`.'
    )
    every_ms: float = Field(500.0, ge=50, le=60_000, description="How often the rules are held against the numbers.")
    notices_per_s: float = Field(
        10.0, gt=0, le=10, description="At most so many lines and webhook entries; more are told together, by count."
    )
    template: str = Field(
        "{rule} {state}: {metric} {limit}: {subjects} at {value}",
        min_length=1,
        max_length=500,
        description="Of a line in the log: text with {rule}, {state}, {metric}, {limit}, {count}, {subjects}, {value}.",
    )
    webhooks: Webhooks = Field(
        (), max_length=8, description="Addresses that notices are posted to: `https://host/path`, best in a file."
    )
    webhook_networks: Networks = Field(
        (), max_length=32, description='Networks that webhooks may lead to though they are not public: "10.1.0.0/16".'
    )
