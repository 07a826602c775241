"""Raw SVI with local terms: shape, fit, and proofs against dense audits."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import mpmath
import numpy as np
import numpy.typing as npt
import pytest

from pricer.surfaces import (
    Selection,
    SliceQuotes,
    SviLocalSmile,
    SviParams,
    SviSmile,
    VolSurface,
    check_butterfly,
    select,
)
from pricer.surfaces.quotes import HIGH, LOW, K
from pricer.surfaces.svi_local import (
    ENOUGH,
    REACH,
    TERMS,
    above_inside,
    butterfly_inside,
    fitted,
    prove_butterfly,
    prove_calendar,
    settled,
)
from tests.surfaces.made import TTMS, Array, quotes, recorded_btc, recorded_eth, smile, strikes_of

BUMPY = (0.002, -0.003, 0.001, 0.002, -0.001)


def butterfly_proved(found: SviLocalSmile) -> bool:
    return butterfly_inside(found.kernel_row(), np.array(found.terms))


def dense_g(found: SviLocalSmile) -> float:
    k = found.sd * np.linspace(-REACH, REACH, 20_001)
    return float(np.min(found.durrleman_g(k)))


def test_terms_of_zero_are_the_svi_and_terms_end_at_their_reach() -> None:
    base = smile(0.25)
    k = np.linspace(-4.0, 4.0, 801)
    np.testing.assert_array_equal(SviLocalSmile.on(base).total_variance(k), base.total_variance(k))
    bumpy = SviLocalSmile.on(base, BUMPY)
    outside = np.abs(k) >= REACH * bumpy.sd
    for mine, bases in ((bumpy.total_variance, base.total_variance), (bumpy.dw, base.dw), (bumpy.d2w, base.d2w)):
        difference = np.asarray(mine(k)) - np.asarray(bases(k))
        np.testing.assert_array_equal(difference[outside], 0.0)
        assert np.abs(difference[~outside]).max() > 1e-4


def test_the_bumps_are_the_b_splines_of_the_cox_de_boor_recursion() -> None:
    base = smile(0.25)
    knots = np.linspace(-REACH, REACH, TERMS + 5)

    def spline(j: int, degree: int, u: float) -> float:
        if degree == 0:
            return float(knots[j] <= u < knots[j + 1])
        left = (u - knots[j]) / (knots[j + degree] - knots[j]) * spline(j, degree - 1, u)
        right = (knots[j + degree + 1] - u) / (knots[j + degree + 1] - knots[j + 1]) * spline(j + 1, degree - 1, u)
        return float(left + right)

    bumpy = SviLocalSmile.on(base, BUMPY)
    for u in np.linspace(-2.49, 2.49, 37):
        added = float(bumpy.total_variance(u * bumpy.sd)) - float(base.total_variance(u * bumpy.sd))
        assert added == pytest.approx(sum(c * spline(j, 4, u) for j, c in enumerate(BUMPY)), abs=1e-15)


def test_w_and_three_derivatives_are_continuous_at_the_knots() -> None:
    bumpy = SviLocalSmile.on(smile(0.25), BUMPY)
    h = 1e-7
    for knot in np.linspace(-REACH, REACH, TERMS + 5) * bumpy.sd:
        for part in (bumpy.total_variance, bumpy.dw, bumpy.d2w):
            below, here, above = (float(part(knot + step)) for step in (-h, 0.0, h))
            assert above - here == pytest.approx(here - below, abs=1e-10)  # of w″ too: w‴ has no jump


def test_quotes_of_a_bumpy_smile_give_it_back() -> None:
    true = SviLocalSmile.on(smile(0.25), BUMPY)
    strikes = strikes_of(0.25, 41, reach=2.4)
    mid = np.asarray(true.iv(strikes))
    source = SliceQuotes(0.25, 60_000.0, strikes, mid - 1e-4, mid + 1e-4)
    found = fitted(smile(0.25), select(source).observations)
    # Half-spreads have a floor of 0.05 vol points, so the prior still weighs a little.
    np.testing.assert_allclose(found.iv(strikes), mid, atol=1e-4)


def test_the_fit_is_the_minimum_of_its_objective() -> None:
    random = np.random.default_rng(4)
    base = smile(0.25)
    noisy = quotes(base, strikes_of(0.25, 31), noise=random.normal(0.0, 0.006, 31))
    observations = select(noisy).observations
    found = fitted(base, observations, prior=0.05)

    def objective(terms: Array) -> float:
        trial = replace(found, terms=tuple(terms.tolist()))
        sigma = np.sqrt(np.asarray(trial.total_variance(observations[:, K])) / 0.25)
        r = np.abs(sigma - 0.5 * (observations[:, LOW] + observations[:, HIGH])) / 0.005
        huber = np.where(r <= 1.0, 0.5 * r * r, r - 0.5)
        return float(huber.sum() + 0.5 * np.sum((terms / (0.05 * found.sd**2)) ** 2))

    best = objective(np.array(found.terms))
    assert best < objective(np.zeros(TERMS)) - 0.1
    for _ in range(300):
        assert objective(np.array(found.terms) + random.normal(0.0, 3e-5, TERMS)) > best - 1e-4


def test_the_butterfly_proof_accepts_no_violation_and_refuses_few_valid_smiles() -> None:
    random = np.random.default_rng(8)
    valid = refused = violating = 0
    for _ in range(1500):
        base = smile(float(random.choice(TTMS)))
        size = 10.0 ** random.uniform(-2.0, 0.3)
        terms = random.normal(0.0, size, TERMS) * float(base.total_variance(0.0))
        found = SviLocalSmile.on(base, terms.tolist())
        smallest = dense_g(found)
        if smallest <= 0.0 or np.isnan(smallest):
            violating += 1
            assert not butterfly_proved(found)
        else:
            valid += 1
            refused += not butterfly_proved(found)
    assert violating > 300
    assert valid > 300
    assert refused <= 0.01 * valid


def test_a_violation_between_grid_points_is_found() -> None:
    # The largest multiple of the bumps that is proved, and a little more: its g is negative on a tiny interval.
    base = smile(0.25)
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        proved = butterfly_proved(SviLocalSmile.on(base, [middle * term for term in BUMPY]))
        low, high = (middle, high) if proved else (low, middle)
    edge = SviLocalSmile.on(base, [low * term for term in BUMPY])
    assert 0.0 < dense_g(edge) < 1e-5
    # Far less beyond the edge than a grid of 1,601 points on |k| <= 4 would see.
    assert not butterfly_proved(edge.with_share(1.0 + 1e-7))


def test_g_at_the_proofs_edge_in_high_precision() -> None:
    bumpy = SviLocalSmile.on(smile(0.25), [3.0 * term for term in BUMPY])
    assert butterfly_proved(bumpy)
    knots = [mpmath.mpf(x) for x in np.linspace(-REACH, REACH, TERMS + 5).tolist()]

    def w(k: mpmath.mpf) -> mpmath.mpf:
        a, b, rho, m, sigma = (mpmath.mpf(x) for x in bumpy.params)
        u, total = k / mpmath.mpf(bumpy.sd), a + b * (rho * (k - m) + mpmath.sqrt((k - m) ** 2 + sigma**2))
        width = knots[1] - knots[0]
        for j, term in enumerate(bumpy.terms):  # truncated powers, another form of the same B-spline
            powers = [(-1) ** i * mpmath.binomial(5, i) * max(u - knots[j] - i * width, 0) ** 4 for i in range(6)]
            total += mpmath.mpf(term) * mpmath.fsum(powers) / (24 * width**4)
        return total

    with mpmath.workdps(40):
        for k in np.linspace(-REACH, REACH, 23) * bumpy.sd * 0.997:
            x = mpmath.mpf(float(k))
            value, slope, bend = (mpmath.diff(w, x, n) for n in (0, 1, 2))
            g = (1 - x * slope / (2 * value)) ** 2 - slope**2 / 4 * (1 / value + mpmath.mpf(1) / 4) + bend / 2
            assert float(bumpy.durrleman_g(k)) == pytest.approx(float(g), rel=1e-9)
            assert g > 0


def test_the_calendar_proof_agrees_with_dense_audits() -> None:
    random = np.random.default_rng(9)
    counts = {True: 0, False: 0}
    for _ in range(1500):
        first, second = smile(0.25), smile(0.27, atm=float(random.uniform(0.53, 0.6)))
        size = 10.0 ** random.uniform(-3.0, -0.5)
        lower, upper = (
            SviLocalSmile.on(base, (random.normal(0.0, size, TERMS) * float(base.total_variance(0.0))).tolist())
            for base in (first, second)
        )
        k = max(lower.sd, upper.sd) * np.linspace(-REACH, REACH, 20_001)
        gap = float(np.min(np.asarray(upper.total_variance(k)) - np.asarray(lower.total_variance(k))))
        proved = above_inside(lower, upper)
        counts[gap > 0.0] += 1
        if gap <= 0.0:
            assert not proved
        elif gap > 1e-9:
            assert proved
    assert min(counts.values()) > 200


def test_what_would_be_arbitrage_is_shrunk_to_a_proved_share() -> None:
    base = smile(0.25)
    wild = SviLocalSmile.on(base, [0.05, -0.08, 0.1, -0.08, 0.05])
    assert not prove_butterfly(wild).ok
    (found,) = settled([wild])
    assert prove_butterfly(found).ok
    assert prove_butterfly(found).kind == "exact"
    share = found.terms[0] / wild.terms[0]
    assert 0.0 < share < 1.0
    assert not butterfly_proved(wild.with_share(share + 2.0**-6))


def test_neighbours_that_would_cross_meet_in_a_certified_chain() -> None:
    lower, upper = smile(0.25), smile(0.26)
    up = SviLocalSmile.on(lower, [0.0, 0.0, 0.02, 0.0, 0.0])
    down = SviLocalSmile.on(upper, [0.0, 0.0, -0.02, 0.0, 0.0])
    assert not prove_calendar(up, down).ok
    found = settled([up, down])
    assert prove_calendar(*found).ok
    assert prove_calendar(*found).kind == "exact"
    assert all(prove_butterfly(part).ok for part in found)
    assert any(found[0].terms)


def test_a_base_with_arbitrage_is_not_certified_by_its_terms() -> None:
    vogt = SviSmile(1.0, 100.0, SviParams(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153))
    assert not check_butterfly(vogt).ok
    assert not prove_butterfly(SviLocalSmile.on(vogt, [1e-5] * TERMS)).ok


def without(source: SliceQuotes, fold: int) -> tuple[SliceQuotes, Array]:
    """The slice without every fifth of its strikes, and the observations that it lost."""
    chosen = select(source)
    out = np.arange(chosen.row.size) % 5 == fold
    gone = np.isin(source.strikes, source.strikes[chosen.row[out]])
    bid, ask = (np.where(gone, math.nan, side) for side in (source.bid_iv, source.ask_iv))
    left = SliceQuotes(
        source.ttm, source.forward, source.strikes, bid, ask, source.forwards, source.ages, source.cp, source.iv_floor
    )
    return left, chosen.observations[out]


def misses(found: SviSmile | SviLocalSmile, observations: Array) -> npt.NDArray[np.bool_]:
    """Of each two-sided observation: is the smile outside its bid and ask?"""
    mids = observations[np.isfinite(observations[:, LOW] + observations[:, HIGH])]
    sigma = np.sqrt(np.asarray(found.total_variance(mids[:, K])) / found.ttm)
    return np.asarray((sigma < mids[:, LOW]) | (sigma > mids[:, HIGH]))


def on_terms(surface: VolSurface) -> list[tuple[SviSmile, SviLocalSmile, Selection]]:
    """Each slice's SVI, the same with settled terms, and what both were fitted to."""
    parts = [(part.smile, part.selection) for part in surface.slices if isinstance(part.smile, SviSmile)]
    wanted = [
        fitted(base, chosen.observations) if chosen.mids >= ENOUGH else SviLocalSmile.on(base) for base, chosen in parts
    ]
    return [(base, found, chosen) for (base, chosen), found in zip(parts, settled(wanted), strict=True)]


