"""Pictures of surfaces, in matplotlib or plotly (extra `research`): `plots.smiles(surface, backend="plotly")`.

Every function gives a figure and shows nothing: save it, show it, or draw into axes of your own (`axes=`, matplotlib,
one for each panel). The figures are 900 pixels wide. Both libraries draw the same arrays, which are the surface's own
numbers. What may not be trusted looks so: extrapolated parts are dashed and faint, quotes that did not enter are
crosses with their reasons, expiries that are not OK are named. A surface without smiles gives a picture that says so.

`underlying` and `now_ns` (UTC nanoseconds) are for the words: with an instant, expiries have dates instead of days.

No module of this package may hold a kernel: the store of compiled kernels does not look here.
"""

from __future__ import annotations

from pricer.surfaces.plots.changes import before_and_after, raw_and_smoothed, skew_history
from pricer.surfaces.plots.evidence import density, durrleman_g, total_variance
from pricer.surfaces.plots.maps import local_vol, surface_3d, term_structure
from pricer.surfaces.plots.smiles import residuals, smiles

__all__ = [
    "before_and_after",
    "density",
    "durrleman_g",
    "local_vol",
    "raw_and_smoothed",
    "residuals",
    "skew_history",
    "smiles",
    "surface_3d",
    "term_structure",
    "total_variance",
]
