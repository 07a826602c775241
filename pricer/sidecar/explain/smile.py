"""What an option's volatility was read off: the smile of its expiry, and which quotes entered that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from pricer.clock import Instant
from pricer.conventions import Reason
from pricer.sidecar.explain.option import Option
from pricer.sidecar.messages import Head
from pricer.sidecar.moment import or_none
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K, Role
from pricer.surfaces.slices import SurfaceSlice


def surface_of(option: Option, now: Instant) -> Head | None:
    """The smile of the expiry at the forward and time of the pricing; None where there is none."""
    block, fit = option.piece.block, option.piece.block.fit
    surface = option.snapshot.surface
    if fit is None or fit.smile is None:
        return None
    return {
        "version": None if surface is None else surface.version,
        "model": "svi" if fit.svi is not None else type(fit.smile).__name__,
        "params": params_of(block.fit, block.forward.value, block.ttm),
        "fitted_ns": None if block.fitted is None else block.fitted.wall_ns,
        "fit_age_ns": None if block.fitted is None else now.mono_ns - block.fitted.mono_ns,
        "path": fit.diagnostics.path,
        "determined": fit.determined,
        "k_min": or_none(fit.k_min),
        "k_max": or_none(fit.k_max),
        "status": fit.status.name,
        "reasons": list(fit.reasons.names),
    }


def params_of(fit: SurfaceSlice | None, forward: float, ttm: float) -> Mapping[str, float] | None:
    """Raw SVI at this forward and time; None for another model."""
    if fit is None or fit.svi is None or not (forward > 0.0 and ttm > 0.0):
        return None
    params: Mapping[str, float] = fit.svi.at(forward, ttm).params._asdict()
    return params


def quotes_of(option: Option) -> Head:
    """Which quotes of the expiry entered its smile, how, and with what weight."""
    fit = option.piece.block.fit
    used = [] if fit is None else list(_used(option, fit))
    return {
        "observations": used,
        "own_role": _own_role(option),
        "note": "bid_iv and ask_iv are made at the forward of each quote's own instant; width and weight as fitted",
    }


def selection_is_of(option: Option, fit: SurfaceSlice) -> bool:
    """Do the rows that a fit remembers still stand for the same options? Not after strikes were listed since."""
    definition, chosen = option.piece.block.definition, fit.selection
    if chosen.role.size != len(definition) or not chosen.row.size:
        return False
    strikes = np.unique(definition.strike)
    nearest = strikes[np.abs(np.log(strikes[:, None] / fit.forward) - chosen.observations[:, K]).argmin(axis=0)]
    return bool(np.mean(nearest == definition.strike[chosen.row]) > 0.5)


def _used(option: Option, fit: SurfaceSlice) -> Iterator[Head]:
    if not selection_is_of(option, fit):
        return
    definition, chosen = option.piece.block.definition, fit.selection
    for at, row in enumerate(chosen.row.tolist()):
        seen = chosen.observations[at]
        yield {
            "name": definition.names[row],
            "role": Role(int(chosen.role[row])).name.lower(),
            "k": float(seen[K]),
            "bid_iv": or_none(float(seen[LOW])),
            "ask_iv": or_none(float(seen[HIGH])),
            "width": float(seen[WIDTH]),
            "weight": float(seen[WEIGHT]),
            "reasons": list(Reason(int(chosen.reasons[row])).names),
        }


def _own_role(option: Option) -> Head | None:
    """What became of this option's own quote; None where that is not known."""
    fit = option.piece.block.fit
    if fit is None or not selection_is_of(option, fit):
        return None
    chosen = fit.selection
    reasons = Reason(int(chosen.reasons[option.row]))
    return {"role": Role(int(chosen.role[option.row])).name.lower(), "reasons": list(reasons.names)}
