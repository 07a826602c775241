"""Deribit's questions about the market and an account, each a function of its parameters.

    public/{get_currencies, get_instruments, get_instrument, get_expirations, get_contract_size}
    public/{ticker, get_order_book, get_book_summary_by_currency, get_book_summary_by_instrument}
    public/{get_index_price, get_index_price_names, get_delivery_prices}
    public/{get_last_trades_by_currency, get_last_trades_by_instrument}, each also with `_and_time`
    private/{get_positions, get_position, get_account_summary, get_account_summaries, get_open_orders}

`currency` of `get_instruments` may be left out, as the ccxt client does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pricer.simulator.accounts import Account
from pricer.simulator.market import Chain, Market
from pricer.simulator.trades import Trade
from pricer.simulator.venues.deribit import account as account_wire
from pricer.simulator.venues.deribit import wire
from pricer.simulator.venues.deribit.channels import CURRENCIES, KINDS
from pricer.simulator.venues.deribit.errors import invalid
from pricer.simulator.venues.deribit.stream import Stream
from pricer.simulator.venues.deribit.wire import Json

Params = dict[str, Any]

BOOK_DEPTHS = (1, 5, 10, 20, 50, 100, 1_000, 10_000)
MOST_TRADES = 1_000
_COINS = {"BTC": "Bitcoin", "USDC": "USD Coin"}


class Exchange(Protocol):
    """What a question is asked of."""

    market: Market
    stream: Stream

    def chains_in(self, currency: str) -> list[Chain]:
        """The families that are filed under a currency."""


def currencies(exchange: Exchange, _: Params) -> list[Json]:
    """The coins that anything settles in."""
    coins = dict.fromkeys(chain.family.settlement for chain in exchange.market.chains.values())
    return [
        {
            "currency": coin,
            "network_fee": 0.0,
            "min_withdrawal_fee": 0.0001,
            "apr": 0.0,
            "withdrawal_fee": 0.0001,
            "network_currency": coin,
            "coin_type": "BITCOIN" if coin == "BTC" else "ETHER",
            "withdrawal_priorities": [],
            "min_confirmations": 1,
            "currency_long": _COINS.get(coin, coin),
            "in_cross_collateral_pool": False,
        }
        for coin in coins
    ]


def instruments(exchange: Exchange, params: Params) -> list[Json]:
    """All that is listed, or with `expired` what went last."""
    chains, kind = _filed_under(exchange, {"currency": "any", **params})
    if params.get("expired", False) is True:
        past = (c.past for c in chains if c.past is not None)
        return [item for chain in past for item in wire.instruments(chain, kind, state="archivized")]
    return [item for chain in chains for item in wire.instruments(chain, kind, states=exchange.market.states)]


def instrument(exchange: Exchange, params: Params) -> Json:
    """One of them."""
    chain, name = _listing(exchange, params)
    state = exchange.market.state_of(name)
    if name in chain.futures:
        return wire.future_instrument(chain, chain.futures[name], state=state)
    return wire.option_instrument(chain, chain.row_of[name], state=state)


def contract_size(exchange: Exchange, params: Params) -> Json:
    """The size of one contract."""
    return {"contract_size": instrument(exchange, params)["contract_size"]}


def expirations(exchange: Exchange, params: Params) -> Json:
    """Expiry codes by kind, under the currency's name unless all are asked for."""
    chains, kind = _filed_under(exchange, params)
    found = wire.expirations(chains, kind)
    return found if params["currency"] == "any" else {str(params["currency"]).lower(): found}


def ticker(exchange: Exchange, params: Params) -> Json:
    """A ticker as of the last quote."""
    _, name = _listing(exchange, params)
    return exchange.stream.ticker(name)


def order_book(exchange: Exchange, params: Params) -> Json:
    """A ticker with `depth` levels a side."""
    _, name = _listing(exchange, params)
    depth = params.get("depth", 5)
    if depth not in BOOK_DEPTHS or isinstance(depth, bool):
        raise invalid("depth")
    return wire.order_book(exchange.stream.ticker(name), exchange.stream.books.state(name), depth)


def summaries(exchange: Exchange, params: Params) -> list[Json]:
    """A row for each instrument of a currency."""
    chains, kind = _filed_under(exchange, params)
    return [row for chain in chains for row in wire.book_summaries(exchange.market, chain, kind)]


def summary(exchange: Exchange, params: Params) -> list[Json]:
    """The row of one instrument."""
    chain, name = _listing(exchange, params)
    return [wire.book_summary(exchange.market, chain, name)]


def index_price(exchange: Exchange, params: Params) -> Json:
    """An index."""
    chain = _chain_of_index(exchange, params)
    return {"estimated_delivery_price": chain.index, "index_price": chain.index}


def index_names(exchange: Exchange, _: Params) -> list[str]:
    """The names of all indexes."""
    return [chain.family.index_name for chain in exchange.market.chains.values()]


