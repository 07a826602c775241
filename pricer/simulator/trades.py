"""The tape: what trades, with ids, sequence numbers and the marks that tell blocks, combos and liquidations apart.

The market itself decides which options are hit (`market.Hit`); the tape adds futures, which trade at the bid or ask of
the instant, now and then a call spread whose legs are printed as well, a block at the mark, and a perpetual's
liquidation. It draws from a generator of its own, so that watching trades leaves quotes as they were.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pricer.simulator.listing import Family

if TYPE_CHECKING:
    from pricer.simulator.market import Chain, Future

Floats = NDArray[np.float64]
Side = Literal["buy", "sell"]

KEPT = 1_000  # trades per family that can be asked for later

_FUTURE_CHANCE = 0.05  # per step
_PERPETUAL_CHANCE = 0.4
_LIQUIDATION_CHANCE = 0.01  # of a perpetual's trade
_COMBO_CHANCE = 0.003
_BLOCK_CHANCE = 0.002
_BLOCK_SIZES = (25.0, 50.0, 100.0, 250.0)
_NEAR = 0.35  # absolute delta between this and its complement: where blocks and spreads are


@dataclass(frozen=True, slots=True)
class Hit:
    """An option of a chain that has just traded at its bid or ask."""

    row: int
    price: float
    amount: float
    side: Side


@dataclass(frozen=True, slots=True)
class Trade:
    """One line of the tape, in the venue's units; `iv` in percent, NaN off options. `legs` on a combo's own line."""

    ms: int
    family: Family
    kind: Literal["option", "future", "option_combo"]
    name: str
    price: float
    amount: float
    contracts: float
    side: Side
    index: float
    mark: float
    iv: float
    trade_id: str
    seq: int
    tick_direction: int  # 0 up, 1 unchanged after up, 2 down, 3 unchanged after down
    block: str = ""
    combo: str = ""
    combo_trade_id: str = ""
    liquidation: str = ""
    legs: tuple[Trade, ...] = ()


class Tape:
    """Prints trades; keeps the last `KEPT` of each family, oldest first."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng((seed, 1))
        self.recent: dict[str, deque[Trade]] = {}
        self._next_id = 240_000_000
        self._seq: dict[str, int] = {}
        self._last: dict[str, tuple[float, int]] = {}  # price and tick direction

    def step(self, now_ns: int, chains: Mapping[str, Chain], hits: Mapping[str, Iterable[Hit]]) -> tuple[Trade, ...]:
        """The trades of one step of the market, which has already moved."""
        printed: list[Trade] = []
        for name, chain in chains.items():
            made = [self._print(_option(now_ns, chain, hit)) for hit in hits.get(name, ())]
            draws = self.rng.random((len(chain.futures), 3)).tolist()
            for future, (chance, size, forced) in zip(chain.futures.values(), draws, strict=True):
                if chance < (_FUTURE_CHANCE if future.expiry else _PERPETUAL_CHANCE):
                    made.append(self._future(now_ns, chain, future, size, forced))
            if self.rng.random() < _BLOCK_CHANCE:
                made += self._block(now_ns, chain)
            if self.rng.random() < _COMBO_CHANCE:
                made += self._spread(now_ns, chain)
            self.recent.setdefault(name, deque(maxlen=KEPT)).extend(made)
            printed += made
        return tuple(printed)

    def forget(self, names: Iterable[str]) -> None:
        """These instruments are gone."""
        for name in names:
            self._seq.pop(name, None)
            self._last.pop(name, None)

    def _future(self, now_ns: int, chain: Chain, future: Future, size: float, forced: float) -> Trade:
        sold = future.last == future.bid
        contract = chain.family.future_contract
        available = future.bid_size if sold else future.ask_size
        contracts = max(math.floor(available * size**4 / contract), 1)
        amount = round(contracts * contract, 8)
        future.volume = round(future.volume + (amount / future.last if chain.family.inverse else amount), 8)
        liquidated = future.expiry is None and forced < _LIQUIDATION_CHANCE
        return self._print(
            Trade(
                ms=now_ns // 1_000_000,
                family=chain.family,
                kind="future",
                name=future.name,
                price=future.last,
                amount=amount,
                contracts=float(contracts),
                side="sell" if sold else "buy",
                index=chain.index,
                mark=future.mark,
                iv=math.nan,
                trade_id="",
                seq=0,
                tick_direction=0,
                liquidation="T" if liquidated else "",
            )
        )

    def _block(self, now_ns: int, chain: Chain) -> list[Trade]:
        """A large trade agreed outside the book, at the mark."""
        rows = self._near_the_money(chain)
        row = int(rows[int(self.rng.integers(rows.size))]) if rows.size else -1
        amount, sold = float(self.rng.choice(_BLOCK_SIZES)), self.rng.random() < 0.5
        if row < 0:
            return []
        mark, iv = float(chain.rows["mark"][row]), float(chain.rows["mark_iv"][row])
        trade = self._print(_option(now_ns, chain, Hit(row, mark, amount, "sell" if sold else "buy")))
        return [replace(trade, iv=iv, block=f"BLOCK-{trade.trade_id}")]

    def _spread(self, now_ns: int, chain: Chain) -> list[Trade]:
        """A call spread sold: the lower strike at its bid, the higher bought at its ask; the combo's line is first."""
        rows = self._near_the_money(chain)
        calls = rows[chain.rows["cp"][rows] > 0.0]
        draw = self.rng.random()
        if calls.size < 2:
            return []
        low = int(calls[int(draw * (calls.size - 1))])
        same = calls[chain.rows["expiry_ns"][calls] == chain.rows["expiry_ns"][low]]
        higher = same[chain.rows["strike"][same] > chain.rows["strike"][low]]
        if higher.size == 0:
            return []
        high = int(higher[np.argmin(chain.rows["strike"][higher])])
        return self._sell_spread(now_ns, chain, low, high)

    def _sell_spread(self, now_ns: int, chain: Chain, low: int, high: int) -> list[Trade]:
        price = round(float(chain.rows["bid"][low] - chain.rows["ask"][high]), 4)
        if price <= 0.0:
            return []
        amount = chain.family.min_amount
        strikes = "_".join(chain.names[row].split("-")[2] for row in (low, high))
        combo = f"{chain.family.name}-CS-{chain.names[low].split('-')[1]}-{strikes}"
        mark = round(float(chain.rows["mark"][low] - chain.rows["mark"][high]), 4)
        whole = replace(_option(now_ns, chain, Hit(low, price, amount, "sell")), kind="option_combo", name=combo)
        whole = self._print(replace(whole, mark=mark, iv=math.nan))
        legs = (
            Hit(high, float(chain.rows["ask"][high]), amount, "buy"),
            Hit(low, float(chain.rows["bid"][low]), amount, "sell"),
        )
        printed = tuple(
            self._print(replace(_option(now_ns, chain, leg), combo=combo, combo_trade_id=whole.trade_id))
            for leg in legs
        )
        return [replace(whole, legs=printed), *printed]

    def _near_the_money(self, chain: Chain) -> NDArray[np.int64]:
        depth = np.abs(chain.rows["delta"])
        quoted = (chain.rows["bid"] > 0.0) & (chain.rows["ask"] > 0.0) & (chain.rows["mark"] > 0.0)
        return np.flatnonzero(quoted & (depth > _NEAR) & (depth < 1.0 - _NEAR))

    def _print(self, trade: Trade) -> Trade:
        self._next_id += 1
        seq = self._seq[trade.name] = self._seq.get(trade.name, 0) + 1
        last, direction = self._last.get(trade.name, (trade.price, 0))
        if trade.price != last:
            direction = 0 if trade.price > last else 2
        elif seq > 1:
            direction |= 1
        self._last[trade.name] = (trade.price, direction)
        return replace(trade, trade_id=str(self._next_id), seq=seq, tick_direction=direction)


def _option(now_ns: int, chain: Chain, hit: Hit) -> Trade:
    """A trade of an option, not printed yet."""
    row = chain.rows[hit.row]
    return Trade(
        ms=now_ns // 1_000_000,
        family=chain.family,
        kind="option",
        name=chain.names[hit.row],
        price=hit.price,
        amount=hit.amount,
        contracts=hit.amount,
        side=hit.side,
        index=chain.index,
        mark=float(row["mark"]),
        iv=float(row["bid_iv"] if hit.side == "sell" else row["ask_iv"]),
        trade_id="",
        seq=0,
        tick_direction=0,
    )
