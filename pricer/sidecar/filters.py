"""From what a client wishes to the key of a stream: equal wishes have equal keys, and what cannot be is refused.

Nothing here grows with the number of options: a name is looked up, never searched for, so that refusing a wish costs
as little as granting it (FAULTS V06). Lists are bounded by the request's own model.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable

from pricer.conventions import NS_PER_DAY
from pricer.sidecar.channels import CHANNELS, Channel
from pricer.sidecar.protocol import Expiries, Refused, StreamKey, Strikes, Subscribe, Unsubscribe
from pricer.snapshot import SliceBlock, Snapshot

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


@runtime_checkable
class KnowsNames(Protocol):
    """A source that knows instruments which are no options, as `pricer.live` does."""

    def underlying_of(self, instrument: str) -> str | None:
        """The underlying of a living instrument; None for an unknown name."""


def key_of(
    request: Subscribe, venue: str, snapshot: Snapshot, source: object = None, min_interval_ms: float = 0.0
) -> StreamKey:
    """The stream that a subscription asks for, `venue` being its own or the default; `Refused` says what is wrong.

    `snapshot` and `source` say which expiries and instruments there are; venue and underlying are the caller's to
    check. A pace that is no slower than the server's own, `min_interval_ms`, is the server's own.
    """
    channel = CHANNELS[request.channel]
    _check_shape(request, channel)
    subject, pace = subject_of(request, venue), request.interval_ms or 0
    if subject[3]:
        _check_instrument(subject[3], subject[2], venue, snapshot, source)
    return StreamKey(
        *subject,
        columns=_columns(request.columns, channel),
        expiries=_expiries(request.expiries, request.underlying or "", venue, snapshot),
        strikes=_strikes(request.strikes),
        interval_ms=pace if pace > min_interval_ms else 0,
    )


def subject_of(request: Subscribe | Unsubscribe, venue: str) -> tuple[str, str, str, str]:
    """What a subscription is about: (channel, venue, underlying, instrument); a client has one for each.

    Names that a channel has no use for are left out: `health` of BTC is `health`.
    """
    channel = CHANNELS[request.channel]
    underlying = request.underlying or "" if "underlying" in channel.required else ""
    instrument = request.instrument or "" if "instrument" in channel.filters else ""
    return request.channel, venue, underlying, instrument


def _check_shape(request: Subscribe, channel: Channel) -> None:
    for name in sorted(channel.required):
        if getattr(request, name) is None:
            raise Refused("bad_request", f"{name}: field required for {channel.name}")
    for name in ("expiries", "strikes", "instrument"):
        if getattr(request, name) is not None and name not in channel.filters:
            raise Refused("bad_request", f"{name}: {channel.name} has no such filter")


def _columns(wanted: list[str] | None, channel: Channel) -> tuple[str, ...]:
    """In their usual order; all of them is the same as none in particular."""
    if wanted is None:
        return ()
    asked = set(wanted)
    unknown = next((name for name in wanted if name not in channel.columns), None)
    if unknown is not None:
        raise Refused("unknown_column", f"no column {unknown!r}; there are {', '.join(channel.columns)}")
    if not asked:
        raise Refused("bad_request", "columns: name at least one, or leave it out")
    return () if len(asked) == len(channel.columns) else tuple(name for name in channel.columns if name in asked)


def _check_instrument(name: str, underlying: str, venue: str, snapshot: Snapshot, source: object) -> None:
    """An option of the snapshot, or something else of which the source knows: one look-up an expiry, and one."""
    if any(name in block.definition.rows for block in _listed(snapshot, venue, underlying)):
        return
    if isinstance(source, KnowsNames) and source.underlying_of(name) == underlying:
        return
    raise Refused("unknown_instrument", f"no instrument {name!r} of {underlying} at {venue}")


def _expiries(
    wanted: list[str] | Expiries | None, underlying: str, venue: str, snapshot: Snapshot
) -> tuple[int, ...] | int | None:
    """Instants in order, or so many of the nearest."""
    if wanted is None:
        return None
    if isinstance(wanted, Expiries):
        return wanted.first
    listed: dict[int, list[int]] = {}
    for block in _listed(snapshot, venue, underlying):
        listed.setdefault(block.key.expiry_ns // NS_PER_DAY, []).append(block.key.expiry_ns)
    found: set[int] = set()
    for text in wanted:
        day = _day(text)
        if day is None:
            raise Refused("bad_request", f"expiries: {text!r} is no date like 2026-12-25 or 25DEC26")
        if day not in listed:
            there = ", ".join(_date(each) for each in sorted(listed))
            raise Refused("unknown_expiry", f"no expiry on {text!r}; there are {there}")
        found.update(listed[day])
    return tuple(sorted(found))


def _day(text: str) -> int | None:
    """Days since 1970 of a date in ISO form or as in an option's name; None where it is neither.

    >>> _day("2026-12-25") == _day("25DEC26") == _day("25dec26")
    True
    """
    try:
        at = datetime.strptime(text, "%Y-%m-%d")
    except ValueError:
        number, month, year = text[:-5], text[-5:-2].upper(), text[-2:]
        if month not in _MONTHS or not (number + year).isascii() or not (number.isdigit() and year.isdigit()):
            return None
        try:
            at = datetime(2000 + int(year), _MONTHS.index(month) + 1, int(number))
        except ValueError:
            return None
    return (at.replace(tzinfo=UTC) - _EPOCH).days


def _date(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def _strikes(wanted: Strikes | None) -> tuple[str, float] | None:
    if wanted is None:
        return None
    given = [
        (kind, float(value)) for kind in ("count", "percent", "delta") if (value := getattr(wanted, kind)) is not None
    ]
    if len(given) != 1:
        raise Refused("bad_request", "strikes: exactly one of count, percent, delta")
    return given[0]


def _listed(snapshot: Snapshot, venue: str, underlying: str) -> list[SliceBlock]:
    return [
        block for block in snapshot.blocks if block.definition.underlying == underlying and block.key.venue == venue
    ]
