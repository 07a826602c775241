"""`volstream replay` on real frames: Deribit, recorded by cryptofeed on 2021-07-22."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pricer import cli
from pricer.adapters.recording import RecordingWriter
from pricer.clock import NS_PER_SECOND, Instant
from pricer.errors import RecordingError
from pricer.report import FIELDS, Report, last_marks, report
from tests.data import CHECKOUT, data_path

RECORDING = "wire/cryptofeed/DERIBIT.ws.1.0"


@pytest.fixture(scope="module")
def recording() -> Path:
    return data_path(RECORDING)


@pytest.fixture(scope="module")
def found(recording: Path) -> Report:
    return report(recording)


def replay(*words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "pricer.cli", "replay", *words]
    return subprocess.run(command, env=environment, capture_output=True, timeout=200, check=False)


def test_a_replay_in_another_process_prints_the_same_bytes(recording: Path, found: Report) -> None:
    answer = replay(str(recording), "--json")
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.decode() == found.as_json()
    assert len(json.loads(answer.stdout)["options"]) == 10


def test_the_options_that_were_subscribed_to_are_there(found: Report) -> None:
    # The subscribe request in the file's second line.
    assert [row["name"] for row in found.rows] == [
        "BTC-30JUL21-24000-P",
        "BTC-24SEP21-8000-P",
        "BTC-24SEP21-34000-P",
        "BTC-31DEC21-34000-P",
        "BTC-31DEC21-300000-C",
        "BTC-25MAR22-30000-C",
        "BTC-24JUN22-15000-C",
        "ETH-23JUL21-2300-C",
        "ETH-30JUL21-2800-C",
        "ETH-27AUG21-4000-P",
    ]


def test_the_venues_numbers_are_those_of_the_last_frame(found: Report, recording: Path) -> None:
    frames = [
        json.loads(line.partition(b": ")[2]) for line in recording.read_bytes().splitlines()[2:] if b"ticker" in line
    ]
    tickers = [frame["params"]["data"] for frame in frames if "params" in frame]
    last = {ticker["instrument_name"]: ticker for ticker in tickers if "greeks" in ticker}
    for row in found.rows:
        ticker = last[row["name"]]
        assert row["venue_iv"] == pytest.approx(ticker["mark_iv"] / 100, rel=1e-12)
        assert row["mark"] == ticker["mark_price"]
        for greek in ("delta", "gamma", "vega", "theta", "rho"):
            assert row[f"venue_{greek}"] == ticker["greeks"][greek]


def test_where_we_have_the_venues_volatility_we_have_its_greeks(found: Report) -> None:
    near = [row for row in found.rows if row["iv"] is not None and abs(row["iv"] / row["venue_iv"] - 1) < 0.01]
    assert len(near) >= 4
    for row in near:
        # A volatility off by one per cent moves these by about as much; ours also stand at a slightly later forward.
        assert row["delta"] == pytest.approx(row["venue_delta"], abs=0.005)
        assert row["vega"] == pytest.approx(row["venue_vega"], rel=0.02)
        assert row["theta"] == pytest.approx(row["venue_theta"], rel=0.02)
        assert row["rho"] == pytest.approx(row["venue_rho"], rel=0.02)


def test_a_number_that_is_invalid_is_absent_and_says_why(found: Report) -> None:
    invalid = [row for row in found.rows if row["status"] == "INVALID"]
    assert invalid
    for row in invalid:
        assert row["iv"] is None
        assert row["delta"] is None
        assert row["reasons"]
        assert "REPLAY" not in row["reasons"]


def test_csv_json_and_text_hold_the_same_rows(found: Report) -> None:
    table = list(csv.DictReader(io.StringIO(found.as_csv())))
    listed = json.loads(found.as_json())["options"]
    assert tuple(table[0]) == FIELDS
    assert len(table) == len(listed) == len(found.rows)
    assert [float(row["venue_iv"]) for row in table] == [row["venue_iv"] for row in listed]
    text = found.as_text()
    assert all(row["name"] in text for row in listed)
    assert "nan" not in text + found.as_csv() + found.as_json().lower()
    assert f"digest {found.digest}" in text


def test_one_underlying_can_be_chosen_and_a_wrong_one_is_named(recording: Path) -> None:
    only = report(recording, "ETH")
    assert {row["name"].partition("-")[0] for row in only.rows} == {"ETH"}
    with pytest.raises(RecordingError, match=r"no options of 'DOGE'; it has BTC, ETH, SOL"):
        report(recording, "DOGE")


def test_everything_lists_the_options_of_which_nothing_came_too(found: Report, recording: Path) -> None:
    whole = report(recording, everything=True)
    assert len(whole.rows) == len(whole.snapshot) > len(found.rows)
    assert whole.digest == found.digest
    assert len(last_marks(recording)) >= len(found.rows)


def test_a_file_that_is_no_recording_fails_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("bread, milk\n")
    for path, named in ((tmp_path / "notes.txt", "notes.txt: line 1"), (tmp_path / "gone", "gone: No such file")):
        with pytest.raises(SystemExit) as ended:
            cli.main(["replay", str(path), "--csv"])
        said = capsys.readouterr()
        assert (ended.value.code, said.out) == (1, "")
        assert named in said.err.splitlines()[-1]
        assert "Traceback" not in said.err


def test_R01_a_replay_says_what_was_cut_off_of_a_recording(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pricer.launch.warm_kernels", lambda console: None)
    path, now = tmp_path / "session.vsr", Instant(1_795_000_000 * NS_PER_SECOND, NS_PER_SECOND)
    with RecordingWriter(path, {"venue": "deribit", "underlyings": ["BTC"], "price_marks": True}) as writer:
        for _ in range(3):
            writer.price_mark(now)
    whole = path.read_bytes()
    for length, warned in ((len(whole), ""), (len(whole) - 5, "cut here; the last ")):
        path.write_bytes(whole[:length])
        with pytest.raises(SystemExit) as ended:
            cli.main(["replay", str(path)])
        said = capsys.readouterr()
        assert ended.value.code == 0
        assert said.out.startswith(f"{3 if length == len(whole) else 2} snapshots")
        assert warned in said.err
        assert said.err.count("\n") == bool(warned)
