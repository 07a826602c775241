"""What the running program writes for its operator."""

from __future__ import annotations

import logging

from pricer.launch import Seldom


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


def test_what_is_remembered_of_messages_is_bounded() -> None:
    seldom = Seldom(monotonic=lambda: 0.0)
    for number in range(3 * Seldom.MOST):
        assert seldom.filter(record(f"message {number}"))
    assert len(seldom._passed) <= Seldom.MOST
