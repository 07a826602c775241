"""Every setting of the program, in one schema: it checks the TOML file and the environment, and is the documentation.

The order of precedence is: what the caller passes, then the environment, then the file, then the defaults here.

    [server]                        VOLSTREAM_SERVER__PORT=9000
    port = 9000

Nothing is guessed: an unknown key or an impossible value is a `ConfigError` that names the key's path and the value.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, EnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from pricer.conventions import Dynamics
from pricer.errors import ConfigError

if TYPE_CHECKING:
    from pricer.adapters.deribit import Credentials
    from pricer.engine import EngineSettings

PREFIX = "VOLSTREAM_"
MIB = 1024 * 1024
HIDDEN = "***"
LONGEST_SHOWN = 300
SCOPES = ("read", "control", "admin")

# What a running sidecar takes over when its settings are read again; limits of a client hold for those who come later.
# Whatever is not named here needs a restart, so that a setting is never believed to be in force that is not.
RELOADABLE = frozenset(
    (
        "tokens_file",
        "token",
        "token_scopes",
        "auth_timeout_s",
        "auth_failures_per_minute",
        "tls_cert",
        "tls_key",
        "tls_client_scopes",
        "allowed_hosts",
        "allowed_origins",
        "recheck_ms",
        "heartbeat_s",
        "max_clients",
        "max_streams",
        "max_subscriptions",
        "max_requests_per_s",
        "max_errors",
        "queue_soft_bytes",
        "queue_hard_bytes",
        "slow_client_s",
    )
)
# And of alerts; where webhooks lead is looked up once, at the start.
RELOADABLE_ALERTS = frozenset(("rules", "every_ms", "notices_per_s", "template"))


def _split(value: Any) -> Any:
    """An environment variable or an option holds a list as words between commas."""
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Section(BaseModel):
    """A table of the file. Values may come as text from the environment; nothing else is converted silently."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class FeedSection(Section):
    """Where quotes come from."""

    venue: str = Field("deribit", min_length=1, description="The exchange: one of the adapters' names.")
    underlyings: Words = Field(
        ("BTC",), min_length=1, description="What to price; BTC is the venue's coin-settled family."
    )
    url: str | None = Field(
        None,
        pattern=r"^wss?://[^\s/]+",
        description="The venue's WebSocket address; by default the venue's own. The embedded market has one, too.",
    )
    transport: Literal["websockets", "picows"] = Field(
        "websockets", description="The WebSocket library; picows, of the extra [fast], costs less per frame."
    )
    ca_file: str | None = Field(
        None, min_length=1, description="Authorities to verify certificates against (PEM); by default the system's."
    )
    proxy: str = Field(
        "environment",
        repr=False,
        description="An HTTP proxy's address; `environment` obeys HTTPS_PROXY, HTTP_PROXY, NO_PROXY; empty is none.",
    )
    compression: bool = Field(False, description="Offer the venue to compress (permessage-deflate).")
    connections: int = Field(1, ge=1, le=32, description="Over so many connections the options are spread.")
    strikes: int | None = Field(
        None, ge=1, description="So many strikes on each side of the money, rolling with it; by default all."
    )
    expiries: int | None = Field(None, ge=1, description="The nearest so many expiries; by default all.")
    trades: bool | None = Field(
        None, description="Stream public trades, for the channel `trades`; by default the demo does, `serve` does not."
    )
    books_on_demand: int = Field(
        16, ge=0, le=500, description="So many order books at most are streamed while clients look at their `depth`."
    )
    client_id: str | None = Field(
        None, min_length=1, description="The name of a key of yours at the venue, to read the account with."
    )
    client_secret: SecretStr | None = Field(
        None, min_length=1, description="Its secret; in the environment, or in a file that only you can read."
    )
    login: Literal["credentials", "signature"] = Field(
        "credentials", description="Send the secret to the venue, or sign with it, which needs a right clock."
    )
    excess_rights: Literal["warn", "refuse"] = Field(
        "warn", description="What follows where the venue lets the key do more than read: a warning, or no login."
    )

    @model_validator(mode="after")
    def _whole_key(self) -> Self:
        if (self.client_id is None) != (self.client_secret is None):
            raise ValueError("client_id and client_secret must both be given, or neither")
        return self

    def credentials(self) -> Credentials | None:
        """The key of the account, where one is given."""
        from pricer.adapters.deribit import Credentials

        if self.client_id is None or self.client_secret is None:
            return None
        secret = self.client_secret.get_secret_value()
        return Credentials(self.client_id, secret, self.login, excess_rights=self.excess_rights)


