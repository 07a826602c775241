"""Query parameters that several paths share, and the subscription that a question about a chain stands for."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query, Request
from pydantic import ValidationError

from pricer.expiries import parse_expiry
from pricer.sidecar.filters import key_of
from pricer.sidecar.protocol import Refused, StreamKey, Subscribe
from pricer.sidecar.routes.errors import Refusal, refusal_of
from pricer.sidecar.wording import described, value_shown
from pricer.snapshot import VALUE_FIELDS, Snapshot

Venue = Annotated[str | None, Query(min_length=1, max_length=64, description="The venue; the configured one.")]
Format = Annotated[
    str | None, Query(max_length=16, description="json, csv, msgpack or arrow; stands above the header Accept.")
]
Underlying = Annotated[str, Path(min_length=1, max_length=64, description="What /v1/underlyings lists.")]
Columns = Annotated[
    str | None, Query(max_length=2048, description="Value columns, by commas; all by default.", examples=["iv,delta"])
]
Expiries = Annotated[
    str | None,
    Query(max_length=2048, description="Expiries by commas, or first:n for the nearest n.", examples=["first:2"]),
]
Strikes = Annotated[
    str | None,
    Query(max_length=64, description="A window around the forward: count:n, percent:x, delta:x.", examples=["count:5"]),
]


async def only_known(request: Request) -> None:
    """A dependency of every path: `Refusal` 422 for a parameter that it has not, or has twice.

    Unheeded, a slip of the pen would be answered as if it had not been asked.
    """
    there = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in there:
            known = f"there are {', '.join(sorted(there))}" if there else "there are none"
            raise Refusal(422, f"no parameter {value_shown(name)}; {known}", "unknown_parameter")
        if name in seen:
            raise Refusal(422, f"{name}: given more than once; write all its values by commas, or one")
        seen.add(name)


def chain_key(
    snapshot: Snapshot, venue: str, underlying: str, columns: str | None, expiries: str | None, strikes: str | None
) -> StreamKey:
    """The stream of the subscription with these filters; `Refusal` 422 names the one that cannot be."""
    message: dict[str, Any] = {"op": "subscribe", "channel": "chain", "underlying": underlying, "venue": venue}
    if columns is not None:
        message["columns"] = names = [each.strip() for each in columns.split(",")]
        for name in names:
            if name not in VALUE_FIELDS:
                raise Refusal(422, f"columns: no column {name[:40]!r}; there are {', '.join(VALUE_FIELDS)}")
    if expiries is not None:
        message["expiries"] = _expiries(expiries)
    if strikes is not None:
        message["strikes"] = _strikes(strikes)
    try:
        subscription = Subscribe.model_validate(message)
    except ValidationError as error:
        faults: list[Any] = [{**fault, "loc": ("query", *fault["loc"])} for fault in error.errors()]
        if faults[0]["loc"][1] == "expiries":
            what = (
                f"expiries: write first:n, n from 1 to 1000, or at most 64 dates by commas, not {value_shown(expiries)}"
            )
            raise Refusal(422, what) from None
        raise Refusal(422, described(faults)) from None
    try:
        return key_of(subscription, venue, snapshot)
    except Refused as refused:
        raise refusal_of(refused) from None


def _expiries(text: str) -> Any:
    word, found, number = text.partition(":")
    if found and word.strip() == "first":
        return {"first": _number("expiries", number, int)}
    return [each.strip() for each in text.split(",")]


def _strikes(text: str) -> Any:
    word, found, number = text.partition(":")
    if not found or word.strip() not in ("count", "percent", "delta"):
        raise Refusal(422, f"strikes: write count:n, percent:x or delta:x, not {text!a}")
    return {word.strip(): _number("strikes", number, int if word.strip() == "count" else float)}


def _number(field: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        return kind(text)
    except ValueError:
        what = "no whole number" if kind is int else "no number"
        raise Refusal(422, f"{field}: {value_shown(text)} is {what}") from None


def expiry_asked(text: str) -> int:
    """The instant of an expiry in a path; `Refusal` 422 where the text is none."""
    try:
        return parse_expiry(text)
    except ValueError as error:
        raise Refusal(422, f"expiry: {error}") from None
