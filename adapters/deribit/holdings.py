"""What an account holds and does: Deribit's private messages made into events (protocol sheet 7).

All of it is decoded loosely: it comes seldom, and one bad field must not cost the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from pricer.adapters.deribit.instruments import VENUE
from pricer.adapters.events import AnyEvent, Fill, Order, Portfolio, Position
from pricer.adapters.wire import (
    DECODE_ERRORS,
    Note,
    decode_items,
    decode_object,
    not_negative,
    noted,
    number,
    or_nan,
    text,
)
from pricer.clock import Instant

Stamp = Callable[[float | None, Instant], int | None]
Side = Literal["buy", "sell"]
Item = dict[str, Any]

# More open positions than an account can have; what is beyond is told, but not remembered.
MOST_POSITIONS = 20_000
ORDER_STATES = frozenset({"open", "filled", "cancelled", "rejected", "untriggered", "triggered"})
_SIDES: dict[str, Side] = {"buy": "buy", "sell": "sell"}
_NOT_MONEY = ("venue", "received", "exchange_ns", "currency")
_MONEY = tuple(field for field in Portfolio.__struct_fields__ if field not in _NOT_MONEY)


class Held:
    """The names of what one account holds, for all connections that carry a share of it: give the same one to all."""

    def __init__(self) -> None:
        self.names: frozenset[str] = frozenset()


class Holdings:
    """The positions last known, so that the venue's list can be compared with them."""

    def __init__(self, note: Note) -> None:
        self._note = note
        self._sizes: dict[str, float] = {}
        self._listed = False

    def portfolio(self, data: msgspec.Raw, now: Instant) -> list[AnyEvent]:
        """`user.portfolio.*`: the account in one currency."""
        item = decode_object(data)
        currency = "" if item is None else text(item.get("currency"))
        if item is None or not currency:
            self._note("bad_portfolio")
            return []
        money: dict[str, Any] = {field: or_nan(noted(item, field, number, self._note)) for field in _MONEY}
        return [Portfolio(venue=VENUE, received=now, currency=currency, **money)]

    def changes(self, data: msgspec.Raw, stamp: Stamp, now: Instant) -> list[AnyEvent]:
        """`user.changes.*`: orders, then the fills they had, then the positions that came of it."""
        item = decode_object(data)
        if item is None:
            self._note("bad_changes")
            return []
        events: list[AnyEvent] = []
        events += self._each(item, "orders", lambda order: self._order(order, stamp, now))
        events += self._each(item, "trades", lambda trade: self._fill(trade, stamp, now))
        # The page of the channel says `positions`, its schema `position`.
        for field in ("positions", "position"):
            events += self._each(item, field, lambda position: self._position(position, now))
        return events

    def reconcile(self, result: msgspec.Raw, now: Instant) -> list[AnyEvent] | None:
        """The venue's own list is the truth: what it does not name is closed. None where it is no list."""
        try:
            items = [decode_object(raw) for raw in decode_items(result)]
        except DECODE_ERRORS:
            return None
        known = self._sizes
        self._sizes = {}
        events: list[AnyEvent] = []
        for item in items:
            found = None if item is None else self._position(item, now)
            if found is None:
                self._note("bad_position")
            else:
                events.append(found)
        told = {each.instrument for each in events if isinstance(each, Position)}
        closed = [name for name in known if name not in told]
        events += [Position(venue=VENUE, received=now, instrument=name, size=0.0) for name in closed]
        if self._listed and known != self._sizes:
            self._note("positions_corrected")
        self._listed = True
        return events

    def _each(self, item: Item, field: str, convert: Callable[[Item], AnyEvent | None]) -> list[AnyEvent]:
        rows = item.get(field)
        if rows is None:
            return []
        if not isinstance(rows, list):
            self._note(f"bad_field.{field}")
            return []
        found = [convert(row) if isinstance(row, dict) else None for row in rows]
        for event in found:
            if event is None:
                self._note(f"bad_row.{field}")
        return [event for event in found if event is not None]

    def _position(self, item: Item, now: Instant) -> Position | None:
        name, size = text(item.get("instrument_name")), noted(item, "size", number, self._note)
        if not name or size is None:
            return None
        side = item.get("direction")
        if side == "sell":  # whether the size of a short has a sign of its own is not documented
            size = -abs(size)
        if size == 0.0:
            self._sizes.pop(name, None)
        elif len(self._sizes) < MOST_POSITIONS or name in self._sizes:
            self._sizes[name] = size
        else:
            self._note("positions_forgotten")

        def value(field: str) -> float:
            return or_nan(noted(item, field, number, self._note))

        return Position(
            venue=VENUE,
            received=now,
            instrument=name,
            size=size,
            average_price=value("average_price"),
            mark=value("mark_price"),
            profit_loss=value("floating_profit_loss"),
            delta=value("delta"),
            gamma=value("gamma"),
            vega=value("vega"),
            theta=value("theta"),
        )

    def _order(self, item: Item, stamp: Stamp, now: Instant) -> Order | None:
        name, order_id = text(item.get("instrument_name")), text(item.get("order_id"))
        side, size = self._side(item), noted(item, "amount", not_negative, self._note)
        if not name or not order_id or side is None or size is None:
            return None
        state = text(item.get("order_state"))
        if state not in ORDER_STATES:
            self._note("unknown_order_state")
            state = "unknown"
        price = item.get("price")  # a word for market orders
        return Order(
            venue=VENUE,
            received=now,
            exchange_ns=stamp(noted(item, "last_update_timestamp", number, self._note), now),
            instrument=name,
            order_id=order_id,
            state=state,
            side=side,
            price=or_nan(number(price)),
            size=size,
            filled=or_nan(noted(item, "filled_amount", not_negative, self._note)),
            label=text(item.get("label")),
        )

    def _fill(self, item: Item, stamp: Stamp, now: Instant) -> Fill | None:
        name, trade_id = text(item.get("instrument_name")), text(item.get("trade_id"))
        side = self._side(item)
        price, size = (noted(item, field, not_negative, self._note) for field in ("price", "amount"))
        if not name or not trade_id or side is None or price is None or size is None:
            return None
        return Fill(
            venue=VENUE,
            received=now,
            exchange_ns=stamp(noted(item, "timestamp", number, self._note), now),
            instrument=name,
            trade_id=trade_id,
            order_id=text(item.get("order_id")),
            side=side,
            price=price,
            size=size,
            fee=or_nan(noted(item, "fee", number, self._note)),
        )

    def _side(self, item: Item) -> Side | None:
        return _SIDES.get(text(item.get("direction")))
