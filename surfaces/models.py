"""The models that `VolSurface.fit(slices, model=...)` knows: by each name, how the slices of a chain get their smiles.

A model is one of four things:

- "svi" itself: `pricer.surfaces.chain` and `pricer.surfaces.slices`, with constraints and certificates of their own;
- `refine`: certified SVI slices are made better, and stay free of arbitrage ("hard");
- `fit_slice`: each slice alone from its own quotes;
- `fit_chain`: all slices jointly, which may be free of arbitrage by construction ("hard").

What a model cannot guarantee is looked at ("check"): every slice has a certificate, and one that fails it is `DEGRADED`
with `MODEL_LIMIT` (of a pair that crosses, the longer expiry). So a new model is its file and one line in `MODELS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from pricer.conventions import NO_REASON, Reason, Status
from pricer.surfaces import sabr, spline, svi_local
from pricer.surfaces.arbitrage import Certificate, check_butterfly, check_calendar
from pricer.surfaces.essvi_fit import fit_essvi
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K, Selection
from pricer.surfaces.sabr import SabrSmile
from pricer.surfaces.slices import (
    NO_CERTIFICATE,
    OFF_HALF_SPREADS,
    OFF_LIMIT,
    OFF_SHARE,
    FitDiagnostics,
    FitPath,
    SliceProblem,
    SurfaceSlice,
)
from pricer.surfaces.smile import Array, Smile
from pricer.surfaces.spline import SplineSmile
from pricer.surfaces.ssvi import EssviSmile, butterfly_essvi, calendar_essvi
from pricer.surfaces.svi import SviSmile
from pricer.surfaces.svi_local import SviLocalSmile
from pricer.surfaces.svi_normal import FAR

NoArbitrage: TypeAlias = Literal["hard", "check"]


@dataclass(frozen=True, slots=True)
class Model:
    """How the slices of a chain are fitted, and what is guaranteed of them; at most one of the three ways is given.

    `fit_slice` takes a problem with a two-sided observation; `fit_chain` takes all problems in order of ttm. A
    problem's `last` is that slice before, for a warm start, or None; None for a smile is a refusal. `refine` takes
    certified SVI slices and for each the refined slice before, or None; it gives slices free of arbitrage.
    """

    no_arbitrage: NoArbitrage
    fit_slice: Callable[[SliceProblem], Smile | None] | None = None
    fit_chain: Callable[[Sequence[SliceProblem]], Sequence[Smile | None]] | None = None
    refine: Callable[[Sequence[SurfaceSlice], Sequence[SurfaceSlice | None]], list[SurfaceSlice]] | None = None

    @property
    def fits(self) -> bool:
        """Does it make the smiles itself?"""
        return self.fit_slice is not None or self.fit_chain is not None


def model_of(name: str, no_arbitrage: str) -> Model:
    """The model of that name; ValueError where there is none, or where it does not keep this promise."""
    model = MODELS.get(name)
    if model is None:
        raise ValueError(f"unknown model {name!r}; there are {_names(MODELS)}")
    if no_arbitrage not in get_args(NoArbitrage):
        raise ValueError(f"unknown no_arbitrage {no_arbitrage!r}; there are {_names(get_args(NoArbitrage))}")
    if model.no_arbitrage != no_arbitrage:
        able = [other for other, found in MODELS.items() if found.no_arbitrage == no_arbitrage]
        raise ValueError(
            f"model {name!r} has no_arbitrage={model.no_arbitrage!r} only; {no_arbitrage!r} have {_names(able)}"
        )
    return model


def _names(names: Collection[str]) -> str:
    return ", ".join(map(repr, names))


def fitted(model: Model, problems: Sequence[SliceProblem]) -> list[SurfaceSlice]:
    """Checked slices of all problems (in order of ttm)."""
    return renewed(
        [_checked(problem, smile) for problem, smile in zip(problems, _smiles(model, problems), strict=True)]
    )


def refitted(model: Model, slices: Sequence[SurfaceSlice], changes: Mapping[int, SliceProblem]) -> list[SurfaceSlice]:
    """The slices with those of `changes` fitted anew; a joint model fits all of them, each to its latest quotes."""
    if model.fit_chain is not None:
        return fitted(
            model,
            [
                changes.get(i) or SliceProblem(part.selection, part.ttm, part.forward, part)
                for i, part in enumerate(slices)
            ],
        )
    found = list(slices)
    for i, problem in changes.items():
        (found[i],) = (_checked(problem, smile) for smile in _smiles(model, [problem]))
    return renewed(found, changes)


def _smiles(model: Model, problems: Sequence[SliceProblem]) -> Sequence[Smile | None]:
    if model.fit_chain is not None:
        return model.fit_chain(problems)
    assert model.fit_slice is not None
    return [model.fit_slice(problem) if problem.selection.mids else None for problem in problems]


def _checked(problem: SliceProblem, smile: Smile | None) -> SurfaceSlice:
    """The slice of a fitted smile; without one, or with an implausible one, that of the last good one or none."""
    selection, last = problem.selection, problem.last
    reasons = NO_REASON if problem.determined else Reason.FIT_UNDERDETERMINED
    if selection.mids == 0:
        reasons |= Reason.NO_QUOTE
    path: FitPath = "fitted"
    k_min, k_max = selection.k_range
    accepted = smile is not None and selection.mids > 0 and _plausible(selection, smile)
    if not accepted:
        path, k_min, k_max = "none", math.nan, math.nan
        if selection.mids:  # refused; without quotes, what a joint model puts between the neighbours stays
            path, smile, reasons = "refused", None, reasons | Reason.FIT_FAILED
        if last is not None and last.smile is not None:
            k_min, k_max = last.k_min, last.k_max
            if smile is None:
                smile, reasons = last.smile, reasons | Reason.FIT_LAST_GOOD
    if smile is None:
        status, diagnostics = (
            Status.INVALID,
            FitDiagnostics("none", selection.mids, selection.row.size - selection.mids),
        )
    else:
        status, diagnostics = Status.DEGRADED if reasons else Status.OK, diagnose(selection, smile, path)
    return SurfaceSlice(
        problem.ttm, problem.forward, smile, status, reasons, NO_CERTIFICATE, diagnostics, accepted, k_min, k_max,
        selection,
    )  # fmt: skip


def unfitted(problem: SliceProblem) -> SurfaceSlice:
    """The slice of an expiry before its first fit."""
    return _checked(problem, None)


def renewed(
    slices: Sequence[SurfaceSlice], changed: Collection[int] | None = None, *, degrade: bool = True
) -> list[SurfaceSlice]:
    """The slices with the certificates that a change at these indices (None: anywhere) touches.

    With `degrade` a failed one makes its slice `DEGRADED` with `MODEL_LIMIT`.
    """
    found = list(slices)
    lower: SurfaceSlice | None = None
    moved = False  # is `lower` another than before?
    for i, part in enumerate(slices):
        own = changed is None or i in changed
        if part.smile is None:
            moved = moved or own  # the pair reaches further
            continue
        if own or moved:
            evidence = butterfly(part.smile) if own else part.certificate
            found[i] = _with_evidence(part, _with_gap(evidence, lower, part), degrade)
        lower, moved = part, own
    return found


def _with_gap(evidence: Certificate, lower: SurfaceSlice | None, part: SurfaceSlice) -> Certificate:
    own = replace(evidence, calendar=True, min_calendar_gap=math.nan, gap_at_k=math.nan)
    if lower is None or lower.smile is None or part.smile is None:
        return own
    return own.merged(calendar(lower.smile, part.smile))


def _with_evidence(part: SurfaceSlice, certificate: Certificate, degrade: bool) -> SurfaceSlice:
    if not degrade:
        return replace(part, certificate=certificate)
    reasons = part.reasons & ~Reason.MODEL_LIMIT
    if not certificate.ok:
        reasons |= Reason.MODEL_LIMIT
    return replace(part, certificate=certificate, reasons=reasons, status=Status.DEGRADED if reasons else Status.OK)


def butterfly(smile: Smile) -> Certificate:
    """The best evidence there is for this kind of smile."""
    if isinstance(smile, EssviSmile) and (found := butterfly_essvi(smile)).ok:
        return found
    return svi_local.prove_butterfly(smile) if isinstance(smile, SviLocalSmile) else check_butterfly(smile)


def calendar(lower: Smile, upper: Smile) -> Certificate:
    """The best evidence there is for this pair of smiles."""
    if isinstance(lower, EssviSmile) and isinstance(upper, EssviSmile) and (found := calendar_essvi(lower, upper)).ok:
        return found
    if isinstance(lower, SviSmile | SviLocalSmile) and isinstance(upper, SviSmile | SviLocalSmile):
        return svi_local.prove_calendar(lower, upper)
    return check_calendar(lower, upper)


def diagnose(selection: Selection, smile: Smile, path: FitPath, steps: int = 0) -> FitDiagnostics:
    """How well a smile of any model meets the observations."""
    observations = selection.observations
    low, high, width, weight = (observations[:, column] for column in (LOW, HIGH, WIDTH, WEIGHT))
    sigma = _sigma(smile, observations[:, K])
    two_sided = np.isfinite(low + high)
    with np.errstate(invalid="ignore"):
        middle = np.where(two_sided, 0.5 * (low + high), np.clip(sigma, low, high))
    miss = (sigma - middle) / width
    size = np.abs(miss)
    huber = np.where(size <= 1.0, 0.5 * size * size, size - 0.5)
    robust = np.where(size <= FAR, huber, FAR * (1.0 + np.log(np.maximum(size, FAR) / FAR)) - 0.5)
    loss = float(np.average(robust, weights=weight)) if weight.size else math.nan
    bounds = int(np.count_nonzero(~two_sided))
    if not two_sided.any():
        return FitDiagnostics(path, 0, bounds, loss=loss, off_share=0.0, steps=steps)
    mids, s, r = observations[two_sided], sigma[two_sided], miss[two_sided]
    inside = float(np.mean((mids[:, LOW] <= s) & (s <= mids[:, HIGH])))
    off = float(np.mean(_off(mids[:, LOW], mids[:, HIGH], mids[:, WIDTH], s)))
    return FitDiagnostics(path, s.size, bounds, inside, math.sqrt(float(np.mean(r * r))), loss, off, steps)


def _plausible(selection: Selection, smile: Smile) -> bool:
    """As `slices.assess` has it: most mids nearest to the money are met, and not too many of all are missed."""
    mids = selection.observations[np.isfinite(selection.observations[:, LOW] + selection.observations[:, HIGH])]
    off = _off(mids[:, LOW], mids[:, HIGH], mids[:, WIDTH], _sigma(smile, mids[:, K]))
    nearest = np.argsort(np.abs(mids[:, K]), kind="stable")[:4]
    return float(off[nearest].mean()) <= 0.5 and float(off.mean()) <= OFF_LIMIT


def _off(low: Array, high: Array, width: Array, sigma: Array) -> npt.NDArray[np.bool_]:
    middle = 0.5 * (low + high)
    # Written so that no volatility at all is off.
    return ~(np.abs(sigma - middle) <= np.maximum(OFF_HALF_SPREADS * width, OFF_SHARE * middle))


def _sigma(smile: Smile, k: Array) -> Array:
    w = np.asarray(smile.total_variance(k))
    return np.sqrt(np.where(w >= 0.0, w, np.nan) / smile.ttm)


def fit_sabr_slice(problem: SliceProblem) -> SabrSmile:
    """Hagan's SABR with β = 1."""
    last = None if problem.last is None else problem.last.smile
    warm = last if isinstance(last, SabrSmile) else None
    return sabr.fit_smile(problem.selection.observations, problem.ttm, problem.forward, last=warm)[0]


