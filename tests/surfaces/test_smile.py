"""The contract that every parametrisation of one expiry keeps; runs on each entry of `SMILES`."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricer.kernels.black76 import price
from pricer.surfaces import SMILES, EssviSmile, SabrSmile, Smile, SplineSmile, SviLocalSmile
from tests.surfaces.made import smile

# One arbitrage-free example of each.
EXAMPLES: dict[str, Smile] = {
    "svi": smile(0.25),
    "essvi": EssviSmile(0.25, 60_000.0, 0.075, -0.3, 0.3),
    "sabr": SabrSmile(0.25, 60_000.0, 0.5, 1.0, -0.2, 1.0),
    "spline": SplineSmile.through(
        0.25, 60_000.0, (-0.531, -0.272, 0.013, 0.258, 0.527), (0.1315, 0.0956, 0.0755, 0.0812, 0.1043)
    ),
    "svi_local": SviLocalSmile.on(smile(0.25), (0.002, -0.003, 0.001, 0.002, -0.001)),
}

K = np.linspace(-1.5, 1.5, 61)


@pytest.fixture(params=sorted(SMILES))
def example(request: pytest.FixtureRequest) -> Smile:
    return EXAMPLES[request.param]


def test_every_parametrisation_has_an_example() -> None:
    assert set(EXAMPLES) == set(SMILES)
    assert all(isinstance(EXAMPLES[name], kind) for name, kind in SMILES.items())


def test_first_derivative_is_that_of_w(example: Smile) -> None:
    h = 1e-5
    slope = (example.total_variance(K + h) - example.total_variance(K - h)) / (2.0 * h)
    np.testing.assert_allclose(example.dw(K), slope, atol=1e-9)


def test_second_derivative_is_that_of_w(example: Smile) -> None:
    h = 1e-5
    bend = (example.dw(K + h) - example.dw(K - h)) / (2.0 * h)
    np.testing.assert_allclose(example.d2w(K), bend, atol=1e-8)


def test_durrlemans_g_follows_from_w_and_its_derivatives(example: Smile) -> None:
    w, slope, bend = example.total_variance(K), example.dw(K), example.d2w(K)
    g = (1.0 - K * slope / (2.0 * w)) ** 2 - slope**2 / 4.0 * (1.0 / w + 0.25) + bend / 2.0
    np.testing.assert_allclose(example.durrleman_g(K), g, rtol=1e-12)


def test_the_density_is_a_probability_with_the_forward_as_its_mean(example: Smile) -> None:
    k = np.linspace(-6.0, 6.0, 200_001)
    strikes = example.forward * np.exp(k)
    mass = np.asarray(example.density(strikes)) * strikes  # per unit of k
    assert np.trapezoid(mass, k) == pytest.approx(1.0, abs=1e-6)
    assert np.trapezoid(mass * strikes, k) == pytest.approx(example.forward, rel=1e-5)


def test_the_density_is_the_second_strike_derivative_of_the_call(example: Smile) -> None:
    strike, h = 1.1 * example.forward, 1e-3 * example.forward

    def call(at: float) -> float:
        return float(price(example.forward, at, example.ttm, float(example.iv(at)), 1.0))

    second = (call(strike + h) - 2.0 * call(strike) + call(strike - h)) / (h * h)
    assert float(example.density(strike)) == pytest.approx(second, rel=1e-4)


def test_another_forward_and_time_keep_sigma_of_k(example: Smile) -> None:
    moved = example.at(1.2 * example.forward, 0.5 * example.ttm)
    strikes = example.forward * np.exp(K)
    np.testing.assert_allclose(moved.iv(1.2 * strikes), example.iv(strikes), rtol=1e-12)
    np.testing.assert_allclose(moved.total_variance(K), 0.5 * np.asarray(example.total_variance(K)), rtol=1e-12)
    assert (moved.forward, moved.ttm) == (1.2 * example.forward, 0.5 * example.ttm)


@pytest.mark.parametrize("method", ["total_variance", "dw", "d2w", "durrleman_g", "iv", "density"])
def test_scalars_in_give_scalars_out_and_arrays_keep_their_shape(example: Smile, method: str) -> None:
    function = getattr(example, method)
    assert isinstance(function(1.0), float)
    assert function(np.ones((2, 3))).shape == (2, 3)
    assert function([1.0, 2.0])[0] == function(1.0)


def test_a_smile_cannot_be_changed(example: Smile) -> None:
    with pytest.raises(AttributeError):
        example.ttm = 1.0  # type: ignore[misc]


def test_wing_slopes_are_the_limits_of_the_first_derivative(example: Smile) -> None:
    for side, far in ((0, -1e3), (1, 1e3)):
        slope = abs(float(example.dw(far)))
        if math.isinf(example.wing_slopes[side]):
            assert slope > 2.0 * abs(float(example.dw(far / 8.0)))  # still growing
        else:
            assert slope == pytest.approx(example.wing_slopes[side], rel=1e-4)
