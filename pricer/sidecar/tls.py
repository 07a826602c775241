"""TLS of the sidecar: 1.2 at least, a key that others cannot read, and client certificates where they are asked for."""

from __future__ import annotations

import os
import ssl

from pricer.config import ServerSection
from pricer.errors import ConfigError
from pricer.sidecar.private_file import complain_of


def server_context(settings: ServerSection) -> ssl.SSLContext | None:
    """The context of all connections, or None where no certificate is set; `ConfigError` names setting and file."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    load(context, settings)
    if settings.tls_client_ca is not None:
        try:
            context.load_verify_locations(settings.tls_client_ca)
        except OSError as error:  # SSLError is one
            raise ConfigError(f"server.tls_client_ca: {settings.tls_client_ca}: {_why(error)}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def load(context: ssl.SSLContext, settings: ServerSection) -> None:
    """Certificate and key of the settings for the handshakes to come; connections that are open keep theirs."""
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    try:
        complain_of("server.tls_key", settings.tls_key, os.stat(settings.tls_key))
    except OSError as error:
        raise ConfigError(f"server.tls_key: cannot read {settings.tls_key}: {error.strerror}") from None
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password=_no_passphrase)
    except OSError as error:
        where = f"{settings.tls_cert} with the key {settings.tls_key}"
        raise ConfigError(f"server.tls_cert: {where}: {_why(error)}") from None


def renew(context: ssl.SSLContext, settings: ServerSection) -> None:
    """Read certificate and key again. What is wrong is refused before the running context is touched."""
    server_context(settings)
    load(context, settings)


def _no_passphrase() -> str:
    # OpenSSL would ask for it at the terminal and wait.
    raise ConfigError("server.tls_key: the key has a passphrase; nobody is there to give it")


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not valid PEM").replace("_", " ").lower()
    return error.strerror or "cannot be read"
