"""How smiles move: each rule by its definition in fifty digits, differentiated there, against the closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

import pricer
from pricer.kernels.black76 import GREEKS
from pricer.surfaces import DYNAMICS, Dynamics, SviParams, SviSmile, VolSurface, iv_moves, moved_iv, smile_greeks
from tests.surfaces.made import TTMS, Array, chain, quotes, smile

Number = Any  # mpmath's own, untyped
SMILE = SviSmile(0.25, 100.0, SviParams(0.004, 0.1, -0.4, 0.03, 0.15))
STRIKES = [60.0, 85.0, 100.0, 112.0, 160.0]


def total_variance(found: SviSmile, k: Number) -> Number:
    a, b, rho, m, sigma = map(mpmath.mpf, found.params)
    return a + b * (rho * (k - m) + mpmath.sqrt((k - m) ** 2 + sigma**2))


def vol(found: SviSmile, k: Number) -> Number:
    return mpmath.sqrt(total_variance(found, k) / mpmath.mpf(found.ttm))


def d1(k: Number, sigma: Number, ttm: Number) -> Number:
    return -k / (sigma * mpmath.sqrt(ttm)) + sigma * mpmath.sqrt(ttm) / 2


def strike_rule(found: SviSmile, strike: Number, forward: Number, ttm: Number, shift: Number) -> Number:
    return vol(found, mpmath.log(strike / mpmath.mpf(found.forward))) + shift


def moneyness_rule(found: SviSmile, strike: Number, forward: Number, ttm: Number, shift: Number) -> Number:
    return vol(found, mpmath.log(strike / forward)) + shift


def delta_rule(found: SviSmile, strike: Number, forward: Number, ttm: Number, shift: Number) -> Number:
    """The old smile's vol where it has the d1 that the option has after the move."""
    k = mpmath.log(strike / forward)

    def mismatch(old: Number) -> Number:
        sigma = vol(found, old)
        return d1(k, sigma + shift, ttm) - d1(old, sigma, mpmath.mpf(found.ttm))

    return vol(found, mpmath.findroot(mismatch, k)) + shift


def variance_rule(found: SviSmile, strike: Number, forward: Number, ttm: Number, shift: Number) -> Number:
    skew = mpmath.diff(lambda k: vol(found, k), 0)
    level = 1 + 2 * skew / vol(found, 0) * mpmath.log(forward / mpmath.mpf(found.forward))
    return level * vol(found, mpmath.log(strike / forward) / level) + shift


Rule = Callable[[SviSmile, Number, Number, Number, Number], Number]
RULES: dict[Dynamics, Rule] = {
    "sticky_strike": strike_rule,
    "sticky_moneyness": moneyness_rule,
    "sticky_delta": delta_rule,
    "minimum_variance": variance_rule,
}


def black(forward: Number, strike: Number, ttm: Number, sigma: Number, cp: int) -> Number:
    first = d1(mpmath.log(strike / forward), sigma, ttm)
    second = first - sigma * mpmath.sqrt(ttm)
    return cp * (forward * mpmath.ncdf(cp * first) - strike * mpmath.ncdf(cp * second))


def same(found: Any, wanted: Any, rtol: float = 1e-12, atol: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(found, dtype=float), np.asarray(wanted, dtype=float), rtol=rtol, atol=atol)


def test_every_rule_is_tested() -> None:
    assert set(RULES) == set(DYNAMICS)


@pytest.mark.parametrize("cp", [1, -1])
@pytest.mark.parametrize("strike", STRIKES)
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_greeks_are_the_derivatives_of_the_repriced_option(dynamics: Dynamics, strike: float, cp: int) -> None:
    def price(forward: Number, ttm: Number, shift: Number) -> Number:
        return black(forward, strike, ttm, RULES[dynamics](SMILE, mpmath.mpf(strike), forward, ttm, shift), cp)

    with mpmath.workdps(50):
        at = mpmath.mpf(SMILE.forward), mpmath.mpf(SMILE.ttm), mpmath.mpf(0)
        wanted = [price(*at), *(mpmath.diff(price, at, n) for n in ((1, 0, 0), (2, 0, 0), (0, 0, 1), (0, 1, 0)))]
    found = smile_greeks(SMILE, strike, cp, 1.0, dynamics)
    same([found.price, found.delta, found.gamma, found.vega, -found.theta], wanted, rtol=1e-10)