def fit_spline_slice(problem: SliceProblem) -> SplineSmile | None:
    """The smoothing spline of the slice's mids."""
    last = None if problem.last is None else problem.last.smile
    warm = last if isinstance(last, SplineSmile) else None
    return spline.fit_smile(problem.selection.observations, problem.ttm, problem.forward, last=warm)


def fit_essvi_chain(problems: Sequence[SliceProblem]) -> Sequence[Smile | None]:
    """eSSVI, free of arbitrage by construction; slices without quotes lie between their neighbours."""
    selections = [problem.selection for problem in problems]
    if not any(selection.mids for selection in selections):
        return [None] * len(problems)
    return fit_essvi(selections, [problem.ttm for problem in problems], [problem.forward for problem in problems])


def backbone(part: SurfaceSlice) -> SurfaceSlice:
    """The raw SVI slice that a refined one stands on."""
    if not isinstance(part.smile, SviLocalSmile):
        return part
    base, figures = part.smile.base, part.diagnostics
    return replace(part, smile=base, diagnostics=diagnose(part.selection, base, figures.path, figures.steps))


def refine_locally(slices: Sequence[SurfaceSlice], before: Sequence[SurfaceSlice | None]) -> list[SurfaceSlice]:
    """SVI slices with local terms: fitted where quotes are new, kept where not, and settled between each other.

    A slice that comes out as it was, and so does its lower neighbour, is the slice of before.
    """
    own = [i for i, part in enumerate(slices) if part.smile is not None]
    wanted = [_wanted(slices[i], before[i]) for i in own]
    found = list(slices)
    changed = {i for i, part in enumerate(slices) if part.smile is None}
    lower_stays = True
    for i, smile, asked in zip(own, svi_local.settled(wanted), wanted, strict=True):
        part, last = slices[i], before[i]
        stays = last is not None and smile == last.smile and part.selection is last.selection
        if last is not None and stays and lower_stays:
            found[i] = last
        else:
            figures = part.diagnostics
            path: FitPath = "tightened" if figures.path == "fitted" and smile != asked else figures.path
            found[i] = replace(part, smile=smile, diagnostics=diagnose(part.selection, smile, path, figures.steps))
            changed.add(i)
        lower_stays = stays
    return renewed(found, changed, degrade=False)


def _wanted(part: SurfaceSlice, before: SurfaceSlice | None) -> SviLocalSmile:
    base, last = part.svi, None if before is None else before.smile
    assert base is not None
    new = before is None or part.selection is not before.selection
    if new and part.accepted:
        enough = part.selection.mids >= svi_local.ENOUGH
        return svi_local.fitted(base, part.selection.observations) if enough else SviLocalSmile.on(base)
    if not isinstance(last, SviLocalSmile):
        return SviLocalSmile.on(base)
    moved = last.at(part.forward, part.ttm)
    return moved if moved.base == base else SviLocalSmile.on(base, moved.terms)


# Adding a model: its file, and its line here.
MODELS: dict[str, Model] = {
    "svi": Model("hard"),
    "svi_local": Model("hard", refine=refine_locally),
    "essvi": Model("hard", fit_chain=fit_essvi_chain),
    "sabr": Model("check", fit_slice=fit_sabr_slice),
    "spline": Model("check", fit_slice=fit_spline_slice),
}
