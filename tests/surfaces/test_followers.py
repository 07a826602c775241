"""A slice that its own quotes do not determine follows its neighbours; where it cannot, it must not be in their way."""

from __future__ import annotations

import numpy as np

from pricer.surfaces import SliceQuotes, SviParams, SviSmile, VolSurface
from tests.surfaces.made import audit, quotes


def test_F05_a_follower_that_cannot_follow_never_crosses_its_neighbour() -> None:
    # As the embedded market begins: one far quote has come of this expiry, then most of the next shorter one's.
    strike = 100.0 * np.exp([-0.513])
    first = VolSurface.fit([SliceQuotes(0.0533, 100.0, strike, np.array([0.914]), np.array([0.939]))])
    shorter = SviSmile(0.0341, 100.0, SviParams(0.000403, 0.08504, -0.4512, -0.01512, 0.05951))
    both = first.inserted(quotes(shorter, 100.0 * np.exp(np.linspace(-0.2, 0.15, 25))))
    assert both.certificate.ok
    assert min(audit(both)) > 0.0