@pytest.mark.parametrize("move", [(107.0, 0.25, 0.0), (88.0, 0.25, 0.03), (100.0, 0.1, 0.0), (95.0, 0.4, -0.04)])
@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_finite_moves_follow_the_rule(dynamics: Dynamics, move: tuple[float, float, float]) -> None:
    forward, ttm, shift = move
    with mpmath.workdps(30):
        wanted = [RULES[dynamics](SMILE, mpmath.mpf(strike), *map(mpmath.mpf, move)) for strike in STRIKES]
    same(moved_iv(SMILE, STRIKES, dynamics, forward=forward, ttm=ttm, vol=shift), wanted, rtol=1e-11)


def test_sticky_strike_is_blacks_formula_to_the_last_bit() -> None:
    strikes, discount = np.linspace(50.0, 180.0, 27), 0.97
    found = smile_greeks(SMILE, strikes, "put", discount, "sticky_strike")
    wanted = pricer.greeks(SMILE.forward, strikes, SMILE.ttm, SMILE.iv(strikes), "put", discount)
    for name in GREEKS:
        same(getattr(found, name), getattr(wanted, name), rtol=4e-15)
    assert found.dynamics == "sticky_strike"


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_only_the_stated_greeks_depend_on_the_rule(dynamics: Dynamics) -> None:
    plain = smile_greeks(SMILE, STRIKES, 1, 0.97, "sticky_strike")
    found = smile_greeks(SMILE, STRIKES, 1, 0.97, dynamics)
    adjusted = {"sticky_strike": set(), "sticky_delta": {"delta", "gamma", "vega", "theta"}}
    moved = {name for name in GREEKS if not np.allclose(getattr(plain, name), getattr(found, name), rtol=1e-9, atol=0)}
    assert moved == adjusted.get(dynamics, {"delta", "gamma"})


def test_sticky_delta_is_sticky_moneyness_for_the_forward_and_differs_for_vol_and_time() -> None:
    by_delta = smile_greeks(SMILE, STRIKES, 1, 1.0, "sticky_delta")
    by_moneyness = smile_greeks(SMILE, STRIKES, 1, 1.0, "sticky_moneyness")
    same(by_delta.delta, by_moneyness.delta, rtol=1e-15)
    same(by_delta.gamma, by_moneyness.gamma, rtol=1e-15)
    moved = moved_iv(SMILE, STRIKES, "sticky_delta", forward=117.0)
    same(moved, moved_iv(SMILE, STRIKES, "sticky_moneyness", forward=117.0), rtol=1e-14)
    assert np.all(np.abs(np.asarray(by_delta.vega) / by_moneyness.vega - 1.0) > 1e-3)
    later, earlier = (moved_iv(SMILE, STRIKES, "sticky_delta", ttm=ttm) for ttm in (0.1, 0.4))
    # As time passes a strike's distance in deltas grows, so it takes the vol of one further out on the old smile.
    assert later[0] > SMILE.iv(60.0) > earlier[0]
    same(moved_iv(SMILE, STRIKES, "sticky_moneyness", ttm=0.1), SMILE.iv(STRIKES))


def test_after_any_move_under_sticky_delta_each_vol_has_the_delta_it_had() -> None:
    old_k = np.linspace(-0.6, 0.6, 25)
    sigma = np.sqrt(np.asarray(SMILE.total_variance(old_k)) / SMILE.ttm)
    first = -old_k / (sigma * 0.5) + sigma * 0.25
    moved, root = sigma + 0.02, math.sqrt(0.15)
    strikes = 109.0 * np.exp(moved * root * (moved * root / 2.0 - first))
    same(moved_iv(SMILE, strikes, "sticky_delta", forward=109.0, ttm=0.15, vol=0.02), moved, rtol=1e-11)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_on_a_flat_smile_all_rules_are_black(dynamics: Dynamics) -> None:
    flat = SviSmile(0.5, 100.0, SviParams(0.32, 0.0, 0.0, 0.0, 0.1))
    found = smile_greeks(flat, STRIKES, 1, 0.9, dynamics)
    wanted = pricer.greeks(100.0, STRIKES, 0.5, 0.8, 1, 0.9)
    for name in GREEKS:
        same(getattr(found, name), getattr(wanted, name), rtol=1e-13)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_call_less_put_is_the_forward_under_every_rule(dynamics: Dynamics) -> None:
    call, put = (smile_greeks(SMILE, STRIKES, cp, 0.95, dynamics) for cp in ("call", "put"))
    same(np.asarray(call.delta) - put.delta, np.full(5, 0.95), rtol=1e-13)
    same(call.gamma, put.gamma, rtol=1e-13)


