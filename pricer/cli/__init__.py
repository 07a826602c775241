"""The command `volstream`: a file for each command, `program` that holds them, and what they share.

Commands import what they need when they run, so that `--help` and `--version` answer at once.
"""

from __future__ import annotations

from pricer.cli.program import app, main

__all__ = ["app", "main"]
