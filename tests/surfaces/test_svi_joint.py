"""All slices at once: certified, close to what each slice alone would have, and from any start."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from pricer.surfaces import SliceQuotes, VolSurface, select
from pricer.surfaces.svi_free import fit_free, robust_loss
from pricer.surfaces.svi_joint import fit_jointly
from tests.surfaces.made import Array, audit, chain, quotes, recorded_btc, recorded_eth, smile

Problem: TypeAlias = tuple[list[Array], npt.NDArray[np.int64], Array, Array]


def problem(slices: list[SliceQuotes]) -> Problem:
    """(observations, offsets, ttms, each slice's own best parameters)."""
    ordered = sorted(slices, key=lambda source: source.ttm)
    kept = [(source, found) for source in ordered if (found := select(source)).mids >= 5]
    observations = [found.observations for _, found in kept]
    params = np.empty((len(kept), 5))
    for i, (source, found) in enumerate(kept):
        fit_free(found.observations, source.ttm, False, params[i])
    offsets = np.cumsum([0, *map(len, observations)])
    return observations, offsets, np.array([source.ttm for source, _ in kept]), params


def losses(made: Problem, params: Array) -> Array:
    observations, _, ttms, _ = made
    return np.array([robust_loss(rows, ttm, own) for rows, ttm, own in zip(observations, ttms, params, strict=True)])


def fitted(made: Problem, start: Array | None = None) -> tuple[bool, Array]:
    observations, offsets, ttms, own = made
    params = (own if start is None else start).copy()
    return fit_jointly(np.concatenate(observations), offsets, ttms, params), params


@pytest.mark.parametrize("recorded", [recorded_btc, recorded_eth], ids=["btc", "eth"])
def test_recorded_chains_are_certified_and_cost_little(recorded: object) -> None:
    assert callable(recorded)
    made = problem(recorded())
    certified, params = fitted(made)
    assert certified
    counts = np.diff(made[1])
    free, hard = (float(np.average(losses(made, rows), weights=counts)) for rows in (made[3], params))
    assert hard < free + 0.1  # half-spreads, robust


@pytest.mark.parametrize("seed", range(6))
def test_noisy_chains_are_certified(seed: int) -> None:
    surface = VolSurface.fit(chain(seed, noise=0.01))
    assert surface.certificate.ok
    assert all(part.accepted for part in surface.slices)
    assert min(audit(surface)) > 0.0


def test_a_chain_in_which_every_pair_crosses_gives_way_on_both_sides() -> None:
    # Variance falls with expiry: no surface meets these quotes.
    falling = [quotes(smile(ttm, atm=0.55 * math.sqrt(0.05 / ttm) * 0.98**i)) for i, ttm in enumerate((0.05, 0.1, 0.2))]
    made = problem(falling)
    certified, params = fitted(made)
    assert certified
    assert (losses(made, params) > 0.1).all()


def test_the_answer_hardly_depends_on_the_start() -> None:
    made = problem(chain(3))
    _, params = fitted(made)
    random = np.random.default_rng(5)
    for _ in range(5):
        start = made[3] * (1.0 + random.normal(0.0, 0.1, made[3].shape))
        start[:, 4] = np.abs(start[:, 4])
        certified, other = fitted(made, start)
        assert certified
        np.testing.assert_allclose(losses(made, other), losses(made, params), atol=2e-3)


def test_one_slice_alone_is_a_chain_too() -> None:
    certified, params = fitted(problem([quotes(smile(0.25))]))
    assert certified
    assert params[0, 0] + params[0, 1] * params[0, 4] > 0.0


def test_the_same_input_gives_the_same_bytes() -> None:
    made = problem(chain(7))
    assert fitted(made)[1].tobytes() == fitted(made)[1].tobytes()
