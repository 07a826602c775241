"""docs/conventions.md against the code and against mathematics: its formulas are evaluated, its lists compared."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import mpmath
import pytest

from pricer.conventions import Reason, Status
from pricer.kernels.status import KernelStatus
from pricer.snapshot import DELTA_FORMS, GREEK_FIELDS, VALUE_FIELDS
from tests.data import CHECKOUT

TEXT = (CHECKOUT / "docs" / "conventions.md").read_text(encoding="utf-8")
# The first and the last cell of each table row whose first cell is a name in code style.
FORMULAS = dict(re.findall(r"^\| `([\w.]+)` \|.*\| `([^`|]+)` \|$", TEXT, re.MULTILINE))

Number = Any  # mpmath's own, untyped
# The orders of differentiation in (F, sigma, T); each derivative in T changes the sign.
ORDERS = {
    "price": (0, 0, 0),
    "delta": (1, 0, 0),
    "gamma": (2, 0, 0),
    "vega": (0, 1, 0),
    "theta": (0, 0, 1),
    "vanna": (1, 1, 0),
    "volga": (0, 2, 0),
    "charm": (1, 0, 1),
    "veta": (0, 1, 1),
    "speed": (3, 0, 0),
    "zomma": (2, 1, 0),
    "color": (2, 0, 1),
    "ultima": (0, 3, 0),
}
# F, K, T, sigma: out of the money, in the money, and a long dated one at the money
POINTS = [("100", "120", "0.25", "0.8"), ("64000", "61000", "0.02", "0.45"), ("1.5", "1.5", "2", "0.3")]
SPOT, RATE, DIVIDEND = "97", "0.03", "0.11"


@pytest.fixture(autouse=True)
def _fifty_digits() -> Any:
    with mpmath.workdps(50):
        yield


def black(forward: Number, strike: Number, ttm: Number, sigma: Number, cp: int) -> Number:
    """Undiscounted Black-76, the definition that everything else is differentiated from."""
    d1 = mpmath.log(forward / strike) / (sigma * mpmath.sqrt(ttm)) + sigma * mpmath.sqrt(ttm) / 2
    d2 = d1 - sigma * mpmath.sqrt(ttm)
    return cp * (forward * mpmath.ncdf(cp * d1) - strike * mpmath.ncdf(cp * d2))


def symbols(point: tuple[str, ...], cp: int) -> dict[str, Number]:
    """What the formulas are written in."""
    forward, strike, ttm, sigma = map(mpmath.mpf, point)
    s = sigma * mpmath.sqrt(ttm)
    d1 = mpmath.log(forward / strike) / s + s / 2
    values = {"F": forward, "K": strike, "T": ttm, "sigma": sigma, "cp": cp, "s": s, "d1": d1, "d2": d1 - s}
    values |= {"S": mpmath.mpf(SPOT), "r": mpmath.mpf(RATE), "q": mpmath.mpf(DIVIDEND)}
    return values | {"phi": mpmath.npdf, "Phi": mpmath.ncdf, "sqrt": mpmath.sqrt}


def evaluated(names: Iterable[str], values: dict[str, Number]) -> dict[str, Number]:
    """`values` and the formulas of `names`, in their order: later ones may use earlier ones."""
    for name in names:
        values = values | {name: eval(FORMULAS[name], {"__builtins__": {}}, values)}
    return values


def documented(point: tuple[str, ...], cp: int) -> dict[str, Number]:
    return evaluated((*GREEK_FIELDS, *DELTA_FORMS), symbols(point, cp))


def close(found: Number, wanted: Number) -> bool:
    return bool(mpmath.almosteq(found, wanted, rel_eps=mpmath.mpf("1e-12"), abs_eps=mpmath.mpf("1e-25")))


@pytest.mark.parametrize("cp", [1, -1])
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", ORDERS)
def test_each_closed_form_is_its_derivative(name: str, point: tuple[str, ...], cp: int) -> None:
    forward, strike, ttm, sigma = map(mpmath.mpf, point)
    orders = ORDERS[name]

    def value(f: Number, v: Number, t: Number) -> Number:
        return black(f, strike, t, v, cp)

    derivative = mpmath.diff(value, (forward, sigma, ttm), orders) if any(orders) else value(forward, sigma, ttm)
    assert close(documented(point, cp)[name], (-1) ** orders[2] * derivative)


@pytest.mark.parametrize("cp", [1, -1])
@pytest.mark.parametrize("point", POINTS)
def test_rho_is_the_rate_derivative_of_the_discounted_price_at_fixed_forward(point: tuple[str, ...], cp: int) -> None:
    forward, strike, ttm, sigma = map(mpmath.mpf, point)
    value = black(forward, strike, ttm, sigma, cp)
    derivative = mpmath.diff(lambda rate: mpmath.exp(-rate * ttm) * value, 0)
    assert close(documented(point, cp)["rho"], derivative)


def forms_by_definition(point: tuple[str, ...], cp: int) -> dict[str, Number]:
    """The delta forms as the derivatives that the table's middle column names."""
    forward, strike, ttm, sigma = map(mpmath.mpf, point)
    spot = mpmath.mpf(SPOT)

    def in_coin(f: Number, v: Number) -> Number:
        return black(f, strike, ttm, v, cp) / f

    coin_delta = mpmath.diff(in_coin, (forward, sigma), (1, 0))
    carried = mpmath.diff(lambda x: black(x * forward / spot, strike, ttm, sigma, cp), spot)
    return {
        "delta_premium_adjusted": forward * coin_delta,
        "delta_coin": coin_delta,
        "delta_cash": forward * mpmath.diff(lambda f: black(f, strike, ttm, sigma, cp), forward),
        "delta_cash_premium_adjusted": forward**2 * coin_delta,
        "delta_spot": carried,
        "vega_coin": mpmath.diff(in_coin, (forward, sigma), (0, 1)),
    }


