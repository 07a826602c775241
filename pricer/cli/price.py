"""`volstream price`: one option, without a market."""

from __future__ import annotations

from typing import Annotated

import typer

from pricer.cli.options import option
from pricer.cli.reporting import FAILED, OK, UsageError, complain
from pricer.cli.values import moment, not_negative, positive, side

EXAMPLE = "volstream price --forward 100000 --strike 110000 --expiry 26MAR27 --sigma 0.6 --cp call --inverse"


def price(
    forward: Annotated[float, option("--forward", parse=positive, metavar="F", help="The forward of the expiry.")],
    strike: Annotated[float, option("--strike", parse=positive, metavar="K", help="The strike.")],
    cp: Annotated[int, option("--cp", parse=side, metavar="call|put", help="A call or a put.")],
    sigma: Annotated[
        float | None, option("--sigma", parse=not_negative, metavar="VOL", help="The volatility: 0.6 is 60 %.")
    ] = None,
    premium: Annotated[
        float | None,
        option("--premium", parse=not_negative, metavar="V", help="In place of --sigma: the premium to invert."),
    ] = None,
    ttm: Annotated[
        float | None, option("--ttm", parse=not_negative, metavar="YEARS", help="Time to expiry in years, ACT/365.")
    ] = None,
    expiry: Annotated[
        int | None,
        option("--expiry", parse=moment, metavar="DATE", help="In place of --ttm: 26MAR27 or 2026-03-26T08:00."),
    ] = None,
    now: Annotated[
        int | None, option("--now", parse=moment, metavar="DATE", help="Count from here to --expiry; by default now.")
    ] = None,
    discount: Annotated[
        float, option("--discount", parse=positive, metavar="D", help="The discount factor to expiry.")
    ] = 1.0,
    inverse: Annotated[bool, typer.Option("--inverse", help="Coin-settled: premiums are in coin.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """The price and the Greeks of one option; or the volatility that a premium implies."""
    from pricer import calculator

    if (sigma is None) == (premium is None):
        raise UsageError("give one of --sigma and --premium")
    if (ttm is None) == (expiry is None):
        raise UsageError("give one of --ttm and --expiry")
    if ttm is None:
        assert expiry is not None
        ttm = calculator.years_until(expiry, now)
        if ttm < 0:
            raise UsageError(f"the expiry is {-ttm * 365:.4g} days in the past")
    result = calculator.calculate(forward, strike, ttm, cp, discount, sigma=sigma, premium=premium, inverse=inverse)
    print(result.as_json() if as_json else result.as_text())
    if not result.is_priced:
        complain(f"no volatility gives this premium: {result.status.name} ({result.bounds})")
        return FAILED
    return OK