def test_sticky_moneyness_prices_scale_with_forward_and_strike() -> None:
    # V is homogeneous of degree one, so F·delta + K·dV/dK = V and F²·gamma = K²·d²V/dK²: Euler, and the density.
    strikes = np.array(STRIKES)
    found = smile_greeks(SMILE, strikes, 1, 1.0, "sticky_moneyness")
    same(SMILE.forward**2 * np.asarray(found.gamma), strikes**2 * SMILE.density(strikes), rtol=1e-11)
    with mpmath.workdps(40):

        def price(strike: Number) -> Number:
            return black(mpmath.mpf(100), strike, mpmath.mpf("0.25"), vol(SMILE, mpmath.log(strike / 100)), 1)

        slopes = [float(mpmath.diff(price, strike)) for strike in STRIKES]
    same(100.0 * np.asarray(found.delta) + strikes * slopes, found.price, rtol=1e-12)


def test_minimum_variance_mirrors_sticky_moneyness_at_the_money() -> None:
    moneyness = iv_moves(SMILE, 100.0, "sticky_moneyness")
    variance = iv_moves(SMILE, 100.0, "minimum_variance")
    skew = SMILE.dw(0.0) / (2.0 * SMILE.iv(100.0) * SMILE.ttm)
    same([moneyness.d_forward, variance.d_forward], [-skew / 100.0, skew / 100.0])


def test_minimum_variance_gamma_is_the_change_of_its_delta() -> None:
    # The rule read again on the moved smile is the rule: moving twice is moving once.
    def moved(forward: float) -> SviSmile:
        level = float(moved_iv(SMILE, forward, "minimum_variance", forward=forward)) / float(SMILE.iv(100.0))
        a, b, rho, m, sigma = SMILE.params
        return SviSmile(0.25, forward, SviParams(a * level**2, b * level, rho, m * level, sigma * level))

    h = 1e-3
    up, down = (smile_greeks(moved(100.0 + by), STRIKES, 1, 1.0, "minimum_variance") for by in (h, -h))
    gamma = smile_greeks(SMILE, STRIKES, 1, 1.0, "minimum_variance").gamma
    same((np.asarray(up.delta) - down.delta) / (2.0 * h), gamma, rtol=1e-6)
    same(
        moved_iv(moved(106.0), STRIKES, "minimum_variance", forward=93.0),
        moved_iv(SMILE, STRIKES, "minimum_variance", forward=93.0),
    )


class Sabr:
    """Lognormal SABR to leading order in time (Hagan et al. 2002, eq. 2.17a with β = 1)."""

    def __init__(self, alpha: Number, rho: float, nu: float, forward: float, ttm: float) -> None:
        self.alpha, self.rho, self.nu, self.forward, self.ttm = alpha, rho, nu, forward, ttm

    def sigma(self, k: Number) -> Number:
        z = self.nu * k / self.alpha  # of ln K/F, so ρ stands with the other sign than for ln F/K
        root = mpmath.sqrt(1 + 2 * self.rho * z + z * z)
        return self.alpha if k == 0 else self.nu * k / mpmath.log((root + z + self.rho) / (1 + self.rho))

    def total_variance(self, k: npt.ArrayLike) -> Array:
        return self._derived(k, 0)

    def dw(self, k: npt.ArrayLike) -> Array:
        return self._derived(k, 1)

    def d2w(self, k: npt.ArrayLike) -> Array:
        return self._derived(k, 2)

    def _derived(self, k: npt.ArrayLike, order: int) -> Array:
        points = np.asarray(k, dtype=float)

        def w(at: Number) -> Number:
            return self.sigma(at) ** 2 * self.ttm

        # Off the removable 0/0 at the money by what no double shows.
        with mpmath.workdps(60):
            values = [float(mpmath.diff(w, mpmath.mpf(float(at)) + mpmath.mpf("1e-25"), order)) for at in points.flat]
        return np.array(values).reshape(points.shape)


def test_minimum_variance_is_bartletts_delta_where_the_smile_is_sabrs() -> None:
    alpha, rho, nu = 0.3, -0.6, 1.1
    found = iv_moves(Sabr(alpha, rho, nu, 100.0, 0.1), STRIKES, "minimum_variance")
    with mpmath.workdps(50):

        def sigma(forward: Number, level: Number, strike: float) -> Number:
            return Sabr(level, rho, nu, 100.0, 0.1).sigma(mpmath.log(strike / forward) + mpmath.mpf("1e-30"))

        at = mpmath.mpf(100), mpmath.mpf(alpha)
        bartlett = [
            mpmath.diff(lambda f, a: sigma(f, a, strike), at, (1, 0))  # noqa: B023  # used at once
            + mpmath.diff(lambda f, a: sigma(f, a, strike), at, (0, 1)) * rho * nu / 100  # noqa: B023
            for strike in STRIKES
        ]
    same(found.d_forward, bartlett, rtol=1e-9)