@pytest.mark.parametrize("cp", [1, -1])
@pytest.mark.parametrize("point", POINTS)
def test_M07_each_delta_form_is_its_definition(point: tuple[str, ...], cp: int) -> None:
    values, wanted = documented(point, cp), forms_by_definition(point, cp)
    assert set(wanted) == set(DELTA_FORMS)
    assert [name for name in wanted if not close(values[name], wanted[name])] == []


@pytest.mark.parametrize("cp", [1, -1])
@pytest.mark.parametrize("name", [name for name in FORMULAS if name.startswith("bsm.")])
def test_the_spot_form_differentiates_at_fixed_spot_and_rates(name: str, cp: int) -> None:
    spot, rate, dividend, ttm = map(mpmath.mpf, (SPOT, RATE, DIVIDEND, "0.4"))
    strike, sigma = mpmath.mpf("103"), mpmath.mpf("0.5")

    def value(x: Number, v: Number, t: Number, r: Number) -> Number:
        return mpmath.exp(-r * t) * black(x * mpmath.exp((r - dividend) * t), strike, t, v, cp)

    forward, discount = spot * mpmath.exp((rate - dividend) * ttm), mpmath.exp(-rate * ttm)
    values = symbols((forward, strike, ttm, sigma), cp)
    values |= {greek: discount * evaluated(GREEK_FIELDS, values)[greek] for greek in GREEK_FIELDS}
    short = name.removeprefix("bsm.")
    orders = (0, 0, 0, 1) if short == "rho" else (*ORDERS[short], 0)
    derivative = mpmath.diff(value, (spot, sigma, ttm, rate), orders)
    assert close(evaluated([name], values)[name], (-1) ** orders[2] * derivative)


def test_the_spot_table_holds_every_greek_that_differs_from_the_forward_form() -> None:
    same = {"price", "vega", "volga", "ultima"}
    assert {f"bsm.{name}" for name in GREEK_FIELDS if name not in same} == {n for n in FORMULAS if n.startswith("bsm.")}


def test_every_reason_stands_in_the_table_with_its_bit() -> None:
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| \w", TEXT, re.MULTILINE)
    assert [(int(bit), name) for bit, name in rows] == [(bit, reason.name) for bit, reason in enumerate(Reason)]


def test_every_status_stands_in_a_table_with_its_number() -> None:
    statuses, codes = TEXT.split("| code | number |")
    row = re.compile(r"^\| `(\w+)` \| (\d+) \| \w", re.MULTILINE)
    assert [(name, int(value)) for name, value in row.findall(statuses)] == [(s.name, s.value) for s in Status]
    assert [(name, int(value)) for name, value in row.findall(codes)] == [(s.name, s.value) for s in KernelStatus]


@pytest.mark.parametrize("name", VALUE_FIELDS)
def test_every_published_column_is_explained(name: str) -> None:
    assert re.search(rf"`[^`]*\b{name}\b[^`]*`", TEXT), f"docs/conventions.md does not name {name}"
