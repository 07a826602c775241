"""Values that people type: what each may be, and the line that refuses what it may not."""

from __future__ import annotations

import math

import typer

from pricer.cli.reporting import UsageError
from pricer.expiries import parse_expiry


def positive(text: str) -> float:
    """A finite number above zero."""
    value = number(text)
    if not value > 0:
        raise typer.BadParameter(f"{text!r} is not above zero")
    return value


def not_negative(text: str) -> float:
    """A finite number, zero or above."""
    value = number(text)
    if value < 0:
        raise typer.BadParameter(f"{text!r} is below zero")
    return value


def number(text: str) -> float:
    """A finite number; commas and underscores may group its digits."""
    try:
        value = float(str(text).replace(",", ""))  # typer hands over defaults as they are
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise typer.BadParameter(f"{text!r} is not a finite number")
    return value


def whole(text: str) -> int:
    """A whole number, zero or above."""
    value = not_negative(text)
    if value != int(value):
        raise typer.BadParameter(f"{text!r} is not a whole number")
    return int(value)


def count(text: str) -> int:
    """A whole number, one or above."""
    value = whole(text)
    if value == 0:
        raise typer.BadParameter(f"{text!r} is not above zero")
    return value


def port_number(text: str) -> int:
    """A TCP port; 0 stands for a free one."""
    value = whole(text)
    if value > 65_535:
        raise typer.BadParameter(f"{text!r} is not a port: they go from 0 to 65535")
    return value


def side(text: str) -> int:
    """+1 for a call, -1 for a put."""
    try:
        return {"call": 1, "c": 1, "put": -1, "p": -1}[text.lower()]
    except KeyError:
        raise typer.BadParameter(f"{text!r} is neither call nor put") from None


def moment(text: str) -> int:
    """An expiry or another moment as integer nanoseconds UTC."""
    try:
        return parse_expiry(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def underlying_list(text: str | None) -> tuple[str, ...] | None:
    """`BTC` or `BTC,ETH`; None where nothing was said."""
    if text is None:
        return None
    names = tuple(word.strip().upper() for word in text.split(",") if word.strip())
    if not names:
        raise UsageError(f"--underlying {text!r} names nothing")
    return names