def test_minimum_variance_leaves_the_least_variance_in_a_sabr_market() -> None:
    alpha, rho, nu, ttm, day = 0.3, -0.6, 1.1, 0.1, 1e-6
    market = Sabr(alpha, rho, nu, 100.0, ttm)
    nodes, weights = np.polynomial.hermite_e.hermegauss(7)
    move, other = (grid.reshape(-1) for grid in np.meshgrid(nodes, nodes))
    chance = np.outer(weights, weights).reshape(-1) / weights.sum() ** 2
    forwards = 100.0 * np.exp(alpha * math.sqrt(day) * move)
    alphas = alpha * np.exp(nu * math.sqrt(day) * (rho * move + math.sqrt(1.0 - rho * rho) * other))
    for strike in (90.0, 100.0, 115.0):
        vols = [
            float(Sabr(mpmath.mpf(a), rho, nu, f, ttm).sigma(mpmath.log(strike / f) + mpmath.mpf("1e-12")))
            for f, a in zip(forwards, alphas, strict=True)
        ]
        prices = pricer.price(forwards, strike, ttm, vols, 1)

        def variance(rule: Dynamics, prices: Array = prices, strike: float = strike) -> float:
            hedged = prices - float(smile_greeks(market, strike, 1, 1.0, rule).delta) * forwards
            return float(chance @ hedged**2 - (chance @ hedged) ** 2)

        left = {rule: variance(rule) for rule in DYNAMICS}
        assert min(left, key=lambda rule: left[rule]) == "minimum_variance"
        # What no hedge in the forward takes away is the vol's own part.
        best = chance @ (prices * forwards) - (chance @ prices) * (chance @ forwards)
        slope = best / (chance @ forwards**2 - (chance @ forwards) ** 2)
        assert float(smile_greeks(market, strike, 1, 1.0, "minimum_variance").delta) == pytest.approx(slope, abs=2e-4)


def test_minimum_variance_is_local_volatilitys_answer_at_the_money() -> None:
    # Displaced lognormal to leading order in time: σ = c·ln(K/F)/ln((K + h)/(F + h)), a local-volatility model.
    def sigma(forward: Number, strike: Number) -> Number:
        return mpmath.mpf("0.4") * mpmath.log(strike / forward) / mpmath.log((strike + 80) / (forward + 80))

    with mpmath.workdps(50):
        away = mpmath.mpf("1e-15")
        in_forward = mpmath.diff(lambda f: sigma(f, mpmath.mpf(100) + away), 100)
        in_strike = mpmath.diff(lambda strike: sigma(mpmath.mpf(100), strike), mpmath.mpf(100) + away)
    same(in_forward, in_strike, rtol=1e-6)
    level = 0.4 * 180.0 / 100.0
    skewed = SviSmile(
        1.0, 100.0, SviParams(level**2 - 0.1, 0.5, 2.0 * level * 100.0 * float(in_strike) / 0.5, 0.0, 0.2)
    )
    same(iv_moves(skewed, 100.0, "minimum_variance").d_forward, in_forward, rtol=1e-6)


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_scalars_words_and_shapes_are_those_of_the_public_functions(dynamics: Dynamics) -> None:
    one = smile_greeks(SMILE, 100.0, "C", 1.0, dynamics)
    assert all(isinstance(getattr(one, name), float) for name in GREEKS)
    grid = smile_greeks(SMILE, np.reshape(STRIKES, (5, 1)), ["call", "put"], 1.0, dynamics)
    assert np.shape(grid.delta) == np.shape(grid.ultima) == (5, 2)
    assert grid.gamma[2, 0] == one.gamma
    assert isinstance(moved_iv(SMILE, 100.0, dynamics, forward=101.0), float)
    assert np.shape(moved_iv(SMILE, [STRIKES], dynamics, forward=101.0)) == (1, 5)


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("strike", [0.0, -1.0, math.nan])
def test_an_impossible_strike_is_nan(dynamics: Dynamics, strike: float) -> None:
    found = smile_greeks(SMILE, [strike, 100.0], 1, 1.0, dynamics)
    assert all(math.isnan(getattr(found, name)[0]) for name in GREEKS)
    assert all(math.isfinite(getattr(found, name)[1]) for name in GREEKS)
    assert math.isnan(moved_iv(SMILE, strike, dynamics, forward=101.0))


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_moves_that_leave_no_volatility_give_none(dynamics: Dynamics) -> None:
    assert np.isnan(moved_iv(SMILE, STRIKES, dynamics, vol=-1.0)).all()
    assert np.isnan(moved_iv(SMILE, STRIKES, dynamics, forward=-1.0)).all()
    assert np.isnan(moved_iv(SMILE, STRIKES, dynamics, ttm=0.0)).all()


