"""The audit of a running market sees arbitrage, looks at what surfaces share once, and misses no snapshot."""

from __future__ import annotations

import asyncio

import pytest

import pricer
from benchmarks.audit_market import Auditor, Found, audit, parse
from pricer.conventions import Status
from pricer.surfaces import VolSurface
from tests.surfaces.made import chain, flat, smile, surface_of
from tests.surfaces.test_arbitrage import VOGT


def test_slices_and_pairs_that_surfaces_share_are_audited_once() -> None:
    found = Found()
    surface = VolSurface.fit(chain(seed=1)[:4])
    found.look(surface)
    found.look(surface.updated(1, chain(seed=2)[1]))
    assert (found.surfaces, found.slices, found.pairs) == (2, 4 + 1, 3 + 2)
    assert found.statuses == {Status.OK: 8}
    assert (found.violations, found.uncertified) == (0, 0)
    assert found.worst_g.value > 0.0
    assert found.worst_gap.value > 0.0


def test_both_sorts_of_arbitrage_are_violations_with_an_example() -> None:
    found = Found()
    found.look(surface_of(VOGT))
    assert found.violations == 1
    assert found.worst_g.value == pytest.approx(-0.03286, abs=2e-5)
    found.look(surface_of(flat(0.8, 0.1), flat(0.4, 0.3)))
    assert found.violations == 2
    assert found.worst_gap.value == pytest.approx(0.4**2 * 0.3 - 0.8**2 * 0.1)
    lines = list(found.lines())
    assert sum("VIOLATION" in line for line in lines) == 2
    assert lines[-1].strip() == "2 violations"


def test_a_surface_without_violations_passes_and_one_with_them_does_not() -> None:
    auditor = Auditor()
    auditor.close()
    assert not auditor.passed  # nothing was seen
    auditor.fitted.look(surface_of(smile(0.1), smile(0.2)))
    assert auditor.passed
    auditor.moved.look(surface_of(VOGT))
    assert not auditor.passed


def test_the_embedded_market_is_audited_while_it_runs() -> None:
    pricer.warmup()
    for seconds in (2.0, 40.0):  # a busy machine has less time than it is given
        auditor = Auditor()
        asyncio.run(audit(seconds, 7, auditor))
        auditor.close()
        if auditor.fitted.surfaces > 5 and auditor.missed == 0:
            break
    assert auditor.missed == 0
    assert auditor.fitted.surfaces > 5
    assert auditor.fitted.slices > 5
    assert auditor.moved.slices >= auditor.fitted.slices
    assert auditor.fitted.worst_g.value < 1.0


def test_ten_minutes_are_the_default() -> None:
    assert parse([]).minutes == 10.0
