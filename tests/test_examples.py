"""Every example runs as a user would run it: as a program of its own, against the embedded market."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pricer
from tests.data import CHECKOUT
from tests.embedded_market import embedded_market
from tests.sidecar.serving import running, stream_of

# Kernels that are compiled for the first time take a minute on two cores.
pytestmark = pytest.mark.timeout(300)


def run(*arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_quickstart_prices_arrays_and_a_live_chain() -> None:
    printed = run("examples/quickstart.py")
    assert "100,000   6,853.94" in printed, "Black-76 at F = K = 100,000, 30 days, 60 %"
    assert "status [2 0 0]" in printed
    assert "options OK, index" in printed


def test_the_hedging_bot_hedges_and_ends() -> None:
    for seconds in ("3", "60"):  # a busy machine has less time than it is given
        printed = run("examples/hedging_bot.py", "--seconds", seconds)
        assert "done:" in printed
        if "USD  trade 1" in printed:
            return
    pytest.fail(printed)


async def test_the_sidecar_client_reads_numbers_over_the_wire() -> None:
    await asyncio.to_thread(pricer.warmup)
    async with (
        embedded_market() as market,
        pricer.live(url=market.url) as stream,
        running(stream, min_interval_ms=100) as address,
    ):
        for seconds in ("3", "40"):  # the same
            program = ("examples/sidecar_client.py", "--url", stream_of(address), "--seconds", seconds)
            printed = await asyncio.to_thread(run, *program)
            if "delta 0." in printed:
                break
    assert "delta 0." in printed
    assert "reconnections: none" in printed


def test_the_surface_research_tells_its_story_in_pictures(tmp_path: Path) -> None:
    printed = run("examples/surface_research.py", str(tmp_path / "pictures"))
    assert "certificate: Certificate(kind='exact', butterfly=True, calendar=True" in printed
    assert "certified, all of them: True" in printed
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert "certified, the smoothed ones too: True" in printed
    assert re.search(r"^svi_local +hard +100\.0% .* exact, holds$", printed, re.MULTILINE)
    assert {"smiles.png", "raw_and_smoothed.png"} < set(pictures)
    assert len(pictures) == 12
    for name in pictures:
        assert name in printed
        assert (tmp_path / "pictures" / name).stat().st_size > 10_000


async def test_the_surface_research_reads_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "session.vsr"
    async with embedded_market(5) as market, pricer.live(url=market.url, record=path) as stream:
        async with asyncio.timeout(60):
            async for snapshot in stream:
                # Some expiries, not one with many strikes: the research is about a surface.
                if len({row.expiry_ns for row in snapshot if row.status is pricer.Status.OK}) >= 6:
                    break
    printed = await asyncio.to_thread(run, "examples/surface_research.py", str(tmp_path), "--recording", str(path))
    assert "certified, all of them: True" in printed


@pytest.mark.parametrize("name", sorted(path.name for path in (CHECKOUT / "examples").glob("*.py")))
def test_every_example_says_how_to_run_it(name: str) -> None:
    assert f"python examples/{name}" in (CHECKOUT / "examples" / name).read_text(encoding="utf-8")
