"""Is the sidecar of this machine alive? Exit code 0 or 1; for a container, which has no curl.

It asks for /health/live, which needs no token, over whatever the settings say: a port, TLS, or a unix socket. It runs
every ten seconds beside a program that counts in microseconds, so it reads the few keys that it needs by itself: to
import the settings' model would take a third of a second of a processor each time.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import tomllib
from collections.abc import Mapping

TIMEOUT_S = 2.0
REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
# As the section [server] of the settings has them; a test compares.
DEFAULTS = {"host": "127.0.0.1", "port": "8765"}
KEYS = (*DEFAULTS, "unix_socket", "metrics_port", "tls_cert", "tls_client_ca")
PREFIX = "VOLSTREAM_SERVER__"


def server(path: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Those of `KEYS` that are set, the environment before the file."""
    table = {}
    if os.path.exists(path):
        with open(path, "rb") as file:
            table = tomllib.load(file).get("server", {})
    named = {name.upper(): value for name, value in environment.items()}
    given = {key: str(named.get(PREFIX + key.upper(), table.get(key, ""))) for key in KEYS}
    return DEFAULTS | {key: value for key, value in given.items() if value}


def connected(settings: Mapping[str, str]) -> socket.socket:
    """A connection to it. The certificate is not ours to judge: it is made for other names than this one."""
    if "unix_socket" in settings:
        found = socket.socket(socket.AF_UNIX)
        found.settimeout(TIMEOUT_S)
        try:
            found.connect(settings["unix_socket"])
        except OSError:
            found.close()
            raise
        return found
    if "metrics_port" in settings:
        return socket.create_connection(("127.0.0.1", int(settings["metrics_port"])), TIMEOUT_S)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings["host"], settings["host"])
    found = socket.create_connection((host, int(settings["port"])), TIMEOUT_S)
    if "tls_cert" not in settings or "tls_client_ca" in settings:
        return found
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(found)


def main(path: str) -> int:
    """0 where it says that it is alive."""
    try:
        settings = server(path, os.environ)
        with connected(settings) as connection:
            if "tls_client_ca" in settings and "metrics_port" not in settings:
                return 0  # without a certificate that it knows, that it listens is all there is to learn
            connection.sendall(REQUEST)
            return 0 if connection.recv(64).startswith(b"HTTP/1.1 200") else 1
    except (OSError, ValueError) as error:  # a file that is no TOML is a ValueError, too
        print(f"not alive: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(os.environ.get("VOLSTREAM_CONFIG", "/etc/volstream/volstream.toml")))
