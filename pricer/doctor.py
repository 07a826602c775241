"""The self-check behind `volstream doctor`: is everything here, and are the numbers right on this machine?

The numbers are checked three ways: against values computed elsewhere with 50 digits, against themselves (price to
volatility and back, parity, Greeks by differences), and against vollib where that is installed.
"""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

import pricer

State = Literal["ok", "note", "failed"]
SYMBOL = {"ok": ("●", "green"), "note": ("○", "yellow"), "failed": ("×", "bold red")}

NEEDED = ("numpy", "numba", "llvmlite", "msgspec", "websockets", "httpx", "pydantic", "typer", "rich")
OPTIONAL = {
    "server": ("fastapi", "uvicorn", "orjson", "prometheus-client"),
    "fast": ("picows", "uvloop"),
    "record": ("zstandard",),
    "research": ("pandas", "matplotlib", "plotly"),
    "oracle": ("vollib",),
}
# What decides how fast the kernels run; the rest of the long list that LLVM gives is noise here.
CPU_FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512dq", "neon", "sve")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    detail: str


class Reference(NamedTuple):
    """A premium computed outside this project: 50 digits with mpmath, rounded once."""

    forward: float
    strike: float
    ttm: float
    sigma: float
    cp: int
    premium: float


REFERENCES = (
    Reference(100_000.0, 110_000.0, 0.25, 0.6, 1, 8141.012048964208),
    Reference(100_000.0, 90_000.0, 0.25, 0.6, -1, 7012.879901849712),
    Reference(97_412.31, 97_412.31, 7 / 365, 0.55, 1, 2959.267442612017),
    Reference(97_412.31, 60_000.0, 7 / 365, 0.9, -1, 0.11093355471538173),
    Reference(3_000.0, 12_000.0, 1.0, 1.2, 1, 392.78618116234213),
    Reference(3_000.0, 3_000.0, 1 / 365 / 24, 0.4, -1, 5.11492097471894),
    Reference(100.0, 150.0, 0.02, 0.3, 1, 3.2291673310636856e-22),
    Reference(1.25, 0.8, 3.0, 0.1, -1, 0.0002722096818440166),
)


def examine() -> list[Finding]:
    """Look at everything, in the order in which one would look for a fault."""
    return [*_machine(), *_packages(), *_kernels(), *_numbers(), *_surroundings()]


def as_json(findings: list[Finding]) -> str:
    """The findings as a JSON list."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def show(findings: list[Finding], console: Console) -> None:
    """One line a finding; the worst decides the last line."""
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        symbol, style = SYMBOL[finding.state]
        line = Text.assemble((f"{symbol} ", style), (finding.name.ljust(width + 2), "bold"), finding.detail)
        console.print(line, soft_wrap=True)
    failed = sum(finding.state == "failed" for finding in findings)
    verdict = f"{failed} check{'s' if failed > 1 else ''} failed" if failed else "all checks passed"
    console.print(Text(verdict, "bold red" if failed else "bold green"))


def _machine() -> Iterator[Finding]:
    yield Finding("volstream", "ok", f"{pricer.__version__} in {Path(str(pricer.__file__)).parent}")
    version = platform.python_version()
    recent = sys.version_info >= (3, 11)
    yield Finding(
        "python", "ok" if recent else "failed", f"{version} {platform.python_implementation()}; 3.11 or later is needed"
    )
    yield Finding("system", "ok", f"{platform.system()} {platform.release()} {platform.machine()}")
    yield _cpu()


def _cpu() -> Finding:
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    found = [name for name in CPU_FEATURES if features.get(name)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return Finding("cpu", "ok", f"{binding.get_host_cpu_name()}, {cores} cores usable, {' '.join(found) or 'no SIMD'}")


def _packages() -> Iterator[Finding]:
    missing = [name for name in NEEDED if version_of(name) is None]
    versions = ", ".join(f"{name} {version_of(name)}" for name in NEEDED if name not in missing)
    if missing:
        yield Finding("packages", "failed", f"missing: {', '.join(missing)}; pip install volstream brings them")
    yield Finding("packages", "ok", versions)
    for extra, names in OPTIONAL.items():
        absent = [name for name in names if version_of(name) is None]
        present = ", ".join(f"{name} {version_of(name)}" for name in names if name not in absent)
        advice = f'not installed: {", ".join(absent)}; pip install "volstream[{extra}]"'
        detail = "; ".join(part for part in (present, advice if absent else "") if part)
        yield Finding(f"[{extra}]", "note" if absent else "ok", detail)


def version_of(distribution: str) -> str | None:
    """The installed version; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _kernels() -> Iterator[Finding]:
    yield _cache()
    start = time.perf_counter()
    pricer.warmup()
    yield Finding("kernels", "ok", f"ready in {time.perf_counter() - start:.2f} s")


def _cache() -> Finding:
    from pricer.kernels.jit import cache_directory, cache_is_kept
    from pricer.kernels.store import sound_files

    directory = cache_directory()
    sound, damaged = sound_files(directory)
    size = sum(file.stat().st_size for file in directory.glob("*.nbc")) / 1e6
    state = f"{sound} compiled, {size:.1f} MB" if sound else "empty: the next start compiles"
    if damaged:
        state += f", {damaged} damaged, to be compiled again"
    if not cache_is_kept():
        return Finding("kernel cache", "note", f"{directory}, lost at exit: see the warning in the log ({state})")
    return Finding("kernel cache", "note" if damaged else "ok", f"{directory} ({state})")


# -- the numbers