class EngineSection(Section):
    """The limits behind the statuses."""

    quote_max_age_s: float = Field(
        12.0, gt=0, le=3600, description="A quote without a sign of life for so long is STALE."
    )
    forward_max_age_s: float = Field(2.0, gt=0, le=3600, description="The same for the index and the forwards.")
    last_good_s: float = Field(10.0, gt=0, le=3600, description="So long a last-good surface is DEGRADED; then STALE.")
    publish_every_ms: float = Field(250.0, ge=10, le=1000, description="Silence is published at least this often.")
    reprice_every_ms: float = Field(1000.0, ge=10, le=60_000, description="Renew model numbers for passing time alone.")
    settlement_window_s: float = Field(1800.0, ge=0, le=86_400, description="Before expiry, when the payoff averages.")
    forward_move: float = Field(1e-5, ge=0, lt=0.01, description="A smaller relative move of the forward is ignored.")
    wide_spread_iv: float = Field(0.25, gt=0, description="A bid-ask wider than this volatility makes a mid DEGRADED.")
    parity_gap: float = Field(
        3e-4, gt=0, lt=1, description="A forward so much (relative) off its options' put-call parity is DEGRADED."
    )
    freeze_move: float = Field(
        5e-4, gt=0, lt=1, description="An index or forward that is repeated while others move so much is STALE."
    )
    jump_floor: float = Field(
        0.01, gt=0, lt=1, description="A relative move of an index or forward below this is never doubted."
    )
    jump_sigmas: float = Field(
        10.0, ge=0, le=1000, description="One above it is, beyond so many standard deviations of the elapsed time."
    )
    jump_confirm_s: float = Field(
        1.0, gt=0, le=60, description="A doubted price that stands so long is taken, though nothing else confirms it."
    )
    mark_divergence_iv: float = Field(
        0.05, gt=0, description="A mark volatility of the venue that stays this far from ours raises an alarm."
    )
    surface_half_life: float = Field(
        0.0, ge=0, le=3600, description="Seconds in which half of a move of the fits is published; 0 smooths nothing."
    )
    dynamics: Dynamics = Field(
        "sticky_strike", description="How volatilities move with the market, for delta, gamma, vega and theta."
    )


