"""A chain kept by decoded JSON objects: what tests of messages read them with."""

from __future__ import annotations

from typing import Any

import orjson

from pricer.clock import Clock
from pricer.sidecar.following import Follower
from pricer.snapshot import Snapshot


class Replica:
    """A follower that was connected, and asks for nothing."""

    def __init__(self, clock: Clock) -> None:
        self.follower = Follower({"underlying": "BTC"}, clock)
        self.follower.connected()

    @property
    def broken(self) -> bool:
        return not self.follower.in_sync

    def apply(self, message: dict[str, Any]) -> bool:
        return self.follower.receive(orjson.dumps(message))

    def snapshot(self) -> Snapshot:
        return self.follower.snapshot()
