"""Writes the examples of the OpenAPI document from real answers: `python -m tests.sidecar.http_examples`.

The embedded market's chain is priced, every path is asked, and long lists are cut. A test compares fields, so an answer
that changes cannot keep an old example.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import orjson

import pricer.sidecar.routes
from pricer.adapters.events import UnderlyingPrice
from pricer.config import ServerSection
from pricer.conventions import NS_PER_DAY
from pricer.engine import Engine
from pricer.expiries import expiry_label
from pricer.sidecar.app import create_app
from pricer.sidecar.hub import Hub
from tests.embedded_chain import EmbeddedChain
from tests.sidecar.fitted import Fitted
from tests.sidecar.snapshots import Source

PAGE = Path(pricer.sidecar.routes.__file__).parent / "examples.json"
SESSION = "b7beef5711954331911518cc5875ecf1"

# What has an effect is not done for an example: these are as tests have them (test_reload, E10).
STATED: dict[str, Any] = {
    "/v1/admin/reload": {
        "request": {"sent_ns": 1_795_277_278_196_950_500, "nonce": "b7beef5711954331911518cc5875ecf1"},
        "answer": {"applied": ["server.max_clients"], "needs_restart": ["server.port"]},
    }
}

# Of these lists so much is left; of other tables two rows.
KEPT = {"expiries": 1, "prices": 3, "observations": 2, "steps": 100, "why": 10, "because": 10, "reasons": 34}
ROWS = 2


class Embedded(Fitted):
    """The embedded market, of a thousand options, a moment after its first quotes."""

    def __init__(self) -> None:
        self.chain = EmbeddedChain()
        self.clock = self.chain.clock
        self.engine = Engine(clock=self.clock)
        self.source = Source()
        self.tell(*self.chain.listings(), self.chain.index(), self.perpetual(), *self.chain.quotes())
        self.publish()
        self.clock.advance(80_000_000)
        self.settings = ServerSection()
        self.hub = Hub(
            self.source, self.settings, venue="deribit", underlyings=["BTC"], clock=self.clock, session=SESSION
        )
        self.app = create_app(self.hub)
        self.hub.publish()  # samples the history, too

    def perpetual(self) -> UnderlyingPrice:
        """A dollar wide around the index."""
        index = self.chain.index()
        sides = {"bid": index.price - 0.5, "ask": index.price + 0.5}
        return msgspec.structs.replace(index, kind="perpetual", funding=1e-5, **sides)


def requests(fitted: Fitted) -> dict[str, Any]:
    """What is asked for each path: a path, or a body to post to it."""
    blocks = fitted.hub.snapshot.blocks
    near = blocks[3]
    middle = len(near.definition) // 2
    name = near.definition.names[middle]
    expiry = expiry_label(near.key.expiry_ns)
    strike = float(near.definition.strike[middle])
    between = expiry_label(near.key.expiry_ns + 2 * NS_PER_DAY)
    contracts: list[dict[str, Any]] = [{"instrument": name}, {"expiry": between, "strike": strike + 250.0, "cp": "put"}]
    axes = {"forward_moves": [-0.1, 0.0, 0.1], "vol_shifts": [0.0, 0.05], "days": [0.0]}
    return {
        "/health/live": "/health/live",
        "/health/ready": "/health/ready",
        "/v1/underlyings": "/v1/underlyings",
        "/v1/chain/{underlying}": "/v1/chain/BTC",
        "/v1/surface/{underlying}": "/v1/surface/BTC",
        "/v1/smile/{underlying}/{expiry}": f"/v1/smile/BTC/{expiry}?points=2",
        "/v1/forward/{underlying}": "/v1/forward/BTC",
        "/v1/instrument/{name}": f"/v1/instrument/{name}?explain=true",
        "/v1/history/{underlying}": "/v1/history/BTC",
        "/v1/history/{underlying}/{name}": f"/v1/history/BTC/{name}",
        "/schemas": "/schemas",
        "/v1/price": {"underlying": "BTC", "contracts": contracts},
        "/v1/scenario": {
            "underlying": "BTC",
            "contracts": [each | {"quantity": size} for each, size in zip(contracts, (2.0, -1.5), strict=True)],
            **axes,
        },
    }


async def answers(fitted: Fitted) -> dict[str, Any]:
    """The real answers, and where something was posted, that too."""
    out: dict[str, Any] = {}
    for path, asked in requests(fitted).items():
        if isinstance(asked, str):
            out[path] = (await fitted.get(asked)).json()
        else:
            out[path] = {"request": asked, "answer": (await fitted.post(path, asked)).json()}
    return out | STATED


def shortened(value: Any, name: str = "") -> Any:
    """The same with long lists cut."""
    if isinstance(value, dict):
        return {key: inner if key in ("axes", "request") else shortened(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [shortened(inner) for inner in value[: KEPT.get(name, ROWS)]]
    return value


def main() -> None:
    """Write the file."""
    found = shortened(asyncio.run(answers(Embedded())))
    PAGE.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
