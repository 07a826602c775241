"""The figures that the kernels are held to, each with the floor and the aim it is compared with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

import pricer
from benchmarks import plain_greeks
from benchmarks.ours import COLD, WARM, frozen
from benchmarks.sets import Options
from benchmarks.timing import best_by_turns
from benchmarks.vols import Measured, ratio
from pricer.kernels import black76, implied_vol
from pricer.kernels.chain import MODEL_FIELDS, SCRATCH_ROWS, model_values, quote_ivs


class Figure(NamedTuple):
    """A measured number; smaller is better unless it says otherwise. Without floor and aim it is for information."""

    name: str
    value: float
    unit: str = ""
    floor: float = math.nan
    aim: float = math.nan
    larger_is_better: bool = False

    @property
    def mark(self) -> str:
        if math.isnan(self.value) or math.isnan(self.floor):
            return "not measured" if math.isnan(self.value) else ""
        sign = -1.0 if self.larger_is_better else 1.0
        if sign * self.value <= sign * self.aim:
            return "aim held"
        return "held" if sign * self.value <= sign * self.floor else "MISSED"


def vol_figures(market: dict[str, Measured], extreme: dict[str, Measured]) -> list[Figure]:
    found = [
        Figure("cold IV, market set / lbriv", ratio(market, COLD.name), "", 0.16, 0.10),
        Figure("cold IV, extreme set / lbriv", ratio(extreme, COLD.name), "", 0.30, 0.20),
    ]
    for solver in WARM:
        name = f"IV, {solver.name.partition(', ')[2]}, market set / lbriv"
        found.append(Figure(name, ratio(market, solver.name), "", 0.09, 0.06))
    ours = [measured[name].accuracy for measured in (market, extreme) for name in (COLD.name, *(w.name for w in WARM))]
    found.append(Figure("max error, cold and warm, both sets", max(each.max_u for each in ours), "u", 5.0, 4.0))
    found.append(Figure("wrong or NaN, cold and warm, both sets", sum(each.lost for each in ours), "", 0.0, 0.0))
    return found


def greek_figures(options: Options, rounds: int, after_round: Callable[[], None]) -> list[Figure]:
    """Ours and the plain loops on the same options; ns an option for information."""
    count = len(options.cp)
    f, k, t, sigma, cp = map(frozen, options)
    status = np.empty(count, np.uint8)
    six, fourteen = np.empty((6, count)), np.empty((len(black76.GREEKS), count))
    plain_six, plain_fourteen = np.empty_like(six), np.empty_like(fourteen)
    calls: dict[str, Callable[[], object]] = {
        "plain loop, price + 5": lambda: plain_greeks.first_greeks(f, k, t, sigma, cp, plain_six),
        "plain loop, 14": lambda: plain_greeks.all_greeks(f, k, t, sigma, cp, plain_fourteen),
        "price + 5": lambda: black76.first_greeks_chain(f, k, t, sigma, cp, six, status),
        "14": lambda: black76.greeks_chain(f, k, t, sigma, cp, fourteen, status),
    }
    best = best_by_turns(calls, rounds, after_round)
    least = best["plain loop, price + 5"]
    return [
        Figure("price + 5 Greeks / plain loop of them", best["price + 5"] / least, "", 0.30, 0.20),
        Figure("14 Greeks / plain loop of price + 5", best["14"] / least, "", 0.45, 0.25),
        Figure("14 Greeks / plain loop of 14", best["14"] / best["plain loop, 14"], "", 0.45, 0.25),
        *(Figure(f"  {name}", seconds / count * 1e9, "ns/option") for name, seconds in best.items()),
    ]


def chain_figures(rounds: int, after_round: Callable[[], None], count: int = 1000) -> list[Figure]:
    """A tick of a coin-settled chain: all its quotes' vols from those of the tick before, and its model's values."""
    forward, ttm = 1e5, 30.0 / 365.0
    strike, cp = np.repeat(np.linspace(5e4, 2e5, count // 2), 2), np.tile([1.0, -1.0], count // 2)
    sigma = 0.6 + 0.1 * np.log(strike / forward) ** 2
    tick = np.full(count, 1e-4)
    forwards, ttms = np.full(count, forward), np.full(count, ttm)
    theo = pricer.price(forward, strike, ttm, sigma, cp) / forward
    # Two ticks by turns, so that the previous volatilities always are those of other quotes, 0.3 % off.
    other = pricer.price(forward, strike, ttm, sigma * 1.003, cp) / forward
    ticks = [(premium * 0.99, premium * 1.01) for premium in (theo, other)]
    strike, cp, rows = frozen(strike), frozen(cp), np.arange(count)
    values, status, out = np.zeros((3, count)), np.zeros((3, count), np.uint8), np.empty((len(MODEL_FIELDS), count))
    scratch = np.empty((SCRATCH_ROWS, 3 * count))
    turn = 0

    def quotes() -> None:
        nonlocal turn
        bid, ask = ticks[turn % 2]
        turn += 1
        quote_ivs(rows, count, bid, ask, forwards, ttms, strike, cp, tick, True, values, status, scratch)

    def model() -> None:
        model_values(count, sigma, forward, forward, ttm, strike, cp, tick, 1.0, True, out)

    best = best_by_turns({"vols": quotes, "model": model}, rounds, after_round)
    return [
        Figure("1,000-option chain: 3,000 IVs and the model", (best["vols"] + best["model"]) * 1e6, "us", 300.0, 200.0),
        Figure("  bid, ask and mid IVs, one call", best["vols"] * 1e6, "us"),
        Figure("  theo, 14 Greeks, delta forms, one call", best["model"] * 1e6, "us"),
    ]


def single_figures(repeats: int = 200, calls: int = 1_000) -> list[Figure]:
    """One option from Python: the compiled function itself, and what a user calls."""
    row = (3.617974, 100.0, 105.0, 0.5, 1.0)
    functions: dict[str, Callable[..., object]] = {
        "kernel": implied_vol.implied_vol,
        "pricer.implied_vol": pricer.implied_vol,
    }
    return [
        Figure(f"one option from Python, {name}", call_time(function, row, repeats, calls), "us", 1.0, 0.6)
        for name, function in functions.items()
    ]


def call_time(function: Callable[..., object], row: tuple[float, ...], repeats: int, calls: int) -> float:
    """Microseconds of a call, the best average of `repeats` loops; the loop's own time is in it."""
    p, f, k, t, cp = row
    function(p, f, k, t, cp)
    best = math.inf
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(calls):
            function(p, f, k, t, cp)
        best = min(best, time.perf_counter() - started)
    return best / calls * 1e6


def start_up_figures(seconds: dict[str, float]) -> list[Figure]:
    return [
        Figure("import and first IV, warm cache", seconds["first result, warm"], "s", 0.6, 0.4),
        Figure("import and first IV, cold cache", seconds["first result, cold"], "s", 15.0, 8.0),
        Figure("  import and warmup(), warm cache", seconds["warmup(), warm"], "s"),
        Figure("  import and warmup(), cold cache", seconds["warmup(), cold"], "s"),
    ]


def table(figures: list[Figure]) -> list[str]:
    lines = [f"{'figure':<46}{'measured':>10} {'':<10}{'floor':>8}{'aim':>8}"]
    for figure in figures:
        bounds = "" if math.isnan(figure.floor) else f"{figure.floor:>8g}{figure.aim:>8g}  {figure.mark}"
        lines.append(f"{figure.name:<46}{digits(figure.value):>10} {figure.unit:<10}{bounds}".rstrip())
    return lines


def digits(value: float) -> str:
    """Three of them, without an exponent."""
    if math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.3g}"
