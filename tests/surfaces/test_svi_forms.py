"""Jump wings and the natural form: published values, the meaning of each number, both ways, and where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.surfaces import SviParams, SviSmile, check_butterfly
from pricer.surfaces.svi_forms import (
    JumpWings,
    NaturalSvi,
    jump_wings,
    natural,
    raw_from_jump_wings,
    raw_from_natural,
)
from tests.surfaces.made import smile

# Gatheral and Jacquier (2014), examples 3.1 and 5.1: Vogt's slice.
VOGT = SviParams(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153)


def random_params(random: np.random.Generator) -> SviParams:
    sd = math.exp(random.uniform(math.log(0.01), 0.0))
    rho = random.uniform(-0.99, 0.99)
    b, m, sigma = sd * random.uniform(0.05, 1.0), sd * random.normal(), sd * math.exp(random.uniform(-2.0, 1.0))
    lowest = sd * sd * random.uniform(0.1, 1.0)
    return SviParams(lowest - b * sigma * math.sqrt(1.0 - rho * rho), b, rho, m, sigma)


def test_vogts_slice_has_its_published_jump_wings() -> None:
    assert jump_wings(VOGT, 1.0) == pytest.approx((0.01742625, -0.1752111, 0.6997381, 1.316798, 0.0116249), rel=1e-6)


def test_the_repair_of_vogts_slice_is_the_published_one() -> None:
    found = jump_wings(VOGT, 1.0)
    c = found.p + 2.0 * found.psi
    repaired = found._replace(c=c, v_min=4.0 * found.v * found.p * c / (found.p + c) ** 2)
    assert (repaired.c, repaired.v_min) == pytest.approx((0.3493158, 0.01548182), abs=1e-7)
    params = raw_from_jump_wings(repaired, 1.0)
    assert params == pytest.approx(SviParams(0.007741, 0.069242, -0.334036, 0.042034, 0.118608), abs=1e-6)
    assert check_butterfly(SviSmile(1.0, 1.0, params)).ok
    # The repair makes an SSVI slice of it: Δ = μ = 0.
    assert natural(params)[:2] == pytest.approx((0.0, 0.0), abs=1e-9)


@pytest.mark.parametrize("ttm", [0.02, 1.0, 3.0])
def test_each_jump_wing_is_what_its_name_says(ttm: float) -> None:
    random = np.random.default_rng(11)
    for _ in range(20):
        params = random_params(random)
        made = SviSmile(ttm, 1.0, params)
        found = made.jump_wings()

        def sigma(k: float, made: SviSmile = made) -> float:
            return math.sqrt(float(made.total_variance(k)) / made.ttm)

        h = 1e-4 * params.sigma
        unit = sigma(0.0) * math.sqrt(ttm)
        assert found.v == pytest.approx(sigma(0.0) ** 2, rel=1e-12)
        # eq. 3.5: psi is the slope of volatility at the money, in units of √ttm.
        assert found.psi == pytest.approx((sigma(h) - sigma(-h)) / (2.0 * h) * math.sqrt(ttm), rel=1e-5, abs=1e-7)
        far = 1e4 * (abs(params.m) + params.sigma)
        assert found.p == pytest.approx(-float(made.dw(-far)) / unit, rel=1e-5)
        assert found.c == pytest.approx(float(made.dw(far)) / unit, rel=1e-5)
        k = params.m + params.sigma * np.linspace(-60.0, 60.0, 200_001)
        assert found.v_min == pytest.approx(float(np.min(made.total_variance(k))) / ttm, rel=1e-5)


def test_raw_comes_back_from_jump_wings() -> None:
    random = np.random.default_rng(12)
    for _ in range(500):
        params, ttm = random_params(random), math.exp(random.uniform(-5.0, 1.0))
        back = raw_from_jump_wings(jump_wings(params, ttm), ttm)
        # The bend is read off v − v_min, which a minimum near the money leaves few digits of.
        d = abs(params.rho - params.m / math.hypot(params.m, params.sigma))
        assert back == pytest.approx(params, rel=1e-10 / d**2, abs=1e-12 / d**2)


def test_a_bend_at_the_money_comes_back() -> None:
    params = SviParams(0.02, 0.1, -0.4, 0.0, 0.3)  # m = 0: lemma 3.2 treats it apart
    assert raw_from_jump_wings(jump_wings(params, 0.5), 0.5) == pytest.approx(params, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("rho", [-1.0, 1.0])
def test_one_wing_may_be_flat(rho: float) -> None:
    params = SviParams(0.02, 0.1, rho, -0.1 * rho, 0.3)
    found = jump_wings(params, 0.5)
    assert min(found.p, found.c) == 0.0
    assert found.v_min == 0.02 / 0.5
    assert raw_from_jump_wings(found, 0.5) == pytest.approx(params, rel=1e-12)


def test_a_flat_smile_goes_both_ways() -> None:
    flat = SviParams(0.04, 0.0, 0.0, 0.0, 0.1)
    assert jump_wings(flat, 0.25) == JumpWings(0.16, 0.0, 0.0, 0.0, 0.16)
    back = SviSmile(0.25, 1.0, raw_from_jump_wings(jump_wings(flat, 0.25), 0.25))
    np.testing.assert_allclose(back.total_variance([-1.0, 0.0, 2.0]), 0.04, rtol=1e-15)
    assert natural(flat) == NaturalSvi(0.04, 0.0, 0.0, 0.0, 10.0)
    assert raw_from_natural(natural(flat)) == flat


def test_the_natural_form_is_the_same_curve() -> None:
    random = np.random.default_rng(13)
    for _ in range(100):
        params = random_params(random)
        made = SviSmile(1.0, 1.0, params)
        delta, mu, rho, omega, zeta = made.natural()
        x = zeta * (k := params.m + params.sigma * np.linspace(-5.0, 5.0, 11)) - zeta * mu
        expected = delta + 0.5 * omega * (1.0 + rho * x + np.sqrt((x + rho) ** 2 + 1.0 - rho * rho))
        np.testing.assert_allclose(made.total_variance(k), expected, rtol=1e-10)
        assert raw_from_natural(made.natural()) == pytest.approx(params, rel=1e-9, abs=1e-12)


WINGS = jump_wings(smile(0.25).params, 0.25)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"v": 0.0}, "v must be positive, not 0.0"),
        ({"p": -0.1}, "p must be at least 0, not -0.1"),
        ({"c": math.nan}, "c must be at least 0, not nan"),
        ({"v_min": 9.0}, "v_min must be at most v"),
        ({"psi": 5.0}, "psi must be between -p/2"),
        ({"psi": 0.0}, "psi must be other than 0"),
        ({"v_min": WINGS.v}, "v_min must be below v"),
        ({"p": 0.0, "c": 0.0}, "psi must be 0 where p = c = 0"),
        ({"p": 0.0, "c": 0.0, "psi": 0.0}, "v_min must be v"),
    ],
)
def test_numbers_of_no_smile_are_refused_by_name(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        raw_from_jump_wings(WINGS._replace(**change), 0.25)


def test_forms_that_do_not_exist_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="total variance at the money must be positive, not -0"):
        jump_wings(SviParams(-0.5, 0.1, 0.0, 0.0, 0.1), 1.0)
    with pytest.raises(ValueError, match="ttm must be positive, not 0"):
        jump_wings(VOGT, 0.0)
    with pytest.raises(ValueError, match=r"rho must be between -1 and 1, not 1.5"):
        jump_wings(VOGT._replace(rho=1.5), 1.0)
    with pytest.raises(ValueError, match=r"rho must be strictly between -1 and 1 .*, not -1.0"):
        natural(VOGT._replace(rho=-1.0))
    with pytest.raises(ValueError, match=r"sigma must be positive .*, not 0.0"):
        natural(VOGT._replace(sigma=0.0))
    with pytest.raises(ValueError, match=r"zeta must be positive, not 0.0"):
        raw_from_natural(NaturalSvi(0.0, 0.0, 0.0, 0.04, 0.0))
