"""Every setting of the program, in one schema: it checks the TOML file and the environment, and is the documentation.

The order of precedence is: what the caller passes, then the environment, then the file, then the defaults here.

    [server]                        VOLSTREAM_SERVER__PORT=9000
    port = 9000

Nothing is guessed: an unknown key or an impossible value is a `ConfigError` that names the key's path and the value.
A section is a file here; `settings` is all of them together, `reading` where they come from, `refusals` what is told of
wrong ones.
"""

from __future__ import annotations

from pricer.config.alerts import RELOADABLE_ALERTS, AlertsSection
from pricer.config.engine import EngineSection
from pricer.config.feed import FeedSection
from pricer.config.reading import PREFIX
from pricer.config.section import Section
from pricer.config.server import RELOADABLE, ServerSection
from pricer.config.settings import Settings

__all__ = [
    "PREFIX",
    "RELOADABLE",
    "RELOADABLE_ALERTS",
    "AlertsSection",
    "EngineSection",
    "FeedSection",
    "Section",
    "ServerSection",
    "Settings",
]
