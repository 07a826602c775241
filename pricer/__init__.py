"""volstream: a live options pricer.

Everything a user needs is here; each name is loaded when it is first used, so that `import pricer` costs nothing:
no Numba, no pandas, no web server. Modules of their own hold the other models: `pricer.bsm`, `bachelier`, ...

>>> import pricer
>>> "implied_vol" in pricer.__all__
True
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing's own costs its import; type checkers know the name
if TYPE_CHECKING:
    from typing import Any

    import pricer.american as american
    import pricer.bachelier as bachelier
    import pricer.bsm as bsm
    import pricer.digital as digital
    import pricer.displaced as displaced
    from pricer.adapters.deribit import Credentials
    from pricer.clock import Clock, Instant, ManualClock, SystemClock
    from pricer.conventions import GreekConvention, Reason, Status, ttm_years
    from pricer.engine import Engine, EngineSettings
    from pricer.errors import (
        ConfigError,
        ConnectError,
        NotTradable,
        ProtocolError,
        RecordingError,
        UnknownInstrument,
        VenueError,
        VolstreamError,
    )
    from pricer.hedge_gate import Decision, HedgeGate, Refusal
    from pricer.kernels.status import KernelStatus
    from pricer.playback import replay
    from pricer.position import PositionGreeks
    from pricer.pricing import Greeks, greeks, implied_vol, iv_error, price, venue_greeks, warmup
    from pricer.snapshot import Row, Snapshot
    from pricer.streaming import LiveStream, live

# Where each public name lives. A module stands under its own name.
_HOMES = {
    "pricer.adapters.deribit": ("Credentials",),
    "pricer.american": ("american",),
    "pricer.bachelier": ("bachelier",),
    "pricer.bsm": ("bsm",),
    "pricer.clock": ("Clock", "Instant", "ManualClock", "SystemClock"),
    "pricer.conventions": ("GreekConvention", "Reason", "Status", "ttm_years"),
    "pricer.digital": ("digital",),
    "pricer.displaced": ("displaced",),
    "pricer.engine": ("Engine", "EngineSettings"),
    "pricer.errors": (
        "ConfigError",
        "ConnectError",
        "NotTradable",
        "ProtocolError",
        "RecordingError",
        "UnknownInstrument",
        "VenueError",
        "VolstreamError",
    ),
    "pricer.hedge_gate": ("Decision", "HedgeGate", "Refusal"),
    "pricer.kernels.status": ("KernelStatus",),
    "pricer.playback": ("replay",),
    "pricer.position": ("PositionGreeks",),
    "pricer.pricing": ("Greeks", "greeks", "implied_vol", "iv_error", "price", "venue_greeks", "warmup"),
    "pricer.snapshot": ("Row", "Snapshot"),
    "pricer.streaming": ("LiveStream", "live"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Clock",
    "ConfigError",
    "ConnectError",
    "Credentials",
    "Decision",
    "Engine",
    "EngineSettings",
    "GreekConvention",
    "Greeks",
    "HedgeGate",
    "Instant",
    "KernelStatus",
    "LiveStream",
    "ManualClock",
    "NotTradable",
    "PositionGreeks",
    "ProtocolError",
    "Reason",
    "RecordingError",
    "Refusal",
    "Row",
    "Snapshot",
    "Status",
    "SystemClock",
    "UnknownInstrument",
    "VenueError",
    "VolstreamError",
    "american",
    "bachelier",
    "bsm",
    "digital",
    "displaced",
    "greeks",
    "implied_vol",
    "iv_error",
    "live",
    "price",
    "replay",
    "ttm_years",
    "venue_greeks",
    "warmup",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOME_OF:
        home = import_module(_HOME_OF[name])
        value = home if home.__name__ == f"{__name__}.{name}" else getattr(home, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; its public names are in __all__")
    globals()[name] = value  # the next look-up finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})


def _version() -> str:
    """The installed distribution's version; a bare checkout on the path has none."""
    from importlib import metadata  # takes longer than all the rest

    try:
        return metadata.version("volstream")
    except metadata.PackageNotFoundError:
        return "0+uninstalled"
