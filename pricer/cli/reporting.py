"""What a command says when it fails: one line on stderr, and an exit code. 0 is ok, 1 failed, 2 wrong use."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

from pricer.errors import ConfigError
from pricer.logs import plain, starred

OK, FAILED, WRONG_USE = 0, 1, 2

# The extra that brings an optional module, for the one line that says what to install.
EXTRAS = {
    "fastapi": "server",
    "starlette": "server",
    "uvicorn": "server",
    "orjson": "server",
    "prometheus_client": "server",
    "zstandard": "record",
    "pandas": "research",
    "vollib": "oracle",
}

# Every usage error of typer's derives from this one; typer exports only its children.
UsageError: Any = typer.BadParameter.__mro__[1]


def report(error: BaseException) -> int:
    """Say what went wrong in one line; the exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader has gone, as in `volstream replay … | head`; the interpreter's own flush must not fail, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, UsageError):
        where = error.ctx.command_path if error.ctx else "volstream"
        message = error.format_message()
        if message:  # there is none where the help was printed in its place
            complain(f"{message} (see {where} --help)")
        return WRONG_USE
    if isinstance(error, ConfigError):
        complain(str(error))
        return WRONG_USE
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise error
        complain(f'this needs {error.name}, which is not installed: pip install "volstream[{extra}]"')
        return FAILED
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        complain("interrupted")
        return FAILED
    complain(str(error) or type(error).__name__)
    return FAILED


def complain(message: str) -> None:
    """One line on stderr, whatever is in the message, and without tokens."""
    print(f"volstream: {plain(starred(' '.join(message.split())))}", file=sys.stderr)
