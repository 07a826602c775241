"""The engine driven by feeds: `opening` has `pricer.live`, `lanes` the way to the venue, `stream` what runs.

Beside it `readers` takes snapshots to whoever reads, `recorder` keeps a recording, `latencies` counts how long it took.
"""

from __future__ import annotations

from pricer.adapters.line import Deliver
from pricer.streaming.latencies import Latencies
from pricer.streaming.opening import live
from pricer.streaming.recorder import Recorder
from pricer.streaming.stream import LiveStream, Publish

__all__ = ["Deliver", "Latencies", "LiveStream", "Publish", "Recorder", "live"]
