"""The market under faults as a bot's author meets it: over real sockets, with our own client and a plain one."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError

import pricer
from pricer import cli
from pricer.conventions import Status
from pricer.errors import ConfigError
from pricer.launch import News
from pricer.simulator.chaos import ChaosMarket, telling
from pricer.simulator.faults import fault, parse_script
from pricer.snapshot import Snapshot
from pricer.streaming import LiveStream
from tests.data import CHECKOUT

START_S = 120.0


async def until(stream: LiveStream, holds: Callable[[Snapshot], bool], seconds: float = START_S) -> Snapshot:
    async with asyncio.timeout(seconds):
        async for snapshot in stream:
            if holds(snapshot):
                return snapshot
    raise AssertionError("the stream ended")


def share_ok(snapshot: Snapshot) -> float:
    statuses = snapshot.columns()["status"]
    return float((statuses == int(Status.OK)).mean()) if len(statuses) else 0.0


async def test_a_live_stream_goes_stale_with_the_faults_and_comes_back() -> None:
    told: list[str] = []
    begun = asyncio.Event()

    def announce(line: str) -> None:
        told.append(line)
        begun.set()

    script = parse_script([[0.0, "zombie", {"for_s": 6.0}]])
    async with ChaosMarket(3, 1, announce, script=(), activity=0.05) as market, pricer.live(url=market.url) as stream:
        await until(stream, lambda snapshot: share_ok(snapshot) > 0.5)
        faulty = asyncio.create_task(market._play(script))
        await begun.wait()
        # A busy machine may have nothing that is OK before: then it is DEGRADED.
        await until(stream, lambda snapshot: min((row.status for row in snapshot), default=Status.OK) >= Status.STALE)
        await faulty
        await until(stream, lambda snapshot: share_ok(snapshot) > 0.5)
    assert told == [
        "fault: zombie for 6 s (requests and heartbeats are answered, nothing is pushed)",
        "fault over: zombie",
    ]


async def read_all(ws: ClientConnection, into: list[str | bytes]) -> None:
    async for frame in ws:
        into.append(frame)  # noqa: PERF401 - what came before the end is wanted, too


async def test_any_websocket_client_can_meet_the_faults() -> None:
    script = parse_script([[0.0, "unknown_messages"], [0.5, "fin"]])
    async with (
        ChaosMarket(3, 1, lambda _: None, script=()) as market,
        connect(market.url) as ws,
        asyncio.TaskGroup() as playing,
    ):
        await ws.send(json.dumps({"id": 1, "method": "public/test"}))
        await ws.recv()
        playing.create_task(market._play(script))  # now that somebody is there to hear it
        frames: list[str | bytes] = []
        with pytest.raises(ConnectionClosedError):
            await read_all(ws, frames)
    assert "surprise" in {json.loads(each).get("method") for each in frames}


def test_a_line_says_what_happens() -> None:
    slow = fault(1.0, "bandwidth", bytes_per_s=500, for_s=3.0)
    assert telling(slow, began=True) == "fault: bandwidth bytes_per_s=500 for 3 s (so many bytes a second each way)"
    assert telling(slow, began=False) == "fault over: bandwidth"


async def test_a_port_in_use_is_a_clear_error() -> None:
    async with ChaosMarket(3, 1, print) as market:
        with pytest.raises(ConfigError, match=f"port {market.proxy.port}"):
            async with ChaosMarket(3, 1, print, port=market.proxy.port):
                raise AssertionError("it started")


def test_lines_are_printed_and_on_a_screen_stand_beside_the_footer() -> None:
    news, console = News(), Console(file=io.StringIO(), width=200)
    lasting, momentary = fault(1.0, "zombie", for_s=3.0), fault(2.0, "reset")
    for each in (telling(lasting, True), telling(momentary, True)):
        news.tell(console, each)
    assert news.footer("http://x") == "faults: zombie   http://x"
    news.on_screen = True
    news.tell(console, telling(lasting, False))
    assert news.footer("http://x") == "http://x"
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue().splitlines()
    assert [line.partition(" ")[2] for line in printed] == [telling(lasting, True), telling(momentary, True)]


@pytest.mark.parametrize("command", ["demo", "simulate"])
def test_help_says_what_chaos_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "--chaos" in out
    assert "random faults" in out


def test_simulate_plays_a_script_and_tells_of_it(tmp_path: Path) -> None:
    (tmp_path / "script.toml").write_text('script = [[0.1, "halt", {count = 2, for_s = 0.2}], [0.2, "reset"]]\n')
    command = [sys.executable, "-m", "pricer.cli", "simulate", "--port", "0", "--faults", str(tmp_path / "script.toml")]
    running = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert running.stdout is not None
        lines = [running.stdout.readline().strip() for _ in range(5)]
        assert re.fullmatch(r"WebSocket  ws://127\.0\.0\.1:\d+/ws/api/v2", lines[0])
        assert lines[2:] == [
            "fault: halt count=2 for 0.2 s (some options are halted, then open again)",
            "fault: reset (connections are reset (RST))",
            "fault over: halt",
        ]
        running.send_signal(signal.SIGTERM)
        _, errors = running.communicate(timeout=60)
        assert (running.returncode, errors) == (0, "")
    finally:
        running.kill()


@pytest.mark.parametrize("words", [("--chaos", "-1"), ("--chaos", "x"), ("--faults", "/nowhere/script.json")])
def test_wrong_use_is_told_in_one_line(words: tuple[str, str]) -> None:
    command = [sys.executable, "-m", "pricer.cli", "simulate", "--port", "0", *words]
    found = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
