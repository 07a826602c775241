"""Certificates of random slices and pairs, most of them at the edge of arbitrage, against exact decisions.

What a dense look in doubles leaves in doubt is decided in rational numbers (`tests.surfaces.exact`). No slice that has
arbitrage may be certified, be it of 1e-16, and no pair that crosses.

Some that have no arbitrage may be refused, since a proof keeps a margin for its own rounding; how many is counted by
kind. Refused are slices within roundings of the edge (1e-10 of `a`; 1e-6 of the slope at Lee's bound, where g falls to
zero far out), and kinks: slices so sharp (sigma below 1e-3 of √w) that the coefficients of the polynomial differ by
more than doubles hold. Pairs are refused within roundings of a touch only.

Of a million (`make test-long`, where three in five are drawn at an edge), among those free of arbitrage:

    slices  refused 10.8 %   anywhere 0 of 359,019; edge by a 30 %; edge by sigma 14 %; Lee's bound 52 %
    pairs   refused 6.5 %    anywhere 0 of 225,848; touching 13 %; with equal wings 14 %

and none certified that has arbitrage.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import audit
from pricer.surfaces.arbitrage import butterfly_svi, calendar_svi
from tests.surfaces import exact
from tests.surfaces.random_slices import (
    KINDS,
    PAIR_KINDS,
    Array,
    Kinds,
    random_pairs,
    random_slices,
    smallest_g,
    smallest_gap,
)
from tests.surfaces.test_arbitrage import VOGT, jump_wings, ssvi

Mask: TypeAlias = npt.NDArray[np.bool_]

# A smallest value further from zero than this is decided by doubles: far more than their rounding.
DOUBT_OF_G = 1e-9
DOUBT_OF_GAP = 1e-12  # of the size of w

_CHUNK = 50_000


class Counts(NamedTuple):
    """By kind. Of what was refused though doubles see no arbitrage, a sample is decided exactly."""

    accepted: Counter[str]
    refused: Counter[str]  # free of arbitrage all the same, by that sample
    wrong: list[str]  # certified, and not free of arbitrage

    @property
    def shares(self) -> dict[str, float]:
        """Of those free of arbitrage, how many are refused."""
        kinds = sorted(self.accepted | self.refused)
        return {kind: self.refused[kind] / max(self.accepted[kind] + self.refused[kind], 1) for kind in kinds}

    @property
    def share(self) -> float:
        return self.refused.total() / (self.accepted.total() + self.refused.total())


def count(
    certified: Mask,
    smallest: Array,
    doubt: float,
    kinds: Sequence[str],
    decide: Callable[[int], bool],
    sample: int,
) -> Counts:
    """`smallest` is what a dense look found; `decide` says exactly whether a row is free of arbitrage."""
    names = np.array(kinds)
    random = np.random.default_rng(0)
    close = np.flatnonzero(certified & (smallest < doubt))
    others = random.permutation(np.flatnonzero(certified & (smallest >= doubt)))[: sample // 4]
    wrong = [i for i in (*close.tolist(), *others.tolist()) if not decide(i)]
    doubtful = random.permutation(np.flatnonzero(~certified & (smallest > -doubt)))
    decided = doubtful[:sample]
    valid = Counter(str(names[i]) for i in decided if decide(int(i)))
    scale = len(doubtful) / max(len(decided), 1)
    refused = Counter({kind: round(number * scale) for kind, number in valid.items()})
    return Counts(Counter(names[certified].tolist()), refused, [f"{names[i]} {i}" for i in wrong])


def count_slices(size: int, seed: int, sample: int) -> Counts:
    rows, kinds, _ = random_slices(size, seed)
    certified = np.array([butterfly_svi(*row)[0] for row in rows.tolist()])
    names = [KINDS[kind] for kind in kinds]
    listed = rows.tolist()
    return count(
        certified, smallest_g(rows), DOUBT_OF_G, names, lambda i: exact.is_free_of_butterflies(listed[i]), sample
    )


def count_pairs(size: int, seed: int, sample: int) -> Counts:
    lower, upper, kinds, _ = random_pairs(size, seed)
    low, high = lower.tolist(), upper.tolist()
    certified = np.array([calendar_svi(*low[i], *high[i])[0] for i in range(size)])
    names = [PAIR_KINDS[kind] for kind in kinds]
    size_of_w = np.abs(upper[:, 0]) + upper[:, 1] * upper[:, 4]

    def decide(i: int) -> bool:
        return exact.is_above(high[i], low[i])

    return count(certified, smallest_gap(lower, upper) / size_of_w, DOUBT_OF_GAP, names, decide, sample)


def added(parts: Sequence[Counts]) -> Counts:
    accepted, refused = Counter[str](), Counter[str]()
    for part in parts:
        accepted += part.accepted
        refused += part.refused
    return Counts(accepted, refused, [each for part in parts for each in part.wrong])


def test_no_slice_with_butterflies_is_certified() -> None:
    found = count_slices(20_000, 1, 400)
    assert found.wrong == []
    assert found.accepted["anywhere"] > 5_000
    assert min(found.accepted["edge by a"], found.accepted["edge by sigma"]) > 1_000
    assert found.shares["anywhere"] < 1e-3
    assert 0.0 < found.shares["edge by a"] < 0.5  # the draws do reach the edge
    assert found.share < 0.25


def test_no_pair_that_crosses_is_certified() -> None:
    found = count_pairs(20_000, 1, 400)
    assert found.wrong == []
    assert found.accepted["anywhere"] > 3_000
    assert min(found.accepted["touching"], found.accepted["touching, equal wings"]) > 1_000
    assert found.shares["anywhere"] < 1e-3
    assert found.share < 0.1


@pytest.mark.long
@pytest.mark.parametrize(("counts", "limit"), [(count_slices, 0.25), (count_pairs, 0.1)])
def test_none_of_a_million_with_arbitrage_is_certified(
    counts: Callable[[int, int, int], Counts], limit: float, capsys: pytest.CaptureFixture[str]
) -> None:
    found = added([counts(_CHUNK, seed, 1_000) for seed in range(100, 120)])
    with capsys.disabled():
        print(f"\n{found.share:.3%} of those free of arbitrage refused; {found.shares}; {found._replace(wrong=[])}")
    assert found.accepted.total() + found.refused.total() > 300_000
    assert found.wrong == []
    assert found.share < limit
    assert found.shares["anywhere"] < 1e-4


def test_a_wrong_certificate_would_be_seen() -> None:
    rows, kinds, _ = random_slices(2_000, 2)
    listed, smallest = rows.tolist(), smallest_g(rows)
    everything = np.ones(len(rows), dtype=bool)
    names = [KINDS[kind] for kind in kinds]
    found = count(everything, smallest, DOUBT_OF_G, names, lambda i: exact.is_free_of_butterflies(listed[i]), 40)
    assert len(found.wrong) >= np.count_nonzero(smallest < -DOUBT_OF_G) > 100


def test_exact_decisions_agree_with_the_published_slices() -> None:
    assert not exact.is_free_of_butterflies(VOGT.params)
    assert exact.is_free_of_butterflies(jump_wings(0.01742625, -0.1752111, 0.6997381, 0.3493158, 0.01548182).params)
    first, second = ssvi(0.894, -0.621, 0.0906).params, ssvi(0.908, -0.870, 0.376).params
    assert not exact.is_above(second, first)


def test_exact_decisions_of_slices_agree_with_many_digits() -> None:
    rows, kinds, shares = random_slices(3_000, 3)
    edge = np.flatnonzero((np.char.startswith(np.array(KINDS)[kinds], "edge")) & (np.abs(shares) < 1e-6))[:24]
    verdicts = [exact.is_free_of_butterflies(rows[i].tolist()) for i in edge]
    assert verdicts == [precise_minimum(rows[i]) > 0 for i in edge]
    assert 3 < sum(verdicts) < 21


def precise_minimum(row: Array) -> mpmath.mpf:
    """The smallest g found with fifty digits around the smallest of a dense look."""
    _, _, _, m, sigma = row.tolist()
    reach = np.arcsinh((1e4 + abs(m)) / sigma)
    places = np.linspace(-reach, reach, 40_001)
    at = int(np.argmin(audit.durrleman_g(row, m + sigma * np.sinh(places))))
    with mpmath.workdps(50):
        low, high = (mpmath.mpf(places[max(0, min(at + i, 40_000))]) for i in (-1, 1))
        for _ in range(80):  # g has one minimum between the neighbours of a smallest point
            left, right = low + (high - low) / 3, high - (high - low) / 3
            if precise_g(row, left) < precise_g(row, right):
                high = right
            else:
                low = left
        return precise_g(row, low)


def precise_g(row: Array, place: mpmath.mpf) -> mpmath.mpf:
    a, b, rho, m, sigma = map(mpmath.mpf, row.tolist())
    x, root = sigma * mpmath.sinh(place), sigma * mpmath.cosh(place)
    k, w = m + x, a + b * (rho * x + root)
    if w <= 0:
        return mpmath.mpf(-1)
    slope, bend = b * (rho + x / root), b * sigma**2 / root**3
    return (1 - k * slope / (2 * w)) ** 2 - slope**2 / 4 * (1 / w + mpmath.mpf(1) / 4) + bend / 2


@pytest.mark.parametrize("share", [1e-3, 1e-9, 1e-15])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_exact_decisions_of_touching_pairs_are_those_of_their_construction(share: float, sign: float) -> None:
    lower = [0.02, 0.1, -0.25, 0.125, 0.25]
    # The same smile higher by a share of its a, exactly; and one that touches at its minimum, where only `a` counts.
    higher = [0.02 * (1.0 + sign * share), *lower[1:]]
    assert exact.is_above(higher, lower) is (sign > 0.0)
    symmetric, wider = [0.02, 0.1, 0.0, 0.0, 0.25], [0.02 * (1.0 + sign * share), 0.2, 0.0, 0.0, 0.125]
    assert exact.is_above(wider, symmetric) is (sign > 0.0)


def test_exact_decisions_see_crossings_beyond_every_grid() -> None:
    flatter, steeper = [0.5, 0.0999, 0.0, 0.0, 0.3], [0.1, 0.1, 0.0, 0.0, 0.3]
    assert not exact.is_above(flatter, steeper)
    assert not exact.is_above(steeper, flatter)
    assert not exact.is_above(steeper, steeper)
    assert exact.is_above([0.1, 0.2, 0.0, 0.0, 0.3], steeper)


def test_random_draws_are_those_of_their_seed() -> None:
    rows, kinds, _ = random_slices(500, 9)
    again: tuple[Array, Kinds, Array] = random_slices(500, 9)
    assert np.array_equal(rows, again[0])
    assert set(kinds.tolist()) == set(range(len(KINDS)))
    g = smallest_g(rows)
    by_a = kinds == KINDS.index("edge by a")
    assert np.median(np.abs(g[by_a])) < 1e-6
    positive = np.isfinite(g)
    alone = np.array([audit.smallest_g(row).value for row in rows[positive]])
    assert (g[positive] <= alone + 1e-9 * (1.0 + np.abs(alone))).all()
