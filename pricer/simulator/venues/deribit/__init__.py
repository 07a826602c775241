"""A Deribit of our own: `venue` answers frames with frames, `server` has the sockets, `faults` spoils what passes."""

from __future__ import annotations

from pricer.simulator.venues.deribit.server import DeribitServer, serve

__all__ = ["DeribitServer", "serve"]
