"""Accounts with positions: seeded, marked to the market, and filled now and then as the maker of public trades.

Only options, dated futures and perpetuals; no margin rules: margins are a flat share of what is held. A fill *is* a
trade of the tape, seen from the other side, so ids, prices and sequence numbers agree with the public channels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from pricer.simulator.market import Chain, Market
from pricer.simulator.trades import Side, Trade

FILL_CHANCE = 0.02
START_COINS, START_CASH = 10.0, 250_000.0
_OPTIONS = (4, 2)  # positions to begin with, by family
_MARGIN_SHARE = 0.10
_MAKER_FEE = 0.0003


@dataclass(slots=True)
class Holding:
    """A position: in coin for options and linear futures, in USD for inverse futures; negative is short."""

    name: str
    size: float
    average: float
    realized: float = 0.0


@dataclass(frozen=True, slots=True)
class Fill:
    """The account's side of a public trade."""

    trade: Trade
    side: Side
    order_id: str
    fee: float
    profit: float  # realised


@dataclass(frozen=True, slots=True)
class Marked:
    """A position at the market's present values; Greeks are the venue's displayed ones times size, NaN on futures."""

    holding: Holding
    chain: Chain
    kind: str  # option, future
    expires: bool  # in the nearest expiry
    mark: float
    index: float
    settlement: float
    profit: float  # floating, in the settlement currency
    in_coin: float  # an inverse future's size in coin; else the size
    delta: float  # Black delta, in coin
    net_delta: float  # inverse options: less their premium, the venue's net transaction delta
    gamma: float
    vega: float
    theta: float


class Account:
    """What one API key owns; of the public trades in the open book, the share `fill_chance` is its own."""

    def __init__(self, market: Market, key: str, *, fill_chance: float = FILL_CHANCE) -> None:
        self.key = key
        self.market = market
        self.fill_chance = fill_chance
        self.rng = np.random.default_rng((market.seed, 3, zlib.crc32(key.encode())))
        self.holdings: dict[str, Holding] = {}
        self.balances = {c.family.settlement: START_COINS if c.family.inverse else START_CASH for c in self._chains()}
        self._next_order = 1
        for chain, count in zip(self._chains(), _OPTIONS, strict=False):
            self._begin(chain, count)

    def step(self, trades: Iterable[Trade], gone: Iterable[Chain]) -> list[Fill]:
        """Settle what has expired, and take the other side of some trades."""
        for past in gone:
            self._settle(past)
        fills = []
        for trade in trades:
            if trade.block or trade.combo or trade.kind == "option_combo" or self.rng.random() >= self.fill_chance:
                continue
            fills.append(self._fill(trade))
        return fills

    def marked(self) -> list[Marked]:
        """All positions now, by name."""
        found = ((self.market.chain_of(name), each) for name, each in sorted(self.holdings.items()))
        return [_mark(chain, each) for chain, each in found if chain is not None]

    def _chains(self) -> list[Chain]:
        return list(self.market.chains.values())

    def _begin(self, chain: Chain, count: int) -> None:
        depth = np.abs(chain.rows["delta"])
        liked = np.flatnonzero((depth > 0.1) & (depth < 0.7) & (chain.rows["bid"] > 0.0))
        for row in self.rng.choice(liked, min(count, liked.size), replace=False).tolist():
            size = round(float(self.rng.integers(1, 50)) * chain.family.min_amount, 4)
            signed = size if self.rng.random() < 0.5 else -size
            price = float(chain.rows["bid"][row] if signed < 0.0 else chain.rows["ask"][row] or chain.rows["mark"][row])
            self.holdings[chain.names[row]] = Holding(chain.names[row], signed, price)
        lots = float(self.rng.integers(-500, 500))
        perpetual = chain.futures[f"{chain.family.name}-PERPETUAL"]
        size = round(lots * chain.family.future_contract, 4)
        if size:
            self.holdings[perpetual.name] = Holding(perpetual.name, size, perpetual.mark)

    def _fill(self, trade: Trade) -> Fill:
        side: Side = "buy" if trade.side == "sell" else "sell"
        signed = trade.amount if side == "buy" else -trade.amount
        holding = self.holdings.setdefault(trade.name, Holding(trade.name, 0.0, trade.price))
        inverse_future = trade.kind == "future" and trade.family.inverse
        closed = min(abs(signed), abs(holding.size)) if signed * holding.size < 0.0 else 0.0
        profit = _profit(inverse_future, np.copysign(closed, holding.size), holding.average, trade.price)
        holding.realized += profit
        _average_in(holding, signed, trade.price, inverse_future)
        if holding.size == 0.0:
            del self.holdings[trade.name]
        in_coin = trade.amount / trade.price if inverse_future else trade.amount
        fee = round(_MAKER_FEE * in_coin * (1.0 if trade.family.inverse else trade.index), 8)
        self.balances[trade.family.settlement] += profit - fee
        if trade.kind == "option":  # premiums are paid at once
            self.balances[trade.family.settlement] -= signed * trade.price + profit
        order = f"{trade.family.settlement}-{self._next_order}"
        self._next_order += 1
        return Fill(trade, side, order, fee, profit)

    def _settle(self, past: Chain) -> None:
        """Pay what expired positions are worth at the delivery price."""
        delivery = self.market.delivery_prices[past.family.name]
        for name in [name for name in self.holdings if name in past.row_of or name in past.futures]:
            holding = self.holdings.pop(name)
            if name in past.row_of:
                row = past.rows[past.row_of[name]]
                worth = max(float(row["cp"] * (delivery - row["strike"])), 0.0)
                paid = holding.size * worth / (delivery if past.family.inverse else 1.0)
            else:
                paid = _profit(past.family.inverse, holding.size, holding.average, delivery)
            self.balances[past.family.settlement] += paid


