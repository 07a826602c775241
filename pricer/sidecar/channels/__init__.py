"""The channels by name: one file a channel. Adding one is a file and a line here."""

from __future__ import annotations

from pricer.sidecar.channels.alerts import AlertsChannel
from pricer.sidecar.channels.chain import ChainChannel
from pricer.sidecar.channels.channel import Channel, Content, Market, Picture, Served
from pricer.sidecar.channels.depth import DepthChannel
from pricer.sidecar.channels.forward import ForwardChannel
from pricer.sidecar.channels.health import HealthChannel
from pricer.sidecar.channels.surface import SurfaceChannel
from pricer.sidecar.channels.trades import TradesChannel

_ALL: tuple[Channel, ...] = (
    ChainChannel(),
    SurfaceChannel(),
    ForwardChannel(),
    HealthChannel(),
    TradesChannel(),
    DepthChannel(),
    AlertsChannel(),
)
CHANNELS: dict[str, Channel] = {channel.name: channel for channel in _ALL}

__all__ = ["CHANNELS", "Channel", "Content", "Market", "Picture", "Served"]
