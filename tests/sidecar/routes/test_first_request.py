"""The first request of a process: whatever it needs has been imported before, since an import holds up the loop."""

from __future__ import annotations

import subprocess
import sys

from tests.data import CHECKOUT

SCRIPT = """
import asyncio, sys
from pricer.clock import SystemClock
from pricer.config import ServerSection
from pricer.sidecar.app import create_app
from pricer.sidecar.hub import Hub
from tests.sidecar.snapshots import Market, Source

PATHS = ("/v1/chain/BTC", "/v1/forward/BTC", "/v1/surface/BTC", "/v1/underlyings", "/v1/history/BTC", "/health/ready")
FORMATS = (b"", b"format=csv", b"format=msgpack", b"format=arrow")


async def main():
    clock, source = SystemClock(), Source()
    source.publish(Market(clock, expiries=2, strikes=10).snapshot())
    app = create_app(Hub(source, ServerSection(), venue="deribit", underlyings=["BTC"], clock=clock))

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            assert message["status"] in (200, 503), message  # nothing is fitted here

    known = set(sys.modules)
    for path in PATHS:
        for query in FORMATS:
            scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query,
                     "headers": [(b"host", b"127.0.0.1")], "root_path": "", "scheme": "http", "http_version": "1.1",
                     "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "asgi": {"version": "3.0"}}
            await app(scope, receive, send)
    print(sorted(set(sys.modules) - known))


asyncio.run(main())
"""


def test_nothing_is_imported_while_the_first_requests_are_served() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=CHECKOUT, capture_output=True, text=True, timeout=100, check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "[]"), ran.stderr
