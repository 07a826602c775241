"""Hagan's SABR expansion: against QuantLib and mpmath, its published failure, and fits."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import mpmath
import numpy as np
import pytest

from pricer.surfaces import SabrSmile, check_butterfly, select
from pricer.surfaces.sabr import fit_smile, volatility, x_over_z
from tests.surfaces.made import recorded_btc

Case: TypeAlias = tuple[float, float, float, float, float, float]  # (ttm, forward, alpha, beta, rho, nu)

CASES: list[Case] = [
    (0.25, 60_000.0, 0.5, 1.0, -0.3, 1.5),
    (1.0, 100.0, 2.0, 0.5, -0.6, 0.5),
    (5.0, 0.03, 0.01, 0.0, 0.4, 0.3),
    (0.02, 100.0, 0.6, 1.0, 0.2, 6.0),
    (2.0, 1.0, 0.3, 0.7, 0.0, 0.01),
]


def exact_volatility(ttm: float, forward: float, alpha: float, beta: float, rho: float, nu: float, k: Any) -> Any:
    """Eq. 2.17a in its own letters, in mpmath."""
    mp = mpmath.mp
    f, a, b, r, v, t = (mp.mpf(x) for x in (forward, alpha, beta, rho, nu, ttm))
    strike = f * mp.exp(k)
    log, power = mp.log(f / strike), (f * strike) ** ((1 - b) / 2)
    z = v / a * power * log
    x = mp.log((mp.sqrt(1 - 2 * r * z + z * z) + z - r) / (1 - r))
    time = (1 - b) ** 2 / 24 * a**2 / power**2 + r * b * v * a / (4 * power) + (2 - 3 * r * r) / 24 * v * v
    below = power * (1 + (1 - b) ** 2 / 24 * log**2 + (1 - b) ** 4 / 1920 * log**4)
    return a / below * z / x * (1 + time * t)


@pytest.mark.parametrize("case", CASES)
def test_volatilities_are_quantlibs(case: Case) -> None:
    quantlib = pytest.importorskip("QuantLib")
    ttm, forward, alpha, beta, rho, nu = case
    sabr = SabrSmile(*case)
    for k in np.linspace(-1.0, 1.0, 41):
        strike = forward * math.exp(k)
        expected = quantlib.sabrVolatility(strike, forward, ttm, alpha, beta, nu, rho)
        # Next to the money QuantLib changes to two terms of a series.
        assert float(sabr.iv(strike)) == pytest.approx(expected, rel=1e-12 if abs(k) > 1e-3 else 1e-7)


@pytest.mark.parametrize("case", CASES)
def test_derivatives_are_those_of_the_formula_in_high_precision(case: Case) -> None:
    ttm = case[0]
    sabr = SabrSmile(*case)
    with mpmath.workdps(50):
        for k in (-1.5, -0.4, -0.05, -1e-4, -1e-9, 1e-7, 0.003, 0.02, 0.13, 0.9):
            found = [
                float(mpmath.diff(lambda x: exact_volatility(*case, x) ** 2 * ttm, mpmath.mpf(k), n)) for n in (0, 1, 2)
            ]
            mine = [float(part(k)) for part in (sabr.total_variance, sabr.dw, sabr.d2w)]
            scale = max(abs(value) for value in found)
            assert mine == pytest.approx(found, rel=1e-11, abs=1e-12 * scale)


@pytest.mark.parametrize("rho", [-0.999, -0.5, 0.0, 0.8, 0.999])
def test_x_over_z_and_its_derivatives_are_smooth_through_the_money_and_right_far_out(rho: float) -> None:
    def exact(z: Any) -> Any:
        r = mpmath.mpf(rho)
        return mpmath.log((mpmath.sqrt(1 - 2 * r * z + z * z) + z - r) / (1 - r)) / z

    with mpmath.workdps(60):
        for z in (-300.0, -3.0, -0.2001, -0.1999, -0.02, 1e-6, 0.15, 0.1999, 0.2001, 0.7, 40.0):
            expected = [float(mpmath.diff(exact, mpmath.mpf(z), n)) for n in (0, 1, 2)]
            for mine, value in zip(x_over_z(z, rho), expected, strict=True):
                assert mine == pytest.approx(value, rel=2e-11)
    assert x_over_z(0.0, rho) == pytest.approx((1.0, 0.5 * rho, (3.0 * rho * rho - 1.0) / 3.0), rel=1e-14)


def test_without_vol_of_vol_and_beta_one_the_smile_is_flat() -> None:
    flat = SabrSmile(0.5, 100.0, 0.4, 1.0, -0.3, 0.0)
    np.testing.assert_allclose(flat.iv([20.0, 100.0, 400.0]), 0.4, rtol=1e-15)
    assert check_butterfly(flat).ok


def test_hagans_published_example_of_a_negative_density_is_refused() -> None:
    # Hagan, Kumar, Lesniewski and Woodward (2014), "Arbitrage-free SABR".
    published = SabrSmile(1.0, 1.0, 0.35, 0.25, -0.1, 1.0)
    evidence = check_butterfly(published)
    assert not evidence.ok
    assert evidence.kind == "grid"
    assert evidence.at_k < 0.0
    low = np.linspace(0.02, 0.12, 50)
    assert np.min(published.density(low)) < 0.0
    assert np.min(published.density(np.linspace(0.3, 3.0, 50))) > 0.0


def test_wings_with_beta_one_break_lees_bound_far_out() -> None:
    sabr = SabrSmile(1.0, 100.0, 0.5, 1.0, 0.0, 1.0)
    assert float(sabr.total_variance(60.0)) > 2.0 * 60.0
    assert float(sabr.durrleman_g(60.0)) < 0.0
    ratio = [float(sabr.total_variance(k)) * (math.log(4.0 * k) / k) ** 2 for k in (1e4, 1e6)]  # 2ν/α = 4
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-2)


def test_there_is_no_volatility_where_the_expansion_gives_none() -> None:
    long = SabrSmile(30.0, 100.0, 0.3, 1.0, -0.95, 2.0)  # its bracket in T is negative
    assert np.isnan(long.iv([90.0, 100.0])).all()
    assert not check_butterfly(long).ok
    assert math.isnan(float(SabrSmile(*CASES[0]).iv(-1.0)))


def test_a_smile_moved_in_time_and_forward_keeps_sigma_with_any_beta() -> None:
    sabr = SabrSmile(*CASES[1])
    moved = sabr.at(140.0, 0.3).at(150.0, 0.7)
    k = np.linspace(-1.0, 1.0, 11)
    np.testing.assert_allclose(moved.iv(150.0 * np.exp(k)), sabr.iv(100.0 * np.exp(k)), rtol=1e-13)


def observed(case: Case, count: int = 21, reach: float = 2.0, half: float = 0.005) -> Any:
    ttm, forward = case[:2]
    sabr = SabrSmile(*case)
    sd = float(sabr.iv(forward)) * math.sqrt(ttm)
    k = np.linspace(-reach * sd, reach * sd, count)
    sigma = np.asarray(sabr.iv(forward * np.exp(k)))
    return np.column_stack([k, sigma - half, sigma + half, np.full(count, half), np.ones(count)])


@pytest.mark.parametrize("case", [CASES[0], CASES[1], CASES[3]])
def test_a_cold_fit_gives_the_parameters_back(case: Case) -> None:
    found, loss = fit_smile(observed(case), case[0], case[1], beta=case[3])
    assert loss < 1e-10
    assert (found.alpha, found.rho, found.nu) == pytest.approx((case[2], case[4], case[5]), rel=1e-4)


def test_a_warm_fit_ends_where_a_cold_one_does() -> None:
    observations = observed(CASES[0])
    observations[:, 1:3] += np.random.default_rng(3).normal(0.0, 0.003, (21, 1))
    cold, loss = fit_smile(observations, 0.25, 60_000.0)
    warm, warm_loss = fit_smile(observations, 0.25, 60_000.0, last=SabrSmile(0.25, 59_000.0, 0.4, 1.0, 0.1, 0.8))
    assert warm_loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose([warm.alpha, warm.rho, warm.nu], [cold.alpha, cold.rho, cold.nu], rtol=1e-3)


def test_no_other_start_finds_a_better_fit_of_recorded_slices() -> None:
    random = np.random.default_rng(17)
    for source in recorded_btc():
        chosen = select(source)
        if chosen.mids < 5:
            continue
        _, loss = fit_smile(chosen.observations, source.ttm, source.forward)
        for _ in range(20):
            nu = math.exp(random.uniform(-1.0, 1.0)) / math.sqrt(source.ttm)
            start = SabrSmile(source.ttm, source.forward, random.uniform(0.2, 1.0), 1.0, random.uniform(-0.8, 0.8), nu)
            other = fit_smile(chosen.observations, source.ttm, source.forward, last=start)[1]
            assert loss <= other * 1.001 + 1e-9


@pytest.mark.parametrize("rows", [[10], [7, 13]])
def test_one_or_two_mids_move_the_last_shape(rows: list[int]) -> None:
    last = SabrSmile(*CASES[0])
    observations = observed(CASES[0])[rows]
    observations[:, 1:3] += 0.05
    found, _ = fit_smile(observations, 0.25, 60_000.0, last=last)
    k = observations[:, 0]
    np.testing.assert_allclose(found.iv(60_000.0 * np.exp(k)), np.mean(observations[:, 1:3], axis=1), atol=0.005)
    assert found.nu == pytest.approx(last.nu, rel=0.2)


def test_one_mid_without_a_last_smile_gives_a_gentle_smile_through_it() -> None:
    found, _ = fit_smile(observed(CASES[0])[[10]], 0.25, 60_000.0)
    assert float(found.iv(60_000.0)) == pytest.approx(float(SabrSmile(*CASES[0]).iv(60_000.0)), abs=1e-4)
    assert check_butterfly(found).ok


def test_an_absurd_quote_hardly_moves_the_fit() -> None:
    observations = observed(CASES[0])
    before, _ = fit_smile(observations, 0.25, 60_000.0)
    observations[15, 1:3] += 1.0
    after, _ = fit_smile(observations, 0.25, 60_000.0)
    assert float(after.iv(60_000.0)) == pytest.approx(float(before.iv(60_000.0)), abs=1e-3)


def test_the_volatility_kernel_gives_the_level_at_the_money() -> None:
    # Hagan et al. (2002), eq. 2.18, for β = 1.
    sigma = volatility(0.5, 1.0, -0.3, 1.5, 0.25, 0.0)[0]
    assert sigma == pytest.approx(
        0.5 * (1.0 + 0.25 * (-0.3 * 1.5 * 0.5 / 4.0 + (2.0 - 0.27) * 1.5**2 / 24.0)), rel=1e-15
    )
