"""What of the dashboard can be checked without a browser: client library, HTTP answers, pace, colours."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.data import CHECKOUT

WEB = CHECKOUT / "pricer" / "sidecar" / "web"
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="there is no node on this machine")
def test_the_client_library_does_what_its_checks_say() -> None:
    assert NODE is not None
    version = subprocess.run([NODE, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").partition(".")[0]) < 20:
        pytest.skip(f"node {version.strip()} has no test runner; 20 has")
    folder = Path(__file__).parent / "web"
    command = [NODE, "--test", "--test-reporter=tap", *sorted(path.name for path in folder.glob("*.test.mjs"))]
    answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0, answer.stdout[-3000:]
    assert int(re.search(r"^# pass (\d+)", answer.stdout, re.MULTILINE)[1]) >= 20  # type: ignore[index]


def test_no_script_makes_markup_or_runs_text() -> None:
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|https?://(?!www\.w3\.org)"
    )
    ours = [path for path in WEB.rglob("*.js") if "vendor" not in path.parts]
    assert len(ours) > 15
    found = {path.name: forbidden.findall(path.read_text()) for path in ours}
    assert {name: hits for name, hits in found.items() if hits} == {}
    page = (WEB / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page)


def luminance(color: str) -> float:
    """Relative luminance of #rrggbb, as WCAG 2.2 has it."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Between 1 and 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_on_every_ground(theme: str) -> None:
    declared = re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", (WEB / "theme.css").read_text())
    colors = {name: pair[theme == "dark"] for name, *pair in declared}
    grounds = [colors[name] for name in ("page", "card", "raised", "in", "atm")]
    for name in ("ink", "soft", "accent", "OK", "DEGRADED", "STALE", "bid", "ask", "alarm"):
        worst = min(contrast(colors[name], ground) for ground in grounds)
        assert worst >= 4.5, (name, worst)
