"""Raw SVI in the browser's words, beside the Python smiles: the same numbers to the last few bits."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from pricer.sidecar.smile_points import points_of
from pricer.surfaces.deltas import delta_of, strike_at_delta
from pricer.surfaces.density import cumulative
from pricer.surfaces.svi import SviParams, SviSmile
from tests.data import CHECKOUT

NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(NODE is None, reason="there is no node on this machine")

PROGRAM = """
import * as svi from "MODULE";
import { readFileSync } from "node:fs";
const { smiles, ks, zs, ps } = JSON.parse(readFileSync(0, "utf8"));
const each = (name) => smiles.map((smile) => ks.map((k) => svi[name](smile, k)));
console.log(JSON.stringify({
  ...Object.fromEntries(["variance", "iv", "slope", "bend", "durrleman", "density", "cumulative", "callDelta"]
    .map((name) => [name, each(name)])),
  points: smiles.map(svi.points),
  strikes: smiles.map((smile) => [0.9, 0.5, 0.1, 0.01].map((p) => svi.kAtD1(smile, svi.normalQuantile(p)))),
  cdf: zs.map(svi.normalCdf),
  quantile: ps.map(svi.normalQuantile),
  forward: svi.forwardVolatility({ atm_iv: 0.5, ttm: 0.25 }, { atm_iv: 0.6, ttm: 0.5 }),
  falling: Number.isNaN(svi.forwardVolatility({ atm_iv: 0.9, ttm: 0.25 }, { atm_iv: 0.5, ttm: 0.5 })),
  nowhere: [svi.kAtD1({ a: -1, b: 0, rho: 0, m: 0, sigma: 1, ttm: 1 }, 0), svi.iv({ ...smiles[0], a: -9 }, 0)]
    .every(Number.isNaN),
}));
"""

SMILES = (
    SviSmile(1 / 365, 100_000.0, SviParams(0.0002, 0.018, -0.12, 0.002, 0.02)),
    SviSmile(0.25, 97_412.31, SviParams(0.01, 0.12, -0.45, 0.03, 0.25)),
    SviSmile(1.0, 3_000.0, SviParams(0.2, 0.3, 0.3, -0.1, 0.6)),
    SviSmile(3.0, 100.0, SviParams(3.3, 0.2, -0.1, 0.0, 1.5)),
)
KS = np.linspace(-0.6, 0.6, 61)
ZS = np.linspace(-9.0, 6.0, 151)
PS = np.array([1e-12, 1e-6, 0.01, 0.25, 0.5, 0.75, 0.99])


@pytest.fixture(scope="module")
def of_node() -> dict[str, Any]:
    """What the module says of all of it, in one run."""
    assert NODE is not None
    module = (CHECKOUT / "pricer" / "sidecar" / "web" / "svi.js").as_uri()
    smiles = [{**s.params._asdict(), "ttm": s.ttm, "forward": s.forward} for s in SMILES]
    answer = subprocess.run(
        [NODE, "--input-type=module", "--eval", PROGRAM.replace("MODULE", module)],
        input=json.dumps({"smiles": smiles, "ks": KS.tolist(), "zs": ZS.tolist(), "ps": PS.tolist()}),
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return dict(json.loads(answer.stdout))


@pytest.mark.parametrize("i", range(len(SMILES)))
def test_the_curve_and_its_derivatives_are_those_of_python(of_node: dict[str, Any], i: int) -> None:
    smile, strikes = SMILES[i], SMILES[i].forward * np.exp(KS)
    expected = {
        "variance": smile.total_variance(KS),
        "iv": smile.iv(strikes),
        "slope": smile.dw(KS),
        "bend": smile.d2w(KS),
        "durrleman": smile.durrleman_g(KS),
        "density": smile.density(strikes),
        "callDelta": delta_of(smile, strikes, 1, "forward"),
        "cumulative": cumulative(smile, strikes),
    }
    for name, values in expected.items():
        # Below 1e-100 of the largest nothing is ever drawn; log(exp(k)) moves k by a rounding, and d2 by d2/√w of it.
        np.testing.assert_allclose(of_node[name][i], values, rtol=1e-12, atol=1e-15, err_msg=name)


@pytest.mark.parametrize("i", range(len(SMILES)))
def test_the_25_delta_figures_and_strikes_by_delta_are_those_of_the_sidecar(of_node: dict[str, Any], i: int) -> None:
    found = of_node["points"][i]
    assert (found["atm_iv"], found["rr25"], found["bf25"]) == pytest.approx(points_of(SMILES[i]), rel=1e-12, abs=1e-14)
    strikes = SMILES[i].forward * np.exp(of_node["strikes"][i])
    expected = [strike_at_delta(SMILES[i], delta, "forward").strike for delta in (0.9, 0.5, 0.1, 0.01)]
    np.testing.assert_allclose(strikes, expected, rtol=1e-12)


def test_the_normal_distribution_holds_in_the_tails(of_node: dict[str, Any]) -> None:
    exact = [0.5 * math.erfc(-z / math.sqrt(2)) for z in ZS]
    np.testing.assert_allclose(of_node["cdf"], exact, rtol=2e-13)
    np.testing.assert_allclose(of_node["quantile"], [NormalDist().inv_cdf(p) for p in PS], rtol=1e-12, atol=1e-15)


def test_forward_volatility_is_of_the_rise_in_variance_and_nan_where_it_falls(of_node: dict[str, Any]) -> None:
    assert of_node["forward"] == pytest.approx(math.sqrt((0.36 * 0.5 - 0.25 * 0.25) / 0.25), rel=1e-15)
    assert of_node["falling"]
    assert of_node["nowhere"]
