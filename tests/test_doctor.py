"""The self-check finds what is right, and what is wrong."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import pricer
from pricer import doctor


def by_name(findings: Iterator[doctor.Finding] | list[doctor.Finding]) -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in findings}


@pytest.fixture(scope="module")
def findings() -> list[doctor.Finding]:
    return doctor.examine()


def test_on_a_sound_machine_every_check_passes(findings: list[doctor.Finding]) -> None:
    assert [finding for finding in findings if finding.state == "failed"] == []
    wanted = {
        "python",
        "cpu",
        "packages",
        "kernel cache",
        "reference values",
        "round trip",
        "parity",
        "greeks",
        "vollib",
    }
    assert wanted <= set(by_name(findings))


def test_it_names_versions_processor_and_cache(findings: list[doctor.Finding]) -> None:
    found = by_name(findings)
    assert "numba " in found["packages"].detail
    assert "cores usable" in found["cpu"].detail
    assert "kernels-" in found["kernel cache"].detail


def test_it_notes_damaged_kernels_and_a_cache_that_will_not_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rating.rate_model-0.nbc").write_bytes(b"damaged")
    monkeypatch.setattr("pricer.kernels.jit.cache_directory", lambda: tmp_path)
    monkeypatch.setattr("pricer.kernels.jit.cache_is_kept", lambda: True)
    assert doctor._cache().state == "note"
    assert "1 damaged" in doctor._cache().detail
    monkeypatch.setattr("pricer.kernels.jit.cache_is_kept", lambda: False)
    assert "lost at exit" in doctor._cache().detail


def test_a_wrong_price_fails_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    true_price = pricer.price

    def off_by_a_little(*args: Any, **options: Any) -> Any:
        return true_price(*args, **options) * (1 + 1e-6)

    monkeypatch.setattr(pricer, "price", off_by_a_little)
    found = by_name(doctor._numbers())
    assert found["reference values"].state == "failed"
    assert found["round trip"].state == "failed"


def test_a_nan_fails_and_does_not_slip_through_a_comparison() -> None:
    finding = doctor._checked("broken", lambda: (float("nan"), 1.0, "nothing"))
    assert finding.state == "failed"


def test_without_vollib_the_comparison_is_left_out_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    true_version = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: None if name == "vollib" else true_version(name))
    finding = by_name(doctor._numbers())["vollib"]
    assert finding.state == "note"
    assert 'pip install "volstream[oracle]"' in finding.detail


def test_a_missing_package_is_named_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    true_version = doctor.version_of
    monkeypatch.setattr(
        doctor, "version_of", lambda name: None if name in ("msgspec", "uvicorn") else true_version(name)
    )
    found = list(doctor._packages())
    assert found[0].state == "failed"
    assert "msgspec" in found[0].detail
    server = by_name(found)["[server]"]
    assert server.state == "note"
    assert 'uvicorn; pip install "volstream[server]"' in server.detail


def test_the_report_has_one_line_a_finding_and_a_verdict(findings: list[doctor.Finding]) -> None:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as capture:
        doctor.show([*findings, doctor.Finding("made up", "failed", "it is not")], console)
    lines = capture.get().splitlines()
    assert len(lines) == len(findings) + 2
    assert lines[-2].startswith("× made up")
    assert lines[-1] == "1 check failed"
    assert json.loads(doctor.as_json(findings))[0]["name"] == "volstream"
