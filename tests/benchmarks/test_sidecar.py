"""The benchmark of the sidecar runs, its clients find the instants, and a client that reads nothing is one more."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.sets import Floats
from benchmarks.sidecar import Stalling, measure, stalling
from benchmarks.sidecar_clients import computed_ns
from benchmarks.sidecar_servers import payloads, stamped

NOW = 1_795_276_826_715_750_518


def test_the_instant_is_found_in_every_encoding() -> None:
    assert computed_ns(b'{"type":"delta","computed_ns":1795276826715750518,"rows":[1]}') == NOW
    assert computed_ns(b'{"computed_ns": 1795276826715750518}') == NOW
    assert computed_ns(b"\x81\xabcomputed_ns\xcf" + NOW.to_bytes(8, "big") + b"\x01") == NOW
    twice = b'{"received_ns":1795276826715750518,"computed_ns":1795276826715750518}'
    assert str(NOW).encode() not in stamped(twice, NOW)(NOW + 1), "wherever it stands"
    assert computed_ns(stamped(twice, NOW)(NOW + 1)) == NOW + 1
    body = b"\x81\xabcomputed_ns\xcf" + NOW.to_bytes(8, "big")
    assert computed_ns(stamped(body, NOW)(NOW + 1)) == NOW + 1
    made = payloads()
    assert set(made) == {"volstream.v1.json", "volstream.v1.msgpack"}
    for make in made.values():
        message = make(NOW)
        assert b"delta" in message[:24]
        assert computed_ns(message) == NOW, "one tick for all encodings"


def test_a_run_delivers_every_tick_to_every_client_that_reads() -> None:
    figures = measure("volstream", 3, 0.6, 10.0)
    if not figures.deliveries_per_s:  # the server had no turn for so long
        assert math.isnan(figures.p99)
        figures = measure("volstream", 3, 10.0, 10.0)
    # Thirty were asked for; how many a busy machine manages, and how late, is for the benchmark to say.
    assert figures.deliveries_per_s > 0
    assert 0 < figures.p50 <= figures.p99
    assert 0 < figures.cpu_per_delivery < 0.1


def test_ticks_are_told_apart_by_whether_the_client_that_reads_nothing_was_there() -> None:
    found = stalling(2, 3.0, 20.0, 0.5)
    # Of three turns each; one in which the machine did something else has no ticks.
    assert 1 <= len(found.without) <= 3
    assert 1 <= len(found.beside) <= 3
    assert all(len(turn) > 0 and (turn > 0).all() for turn in found.without + found.beside)
    assert all(each > 0 for each in found.p99())
    assert found.error() >= 0


def test_turns_of_nothing_have_no_figures_and_end_no_benchmark() -> None:
    some, none = [np.array([0.01, 0.02])], list[Floats]()
    assert Stalling(some, some).p99() == pytest.approx((0.0199, 0.0199))
    assert Stalling(some, some).error() == 0.0
    assert math.isnan(Stalling(some, none).p99()[1])
    assert math.isnan(Stalling(some, none).error())
