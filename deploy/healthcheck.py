"""Is the sidecar of this machine alive? Exit code 0 or 1; for a container, which has no curl.

It asks for /health/live, which needs no token, over whatever the settings say: a port, TLS, or a unix socket.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
from pathlib import Path

from pricer.config import ServerSection, Settings
from pricer.errors import ConfigError

TIMEOUT_S = 2.0
REQUEST = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def connected(server: ServerSection) -> socket.socket:
    """A connection to it. The certificate is not ours to judge: it is made for other names than this one."""
    if server.unix_socket is not None:
        found = socket.socket(socket.AF_UNIX)
        found.settimeout(TIMEOUT_S)
        try:
            found.connect(server.unix_socket)
        except OSError:
            found.close()
            raise
        return found
    if server.metrics_port is not None:
        return socket.create_connection(("127.0.0.1", server.metrics_port), TIMEOUT_S)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(server.host, server.host)
    found = socket.create_connection((host, server.port), TIMEOUT_S)
    if server.tls_cert is None or server.tls_client_ca is not None:
        return found
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(found)


def main(path: str) -> int:
    """0 where it says that it is alive."""
    try:
        server = Settings.load(path if Path(path).exists() else None).server
        with connected(server) as connection:
            if server.tls_client_ca is not None and server.metrics_port is None:
                return 0  # without a certificate that it knows, that it listens is all there is to learn
            connection.sendall(REQUEST)
            return 0 if connection.recv(64).startswith(b"HTTP/1.1 200") else 1
    except (OSError, ConfigError) as error:
        print(f"not alive: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(os.environ.get("VOLSTREAM_CONFIG", "/etc/volstream/volstream.toml")))
