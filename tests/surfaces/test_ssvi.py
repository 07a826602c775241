"""eSSVI slices and SSVI surfaces: the formula, the sufficient conditions against the exact ones, and their limits."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest

from pricer.surfaces import Certificate, EssviSmile, check_butterfly, check_calendar
from pricer.surfaces.ssvi import (
    EssviParams,
    HestonLike,
    PowerLaw,
    butterfly_essvi,
    butterfly_essvi_exact,
    calendar_essvi,
    calendar_essvi_exact,
    ssvi_smile,
)

K = np.linspace(-3.0, 3.0, 61)


def essvi(theta: float, rho: float, psi: float) -> EssviSmile:
    return EssviSmile(1.0, 100.0, theta, rho, psi)


def of_coordinates(x: np.ndarray) -> EssviSmile:
    """The slice of (ln u, ln v, ln 1/φ)."""
    u, v, per_phi = np.exp(x).tolist()
    return essvi(0.5 * (u + v) * per_phi, (u - v) / (u + v), 0.5 * (u + v))


def inside(random: np.random.Generator) -> np.ndarray:
    """Random coordinates within the butterfly limits, often close to one.

    u and v differ by at most e⁷: with |rho| > 0.999 the lowest variance is so small against the rest that the exact
    proof, which leaves room for rounding, refuses some.
    """
    per_phi = random.uniform(-4.0, 2.0)
    cap = math.log(4.0) + min(0.0, per_phi)
    down = np.minimum(random.exponential(1.0, 2) * random.choice([1e-3, 0.1, 1.0, 3.0], 2), 7.0)
    return np.array([*(cap - down), per_phi])


def test_total_variance_is_gatheral_and_jacquiers_formula() -> None:
    theta, rho, psi = 0.09, -0.4, 0.25
    phi = psi / theta
    expected = 0.5 * theta * (1.0 + rho * phi * K + np.sqrt((phi * K + rho) ** 2 + 1.0 - rho * rho))
    np.testing.assert_allclose(essvi(theta, rho, psi).total_variance(K), expected, rtol=1e-13)
    np.testing.assert_allclose(essvi(theta, rho, psi).svi().total_variance(K), expected, rtol=1e-13)


def test_a_slice_is_a_hyperbola_between_its_wings() -> None:
    made = essvi(0.09, -0.4, 0.25)
    left, right = made.wing_slopes
    w = np.asarray(made.total_variance(K))
    np.testing.assert_allclose((w - right * K) * (w + left * K), made.theta * w, rtol=1e-12)
    assert left == pytest.approx(-float(made.dw(-1e4)), rel=1e-5)
    assert right == pytest.approx(float(made.dw(1e4)), rel=1e-5)


def test_the_natural_form_of_a_slice_is_theta_and_phi_alone() -> None:
    made = essvi(0.09, -0.4, 0.25)
    assert made.svi().natural() == pytest.approx((0.0, 0.0, -0.4, 0.09, 0.25 / 0.09), abs=1e-14)
    assert made.params == EssviParams(0.09, -0.4, 0.25)
    assert made.phi == 0.25 / 0.09


def test_without_bend_a_slice_is_flat() -> None:
    np.testing.assert_array_equal(essvi(0.09, -0.4, 0.0).total_variance(K), 0.09)
    np.testing.assert_allclose(essvi(0.09, -0.4, 1e-12).total_variance(K), 0.09, rtol=1e-10)
    assert essvi(0.09, -0.4, 0.0).svi().params.b == 0.0


@pytest.mark.parametrize(
    ("theta", "rho", "psi", "name"),
    [(0.0, 0.0, 0.1, "theta"), (math.nan, 0.0, 0.1, "theta"), (0.1, 1.0, 0.1, "rho"), (0.1, 0.0, -0.1, "psi")],
)
def test_a_slice_that_does_not_exist_is_refused_by_name(theta: float, rho: float, psi: float, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        essvi(theta, rho, psi)


def test_the_butterfly_conditions_are_sufficient() -> None:
    random = np.random.default_rng(21)
    k = np.linspace(-4.0, 4.0, 2001)
    for _ in range(2000):
        made = of_coordinates(inside(random))
        assert butterfly_essvi(made) == Certificate("sufficient", True, True)
        assert butterfly_essvi_exact(made).ok, made
        assert np.min(made.durrleman_g(k)) > 0.0, made


def test_the_butterfly_conditions_are_those_of_the_theorem() -> None:
    assert not butterfly_essvi(essvi(4.0, 0.0, 4.0)).ok  # ψ(1 + |ρ|) < 4
    assert butterfly_essvi(essvi(4.0, 0.0, 3.999)).ok
    assert butterfly_essvi(essvi(0.01, 0.0, 0.2)).ok  # ψ²(1 + |ρ|)/θ <= 4, here equal
    assert not butterfly_essvi(essvi(0.01, 0.0, 0.2001)).ok
    assert not butterfly_essvi(essvi(0.01, -0.5, 0.2)).ok


def test_the_butterfly_conditions_refuse_some_that_are_free() -> None:
    made = essvi(0.01, 0.0, 0.21)
    assert not butterfly_essvi(made).ok
    assert butterfly_essvi_exact(made).ok


def test_the_calendar_conditions_are_sufficient() -> None:
    random = np.random.default_rng(22)
    k = np.concatenate([np.linspace(-4.0, 4.0, 801), [-1e6, 1e6]])
    for _ in range(1000):
        x = inside(random)
        lower, upper = of_coordinates(x), of_coordinates(x + random.exponential(1.0, 3) * random.choice([1e-3, 1.0], 3))
        assert calendar_essvi(lower, upper) == Certificate("sufficient", True, True)
        assert calendar_essvi_exact(lower, upper).ok, (lower, upper)
        assert np.all(np.asarray(upper.total_variance(k)) > np.asarray(lower.total_variance(k)))


def test_w_rises_with_each_coordinate_at_every_k() -> None:
    # The derivatives of the module's docstring, in fifty digits, also far out where the curve hugs its wings.
    random = np.random.default_rng(23)
    with mpmath.workdps(50):

        def w(x: list[mpmath.mpf], k: mpmath.mpf) -> mpmath.mpf:
            u, v, per_phi = (mpmath.exp(value) for value in x)
            middle = (u + v) * per_phi / 2 + (u - v) * k / 2
            return (middle + mpmath.sqrt(middle * middle + u * v * k * k)) / 2

        for _ in range(100):
            x = [mpmath.mpf(float(value)) for value in inside(random)]
            k = mpmath.mpf(float(random.normal() * 10.0 ** random.uniform(-3.0, 6.0)))
            for i in range(3):
                slope = mpmath.diff(lambda value, i=i, x=x, k=k: w([*x[:i], value, *x[i + 1 :]], k), x[i])
                assert slope > 0


def test_F04_an_expiry_between_necessary_and_sufficient_is_decided_exactly() -> None:
    # θ rises, and so do u and v; φ rises, too, and the slices cross at k = 3.4 (SURFACES.md, section 4).
    lower, upper = essvi(0.894, -0.621, 0.0906), essvi(0.908, -0.870, 0.376)
    assert all(below < above for below, above in zip(lower.wing_slopes, upper.wing_slopes, strict=True))
    assert not calendar_essvi(lower, upper).ok
    found = calendar_essvi_exact(lower, upper)
    assert (found.kind, found.ok) == ("exact", False)
    assert float(upper.total_variance(3.4)) < float(lower.total_variance(3.4))


def test_a_rising_phi_alone_is_no_crossing() -> None:
    lower, upper = essvi(0.5, -0.3, 0.30), essvi(1.0, -0.3, 0.61)
    assert upper.phi > lower.phi
    assert not calendar_essvi(lower, upper).ok
    assert calendar_essvi_exact(lower, upper).ok


def test_equal_slices_do_not_fall_though_they_touch() -> None:
    made = essvi(0.5, -0.3, 0.3)
    assert calendar_essvi(made, made).ok
    assert not calendar_essvi_exact(made, made).ok


def test_the_weaker_kind_of_evidence_names_the_whole() -> None:
    made = essvi(0.5, -0.3, 0.3)
    exact, sufficient = check_butterfly(made.svi()), butterfly_essvi(made)
    grid = Certificate("grid", True, True)
    assert exact.merged(sufficient).kind == sufficient.merged(exact).kind == "sufficient"
    assert sufficient.merged(grid).kind == grid.merged(sufficient).kind == exact.merged(grid).kind == "grid"
    assert exact.merged(exact).kind == "exact"
    assert exact.merged(sufficient).min_g == exact.min_g


@pytest.mark.parametrize(
    "phi", [PowerLaw(1.3), PowerLaw(1.25, 0.3), HestonLike(0.4)], ids=["power law", "flatter power law", "Heston"]
)
def test_a_surface_whose_condition_holds_is_free_of_arbitrage(phi: PowerLaw | HestonLike) -> None:
    rho = -0.5
    assert phi.free_of_arbitrage(rho)
    smiles = [ssvi_smile(phi, theta, rho, 1.0, 100.0) for theta in np.geomspace(1e-5, 30.0, 40).tolist()]
    for lower, upper in itertools.pairwise(smiles):
        assert butterfly_essvi(upper).merged(calendar_essvi(lower, upper)).ok
        assert check_butterfly(upper.svi()).merged(check_calendar(lower.svi(), upper.svi())).ok


def test_a_surface_beyond_its_condition_is_refused() -> None:
    assert not PowerLaw(1.4).free_of_arbitrage(-0.5)
    assert not PowerLaw(0.5, 0.6).free_of_arbitrage(0.0)
    assert not HestonLike(0.3).free_of_arbitrage(-0.5)
    # A short expiry shows why gamma is held to 1/2, a long one why lambda has a lower limit.
    assert not butterfly_essvi_exact(ssvi_smile(PowerLaw(0.5, 0.9), 1e-6, 0.0, 1.0, 1.0)).ok
    assert not butterfly_essvi_exact(ssvi_smile(HestonLike(0.3), 1e3, -0.5, 1.0, 1.0)).ok


def test_heston_like_phi_keeps_its_digits_near_zero() -> None:
    lam = 0.7
    with mpmath.workdps(40):
        for theta in (1e-12, 1e-6, 1.4e-3, 1.5e-3, 0.1, 20.0):
            x = mpmath.mpf(lam * theta)
            exact = (1 - (1 - mpmath.exp(-x)) / x) / x
            assert float(HestonLike(lam).phi(theta)) == pytest.approx(float(exact), rel=2e-13)
    assert float(HestonLike(lam).phi(0.0)) == 0.5
