"""After the warm-up calls, nothing on the tick path compiles."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy as np

import pricer.surfaces
from pricer.surfaces import VolSurface, warmup_calls
from tests.surfaces.made import chain, quotes, smile, strikes_of


def compiled() -> dict[str, int]:
    """How many signatures each kernel of the package has been compiled for."""
    found: dict[str, int] = {}
    for module in pkgutil.iter_modules(pricer.surfaces.__path__):
        for name, thing in vars(importlib.import_module(f"pricer.surfaces.{module.name}")).items():
            signatures: Any = getattr(thing, "signatures", None)
            if signatures is not None:
                found[f"{thing.py_func.__module__}.{name}"] = len(signatures)
    return found


def test_M12_after_the_warm_up_no_tick_compiles() -> None:
    for name, call in warmup_calls():
        assert name
        call()
    before = compiled()
    surface = VolSurface.fit(chain(seed=2))
    sparse = quotes(smile(0.25), noise=np.where(np.arange(25) % 9 == 0, 0.0, np.nan))
    surface = surface.updated(3, chain(seed=5)[3]).updated(4, sparse).inserted(quotes(smile(0.4))).removed(0)
    surface = surface.at([part.ttm for part in surface.slices], [61_000.0] * len(surface.slices))
    found = surface.smiles[2]
    assert found is not None
    found.fill_iv(strikes_of(0.25), np.empty(25))
    assert compiled() == before
