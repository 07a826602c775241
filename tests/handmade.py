"""Snapshots made by hand: no venue, no engine, no kernels. Prices are Black-76 by the standard library's normal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from pricer.adapters.instruments import SliceKey
from pricer.clock import Instant, ManualClock
from pricer.conventions import NO_REASON, NS_PER_DAY, Reason, Status, ttm_years
from pricer.snapshot import (
    FIELD_INDEX,
    ROW_PAIR,
    STATUS_PAIRS,
    VALUE_FIELDS,
    FeedHealth,
    SliceBlock,
    SliceDefinition,
    Snapshot,
    UnderlyingValue,
)

SECOND = 1_000_000_000
QUOTE_MAX_AGE = 12 * SECOND
FORWARD_MAX_AGE = 2 * SECOND
NOW = Instant(1_795_000_000 * SECOND, 500 * SECOND)  # 2026-11-18 11:06:40 UTC
NORMAL = NormalDist()


def expiry_in(days: int) -> int:
    """08:00 UTC, `days` days after the day of NOW."""
    midnight = NOW.wall_ns // NS_PER_DAY * NS_PER_DAY
    return midnight + days * NS_PER_DAY + 8 * 3600 * SECOND


def premium(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> float:
    """Undiscounted Black-76 in the quote currency."""
    s = sigma * math.sqrt(ttm)
    d1 = math.log(forward / strike) / s + 0.5 * s
    return cp * (forward * NORMAL.cdf(cp * d1) - strike * NORMAL.cdf(cp * (d1 - s)))


def define(prefix: str, expiry_ns: int, strikes: Sequence[float], underlying: str, venue: str) -> SliceDefinition:
    """A coin-settled expiry with a call and a put at each strike, named PREFIX-STRIKE-C and -P."""
    names = tuple(f"{prefix}-{strike:.0f}-{letter}" for strike in strikes for letter in "CP")
    n = len(names)
    return SliceDefinition(
        key=SliceKey(venue, f"{underlying.lower()}_usd", expiry_ns),
        underlying=underlying,
        inverse=True,
        names=names,
        rows=MappingProxyType({name: row for row, name in enumerate(names)}),
        strike=np.repeat(np.asarray(strikes, float), 2),
        cp=np.tile([1.0, -1.0], len(strikes)),
        tick_size=np.full(n, 0.0001),
        min_amount=np.full(n, 0.1),
        contract_size=np.ones(n),
        settlement_currency=underlying,
        quote_currency=underlying,
    )


def block_of(
    definition: SliceDefinition,
    values: NDArray[np.float64],
    now: Instant,
    forward: UnderlyingValue,
    *,
    quoted: Instant,
    fitted: Instant,
    version: int = 1,
) -> SliceBlock:
    """`values` as a block: every row is `OK` and was `quoted` at one moment, and the limits are the usual ones."""
    n = len(definition)
    return SliceBlock(
        definition=definition,
        values=values,
        status=np.zeros((len(STATUS_PAIRS), n), np.uint8),
        reasons=np.zeros((len(STATUS_PAIRS), n), np.uint64),
        quote_mono_ns=np.full(n, quoted.mono_ns, np.int64),
        quote_received_ns=np.full(n, quoted.wall_ns, np.int64),
        quote_exchange_ns=np.full(n, quoted.wall_ns - 5_000_000, np.int64),
        quote_valid_until_ns=np.full(n, quoted.mono_ns + QUOTE_MAX_AGE, np.int64),
        model_valid_until_ns=now.mono_ns + FORWARD_MAX_AGE,
        forward=forward,
        fitted=fitted,
        fit=None,
        computed=now,
        ttm=ttm_years(definition.key.expiry_ns, now.wall_ns),
        version=version,
    )


def handmade_block(underlying: str, days: int, forward: float, strikes: Sequence[float]) -> SliceBlock:
    """One expiry, every option quoted two ticks around its value and `OK`."""
    definition = define(f"{underlying}-{days}D", expiry_in(days), strikes, underlying, "deribit")
    ttm = ttm_years(definition.key.expiry_ns, NOW.wall_ns)
    values = np.full((len(VALUE_FIELDS), len(definition)), np.nan)
    for row, (strike, cp) in enumerate(zip(definition.strike.tolist(), definition.cp.tolist(), strict=True)):
        k = math.log(strike / forward)
        iv = 0.55 + 0.1 * k * k - 0.05 * k
        value = premium(forward, strike, ttm, iv, cp)
        d1 = -k / (iv * math.sqrt(ttm)) + 0.5 * iv * math.sqrt(ttm)
        numbers = {
            "bid": max(round(value / forward, 4) - 0.0002, 0.0001),
            "ask": round(value / forward, 4) + 0.0003,
            "theo": value / forward,
            "price": value,
            "mark_iv": iv,
            "bid_iv": iv - 0.01,
            "ask_iv": iv + 0.01,
            "mid_iv": iv,
            "iv": iv,
            "delta": cp * NORMAL.cdf(cp * d1),
            "gamma": NORMAL.pdf(d1) / (forward * iv * math.sqrt(ttm)),
            "vega": forward * NORMAL.pdf(d1) * math.sqrt(ttm),
            "theta": -forward * NORMAL.pdf(d1) * iv / (2 * math.sqrt(ttm)),
        }
        for name, number in numbers.items():
            values[FIELD_INDEX[name], row] = number
    quoted, fitted = NOW.plus(-300_000_000), NOW.plus(-SECOND)
    return block_of(definition, values, NOW, handmade_price(forward, "venue"), quoted=quoted, fitted=fitted)


def handmade_price(value: float, source: str) -> UnderlyingValue:
    """An `OK` price that came 0.2 s ago and is good for 2 s."""
    return UnderlyingValue(
        value=value,
        source=source,
        exchange_ns=NOW.wall_ns - 210_000_000,
        received=NOW.plus(-200_000_000),
        valid_until_ns=NOW.mono_ns + FORWARD_MAX_AGE,
        status=Status.OK,
        reasons=NO_REASON,
    )


def set_status(
    block: SliceBlock, row: int, status: Status, reasons: Reason, pairs: tuple[str, ...] = STATUS_PAIRS
) -> None:
    """Change a row's statuses; INVALID takes its numbers away, as the engine does."""
    for pair in pairs:
        at = STATUS_PAIRS.index(pair)
        block.status[at, row] = status
        block.reasons[at, row] = reasons
        if status is Status.INVALID:
            names = ("iv", "theo", "delta", "gamma", "vega", "theta") if at == ROW_PAIR else (pair,)
            block.values[[FIELD_INDEX[name] for name in names], row] = np.nan


def handmade_snapshot(
    underlying: str = "BTC", spot: float = 97_412.31, expiries: int = 9
) -> tuple[Snapshot, ManualClock]:
    """A chain of `expiries` expiries, 41 strikes each, all `OK`, and the clock that it goes by."""
    clock = ManualClock(NOW)
    step = spot / 97_412.31 * 2000
    blocks = tuple(
        handmade_block(
            underlying,
            days,
            spot * (1 + 0.05 * days / 365),
            [step * strike for strike in range(29, 70)],
        )
        for days in (1, 2, 9, 16, 37, 65, 128, 219, 310)[:expiries]
    )
    index = f"{underlying.lower()}_usd"
    snapshot = Snapshot(
        version=12_345,
        computed=NOW,
        blocks=blocks,
        indices={index: handmade_price(spot, "index")},
        perpetuals={index: handmade_price(spot + 8.5, "perpetual")},
        surfaces={},
        feeds=(FeedHealth("deribit", "main", "live", "", NOW.plus(-60 * SECOND)),),
        clock=clock,
    )
    return snapshot, clock
