"""What the soak command calls flat, and what it does not: leaks of each kind, put into the looks of an hour."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from benchmarks.soak import Sample, Soak, report

LOOKS = 1800  # of an hour, two seconds apart


def an_hour(mib_per_hour: float = 0.0, clients: int = 0, **at_the_end: Any) -> Soak:
    """A run whose memory breathes by some MiB and grows by so much; what is named differs in its second half."""
    rng = np.random.default_rng(7)
    run = Soak(60.0, 60.0, clients, first_types=Counter({"builtins.dict": 40_000}))
    for i in range(LOOKS):
        second = 3600.0 * (i + 1) / LOOKS
        mib = 300.0 + mib_per_hour * second / 3600.0 + rng.normal(0.0, 2.0)
        sample = Sample(second, mib, 8, 30, 40, 20 * i, int(second / 60), 0.97)
        run.samples.append(sample._replace(**at_the_end) if i >= LOOKS // 2 else sample)
    run.last_types = Counter({"builtins.dict": 40_500})
    return run


def test_H03_an_hour_that_breathes_is_flat() -> None:
    assert an_hour().verdict() == []
    assert report(an_hour(0.3))[-1] == "flat"


@pytest.mark.parametrize("mib_per_hour", [2.0, 8.0, 100.0])
def test_H03_growing_memory_is_found_below_its_noise(mib_per_hour: float) -> None:
    (found,) = an_hour(mib_per_hour).verdict()
    assert found.startswith("memory: ")
    assert report(an_hour(mib_per_hour))[-1] == "not flat"


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ({"threads": 9}, "threads: 8 at first, 9 later"),
        ({"tasks": 31}, "tasks: 30 at first, 31 later"),
        ({"descriptors": 44}, "descriptors: 40 at first, 44 later"),
        ({"connections": 30}, "only 30 connections, 59 were to be"),
        ({"ok": 0.5}, "the chain did not come back to OK"),
    ],
)
def test_H03_one_more_of_anything_is_found(what: dict[str, Any], found: str) -> None:
    assert an_hour(**what).verdict() == [found]


def test_H03_objects_that_pile_up_are_named_by_their_type() -> None:
    run = an_hour()
    run.last_types["pricer.sidecar.clients.Client"] = 1500
    assert run.verdict() == ["more pricer.sidecar.clients.Client 0 to 1,500"]


def test_H03_clients_that_come_and_go_are_no_leak_but_those_that_stay_are() -> None:
    assert an_hour(clients=50, descriptors=48, tasks=36).verdict() == []
    assert len(an_hour(clients=50, descriptors=60, tasks=60).verdict()) == 2


def test_H03_a_short_run_gives_no_verdict_on_memory() -> None:
    run = an_hour(100.0)
    run.minutes = 20.0
    assert not any(each.startswith("memory") for each in run.verdict())
    assert any(each.startswith("no verdict on memory") for each in report(run))
