"""`pricer.replay`: a recording through the same adapter and the same engine. Same input, same bytes out.

A recording of ours says when the live engine priced, and replay prices at just these instants, so that its snapshots
equal those of the live run. A foreign one holds frames only: then every frame is priced.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pricer.adapters import ADAPTERS
from pricer.adapters.adapter import Adapter
from pricer.adapters.recording import Frame, Gap, PriceMark, Recording, apply_record, open_recording
from pricer.clock import ManualClock
from pricer.conventions import Reason
from pricer.engine import DEFAULT_SETTINGS, Engine, EngineSettings
from pricer.errors import RecordingError
from pricer.snapshot import Snapshot


def replay(
    path: str | Path, *, underlying: str | None = None, engine: EngineSettings = DEFAULT_SETTINGS
) -> Iterator[Snapshot]:
    """The snapshots of a recording, in order; `underlying` keeps one family of it.

    Rows judge their age by the recording's own time: a number that was `OK` then is `OK` here until the iterator moves
    on. Every row carries `REPLAY`. A file that is no recording, or of an unknown venue, is a `RecordingError` at the
    first step.
    """
    recording = open_recording(path)
    adapter = adapter_of(recording)
    marked = bool(recording.meta.get("price_marks"))
    clock = ManualClock()
    pricing = Engine(engine, clock=clock)
    for record in recording:
        if isinstance(record, Gap):
            continue  # `recording.notes` tells; what the lost frames held is missing, not wrong
        clock.set(record.instant)
        for event in apply_record(adapter, record):
            pricing.apply(event)
        if isinstance(record, PriceMark if marked else Frame):
            snapshot = pricing.price(record.instant, Reason.REPLAY)
            yield snapshot if underlying is None else snapshot.of(underlying)


def adapter_of(recording: Recording) -> Adapter:
    """An adapter set up as the one that recorded; a `RecordingError` where its venue is unknown."""
    venue = recording.meta.get("venue")
    if venue not in ADAPTERS:
        known = ", ".join(sorted(ADAPTERS))
        raise RecordingError(f"{recording.path}: recorded from {venue!r}; known venues are {known}")
    return ADAPTERS[venue](recording.meta.get("underlyings"))
