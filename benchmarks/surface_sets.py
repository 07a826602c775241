"""The chains on which surfaces are compared: recorded ones where their data is present, and ones made from a seed.

*made N*: twelve expiries, a day to two years, some forty strikes each. Mids are the simulator's smiles (free of
arbitrage by construction), plus a wave that no SVI follows and noise, each a part of the half-spread, which widens
into the wings.

*BTC polled, moved*: the recorded BTC quotes with every mid moved by a quarter of its half-spread.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks import recorded
from benchmarks.sets import Floats
from pricer.simulator.smiles import svi_slices, total_variance
from pricer.surfaces import SliceQuotes

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"

POLLED = "BTC polled"

EXPIRIES = 12
_DAYS = np.array([1.0, 2.0, 5.0, 9.0, 16.0, 30.0, 58.0, 93.0, 180.0, 272.0, 363.0, 727.0])
_QUOTES = (36, 44)
_FORWARD = 100_000.0
# In half-spreads: what mids are off their smile by chance (standard deviation), and by not being SVI (amplitude).
_NOISE = 0.25
_WAVE = 0.4


class Chain(NamedTuple):
    """Quotes of several expiries; `joined` where these are of one underlying, so that neighbours must not cross."""

    name: str
    slices: list[SliceQuotes]
    joined: bool = True
    mark_iv: list[Floats] | None = None  # the venue's own vols, a row for each quote


def data_root(given: Path | None) -> Path:
    """`given`, else `$VOLSTREAM_DATA`, else `shared/data` beside the checkout; it need not exist."""
    named = os.environ.get("VOLSTREAM_DATA")
    return given or (Path(named) if named else DATA)


def recorded_chains(root: Path) -> tuple[list[Chain], list[str]]:
    """What is found below `root`, and a reason for everything that is not."""
    found: list[Chain] = []
    missing = [f"no recorded data {name!r} below {root.name!r}" for name in _absent(root)]
    if (root / recorded.BTC).exists():
        slices, marks = recorded.btc(root / recorded.BTC)
        found.append(Chain(POLLED, slices, mark_iv=marks))
        found.append(Chain(f"{POLLED}, moved", moved(slices, np.random.default_rng(1))))
    if (root / recorded.ETH).exists():
        found.append(Chain("ETH", recorded.eth(root / recorded.ETH)))
    if (root / recorded.SPX).exists():
        found.append(Chain("SPX", [quotes for _, quotes in recorded.spx(root / recorded.SPX).values()], joined=False))
    return found, missing


def _absent(root: Path) -> list[str]:
    return [name for name in (recorded.BTC, recorded.ETH, recorded.SPX) if not (root / name).exists()]


def moved(slices: list[SliceQuotes], random: np.random.Generator) -> list[SliceQuotes]:
    """The same spreads around other mids."""
    return [shifted(quotes, random.normal(0.0, _NOISE, quotes.strikes.size)) for quotes in slices]


def shifted(quotes: SliceQuotes, by: Floats) -> SliceQuotes:
    """Bid and ask moved together by so many half-spreads; where a side is missing the other one stays."""
    step = np.nan_to_num(by * 0.5 * (quotes.ask_iv - quotes.bid_iv))
    return SliceQuotes(
        quotes.ttm,
        quotes.forward,
        quotes.strikes,
        quotes.bid_iv + step,
        quotes.ask_iv + step,
        quotes.forwards,
        quotes.ages,
        quotes.cp,
        quotes.iv_floor,
    )


def made_chain(seed: int) -> Chain:
    random = np.random.default_rng([seed, 4])
    ttm = _DAYS / 365.0 * random.uniform(0.95, 1.05, EXPIRIES)
    forwards = _FORWARD * np.exp(random.uniform(0.02, 0.08) * ttm)
    params = svi_slices(ttm, random.normal(0.0, 1.0, 4) * np.array([0.15, 0.1, 0.05, 0.08]))
    slices = [_made_slice(*row, random) for row in zip(ttm.tolist(), forwards.tolist(), params, strict=True)]
    return Chain(f"made {seed}", slices)


def _made_slice(ttm: float, forward: float, params: Floats, random: np.random.Generator) -> SliceQuotes:
    count = int(random.integers(*_QUOTES, endpoint=True))
    deviations = np.linspace(-2.6, 2.2, count) + random.uniform(-0.02, 0.02, count)
    at_the_money = float(total_variance(params[None], np.zeros(1))[0])
    k = deviations * np.sqrt(at_the_money)
    sigma = np.sqrt(total_variance(np.broadcast_to(params, (count, 5)), k) / ttm)
    # Half a vol point at the money and more for short expiries, three times that far out.
    half = 0.003 * (1.0 + 0.4 * deviations**2) * (1.0 + 0.1 / np.sqrt(365.0 * ttm)) * random.uniform(0.7, 1.4, count)
    wave = _WAVE * np.sin(2.0 * deviations + random.uniform(0.0, 2.0 * np.pi))
    mid = sigma + half * (wave + _NOISE * random.normal(0.0, 1.0, count))
    return SliceQuotes(ttm, forward, forward * np.exp(k), mid - half, mid + half)
