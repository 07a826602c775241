"""A venue without sockets, its clock, and sessions that keep what they hear."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from pricer.clock import Instant, ManualClock
from pricer.simulator.venues.deribit.rpc import Session
from pricer.simulator.venues.deribit.venue import DeribitVenue

START = int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
EIGHT = int(datetime(2026, 11, 22, 8, tzinfo=UTC).timestamp()) * 1_000_000_000
SECOND = 1_000_000_000
SECRETS = {"key-1": "open sesame", "key-2": "swordfish"}


class Bench:
    """The venue moves only when told."""

    def __init__(self, start_ns: int = START, **settings: Any) -> None:
        self.clock = ManualClock(Instant(start_ns, 0))
        self.venue = DeribitVenue(clock=self.clock, accounts=SECRETS, **settings)
        self.market = self.venue.market

    def client(self) -> Client:
        return Client(self, self.venue.open())

    def tick(self, count: int = 1, step_ns: int = SECOND // 10) -> dict[Session, list[Any]]:
        """Let `count` steps go by; what was sent to whom."""
        heard: dict[Session, list[Any]] = defaultdict(list)
        for _ in range(count):
            self.clock.advance(step_ns)
            for session, frame in self.venue.tick():
                heard[session].append(json.loads(frame))
        return heard


class Client:
    """One session."""

    def __init__(self, bench: Bench, session: Session) -> None:
        self.bench, self.session = bench, session
        self.first: dict[str, Any] = {}  # the first message of each new channel

    def ask(self, method: str, **params: object) -> Any:
        """The whole reply."""
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        reply, *firsts = map(json.loads, self.bench.venue.receive(self.session, request))
        self.first |= {each["params"]["channel"]: each["params"]["data"] for each in firsts}
        return reply

    @property
    def ended(self) -> tuple[str, int] | None:
        """Why and with which code the venue ends the session, if it does."""
        return None if self.session.closing is None else (self.session.closing, self.session.close_code)

    def log_in(self, key: str = "key-1") -> Any:
        """The result of a login."""
        return self.ask("public/auth", grant_type="client_credentials", client_id=key, client_secret=SECRETS[key])[
            "result"
        ]

    def read(self, *channels: str) -> None:
        """Subscribe; every channel must be accepted."""
        method = "private/subscribe" if any(c.startswith("user.") for c in channels) else "public/subscribe"
        assert set(self.ask(method, channels=list(channels))["result"]) == set(channels)

    def hear(self, ticks: int, step_ns: int = SECOND // 10) -> dict[str, list[Any]]:
        """What comes in so many steps, by channel."""
        found: dict[str, list[Any]] = defaultdict(list)
        for message in self.bench.tick(ticks, step_ns)[self.session]:
            found[message["params"].get("channel", "heartbeat")].append(message["params"].get("data"))
        return found
