"""Volatility and Greeks of contracts from the published surface, listed or not.

A listed option has the numbers of the chain, to the last digit. At a listed expiry any other strike lies on the smile
of the chain's numbers, at their forward and time. Any other expiry takes the surface between its neighbours (linear in
total variance, forward log-linear; `pricer.surfaces.surface`), and outside them is `EXTRAPOLATED`. The worst of what a
number leans on decides its status, and the earliest of their limits is its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import NO_REASON, NO_TIME, Reason, Status, ttm_years
from pricer.kernels.chain import model_values
from pricer.kernels.rating import K_MARGIN
from pricer.sidecar.contracts import Placed
from pricer.sidecar.messages import Column
from pricer.sidecar.rounding import round_significant
from pricer.sidecar.slices import Picture, Slice, smile_status
from pricer.snapshot import FIRST_MODEL, GREEK_FIELDS, MODEL_FIELDS, ROW_PAIR, VALUE_FIELDS
from pricer.surfaces.dynamics import smile_greeks
from pricer.surfaces.smile import Smile
from pricer.surfaces.surface import VolSurface

FIELDS = ("iv", *MODEL_FIELDS)
_IV = VALUE_FIELDS.index("iv")
_OF_RULE = ("delta", "gamma", "vega", "theta")

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Ground:
    """What the contracts of one expiry stand on: their smile (None where there is none) and what it is worth."""

    expiry_ns: int
    ttm: float
    forward: float
    smile: Smile | None
    status: Status
    reasons: Reason
    k_min: float
    k_max: float
    valid_until_ns: int
    inverse: bool
    tick: float
    settlement_currency: str


@dataclass(slots=True)
class Valued:
    """Contracts with their numbers: `values` is float64 [field of FIELDS, contract], not rounded."""

    contracts: Sequence[Placed]
    grounds: list[Ground]
    values: NDArray[np.float64]
    status: NDArray[np.uint8]
    reasons: NDArray[np.uint64]
    valid_until_ns: NDArray[np.int64]


def valued(picture: Picture, contracts: Sequence[Placed], check: Check = lambda: None) -> Valued:
    """All contracts; `check` is called between expiries, and may raise to give up."""
    n = len(contracts)
    grounds: dict[int, Ground] = {}
    members: dict[int, list[int]] = {}
    for i, contract in enumerate(contracts):
        members.setdefault(contract.expiry_ns, []).append(i)
    for expiry_ns in members:
        check()
        grounds[expiry_ns] = ground_of(picture, expiry_ns, contracts[members[expiry_ns][0]].piece)
    out = Valued(
        contracts,
        [grounds[each.expiry_ns] for each in contracts],
        np.full((len(FIELDS), n), np.nan),
        np.full(n, Status.INVALID, np.uint8),
        np.zeros(n, np.uint64),
        np.full(n, NO_TIME, np.int64),
    )
    for expiry_ns, where in members.items():
        check()
        _fill(picture, out, grounds[expiry_ns], where)
    return out


def ground_of(picture: Picture, expiry_ns: int, piece: Slice | None) -> Ground:
    """What stands under one expiry: its slice, or the surface between others."""
    return _between(picture, expiry_ns) if piece is None else _listed(piece)


def _listed(piece: Slice) -> Ground:
    block = piece.block
    fit, forward, ttm = block.fit, block.forward.value, block.ttm
    alive = fit is not None and fit.smile is not None and forward > 0.0 and ttm > 0.0
    status, reasons = smile_status(piece.status, piece.reasons)
    if not alive:
        status, reasons = Status.INVALID, reasons | Reason.FIT_UNDERDETERMINED
    elif fit is not None:
        status, reasons = max(status, fit.status), reasons | fit.reasons
    return Ground(
        block.key.expiry_ns,
        ttm,
        forward,
        fit.smile.at(forward, ttm) if alive and fit is not None and fit.smile is not None else None,
        status,
        reasons,
        math.nan if fit is None else fit.k_min,
        math.nan if fit is None else fit.k_max,
        block.model_valid_until_ns,
        block.definition.inverse,
        float(block.definition.tick_size[0]),
        block.definition.settlement_currency,
    )


def _between(picture: Picture, expiry_ns: int) -> Ground:
    """The surface at an expiry that is not listed, from the slices around it."""
    surface: VolSurface | None = picture.snapshot.surface
    ttm = ttm_years(expiry_ns, picture.snapshot.computed.wall_ns)
    around = _neighbours(picture, expiry_ns)
    known = surface is not None and surface.slices and around and ttm > 0.0
    smile = surface.smile(float(ttm)) if known and surface is not None else None
    status, reasons, limit = Status.OK, NO_REASON, 2**63 - 1
    for piece in around:
        its = _listed(piece)
        status, reasons, limit = max(status, its.status), reasons | its.reasons, min(limit, its.valid_until_ns)
    if len(around) < 2:
        status, reasons = max(status, Status.DEGRADED), reasons | Reason.EXTRAPOLATED
    if smile is None:
        status, reasons = Status.INVALID, reasons | Reason.FIT_UNDERDETERMINED
    fits = [piece.block.fit for piece in around if piece.block.fit is not None]
    first = around[0].block.definition if around else None
    return Ground(
        expiry_ns,
        ttm,
        math.nan if smile is None else smile.forward,
        smile,
        status,
        reasons,
        max((fit.k_min for fit in fits), default=math.nan),
        min((fit.k_max for fit in fits), default=math.nan),
        limit if around else NO_TIME,
        first is not None and first.inverse,
        math.nan if first is None else float(first.tick_size[0]),
        "" if first is None else first.settlement_currency,
    )


def _neighbours(picture: Picture, expiry_ns: int) -> list[Slice]:
    """The slices with a smile before and after an expiry: two, or one at the ends."""
    known = [piece for piece in picture.slices if piece.block.fit is not None and piece.block.fit.smile is not None]
    before = [piece for piece in known if piece.block.key.expiry_ns < expiry_ns]
    after = [piece for piece in known if piece.block.key.expiry_ns > expiry_ns]
    return [*before[-1:], *after[:1]]


def _fill(picture: Picture, out: Valued, ground: Ground, where: list[int]) -> None:
    listed = [i for i in where if out.contracts[i].row is not None]
    for i in listed:
        _copy_row(out, i, ground)
    rest = [i for i in where if out.contracts[i].row is None]
    if rest:
        _compute(picture, out, ground, np.array(rest))


def _copy_row(out: Valued, i: int, ground: Ground) -> None:
    """The numbers of the chain."""
    contract = out.contracts[i]
    assert contract.piece is not None
    assert contract.row is not None
    block = contract.piece.block
    status = Status(int(contract.piece.status[ROW_PAIR, contract.row]))
    out.status[i], out.reasons[i] = status, contract.piece.reasons[ROW_PAIR, contract.row]
    out.valid_until_ns[i] = block.model_valid_until_ns
    if status != Status.INVALID:
        out.values[0, i] = block.values[_IV, contract.row]
        out.values[1:, i] = block.values[FIRST_MODEL:, contract.row]


def _compute(picture: Picture, out: Valued, ground: Ground, where: NDArray[np.int64]) -> None:
    """Numbers at the smile."""
    out.reasons[where], out.status[where] = np.uint64(ground.reasons), ground.status
    out.valid_until_ns[where] = ground.valid_until_ns
    if ground.smile is None or ground.status == Status.INVALID:
        return
    strikes = np.array([out.contracts[i].strike for i in where])
    cp = np.array([float(out.contracts[i].cp) for i in where])
    iv = np.asarray(ground.smile.iv(strikes), np.float64)
    spot = picture.snapshot.index.value
    values = model_fields(ground, strikes, cp, iv, spot)
    rule = picture.snapshot.convention.dynamics
    if rule != "sticky_strike":
        greeks = smile_greeks(ground.smile, strikes, cp, 1.0, rule)
        for name in _OF_RULE:
            values[MODEL_FIELDS.index(name)] = getattr(greeks, name)
        _renew_forms(values, ground.forward, spot)
    _rate(out, ground, where, strikes, iv, values)


def model_fields(
    ground: Ground, strikes: NDArray[np.float64], cp: NDArray[np.float64], iv: NDArray[np.float64], spot: float
) -> NDArray[np.float64]:
    """MODEL_FIELDS of options at volatilities `iv`, as the engine makes them: [field, option]."""
    n, values = len(strikes), np.empty((len(MODEL_FIELDS), len(strikes)))
    tick = np.full(n, ground.tick * ground.forward if ground.inverse else ground.tick)
    # Read-only like the engine's static columns: to Numba another array is another type, and compiled anew.
    strikes, cp = strikes.copy(), cp.copy()
    strikes.flags.writeable = cp.flags.writeable = False
    model_values(n, iv, ground.forward, spot, ground.ttm, strikes, cp, tick, 1.0, ground.inverse, values)
    return values


def _renew_forms(values: NDArray[np.float64], forward: float, spot: float) -> None:
    """The delta forms and vega_coin of deltas and vegas that follow the smile (`pricer.kernels.settlement`)."""
    at = {name: i for i, name in enumerate(MODEL_FIELDS)}
    price, delta, vega = (values[at[name]] for name in ("price", "delta", "vega"))
    values[at["delta_premium_adjusted"]] = delta - price / forward
    values[at["delta_coin"]] = (delta - price / forward) / forward
    values[at["delta_cash"]] = delta * forward
    values[at["delta_cash_premium_adjusted"]] = delta * forward - price
    values[at["delta_spot"]] = delta * forward / spot if spot > 0.0 else math.nan
    values[at["vega_coin"]] = vega / forward


def _rate(
    out: Valued,
    ground: Ground,
    where: NDArray[np.int64],
    strikes: NDArray[np.float64],
    iv: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """As the engine rates rows: outside the quoted strikes DEGRADED, without a finite number INVALID."""
    k = np.log(strikes / ground.forward)
    outside = ~((k >= ground.k_min - K_MARGIN) & (k <= ground.k_max + K_MARGIN))
    _worsen(out, where[outside], Status.DEGRADED, Reason.EXTRAPOLATED)
    absent = np.isnan(iv)
    _worsen(out, where[absent], Status.INVALID, Reason.FIT_UNDERDETERMINED)
    broken = ~np.isfinite(values[: 1 + len(GREEK_FIELDS)]).all(axis=0) & ~absent
    _worsen(out, where[broken], Status.INVALID, Reason.MODEL_LIMIT)
    good = ~(absent | broken)
    out.values[0, where[good]] = iv[good]
    out.values[1:, where[good]] = values[:, good]


def _worsen(out: Valued, where: NDArray[np.int64], status: Status, reason: Reason) -> None:
    out.status[where] = np.maximum(out.status[where], np.uint8(status))
    out.reasons[where] |= np.uint64(reason)


def columns_of(found: Valued, digits: int) -> dict[str, Column]:
    """The table of an answer, one row a contract, in the order in which they were posted."""
    grounds = found.grounds
    values = round_significant(found.values, digits)
    return {
        "name": [each.name for each in found.contracts],
        "expiry_ns": np.array([each.expiry_ns for each in found.contracts], np.int64),
        "strike": np.array([each.strike for each in found.contracts]),
        "cp": np.array([each.cp for each in found.contracts], np.int8),
        "ttm": round_significant(np.array([each.ttm for each in grounds]), digits),
        "forward": round_significant(np.array([each.forward for each in grounds]), digits),
        **{name: values[i] for i, name in enumerate(FIELDS)},
        "status": found.status,
        "reasons": found.reasons,
        "valid_until_ns": found.valid_until_ns,
        "settlement_currency": [each.settlement_currency for each in grounds],
    }
