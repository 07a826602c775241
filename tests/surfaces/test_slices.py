"""One expiry's path from quotes to an accepted smile, a lower-order one, or a stated refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.conventions import Reason, Status
from pricer.surfaces import SliceQuotes, SurfaceSlice, SviSmile, check_butterfly, check_calendar, select
from pricer.surfaces.slices import SliceProblem, assess, fit_slice
from tests.surfaces.made import ATM, Array, quotes, recorded_spx, smile, strikes_of

ATM_STRIKE = 60_000.0


def fitted(
    source: SliceQuotes,
    last: SurfaceSlice | None = None,
    below: SviSmile | None = None,
    above: SviSmile | None = None,
) -> SurfaceSlice:
    return fit_slice(SliceProblem(select(source), source.ttm, source.forward, last, below, above))


def only(source: SliceQuotes, rows: list[int]) -> SliceQuotes:
    """The slice with quotes in these rows alone."""
    missing = np.ones(source.strikes.size, dtype=bool)
    missing[rows] = False
    return SliceQuotes(
        source.ttm,
        source.forward,
        source.strikes,
        np.where(missing, math.nan, source.bid_iv),
        np.where(missing, math.nan, source.ask_iv),
    )


def atm_vol(part: SurfaceSlice) -> float:
    assert part.smile is not None
    return float(part.smile.iv(ATM_STRIKE))


def test_a_quoted_slice_is_ok_and_certified() -> None:
    part = fitted(quotes(smile(0.25)))
    assert (part.status, part.reasons, part.accepted) == (Status.OK, Reason(0), True)
    assert part.certificate.ok
    assert part.certificate.kind == "exact"
    assert atm_vol(part) == pytest.approx(ATM, abs=1e-3)
    assert part.diagnostics.inside_spread == 1.0
    assert (part.k_min, part.k_max) == pytest.approx((-2.0 * ATM * 0.5, 2.0 * ATM * 0.5))


def test_F01_a_refused_fit_keeps_the_last_good_smile_at_the_new_forward() -> None:
    last = fitted(quotes(smile(0.25)))
    moved = last.at(61_000.0, 0.2499)
    strikes = strikes_of(0.25)
    nonsense: Array = 0.55 + 0.2 * np.where(np.arange(25) % 2, -1.0, 1.0)
    part = fitted(SliceQuotes(0.2499, 61_000.0, strikes, nonsense - 0.001, nonsense + 0.001), moved)
    assert not part.accepted
    assert part.status is Status.DEGRADED
    assert part.reasons == Reason.FIT_FAILED | Reason.FIT_LAST_GOOD
    assert part.smile == moved.smile
    assert part.diagnostics.path == "refused"
    assert (part.forward, part.ttm) == (61_000.0, 0.2499)


def test_F01_a_refused_fit_without_a_last_smile_has_none() -> None:
    nonsense: Array = 0.55 + 0.2 * np.where(np.arange(25) % 2, -1.0, 1.0)
    part = fitted(SliceQuotes(0.25, 60_000.0, strikes_of(0.25), nonsense - 0.001, nonsense + 0.001))
    assert part.smile is None
    assert (part.status, part.accepted) == (Status.INVALID, False)
    assert part.reasons == Reason.FIT_FAILED


def test_F02_a_curve_far_from_the_quotes_at_the_money_is_implausible() -> None:
    source = quotes(smile(0.25))
    tenfold = np.array(smile(0.25, atm=10 * ATM).params)
    assert not assess(select(source), 0.25, tenfold, "fitted", 0)[1]
    assert assess(select(source), 0.25, np.array(smile(0.25).params), "fitted", 0)[1]


@pytest.mark.parametrize("reach", [0.05, 0.1, 0.15, 0.3, 1.0])
@pytest.mark.parametrize(
    "name", ["jan13_feb21_39dte", "jan24_feb21_28dte_stable", "mar03_apr17_45dte", "mar10_apr17_38dte"]
)
def test_F02_no_degenerate_fit_is_accepted_on_real_slices_in_five_strike_windows(name: str, reach: float) -> None:
    atm, source = recorded_spx()[name]
    near = np.abs(np.log(source.strikes / source.forward)) <= reach
    window = SliceQuotes(source.ttm, source.forward, source.strikes[near], source.bid_iv[near], source.ask_iv[near])
    part = fitted(window)
    assert part.smile is not None
    assert float(part.smile.iv(source.forward)) == pytest.approx(atm, abs=0.01)
    assert part.certificate.ok


def test_F03_quotes_with_arbitrage_give_a_smile_without() -> None:
    noise = np.zeros(25)
    noise[18] = -0.08  # a butterfly that costs less than nothing
    part = fitted(quotes(smile(0.25), noise=noise))
    assert part.smile is not None
    strikes = 60_000.0 * np.exp(np.linspace(-4.0, 4.0, 4001))
    assert np.min(part.smile.density(strikes)) >= 0.0


def test_F04_quotes_that_cross_a_neighbour_give_a_smile_that_does_not() -> None:
    below = smile(0.2)
    part = fitted(quotes(smile(0.25, atm=0.485)), below=below)
    assert part.smile is not None
    assert check_calendar(below, part.smile).ok
    assert part.certificate.min_calendar_gap > 0.0


def test_F05_no_quotes_and_no_last_smile_give_none() -> None:
    part = fitted(only(quotes(smile(0.25)), []))
    assert part.smile is None
    assert part.status is Status.INVALID
    assert part.reasons == Reason.FIT_UNDERDETERMINED | Reason.NO_QUOTE


def test_F05_no_quotes_keep_the_last_good_smile() -> None:
    last = fitted(quotes(smile(0.25)))
    part = fitted(only(quotes(smile(0.25)), []), last)
    assert part.smile == last.smile
    assert not part.accepted
    assert part.reasons == Reason.FIT_UNDERDETERMINED | Reason.NO_QUOTE | Reason.FIT_LAST_GOOD
    assert part.status is Status.DEGRADED


def test_F05_bounds_alone_make_no_smile() -> None:
    source = quotes(smile(0.25))
    part = fitted(SliceQuotes(0.25, 60_000.0, source.strikes, np.full(25, math.nan), source.ask_iv))
    assert part.smile is None
    assert part.diagnostics.bounds == 25


@pytest.mark.parametrize("rows", [[12], [9, 15], [6, 12, 18], [4, 9, 15, 20]])
def test_F05_one_to_four_quotes_move_the_neighbours_shape_and_say_so(rows: list[int]) -> None:
    # A neighbour at another level: its shape is used, its level is not.
    part = fitted(only(quotes(smile(0.25)), rows), below=smile(0.2, atm=0.45))
    assert part.smile is not None
    assert part.accepted
    assert part.status is Status.DEGRADED
    assert part.reasons == Reason.FIT_UNDERDETERMINED
    quoted = np.asarray(part.smile.iv(strikes_of(0.25)[rows]))
    np.testing.assert_allclose(quoted, smile(0.25).iv(strikes_of(0.25)[rows]), atol=0.005)
    assert atm_vol(part) == pytest.approx(ATM, abs=0.01)
    assert check_butterfly(part.smile).ok
    assert check_calendar(smile(0.2, atm=0.45), part.smile).ok


def test_F05_one_quote_alone_makes_a_nearly_flat_smile() -> None:
    part = fitted(only(quotes(smile(0.25)), [12]))
    assert part.smile is not None
    assert part.reasons == Reason.FIT_UNDERDETERMINED
    vols = np.asarray(part.smile.iv(strikes_of(0.25)))
    np.testing.assert_allclose(vols, ATM, atol=0.02)


def test_five_quotes_determine_a_smile() -> None:
    part = fitted(only(quotes(smile(0.25)), [2, 7, 12, 17, 22]))
    assert part.status is Status.OK
    assert atm_vol(part) == pytest.approx(ATM, abs=2e-3)


def test_D02_a_fat_finger_quote_moves_the_smile_by_less_than_a_tenth_of_a_vol_point() -> None:
    source = quotes(smile(0.25))
    before = fitted(source)
    for row in range(25):
        ask = source.ask_iv.copy()
        ask[row] *= 20.0  # what a price of 100 times the fair one comes to in vol, where it has one at all
        after = fitted(SliceQuotes(0.25, 60_000.0, source.strikes, source.bid_iv, ask), before)
        assert after.accepted
        assert abs(atm_vol(after) - atm_vol(before)) < 0.001
        assert after.selection.excluded() == {"OUT_OF_BAND": 1}


@pytest.mark.parametrize("shift", [-0.3, -0.1, 0.1, 0.3])
def test_F06_one_bad_quote_moves_atm_by_less_than_a_tenth_of_a_vol_point(shift: float) -> None:
    before = fitted(quotes(smile(0.25), half_spread=0.005))
    for row in range(25):
        noise = np.zeros(25)
        noise[row] = shift
        after = fitted(quotes(smile(0.25), half_spread=0.005, noise=noise), before)
        assert after.accepted
        assert abs(atm_vol(after) - atm_vol(before)) < 0.001


def test_a_slice_shifts_to_another_forward_and_time_with_its_smile() -> None:
    part = fitted(quotes(smile(0.25)))
    moved = part.at(66_000.0, 0.2)
    assert moved.smile is not None
    assert part.smile is not None
    assert float(moved.smile.iv(66_000.0)) == pytest.approx(float(part.smile.iv(60_000.0)))
    assert fitted(only(quotes(smile(0.25)), [])).at(66_000.0, 0.2).smile is None
