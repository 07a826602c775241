"""Some thousands of the messages that `python -m tests.fuzz --target requests|messages` makes a million of."""

from __future__ import annotations

import pytest

from tests.fuzz.run import Fault
from tests.fuzz.sidecar import TARGETS, fuzz_sidecar


def test_V05_mutated_requests_get_one_answer_each_and_no_crash() -> None:
    tally = fuzz_sidecar(7_000, 20261122, "requests")
    for code in ("bad_json", "bad_request", "unknown_op", "snapshot", "pong"):
        assert tally.events[code] > 20, code


def test_V05_a_broken_sidecar_costs_a_bot_nothing_but_a_typed_error() -> None:
    tally = fuzz_sidecar(3_000, 20261122, "messages")
    for kind in ("state", "refused", "nothing new"):
        assert tally.events[kind] > 100, kind


@pytest.mark.parametrize("encoding", ["msgpack", "protobuf"])
def test_V05_so_it_is_in_the_binary_encodings(encoding: str) -> None:
    asked = fuzz_sidecar(3_000, 20261122, f"requests-{encoding}")
    for code in ("bad_binary", "bad_request", "snapshot", "pong"):
        assert asked.events[code] > 20, code
    told = fuzz_sidecar(1_500, 20261122, f"messages-{encoding}")
    for kind in ("state", "refused", "nothing new"):
        assert told.events[kind] > 50, kind


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_seed_does_the_same(target: str) -> None:
    first, second = (fuzz_sidecar(200, 7, target) for _ in range(2))
    assert (first.digest, first.events) == (second.digest, second.events)


def test_the_fuzzer_finds_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise KeyError("an unforeseen field")

    with monkeypatch.context() as patch:
        patch.setattr("pricer.sidecar.requests.key_of", crash)
        with pytest.raises(Fault, match="unforeseen"):
            fuzz_sidecar(500, 1, "requests")
    monkeypatch.setattr("pricer.sidecar.replica._check", crash)
    with pytest.raises(Fault, match="unforeseen"):
        fuzz_sidecar(500, 1, "messages")
