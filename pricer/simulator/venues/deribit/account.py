"""An account's own numbers as Deribit writes them: positions, portfolio, orders, trades. Section 7 of the sheet.

`delta_total` is the net transaction delta, in coin; `options_delta` and a position's `delta` are Black deltas. Margins
are the embedded market's flat rule. Documented fields that mean nothing here (fees, referrals) are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pricer.simulator.accounts import Account, Fill, Marked, margin
from pricer.simulator.market import Changes
from pricer.simulator.venues.deribit import wire
from pricer.simulator.venues.deribit.channels import Channel, Wanted, classes
from pricer.simulator.venues.deribit.wire import Json

NS_PER_SECOND = 1_000_000_000


class AccountStream:
    """What the `user` channels of one account are sent."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self._second = account.market.now_ns // NS_PER_SECOND
        self._held: list[Fill] = []  # for agg2

    def first(self, channel: Channel) -> object | None:
        """A portfolio is sent at once (our choice); the others begin with the next fill."""
        if channel.kind != "user.portfolio":
            return None
        currencies = self.account.balances if channel.subject == "any" else (channel.subject,)
        found = [c for c in currencies if c in self.account.balances]
        return portfolio(self.account, found[0]) if found else None

    def due(self, changes: Changes, wanted: Wanted) -> Iterator[tuple[str, object]]:
        """The account's part of one step of the market: fills at once, portfolios once a second and at fills."""
        fills = self.account.step(changes.trades, changes.gone.values())
        second = changes.now_ns // NS_PER_SECOND
        flush, self._second = second != self._second, second
        self._held += fills
        if fills:
            yield from self._fills(fills, wanted, ("raw", "100ms"))
        if flush:
            yield from self._fills(self._held, wanted, ("agg2",))
            self._held = []
        if fills or flush:
            for channel in wanted.of_kind("user.portfolio"):
                for currency in self.account.balances:
                    if channel.subject in (currency, "any"):
                        yield channel.name, portfolio(self.account, currency)

    def _fills(self, fills: list[Fill], wanted: Wanted, intervals: tuple[str, ...]) -> Iterator[tuple[str, object]]:
        for kind in ("user.trades", "user.orders", "user.changes"):
            for channel in wanted.of_kind(kind):
                if channel.interval in intervals and (mine := [f for f in fills if channel.subject in _subjects(f)]):
                    yield from ((channel.name, data) for data in self._data(channel, mine))

    def _data(self, channel: Channel, fills: list[Fill]) -> list[object]:
        if channel.kind == "user.trades":
            return [[own_trade(fill) for fill in fills]]
        if channel.kind == "user.orders":
            orders: list[object] = [own_order(fill) for fill in fills]
            return orders if channel.interval == "raw" else [orders]
        names = dict.fromkeys(fill.trade.name for fill in fills)
        return [self._changes(name, [fill for fill in fills if fill.trade.name == name]) for name in names]

    def _changes(self, name: str, fills: list[Fill]) -> Json:
        return {
            "trades": [own_trade(fill) for fill in fills],
            "positions": [position(each) for each in self.account.marked() if each.holding.name == name]
            or [closed_position(fills[-1])],
            "orders": [own_order(fill) for fill in fills],
            "instrument_name": name,
        }


def _subjects(fill: Fill) -> tuple[str, ...]:
    return (fill.trade.name, *classes(fill.trade.kind, fill.trade.family.settlement))


def positions(account: Account, currency: str, kind: str) -> list[Json]:
    """The result of `private/get_positions`."""
    return [
        position(each)
        for each in account.marked()
        if currency in ("any", each.chain.family.settlement) and kind in ("any", each.kind)
    ]


def position(marked: Marked) -> Json:
    """One position. Greeks stand on options only, `size_currency` on futures only."""
    holding, option = marked.holding, marked.kind == "option"
    to_usd = marked.index if marked.chain.family.inverse else 1.0
    average_usd = {"average_price_usd": round(holding.average * to_usd, 4)} if option else {}
    greeks = {name: round(getattr(marked, name), 5) for name in ("gamma", "theta", "vega")} if option else {}
    of_future = {"size_currency": round(marked.in_coin, 9), "leverage": 50} if not option else {}
    return {
        "average_price": round(holding.average, 8),
        **average_usd,
        "delta": round(marked.delta, 9),
        "direction": "buy" if holding.size > 0.0 else "sell" if holding.size < 0.0 else "zero",
        "floating_profit_loss": round(marked.profit, 9),
        "floating_profit_loss_usd": round(marked.profit * to_usd, 6),
        **greeks,
        "index_price": marked.index,
        "initial_margin": round(margin(marked), 9),
        "instrument_name": holding.name,
        "kind": marked.kind,
        "maintenance_margin": round(0.75 * margin(marked), 9),
        "mark_price": marked.mark,
        "realized_profit_loss": round(holding.realized, 9),
        "settlement_price": marked.settlement,
        "size": holding.size,
        **of_future,
        "total_profit_loss": round(marked.profit + holding.realized, 9),
    }


