"""How one option's numbers came about: every input, and every step from them, such that a reader can redo it by hand.

Each step is a formula, what goes into it, and what comes out, in full doubles; where the result is a published field,
that stands beside it as it was published, rounded. A test redoes all of it with fifty digits.
"""

from __future__ import annotations

from pricer.clock import Instant
from pricer.conventions import NS_PER_YEAR
from pricer.sidecar import moment
from pricer.sidecar.explain.option import Option
from pricer.sidecar.explain.smile import quotes_of, selection_is_of, surface_of
from pricer.sidecar.explain.steps import steps
from pricer.sidecar.explain.why import why_not_ok
from pricer.sidecar.messages import Head
from pricer.sidecar.moment import or_none

# The delta that `delta` is, and where the others come from; docs/conventions.md has them all.
DELTA = "dV/dF, undiscounted, V in quote currency per coin; the other forms follow from it in the steps"


def explanation(option: Option, now: Instant) -> Head:
    """The whole of it, at the moment of the picture."""
    block = option.piece.block
    return {
        "convention": {
            "delta": DELTA,
            "dynamics": option.snapshot.convention.dynamics,
            "settlement": "inverse" if block.definition.inverse else "linear",
            "discount": 1.0,
        },
        "forward": moment.forward(block.forward, now, option.digits) | {"used": or_none(block.forward.value)},
        "time": {
            "rule": "ttm = (expiry_ns - priced_ns) / year_ns: ACT/365, continuous, never whole days",
            "expiry_ns": block.key.expiry_ns,
            "priced_ns": block.computed.wall_ns,
            "year_ns": NS_PER_YEAR,
            "ttm": block.ttm,
        },
        "surface": surface_of(option, now),
        "quotes": quotes_of(option),
        "steps": [step.told(option) for step in steps(option)],
        "why": why_not_ok(option, now),
    }


__all__ = ["Option", "explanation", "selection_is_of"]