def _numbers() -> Iterator[Finding]:
    for name, check in (("reference values", _references), ("round trip", _round_trip), ("parity", _parity)):
        yield _checked(name, check)
    yield _checked("greeks", _differences)
    if version_of("vollib") is None:
        yield Finding("vollib", "note", 'not installed, not compared; pip install "volstream[oracle]"')
        return
    yield _checked("vollib", _vollib)


def _checked(name: str, check: Callable[[], tuple[float, float, str]]) -> Finding:
    """A check gives the worst error, its limit, and what was compared."""
    worst, limit, what = check()
    # Written so that a NaN fails.
    return Finding(name, "ok" if worst <= limit else "failed", f"{what}: worst error {worst:.1e}, limit {limit:.0e}")


class Grid(NamedTuple):
    """Options from hours to years, wing to wing; flat arrays of one length."""

    forward: NDArray[np.float64]
    strike: NDArray[np.float64]
    ttm: NDArray[np.float64]
    sigma: NDArray[np.float64]
    cp: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.forward)


def _grid() -> Grid:
    standardised = np.linspace(-4.0, 4.0, 17)  # strikes in standard deviations from the forward
    ttm, sigma, x, cp = (
        axis.ravel()
        for axis in np.meshgrid([0.25 / 365, 7 / 365, 0.25, 2.0], [0.15, 0.6, 1.8], standardised, [1.0, -1.0])
    )
    forward = np.full(ttm.shape, 97_000.0)
    return Grid(forward, forward * np.exp(x * sigma * np.sqrt(ttm)), ttm, sigma, cp)


def _references() -> tuple[float, float, str]:
    columns = np.array(REFERENCES, dtype=np.float64).T
    forward, strike, ttm, sigma, cp, premium = columns
    errors = np.abs(pricer.price(forward, strike, ttm, sigma, cp) / premium - 1)
    return float(errors.max()), 1e-13, f"{len(REFERENCES)} premiums of 50 digits"


def _round_trip() -> tuple[float, float, str]:
    grid = _grid()
    # From the out-of-the-money side: there the premium determines the volatility.
    cp = np.where(grid.strike >= grid.forward, 1.0, -1.0)
    premium = pricer.price(grid.forward, grid.strike, grid.ttm, grid.sigma, cp)
    iv, status = pricer.implied_vol(premium, grid.forward, grid.strike, grid.ttm, cp, status=True)
    error = float(np.abs(iv / grid.sigma - 1).max()) if not np.any(status) else float("nan")
    return error, 1e-12, f"volatility to price and back, {len(grid)} options"


def _parity() -> tuple[float, float, str]:
    grid = _grid()
    call, put = (pricer.price(grid.forward, grid.strike, grid.ttm, grid.sigma, cp) for cp in (1.0, -1.0))
    error = np.abs(call - put - (grid.forward - grid.strike)) / grid.forward
    return float(error.max()), 1e-14, f"call - put = F - K, {len(grid)} options"


def _differences() -> tuple[float, float, str]:
    grid = _grid()
    greeks = pricer.greeks(*grid)
    shift = grid.forward * grid.sigma * np.sqrt(grid.ttm) * 1e-4
    step = grid.sigma * 1e-4

    def at(forward: Any, sigma: Any) -> Any:
        return pricer.price(forward, grid.strike, grid.ttm, sigma, grid.cp)

    delta = (at(grid.forward + shift, grid.sigma) - at(grid.forward - shift, grid.sigma)) / (2 * shift)
    vega = (at(grid.forward, grid.sigma + step) - at(grid.forward, grid.sigma - step)) / (2 * step)
    scale = grid.forward * np.sqrt(grid.ttm)
    error = max(float(np.abs(greeks.delta - delta).max()), float(np.abs((greeks.vega - vega) / scale).max()))
    return error, 1e-7, f"delta and vega against differences, {len(grid)} options"


def _vollib() -> tuple[float, float, str]:
    from vollib.black import black
    from vollib.black.greeks.analytical import delta, gamma
    from vollib.black.implied_volatility import implied_volatility

    grid = _grid()
    ours = pricer.greeks(*grid)
    worst = 0.0
    for i, (forward, strike, ttm, sigma, cp) in enumerate(zip(*grid, strict=True)):
        flag = "c" if cp > 0 else "p"
        theirs = black(flag, forward, strike, ttm, 0.0, sigma)
        errors = [
            (ours.price[i] - theirs) / forward,
            ours.delta[i] - delta(flag, forward, strike, ttm, 0.0, sigma),
            (ours.gamma[i] - gamma(flag, forward, strike, ttm, 0.0, sigma)) * forward * sigma * ttm**0.5,
        ]
        if cp * (strike - forward) >= 0:  # out of the money, where the premium determines the volatility
            errors.append(implied_volatility(theirs, forward, strike, 0.0, ttm, flag) / sigma - 1)
        worst = max(worst, *(abs(error) for error in errors))
    return worst, 1e-9, f"price, delta, gamma and volatility against vollib {version_of('vollib')}, {len(grid)} options"


# -- what is around


def _surroundings() -> Iterator[Finding]:
    resolution = time.get_clock_info("monotonic").resolution
    yield Finding("clock", "ok" if resolution <= 1e-3 else "note", f"monotonic to {resolution:.0e} s")
    try:
        with socket.create_server(("127.0.0.1", 0)):
            yield Finding("loopback", "ok", "127.0.0.1 can be listened on")
    except OSError as error:
        yield Finding("loopback", "failed", f"127.0.0.1 cannot be listened on: {error}")
    encoding = sys.stdout.encoding or "unknown"
    detail = f"{encoding}, {'a terminal' if sys.stdout.isatty() else 'not a terminal'}"
    yield Finding("output", "ok" if "utf" in encoding.lower() else "note", detail)
