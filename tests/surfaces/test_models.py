"""`VolSurface.fit(model=...)`: what each model promises, and how a surface keeps it through its life."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pricer.conventions import NO_REASON, Reason, Status
from pricer.surfaces import SabrSmile, SliceQuotes, Smile, SviLocalSmile, SviSmile, VolSurface, check_butterfly, select
from pricer.surfaces import models as registry
from pricer.surfaces.models import MODELS, Model, diagnose
from pricer.surfaces.slices import SliceProblem, assess
from tests.surfaces.made import TTMS, audit, chain, quotes, recorded_btc, recorded_eth, smile, strikes_of

HARD = [name for name, model in MODELS.items() if model.no_arbitrage == "hard"]
CHECKED = [name for name, model in MODELS.items() if model.no_arbitrage == "check"]


def fit(name: str, sources: list[SliceQuotes]) -> VolSurface:
    return VolSurface.fit(sources, model=name, no_arbitrage=MODELS[name].no_arbitrage)


def unquoted(source: SliceQuotes) -> SliceQuotes:
    none = np.full(source.strikes.size, math.nan)
    return SliceQuotes(source.ttm, source.forward, source.strikes, none, none)


@pytest.fixture(params=sorted(MODELS), scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def surface(name: str) -> VolSurface:
    return fit(name, chain(seed=1))


@pytest.mark.parametrize("checked", CHECKED)
def test_who_asks_a_checked_model_for_hard_is_told_which_models_can(checked: str) -> None:
    with pytest.raises(ValueError, match=r"'hard' have 'svi', 'svi_local'"):
        VolSurface.fit([], model=checked)


def test_unknown_names_and_promises_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'sabr'"):  # among those that there are
        VolSurface.fit([], model="heston")
    with pytest.raises(ValueError, match="'check' have 'sabr'"):
        VolSurface.fit([], model="svi", no_arbitrage="check")


def test_every_model_meets_a_noisy_chain_with_smiles_of_its_own(name: str, surface: VolSurface) -> None:
    assert surface.model == name
    assert surface.diagnostics.mids == 25 * len(TTMS)
    assert surface.diagnostics.inside_spread > 0.85
    assert len({type(found) for found in surface.smiles}) == 1
    for ttm, found in zip(TTMS, surface.smiles, strict=True):
        assert found is not None
        assert found.ttm == ttm
        assert float(found.iv(60_000.0)) == pytest.approx(0.55, abs=0.01)


def test_a_slice_is_ok_exactly_where_its_certificate_is(surface: VolSurface) -> None:
    for part in surface.slices:
        assert (part.status is Status.OK) == part.certificate.ok
        assert bool(part.reasons & Reason.MODEL_LIMIT) == (not part.certificate.ok)


@pytest.mark.parametrize("hard", HARD)
def test_hard_models_are_free_of_arbitrage_on_recorded_chains(hard: str) -> None:
    for recorded in (recorded_btc(), recorded_eth()):
        found = fit(hard, recorded)
        assert found.certificate.ok
        assert found.certificate.kind == ("sufficient" if hard == "essvi" else "exact")
        smallest_g, smallest_gap = audit(found)
        assert smallest_g > 0.0
        assert smallest_gap > 0.0


def test_local_terms_put_more_recorded_quotes_inside_bid_and_ask() -> None:
    plain, local = (fit(model, recorded_eth()).diagnostics for model in ("svi", "svi_local"))
    assert local.mids == plain.mids
    assert local.inside_spread > plain.inside_spread + 0.02
    assert local.rmse < plain.rmse


@pytest.mark.parametrize("checked", CHECKED)
def test_checked_models_say_where_a_recorded_chain_is_not_free_of_arbitrage(checked: str) -> None:
    found = fit(checked, recorded_eth())
    k = np.linspace(-4.0, 4.0, 1601)
    lower: Smile | None = None
    for part in found.slices:
        if part.smile is None:
            continue
        evidence = part.certificate
        g = np.asarray(part.smile.durrleman_g(k))
        assert evidence.butterfly == bool(np.all(g >= 0.0))
        if lower is not None:
            gap = np.asarray(part.smile.total_variance(k)) - np.asarray(lower.total_variance(k))
            assert evidence.calendar == bool(np.all(gap >= 0.0))
            assert evidence.min_calendar_gap == pytest.approx(float(np.min(gap)), nan_ok=True)
        if not evidence.ok:
            assert part.status is Status.DEGRADED
            assert part.reasons & Reason.MODEL_LIMIT
        lower = part.smile


def test_an_update_keeps_the_model_and_shares_what_it_does_not_touch(name: str, surface: VolSurface) -> None:
    updated = surface.updated(3, quotes(smile(TTMS[3], atm=0.56)))
    assert (updated.model, updated.version) == (name, surface.version + 1)
    found, before = updated.slices[3], surface.slices[3]
    assert found.smile is not None
    assert before.smile is not None
    assert type(found.smile) is type(before.smile)
    assert float(found.smile.iv(60_000.0)) == pytest.approx(0.56, abs=5e-3)
    if registry.MODELS[name].fit_chain is None:  # a joint model moves all of them
        assert updated.slices[0] is surface.slices[0]
        assert updated.slices[6].smile == surface.slices[6].smile


def test_an_expiry_can_be_inserted_and_removed_again(name: str, surface: VolSurface) -> None:
    more = surface.inserted(quotes(smile(0.35)))
    assert more.model == name
    assert [part.ttm for part in more.slices] == sorted([*TTMS, 0.35])
    assert more.slices[5].smile is not None
    assert float(more.iv(60_000.0, 0.35)) == pytest.approx(0.55, abs=5e-3)
    fewer = more.removed(5)
    assert fewer.model == name
    for i, part in enumerate(fewer.slices):
        assert part.smile is not None
        again = registry.butterfly(part.smile)
        assert part.certificate.butterfly == again.butterfly
        lower = fewer.slices[i - 1].smile if i else None
        if lower is not None:
            pair = registry.calendar(lower, part.smile)
            assert part.certificate.calendar == pair.calendar
            assert part.certificate.min_calendar_gap == pytest.approx(pair.min_calendar_gap, nan_ok=True)


def test_time_and_forwards_move_every_model(name: str, surface: VolSurface) -> None:
    moved = surface.at([0.9 * ttm for ttm in TTMS], [61_000.0] * len(TTMS))
    assert moved.model == name
    for before, part in zip(surface.slices, moved.slices, strict=True):
        assert part.smile is not None
        assert before.smile is not None
        assert (part.smile.ttm, part.smile.forward) == (0.9 * before.ttm, 61_000.0)
        assert float(part.smile.iv(61_000.0)) == pytest.approx(float(before.smile.iv(60_000.0)), rel=1e-12)
        assert part.certificate.butterfly == registry.butterfly(part.smile).butterfly


def test_figures_are_read_off_every_model(surface: VolSurface) -> None:
    assert surface.atm(0.2) == pytest.approx(0.55, abs=0.01)
    point = surface.strike_at_delta(-0.25, 4, convention="forward")
    # SABR's steep far wings have a second strike of the same delta, so none is named.
    assert (point.reasons == Reason.MODEL_LIMIT) == (surface.model == "sabr")
    if surface.model != "sabr":
        assert point.iv == pytest.approx(float(surface.iv(point.strike, TTMS[4])), rel=1e-12)
    greeks = surface.greeks(60_000.0, 4, "call", dynamics="sticky_delta")
    assert 0.4 < float(greeks.delta) < 0.7


def test_only_svi_is_shocked(name: str, surface: VolSurface) -> None:
    if name == "svi":
        assert surface.shocked(vol=0.01).model == "svi"
    else:
        with pytest.raises(ValueError, match=f"model '{name}'"):
            surface.shocked(vol=0.01)


def test_F05_no_quotes_keep_the_last_good_smile_or_what_lies_between(name: str, surface: VolSurface) -> None:
    source = chain(seed=1)[3]
    updated = surface.updated(3, unquoted(source))
    part, before = updated.slices[3], surface.slices[3]
    if registry.MODELS[name].fit_chain is None:
        assert part.smile == before.smile
        assert part.reasons & Reason.FIT_LAST_GOOD
    else:
        assert 0.5 < updated.atm(3) < 0.6
        assert updated.certificate.ok
    assert not part.accepted
    assert part.status is Status.DEGRADED
    assert part.reasons & Reason.NO_QUOTE
    assert (part.k_min, part.k_max) == (before.k_min, before.k_max)


def test_F01_nonsense_is_refused_by_every_model(name: str) -> None:
    sources = chain(seed=1, ttms=(0.1, 0.25))
    jagged = 0.3 * (-1.0) ** np.arange(25)
    source = sources[1]
    nonsense = SliceQuotes(0.25, 60_000.0, source.strikes, source.bid_iv + jagged, source.ask_iv + jagged)
    good = fit(name, sources)
    refused = good.updated(1, nonsense).slices[1]
    assert not refused.accepted
    assert refused.reasons & Reason.FIT_FAILED
    assert refused.smile == good.slices[1].smile
    alone = fit(name, [nonsense]).slices[0]
    assert alone.smile is None
    assert alone.status is Status.INVALID


def test_F05_few_quotes_say_that_they_determine_nothing(name: str) -> None:
    source = quotes(smile(0.25), strikes_of(0.25, 3, reach=0.5))
    part = fit(name, [source]).slices[0]
    assert part.reasons & Reason.FIT_UNDERDETERMINED
    assert part.status is Status.DEGRADED
    assert part.smile is not None
    assert float(part.smile.iv(60_000.0)) == pytest.approx(0.55, abs=0.01)


def test_a_smile_beyond_the_models_limit_is_degraded_and_says_where() -> None:
    # Quotes of five years: wings that grow faster than Lee's bound begin within |k| <= 4.
    long = SabrSmile(5.0, 1.0, 0.3, 1.0, -0.3, 0.8)
    strikes = np.exp(np.linspace(-2.0, 1.5, 41))
    mid = np.asarray(long.iv(strikes))
    (part,) = fit("sabr", [SliceQuotes(5.0, 1.0, strikes, mid - 0.01, mid + 0.01)]).slices
    assert (part.status, part.reasons) == (Status.DEGRADED, Reason.MODEL_LIMIT)
    assert not part.certificate.butterfly
    assert part.certificate.min_g < 0.0
    assert part.smile is not None
    assert float(part.smile.durrleman_g(part.certificate.at_k)) == part.certificate.min_g
    assert part.accepted


def test_slices_that_cross_are_told_by_the_longer_one() -> None:
    sources = [quotes(smile(0.25)), quotes(smile(0.3, atm=0.45))]
    lower, upper = fit("sabr", sources).slices
    assert lower.certificate.calendar
    assert not upper.certificate.calendar
    assert upper.certificate.min_calendar_gap < 0.0
    assert upper.reasons == Reason.MODEL_LIMIT
    mended = fit("sabr", sources).updated(1, quotes(smile(0.3)))
    assert mended.slices[1].reasons == NO_REASON


def test_diagnostics_of_any_smile_are_those_of_svi() -> None:
    random = np.random.default_rng(2)
    source = quotes(smile(0.25), noise=random.normal(0.0, 0.01, 25))
    bid = source.bid_iv.copy()
    bid[[3, 20]] = math.nan  # bounds: one that holds, one that is broken
    ask = source.ask_iv.copy()
    ask[20] -= 0.1
    ask[10] += 0.9  # far off
    bid[10] += 0.9
    chosen = select(SliceQuotes(0.25, 60_000.0, source.strikes, bid, ask, ages=np.linspace(0.0, 50.0, 25)))
    found = smile(0.25)
    expected, _ = assess(chosen, 0.25, np.array(found.params), "fitted", 3)
    mine = diagnose(chosen, found, "fitted", 3)
    for field in ("inside_spread", "rmse", "loss", "off_share"):
        assert getattr(mine, field) == pytest.approx(getattr(expected, field), rel=1e-12)
    assert (mine.mids, mine.bounds, mine.steps) == (expected.mids, expected.bounds, 3)


def test_local_terms_follow_their_slice_and_a_tick_proves_its_neighbours_again() -> None:
    surface = fit("svi_local", recorded_eth())
    assert sum(any(found.terms) for found in surface.smiles if isinstance(found, SviLocalSmile)) > 5
    random = np.random.default_rng(6)
    sources = sorted(recorded_eth(), key=lambda source: source.ttm)
    for index in random.integers(len(sources), size=12):
        source = sources[index]
        by = float(random.normal(0.0, 0.01))
        surface = surface.updated(int(index), replace(source, bid_iv=source.bid_iv + by, ask_iv=source.ask_iv + by))
        assert surface.certificate.ok
    assert min(audit(surface)) > 0.0
    assert isinstance(surface.smiles[3], SviLocalSmile)
    assert isinstance(surface.smiles[3].base, SviSmile)


def test_a_joint_model_is_one_more_line(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[float]] = []

    def all_flat(problems: object) -> list[Smile | None]:
        assert isinstance(problems, list)
        asked.append([problem.ttm for problem in problems])
        level = float(np.mean([np.nanmean(problem.selection.observations[:, 1:3]) for problem in problems]))
        return [SabrSmile(problem.ttm, problem.forward, level, 1.0, 0.0, 1e-3) for problem in problems]

    monkeypatch.setitem(MODELS, "one_level", Model("check", fit_chain=all_flat))
    sources = [quotes(smile(ttm), strikes_of(ttm, reach=0.3), half_spread=0.02) for ttm in (0.1, 0.2)]
    surface = fit("one_level", sources)
    assert surface.certificate.ok
    assert surface.atm(0) == pytest.approx(surface.atm(1), rel=1e-6)
    updated = surface.updated(1, quotes(smile(0.2, atm=0.57), strikes_of(0.2, reach=0.3), half_spread=0.02))
    assert updated.atm(0) == pytest.approx(updated.atm(1), rel=1e-6)
    assert updated.atm(0) > surface.atm(0) + 0.001
    assert [part.ttm for part in updated.inserted(quotes(smile(0.15), half_spread=0.05)).slices] == [0.1, 0.15, 0.2]
    assert asked == [[0.1, 0.2], [0.1, 0.2], [0.1, 0.15, 0.2]]


def test_a_problem_without_a_last_slice_starts_cold() -> None:
    source = quotes(smile(0.25))
    problem = SliceProblem(select(source), source.ttm, source.forward)
    found = registry.fit_sabr_slice(problem)
    assert check_butterfly(found).ok
    assert float(found.iv(60_000.0)) == pytest.approx(0.55, abs=5e-3)