class ServerSection(Section):
    """The sidecar: its address, and the bounds of everything that a client can make it hold."""

    behind_proxy: bool = Field(False, description="A proxy in front does TLS and authentication; allows any `host`.")
    tokens_file: str | None = Field(None, min_length=1, description="Who may talk to the sidecar: `volstream token`.")
    token: SecretStr | None = Field(None, min_length=32, description="One more token, best from the environment.")
    token_scopes: Words = Field(("read",), min_length=1, description="What `token` is good for: read, control, admin.")
    auth_timeout_s: float = Field(5.0, gt=0, le=60, description="A WebSocket client has so long to present its token.")
    auth_failures_per_minute: int = Field(10, ge=1, le=1000, description="Wrong tokens of an address; then 429.")
    tls_cert: str | None = Field(
        None, min_length=1, description="The certificate and its chain (PEM): TLS 1.2 at least."
    )
    tls_key: str | None = Field(
        None, min_length=1, validate_default=True, description="Its key (PEM, no passphrase), not readable by others."
    )
    tls_client_ca: str | None = Field(None, min_length=1, description="Clients need a certificate of these (PEM).")
    tls_client_scopes: Words = Field(
        ("read",), min_length=1, description="What a certificate is good for, no tokens set."
    )
    unix_socket: str | None = Field(None, min_length=1, description="Listen on this path, mode 0600, and on no port.")
    host: str = Field("127.0.0.1", min_length=1, description="The address; beyond loopback with TLS and tokens only.")
    port: int = Field(8765, ge=0, le=65_535, description="The port to listen on; 0 takes a free one.")
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="A loopback port for /metrics and /health alone."
    )
    allowed_hosts: Words = Field((), description="Further names that a Host header may have, without port.")
    allowed_origins: Words = Field(
        (), description='Pages that may talk to it: "https://desk.example"; by default its own.'
    )
    min_interval_ms: float = Field(
        100.0, ge=0, le=10_000, description="The least time between two messages of a stream."
    )
    recheck_ms: float = Field(
        250.0, ge=10, le=1000, description="In silence, how often ages are checked against limits."
    )
    heartbeat_s: float = Field(5.0, ge=0.1, le=5, description="After this long without a message a heartbeat is sent.")
    max_clients: int = Field(200, ge=1, le=10_000, description="Further WebSocket clients are refused with 503.")
    max_clients_per_address: int = Field(
        100,
        ge=1,
        le=10_000,
        description="WebSocket clients, and HTTP connections, of one address.",
    )
    max_http_connections: int = Field(
        256, ge=1, le=10_000, description="Connections that are no WebSockets, or not yet; further ones get 503."
    )
    handshake_timeout_s: float = Field(
        5.0, gt=0, le=5, description="A connection has so long to send a whole request, the first one and each next."
    )
    ping_s: float = Field(
        8.0, ge=0.1, le=8, description="WebSocket clients are pinged so often, and have so long to answer."
    )
    max_streams: int = Field(64, ge=1, le=1000, description="Distinct subscriptions that are kept at once.")
    max_subscriptions: int = Field(16, ge=1, le=1000, description="Subscriptions of one client.")
    max_requests_per_s: float = Field(
        20.0, gt=0, le=1000, description="Messages a client may send; twice that at once."
    )
    max_http_per_s: float = Field(
        1000.0, gt=0, le=100_000, description="HTTP requests of one address; twice that at once. Heavy ones count more."
    )
    max_errors: int = Field(10, ge=1, le=1000, description="After so many bad messages in a row a client is closed.")
    max_message_bytes: int = Field(16_384, ge=256, le=MIB, description="The largest message a client may send.")
    queue_soft_bytes: int = Field(2 * MIB, ge=1024, description="A longer queue is dropped: `gap`, then a snapshot.")
    queue_hard_bytes: int = Field(8 * MIB, ge=1024, description="A client whose queue would be longer is closed.")
    slow_client_s: float = Field(10.0, gt=0, le=600, description="A client that is behind for so long is closed.")
    checksum_every: int = Field(50, ge=1, le=10_000, description="Every so many messages a delta has a `crc32`.")
    resume_messages: int = Field(600, ge=0, le=100_000, description="Messages of a stream held for a resume.")
    resume_bytes: int = Field(4 * MIB, ge=0, le=1024 * MIB, description="And at most so many bytes of each stream.")
    significant_digits: int = Field(9, ge=6, le=15, description="Values are rounded once to so many digits.")
    shutdown_s: float = Field(
        3.0, gt=0, le=60, description="How long clients have to say goodbye when the sidecar ends."
    )
    exit_s: float = Field(8.0, gt=0, le=60, description="So long after a signal the process ends, come what may.")

    @field_validator("host")
    @classmethod
    def _loopback_or_guarded(cls, host: str, info: ValidationInfo) -> str:
        given = info.data
        known = any(given.get(name) for name in ("tokens_file", "token", "tls_client_ca"))
        if is_loopback(host) or given.get("behind_proxy") or (given.get("tls_cert") and known):
            return host
        what = "no TLS" if known else "no authentication" if given.get("tls_cert") else "neither TLS nor authentication"
        raise ValueError(
            f"beyond loopback there would be {what}: set server.tls_cert and server.tls_key, and server.tokens_file "
            "(or server.tls_client_ca); or server.behind_proxy = true if a proxy in front of it does both"
        )

    @field_validator("tls_key")
    @classmethod
    def _key_with_certificate(cls, key: str | None, info: ValidationInfo) -> str | None:
        if (key is None) != (info.data.get("tls_cert") is None):
            raise ValueError("server.tls_cert and server.tls_key must both be given, or neither")
        return key

    @field_validator("tls_client_ca")
    @classmethod
    def _clients_over_tls(cls, authorities: str | None, info: ValidationInfo) -> str | None:
        if authorities is not None and info.data.get("tls_cert") is None:
            raise ValueError("needs server.tls_cert and server.tls_key")
        return authorities

    @field_validator("unix_socket")
    @classmethod
    def _plain_socket(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is not None and info.data.get("tls_cert") is not None:
            raise ValueError("has no TLS: only its owner can open it; leave server.tls_cert out")
        return path

    @field_validator("token_scopes", "tls_client_scopes")
    @classmethod
    def _known_scopes(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if set(scopes) - set(SCOPES):
            raise ValueError(f"there are the scopes {', '.join(SCOPES)}")
        return scopes

    @field_validator("allowed_origins")
    @classmethod
    def _whole_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}" or "@" in origin:
                raise ValueError("an origin is a scheme, a name and perhaps a port: https://desk.example")
        return origins

    @field_validator("queue_hard_bytes")
    @classmethod
    def _hard_above_soft(cls, hard: int, info: ValidationInfo) -> int:
        if hard < info.data.get("queue_soft_bytes", 0):
            raise ValueError("must not be smaller than server.queue_soft_bytes")
        return hard


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
Webhooks = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
Networks = Annotated[tuple[Annotated[str, AfterValidator(_network)], ...], NoDecode, BeforeValidator(_split)]


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


class Settings(BaseSettings):
    """All settings. `Settings()` is the defaults; `Settings.load()` reads the file and the environment, too."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter="__", hide_input_in_errors=True
    )

    feed: FeedSection = FeedSection()
    engine: EngineSection = EngineSection()
    server: ServerSection = ServerSection()
    alerts: AlertsSection = AlertsSection()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed: tests and embedders must not depend on the environment by accident."""
        return (init_settings,)

    @classmethod
    def load(cls, path: str | Path | None = None, **overrides: Mapping[str, Any]) -> Self:
        """The settings from the TOML file at `path` (none by default), the environment and `overrides`.

        >>> Settings.load(server={"port": 9000}).server.port
        9000
        """
        merged = merge(_read(path), _environment(cls), overrides)
        try:
            return cls(**merged)
        except ValidationError as error:
            raise ConfigError("; ".join(describe(error))) from error

    def engine_settings(self) -> EngineSettings:
        """The engine's own form of its section: integer nanoseconds."""
        from pricer.engine import EngineSettings

        limits = self.engine
        return EngineSettings(
            quote_max_age_ns=_ns(limits.quote_max_age_s),
            forward_max_age_ns=_ns(limits.forward_max_age_s),
            last_good_ns=_ns(limits.last_good_s),
            publish_every_ns=_ns(limits.publish_every_ms / 1e3),
            reprice_every_ns=_ns(limits.reprice_every_ms / 1e3),
            settlement_window_ns=_ns(limits.settlement_window_s),
            forward_move=limits.forward_move,
            wide_spread_iv=limits.wide_spread_iv,
            parity_gap=limits.parity_gap,
            freeze_move=limits.freeze_move,
            jump_floor=limits.jump_floor,
            jump_sigmas=limits.jump_sigmas,
            jump_confirm_ns=_ns(limits.jump_confirm_s),
            mark_divergence_iv=limits.mark_divergence_iv,
            surface_half_life=limits.surface_half_life,
            dynamics=limits.dynamics,
        )


def is_loopback(host: str) -> bool:
    """Can only this machine reach a server on `host`?

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged key by key; later layers win.

    >>> merge({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}})
    {'a': {'x': 1, 'y': 3}}
    """
    out: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            known = out.get(key)
            out[key] = merge(known, value) if isinstance(known, Mapping) and isinstance(value, Mapping) else value
    return out


def describe(error: ValidationError) -> list[str]:
    """Each fault of a validation as `section.key: what is wrong (got value)`, with stars for what may be secret."""
    lines = []
    for fault in error.errors(include_url=False):
        path = ".".join(_plain(str(part)) for part in fault["loc"]) or "settings"
        what = "unknown key" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
        lines.append(f"{path}: {what} (got {_short(repr(_shown(path, fault['input'])))})")
    return lines


def _plain(name: str) -> str:
    """A name that somebody chose, on one line."""
    return name if name.isprintable() else ascii(name)[1:-1]


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _shown(path: str, value: Any) -> Any:
    """A value as a message may quote it: text under an unknown key may be a secret under a misspelt one."""
    section, *keys = path.split(".")
    key = keys[0] if keys else ""  # what is below it is an item of a list or of a table of names
    table = Settings.model_fields.get(section)
    if path == "feed.proxy" or f"{section}.{key}" in _secrets():
        return HIDDEN
    known = table is not None and (not key or key in getattr(table.annotation, "model_fields", {}))
    if isinstance(value, Mapping):
        return {name: _shown(f"{path}.{name}", inner) for name, inner in value.items()}
    if isinstance(value, int | float | Section) or value is None:
        return value
    return value if known else HIDDEN


def _secrets() -> frozenset[str]:
    """The paths of the settings that hold secrets, by their type."""
    return frozenset(
        f"{section}.{key}"
        for section, table in Settings.model_fields.items()
        for key, field in getattr(table.annotation, "model_fields", {}).items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
    )


def _read(path: str | Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _environment(cls: type[Settings]) -> dict[str, Any]:
    """What VOLSTREAM_<SECTION>__<KEY> says. Names without the double underscore belong to other parts."""
    for name in os.environ:
        section, nested, _ = name.upper().removeprefix(PREFIX).partition("__")
        if name.upper().startswith(PREFIX) and nested and section.lower() not in cls.model_fields:
            raise ConfigError(f"{name}: no such section; there are {', '.join(cls.model_fields)}")
    try:
        return EnvSettingsSource(cls)()
    except SettingsError as error:
        raise ConfigError(f"in the environment, {error}") from error


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)
