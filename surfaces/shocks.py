"""Scenarios: a surface after a shock of spot, vol, skew, curvature or term structure, certified anew.

The coordinates of a slice are what its smile is at the money and in its wings,

    vol s(0),   skew s′(0)·√ttm,   curvature s″(0)·ttm,   wing slopes c₋, c₊

with s(k) the volatility: skew and curvature are derivatives of vol in k/√ttm. Five numbers, as many as raw SVI has, and
either set gives the other in closed form. A shock adds to the first three and keeps the wing slopes:

    vol          vol        + vol                 the other four stay
    skew         skew       + skew                the other four stay
    curvature    curvature  + curvature           the other four stay
    term         vol        + term·ttm            the other four stay
    spot         every forward times 1 + spot; the smile moves by the rule of `dynamics` (pricer.surfaces.dynamics)

Near the money that shifts, tilts and bends the curve of vols. Far out the slopes of total variance stay what they were
(so what a vol shock adds there falls off like 1/σ): they are in order from expiry to expiry and below Lee's bound, and
a shift that went on for ever would break both. A shock and its opposite cancel. Several at once: the spot first.

Where that is no smile, or one with arbitrage, the slice takes a smaller share of its shock, and with it the neighbour
that it crosses: halved until every certificate holds, then as large again as they allow. Such slices are `DEGRADED`
with `ARB_REPAIRED`. The forward moves in full; a share of nothing leaves the unshocked smile at equal k.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import NamedTuple

import numpy as np

from pricer.conventions import NO_REASON, Reason, Status
from pricer.surfaces.arbitrage import check_butterfly, check_calendar
from pricer.surfaces.dynamics import Dynamics, checked, level_pull
from pricer.surfaces.quotes import Selection
from pricer.surfaces.slices import FitDiagnostics, SurfaceSlice
from pricer.surfaces.svi import SviParams, SviSmile

# A spot move that leaves less of the at-the-money vol than this is beyond the minimum-variance rule, linear as it is.
LEAST_LEVEL = 0.1

_LEAST_SHARE = 2.0**-10
_REFINEMENTS = 8  # halvings between a share that holds and one that does not

_NO_QUOTES = Selection(np.empty((0, 5)), np.empty(0, np.int64), np.empty(0, np.uint8), np.empty(0, np.uint64), 0)


@dataclass(frozen=True, slots=True)
class Shock:
    """The size of a scenario; `spot` is relative, `vol` is added to σ (0.01 is one vol point)."""

    spot: float = 0.0
    vol: float = 0.0
    skew: float = 0.0
    curvature: float = 0.0
    term: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not math.isfinite(getattr(self, field.name)):
                raise ValueError(f"shock {field.name} must be finite, not {getattr(self, field.name)!r}")
        if not self.spot > -1.0:
            raise ValueError(f"shock spot must be above -1, not {self.spot!r}")


class AtmShape(NamedTuple):
    """A smile at the money: vol, and its first and second derivative in k/√ttm."""

    vol: float
    skew: float
    curvature: float


def atm_shape(smile: SviSmile) -> AtmShape:
    """Vol, skew and curvature of a smile at k = 0; NaN where w(0) is not positive."""
    w, slope, bend = (float(of(0.0)) for of in (smile.total_variance, smile.dw, smile.d2w))
    if not w > 0.0:
        return AtmShape(math.nan, math.nan, math.nan)
    vol = math.sqrt(w / smile.ttm)
    first = slope / (2.0 * vol * smile.ttm)
    second = (bend / smile.ttm - 2.0 * first * first) / (2.0 * vol)
    return AtmShape(vol, first * math.sqrt(smile.ttm), second * smile.ttm)


def with_atm_shape(smile: SviSmile, shape: AtmShape) -> SviSmile | None:
    """The raw SVI smile with this shape at the money and the wing slopes of `smile`; None where there is none.

    With R = √(m² + σ²): w′(0) = b·(ρ − m/R) gives m/R, w″(0) = b·σ²/R³ then gives R, and w(0) gives a.
    """
    root_ttm = math.sqrt(smile.ttm)
    vol, first, second = shape.vol, shape.skew / root_ttm, shape.curvature / smile.ttm
    w, slope = vol * vol * smile.ttm, 2.0 * vol * first * smile.ttm
    bend = 2.0 * (first * first + vol * second) * smile.ttm
    b, rho = smile.params.b, smile.params.rho
    if not vol > 0.0:
        return None
    if b == 0.0:
        flat = slope == 0.0 and bend == 0.0
        return replace(smile, params=smile.params._replace(a=w)) if flat else None
    tilt = slope / b - rho  # −m/R
    if not (abs(tilt) < 1.0 and bend > 0.0):
        return None
    radius = b * (1.0 - tilt) * (1.0 + tilt) / bend
    sigma = radius * math.sqrt((1.0 - tilt) * (1.0 + tilt))
    a = w - b * radius * (1.0 + rho * tilt)
    return replace(smile, params=SviParams(a, b, rho, -tilt * radius, sigma))


def shocked_slices(slices: Sequence[SurfaceSlice], shock: Shock, dynamics: Dynamics) -> list[SurfaceSlice]:
    """The slices after a shock, each certified on its own and above the shorter one; those without a smile have none.

    The result has met no quotes: its diagnostics are empty, with the path "blended" where a share was taken. A
    ValueError says that the unshocked slices carry arbitrage themselves.
    """
    checked(dynamics)
    forwards = [part.forward * (1.0 + shock.spot) for part in slices]
    known = [i for i, part in enumerate(slices) if part.smile is not None]
    starts = [smile for part in slices if (smile := part.smile) is not None]
    shares, smiles = _realised(starts, lambda smile, share: _moved(smile, shock, dynamics, share))
    found = {i: (share, smile) for i, share, smile in zip(known, shares, smiles, strict=True)}
    result: list[SurfaceSlice] = []
    lower: SviSmile | None = None
    for i, part in enumerate(slices):
        if i not in found:
            result.append(replace(part, forward=forwards[i]))
            continue
        share, smile = found[i]
        result.append(_slice(part, smile, share, shock, dynamics).above(lower))
        lower = smile
    return result


def _moved(smile: SviSmile, shock: Shock, dynamics: Dynamics, share: float) -> SviSmile | None:
    """The smile after a share of the shock, at the forward of all of it; None where that is no smile."""
    shift, level = _spot_move(smile, shock, dynamics, share)
    if not level >= LEAST_LEVEL:
        return None
    a, b, rho, m, sigma = smile.params
    params = SviParams(a * level * level, b * level, rho, m * level - shift, sigma * level)
    moved = SviSmile(smile.ttm, smile.forward * (1.0 + shock.spot), params)
    added = AtmShape(share * (shock.vol + shock.term * smile.ttm), share * shock.skew, share * shock.curvature)
    if not any(added):
        return moved
    shape = atm_shape(moved)
    return with_atm_shape(moved, AtmShape(*(now + more for now, more in zip(shape, added, strict=True))))


def _spot_move(smile: SviSmile, shock: Shock, dynamics: Dynamics, share: float) -> tuple[float, float]:
    """(shift, level): what was at k comes to lie at level·k − shift, its vol times level."""
    x = share * math.log1p(shock.spot)
    return x if dynamics == "sticky_strike" else 0.0, 1.0 + level_pull(smile, dynamics) * x


def _slice(part: SurfaceSlice, smile: SviSmile, share: float, shock: Shock, dynamics: Dynamics) -> SurfaceSlice:
    """The slice of a shocked smile, with the butterfly half of its certificate."""
    assert part.smile is not None
    shift, level = _spot_move(part.smile, shock, dynamics, share)
    repaired = share < 1.0
    return replace(
        part,
        forward=smile.forward,
        smile=smile,
        status=max(part.status, Status.DEGRADED) if repaired else part.status,
        reasons=part.reasons | (Reason.ARB_REPAIRED if repaired else NO_REASON),
        certificate=check_butterfly(smile),
        diagnostics=FitDiagnostics("blended" if repaired else "none"),
        k_min=level * part.k_min - shift,
        k_max=level * part.k_max - shift,
        selection=_NO_QUOTES,
    )


def _realised(
    starts: Sequence[SviSmile], move: Callable[[SviSmile, float], SviSmile | None]
) -> tuple[list[float], list[SviSmile]]:
    """The share of the move that each smile takes, and the smiles: certified, each and against its neighbours."""
    shares = [1.0] * len(starts)
    smiles = [move(start, 1.0) for start in starts]
    while bad := _refused(smiles):
        if all(shares[i] == 0.0 for i in bad):
            raise ValueError("a shock starts from a surface without arbitrage; the certificate of this one fails")
        for i in bad:
            shares[i] = 0.5 * shares[i] if shares[i] > _LEAST_SHARE else 0.0
            smiles[i] = move(starts[i], shares[i])
    for i, share in enumerate(shares):
        if share < 1.0:
            shares[i] = _grown(smiles, i, share, partial(move, starts[i]))
    return shares, [smile for smile in smiles if smile is not None]


def _grown(smiles: list[SviSmile | None], i: int, share: float, moved: Callable[[float], SviSmile | None]) -> float:
    """The largest share found that smile i can take beside its present neighbours; the smile itself goes in place."""
    kept, refused = share, max(2.0 * share, _LEAST_SHARE)
    for _ in range(_REFINEMENTS):
        middle = 0.5 * (kept + refused)
        trial = [*smiles[max(i - 1, 0) : i], moved(middle), *smiles[i + 1 : i + 2]]
        if _refused(trial):
            refused = middle
        else:
            kept, smiles[i] = middle, trial[1 if i else 0]
    return kept


def _refused(smiles: Sequence[SviSmile | None]) -> list[int]:
    """The indices of smiles that are none, have butterfly arbitrage, or cross a neighbour."""
    bad = {i for i, smile in enumerate(smiles) if smile is None or not check_butterfly(smile).ok}
    for (i, lower), (j, upper) in itertools.pairwise(enumerate(smiles)):
        if lower is not None and upper is not None and not check_calendar(lower, upper).ok:
            bad |= {i, j}
    return sorted(bad)
