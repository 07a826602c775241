"""What the running program writes for its operator."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from typing import Any

import pytest
from rich.console import Console

from pricer.config import Settings
from pricer.errors import ConfigError
from pricer.launch import Plan, live_stream, running
from pricer.launch.running import loaded_for_good
from pricer.logs import Seldom
from pricer.sidecar.alerts import runner  # noqa: F401 - it sets the level of its logger
from pricer.terminal import Selection


def record(text: str, *values: object, logger: str = "uvicorn.error") -> logging.LogRecord:
    return logging.LogRecord(logger, logging.WARNING, __file__, 1, text, values, None)


def test_I11_a_fault_that_repeats_writes_one_line_in_ten_seconds_and_counts_the_rest() -> None:
    now_s = 100.0
    seldom = Seldom(monotonic=lambda: now_s)
    written = []
    for tick in range(301):
        now_s = 100.0 + tick / 10
        each = record("bad request from %s", tick)
        if seldom.filter(each):
            written.append(each.getMessage())
    assert written == [
        "bad request from 0",
        "bad request from 100 (99 more like it before)",
        "bad request from 200 (99 more like it before)",
        "bad request from 300 (99 more like it before)",
    ]


def test_I11_other_faults_are_not_held_back() -> None:
    seldom = Seldom(monotonic=lambda: 0.0)
    assert seldom.filter(record("one"))
    assert seldom.filter(record("another"))
    assert seldom.filter(record("one", logger="elsewhere"))
    assert not seldom.filter(record("one"))


def test_X06_alerts_have_a_pace_of_their_own_and_all_come_through() -> None:
    seldom = Seldom(monotonic=lambda: 0.0)
    lines = [record("%s", f"rule {number}", logger="pricer.sidecar.alerts.notices") for number in range(10)]
    assert all(seldom.filter(line) for line in lines)
    assert logging.getLogger("pricer.sidecar.alerts.notices").isEnabledFor(logging.INFO)


def test_what_is_remembered_of_messages_is_bounded() -> None:
    seldom = Seldom(monotonic=lambda: 0.0)
    for number in range(3 * Seldom.MOST):
        assert seldom.filter(record(f"message {number}"))
    assert len(seldom._passed) <= Seldom.MOST


@pytest.mark.parametrize(("setting", "demo", "serve"), [(None, True, False), (False, False, False), (True, True, True)])
def test_the_demo_streams_trades_unless_told_not_to_and_serve_only_if_told(
    monkeypatch: pytest.MonkeyPatch, setting: bool | None, demo: bool, serve: bool
) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr("pricer.live", lambda *_, **settings: asked.append(settings))
    settings = Settings.load(feed={"trades": setting, "books_on_demand": 7})
    live_stream(settings, None, trades=True)
    live_stream(settings, None)
    assert [each["trades"] for each in asked] == [demo, serve]
    assert [each["books_on_demand"] for each in asked] == [7, 7]


async def test_a_stream_is_made_after_what_is_loaded_was_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parts know each other: set aside itself, a stream that failed would stay in memory for ever."""

    class Made(Exception):
        pass

    def supervisor(open_stream: Any) -> None:
        assert gc.get_freeze_count() > 10_000
        raise Made

    monkeypatch.setattr(running, "Supervisor", supervisor)
    nothing: Any = None
    with pytest.raises(Made):
        await running._price_and_serve(nothing, nothing, None, nothing)
    assert gc.get_freeze_count() == 0


async def test_the_address_is_told_only_once_it_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuses(*_: Any, **__: Any) -> None:
        await asyncio.sleep(0)
        raise ConfigError("no")

    async def show(*_: Any) -> None:
        raise AssertionError("the address of a sidecar that does not listen")

    monkeypatch.setattr(running, "Supervisor", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(running, "show", show)
    monkeypatch.setattr("pricer.sidecar.app.serve", refuses)
    plan = Plan(Settings(), Console(), False, Selection())
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ConfigError):
        await running._price_and_serve(plan, listener, None, asyncio.Event())


def test_while_it_serves_collections_leave_alone_what_is_loaded() -> None:
    before = gc.get_freeze_count()
    with loaded_for_good():
        assert gc.get_freeze_count() > before + 10_000
    assert gc.get_freeze_count() == 0
