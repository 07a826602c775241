"""The surface: a value that is updated slice by slice, and never publishes arbitrage."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from pricer.conventions import Reason, Status
from pricer.surfaces import SliceQuotes, VolSurface
from tests.surfaces.made import TTMS, Array, audit, chain, quotes, recorded_btc, recorded_eth, smile, strikes_of


def shifted(source: SliceQuotes, by: float) -> SliceQuotes:
    """The same quotes at another level of vol."""
    return SliceQuotes(
        source.ttm,
        source.forward,
        source.strikes,
        source.bid_iv + by,
        source.ask_iv + by,
        source.forwards,
        cp=source.cp,
    )


def unquoted(source: SliceQuotes) -> SliceQuotes:
    none = np.full(source.strikes.size, math.nan)
    return SliceQuotes(source.ttm, source.forward, source.strikes, none, none)


def params_of(surface: VolSurface) -> list[Array]:
    return [np.array(part.svi.params) for part in surface.slices if part.svi is not None]


@pytest.fixture(scope="module")
def surface() -> VolSurface:
    return VolSurface.fit(chain(seed=1))


def test_a_noisy_chain_is_fitted_inside_its_spreads_without_arbitrage(surface: VolSurface) -> None:
    assert surface.certificate.ok
    assert surface.certificate.kind == "exact"
    smallest_g, smallest_gap = audit(surface)
    assert smallest_g > 0.0
    assert smallest_gap > 0.0
    assert surface.diagnostics.inside_spread > 0.95
    assert [part.status for part in surface.slices] == [Status.OK] * len(TTMS)


def test_slices_stand_in_the_order_of_their_expiries() -> None:
    mixed = VolSurface.fit(chain()[::-1])
    assert [part.ttm for part in mixed.slices] == list(TTMS)


@pytest.mark.parametrize("seed", range(4))
def test_F04_ticks_of_all_slices_never_publish_arbitrage(seed: int) -> None:
    random = np.random.default_rng(seed)
    surface = VolSurface.fit(chain(seed=seed, noise=0.004))
    inside = []
    for _ in range(40):
        index = int(random.integers(len(TTMS)))
        noisy = quotes(smile(TTMS[index]), noise=random.normal(0.0, 0.004, 25))
        # Prices move on a grid of their own: vols come rounded too.
        rounded = SliceQuotes(
            noisy.ttm,
            noisy.forward,
            noisy.strikes,
            np.floor(noisy.bid_iv * 500) / 500,
            np.ceil(noisy.ask_iv * 500) / 500,
        )
        surface = surface.updated(index, rounded)
        assert surface.certificate.ok
        inside.append(surface.slices[index].diagnostics.inside_spread)
        assert surface.slices[index].accepted
    assert np.mean(inside) > 0.9
    assert min(audit(surface)) > 0.0


def test_an_update_touches_one_slice_and_leaves_the_old_surface_alone(surface: VolSurface) -> None:
    before = params_of(surface)
    updated = surface.updated(3, shifted(chain(seed=1)[3], 0.002))
    assert updated.version == surface.version + 1
    assert [np.array_equal(a, b) for a, b in zip(before, params_of(updated), strict=True)] == [
        index != 3 for index in range(len(TTMS))
    ]
    assert [np.array_equal(a, b) for a, b in zip(before, params_of(surface), strict=True)] == [True] * len(TTMS)
    assert updated.slices[0] is surface.slices[0]


def test_a_surface_cannot_be_changed(surface: VolSurface) -> None:
    with pytest.raises(AttributeError):
        surface.version = 7  # type: ignore[misc]
    with pytest.raises(AttributeError):
        surface.slices[0].accepted = False  # type: ignore[misc]


def test_F13_the_same_input_gives_the_same_bytes() -> None:
    def run() -> list[bytes]:
        made = VolSurface.fit(chain(seed=3))
        for index in (2, 5, 2):
            made = made.updated(index, shifted(chain(seed=4)[index], 0.001))
        return [params.tobytes() for params in params_of(made)]

    assert run() == run()


def test_F01_a_refused_update_keeps_the_slice_and_the_certificate(surface: VolSurface) -> None:
    source = chain(seed=1)[3]
    jagged = 0.3 * (-1.0) ** np.arange(25)
    refused = surface.updated(
        3, SliceQuotes(source.ttm, 61_000.0, source.strikes, source.bid_iv + jagged, source.ask_iv + jagged)
    )
    part = refused.slices[3]
    assert not part.accepted
    assert part.reasons == Reason.FIT_FAILED | Reason.FIT_LAST_GOOD
    assert part.status is Status.DEGRADED
    assert part.svi is not None
    assert part.svi.params == surface.slices[3].svi.params  # type: ignore[union-attr]
    assert part.svi.forward == 61_000.0
    assert refused.certificate.ok
    assert refused.updated(3, source).slices[3].accepted


@pytest.mark.parametrize("by", [0.3, -0.2])
def test_a_jump_of_the_whole_market_is_followed_in_one_step(surface: VolSurface, by: float) -> None:
    moved = surface.updated_many({i: shifted(source, by) for i, source in enumerate(chain(seed=1))})
    assert all(part.accepted for part in moved.slices)
    for part in moved.slices:
        assert part.smile is not None
        assert float(part.smile.iv(part.forward)) == pytest.approx(0.55 + by, abs=0.01)
    assert min(audit(moved)) > 0.0


def test_F14_a_jump_that_comes_slice_by_slice_is_followed_after_a_round(surface: VolSurface) -> None:
    for _ in range(2):
        for i in reversed(range(len(TTMS))):
            surface = surface.updated(i, shifted(chain(seed=1)[i], 0.3))
            assert surface.certificate.ok
    assert all(part.accepted for part in surface.slices)


def test_F05_an_underdetermined_slice_follows_its_neighbours_and_never_holds_them(surface: VolSurface) -> None:
    sparse = unquoted(chain(seed=1)[4])
    held = surface.updated(4, sparse)
    assert held.slices[4].reasons == Reason.FIT_UNDERDETERMINED | Reason.NO_QUOTE | Reason.FIT_LAST_GOOD
    assert held.smiles[4] is not None
    assert held.certificate.ok
    assert not held.slices[4].determined


def test_F05_neighbouring_underdetermined_slices_do_not_cross_each_other() -> None:
    sources = chain(seed=1)
    keep = np.arange(25) == 12
    for i, by in ((3, 0.10), (4, -0.02), (5, 0.02)):
        moved = shifted(sources[i], by)
        sources[i] = SliceQuotes(
            moved.ttm,
            moved.forward,
            moved.strikes,
            np.where(keep, moved.bid_iv, math.nan),
            np.where(keep, moved.ask_iv, math.nan),
        )
    sparse = VolSurface.fit(sources)
    assert all(found is not None for found in sparse.smiles)
    assert sparse.certificate.ok
    again = VolSurface.fit(chain(seed=1)).updated_many({i: sources[i] for i in (3, 4, 5)})
    assert again.certificate.ok
    assert min(audit(again)) > 0.0


def test_F05_a_slice_that_lost_its_quotes_moves_out_of_its_neighbours_way(surface: VolSurface) -> None:
    made = surface.updated(4, unquoted(chain(seed=1)[4]))
    for _ in range(2):
        made = made.updated_many({i: shifted(chain(seed=1)[i], 0.3) for i in range(len(TTMS)) if i != 4})
    part = made.slices[4]
    assert not part.accepted
    assert part.reasons == (Reason.FIT_UNDERDETERMINED | Reason.NO_QUOTE | Reason.FIT_LAST_GOOD | Reason.ARB_REPAIRED)
    assert made.certificate.ok
    assert min(audit(made)) > 0.0


def test_F05_a_slice_of_a_chain_without_quotes_has_no_smile_and_the_others_do() -> None:
    sources = chain(seed=1)
    sources[2] = unquoted(sources[2])
    partly = VolSurface.fit(sources)
    assert partly.smiles[2] is None
    assert partly.slices[2].status is Status.INVALID
    assert all(found is not None for i, found in enumerate(partly.smiles) if i != 2)
    assert partly.certificate.ok
    assert math.isfinite(partly.iv(60_000.0, TTMS[2]))
    quoted = partly.updated(2, chain(seed=1)[2])
    assert quoted.slices[2].accepted
    assert quoted.certificate.ok


def test_a_surface_of_nothing_says_so() -> None:
    empty = VolSurface.fit([])
    assert empty.certificate.ok
    assert empty.diagnostics.mids == 0
    assert math.isnan(empty.iv(60_000.0, 0.1))
    assert empty.iv_status(60_000.0, 0.1)[0] is Status.INVALID
    assert math.isnan(empty.forward(0.1))


def test_N01_a_new_expiry_is_inserted_at_its_place(surface: VolSurface) -> None:
    more = surface.inserted(quotes(smile(0.35)))
    assert [part.ttm for part in more.slices] == sorted([*TTMS, 0.35])
    assert more.slices[5].accepted
    assert more.certificate.ok
    with pytest.raises(ValueError, match="already"):
        more.inserted(quotes(smile(0.35)))


def test_F10_an_expiry_leaves_without_moving_the_others(surface: VolSurface) -> None:
    rest = surface.removed(0)
    assert [part.ttm for part in rest.slices] == list(TTMS[1:])
    assert [found for found in rest.smiles] == list(surface.smiles[1:])
    assert rest.certificate.ok
    assert math.isnan(rest.slices[0].certificate.min_calendar_gap)


def test_time_and_forwards_move_the_surface_and_renew_its_certificates(surface: VolSurface) -> None:
    later = surface.at([ttm - 0.005 for ttm in TTMS], [61_000.0] * len(TTMS))
    for before, after in zip(surface.slices, later.slices, strict=True):
        assert before.smile is not None
        assert after.smile is not None
        assert float(after.smile.iv(61_000.0)) == pytest.approx(float(before.smile.iv(60_000.0)), rel=1e-12)
    assert later.certificate.calendar
    assert later.certificate.min_calendar_gap != surface.certificate.min_calendar_gap


def test_between_expiries_total_variance_is_linear_at_equal_k(surface: VolSurface) -> None:
    k = np.linspace(-0.5, 0.5, 11)
    low, high = surface.total_variance(k, 0.17), surface.total_variance(k, 0.25)
    np.testing.assert_allclose(surface.total_variance(k, 0.21), 0.5 * (low + high), rtol=1e-12)
    assert surface.iv(60_000.0, 0.21) == pytest.approx(math.sqrt(float(surface.total_variance(0.0, 0.21)) / 0.21))


def test_at_an_expiry_the_surface_is_its_smile(surface: VolSurface) -> None:
    strikes = strikes_of(0.25)
    found = surface.smiles[4]
    assert found is not None
    np.testing.assert_allclose(surface.iv(strikes, 0.25), found.iv(strikes), rtol=1e-12)
    assert surface.iv_status(60_000.0, 0.25) == (Status.OK, Reason(0))


@pytest.mark.parametrize(("strike", "ttm"), [(60_000.0, 0.005), (60_000.0, 1.5), (400_000.0, 0.25), (1_000.0, 0.2)])
def test_F08_outside_the_quotes_the_surface_is_finite_and_says_extrapolated(
    surface: VolSurface, strike: float, ttm: float
) -> None:
    assert math.isfinite(surface.iv(strike, ttm))
    status, reasons = surface.iv_status(strike, ttm)
    assert status is Status.DEGRADED
    assert Reason.EXTRAPOLATED in reasons


@pytest.mark.parametrize(("strike", "ttm"), [(-1.0, 0.25), (0.0, 0.25), (60_000.0, 0.0), (60_000.0, -1.0)])
def test_impossible_places_have_no_volatility(surface: VolSurface, strike: float, ttm: float) -> None:
    assert math.isnan(surface.iv(strike, ttm))
    assert surface.iv_status(strike, ttm)[0] is Status.INVALID


def test_the_forward_is_log_linear_between_expiries() -> None:
    near, far = quotes(smile(0.1, forward=60_000.0)), quotes(smile(0.3, forward=66_000.0))
    made = VolSurface.fit([near, far])
    assert made.forward(0.2) == pytest.approx(math.sqrt(60_000.0 * 66_000.0))
    assert (made.forward(0.01), made.forward(2.0)) == pytest.approx((60_000.0, 66_000.0))


def test_unknown_models_and_constraints_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'sabre'"):
        VolSurface.fit([], model="sabre")
    with pytest.raises(ValueError, match="'soft'"):
        VolSurface.fit([], no_arbitrage="soft")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="same ttm"):
        VolSurface.fit([quotes(smile(0.1)), quotes(smile(0.1))])


def test_excluded_quotes_are_counted_with_their_reasons() -> None:
    source = chain()[3]
    bid, ask = source.bid_iv.copy(), source.ask_iv.copy()
    bid[3], ask[3] = ask[3], bid[3]
    bid[5] = ask[5] = math.nan
    made = VolSurface.fit([SliceQuotes(source.ttm, source.forward, source.strikes, bid, ask)])
    assert made.diagnostics.excluded == {"NO_QUOTE": 1, "CROSSED": 1}
    assert made.diagnostics.paths == {"fitted": 1}
    assert made.diagnostics.mids == 23


def test_the_recorded_btc_chain_is_fitted_inside_its_spreads_without_arbitrage() -> None:
    made = VolSurface.fit(recorded_btc())
    assert made.certificate.ok
    assert min(audit(made)) > 0.0
    assert made.diagnostics.inside_spread >= 0.95
    assert all(part.accepted for part in made.slices)


def test_the_recorded_eth_chain_of_eleven_expiries_is_fitted_without_arbitrage() -> None:
    made = VolSurface.fit(recorded_eth())
    assert made.certificate.ok
    assert min(audit(made)) > 0.0
    assert len(made.slices) == 11
    assert all(part.accepted for part in made.slices)
    assert made.diagnostics.inside_spread >= 0.92


def test_the_recorded_btc_chain_ticks_without_arbitrage_or_refusal() -> None:
    random = np.random.default_rng(1)
    sources = recorded_btc()
    made = VolSurface.fit(sources)
    for step in range(70):
        i = step % len(sources)
        noise = random.normal(0.0, 0.002, sources[i].strikes.size)
        noisy = SliceQuotes(
            sources[i].ttm,
            sources[i].forward,
            sources[i].strikes,
            sources[i].bid_iv + noise,
            sources[i].ask_iv + noise,
            forwards=sources[i].forwards,
            cp=sources[i].cp,
        )
        made = made.updated(i, noisy)
        assert made.certificate.ok
        assert made.slices[i].accepted
    assert min(audit(made)) > 0.0


@pytest.mark.parametrize("vol", [0.05, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("ttms", [(1.0,), (0.1, 0.3), (0.003, 0.01, 0.05, 0.2, 1.0)], ids=len)
def test_a_flat_market_has_a_flat_surface(vol: float, ttms: tuple[float, ...]) -> None:
    def flat_quotes(ttm: float) -> SliceQuotes:
        strikes = 100.0 * np.exp(np.linspace(-2.0, 2.0, 21) * vol * math.sqrt(ttm))
        return SliceQuotes(ttm, 100.0, strikes, np.full(21, 0.99 * vol), np.full(21, 1.01 * vol))

    made = VolSurface.fit([flat_quotes(ttm) for ttm in ttms])
    assert all(part.accepted for part in made.slices)
    assert made.certificate.ok
    assert made.diagnostics.rmse < 0.1


def test_old_quotes_alone_are_met_as_well_as_young_ones() -> None:
    young = chain(seed=1)[:4]
    for age in (300.0, 1e4, 1e6):
        old = VolSurface.fit([dataclasses.replace(source, ages=np.full(25, age)) for source in young])
        assert old.diagnostics.rmse == pytest.approx(VolSurface.fit(young).diagnostics.rmse, rel=1e-9)


def test_slices_count_from_the_end_as_everywhere_in_python() -> None:
    surface = VolSurface.fit(chain(seed=1)[:3])
    news = quotes(smile(TTMS[2], atm=0.5))
    last = surface.updated_many({-1: news})
    assert last.smiles == surface.updated(2, news).smiles
    assert last.certificate.ok
    assert min(audit(last)) > 0.0
    assert surface.removed(-1).certificate == surface.removed(2).certificate
    with pytest.raises(IndexError):
        surface.updated(3, news)


def test_times_to_maturity_that_leave_their_order_are_refused() -> None:
    surface = VolSurface.fit(chain(seed=1)[:3])
    with pytest.raises(ValueError, match=r"0\.5"):
        surface.updated(0, quotes(smile(0.5)))
    with pytest.raises(ValueError, match="rise"):
        surface.at([0.1, 0.05, 0.2], [60_000.0] * 3)
