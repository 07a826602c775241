"""What others wrote, in lines of ours."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator

import pytest

from pricer.logs import LONGEST_LINE, OneLine, plain, starred

HOSTILE = (
    "BTC\n2026-01-01 00:00:00,000 CRITICAL root: forged",
    "BTC\r\nSet-Cookie: x",
    "BTC\x1b[2J\x1b]0;title\x07",
    "BTC\x00tail",
    "BTC\u202egnp.exe",
    "BTC\u2066\u200b\ufeff\u061c",
    "BTC\u2028\u2029\x85\x0b\x0c",
    "BTC\x9b31m",
    "BTC\U000e0041",
)


@pytest.fixture
def written() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine())
    log = logging.getLogger("tests.logs")
    log.addHandler(handler)
    log.propagate = False
    yield log, stream
    log.propagate = True
    log.removeHandler(handler)


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_Z06_hostile_text_is_escaped_on_one_line(name: str, written: tuple[logging.Logger, io.StringIO]) -> None:
    log, stream = written
    log.warning("unknown instrument %s", name)
    line = stream.getvalue()
    assert line.count("\n") == 1
    assert line[:-1].isprintable()
    line.encode()  # also what is no character
    assert "BTC\\" in line, "it is still to be seen what came"


def test_Z06_half_a_character_is_escaped_too() -> None:
    # Not through a logger: what pytest keeps of a test's lines cannot travel between its processes with this in it.
    record = logging.LogRecord("x", logging.WARNING, __file__, 1, "no %s", ("BTC" + chr(0xD800),), None)
    assert OneLine().format(record).endswith("no BTC\\ud800")


def test_Z06_a_traceback_is_one_line_too(written: tuple[logging.Logger, io.StringIO]) -> None:
    log, stream = written
    try:
        raise ValueError("first\nsecond\x1b[31m")
    except ValueError:
        log.warning("failed", exc_info=sys.exc_info(), stack_info=True)
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: first\\nsecond\\x1b[31m" in stream.getvalue()


def test_Z06_lines_are_capped(written: tuple[logging.Logger, io.StringIO]) -> None:
    log, stream = written
    log.warning("%s", "\x1b" * 10_000_000)
    assert len(stream.getvalue()) == LONGEST_LINE + 1
    assert plain("x" * 100, 10) == "xxxxxxxxx…"


def test_Z06_ordinary_lines_stay_as_they_are() -> None:
    for text in ("BTC-27DEC26-100000-C", "σ = 65 %, F − K", "naïve … 日本"):
        assert plain(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer canary-canary",
        "{'authorization': 'Bearer canary-canary'}",
        "GET /v1/stream?token=canary-canary HTTP/1.1",
        "GET /v1/stream?x=1&access_token=canary-canary",
        "the token vst_canary-canary_AAAA is wrong",
    ],
)
def test_Z05_tokens_are_starred_out_of_lines(text: str) -> None:
    assert "canary" not in starred(text)
    assert "***" in starred(text)


def test_Z06_the_programs_own_log_writes_such_lines(capsys: pytest.CaptureFixture[str]) -> None:
    from pricer.logs import logging_beside

    for screen in (False, True):  # with a screen they wait until it has gone
        with logging_beside(screen):
            logging.getLogger("tests.logs").warning("name %s", HOSTILE[0])
        written = capsys.readouterr().err
        assert written.count("\n") == 1
        assert "CRITICAL root: forged" in written


def test_Z06_an_error_of_the_command_is_such_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    from pricer import cli

    with pytest.raises(SystemExit):
        cli.main(["serve", "--config", "no\x1b[31m\u202e.toml"])
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert "\x1b" not in written
    assert "\u202e" not in written
