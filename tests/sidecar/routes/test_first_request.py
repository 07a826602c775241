"""The first request of a process: whatever it needs is imported and made before, since that holds up the loop."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from pricer.sidecar.app import prepare
from tests.data import CHECKOUT
from tests.sidecar.fitted import Fitted

SCRIPT = """
import asyncio, sys
from pricer.clock import SystemClock
from pricer.config import ServerSection
from pricer.sidecar.app import create_app, prepare
from pricer.sidecar.hub import Hub
from tests.sidecar.snapshots import Market, Source

PATHS = ("/v1/chain/BTC", "/v1/forward/BTC", "/v1/surface/BTC", "/v1/underlyings", "/v1/history/BTC", "/health/ready")
FORMATS = (b"", b"format=csv", b"format=msgpack", b"format=arrow")


async def main():
    clock, source = SystemClock(), Source()
    source.publish(Market(clock, expiries=2, strikes=10).snapshot())
    app = create_app(Hub(source, ServerSection(), venue="deribit", underlyings=["BTC"], clock=clock))
    prepare(app)

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


async def calls_of(fitted: Fitted, path: str) -> int:
    """How many Python functions run for one request."""
    calls, before = 0, sys.getprofile()

    def count(frame: Any, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        assert (await fitted.get(path)).status_code == 200
    finally:
        sys.setprofile(before)
    return calls


async def test_the_first_look_for_a_path_makes_nothing_that_could_have_been_made_before() -> None:
    fitted = Fitted()
    prepare(fitted.app)
    await fitted.get("/health/live")  # what the client and the middleware make for themselves
    first, second = await calls_of(fitted, "/"), await calls_of(fitted, "/")
    assert first < 2 * second, "the page is the last of the paths"
