"""`volstream doctor`: is this installation whole?"""

from __future__ import annotations

from typing import Annotated

import typer

from pricer.cli.reporting import FAILED, OK

EXAMPLE = "volstream doctor --json"


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Versions, processor, kernel cache, and a self-check of the numbers; exit code 1 when a check fails."""
    from rich.console import Console

    from pricer import doctor as clinic

    findings = clinic.examine()
    if as_json:
        print(clinic.as_json(findings))
    else:
        clinic.show(findings, Console())
    return FAILED if any(finding.state == "failed" for finding in findings) else OK
