"""A hundred seeds of the simulator bench, and proof that its checks see what they are there to see."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest

import pricer
from pricer.simulator.faults import KINDS, Script, fault, parse_script
from tests.simulate.__main__ import keep, main
from tests.simulate.oracle import BookTruth, black, price_or_none
from tests.simulate.scenario import Result, compare, run_seed, script_of

SEEDS = 100  # `make simulate` has a thousand
A_CASE = 10


@pytest.mark.parametrize("first", range(0, SEEDS, A_CASE))
def test_I1_to_I12_and_liveness_hold_under_random_faults(first: int) -> None:
    failed = [result for result in map(run_seed, range(first, first + A_CASE)) if not result.is_good]
    said = "\n".join(f"python -m tests.simulate --seed {result.seed}: {result.problem}" for result in failed)
    assert not failed, f"\n{said}"


@pytest.mark.parametrize("seed", [3, 40])
def test_I7_a_seed_gives_the_same_bytes_again(seed: int) -> None:
    first = run_seed(seed)
    assert first.digest
    assert compare(first, run_seed(seed)) is None
    assert run_seed(seed + 1).digest != first.digest


def test_I7_a_recording_of_a_run_gives_its_snapshots_again(tmp_path: Path) -> None:
    result = run_seed(5, keep=tmp_path / "5.vsr")
    sha = hashlib.sha256()
    for snapshot in pricer.replay(tmp_path / "5.vsr"):
        sha.update(snapshot.digest().encode())
    assert sha.hexdigest() == result.digest


def test_a_run_without_faults_checks_numbers_and_recovers_at_once() -> None:
    result = run_seed(1, script=())
    assert result.is_good, result.problem
    assert result.recovery_s < 1.0
    least = {"snapshots": 30, "rows": 1_000, "model_ok": 500, "quote_ok": 900, "prices": 6, "frames": 400, "books": 50}
    assert all(result.counts[name] >= count for name, count in least.items()), result.counts


def test_the_random_schedules_hit_with_nearly_every_kind() -> None:
    drawn = Counter(each.name for seed in range(SEEDS) for each in script_of(seed))
    assert set(drawn) == set(KINDS)
    assert min(drawn.values()) >= 3


def stuck(script: Script) -> Result:
    return run_seed(2, script=script)


def test_a_venue_that_stays_dead_is_found_by_the_liveness_check() -> None:
    result = stuck(parse_script([[8.0, "zombie", {"for_s": 500.0}]]))
    assert result.problem is not None
    assert "liveness" in result.problem


def test_a_number_out_of_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The observer is told another bid than the engine."""
    monkeypatch.setattr("tests.simulate.oracle.price_or_none", lambda value: price_or_none(value) * 1.01)
    problem = run_seed(2, script=()).problem
    assert problem is not None
    assert "nobody quoted" in problem


def test_a_wrong_book_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """One level of the witness's is another."""
    right = BookTruth.sent

    def sent(self: BookTruth, frame: bytes) -> None:
        right(self, frame.replace(b'["change",', b'["delete",'))
        self._sent.add(frame)

    monkeypatch.setattr(BookTruth, "sent", sent)
    problem = run_seed(2, script=()).problem
    assert problem is not None
    assert "I2 the book of" in problem


def test_a_wrong_price_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.simulate.checks.black", lambda *given: black(*given) * (1 + 1e-6))
    problem = run_seed(2, script=()).problem
    assert problem is not None
    assert "is not" in problem or "is off by" in problem


def test_a_failing_seed_is_kept_with_all_that_is_known(tmp_path: Path) -> None:
    folder = keep(Result(7, (fault(1.0, "reset"),), problem="at 2 s: I1 it is wrong"), tmp_path)
    assert {each.name for each in folder.iterdir()} == {"recording.vsr", "script.json", "problem.txt"}
    assert "--seed 7" in (folder / "problem.txt").read_text()


def test_the_command_shows_the_faults_of_one_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["simulate", "--seed", "4"])
    assert main() == 0
    out = capsys.readouterr().out
    assert " s  " in out
    assert "| failed | 0 |" in out
