"""A market whose smile does not move and whose quotes do: what jitter is measured on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pricer import implied_vol, price
from pricer.surfaces import SliceQuotes, SviParams, SviSmile, VolSurface, select
from pricer.surfaces.smoothing import SurfaceSmoother
from pricer.surfaces.svi_free import fit_free
from tests.surfaces.made import ATM, Array, smile, strikes_of

FORWARD = 60_000.0
TTM = 0.08
TICK = 0.0001  # of a price in coin


def tick_quotes(true: SviSmile, seed: int, ticks: int, options: int = 21, reach: float = 2.0) -> Iterator[SliceQuotes]:
    """Quotes of one expiry, tick by tick.

    Mids wander by a part of their spread and come back to the truth, spreads breathe, prices are rounded outwards to
    whole ticks of coin, and now and then a quote is gone for a while.
    """
    random = np.random.default_rng(seed)
    strikes = strikes_of(true.ttm, options, reach=reach)
    cp = np.where(strikes >= FORWARD, 1, -1)
    fair = np.asarray(true.iv(strikes))
    error, gone = random.normal(0.0, 0.4, options), np.zeros(options, dtype=bool)
    for _ in range(ticks):
        error = 0.9 * error + math.sqrt(0.19) * random.normal(0.0, 0.4, options)
        half = 0.006 * random.lognormal(0.0, 0.3, options)
        gone ^= random.random(options) < np.where(gone, 0.1, 0.01)
        sides = []
        for sign in (-1.0, 1.0):
            vol = fair + (error + sign) * half
            coin = np.asarray(price(FORWARD, strikes, true.ttm, vol, cp)) / FORWARD
            whole = np.floor(coin / TICK) if sign < 0.0 else np.ceil(coin / TICK)
            iv = np.asarray(implied_vol(whole * TICK * FORWARD, FORWARD, strikes, true.ttm, cp))
            sides.append(np.where(gone | ~(iv > 0.0), math.nan, iv))
        yield SliceQuotes(true.ttm, FORWARD, strikes, sides[0], sides[1], cp=cp.astype(np.float64))


@dataclass(frozen=True)
class Jitter:
    """Root mean square change of volatility from one tick to the next, at −3, 0 and 3 standard deviations."""

    free: Array
    free_smoothed: Array  # the free fit's curve, averaged with the same half-life: the same lag at the money
    hard: Array
    hard_smoothed: Array


def jitter(
    seed: int, reach: float = 2.0, ticks: int = 400, seconds: float = 0.1, half_life: float = 2.0, warm_up: int = 60
) -> Jitter:
    """Free fits and hard fits of the same noisy quotes, raw and smoothed."""
    true = smile(TTM)
    at = FORWARD * np.exp(np.array([-3.0, 0.0, 3.0]) * ATM * math.sqrt(TTM))
    rows: list[list[Array]] = []
    smoother = SurfaceSmoother(half_life)
    surface: VolSurface | None = None
    averaged: Array | None = None
    params = np.empty(5)
    for source in tick_quotes(true, seed, ticks, reach=reach):
        fit_free(select(source).observations, TTM, surface is not None, params)
        free = np.asarray(SviSmile(TTM, FORWARD, SviParams(*params.tolist())).iv(at))
        kept = 0.5 ** (seconds / half_life)
        averaged = free if averaged is None else free + kept * (averaged - free)
        surface = VolSurface.fit([source]) if surface is None else surface.updated(0, source)
        smoothed = smoother.update(surface, seconds)
        rows.append([free, averaged, np.asarray(surface.iv(at, TTM)), np.asarray(smoothed.iv(at, TTM))])
    steps = np.diff(np.array(rows)[warm_up:], axis=0)
    return Jitter(*np.sqrt(np.mean(steps * steps, axis=0)))
