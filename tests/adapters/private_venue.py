"""The private side of a small Deribit, without a socket: logins, tokens that run out, private channels."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from typing import Any

from pricer.adapters.adapter import HttpGet, WsSend
from pricer.adapters.deribit import Credentials, Deribit
from pricer.adapters.events import AnyEvent
from pricer.clock import NS_PER_SECOND
from tests.adapters.deribit_frames import Venue, encoded, fixture

KEY = "cliEnt-1"
CANARY = "cAnArY-s3cr3t-7f1c"
TOKENS = ("cAnArY-acc3ss", "cAnArY-r3fr3sh")


def credentials(method: Any = "credentials") -> Credentials:
    return Credentials(KEY, CANARY, method)


class PrivateVenue(Venue):
    """Knows one key. `refuse` is the code that logins are answered with, `silent` leaves methods unanswered."""

    def __init__(self, *, method: Any = "credentials", excess_rights: Any = "warn", **more: Any) -> None:
        nonces = iter(range(10**9))
        key = Credentials(KEY, CANARY, method, excess_rights=excess_rights)
        adapter = Deribit(credentials=key, nonce=lambda: f"n{next(nonces)}", **more)
        super().__init__(adapter, fixture("instruments_btc")["result"])
        self.refuse: int | None = None
        self.refuse_refresh: int | None = None
        self.refuse_private: int | None = None
        self.silent: set[str] = set()
        self.logins: list[tuple[int, dict[str, Any]]] = []  # (mono_ns, params)
        self.sends: list[WsSend | HttpGet] = []
        self.frames: list[bytes] = []
        self.positions: list[dict[str, Any]] = []
        self.private: list[str] = []
        self.expires_in = 900
        self.rights: Any = "account:read trade:read wallet:none"
        self.testnet: bool | None = False
        self.skew_s = 0.0
        self.owed: list[bytes] = []

    def talk(self) -> None:
        while sends := self.adapter.to_send(self.now):
            self.sends += sends
            for each in sends:
                assert isinstance(each, WsSend)
                message = json.loads(each.text)
                self.asked.append(message)
                self._answer(message)

    def _answer(self, message: dict[str, Any]) -> None:
        if message["method"] == "public/auth":
            self.logins.append((self.now.mono_ns, message["params"]))
        body = {"jsonrpc": "2.0", "id": message["id"], "usIn": self._venue_us(), "testnet": self.testnet}
        if self.testnet is None:
            del body["testnet"]
        outcome = self._outcome(message)
        frame = encoded(
            body | ({"error": {"code": outcome, "message": "no"}} if type(outcome) is int else {"result": outcome})
        )
        if message["method"] in self.silent:
            self.owed.append(frame)
        else:
            self.give(frame)

    def give(self, frame: bytes) -> list[AnyEvent]:
        """One frame to the adapter, kept for those who look for secrets."""
        self.frames.append(frame)
        events = self.adapter.receive(frame, self.now)
        self.events += events
        return events

    def pay(self) -> None:
        """What was left unanswered comes now."""
        owed, self.owed, self.silent = self.owed, [], set()
        for frame in owed:
            self.give(frame)
        self.talk()

    def notify(self, channel: str, data: Any) -> list[AnyEvent]:
        """A private or public message."""
        params = {"channel": channel, "data": data}
        return self.give(encoded({"jsonrpc": "2.0", "method": "subscription", "params": params}))

    def _outcome(self, message: dict[str, Any]) -> Any:
        method, params = message["method"], message["params"]
        if method == "public/auth":
            return self._login(params)
        if method.startswith("private/") and self.refuse_private is not None:
            return self.refuse_private
        if method == "private/subscribe":
            self.private += params["channels"]
            return params["channels"]
        if method == "private/get_positions":
            return self.positions
        return self._result(message)

    def _login(self, params: dict[str, Any]) -> Any:
        kind = params["grant_type"]
        if kind == "refresh_token" and (self.refuse_refresh is not None or params["refresh_token"] != TOKENS[1]):
            return self.refuse_refresh or 13004
        if self.refuse is not None:
            return self.refuse
        if kind == "client_credentials" and (params["client_id"], params["client_secret"]) != (KEY, CANARY):
            return 13004
        if kind == "client_signature" and not self._signed(params):
            return 13004
        return {
            "access_token": TOKENS[0],
            "refresh_token": TOKENS[1],
            "expires_in": self.expires_in,
            "scope": f"connection mainaccount {self.rights}",
            "token_type": "bearer",
        }

    def _signed(self, params: dict[str, Any]) -> bool:
        if abs(params["timestamp"] * 1000 - self._venue_us()) > 30_000_000:
            return False
        text = f"{params['timestamp']}\n{params['nonce']}\n{params['data']}"
        return bool(params["signature"] == hmac.new(CANARY.encode(), text.encode(), hashlib.sha256).hexdigest())

    def _venue_us(self) -> int:
        return self.now.wall_ns // 1000 + int(self.skew_s * 1e6)

    def seconds_between_logins(self) -> list[float]:
        times = [at for at, _ in self.logins]
        return [(b - a) / NS_PER_SECOND for a, b in itertools.pairwise(times)]
