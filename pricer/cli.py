"""The command `volstream`. Exit codes: 0 ok, 1 failed, 2 wrong use; an error is one line on stderr.

Commands import what they need when they run, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import pricer
from pricer.errors import ConfigError, VolstreamError
from pricer.expiries import parse_expiry
from pricer.logs import plain, starred

OK, FAILED, WRONG_USE = 0, 1, 2
INTERRUPTED = 130  # what typer makes of a KeyboardInterrupt
DEFAULT_SIDECAR = "http://127.0.0.1:8765"

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

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A live options pricer: exchange quotes in; implied volatility, Greeks and an arbitrage-checked surface out.",
    epilog="To see it run, with nothing but this machine:  [bold]volstream demo[/bold]",
)


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
        code = _report(error)
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


def _report(error: BaseException) -> int:
    """Say what went wrong in one line; the exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader has gone, as in `volstream replay … | head`; the interpreter's own flush must not fail, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, UsageError):
        where = error.ctx.command_path if error.ctx else "volstream"
        message = error.format_message()
        if message:  # there is none where the help was printed in its place
            _complain(f"{message} (see {where} --help)")
        return WRONG_USE
    if isinstance(error, ConfigError):
        _complain(str(error))
        return WRONG_USE
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise error
        _complain(f'this needs {error.name}, which is not installed: pip install "volstream[{extra}]"')
        return FAILED
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        _complain("interrupted")
        return FAILED
    _complain(str(error) or type(error).__name__)
    return FAILED


def _complain(message: str) -> None:
    print(f"volstream: {plain(starred(' '.join(message.split())))}", file=sys.stderr)


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


# -- values that people type


def positive(text: str) -> float:
    """A finite number above zero."""
    value = number(text)
    if not value > 0:
        raise typer.BadParameter(f"{text!r} is not above zero")
    return value


def not_negative(text: str) -> float:
    """A finite number, zero or above."""
    value = number(text)
    if value < 0:
        raise typer.BadParameter(f"{text!r} is below zero")
    return value


def number(text: str) -> float:
    """A finite number; commas and underscores may group its digits."""
    try:
        value = float(str(text).replace(",", ""))  # typer hands over defaults as they are
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"{text!r} is not a finite number")
    return value


def whole(text: str) -> int:
    """A whole number, zero or above."""
    value = not_negative(text)
    if value != int(value):
        raise typer.BadParameter(f"{text!r} is not a whole number")
    return int(value)


def port_number(text: str) -> int:
    """A TCP port; 0 stands for a free one."""
    value = whole(text)
    if value > 65_535:
        raise typer.BadParameter(f"{text!r} is not a port: they go from 0 to 65535")
    return value


def side(text: str) -> int:
    """+1 for a call, -1 for a put."""
    try:
        return {"call": 1, "c": 1, "put": -1, "p": -1}[text.lower()]
    except KeyError:
        raise typer.BadParameter(f"{text!r} is neither call nor put") from None