def margin(marked: Marked) -> float:
    """Our flat rule, in the settlement currency."""
    return abs(marked.in_coin) * _MARGIN_SHARE * (1.0 if marked.chain.family.inverse else marked.index)


def _profit(inverse_future: bool, size: float, bought: float, sold: float) -> float:
    """Of `size`, in the settlement currency."""
    return float(size * (1.0 / bought - 1.0 / sold) if inverse_future else size * (sold - bought))


def _average_in(holding: Holding, signed: float, price: float, inverse_future: bool) -> None:
    """Add a trade: the average price changes only while the position grows; an inverse future's is a harmonic mean."""
    before, after = holding.size, round(holding.size + signed, 8)
    if before * signed >= 0.0:
        if inverse_future:
            holding.average = after / (before / holding.average + signed / price)
        else:
            holding.average = (before * holding.average + signed * price) / after
    elif before * after < 0.0:  # through zero: what is left was all traded now
        holding.average = price
    holding.size = after


def _mark(chain: Chain, holding: Holding) -> Marked:
    inverse, nearest, size = chain.family.inverse, chain.slices[0].expiry_ns, holding.size
    if holding.name in chain.futures:
        future = chain.futures[holding.name]
        in_coin = size / future.mark if inverse else size
        profit = _profit(inverse, size, holding.average, future.mark)
        expires = future.expiry is not None and future.expiry.expiry_ns == nearest
        nothing = (float("nan"),) * 3
        values = (future.mark, chain.index, future.settlement, profit, in_coin, in_coin, in_coin)
        return Marked(holding, chain, "future", expires, *values, *nothing)
    row = {name: float(chain.rows[chain.row_of[holding.name]][name]) for name in _OPTION_FIELDS}
    expires = int(chain.rows["expiry_ns"][chain.row_of[holding.name]]) == nearest
    profit = size * (row["mark"] - holding.average)
    net = size * (row["delta"] - row["mark"]) if inverse else size * row["delta"]
    values = (row["mark"], chain.index, row["settlement"], profit, size, size * row["delta"], net)
    greeks = (size * row["gamma"], size * row["vega"], size * row["theta"])
    return Marked(holding, chain, "option", expires, *values, *greeks)


_OPTION_FIELDS = ("mark", "settlement", "delta", "gamma", "vega", "theta")
