"""The program `volstream`: its commands, and one run of it from the words on the line to the exit code."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

import pricer
from pricer.cli import demo, doctor, price, replay, serve, simulate, token, warmup, watch
from pricer.cli.reporting import OK, UsageError, report
from pricer.errors import VolstreamError

INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A live options pricer: exchange quotes in; implied volatility, Greeks and an arbitrage-checked surface out.",
    epilog="To see it run, with nothing but this machine:  [bold]volstream demo[/bold]",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"volstream {pricer.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error comes from; may stand anywhere on the line.")
    ] = False,
) -> None:
    """What is common to all commands; `main` takes --debug out of the line before it comes here."""


# A command is a file with a function of its name. In the order in which --help lists them:
for command, example in (
    (price.price, price.EXAMPLE),
    (warmup.warmup, warmup.EXAMPLE),
    (doctor.doctor, doctor.EXAMPLE),
    (token.token, token.EXAMPLE),
    (demo.demo, demo.EXAMPLE),
    (serve.serve, serve.EXAMPLE),
    (watch.watch, watch.EXAMPLE),
    (simulate.simulate, simulate.EXAMPLE),
    (replay.replay, replay.EXAMPLE),
):
    app.command(epilog=f"Example:  {example}")(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave the process with its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        with _interrupted_by_sigterm():
            code = app(args=words, prog_name="volstream", standalone_mode=False)
        if code == INTERRUPTED:
            raise KeyboardInterrupt
    except (UsageError, typer.Abort, VolstreamError, OSError, ModuleNotFoundError, KeyboardInterrupt) as error:
        if debug:
            raise
        code = report(error)
    sys.exit(code if isinstance(code, int) else OK)


@contextlib.contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Until a command has handlers of its own SIGTERM is what Ctrl-C is: a clear end with a line and exit code 1."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
