"""The engine: events in, snapshots out.

`engine` prices and publishes, `intake` takes events in, `listing` knows what there is, `scrutiny` doubts what it says;
`settings` are the limits behind the statuses. ARCHITECTURE.md has the other parts by what they are for.
"""

from __future__ import annotations

from pricer.engine.engine import EXPIRED_STAYS_NS, Engine
from pricer.engine.settings import DEFAULT_SETTINGS, EngineSettings

__all__ = ["DEFAULT_SETTINGS", "EXPIRED_STAYS_NS", "Engine", "EngineSettings"]
