"""Look-ups by delta: against QuantLib on a flat smile, round trips on a bent one, and where there is no strike."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
import pytest
import QuantLib as ql

from pricer import greeks, price
from pricer.conventions import Reason, Status
from pricer.surfaces import SviParams, SviSmile
from pricer.surfaces.deltas import (
    DeltaConvention,
    atm_strike,
    atm_vol,
    butterfly,
    delta_of,
    risk_reversal,
    skew,
    strike_at_delta,
)
from pricer.surfaces.roots import root
from tests.surfaces.made import flat, smile

CONVENTIONS = get_args(DeltaConvention)
SPOT, DISCOUNT, FOREIGN, TTM, SIGMA = 100.0, 0.97, 0.99, 0.75, 0.35
FORWARD = SPOT * FOREIGN / DISCOUNT
QL = {
    "forward": ql.DeltaVolQuote.Fwd,
    "spot": ql.DeltaVolQuote.Spot,
    "premium_adjusted": ql.DeltaVolQuote.PaFwd,
    "spot_premium_adjusted": ql.DeltaVolQuote.PaSpot,
}


def calculator(convention: str, cp: int) -> ql.BlackDeltaCalculator:
    side = ql.Option.Call if cp > 0 else ql.Option.Put
    return ql.BlackDeltaCalculator(side, QL[convention], SPOT, DISCOUNT, FOREIGN, SIGMA * math.sqrt(TTM))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("delta", [0.1, 0.25, 0.45, -0.1, -0.25, -0.6])
def test_strikes_are_those_of_quantlib_on_a_flat_smile(convention: DeltaConvention, delta: float) -> None:
    theirs = calculator(convention, 1 if delta > 0 else -1).strikeFromDelta(delta)
    point = strike_at_delta(flat(SIGMA, TTM, FORWARD), delta, convention, spot=SPOT, discount=DISCOUNT)
    assert point.strike == pytest.approx(theirs, rel=1e-8)
    assert point.iv == pytest.approx(SIGMA, rel=1e-14)
    assert (point.status, point.reasons) == (Status.OK, Reason(0))


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("cp", [1, -1])
def test_deltas_are_those_of_quantlib(convention: DeltaConvention, cp: Literal[1, -1]) -> None:
    for strike in (60.0, 100.0, 170.0):
        ours = delta_of(flat(SIGMA, TTM, FORWARD), strike, cp, convention, spot=SPOT, discount=DISCOUNT)
        assert float(ours) == pytest.approx(calculator(convention, cp).deltaFromStrike(strike), rel=1e-12)


def test_deltas_are_the_named_forms_of_the_greeks() -> None:
    source = smile(0.25)
    strikes = source.forward * np.array([0.7, 1.0, 1.4])
    ours = greeks(source.forward, strikes, source.ttm, source.iv(strikes), "call")
    np.testing.assert_allclose(delta_of(source, strikes, 1, "forward"), ours.delta, rtol=1e-12)
    adjusted = np.asarray(ours.delta) - np.asarray(ours.price) / source.forward
    np.testing.assert_allclose(delta_of(source, strikes, 1, "premium_adjusted"), adjusted, rtol=1e-10)


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("ttm", [0.002, 0.25, 1.0])
@pytest.mark.parametrize("delta", [1e-6, 0.01, 0.25, 0.4, -1e-6, -0.01, -0.25, -0.5, -0.95])
def test_on_a_smile_the_strike_found_has_the_delta(convention: DeltaConvention, ttm: float, delta: float) -> None:
    source = smile(ttm)
    point = strike_at_delta(source, delta, convention, spot=59_000.0)
    back = delta_of(source, point.strike, 1 if delta > 0 else -1, convention, spot=59_000.0)
    assert float(back) == pytest.approx(delta, rel=1e-9)
    assert point.iv == pytest.approx(float(source.iv(point.strike)), rel=1e-12)


def test_a_call_and_its_put_have_the_same_strike() -> None:
    call, put = strike_at_delta(smile(0.25), 0.3, "forward"), strike_at_delta(smile(0.25), -0.7, "forward")
    assert call.strike == pytest.approx(put.strike, rel=1e-12)


@pytest.mark.parametrize("source", [smile(0.25), smile(1.0), flat(0.01, 0.1), flat(1.5, 2.0)])
def test_a_premium_adjusted_call_is_taken_above_its_maximum(source: SviSmile) -> None:
    s = math.sqrt(float(source.total_variance(0.0)))
    strikes = source.forward * np.exp(s * np.linspace(-8.0, 8.0, 160_001))
    deltas = np.asarray(delta_of(source, strikes, 1, "premium_adjusted"))
    top = int(deltas.argmax())
    for share in (0.3, 0.9, 0.999, 1.0 - 1e-8):
        point = strike_at_delta(source, float(share * deltas[top]), "premium_adjusted")
        assert point.strike > strikes[top]
        below = np.interp(share * deltas[top], deltas[: top + 1], strikes[: top + 1])
        assert below < strikes[top]  # the same delta below the maximum: not the one that is meant
    over = strike_at_delta(source, float(1.000001 * deltas[top]), "premium_adjusted")
    assert math.isnan(over.strike)
    assert math.isnan(over.iv)
    assert (over.status, over.reasons) == (Status.INVALID, Reason.MODEL_LIMIT)


@pytest.mark.parametrize("delta", [1.0, -1.0, 1.5, -1.5])
def test_no_strike_has_an_unadjusted_delta_of_one_or_more(delta: float) -> None:
    assert strike_at_delta(smile(0.25), delta, "forward").reasons == Reason.MODEL_LIMIT


def test_the_premium_adjusted_delta_of_a_put_goes_below_minus_one() -> None:
    assert strike_at_delta(smile(0.25), -3.0, "premium_adjusted").strike > 2.9 * 60_000.0


@pytest.mark.parametrize("delta", [0.0, math.nan, math.inf])
def test_what_is_no_delta_is_bad_input(delta: float) -> None:
    point = strike_at_delta(smile(0.25), delta, "forward")
    assert math.isnan(point.strike)
    assert point.reasons == Reason.BAD_INPUT


def test_a_smile_without_variance_at_the_money_has_no_strike() -> None:
    broken = SviSmile(1.0, 100.0, SviParams(-0.1, 0.1, 0.0, 0.0, 0.1))
    assert strike_at_delta(broken, 0.25, "forward").reasons == Reason.BAD_INPUT
    assert math.isnan(atm_strike(broken, "delta_neutral"))
    assert math.isnan(skew(broken))


def test_a_wing_at_lees_bound_hides_small_deltas() -> None:
    # w = 0.04 + 2k on the right, nearly: d1 stays above some negative number.
    steep = SviSmile(1.0, 100.0, SviParams(0.04, 1.0, 0.999, 0.0, 0.01))
    assert strike_at_delta(steep, 0.01, "forward").reasons == Reason.MODEL_LIMIT
    assert math.isfinite(strike_at_delta(steep, 0.6, "forward").strike)


def test_conventions_that_are_not_known_or_lack_a_spot_are_refused() -> None:
    with pytest.raises(ValueError, match="needs spot="):
        strike_at_delta(smile(0.25), 0.25, "spot")
    with pytest.raises(ValueError, match="unknown delta convention 'pa'"):
        strike_at_delta(smile(0.25), 0.25, "pa")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="unknown at-the-money convention 'spot'"):
        atm_strike(smile(0.25), "spot")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positive number"):
        risk_reversal(smile(0.25), -0.25, "forward")


@pytest.mark.parametrize(("adjusted", "sign"), [(False, 0.5), (True, -0.5)])
def test_the_delta_neutral_straddle_of_a_flat_smile_is_closed(adjusted: bool, sign: float) -> None:
    expected = 100.0 * math.exp(sign * 0.35**2 * 0.75)
    found = atm_strike(flat(0.35, 0.75), "delta_neutral", premium_adjusted=adjusted)
    assert found == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("convention", ["forward", "premium_adjusted"])
def test_the_delta_neutral_straddle_has_no_delta(convention: DeltaConvention) -> None:
    source = smile(0.5)
    strike = atm_strike(source, "delta_neutral", premium_adjusted=convention == "premium_adjusted")
    total = float(delta_of(source, strike, 1, convention)) + float(delta_of(source, strike, -1, convention))
    assert total == pytest.approx(0.0, abs=1e-14)


def test_at_the_money_is_the_forward_by_default() -> None:
    source = smile(0.5)
    assert atm_strike(source) == source.forward
    assert atm_vol(source) == pytest.approx(0.55, rel=1e-14)


def test_a_flat_smile_has_no_risk_reversal_butterfly_or_skew() -> None:
    source = flat(0.4, 0.3)
    assert risk_reversal(source, 0.25, "premium_adjusted") == pytest.approx(0.0, abs=1e-15)
    assert butterfly(source, 0.25, "forward") == pytest.approx(0.0, abs=1e-15)
    assert skew(source) == 0.0


def test_risk_reversal_and_butterfly_come_from_their_two_wings() -> None:
    source = smile(0.25)
    call, put = strike_at_delta(source, 0.1, "forward").iv, strike_at_delta(source, -0.1, "forward").iv
    assert risk_reversal(source, 0.1, "forward") == pytest.approx(call - put, rel=1e-14)
    assert butterfly(source, 0.1, "forward") == pytest.approx((call + put) / 2.0 - 0.55, rel=1e-12)
    neutral = atm_vol(source, "delta_neutral")
    assert butterfly(source, 0.1, "forward", atm="delta_neutral") == pytest.approx((call + put) / 2.0 - neutral)
    assert call < put  # this smile leans to the left


def market_strangle(source: SviSmile) -> float:
    """The one volatility under which both 25-delta strikes and their premium on the smile are made."""

    def miss(sigma: float) -> float:
        one, total = flat(sigma, source.ttm, source.forward), 0.0
        for cp in (1, -1):
            strike = strike_at_delta(one, 0.25 * cp, "forward").strike
            vols = np.array([float(source.iv(strike)), sigma])
            on_smile, on_one = np.asarray(price(source.forward, strike, source.ttm, vols, cp)).tolist()
            total += on_smile - on_one
        return total

    return root(miss, 0.05, 3.0)


@pytest.mark.parametrize(("rho", "gap"), [(-0.8, 1e-3), (-0.2, -1e-5)])
def test_the_market_strangle_parts_from_the_butterfly_as_the_skew_steepens(rho: float, gap: float) -> None:
    source = SviSmile(0.25, 100.0, SviParams(0.01575, 0.045, rho, 0.0, 0.125))
    strangle = market_strangle(source) - atm_vol(source)
    assert butterfly(source, 0.25, "forward") - strangle == pytest.approx(gap, rel=0.3)


def test_a_delta_that_one_wing_lacks_leaves_no_risk_reversal() -> None:
    assert math.isnan(risk_reversal(smile(0.25), 0.9, "premium_adjusted"))


def test_the_skew_is_the_slope_of_sigma_in_k() -> None:
    source, h = smile(0.25), 1e-5
    up, down = (float(source.iv(source.forward * math.exp(k))) for k in (h, -h))
    assert skew(source) == pytest.approx((up - down) / (2.0 * h), rel=1e-8)
