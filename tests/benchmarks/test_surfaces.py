"""The comparison of surfaces runs, and what it rests on is right: other packages' fits, the audit, ticks, figures."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import audit, recorded, surface_figures, surface_fits, surface_quality
from benchmarks.figures import Figure
from benchmarks.peers import installed
from benchmarks.sets import Floats
from benchmarks.surface_fits import Case
from benchmarks.surface_peers import PEERS, QUANTLIB, Observed, SliceSolver, first_guess, half_spreads
from benchmarks.surface_sets import POLLED, made_chain, recorded_chains, shifted
from benchmarks.surface_ticks import kernel_ticks, neighbours, python_ticks, random_ticks
from benchmarks.surfaces import parse, with_one_moved
from tests.data import CHECKOUT, data_path, data_root
from tests.surfaces import made
from tests.surfaces.test_arbitrage import VOGT

SLICE = np.array([0.02, 0.1, -0.3, 0.05, 0.2])


def observed(params: Floats = SLICE, ttm: float = 0.25) -> Observed:
    """Exact vols of a slice, a vol point on each side."""
    k = np.linspace(-0.6, 0.5, 30)
    sigma = np.sqrt(audit.total_variance(params, k) / ttm)
    return Observed(ttm, k, sigma - 0.01, sigma + 0.01, np.full(30, 0.01), np.ones(30))


def case(of: Observed) -> Case:
    return Case(of.ttm, np.stack(of[1:], axis=1))


def test_the_command_compares_with_what_is_installed_and_writes_json(tmp_path: Path) -> None:
    file = tmp_path / "surfaces.json"
    command = [sys.executable, "-m", "benchmarks.surfaces", "--quick", "--peers", "QuantLib", "--json", str(file)]
    command += ["--data", str(tmp_path)]
    answer = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=110)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(file.read_text(encoding="utf-8"))
    assert list(found["chains"]) == ["made 1"]
    assert "no recorded data" in answer.stdout
    chain = found["chains"]["made 1"]
    assert list(chain["quality"])[:3] == [surface_fits.CERTIFIED, surface_fits.FREE, QUANTLIB.name]
    assert chain["quality"][surface_fits.CERTIFIED]["audit"]["butterfly"] == 0
    assert all(seconds > 0.0 for part in chain["slices"] for seconds in part["called"].values())
    assert len(chain["slices"]) == chain["expiries"] == 12
    marks = {figure["name"]: figure["mark"] for figure in found["figures"]}
    assert marks["scipy lm, warm / ours, warm"] == "not measured"
    assert marks["arbitrage in certified fits and ticks, audited"] == "aim held"


def test_an_unknown_peer_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--peers", "nobody"])
    assert "unknown: nobody" in capsys.readouterr().err


@pytest.mark.parametrize("solver", PEERS, ids=lambda solver: solver.name)
def test_every_peer_finds_the_slice_that_quotes_were_made_from(solver: SliceSolver) -> None:
    if not installed(solver.package):
        pytest.skip(f"{solver.package} is not installed (extra: bench)")
    quotes = observed()
    found = solver.cold(quotes)()
    assert audit.total_variance(found, quotes.k) == pytest.approx(audit.total_variance(SLICE, quotes.k), rel=1e-4)
    if solver.warm is not None:
        assert solver.warm(quotes, SLICE)() == pytest.approx(SLICE, rel=1e-5)


def test_ours_find_it_too() -> None:
    found = case(observed())
    for cold in (surface_fits.free_cold, surface_fits.certified_cold):
        assert audit.total_variance(cold(found)(), audit.K[3500:4500]) == pytest.approx(
            audit.total_variance(SLICE, audit.K[3500:4500]), rel=1e-3
        )
    near = audit.K[3500:4500]
    warm = surface_fits.free_warm(found, SLICE)()
    assert audit.total_variance(warm, near) == pytest.approx(audit.total_variance(SLICE, near), rel=1e-3)
    assert surface_fits.certificate_holds(surface_fits.certified_warm(found, SLICE)())


def test_an_observation_is_the_same_for_everyone() -> None:
    quotes = observed()
    again = case(quotes).observed
    assert again.ttm == quotes.ttm
    assert all(np.array_equal(left, right) for left, right in zip(again[1:], quotes[1:], strict=True))


def test_the_jacobian_of_half_spreads_is_their_derivative() -> None:
    quotes = observed()
    low, high = quotes.low.copy(), quotes.high.copy()
    low[3], high[20] = -math.inf, math.inf  # bounds
    residuals, jacobian = half_spreads(quotes._replace(low=low, high=high))
    at = SLICE * 1.1
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-6
        slope = (residuals(at + step) - residuals(at - step)) / 2e-6
        assert jacobian(at)[:, i] == pytest.approx(slope, rel=1e-5, abs=1e-5)


def test_bounds_pull_only_where_they_are_broken() -> None:
    quotes = observed()
    low, high = quotes.low.copy(), quotes.high.copy()
    low[3], high[20] = -math.inf, math.inf
    residuals, _ = half_spreads(quotes._replace(low=low, high=high))
    assert residuals(SLICE) == pytest.approx(np.zeros(30), abs=1e-9)
    higher = residuals(SLICE + np.array([0.02, 0.0, 0.0, 0.0, 0.0]))
    assert higher[3] > 0.0  # over its only ask
    assert higher[20] == 0.0  # over its only bid


def test_the_first_guess_is_a_smile_through_the_lowest_mid() -> None:
    quotes = observed()
    w = audit.total_variance(first_guess(quotes), quotes.k)
    assert w.min() == pytest.approx(np.min(quotes.mid**2 * quotes.ttm), rel=0.01)


def test_the_audit_finds_what_is_published_of_vogts_slice() -> None:
    worst = audit.smallest_g(np.array(VOGT.params))
    assert worst.value == pytest.approx(-0.03286, abs=2e-5)
    assert worst.k == pytest.approx(0.879, abs=2e-3)


def test_the_audit_counts_slices_and_pairs() -> None:
    lower, higher = SLICE, SLICE + np.array([0.01, 0.0, 0.0, 0.0, 0.0])
    nothing = np.full(5, math.nan)
    found = audit.audited([lower, nothing, higher, np.array(VOGT.params)])
    assert (found.slices, found.pairs, found.butterfly, found.calendar) == (3, 2, 1, 1)
    assert found.smallest_g == audit.smallest_g(np.array(VOGT.params)).value
    assert audit.audited([higher, lower]).calendar == 1
    assert audit.audited([lower, higher]).violations == 0
    assert audit.audited([higher, lower], joined=False).pairs == 0
    assert audit.audited([np.array([-0.05, 0.1, 0.0, 0.0, 0.1])]).smallest_g == -math.inf


def test_the_audit_is_that_of_the_surface_tests() -> None:
    surface = surface_fits.surface(made.chain(seed=2))
    found = audit.audited(surface_fits.parameters(surface))
    assert (found.smallest_g, found.smallest_gap) == pytest.approx(made.audit(surface), rel=1e-9)


def test_quality_counts_quotes_and_distances() -> None:
    quotes = observed()
    off = SLICE.copy()
    good = surface_quality.quality([quotes], [off], joined=True)
    assert (good.mids, good.inside, good.failed) == (30, 1.0, 0)
    assert good.rmse == pytest.approx(0.0, abs=1e-9)
    lost = surface_quality.quality([quotes, quotes], [SLICE, np.full(5, math.nan)], joined=True)
    assert (lost.failed, lost.inside, lost.audit.slices) == (1, 0.5, 1)
    assert lost.rmse == pytest.approx(0.0, abs=1e-9)


def test_made_chains_are_the_same_for_a_seed() -> None:
    first, again, other = made_chain(3), made_chain(3), made_chain(4)
    assert len(first.slices) == 12
    assert all(36 <= quotes.strikes.size <= 44 for quotes in first.slices)
    assert [q.bid_iv.tolist() for q in first.slices] == [q.bid_iv.tolist() for q in again.slices]
    assert first.slices[0].ttm != other.slices[0].ttm


def test_a_shift_is_in_half_spreads_and_leaves_a_single_side_alone() -> None:
    quotes = made_chain(1).slices[0]
    moved = shifted(quotes, np.full(quotes.strikes.size, 2.0))
    assert moved.bid_iv == pytest.approx(quotes.ask_iv)
    none = np.full(quotes.strikes.size, math.nan)
    single = type(quotes)(quotes.ttm, quotes.forward, quotes.strikes, none, quotes.ask_iv)
    assert np.array_equal(shifted(single, np.ones(quotes.strikes.size)).ask_iv, quotes.ask_iv)


def test_the_tick_before_differs_in_one_quote() -> None:
    found = case(observed())
    assert np.count_nonzero(np.any(with_one_moved(found).observations != found.observations, axis=1)) == 1


def test_ticks_leave_certified_surfaces_on_both_paths() -> None:
    slices = made_chain(2).slices[:4]
    surface = surface_fits.surface(slices)
    ticks = random_ticks(slices, 12, np.random.default_rng(1))
    for path in (kernel_ticks, python_ticks):
        found = path(surface, ticks, lambda: None)
        assert (len(found.seconds), found.refused, found.violations) == (12, 0, 0)
        assert found.seconds.min() > 0.0
        assert min(found.smallest_g, found.smallest_gap) > 0.0


def test_neighbours_are_the_nearest_that_are_known() -> None:
    nothing = np.full(5, math.nan)
    rows = [SLICE, nothing, 2.0 * SLICE, nothing]
    below, above = neighbours(rows, 1)
    assert below is rows[0]
    assert above is rows[2]
    assert [part.size for part in neighbours(rows, 0)] == [0, 5]
    assert [part.size for part in neighbours(rows, 3)] == [5, 0]


def test_recorded_chains_are_found_below_the_root_or_named(tmp_path: Path) -> None:
    chains, missing = recorded_chains(tmp_path)
    assert chains == []
    assert len(missing) == 3
    data_path(recorded.BTC)
    chains, missing = recorded_chains(data_root())
    polled = next(chain for chain in chains if chain.name == POLLED)
    assert polled.mark_iv is not None
    for quotes, marks in zip(polled.slices, polled.mark_iv, strict=True):
        assert quotes.strikes.shape == marks.shape


def test_a_larger_figure_can_be_the_better_one() -> None:
    marks = [Figure("", value, "", 40.0, 60.0, larger_is_better=True).mark for value in (30.0, 50.0, 70.0)]
    assert marks == ["MISSED", "held", "aim held"]


def test_the_middle_leaves_out_what_is_not_known() -> None:
    assert surface_figures.middle([math.nan, 1.0, 3.0]) == 2.0
    assert math.isnan(surface_figures.middle([math.nan]))