def moment(text: str) -> int:
    """An expiry or another moment as integer nanoseconds UTC."""
    try:
        return parse_expiry(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def underlying_list(text: str | None) -> tuple[str, ...] | None:
    """`BTC` or `BTC,ETH`; None where nothing was said."""
    if text is None:
        return None
    names = tuple(word.strip().upper() for word in text.split(",") if word.strip())
    if not names:
        raise UsageError(f"--underlying {text!r} names nothing")
    return names


def option(*names: str, parse: Callable[[str], Any] | None = None, metavar: str | None = None, help: str) -> Any:
    """A typer option whose text `parse` turns into its value."""
    return typer.Option(*names, parser=parse, metavar=metavar, help=help)


# -- numbers without a market


@app.command(
    epilog="Example:  volstream price --forward 100000 --strike 110000 --expiry 26MAR27 --sigma 0.6 --cp call --inverse"
)
def price(
    forward: Annotated[float, option("--forward", parse=positive, metavar="F", help="The forward of the expiry.")],
    strike: Annotated[float, option("--strike", parse=positive, metavar="K", help="The strike.")],
    cp: Annotated[int, option("--cp", parse=side, metavar="call|put", help="A call or a put.")],
    sigma: Annotated[
        float | None, option("--sigma", parse=not_negative, metavar="VOL", help="The volatility: 0.6 is 60 %.")
    ] = None,
    premium: Annotated[
        float | None,
        option("--premium", parse=not_negative, metavar="V", help="In place of --sigma: the premium to invert."),
    ] = None,
    ttm: Annotated[
        float | None, option("--ttm", parse=not_negative, metavar="YEARS", help="Time to expiry in years, ACT/365.")
    ] = None,
    expiry: Annotated[
        int | None,
        option("--expiry", parse=moment, metavar="DATE", help="In place of --ttm: 26MAR27 or 2026-03-26T08:00."),
    ] = None,
    now: Annotated[
        int | None, option("--now", parse=moment, metavar="DATE", help="Count from here to --expiry; by default now.")
    ] = None,
    discount: Annotated[
        float, option("--discount", parse=positive, metavar="D", help="The discount factor to expiry.")
    ] = 1.0,
    inverse: Annotated[bool, typer.Option("--inverse", help="Coin-settled: premiums are in coin.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """The price and the Greeks of one option; or the volatility that a premium implies."""
    from pricer import calculator

    if (sigma is None) == (premium is None):
        raise UsageError("give one of --sigma and --premium")
    if (ttm is None) == (expiry is None):
        raise UsageError("give one of --ttm and --expiry")
    if ttm is None:
        assert expiry is not None
        ttm = calculator.years_until(expiry, now)
        if ttm < 0:
            raise UsageError(f"the expiry is {-ttm * 365:.4g} days in the past")
    result = calculator.calculate(forward, strike, ttm, cp, discount, sigma=sigma, premium=premium, inverse=inverse)
    print(result.as_json() if as_json else result.as_text())
    if not result.is_priced:
        _complain(f"no volatility gives this premium: {result.status.name} ({result.bounds})")
        return FAILED
    return OK


@app.command(epilog="Example:  volstream warmup")
def warmup() -> None:
    """Compile the kernels, so that the next start is quick. Done already, it takes a second."""
    from pricer.kernels.jit import cache_directory, cache_is_kept
    from pricer.launch import warm_kernels

    warm_kernels(Console(stderr=False))
    print(f"{cache_directory()}{'' if cache_is_kept() else ', only until this command ends'}")


@app.command(epilog="Example:  volstream doctor --json")
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Versions, processor, kernel cache, and a self-check of the numbers; exit code 1 when a check fails."""
    from pricer import doctor as clinic

    findings = clinic.examine()
    if as_json:
        print(clinic.as_json(findings))
    else:
        clinic.show(findings, Console())
    return FAILED if any(finding.state == "failed" for finding in findings) else OK


@app.command(epilog="Example:  volstream token --name bot --scope read --expires 2027-06-30 >> tokens.toml")
def token(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Whose it is; it stands in the file.")] = "client",
    scope: Annotated[
        str, typer.Option("--scope", metavar="NAMES", help="What it is good for: read, control, admin.")
    ] = "read",
    expires: Annotated[
        int | None, option("--expires", parse=moment, metavar="DATE", help="Valid until then; by default for ever.")
    ] = None,
) -> None:
    """Make a token for the sidecar: it is shown once, on stderr; the line for server.tokens_file goes to stdout."""
    from pricer.sidecar.auth import Scopes, new_token

    try:
        scopes = Scopes.named(word.strip() for word in scope.split(","))
    except ValueError as error:
        raise UsageError(f"--scope: {error}") from None
    secret, made = new_token(name, scopes, expires)
    print(f"the token, which nobody can show again:\n{secret}\nthe line for server.tokens_file:", file=sys.stderr)
    print(made.line())


# -- the program


Venue = Annotated[str, typer.Option("--venue", metavar="NAME", help="The exchange.")]
Port = Annotated[
    int, option("--port", parse=port_number, metavar="PORT", help="The sidecar's port; 0 takes a free one.")
]
Duration = Annotated[
    float | None, option("--duration", parse=positive, metavar="SECONDS", help="End by itself after this long.")
]
Headless = Annotated[
    bool, typer.Option("--headless", help="A status line now and then in place of the live chain in the terminal.")
]
Seed = Annotated[
    int, option("--seed", parse=whole, metavar="N", help="The embedded market's: the same seed gives the same market.")
]
Chaos = Annotated[
    int | None,
    option(
        "--chaos",
        parse=whole,
        metavar="SEED",
        help="Put the market under random faults; the same seed, the same faults.",
    ),
]
Underlyings = Annotated[
    str | None, typer.Option("--underlying", metavar="NAMES", help="What to price: BTC, or BTC,BTC_USDC.")
]
Expiry = Annotated[
    int | None,
    option("--expiry", parse=moment, metavar="DATE", help="The expiry to show first: 26MAR27 or 2026-03-26."),
]
Rows = Annotated[
    int | None, option("--rows", parse=whole, metavar="N", help="How many strikes to show; by default all that fit.")
]


@app.command(epilog="Example:  volstream demo --port 9000 --duration 60 --headless")
def demo(
    port: Port = 8765,
    duration: Duration = None,
    headless: Headless = False,
    seed: Seed = 7,
    chaos: Chaos = None,
    underlying: Underlyings = None,
) -> None:
    """All of it on this machine: an embedded market, the pricer, the sidecar, and the live chain in the terminal."""
    from pricer.config import Settings

    names = underlying_list(underlying) or ("BTC",)
    settings = Settings.load(server={"port": port}, feed={"underlyings": names, "venue": "deribit", "url": None})
    _known_to_the_market(settings.feed.underlyings)
    _run(lambda launch, plan: launch.demo(plan, seed), settings, headless=headless, duration=duration, chaos=chaos)


@app.command(epilog="Example:  volstream serve --venue deribit --underlying BTC,ETH --port 9000")
def serve(
    venue: Annotated[str | None, typer.Option("--venue", metavar="NAME", help="The exchange.")] = None,
    underlying: Underlyings = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="WS", help="The venue's WebSocket address; by default its own.")
    ] = None,
    host: Annotated[str | None, typer.Option("--host", help="The address to listen on; by default 127.0.0.1.")] = None,
    port: Annotated[
        int | None, option("--port", parse=port_number, metavar="PORT", help="The port to listen on; by default 8765.")
    ] = None,
    config: Annotated[
        str | None, typer.Option("--config", metavar="FILE", help="A TOML file; options here go before it.")
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front does TLS and authentication: allows any --host.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show the live chain in this terminal, too.")] = False,
    duration: Duration = None,
) -> None:
    """The pricer and the sidecar on a real venue, or on any server that speaks its protocol."""
    from pricer.config import Settings

    feed = {"venue": venue, "underlyings": underlying_list(underlying), "url": url}
    server = {"host": host, "port": port, "behind_proxy": behind_proxy or None}

    def read() -> Settings:
        return Settings.load(config, feed=_given(feed), server=_given(server))

    _run(lambda launch, plan: launch.serve(plan), read(), headless=not watch, duration=duration, reread=read)


@app.command(
    epilog="Example:  volstream watch --url http://127.0.0.1:8765 --expiry 26MAR27    or without a sidecar:"
    "  volstream watch --venue deribit --underlying BTC"
)
def watch(
    url: Annotated[
        str | None, typer.Option("--url", metavar="HTTP", help="A running sidecar; by default the local one.")
    ] = None,
    venue: Annotated[
        str | None, typer.Option("--venue", metavar="NAME", help="Without a sidecar: price this exchange here.")
    ] = None,
    venue_url: Annotated[
        str | None, typer.Option("--venue-url", metavar="WS", help="The venue's WebSocket address.")
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", metavar="FILE", help="The sidecar's token; or VOLSTREAM_TOKEN has it."),
    ] = None,
    ca_file: Annotated[
        str | None, typer.Option("--ca-file", metavar="PEM", help="Authorities to verify an https:// sidecar against.")
    ] = None,
    unix_socket: Annotated[
        str | None, typer.Option("--unix-socket", metavar="PATH", help="The socket that the sidecar listens on.")
    ] = None,
    underlying: Underlyings = None,
    expiry: Expiry = None,
    rows: Rows = None,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and exit; also without a terminal.")] = False,
    duration: Duration = None,
) -> None:
    """The live chain: calls left, the strike in the middle, puts right, centred on the forward."""
    from pricer import launch
    from pricer.config import Settings
    from pricer.terminal import Selection

    if (url or token_file or ca_file or unix_socket) and (venue or venue_url):
        raise UsageError("give either --url of a sidecar, or --venue and --venue-url")
    console = _console()
    names = underlying_list(underlying)
    plan = launch.Plan(
        settings=Settings.load(feed=_given({"venue": venue, "url": venue_url, "underlyings": names})),
        console=console,
        screen=console.is_terminal,
        selection=Selection(expiry, rows=rows),
        duration_s=duration,
        started_s=time.perf_counter(),
    )
    alone = not console.is_terminal or once
    if venue or venue_url:
        asyncio.run(launch.watch_venue(plan, once=alone))
    else:
        watching = launch.watch_sidecar(
            plan,
            url or DEFAULT_SIDECAR,
            names or (),
            once=alone,
            token_file=token_file,
            ca_file=ca_file,
            unix_socket=unix_socket,
        )
        asyncio.run(watching)


@app.command(epilog="Example:  volstream simulate --venue deribit --port 9100 --seed 7")
def simulate(
    venue: Venue = "deribit",
    port: Annotated[
        int, option("--port", parse=port_number, metavar="PORT", help="The port; 0 takes a free one.")
    ] = 9100,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    seed: Seed = 7,
    chaos: Chaos = None,
    faults: Annotated[
        Path | None,
        typer.Option("--faults", metavar="FILE", help="A script of faults, JSON or TOML: docs/simulator.md."),
    ] = None,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> None:
    """The embedded venue alone, for any client: REST and WebSocket on one port, as the real one."""
    from pricer import launch

    def announce(url: str, http_url: str) -> None:
        text = json.dumps({"url": url, "http_url": http_url}) if child else f"WebSocket  {url}\nREST       {http_url}"
        print(text, flush=True)

    faulty = launch.Faulty(chaos or 0, faults) if chaos is not None or faults is not None else None
    asyncio.run(launch.simulate(venue, port, host, seed, announce, child=child, faulty=faulty))


@app.command(epilog="Example:  volstream replay recording.vsr --underlying BTC --csv > chain.csv")
def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording: ours, or cryptofeed's raw frames.")],
    underlying: Annotated[
        str | None, typer.Option("--underlying", metavar="NAME", help="Only this one; by default all.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the options that are listed but of which nothing came.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with all digits.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    digest: Annotated[
        bool, typer.Option("--digest", help="Print only the SHA-256 over all snapshots: equal runs have equal ones.")
    ] = False,
) -> None:
    """A recording through the same engine: its last chain, ours beside the venue's. Twice gives the same bytes."""
    from pricer import launch
    from pricer.adapters.recording import open_recording
    from pricer.report import report

    if as_csv + as_json + digest > 1:
        raise UsageError("give at most one of --csv, --json and --digest")
    open_recording(file)  # a file that cannot be read is told before anything is compiled
    launch.warm_kernels(Console(stderr=True))
    found = report(file, underlying, everything=everything)
    if digest:
        print(f"{found.digest}  {found.frames} snapshots")
    elif as_csv:
        sys.stdout.write(found.as_csv())
    else:
        sys.stdout.write(found.as_json() if as_json else found.as_text())


def _run(
    start: Callable[[Any, Any], Any],
    settings: Any,
    *,
    headless: bool,
    duration: float | None,
    chaos: int | None = None,
    reread: Callable[[], Any] | None = None,
) -> None:
    from pricer import launch
    from pricer.terminal import Selection

    started = time.perf_counter()
    # The sidecar's packages are an extra; a missing one is told before anything is compiled.
    import pricer.sidecar.app  # noqa: F401

    console = _console()
    screen = console.is_terminal and not headless
    plan = launch.Plan(settings, console, screen, Selection(), duration, started, chaos, reread=reread)
    with launch.logging_beside(screen):
        asyncio.run(start(launch, plan))


def _console() -> Console:
    # Lines in a log or a pipe are not cut at 80 columns; a frame in a pipe is as wide as its full table.
    return Console() if sys.stdout.isatty() or "COLUMNS" in os.environ else Console(width=180)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """What was said on the line; the rest is left to the file, the environment and the defaults."""
    return {name: value for name, value in values.items() if value is not None}


def _known_to_the_market(underlyings: Sequence[str]) -> None:
    from pricer.simulator.listing import FAMILIES

    names = [family.name for family in FAMILIES]
    for underlying in underlyings:
        if underlying not in names:
            raise ConfigError(f"the embedded market has no {underlying!r}; it has {', '.join(names)}")


if __name__ == "__main__":
    main()
