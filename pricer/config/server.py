"""`[server]`: the sidecar's address, who may talk to it, and what one client may cost."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from pricer.addresses import is_loopback
from pricer.config.section import Section, Words

MIB = 1024 * 1024
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


class ServerSection(Section):
    """The sidecar: its address, and the bounds of all that a client can make it hold; of IPv6 a /64 is one address."""

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
        256, ge=1, le=10_000, description="Connections that are no WebSockets yet; others get 503, with TLS nothing."
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
