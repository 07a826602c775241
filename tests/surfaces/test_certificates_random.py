"""Certificates of random slices and pairs, most of them at the edge of arbitrage, against exact decisions.

What a dense look leaves in doubt, and whatever a certificate says of it, is decided in rational numbers
(`tests.surfaces.exact`). Soundness is absolute: no slice or pair that has arbitrage, be it of 1e-16, is certified.
Refusing a valid one is allowed within roundings of the edge, since the proof keeps a margin for its own; how many of
the valid ones are refused is counted by kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import mpmath
import numpy as np
import pytest

from pricer.surfaces.arbitrage import butterfly_svi, calendar_svi
from tests.surfaces import exact
from tests.surfaces.random_slices import KINDS, PAIR_KINDS, Array, random_pairs, random_slices, smallest_g, smallest_gap
from tests.surfaces.test_arbitrage import VOGT, ssvi

# Doubles decide where the smallest value is further from zero than this: it is far more than their rounding.
DOUBT_OF_G = 1e-9
DOUBT_OF_GAP = 1e-12
"""Relative to the size of w."""
