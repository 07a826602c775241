"""The files that make up the project, as git sees them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.data import CHECKOUT


def project_files() -> list[Path]:
    """Every file that git tracks or would track, relative to the checkout; links to folders count as files.

    Skips where there is no git checkout, as in an unpacked source distribution.
    """
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        answer = subprocess.run(listing, cwd=CHECKOUT, capture_output=True, check=True, timeout=60)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    names = [Path(name) for name in answer.stdout.decode().split("\0") if name]
    return [name for name in names if (CHECKOUT / name).exists()]