def closed_position(fill: Fill) -> Json:
    """What is left of a position that a fill has closed: a size of zero, without a direction."""
    return {
        "average_price": 0.0,
        "delta": 0.0,
        "direction": "zero",
        "floating_profit_loss": 0.0,
        "index_price": fill.trade.index,
        "instrument_name": fill.trade.name,
        "kind": fill.trade.kind,
        "mark_price": fill.trade.mark,
        "realized_profit_loss": round(fill.profit, 9),
        "size": 0.0,
        "total_profit_loss": round(fill.profit, 9),
    }


def portfolio(account: Account, currency: str) -> Json:
    """The data of `user.portfolio.{currency}`, and most of `private/get_account_summary`."""
    mine = [each for each in account.marked() if each.chain.family.settlement == currency]
    options = [each for each in mine if each.kind == "option"]
    futures = [each for each in mine if each.kind == "future"]
    balance = account.balances[currency]
    futures_profit = sum(each.profit for each in futures)
    options_value = sum(each.holding.size * each.mark for each in options)
    initial = sum(map(margin, mine))
    margin_balance = balance + futures_profit
    return {
        "currency": currency,
        "balance": round(balance, 8),
        "equity": round(margin_balance + options_value, 8),
        "margin_balance": round(margin_balance, 8),
        "initial_margin": round(initial, 8),
        "maintenance_margin": round(0.75 * initial, 8),
        "projected_initial_margin": round(initial, 8),
        "projected_maintenance_margin": round(0.75 * initial, 8),
        "available_funds": round(margin_balance - initial, 8),
        "available_withdrawal_funds": round(max(min(balance, margin_balance - initial), 0.0), 8),
        "options_value": round(options_value, 8),
        "options_pl": round(sum(each.profit for each in options), 8),
        "futures_pl": round(futures_profit, 8),
        "total_pl": round(futures_profit + sum(each.profit for each in options), 8),
        "session_upl": round(futures_profit + sum(each.profit for each in options), 8),
        "session_rpl": round(sum(each.holding.realized for each in mine), 8),
        "options_delta": round(sum(each.delta for each in options), 9),
        **{f"options_{name}": round(sum(_all(options, name)), 5) for name in ("gamma", "vega", "theta")},
        **{f"options_{name}_map": _by_index(options, name) for name in ("gamma", "vega", "theta")},
        "delta_total": round(sum(each.net_delta for each in mine), 9),
        "delta_total_map": _by_index(mine, "net_delta"),
        "projected_delta_total": round(sum(each.net_delta for each in mine if not each.expires), 9),
        "portfolio_margining_enabled": False,
        "cross_collateral_enabled": False,
        "margin_model": "segregated_sm",
    }


def summary(account: Account, currency: str) -> Json:
    """The result of `private/get_account_summary`."""
    return {**portfolio(account, currency), "type": "main", "username": account.key, "login_enabled": True}


def own_trade(fill: Fill) -> Json:
    """One of the account's own trades: the public one from the maker's side."""
    public = wire.trade(fill.trade)
    return {
        **public,
        "direction": fill.side,
        "order_id": fill.order_id,
        "order_type": "limit",
        "state": "filled",
        "liquidity": "M",
        "fee": fill.fee,
        "fee_currency": fill.trade.family.settlement,
        "profit_loss": round(fill.profit, 9),
        "post_only": True,
        "reduce_only": False,
        "self_trade": False,
        "matching_id": None,
        "api": True,
        "label": "",
    }


def own_order(fill: Fill) -> Json:
    """The order that the trade has filled."""
    trade = fill.trade
    return {
        "order_id": fill.order_id,
        "instrument_name": trade.name,
        "direction": fill.side,
        "order_state": "filled",
        "order_type": "limit",
        "price": trade.price,
        "average_price": trade.price,
        "amount": trade.amount,
        "filled_amount": trade.amount,
        "contracts": trade.contracts,
        "time_in_force": "good_til_cancelled",
        "post_only": True,
        "reduce_only": False,
        "replaced": False,
        "is_liquidation": False,
        "label": "",
        "web": False,
        "api": True,
        "creation_timestamp": trade.ms,
        "last_update_timestamp": trade.ms,
    }


def _all(marked: Iterable[Marked], name: str) -> list[float]:
    return [getattr(each, name) for each in marked]


def _by_index(marked: list[Marked], name: str) -> dict[str, float]:
    indexes = dict.fromkeys(each.chain.family.index_name for each in marked)
    return {
        index: round(sum(_all((each for each in marked if each.chain.family.index_name == index), name)), 9)
        for index in indexes
    }
