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

Where that is arbitrage the wings give way first. They are what quotes say least about, and certified neighbours nearly
touch there. With vol, skew and curvature as asked, the wing where a certificate fails becomes flatter (butterfly), or
that of the shorter expiry flatter and that of the longer one steeper (calendar), by 2 % at a time. Where this does
not help, the whole surface takes a smaller share of the shock, the largest that halving finds, so that it stays one
scenario. Of the spot's rule a slice may take a share of its own: ten deviations of an expiry due tomorrow are one of a
long one. All repairs make a slice `DEGRADED` with `ARB_REPAIRED`. The forwards always move in full; a share of nothing
is the old smile at equal k.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pricer.conventions import NO_REASON, Reason, Status
from pricer.surfaces.arbitrage import check_butterfly, check_calendar
from pricer.surfaces.dynamics import Dynamics, checked, level_pull
from pricer.surfaces.quotes import Selection
from pricer.surfaces.slices import FitDiagnostics, SurfaceSlice
from pricer.surfaces.smile import Array
from pricer.surfaces.svi import SviParams, SviSmile

# A spot move that leaves less of the at-the-money vol than this is beyond the minimum-variance rule, linear as it is.
LEAST_LEVEL = 0.1

_GIVE = 1.02  # by how much a wing slope gives way at a time
_ROUNDS = 40  # of giving way, up to a factor of 2.2
_HALVINGS = 7  # of the share

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


def with_atm_shape(smile: SviSmile, shape: AtmShape, wings: tuple[float, float]) -> SviSmile | None:
    """The raw SVI smile with this shape at the money and these wing slopes (c₋, c₊); None where there is none.

    With R = √(m² + σ²): w′(0) = b·(ρ − m/R) gives m/R, w″(0) = b·σ²/R³ then gives R, and w(0) gives a.
    """
    root_ttm = math.sqrt(smile.ttm)
    vol, first, second = shape.vol, shape.skew / root_ttm, shape.curvature / smile.ttm
    w, slope = vol * vol * smile.ttm, 2.0 * vol * first * smile.ttm
    bend = 2.0 * (first * first + vol * second) * smile.ttm
    left, right = wings
    b = 0.5 * (left + right)
    if not vol > 0.0:
        return None
    if b == 0.0:
        flat = slope == 0.0 and bend == 0.0
        return replace(smile, params=smile.params._replace(a=w)) if flat else None
    rho = 0.5 * (right - left) / b
    tilt = slope / b - rho  # −m/R
    if not (abs(tilt) < 1.0 and bend > 0.0):
        return None
    radius = b * (1.0 - tilt) * (1.0 + tilt) / bend
    sigma = radius * math.sqrt((1.0 - tilt) * (1.0 + tilt))
    a = w - b * radius * (1.0 + rho * tilt)
    return replace(smile, params=SviParams(a, b, rho, -tilt * radius, sigma))


class _Taken(NamedTuple):
    """The shares of a shock that a smile takes: of the rule of the spot, and of all else."""

    spot: float
    rest: float


class _Target(NamedTuple):
    """What a smile has become under the rule of the spot, and the shape it shall have at the money, if another."""

    smile: SviSmile
    shape: AtmShape | None


class _Settled(NamedTuple):
    """Smiles whose certificates all hold, and which of them had wings that gave way for it."""

    smiles: list[SviSmile]
    gave: list[bool]


def shocked_slices(slices: Sequence[SurfaceSlice], shock: Shock, dynamics: Dynamics) -> list[SurfaceSlice]:
    """The slices after a shock, each certified on its own and above the shorter one; those without a smile have none.

    The result has met no quotes: its diagnostics are empty, with the path "blended" where it was repaired. A
    ValueError says that the unshocked slices carry arbitrage themselves, beyond what their wings can mend.
    """
    checked(dynamics)
    taken, settled = _realised([part.svi for part in slices if part.svi is not None], shock, dynamics)
    found = zip(taken, *settled, strict=True)
    result: list[SurfaceSlice] = []
    lower: SviSmile | None = None
    for part in slices:
        if part.svi is None:
            result.append(replace(part, forward=part.forward * (1.0 + shock.spot)))
            continue
        shares, smile, gave = next(found)
        moved = _slice(part, smile, _spot_move(part.svi, shock, dynamics, shares.spot), gave or min(shares) < 1.0)
        result.append(moved.above(lower))
        lower = smile
    return result


def _realised(starts: Sequence[SviSmile], shock: Shock, dynamics: Dynamics) -> tuple[list[_Taken], _Settled]:
    """What each smile takes of the shock, and the certified smiles."""
    spots = [_spot_share(smile, shock, dynamics) for smile in starts]

    def taken(share: float) -> list[_Taken]:
        return [_Taken(share * spot, share) for spot in spots]

    def at(share: float) -> _Settled | None:
        return _settled([_moved(start, shock, dynamics, own) for start, own in zip(starts, taken(share), strict=True)])

    share, settled = _largest_share(at)
    if settled is None:
        raise ValueError("this surface carries arbitrage without any shock, and its wings do not mend that")
    return taken(share), settled


