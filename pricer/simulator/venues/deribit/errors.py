"""Deribit's error replies and limits: section 3 of the protocol sheet."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec


class RpcError(Exception):
    """An error reply."""

    def __init__(self, code: int, message: str, data: object = msgspec.UNSET) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


def invalid(param: str, reason: str = "wrong format") -> RpcError:
    """The venue's answer to a parameter it cannot use."""
    return RpcError(-32602, "Invalid params", {"reason": reason, "param": param})


@dataclass(frozen=True, slots=True)
class Limits:
    """The venue's limits; tests narrow them. A rate is (cost, pool, refill per second)."""

    request: tuple[float, float, float] = (500.0, 50_000.0, 10_000.0)
    subscription: tuple[float, float, float] = (3_000.0, 30_000.0, 10_000.0)
    instruments: tuple[float, float, float] = (1.0, 5.0, 0.1)  # the stricter of the two documented ones
    instruments_http: tuple[float, float, float] = (1.0, 50.0, 1.0)
    channels_per_call: int = 500
    frame_bytes: int = 32 * 1024
    connections: int = 32
    heartbeat_min_s: float = 10.0
    write_buffer_bytes: int = 8 * 1024 * 1024
    sessions_per_key: int = 16
    token_s: float = 900.0  # of an access token; the venue's `expires_in` varies
    signature_skew_s: float = 5.0
