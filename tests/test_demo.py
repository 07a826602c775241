"""The main job end to end, as a user starts it: `volstream demo` as a process, over real sockets."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.data import CHECKOUT

# Kernels that are compiled for the first time take a minute on two cores.
pytestmark = pytest.mark.timeout(300)
START_S = 240.0


def get(address: str, path: str) -> httpx.Response:
    return httpx.get(address.rstrip("/") + path, timeout=60, trust_env=False)


def volstream(*words: str) -> list[str]:
    return [sys.executable, "-m", "pricer.cli", *words]


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}


@contextmanager
def demo(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A running demo; killed at the end if it has not ended by then."""
    command = volstream("demo", "--headless", "--port", "0", *words)
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def address_when_ready(process: subprocess.Popen[str]) -> str:
    """The address in the line that says that the sidecar is ready."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"ready after [\d.]+ s: (http://\S+)", line):
            return found[1]
    raise AssertionError(f"it ended before it was ready:\n{''.join(said)}")


def two_sided(columns: dict[str, list[Any]]) -> list[str]:
    """The statuses of the options that are quoted on both sides.

    But for the nearest expiry: in its last hours it has no smile any more, and then it settles.
    """
    nearest = min(columns["expiry_ns"])
    quotes = zip(*(columns[name] for name in ("expiry_ns", "bid", "ask", "status")), strict=True)
    return [status for expiry_ns, bid, ask, status in quotes if expiry_ns > nearest and None not in (bid, ask)]


def is_tradable(columns: dict[str, list[Any]]) -> bool:
    """Nearly all of what is quoted on both sides has a price that can be used."""
    statuses = two_sided(columns)
    return len(statuses) >= 300 and statuses.count("OK") >= 0.95 * len(statuses)


def test_demo_prices_and_serves_the_whole_chain_and_ends_cleanly() -> None:
    with demo("--duration", "600") as process:  # in case that nobody ends it
        address = address_when_ready(process)
        deadline = time.monotonic() + 60
        while (ready := get(address, "/health/ready").json()) != {"ready": True, "missing": []}:
            assert time.monotonic() < deadline, ready
            time.sleep(0.2)  # a busy machine may be behind for a moment

        chain = get(address, "/v1/chain/BTC").json()
        columns = chain["columns"]
        assert len(set(columns["name"])) == len(columns["name"]) >= 600
        assert len(set(columns["expiry_ns"])) >= 9
        assert {len(column) for column in columns.values()} == {len(columns["name"])}
        assert set(columns["status"]) <= {"OK", "DEGRADED", "STALE", "INVALID"}
        deadline = time.monotonic() + 60
        while not is_tradable(columns):  # a busy machine may be behind
            assert time.monotonic() < deadline, two_sided(columns)
            time.sleep(0.2)
            columns = get(address, "/v1/chain/BTC").json()["columns"]
        ok = [row for row, status in enumerate(columns["status"]) if status == "OK"]
        assert all(columns[name][row] is not None for name in ("iv", "theo", "delta", "vega") for row in ok)

        deadline = time.monotonic() + 60
        while get(address, "/v1/chain/BTC").json()["seq"] <= chain["seq"]:
            assert time.monotonic() < deadline, "the chain does not move"
            time.sleep(0.1)

        watched = subprocess.run(
            volstream("watch", "--url", address, "--once", "--rows", "10"),
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "CALLS" in watched.stdout
        assert "● live" in watched.stdout

        taken = subprocess.run(
            volstream("serve", "--port", address.rstrip("/").rpartition(":")[2]),
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert taken.returncode == 2
        assert taken.stderr.count("\n") == 1
        assert "another program listens there" in taken.stderr

        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert process.stdout is not None
        rest = process.stdout.read()
        assert "stopped; " in rest
        assert "Traceback" not in rest


def test_demo_ends_by_itself_after_its_duration() -> None:
    with demo("--duration", "0.5") as process:
        output, _ = process.communicate(timeout=START_S)
        assert process.returncode == 0, output
        assert "Traceback" not in output
