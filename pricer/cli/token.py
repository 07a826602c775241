"""`volstream token`: who may talk to a sidecar."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from pricer.cli.options import option
from pricer.cli.reporting import UsageError
from pricer.cli.values import moment

EXAMPLE = "volstream token --name bot --scope read --expires 2027-06-30 >> tokens.toml"


def token(
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Whose it is; it stands in the file.")] = "client",
    scope: Annotated[
        str, typer.Option("--scope", metavar="NAMES", help="What it is good for: read, control, admin.")
    ] = "read",
    expires: Annotated[
        int | None, option("--expires", parse=moment, metavar="DATE", help="Valid until then; by default for ever.")
    ] = None,
) -> None:
    """Make a token for the sidecar: it is shown once, on stderr; the line for server.tokens_file goes to stdout."""
    from pricer.sidecar.auth import Scopes, new_token

    try:
        scopes = Scopes.named(word.strip() for word in scope.split(","))
    except ValueError as error:
        raise UsageError(f"--scope: {error}") from None
    if expires is not None and expires <= time.time_ns():
        raise UsageError("--expires: that moment has passed: nobody could use the token")
    secret, made = new_token(name, scopes, expires)
    print(f"the token, which nobody can show again:\n{secret}\nthe line for server.tokens_file:", file=sys.stderr)
    print(made.line())
