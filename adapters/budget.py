"""What a venue lets one address or key spend: pools of credits, refilled at a steady rate, and what each call costs.

A budget belongs to the venue's account of us, not to a connection, so that all connections that the venue counts
together share one. Instants are monotonic nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pricer.clock import NS_PER_SECOND
from pricer.errors import ConfigError


class TokenBucket:
    """A pool of credits. A call that costs more than the pool holds has to wait.

    >>> bucket = TokenBucket(pool=2.0, refill_per_s=1.0)
    >>> [bucket.take(0), bucket.take(0), bucket.take(0), bucket.take(NS_PER_SECOND)]
    [True, True, False, True]
    """

    def __init__(self, pool: float, refill_per_s: float) -> None:
        if not (pool > 0 and refill_per_s > 0):
            raise ConfigError(f"a pool of {pool} credits, refilled at {refill_per_s}/s, is never ready")
        self.pool = pool
        self._refill_per_s = refill_per_s
        self._level = pool
        self._at_ns: int | None = None

    def take(self, now_ns: int, cost: float = 1.0, leave: float = 0.0) -> bool:
        """Pay `cost`, if the pool then still holds `leave`."""
        self._refill(now_ns)
        if self._level < cost + leave:
            return False
        self._level -= cost
        return True

    def ready_ns(self, now_ns: int, cost: float = 1.0, leave: float = 0.0) -> int:
        """When the same `take` will succeed, if nobody else takes before."""
        self._refill(now_ns)
        missing = cost + leave - self._level
        # One more nanosecond covers the rounding down.
        return now_ns if missing <= 0 else now_ns + int(missing / self._refill_per_s * NS_PER_SECOND) + 1

    def drain(self, now_ns: int) -> None:
        """The venue says that the pool is empty, whatever we had reckoned."""
        self._refill(now_ns)
        self._level = 0.0

    def _refill(self, now_ns: int) -> None:
        if self._at_ns is not None and now_ns > self._at_ns:
            self._level = min(self.pool, self._level + (now_ns - self._at_ns) / NS_PER_SECOND * self._refill_per_s)
        if self._at_ns is None or now_ns > self._at_ns:
            self._at_ns = now_ns


class Price(NamedTuple):
    """What one kind of call costs, and out of which pool; `leave` credits stay for calls that matter more."""

    pool: str
    cost: float
    leave: float = 0.0


class Budget:
    """The pools of one venue and key, and the price of each kind of call.

    >>> budget = Budget({"calls": TokenBucket(10, 1)}, {"list": Price("calls", 6), "ping": Price("calls", 2)})
    >>> [budget.take("list", 0), budget.take("list", 0), budget.take("ping", 0)]
    [True, False, True]
    """

    def __init__(self, pools: Mapping[str, TokenBucket], prices: Mapping[str, Price]) -> None:
        for kind, price in prices.items():
            if price.pool not in pools:
                raise ConfigError(f"{kind!r} is paid out of {price.pool!r}, and there is no such pool")
            if price.cost + price.leave > pools[price.pool].pool:
                raise ConfigError(
                    f"{kind!r} costs {price.cost:g} and leaves {price.leave:g},"
                    f" but {price.pool!r} never holds more than {pools[price.pool].pool:g}"
                )
        self._pools = dict(pools)
        self._prices = dict(prices)

    def take(self, kind: str, now_ns: int) -> bool:
        """Pay for one call of this kind, if its pool holds enough."""
        price = self._prices[kind]
        return self._pools[price.pool].take(now_ns, price.cost, price.leave)

    def ready_ns(self, kind: str, now_ns: int) -> int:
        """When the next call of this kind can be paid for, if nobody else pays before."""
        price = self._prices[kind]
        return self._pools[price.pool].ready_ns(now_ns, price.cost, price.leave)

    def drain(self, kind: str, now_ns: int) -> None:
        """A call of this kind was refused for its rate: everybody who shares the pool waits for it to refill."""
        self._pools[self._prices[kind].pool].drain(now_ns)