def delivery_prices(exchange: Exchange, params: Params) -> Json:
    """What an index delivered at, day by day."""
    chain = _chain_of_index(exchange, params)
    offset, count = (_whole(params, name, default, 0) for name, default in (("offset", 0), ("count", 10)))
    return wire.delivery_prices(chain, offset, min(count, 1_000))


def trades_of_currency(exchange: Exchange, params: Params) -> Json:
    """The last trades of a currency and kind."""
    chains, kind = _filed_under(exchange, params)
    kept = [t for chain in chains for t in exchange.market.tape.recent.get(chain.family.name, ())]
    return _trades([t for t in kept if kind in (t.kind, "any")], params)


def trades_of_instrument(exchange: Exchange, params: Params) -> Json:
    """The last trades of one instrument."""
    chain, name = _listing(exchange, params)
    return _trades([t for t in exchange.market.tape.recent.get(chain.family.name, ()) if t.name == name], params)


def positions(account: Account, params: Params) -> list[Json]:
    """An account's positions."""
    currency, kind = params.get("currency", "any"), params.get("kind", "any")
    _check_class(currency, kind)
    return account_wire.positions(account, currency, kind)


def position(account: Account, params: Params) -> Json | None:
    """One of them."""
    name = params.get("instrument_name")
    return next((each for each in positions(account, {}) if each["instrument_name"] == name), None)


def account_summary(account: Account, params: Params) -> Json:
    """An account in one currency."""
    currency = params.get("currency")
    if currency not in account.balances:
        raise invalid("currency")
    return account_wire.summary(account, currency)


def account_summaries(account: Account, _: Params) -> Json:
    """An account in all currencies."""
    summaries = [account_wire.portfolio(account, currency) for currency in account.balances]
    return {"type": "main", "username": account.key, "login_enabled": True, "summaries": summaries}


def open_orders(_: Account, __: Params) -> list[Json]:
    """None: what accounts trade here is filled at once."""
    return []


def _filed_under(exchange: Exchange, params: Params) -> tuple[list[Chain], str]:
    currency, kind = params.get("currency"), params.get("kind", "any")
    _check_class(currency, kind)
    return exchange.chains_in(str(currency)), kind


def _check_class(currency: object, kind: object) -> None:
    if currency not in CURRENCIES:
        raise invalid("currency")
    if kind not in KINDS:
        raise invalid("kind")


def _listing(exchange: Exchange, params: Params) -> tuple[Chain, str]:
    name = params.get("instrument_name")
    if not isinstance(name, str) or (chain := exchange.market.chain_of(name)) is None:
        raise invalid("instrument_name")
    return chain, name


def _chain_of_index(exchange: Exchange, params: Params) -> Chain:
    for chain in exchange.market.chains.values():
        if chain.family.index_name == params.get("index_name"):
            return chain
    raise invalid("index_name")


def _whole(params: Params, name: str, default: int, least: int) -> int:
    value = params.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise invalid(name)
    return value


def _trades(kept: list[Trade], params: Params) -> Json:
    """The newest `count` of those between the times asked for, newest first unless `sorting` is `asc`."""
    start, end = (_whole(params, name, at, 0) for name, at in (("start_timestamp", 0), ("end_timestamp", 2**62)))
    count = min(_whole(params, "count", 10, 1), MOST_TRADES)
    kept = sorted((t for t in kept if start <= t.ms <= end), key=lambda t: int(t.trade_id), reverse=True)
    found = [wire.trade(t) for t in kept[:count]]
    return {"trades": found[::-1] if params.get("sorting") == "asc" else found, "has_more": len(kept) > count}


PUBLIC: dict[str, Callable[[Exchange, Params], object]] = {
    "public/get_currencies": currencies,
    "public/get_instruments": instruments,
    "public/get_instrument": instrument,
    "public/get_contract_size": contract_size,
    "public/get_expirations": expirations,
    "public/ticker": ticker,
    "public/get_order_book": order_book,
    "public/get_book_summary_by_currency": summaries,
    "public/get_book_summary_by_instrument": summary,
    "public/get_index_price": index_price,
    "public/get_index_price_names": index_names,
    "public/get_delivery_prices": delivery_prices,
    "public/get_last_trades_by_currency": trades_of_currency,
    "public/get_last_trades_by_currency_and_time": trades_of_currency,
    "public/get_last_trades_by_instrument": trades_of_instrument,
    "public/get_last_trades_by_instrument_and_time": trades_of_instrument,
}

PRIVATE: dict[str, Callable[[Account, Params], object]] = {
    "private/get_positions": positions,
    "private/get_position": position,
    "private/get_account_summary": account_summary,
    "private/get_account_summaries": account_summaries,
    "private/get_open_orders": open_orders,
}
