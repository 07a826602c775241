"""The README is run: its programs against the embedded market, its commands against those that exist."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

import pricer
from pricer.cli import app
from tests.data import CHECKOUT
from tests.embedded_market import embedded_market

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
REFUSAL = "is DEGRADED: EXTRAPOLATED"
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


async def test_the_hedging_bots_program_prints_numbers_and_refusals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pricer.warmup()
    program, run = PROGRAMS[0].split("asyncio.run(main())")
    assert run.strip() == ""
    async with embedded_market() as market:
        monkeypatch.setattr("pricer.adapters.deribit.settings.PRODUCTION_URL", market.url)
        names: dict[str, object] = {}
        exec(compile(program, "README.md", "exec"), names)
        task, printed = asyncio.create_task(names["main"]()), ""  # type: ignore[operator]
        async with asyncio.timeout(200):
            while not (re.search(r"^BTC-\S+-C 0\.\d+ -?\d+", printed, re.MULTILINE) and REFUSAL in printed):
                assert not task.done()
                await asyncio.sleep(0.1)
                printed += capsys.readouterr().out
        task.cancel()
        await asyncio.wait({task})


async def test_the_researchers_program_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    async with embedded_market() as market, pricer.live(url=market.url, record="session.vsr") as stream:
        async for snapshot in stream:
            if len(snapshot) and snapshot.version > 5:
                break
    names: dict[str, object] = {}
    exec(compile(PROGRAMS[1], "README.md", "exec"), names)
    assert (names["status"] == 0).all()  # type: ignore[attr-defined]
    assert names["bad"] != names["bad"]
    assert len(names["frame"]) > 600  # type: ignore[arg-type]


def test_the_commands_it_lists_are_those_that_exist() -> None:
    sentence = README.partition("lists the commands:")[2].partition(".")[0]
    listed = re.findall(r"`([a-z]+)`", sentence)
    assert sorted(listed) == sorted(
        command.callback.__name__ for command in app.registered_commands if command.callback
    )
