"""Expiries as people write them: `27DEC26` (08:00 UTC, as coin venues settle), `2026-12-27`, `2026-12-27T08:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_LABEL = re.compile(r"(\d{1,2})([A-Z]{3})(\d{2})")
# Deribit, OKX, Bybit and Binance all settle their options at this hour, UTC.
SETTLEMENT_HOUR = 8


def expiry_label(expiry_ns: int) -> str:
    """The day as venues name it, in UTC; with the time where that is not the usual 08:00.

    >>> expiry_label(1_798_358_400_000_000_000)
    '27DEC26'
    """
    moment = _EPOCH + timedelta(microseconds=expiry_ns // 1000)
    # Not strftime: its month names follow the locale.
    day = f"{moment.day}{_MONTHS[moment.month - 1]}{moment.year % 100:02d}"
    return day if (moment.hour, moment.minute) == (SETTLEMENT_HOUR, 0) else f"{day} {moment:%H:%M}"


def parse_expiry(text: str) -> int:
    """Integer nanoseconds UTC of an expiry; ValueError naming the text where it is none.

    A bare date means 08:00 UTC; a time without an offset is UTC.

    >>> parse_expiry("27DEC26") == parse_expiry("2026-12-27") == parse_expiry("2026-12-27T09:00+01:00")
    True
    """
    found = _LABEL.fullmatch(text.strip().upper())
    try:
        if found:
            day, month, year = found.groups()
            moment = datetime(2000 + int(year), _MONTHS.index(month) + 1, int(day), SETTLEMENT_HOUR, tzinfo=UTC)
        else:
            moment = datetime.fromisoformat(text.strip())
            if len(text.strip()) <= len("2026-12-27"):
                moment = moment.replace(hour=SETTLEMENT_HOUR)
    except ValueError:
        raise ValueError(f"{text!r} is no expiry: write 27DEC26, 2026-12-27 or 2026-12-27T08:00") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def expiry_iso(expiry_ns: int) -> str:
    """The instant in UTC, to the minute or second, which `parse_expiry` reads.

    >>> expiry_iso(1_798_358_400_000_000_000), parse_expiry("2026-12-27T08:00Z")
    ('2026-12-27T08:00Z', 1798358400000000000)
    """
    moment = _EPOCH + timedelta(microseconds=expiry_ns // 1000)
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z" if moment.second else f"{moment:%Y-%m-%dT%H:%M}Z"
