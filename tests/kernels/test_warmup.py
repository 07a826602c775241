"""Compiling is visible, complete, and done once."""

from __future__ import annotations

import threading

import pytest

from pricer.kernels import warmup as module
from pricer.kernels.warmup import Calls, warmup, warmup_calls


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the calls made, in place of real compilation."""
    made: list[str] = []
    calls: Calls = [("first", lambda: made.append("first")), ("second", lambda: made.append("second"))]
    monkeypatch.setattr(module, "warmup_calls", lambda: calls)
    monkeypatch.setattr(module, "helpers_possible", lambda: 0)
    monkeypatch.setattr(module, "_warm", set())
    return made


def test_progress_counts_up_to_the_total(counted: list[str]) -> None:
    seen: list[tuple[int, int, str]] = []
    warmup(lambda done, total, name: seen.append((done, total, name)))
    assert seen == [(0, 2, "first"), (1, 2, "second"), (2, 2, "")]
    assert counted == ["first", "second"]


def test_what_is_warm_is_not_compiled_again(counted: list[str]) -> None:
    warmup()
    seen: list[int] = []
    warmup(lambda done, total, name: seen.append(done))
    assert counted == ["first", "second"]
    assert seen == [0, 1, 2]


def test_threads_wait_for_one_another(counted: list[str]) -> None:
    threads = [threading.Thread(target=warmup) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == ["first", "second"]


def test_a_failing_kernel_is_heard_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [ValueError("no"), None]

    def call() -> None:
        outcome = outcomes.pop(0)
        if outcome is not None:
            raise outcome

    monkeypatch.setattr(module, "warmup_calls", lambda: [("only", call)])
    monkeypatch.setattr(module, "helpers_possible", lambda: 0)
    monkeypatch.setattr(module, "_warm", set())
    with pytest.raises(ValueError, match="no"):
        warmup()
    warmup()
    assert outcomes == []


def test_every_registered_kernel_runs() -> None:
    names = [name for name, call in warmup_calls()]
    assert {"black76.price", "implied_vol.implied_vol_chain", "chain.quote_ivs", "chain.model_values"} <= set(names)
    assert {"svi_hard.fit_certified", "warm.surface fit"} <= set(names)
    assert len(names) == len(set(names))
    warmup()
