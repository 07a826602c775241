"""The eSSVI surface of a whole chain: its objective, what it finds, and that every result is free of arbitrage."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pricer.surfaces import EssviSmile, Selection, SliceQuotes, check_butterfly, check_calendar, select
from pricer.surfaces import essvi_fit as fit
from pricer.surfaces.essvi_fit import fit_coordinates, fit_essvi, raw_chain, shape_of, update_slice
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT
from pricer.surfaces.ssvi import butterfly_essvi, calendar_essvi
from pricer.surfaces.svi_free import robust_loss
from tests.surfaces.made import TTMS, chain, recorded_btc, recorded_eth

Array = npt.NDArray[np.float64]


def selected(slices: Sequence[SliceQuotes]) -> tuple[list[Selection], list[float], list[float]]:
    """The arguments of `fit_essvi`, in order of ttm."""
    slices = sorted(slices, key=lambda quotes: quotes.ttm)
    return [select(quotes) for quotes in slices], [quotes.ttm for quotes in slices], [q.forward for q in slices]


def assert_free_of_arbitrage(smiles: Sequence[EssviSmile]) -> None:
    """By the sufficient conditions, by the exact ones, and by looking closely."""
    k = np.linspace(-4.0, 4.0, 8001)
    assert all(butterfly_essvi(smile).ok and check_butterfly(smile.svi()).ok for smile in smiles)
    assert all(float(np.min(smile.durrleman_g(k))) > 0.0 for smile in smiles)
    for lower, upper in itertools.pairwise(smiles):
        assert calendar_essvi(lower, upper).ok
        assert check_calendar(lower.svi(), upper.svi()).ok
        assert np.all(np.asarray(upper.total_variance(k)) > np.asarray(lower.total_variance(k)))


def inside_share(smiles: Sequence[EssviSmile], selections: Sequence[Selection]) -> float:
    """The share of mids whose bid and ask hold the smile."""
    inside, mids = 0, 0
    for smile, selection in zip(smiles, selections, strict=True):
        rows = selection.observations[np.isfinite(selection.observations).all(axis=1)]
        sigma = np.sqrt(np.asarray(smile.total_variance(rows[:, 0])) / smile.ttm)
        inside += int(np.count_nonzero((sigma >= rows[:, LOW]) & (sigma <= rows[:, HIGH])))
        mids += len(rows)
    return inside / mids


def random_surface(random: np.random.Generator, ttms: Sequence[float]) -> list[EssviSmile]:
    """An eSSVI surface like a real one: shape and level wander with expiry, within the conditions."""
    x = np.empty((len(ttms), 3))
    bend, skew = random.uniform(-1.0, 0.2), random.uniform(-1.5, 1.0)
    half = 0.5 * math.log(ttms[0])
    # ln u, ln v, ln 1/φ of a smile whose vol at the money is near the drawn one.
    level = math.log(random.uniform(0.15, 1.2)) + half
    x[0] = level + bend + 0.5 * skew, level + bend - 0.5 * skew, level
    for i in range(1, len(ttms)):
        x[i] = x[i - 1] + 0.5 * math.log(ttms[i] / ttms[i - 1]) * random.uniform(0.5, 1.5, 3)
    x[:, :2] = np.minimum(x[:, :2], math.log(3.9) - 1e-3 * np.arange(len(ttms))[::-1, None])
    x[:, 2] = np.maximum(x[:, 2], x[:, :2].max(axis=1) - math.log(3.9) + 1e-3)
    numbers = np.empty_like(x)
    fit.essvi_chain(x, numbers)
    return [EssviSmile(ttm, 100.0, *row) for ttm, row in zip(ttms, numbers.tolist(), strict=True)]


def quotes_of(smile: EssviSmile, half_spread: float = 0.005, count: int = 25) -> SliceQuotes:
    sd = math.sqrt(smile.theta)
    strikes = smile.forward * np.exp(np.linspace(-2.0 * sd, 2.0 * sd, count))
    mid = np.asarray(smile.iv(strikes))
    return SliceQuotes(smile.ttm, smile.forward, strikes, mid - half_spread, mid + half_spread)


def with_bounds(selection: Selection) -> Array:
    """Its observations with every fourth one made a bound, and weights."""
    observations = selection.observations.copy()
    observations[::8, LOW] = -math.inf
    observations[4::8, HIGH] = math.inf
    observations[:, WEIGHT] = np.linspace(0.5, 1.0, len(observations))
    return observations


def system_of(observations: Array, ttm: float, x: Array) -> tuple[float, Array]:
    system = np.empty(9)
    x0, x1, x2 = x.tolist()
    return fit._slice_loss(fit._columns(observations), 0, len(observations), ttm, x0, x1, x2, system), system


X = np.array([-2.1, -1.7, -1.9])


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.6])  # near the quotes, and further than the robust loss trusts
def test_the_objective_is_the_robust_loss_of_every_fit(shift: float) -> None:
    observations, x = with_bounds(select(chain(1)[2])), X + shift
    raw = np.empty((1, 5))
    raw_chain(x[None, :], raw)
    loss, _ = system_of(observations, 0.08, x)
    assert loss == pytest.approx(robust_loss(observations, 0.08, raw[0]) * observations[:, WEIGHT].sum(), rel=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.6])
def test_the_gradient_is_that_of_the_objective(shift: float) -> None:
    observations, x = with_bounds(select(chain(1)[2])), X + shift
    _, system = system_of(observations, 0.08, x)
    h = 1e-6
    for c in range(3):
        step = h * np.eye(3)[c]
        slope = (system_of(observations, 0.08, x + step)[0] - system_of(observations, 0.08, x - step)[0]) / (2.0 * h)
        assert system[c] == pytest.approx(slope, rel=1e-5, abs=1e-4)


def test_the_matrix_is_that_of_squares_near_the_quotes() -> None:
    # Where every residual is below 1 the loss is a sum of squares, and at no residual Gauss-Newton is Newton.
    made = EssviSmile(0.08, 100.0, 0.03, -0.2, 0.2)
    x = np.log([0.2 * 0.8, 0.2 * 1.2, 0.03 / 0.2])
    observations = select(quotes_of(made)).observations
    _, system = system_of(observations, 0.08, x)
    h = 1e-5
    for c in range(3):
        step = h * np.eye(3)[c]
        column = (system_of(observations, 0.08, x + step)[1] - system_of(observations, 0.08, x - step)[1])[:3] / (2 * h)
        for r in range(3):
            found = system[3 + [0, 1, 3][max(r, c)] + min(r, c)]
            assert found == pytest.approx(column[r], rel=1e-4)


def test_raw_parameters_are_those_of_the_smile() -> None:
    selections, ttms, forwards = selected(chain(2))
    x = fit_coordinates(selections, ttms)
    raw = np.empty((len(ttms), 5))
    raw_chain(x, raw)
    for row, smile in zip(raw, fit_essvi(selections, ttms, forwards), strict=True):
        assert smile.svi().params == pytest.approx(row, rel=1e-12, abs=1e-15)


def test_an_exact_surface_is_recovered() -> None:
    random = np.random.default_rng(31)
    for _ in range(60):
        made = random_surface(random, TTMS)
        found = fit_essvi(*selected([quotes_of(smile) for smile in made]))
        for smile, fitted in zip(made, found, strict=True):
            k = np.linspace(-2.0, 2.0, 21) * math.sqrt(smile.theta)
            sigma, wanted = (np.sqrt(np.asarray(one.total_variance(k)) / one.ttm) for one in (fitted, smile))
            np.testing.assert_allclose(sigma, wanted, atol=0.1 * 0.005)  # a tenth of a half-spread
        assert_free_of_arbitrage(found)


def test_quotes_that_cross_give_a_surface_that_does_not() -> None:
    # The longer expiry is quoted far below the shorter one, at every strike.
    crossed = [quotes_of(EssviSmile(ttm, 100.0, vol * vol * ttm, -0.3, 0.8 * vol * math.sqrt(ttm)))
               for ttm, vol in ((0.1, 0.9), (0.12, 0.5), (0.5, 0.6))]  # fmt: skip
    found = fit_essvi(*selected(crossed))
    assert_free_of_arbitrage(found)
    assert found[1].theta - found[0].theta < 0.02 * found[0].theta


def test_the_recorded_btc_chain_is_fitted_free_of_arbitrage() -> None:
    selections, ttms, forwards = selected(recorded_btc())
    found = fit_essvi(selections, ttms, forwards)
    assert_free_of_arbitrage(found)
    # 85.5 %. Three parameters are the limit, not the constraints: none of them is near.
    assert inside_share(found, selections) > 0.84
    assert np.diff(fit_coordinates(selections, ttms), axis=0).min() > 0.1


def test_the_recorded_eth_chain_is_fitted_free_of_arbitrage() -> None:
    selections, ttms, forwards = selected(recorded_eth())
    found = fit_essvi(selections, ttms, forwards)
    assert_free_of_arbitrage(found)
    assert inside_share(found, selections) > 0.62  # 63.8 %


def test_the_same_quotes_give_the_same_bytes() -> None:
    arguments = selected(chain(5))
    first, second = (fit_coordinates(*arguments[:2]) for _ in range(2))
    assert first.tobytes() == second.tobytes()


def test_F06_an_absurd_quote_hardly_moves_the_money() -> None:
    slices = chain(6)
    base = fit_essvi(*selected(slices))
    for row in (3, 12, 20):
        bid, ask = slices[4].bid_iv.copy(), slices[4].ask_iv.copy()
        bid[row] *= 1.8
        ask[row] *= 1.8
        bad = [*slices[:4], replace(slices[4], bid_iv=bid, ask_iv=ask), *slices[5:]]
        moved = fit_essvi(*selected(bad))
        for before, after in zip(base, moved, strict=True):
            assert float(after.iv(after.forward)) == pytest.approx(float(before.iv(before.forward)), abs=1e-3)


def thinned(quotes: SliceQuotes, rows: Sequence[int]) -> SliceQuotes:
    return SliceQuotes(quotes.ttm, quotes.forward, quotes.strikes[list(rows)], quotes.bid_iv[list(rows)],
                       quotes.ask_iv[list(rows)])  # fmt: skip


@pytest.mark.parametrize("rows", [(), (12,), (8, 16), (4, 12, 20)], ids=len)
@pytest.mark.parametrize("at", [0, 3, len(TTMS) - 1])
def test_a_slice_with_few_quotes_follows_its_neighbours(at: int, rows: tuple[int, ...]) -> None:
    slices = chain()
    full = fit_essvi(*selected(slices))
    slices[at] = thinned(slices[at], rows)
    found = fit_essvi(*selected(slices))
    assert_free_of_arbitrage(found)
    # The market's smiles are much alike in standard deviations: at one of them the slice is right to a vol point.
    k = np.linspace(-1.0, 1.0, 5) * math.sqrt(full[at].theta)
    sigma, wanted = (np.sqrt(np.asarray(one.total_variance(k)) / one.ttm) for one in (found[at], full[at]))
    np.testing.assert_allclose(sigma, wanted, atol=0.01)
    if len(rows) < 3:
        others = [one.params for i, one in enumerate(found) if i != at]
        alone = fit_essvi(*selected([quotes for i, quotes in enumerate(slices) if i != at]))
        assert others == [one.params for one in alone]  # it constrains nobody


def test_one_quote_moves_the_level_and_two_the_skew() -> None:
    slices = chain()
    for rows, up in (((12,), (0.01,)), ((8, 16), (0.01, -0.01))):
        few = thinned(slices[3], rows)
        few = replace(few, bid_iv=few.bid_iv + np.array(up), ask_iv=few.ask_iv + np.array(up))
        found = fit_essvi(*selected([*slices[:3], few, *slices[4:]]))
        mid = 0.5 * (few.bid_iv + few.ask_iv)
        np.testing.assert_allclose(found[3].iv(few.strikes), mid, atol=0.002)
        assert_free_of_arbitrage(found)


def test_few_quotes_are_enough_for_a_surface() -> None:
    only = thinned(chain()[3], (12,))
    (smile,) = fit_essvi(*selected([only]))
    assert float(smile.iv(only.strikes[0])) == pytest.approx(0.5 * (only.bid_iv[0] + only.ask_iv[0]), abs=1e-3)
    assert_free_of_arbitrage(fit_essvi(*selected([thinned(quotes, (12,)) for quotes in chain()])))


def test_what_cannot_be_fitted_is_refused_by_name() -> None:
    selections, ttms, forwards = selected(chain())
    with pytest.raises(ValueError, match="ttms must be positive and rise"):
        fit_essvi(selections, ttms[::-1], forwards)
    with pytest.raises(ValueError, match="7 ttms for 8 selections"):
        fit_essvi(selections, ttms[1:], forwards)
    with pytest.raises(ValueError, match="no two-sided observation"):
        fit_essvi(*selected([thinned(quotes, ()) for quotes in chain()]))


FREE = np.zeros(2)  # no stiffness
NONE = np.empty(0)


def test_a_slice_refitted_between_its_neighbours_stays_at_its_optimum() -> None:
    selections, ttms, _ = selected(chain(7))
    x = fit_coordinates(selections, ttms)
    for i in range(1, len(ttms) - 1):
        again = x[i].copy()
        update_slice(selections[i].observations, ttms[i], x[i - 1], x[i + 1], shape_of(x[i]), FREE, again)
        np.testing.assert_allclose(again, x[i], atol=2e-3)


def test_a_slice_follows_its_quotes_as_far_as_its_neighbours_let_it() -> None:
    selections, ttms, _ = selected(chain(8))
    x = fit_coordinates(selections, ttms)
    for shift in (-0.3, -0.01, 0.01, 0.3):
        observations = selections[4].observations.copy()
        observations[:, [LOW, HIGH]] += shift
        moved = x[4].copy()
        update_slice(observations, ttms[4], x[3], x[5], shape_of(x[4]), FREE, moved)
        assert np.all(moved > x[3])
        assert np.all(moved < x[5])
        assert system_of(observations, ttms[4], moved)[0] < system_of(observations, ttms[4], x[4])[0]


@pytest.mark.parametrize("start", [-9.0, 0.0, 9.0])
@pytest.mark.parametrize("sides", ["", "below", "above", "below above"])
def test_a_slice_comes_inside_from_any_start(start: float, sides: str) -> None:
    selections, ttms, _ = selected(chain(9))
    x = fit_coordinates(selections, ttms)
    below, above = (x[3] if "below" in sides else NONE), (x[5] if "above" in sides else NONE)
    found = np.full(3, start)
    update_slice(selections[4].observations, ttms[4], below, above, shape_of(x[4]), FREE, found)
    np.testing.assert_allclose(found, x[4], atol=0.01)
