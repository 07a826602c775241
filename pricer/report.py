"""The last chain of a recording: ours beside the venue's own mark volatility and Greeks, as text, CSV or JSON.

Ours are the engine's volatilities, in the venue's scales by `pricer.venue_greeks`, at the moment of the last snapshot;
the venue's are the last that it sent for each option. Equal recordings give equal bytes.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pricer
from pricer.adapters.events import VenueMark
from pricer.adapters.recording import open_recording
from pricer.chainview import decimals_of
from pricer.clock import NS_PER_SECOND
from pricer.conventions import Reason, Status
from pricer.errors import RecordingError
from pricer.expiries import expiry_label
from pricer.playback import reenactment_of
from pricer.snapshot import SliceBlock, Snapshot

GREEKS = ("delta", "gamma", "vega", "theta", "rho")
VALUES = ("bid", "ask", "mark", "theo", "bid_iv", "mid_iv", "ask_iv", "iv")
FIELDS = (
    "name",
    "expiry_ns",
    "strike",
    "cp",
    *VALUES,
    "venue_iv",
    *(f"{prefix}{name}" for name in GREEKS for prefix in ("", "venue_")),
    "status",
    "reasons",
)
Row = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """The rows of the options that the recording says anything of, in order of underlying, expiry and strike."""

    snapshot: Snapshot
    frames: int
    digest: str
    rows: tuple[Row, ...]

    def as_csv(self) -> str:
        """One line an option; all digits, nothing where there is no value."""
        out = io.StringIO()
        writer = csv.DictWriter(out, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({**row, "reasons": " ".join(row["reasons"])} for row in self.rows)
        return out.getvalue()

    def as_json(self) -> str:
        """One object: the moment, the digest, and the rows; null where there is no value."""
        moment = {"computed_ns": self.snapshot.computed_ns, "snapshots": self.frames, "digest": self.digest}
        return json.dumps({**moment, "options": self.rows}, indent=1) + "\n"

    def as_text(self) -> str:
        """For people: a heading and a table an expiry."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        yield f"{self.frames} snapshots, digest {self.digest}"
        at = datetime.fromtimestamp(self.snapshot.computed_ns // NS_PER_SECOND, UTC)
        yield f"last computed at {at:%Y-%m-%d %H:%M:%S} UTC; ours beside the venue's (v.)"
        for block in self.snapshot.blocks:
            rows = [row for row in self.rows if row["name"] in block.definition.rows]
            if rows:
                yield ""
                yield _heading(self.snapshot, block)
                yield "".join(column.title.rjust(column.width) for column in COLUMNS)
                decimals = decimals_of(float(block.definition.tick_size[0]))
                yield from (_line(row, decimals) for row in rows)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the text: `digits` None takes those of the price."""

    title: str
    name: str
    width: int
    digits: int | None
    scale: float = 1.0


COLUMNS = (
    Column("option".ljust(22), "name", 22, 0),
    Column("bid", "bid", 9, None),
    Column("ask", "ask", 9, None),
    Column("theo", "theo", 9, None),
    Column("v.mark", "mark", 9, None),
    Column("bid iv", "bid_iv", 8, 2, 100.0),
    Column("ask iv", "ask_iv", 8, 2, 100.0),
    Column("iv", "iv", 8, 2, 100.0),
    Column("v.iv", "venue_iv", 8, 2, 100.0),
    Column("delta", "delta", 10, 5),
    Column("v.", "venue_delta", 9, 5),
    Column("gamma", "gamma", 9, 5),
    Column("v.", "venue_gamma", 8, 5),
    Column("vega", "vega", 10, 3),
    Column("v.", "venue_vega", 9, 3),
    Column("theta", "theta", 11, 3),
    Column("v.", "venue_theta", 10, 3),
    Column("rho", "rho", 11, 3),
    Column("v.", "venue_rho", 10, 3),
)


def report(path: str | Path, underlying: str | None = None, *, everything: bool = False) -> Report:
    """Drive the engine through a recording. `everything` keeps options of which nothing but their listing is known.

    A `RecordingError` where the file cannot be read, holds no frame, or not that underlying.
    """
    digest = hashlib.sha256()
    frames, last = 0, None
    for snapshot in pricer.replay(path):
        own = snapshot if underlying is None else snapshot.of(underlying)
        digest.update(own.digest().encode())
        frames, last = frames + 1, own
    if last is None:
        raise RecordingError(f"{path} holds nothing that could be priced")
    if underlying is not None and not last.blocks:
        raise RecordingError(f"{path} holds no options of {underlying!r}; it has {', '.join(snapshot.underlyings)}")
    marks = last_marks(path)
    rows = tuple(row for block in last.blocks for row in _rows(last, block, marks, everything))
    return Report(last, frames, digest.hexdigest(), rows)


def last_marks(path: str | Path) -> dict[str, VenueMark]:
    """What the venue itself last said of each option: the engine keeps its Greeks out of ours."""
    recording = open_recording(path)
    feed = reenactment_of(recording)
    events = (event for record in recording for event in feed.apply(record))
    return {event.instrument: event for event in events if isinstance(event, VenueMark)}


def _rows(snapshot: Snapshot, block: SliceBlock, marks: Mapping[str, VenueMark], everything: bool) -> Iterable[Row]:
    definition = block.definition
    ours = pricer.venue_greeks(
        block.key.venue, block.forward.value, definition.strike, block.ttm, block.column("iv"), definition.cp
    )
    for row, name in enumerate(definition.names):
        mark = marks.get(name)
        if mark is None and not everything:
            continue
        option = snapshot[name]
        out: Row = {
            "name": name,
            "expiry_ns": option.expiry_ns,
            "strike": option.strike,
            "cp": "call" if option.cp > 0 else "put",
        }
        out |= {field: _or_none(block.column(field)[row]) for field in VALUES}
        out["venue_iv"] = _or_none(mark.mark_iv) if mark else None
        for greek in GREEKS:
            out[greek] = _or_none(getattr(ours, greek)[row])
            out[f"venue_{greek}"] = _or_none(getattr(mark, greek)) if mark else None
        status, reasons = option.status_of("iv")
        # That this is a replay is said once, by the command itself.
        yield {**out, "status": Status(status).name, "reasons": list((reasons & ~Reason.REPLAY).names)}


def _heading(snapshot: Snapshot, block: SliceBlock) -> str:
    forward, ttm = block.forward, block.ttm * 365
    of = snapshot.of(block.definition.underlying, block.key.venue)
    return (
        f"{block.definition.underlying} {expiry_label(block.key.expiry_ns)}, in {ttm:.4f} days: forward "
        f"{forward.value:,.2f} from {forward.source} ({forward.status.name}), index {of.index.value:,.2f}"
    )


def _line(row: Row, price_decimals: int) -> str:
    cells = [row["name"].ljust(COLUMNS[0].width)]
    for column in COLUMNS[1:]:
        value = row[column.name]
        digits = price_decimals if column.digits is None else column.digits
        text = "·" if value is None else f"{value * column.scale:,.{digits}f}"
        cells.append(text.rjust(column.width))
    return f"{''.join(cells)}  {row['status']} {' '.join(row['reasons'])}".rstrip()


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