def test_recorded_chains_are_met_better_in_sample_and_proved() -> None:
    for chain, plain_share, share in ((recorded_btc(), 0.98, 0.98), (recorded_eth(), 0.92, 0.95)):
        found = on_terms(VolSurface.fit(chain))
        plain = np.concatenate([misses(base, chosen.observations) for base, _, chosen in found])
        local = np.concatenate([misses(terms, chosen.observations) for _, terms, chosen in found])
        assert 1.0 - plain.mean() > plain_share
        assert 1.0 - local.mean() > share
        assert local.mean() <= plain.mean()
        assert all(prove_butterfly(terms).ok for _, terms, _ in found)
        pairs = itertools.pairwise(found)
        assert all(prove_calendar(lower, upper).ok for (_, lower, _), (_, upper, _) in pairs)


def test_quotes_left_out_of_a_recorded_chain_are_met_better_too() -> None:
    plain: list[npt.NDArray[np.bool_]] = []
    local: list[npt.NDArray[np.bool_]] = []
    chain = sorted(recorded_eth(), key=lambda source: source.ttm)
    for fold in range(0, 5, 2):
        left = [without(source, fold) for source in chain]
        lost = {source.ttm: out for (source, out) in left}
        for base, terms, _ in on_terms(VolSurface.fit([source for source, _ in left])):
            plain.append(misses(base, lost[base.ttm]))
            local.append(misses(terms, lost[base.ttm]))
    assert np.concatenate(local).mean() < np.concatenate(plain).mean() - 0.02
