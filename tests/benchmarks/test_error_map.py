"""The picture of the error: what is asked, what is shown of it, and that it is small enough to be kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import error_map
from tests.data import CHECKOUT

PNG = b"\x89PNG\r\n\x1a\n"


def test_every_option_is_out_of_the_money_and_in_its_cell() -> None:
    (forward, strike, ttm, sigma, cp), cell = error_map.make_grid(4)
    k, s = np.log(strike / forward), sigma * np.sqrt(ttm)
    assert (np.sign(k) == cp).all()
    assert set(cp) == {1.0, -1.0}
    across = np.floor(np.abs(k) / s / error_map.MOST_DEVIATIONS * error_map.WIDTH)
    off_by = np.abs(across - cell % error_map.WIDTH)
    assert (off_by <= 1).all()
    assert (off_by > 0).mean() < 1e-3  # at an edge ln(K/F) of the rounded strike falls to the other side
    assert np.abs(k).max() < error_map.MOST_MONEYNESS


def test_the_worst_of_each_cell_is_shown() -> None:
    shown = error_map.worst(np.array([3, 3, 3, 5, 7]), np.array([0.2, 9.0, np.nan, np.inf, np.nan]))
    assert shown.shape == (error_map.HEIGHT, error_map.WIDTH)
    assert (shown[0, 3], shown[0, 5]) == (9.0, np.inf)
    assert np.isnan(shown).sum() == shown.size - 2


def test_the_picture_is_a_small_png(tmp_path: Path) -> None:
    u = np.exp(np.random.default_rng(0).normal(size=(error_map.HEIGHT, error_map.WIDTH)))
    error_map.draw({"ours": u, "theirs": 100.0 * u}, tmp_path / "map.png")
    for path in (tmp_path / "map.png", CHECKOUT / "docs" / "images" / "kernels_error.png"):
        content = path.read_bytes()
        assert content.startswith(PNG)
        assert len(content) < 150_000