def test_minimum_variance_has_no_vol_where_its_line_is_below_zero() -> None:
    assert np.isfinite(moved_iv(SMILE, STRIKES, "minimum_variance", forward=120.0)).all()
    assert np.isnan(moved_iv(SMILE, STRIKES, "minimum_variance", forward=1e4)).all()


def test_unknown_rules_and_signs_are_named() -> None:
    unknown: Any = "sticky"
    with pytest.raises(ValueError, match=r"'sticky'.*'minimum_variance'"):
        smile_greeks(SMILE, 100.0, 1, 1.0, unknown)
    for reader in (iv_moves, moved_iv):
        with pytest.raises(ValueError, match=r"'sticky'.*'minimum_variance'"):
            reader(SMILE, 100.0, unknown)
    with pytest.raises(ValueError, match="'straddle'"):
        smile_greeks(SMILE, 100.0, "straddle", 1.0, "sticky_delta")


@pytest.fixture(scope="module")
def surface() -> VolSurface:
    return VolSurface.fit(chain(seed=1))


@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("ttm", [0.005, 0.17, 0.21, 1.4])
def test_a_surface_has_greeks_at_any_ttm(surface: VolSurface, dynamics: Dynamics, ttm: float) -> None:
    strikes, h = np.array([50_000.0, 60_000.0, 66_000.0]), 60_000.0 * 2e-5
    found = surface.greeks(strikes, ttm, "call", dynamics=dynamics)
    same(found.price, pricer.price(60_000.0, strikes, ttm, surface.iv(strikes, ttm), 1), rtol=1e-11, atol=1e-9)

    def price(forward: float) -> Array:
        ratio = math.log(forward / 60_000.0)
        at = {"sticky_strike": strikes, "minimum_variance": strikes}.get(dynamics, strikes / math.exp(ratio))
        sigma = np.asarray(surface.iv(at, ttm))
        if dynamics == "minimum_variance":
            level = surface.iv(60_000.0, ttm)
            around = np.asarray(surface.iv([60_000.0 * math.exp(by) for by in (-1e-5, 1e-5)], ttm))
            factor = 1.0 + 2.0 * ratio * (around[1] - around[0]) / 2e-5 / level
            sigma = factor * np.asarray(surface.iv(60_000.0 * (strikes / forward) ** (1.0 / factor), ttm))
        return pricer.price(forward, strikes, ttm, sigma, 1)

    same(found.delta, (price(60_000.0 + h) - price(60_000.0 - h)) / (2.0 * h), rtol=1e-5, atol=1e-7)


def test_an_expiry_is_a_ttm_or_the_index_of_a_slice(surface: VolSurface) -> None:
    by_index, by_ttm = (surface.greeks(61_000.0, expiry, "put", 0.99) for expiry in (3, TTMS[3]))
    assert by_index == by_ttm
    assert by_index.dynamics == "sticky_strike"
    same(by_index.delta, pricer.greeks(60_000.0, 61_000.0, TTMS[3], surface.iv(61_000.0, TTMS[3]), -1, 0.99).delta)
    with pytest.raises(IndexError):
        surface.greeks(61_000.0, 99, "put")


def test_without_a_smile_or_time_there_are_no_greeks(surface: VolSurface) -> None:
    for made, ttm in ((VolSurface.fit([]), 0.1), (surface, -0.1), (surface, 0.0)):
        found = made.greeks([60_000.0], ttm, 1, dynamics="minimum_variance")
        assert math.isnan(found.delta[0])
        assert math.isnan(found.gamma[0])


def test_a_surface_of_one_expiry_moves_like_its_smile() -> None:
    source = smile(0.2)
    made = VolSurface.fit([quotes(source)])
    (found,) = made.smiles
    assert found is not None
    strikes = [55_000.0, 60_000.0, 70_000.0]
    same(
        made.greeks(strikes, 0, 1, dynamics="sticky_delta").vega,
        smile_greeks(found, strikes, 1, 1.0, "sticky_delta").vega,
    )
