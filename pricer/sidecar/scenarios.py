"""What a list of contracts is worth after the market has moved: relative moves of the forwards, shifts of all
volatilities, days that have passed, and every combination of them.

Each strike's volatility moves by a rule of `pricer.surfaces.dynamics`, in one step of finite size, and the shift is
added to it; days only shorten the time to expiry (and under sticky_delta move the volatility). The moved curves are
not certified anew: a scenario is of options, not a surface to trade on. A contract that expires on the way is worth
what it pays at the moved forward. An option whose volatility is its own mid, since no smile is determined, keeps it.

Values are in quote currency a coin, as `price` is, and in settlement currency: V/F of the moved forward where settled
in coin. Times quantity and contract size. A profit is the value there less the value now, each in its own currency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import Dynamics, Status
from pricer.pricing import price
from pricer.sidecar.messages import Column
from pricer.sidecar.rounding import round_significant
from pricer.sidecar.valuation import Check, Ground, Valued
from pricer.surfaces.dynamics import moved_iv

DAYS_PER_YEAR = 365.0
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Axes:
    """The grid: relative moves of the forwards, shifts of volatility (0.01 is one point), days passed."""

    moves: Sequence[float]
    shifts: Sequence[float]
    days: Sequence[float]

    @property
    def cells(self) -> int:
        """How many scenarios there are."""
        return len(self.moves) * len(self.shifts) * len(self.days)


@dataclass(frozen=True, slots=True)
class Revaluation:
    """Values of the positions, float64 [move, shift, day, contract], in each currency; `_now` those of now."""

    quote: Values
    settlement: Values
    quote_now: Values
    settlement_now: Values


def revalued(
    found: Valued, quantities: Sequence[float], axes: Axes, dynamics: Dynamics, check: Check = lambda: None
) -> Revaluation:
    """Every position in every cell, NaN where a contract has no volatility; `check` may raise to give up."""
    n = len(found.contracts)
    shape = (len(axes.moves), len(axes.shifts), len(axes.days), n)
    out = Revaluation(np.full(shape, np.nan), np.full(shape, np.nan), np.full(n, np.nan), np.full(n, np.nan))
    sizes = np.array([_size(found, i) * quantity for i, quantity in enumerate(quantities)])
    members: dict[int, list[int]] = {}
    for i, contract in enumerate(found.contracts):
        if found.status[i] != Status.INVALID and math.isfinite(found.values[0, i]):
            members.setdefault(contract.expiry_ns, []).append(i)
    for where in members.values():
        _revalue(found, np.array(where), sizes, axes, dynamics, out, check)
    return out


def _size(found: Valued, i: int) -> float:
    """The contract size of a listed option; an unlisted one is of one coin."""
    contract = found.contracts[i]
    if contract.piece is None or contract.row is None:
        return 1.0
    return float(contract.piece.block.definition.contract_size[contract.row])


def _revalue(
    found: Valued,
    where: NDArray[np.int64],
    sizes: Values,
    axes: Axes,
    dynamics: Dynamics,
    out: Revaluation,
    check: Check,
) -> None:
    """The contracts of one expiry."""
    ground = found.grounds[int(where[0])]
    strikes = np.array([found.contracts[i].strike for i in where])
    cp = np.array([float(found.contracts[i].cp) for i in where])
    curve = _Curve(ground, strikes, found.values[0, where], dynamics)
    own = sizes[where]
    now = own * np.asarray(price(ground.forward, strikes, ground.ttm, found.values[0, where], cp))
    out.quote_now[where] = now
    out.settlement_now[where] = now / ground.forward if ground.inverse else now
    shifts = np.array(axes.shifts)
    for i, move in enumerate(axes.moves):
        forward = ground.forward * (1.0 + move)
        for j, days in enumerate(axes.days):
            check()
            ttm = max(ground.ttm - days / DAYS_PER_YEAR, 0.0)
            sigma = curve.after(forward, ttm, shifts)
            value = own * np.asarray(price(forward, strikes, ttm, sigma, cp)).reshape(len(shifts), len(where))
            out.quote[i, :, j, where] = value.T
            out.settlement[i, :, j, where] = (value / forward if ground.inverse else value).T


class _Curve:
    """How the volatilities of some strikes of one expiry move: [shift, strike]."""

    def __init__(self, ground: Ground, strikes: Values, iv: Values, dynamics: Dynamics) -> None:
        self._ground, self._strikes, self._iv, self._dynamics = ground, strikes, iv, dynamics
        self._own = np.zeros(len(iv))
        if ground.smile is not None:
            # An option's own mid keeps its distance from the curve; elsewhere this is round-off, and counts as none.
            apart = iv - np.asarray(ground.smile.iv(strikes))
            self._own = np.where(np.abs(apart) > 1e-12, apart, 0.0)

    def after(self, forward: float, ttm: float, shifts: Values) -> Values:
        """σ of each shift and strike; NaN where there is none left."""
        if ttm == 0.0:
            return np.zeros((len(shifts), len(self._iv)))  # what it pays needs none
        smile = self._ground.smile
        if smile is None:
            sigma = self._iv + shifts[:, None]
        elif self._dynamics == "sticky_delta":
            sigma = self._own + np.array(
                [
                    moved_iv(smile, self._strikes, self._dynamics, forward=forward, ttm=ttm, vol=v)
                    for v in shifts.tolist()
                ]
            )
        else:
            sigma = self._own + moved_iv(smile, self._strikes, self._dynamics, forward=forward) + shifts[:, None]
        return np.where(sigma > 0.0, sigma, np.nan)


def cells_of(found: Revaluation, axes: Axes, digits: int) -> dict[str, Column]:
    """The totals, one row a cell; no value where one of its contracts has none."""
    quote, coin = found.quote.sum(axis=-1).reshape(-1), found.settlement.sum(axis=-1).reshape(-1)
    return {
        **_axes(axes, 1),
        "value": round_significant(quote, digits),
        "pnl": round_significant(quote - found.quote_now.sum(), digits),
        "value_settlement": round_significant(coin, digits),
        "pnl_settlement": round_significant(coin - found.settlement_now.sum(), digits),
    }


def positions_of(found: Revaluation, axes: Axes, digits: int) -> dict[str, Column]:
    """One row a cell and contract, contracts running fastest."""
    n = found.quote.shape[-1]
    return {
        **_axes(axes, n),
        "contract": np.tile(np.arange(n, dtype=np.int64), axes.cells),
        "value": round_significant(found.quote.reshape(-1), digits),
        "pnl": round_significant((found.quote - found.quote_now).reshape(-1), digits),
        "value_settlement": round_significant(found.settlement.reshape(-1), digits),
        "pnl_settlement": round_significant((found.settlement - found.settlement_now).reshape(-1), digits),
    }


def _axes(axes: Axes, repeat: int) -> dict[str, Column]:
    """Where each row stands on the grid: moves running slowest, days fastest."""
    grid = np.meshgrid(axes.moves, axes.shifts, axes.days, indexing="ij")
    names = ("forward_move", "vol_shift", "days")
    return {
        name: np.repeat(axis.reshape(-1), repeat).astype(np.float64) for name, axis in zip(names, grid, strict=True)
    }


def costs(contracts: int, axes: Axes, dynamics: Dynamics) -> float:
    """About how many cheap requests a scenario takes the time of: `python -m benchmarks.http` measures both."""
    values = contracts * axes.cells
    return 1.0 + values / (20.0 if dynamics == "sticky_delta" else 1000.0) + len(axes.moves) * len(axes.days) / 5.0
