"""Scripts of faults, and the conductor that carries them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pricer.errors import ConfigError
from pricer.simulator.faults import (
    KINDS,
    MOMENTARY,
    Conductor,
    Fault,
    dump_script,
    fault,
    load_script,
    parse_script,
    random_schedule,
)


def test_a_script_is_plain_data_in_order_of_time() -> None:
    script = parse_script([[20, "reset"], [5.0, "zombie", {"for_s": 10.0, "channels": "ticker."}]])
    assert [(each.at_s, each.name, each.for_s) for each in script] == [(5.0, "zombie", 10.0), (20.0, "reset", 0.0)]
    assert script[0].parameters == {"channels": "ticker.", "for_s": 10.0}
    assert str(script[0]) == "zombie channels=ticker. for 10 s"


@pytest.mark.parametrize("suffix", [".json", ".toml"])
def test_a_script_is_read_from_a_file(tmp_path: Path, suffix: str) -> None:
    script = (fault(1.0, "latency", seconds=0.5, for_s=3.0), fault(2.0, "reset"))
    rows = '[1, "latency", {seconds = 0.5, for_s = 3}], [2.0, "reset"]'
    file = tmp_path / f"script{suffix}"
    file.write_text(dump_script(script) if suffix == ".json" else f"script = [{rows}]\n")
    assert load_script(file) == script


@pytest.mark.parametrize(
    "row",
    [
        [1.0, "no such fault"],
        [1.0, "zombie", {"colour": 1}],
        [-1.0, "reset"],
        [1.0, "zombie", {"for_s": float("inf")}],
        [1.0, "drop", {"channels": 5}],
        [1.0, "latency", {"seconds": "long"}],
        ["soon", "reset"],
        [1.0],
        7.0,
    ],
)
def test_a_bad_row_is_an_error(row: Any) -> None:
    with pytest.raises(ConfigError):
        parse_script([row if isinstance(row, list) else [row]])


@pytest.mark.parametrize("text", ["", "{", '{"script": 1}', "3"])
def test_a_file_without_a_script_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "script.json").write_text(text)
    with pytest.raises(ConfigError):
        load_script(tmp_path / "script.json")
    with pytest.raises(ConfigError):
        load_script(tmp_path / "absent.json")


def test_random_schedules_are_their_seeds_and_end_in_time() -> None:
    schedules = [random_schedule(seed, 40.0, where=("venue", "path", "host")) for seed in range(300)]
    assert schedules[7] == random_schedule(7, 40.0, where=("venue", "path", "host"))
    assert len({dump_script(each) for each in schedules}) == 300
    assert all(each.at_s >= 5.0 and each.ends_s <= 40.0 for script in schedules for each in script)
    assert {each.name for script in schedules for each in script} == set(KINDS), "every kind is drawn"
    assert all(each.for_s == 0.0 for script in schedules for each in script if each.name in MOMENTARY)
    assert {each.kind.where for each in random_schedule(1, 400.0, where=("path",))} == {"path"}


def test_a_schedule_survives_its_file(tmp_path: Path) -> None:
    script = random_schedule(3, 60.0)
    (tmp_path / "3.json").write_text(dump_script(script))
    assert load_script(tmp_path / "3.json") == script


class Told:
    """A target that writes down what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str]] = []

    def begin(self, key: int, fault: Fault) -> None:
        self.steps.append(("begin", fault.name))

    def end(self, key: int, fault: Fault) -> None:
        self.steps.append(("end", fault.name))


def test_the_conductor_begins_and_ends_each_fault_once() -> None:
    told, announced = Told(), list[tuple[str, bool]]()
    script = (fault(1.0, "zombie", for_s=2.0), fault(2.0, "reset"), fault(3.0, "latency", for_s=1.0))
    conductor = Conductor(
        script, {"venue": told, "path": told}, lambda each, began: announced.append((each.name, began))
    )
    assert conductor.next_s == 1.0
    conductor.advance(0.5)
    assert told.steps == []
    conductor.advance(2.5)
    assert told.steps == [("begin", "zombie"), ("begin", "reset"), ("end", "reset")]
    assert [each.name for each in conductor.active.values()] == ["zombie"]
    conductor.advance(10.0)
    assert told.steps[3:] == [("end", "zombie"), ("begin", "latency"), ("end", "latency")]
    assert conductor.next_s is None
    assert not conductor.active
    # A momentary fault is told of once.
    assert announced.count(("reset", True)) == 1
    assert ("reset", False) not in announced


def test_a_fault_needs_somebody_to_carry_it_out() -> None:
    with pytest.raises(ConfigError, match="path"):
        Conductor((fault(1.0, "reset"),), {"venue": Told()})