def _spot_share(smile: SviSmile, shock: Shock, dynamics: Dynamics) -> float:
    """How far a smile by itself can follow the rule of the spot."""
    alone = Shock(spot=shock.spot)
    return _largest_share(lambda share: _settled([_moved(smile, alone, dynamics, _Taken(share, share))]))[0]


def _largest_share(at: Callable[[float], _Settled | None]) -> tuple[float, _Settled | None]:
    """The largest share that halving finds, with its result; 0 and what `at(0)` gives where there is none."""
    whole = at(1.0)
    if whole is not None:
        return 1.0, whole
    kept, refused, result = 0.0, 1.0, at(0.0)
    for _ in range(_HALVINGS):
        middle = 0.5 * (kept + refused)
        trial = at(middle)
        if trial is None:
            refused = middle
        else:
            kept, result = middle, trial
    return kept, result


def _moved(smile: SviSmile, shock: Shock, dynamics: Dynamics, taken: _Taken) -> _Target | None:
    """Where a share of the shock takes a smile, at the forward of all of it; None where the rule gives no smile."""
    shift, level = _spot_move(smile, shock, dynamics, taken.spot)
    if not level >= LEAST_LEVEL:
        return None
    a, b, rho, m, sigma = smile.params
    params = SviParams(a * level * level, b * level, rho, m * level - shift, sigma * level)
    moved = SviSmile(smile.ttm, smile.forward * (1.0 + shock.spot), params)
    added = [taken.rest * by for by in (shock.vol + shock.term * smile.ttm, shock.skew, shock.curvature)]
    if not any(added):
        return _Target(moved, None)
    return _Target(moved, AtmShape(*(now + more for now, more in zip(atm_shape(moved), added, strict=True))))


def _spot_move(smile: SviSmile, shock: Shock, dynamics: Dynamics, share: float) -> tuple[float, float]:
    """(shift, level): what was at k comes to lie at level·k − shift, its vol times level."""
    x = share * math.log1p(shock.spot)
    return x if dynamics == "sticky_strike" else 0.0, 1.0 + level_pull(smile, dynamics) * x


def _settled(targets: Sequence[_Target | None]) -> _Settled | None:
    """The smiles once all certificates hold; None where there is no smile, or giving way does not bring that."""
    known = [target for target in targets if target is not None]
    if len(known) < len(targets):
        return None
    slopes = np.array([target.smile.wing_slopes for target in known])
    given = np.zeros(slopes.shape, dtype=np.int64)
    for _ in range(_ROUNDS):
        smiles = [
            _with_wings(target, own * _GIVE**steps, bool(steps.any()))
            for target, own, steps in zip(known, slopes, given, strict=True)
        ]
        asked = _asked(known, smiles)
        if not asked.any():
            return _Settled([smile for smile in smiles if smile is not None], [bool(steps.any()) for steps in given])
        given += np.sign(asked)
    return None


def _with_wings(target: _Target, wings: Array, changed: bool) -> SviSmile | None:
    smile, shape = target
    if shape is None and not changed:
        return smile
    return with_atm_shape(smile, shape or atm_shape(smile), (float(wings[0]), float(wings[1])))


def _asked(targets: Sequence[_Target], smiles: Sequence[SviSmile | None]) -> npt.NDArray[np.int64]:
    """Which wings (left, right) should become steeper (+) or flatter (−); all 0 where every certificate holds."""
    asked = np.zeros((len(smiles), 2), dtype=np.int64)
    for i, smile in enumerate(smiles):
        if smile is None:  # a slope at the money that is steeper than its wing
            shape = targets[i].shape or atm_shape(targets[i].smile)
            asked[i, int(shape.skew > 0.0)] += 1
            continue
        evidence = check_butterfly(smile)
        if not evidence.ok:
            asked[i, int(evidence.at_k > 0.0)] -= 1
    for i, (lower, upper) in enumerate(itertools.pairwise(smiles)):
        if lower is None or upper is None:
            continue
        evidence = check_calendar(lower, upper)
        if evidence.ok:
            continue
        crossed = np.array(upper.wing_slopes) < np.array(lower.wing_slopes)
        if evidence.min_calendar_gap <= 0.0 or not crossed.any():
            crossed = np.arange(2) == int(evidence.gap_at_k > 0.0)
        asked[i] -= crossed
        asked[i + 1] += crossed
    return asked


def _slice(part: SurfaceSlice, smile: SviSmile, spot_move: tuple[float, float], repaired: bool) -> SurfaceSlice:
    """The slice of a shocked smile, with the butterfly half of its certificate."""
    shift, level = spot_move
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
