"""Log lines that cannot flood: one every ten seconds for each fault of each venue, with a count of those kept back.

FAULTS I11. The edge has a filter of its own for all of the program's lines; this one serves who embeds the engine.
"""

from __future__ import annotations

import logging

from pricer.clock import NS_PER_SECOND

EVERY_NS = 10 * NS_PER_SECOND


class Alarms:
    """`say` writes a line, or counts it. Time comes as an argument: monotonic nanoseconds."""

    MOST = 256

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._said: dict[tuple[str, str], tuple[int, int]] = {}

    def say(self, fault: str, venue: str, mono_ns: int, text: str, *values: object) -> None:
        """One line for (fault, venue); `fault` is a word from a short list."""
        at, suppressed = self._said.get((fault, venue), (None, 0))
        if at is not None and mono_ns - at < EVERY_NS:
            self._said[fault, venue] = at, suppressed + 1
            return
        if len(self._said) >= self.MOST:
            self._said.clear()
        self._said[fault, venue] = mono_ns, 0
        if suppressed:
            text, values = text + " (%d more like it before)", (*values, suppressed)
        self._log.warning(text, *values)
