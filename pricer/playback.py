"""`pricer.replay`: a recording through the same adapter and the same engine. Same input, same bytes out.

A recording of ours says when the live engine priced, and replay prices at just these instants, so that its snapshots
equal those of the live run. A foreign one holds frames only: then every frame is priced.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from pricer.adapters import ADAPTERS
from pricer.adapters.recording import open_recording
from pricer.adapters.records import Frame, Gap, PriceMark, Recording
from pricer.adapters.reenactment import Reenactment
from pricer.clock import ManualClock
from pricer.conventions import Reason
from pricer.engine import DEFAULT_SETTINGS, Engine, EngineSettings
from pricer.errors import ConfigError, RecordingError
from pricer.feedplan import FeedPlan
from pricer.snapshot import Snapshot

log = logging.getLogger("pricer.playback")

MOST_NOTES = 5  # in one line


def replay(
    path: str | Path, *, underlying: str | None = None, engine: EngineSettings = DEFAULT_SETTINGS
) -> Iterator[Snapshot]:
    """The snapshots of a recording, in order; `underlying` keeps one family of it.

    Rows judge their age by the recording's own time: a number that was `OK` then is `OK` here until the iterator moves
    on. Every row carries `REPLAY`. A file that is no recording, or of an unknown venue, is a `RecordingError` at the
    first step. What is damaged or cut off, as the end of one whose recorder was killed, is left out, with a warning in
    the log when all the rest is read.
    """
    recording = open_recording(path)
    feed = reenactment_of(recording)
    marked = bool(recording.meta.get("price_marks"))
    clock = ManualClock()
    pricing = Engine(engine, clock=clock)
    for record in recording:
        if isinstance(record, Gap):
            continue  # what the lost frames held is missing, not wrong
        clock.set(record.instant)
        for event in feed.apply(record):
            pricing.apply(event)
        if isinstance(record, PriceMark if marked else Frame):
            snapshot = pricing.price(record.instant, Reason.REPLAY)
            yield snapshot if underlying is None else snapshot.of(underlying)
    if notes := recording.notes:
        more = f"; and {len(notes) - MOST_NOTES} more" if len(notes) > MOST_NOTES else ""
        log.warning("not all of the recording could be read: %s%s", "; ".join(notes[:MOST_NOTES]), more)


def reenactment_of(recording: Recording) -> Reenactment:
    """Adapters set up as those that recorded; a `RecordingError` where their venue is unknown."""
    venue = recording.meta.get("venue")
    if venue not in ADAPTERS:
        known = ", ".join(sorted(ADAPTERS))
        raise RecordingError(f"{recording.path}: recorded from {venue!r}; known venues are {known}")
    if recording.meta.get("underlyings") is None:
        return Reenactment(lambda lane: ADAPTERS[venue](None))  # somebody else's: all that is in it
    try:
        plan = FeedPlan.from_meta(recording.meta)
    except (ConfigError, TypeError) as error:
        raise RecordingError(f"{recording.path}: what was asked for cannot be had: {error}") from error
    return Reenactment(plan.adapters(), plan.connections)
