"""The transports by the name that users give."""

from __future__ import annotations

from typing import Literal, get_args

from pricer.adapters.limits import FeedLimits
from pricer.adapters.network import Network
from pricer.adapters.transport import Transport
from pricer.adapters.websockets_transport import WebSocketTransport
from pricer.errors import ConfigError

TransportName = Literal["websockets", "picows"]
TRANSPORTS: tuple[TransportName, ...] = get_args(TransportName)


def transport_of(
    name: TransportName,
    limits: FeedLimits | None = None,
    network: Network | None = None,
    *,
    compression: bool = False,
) -> Transport:
    """The transport called `name`; a `ConfigError` for another name, or where its package is not installed."""
    if name == "websockets":
        return WebSocketTransport(limits, network=network, compression=compression)
    if name == "picows":
        # Its module is loaded by those who want it: the package is an extra.
        from pricer.adapters.picows_transport import PicowsTransport

        return PicowsTransport(limits, network=network, compression=compression)
    raise ConfigError(f"transport: {name!r} is none of {', '.join(TRANSPORTS)}")
