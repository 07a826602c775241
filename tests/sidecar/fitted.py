"""A sidecar over a small market with a fitted surface, on given time, without a socket."""

from __future__ import annotations

from typing import Any

import httpx

from pricer.config import ServerSection
from pricer.engine import Engine, EngineSettings
from pricer.sidecar.app import create_app
from pricer.sidecar.hub import Hub
from pricer.snapshot import Snapshot
from tests.scene import SECOND, Scene
from tests.sidecar.snapshots import Source

# The expiries of the scene, and a strike that is listed at each.
WEEK, MONTH, QUARTER = "BTC-7D", "BTC-30D", "BTC-90D"


class Fitted:
    """`scene` moves the market, `publish` prices it, `client` asks."""

    def __init__(self, *, engine: EngineSettings | None = None, scene: Scene | None = None, **server: Any) -> None:
        self.scene = scene or Scene(forward=100_500.0)
        self.clock = self.scene.clock
        self.engine = Engine(engine or EngineSettings(), clock=self.clock)
        self.source = Source()
        self.tell(*self.scene.listings(), self.scene.index(), self.scene.perpetual(), *self.scene.quotes())
        self.publish()
        self.settings = ServerSection(**server)
        self.hub = Hub(self.source, self.settings, venue="deribit", underlyings=["BTC"], clock=self.clock)
        self.app = create_app(self.hub)

    def tell(self, *events: Any) -> None:
        """What the venue says."""
        for event in events:
            self.engine.apply(event)

    def publish(self) -> Snapshot:
        """Price, and let everybody have it."""
        self.source.publish(self.engine.price(self.clock.now()))
        assert self.source.latest is not None
        return self.source.latest

    def move(self, forward: float) -> None:
        """A second later, at another forward."""
        self.clock.advance(SECOND)
        self.scene.forward = forward
        self.tell(self.scene.index(), self.scene.perpetual(), *self.scene.quotes())
        self.publish()

    def client(self, **more: Any) -> httpx.AsyncClient:
        """Asks in the test's own loop; an error of the server is an answer, as over a socket."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765", trust_env=False, **more)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        """One answer."""
        async with self.client() as client:
            return await client.get(path, headers=headers)

    async def post(self, path: str, body: Any) -> httpx.Response:
        """One answer to something posted."""
        async with self.client() as client:
            return await client.post(path, json=body)
