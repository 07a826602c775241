"""`volstream replay`: a recording through the same engine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pricer.cli.reporting import UsageError

EXAMPLE = "volstream replay recording.vsr --underlying BTC --csv > chain.csv"


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording: ours, or cryptofeed's raw frames.")],
    underlying: Annotated[
        str | None, typer.Option("--underlying", metavar="NAME", help="Only this one; by default all.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the options that are listed but of which nothing came.")
    ] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with all digits.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    digest: Annotated[
        bool, typer.Option("--digest", help="Print only the SHA-256 over all snapshots: equal runs have equal ones.")
    ] = False,
) -> None:
    """A recording through the same engine: its last chain, ours beside the venue's. Twice gives the same bytes."""
    from rich.console import Console

    from pricer import launch
    from pricer.adapters.recording import open_recording
    from pricer.logs import logging_beside
    from pricer.report import report

    if as_csv + as_json + digest > 1:
        raise UsageError("give at most one of --csv, --json and --digest")
    open_recording(file)  # a file that cannot be read is told before anything is compiled
    launch.warm_kernels(Console(stderr=True))
    with logging_beside(screen=False):  # where a recording is cut off is told there
        found = report(file, underlying, everything=everything)
    if digest:
        print(f"{found.digest}  {found.frames} snapshots")
    elif as_csv:
        sys.stdout.write(found.as_csv())
    else:
        sys.stdout.write(found.as_json() if as_json else found.as_text())
