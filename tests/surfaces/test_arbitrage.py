"""Certificates against published slices, against dense grids, and at the edges where a grid is blind."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from pricer.surfaces import SviParams, SviSmile, check_butterfly, check_calendar
from tests.surfaces.made import smile

# Gatheral and Jacquier (2014), example 3.1 (Vogt): w is positive, yet there is butterfly arbitrage.
VOGT = SviSmile(1.0, 100.0, SviParams(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153))


def jump_wings(v: float, psi: float, p: float, c: float, v_min: float, ttm: float = 1.0) -> SviSmile:
    """Raw SVI from jump-wings parameters: Gatheral and Jacquier (2014), lemma 3.2."""
    w = v * ttm
    b = 0.5 * math.sqrt(w) * (c + p)
    rho = 1.0 - p * math.sqrt(w) / b
    beta = rho - 2.0 * psi * math.sqrt(w) / b
    alpha = math.copysign(math.sqrt(1.0 / beta**2 - 1.0), beta)
    root = math.sqrt(1.0 + alpha**2)
    m = (v - v_min) * ttm / (b * (-rho + math.copysign(root, alpha) - alpha * math.sqrt(1.0 - rho**2)))
    sigma = alpha * m
    a = v_min * ttm - b * sigma * math.sqrt(1.0 - rho**2)
    return SviSmile(ttm, 100.0, SviParams(a, b, rho, m, sigma))


def ssvi(theta: float, rho: float, psi: float) -> SviSmile:
    """An SSVI slice as raw SVI: Gatheral and Jacquier (2014), section 4; psi = theta·phi."""
    phi = psi / theta
    root = math.sqrt(1.0 - rho * rho)
    return SviSmile(1.0, 100.0, SviParams(0.5 * theta * root * root, 0.5 * psi, rho, -rho / phi, root / phi))


def random_smile(random: np.random.Generator, factor: float = 1.0) -> SviSmile:
    sd = math.exp(random.uniform(math.log(0.01), 0.0))
    return SviSmile(
        1.0,
        1.0,
        SviParams(
            factor * sd * sd * random.uniform(-0.1, 0.5),
            factor * sd * math.exp(random.uniform(-3.0, 0.0)),
            random.uniform(-0.9, 0.9),
            0.5 * sd * random.normal(),
            sd * math.exp(random.uniform(-2.0, 1.0)),
        ),
    )


def test_F03_vogts_slice_fails_where_it_was_published_to_fail() -> None:
    certificate = check_butterfly(VOGT)
    assert not certificate.ok
    assert certificate.kind == "exact"
    assert certificate.min_g == pytest.approx(-0.03286, abs=2e-5)
    assert certificate.at_k == pytest.approx(0.879, abs=2e-3)


def test_the_published_repair_of_vogts_slice_passes() -> None:
    repaired = jump_wings(0.01742625, -0.1752111, 0.6997381, 0.3493158, 0.01548182)
    assert repaired.params == pytest.approx(SviParams(0.007741, 0.069242, -0.334036, 0.042034, 0.118608), abs=2e-6)
    certificate = check_butterfly(repaired)
    assert certificate.ok
    # The published 0.278 is the smallest g over |k| <= 1.5; far out g falls on towards 1/4 − c²/16.
    assert np.min(repaired.durrleman_g(np.linspace(-1.5, 1.5, 3001))) == pytest.approx(0.278, abs=2e-3)
    assert certificate.min_g == pytest.approx(float(repaired.durrleman_g(-4.0)), abs=1e-6)


def test_butterfly_proofs_agree_with_a_dense_grid() -> None:
    random = np.random.default_rng(1)
    k = np.linspace(-8.0, 8.0, 16_001)
    verdicts: list[tuple[bool, bool]] = []
    for _ in range(400):
        candidate = random_smile(random)
        w = np.asarray(candidate.total_variance(k))
        free = bool(w.min() > 0.0 and max(candidate.wing_slopes) <= 2.0 and np.min(candidate.durrleman_g(k)) > 0.0)
        verdicts.append((check_butterfly(candidate).ok, free))
    assert all(proved == free for proved, free in verdicts)
    assert 20 < sum(proved for proved, _ in verdicts) < 380


@pytest.mark.parametrize(("slope", "ok"), [(1.5, True), (2.1, False)])
def test_wings_are_held_to_lees_bound_of_two(slope: float, ok: bool) -> None:
    steep = SviSmile(1.0, 1.0, SviParams(2.0, slope, 0.0, 0.0, 2.0))
    assert max(steep.wing_slopes) == pytest.approx(slope)
    assert check_butterfly(steep).ok is ok


def test_a_smile_that_touches_zero_variance_is_refused() -> None:
    lowest = SviSmile(1.0, 1.0, SviParams(-0.02, 0.1, 0.0, 0.0, 0.2))
    assert not check_butterfly(lowest).butterfly


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", range(5))
def test_parameters_that_are_not_finite_are_refused(bad: float, at: int) -> None:
    values = list(smile(0.25).params)
    values[at] = bad
    broken = SviSmile(0.25, 100.0, SviParams(*values))
    assert not check_butterfly(broken).ok
    assert not check_calendar(smile(0.2), broken).ok
    assert not check_calendar(broken, smile(0.3)).ok


def test_a_flat_smile_is_free_of_arbitrage() -> None:
    assert check_butterfly(SviSmile(1.0, 1.0, SviParams(0.04, 0.0, 0.0, 0.0, 0.1))).ok


def test_calendar_proofs_agree_with_a_dense_grid() -> None:
    random = np.random.default_rng(2)
    # Far points see what the slopes of the wings decide.
    k = np.concatenate([np.linspace(-8.0, 8.0, 16_001), [-1e7, 1e7]])
    verdicts = []
    for _ in range(400):
        state = random.bit_generator.state
        lower = random_smile(random)
        random.bit_generator.state = state  # the same market, a longer expiry and another shape
        base = random_smile(random, 1.5)
        upper = SviSmile(1.0, 1.0, base.params._replace(rho=base.params.rho * random.uniform(-1.0, 1.0)))
        above = bool(np.min(np.asarray(upper.total_variance(k)) - np.asarray(lower.total_variance(k))) > 0.0)
        verdicts.append((check_calendar(lower, upper).ok, above))
    assert all(proved == above for proved, above in verdicts)
    assert 20 < sum(proved for proved, _ in verdicts) < 380


def test_F04_a_crossing_far_from_the_money_is_found() -> None:
    # Necessary conditions on SSVI parameters hold for this pair, yet the slices cross.
    certificate = check_calendar(ssvi(0.894, -0.621, 0.0906), ssvi(0.908, -0.870, 0.376))
    assert not certificate.ok
    assert certificate.min_calendar_gap < 0.0
    gap = ssvi(0.908, -0.870, 0.376).total_variance(3.4) - ssvi(0.894, -0.621, 0.0906).total_variance(3.4)
    assert float(gap) < 0.0


def test_a_crossing_beyond_every_grid_is_found() -> None:
    flatter = SviSmile(1.0, 1.0, SviParams(0.5, 0.0999, 0.0, 0.0, 0.3))
    steeper = SviSmile(1.0, 1.0, SviParams(0.1, 0.1, 0.0, 0.0, 0.3))
    crossing = 0.4 / 0.0001
    assert float(flatter.total_variance(100.0)) > float(steeper.total_variance(100.0))
    assert float(flatter.total_variance(2 * crossing)) < float(steeper.total_variance(2 * crossing))
    assert not check_calendar(steeper, flatter).ok


def test_the_same_smile_twice_is_no_rising_variance() -> None:
    assert not check_calendar(smile(0.25), smile(0.25)).ok
    assert check_calendar(smile(0.25), smile(0.25).at(60_000.0, 0.2501)).ok


def test_evidence_merges_to_the_weaker_kind_and_the_smaller_figures() -> None:
    first, second = check_butterfly(VOGT), check_calendar(smile(0.1), smile(0.2))
    both = first.merged(second)
    assert (both.butterfly, both.calendar, both.ok) == (False, True, False)
    assert (both.min_g, both.at_k) == (first.min_g, first.at_k)
    assert both.min_calendar_gap == second.min_calendar_gap


class Parabola:
    """A smile of another kind: w = level + k²/5."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.ttm = self.forward = 1.0

    def total_variance(self, k: npt.ArrayLike) -> npt.NDArray[np.float64]:
        return self.level + 0.2 * np.asarray(k) ** 2

    def durrleman_g(self, k: npt.ArrayLike) -> npt.NDArray[np.float64]:
        k = np.asarray(k)
        w, slope = self.total_variance(k), 0.4 * k
        return (1.0 - k * slope / (2.0 * w)) ** 2 - slope**2 / 4.0 * (1.0 / w + 0.25) + 0.2


def test_other_smiles_get_the_evidence_of_a_grid_and_say_so() -> None:
    certificate = check_butterfly(Parabola(0.1))  # type: ignore[arg-type]  # only what the check reads
    assert certificate.kind == "grid"
    assert not certificate.ok
    rising = check_calendar(Parabola(0.1), Parabola(0.2))  # type: ignore[arg-type]
    assert (rising.kind, rising.ok) == ("grid", True)
    assert rising.min_calendar_gap == pytest.approx(0.1)
    assert not check_calendar(Parabola(0.2), Parabola(0.1)).ok  # type: ignore[arg-type]


@pytest.mark.parametrize("sigma", [0.0, 5e-324, 1e-300, -1.0, math.nan])
def test_what_is_no_hyperbola_is_refused(sigma: float) -> None:
    certificate = check_butterfly(SviSmile(0.1, 100.0, SviParams(0.01, 0.1, 0.0, 0.0, sigma)))
    assert not certificate.ok
