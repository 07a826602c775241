"""What ccxt and cryptofeed make of a Deribit frame, called in this process without a socket.

- ccxt: `handle_message` of `ccxt.pro.deribit`, after the JSON decoding that its client does (orjson where installed).
  Left out: its futures (nobody waits for a result), its socket. A ticker gives prices and sizes, no Greeks and no
  volatilities; a book is kept, without looking at the ids that link its messages; bulk marks are refused.
- cryptofeed: `message_handler` of its Deribit feed, with callbacks that do nothing. It decodes with yapic, numbers as
  decimals. A ticker gives bid and ask, once more an open interest where that changed; a book is kept and its ids are
  checked; bulk marks are logged as unknown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

Handle = Callable[[bytes], object]


class NoSocket:
    """In the place of ccxt's client."""

    def resolve(self, result: object, *_: object) -> None:
        self.result = result


def ccxt_handler(listed: list[dict[str, Any]]) -> Handle:
    """Decode and handle one frame with ccxt, its markets known."""
    import ccxt.pro
    from ccxt.async_support.base.ws import client as ws_client

    exchange: Any = ccxt.pro.deribit()
    exchange.set_markets([exchange.safe_market_structure(market_of(each)) for each in listed])
    loads, socket = ws_client.json_parser.loads, NoSocket()

    def handle(frame: bytes) -> object:
        exchange.handle_message(socket, loads(frame))
        return socket.result

    return handle


def market_of(item: dict[str, Any]) -> dict[str, Any]:
    name = item["instrument_name"]
    return {
        "id": name,
        "symbol": f"BTC/USD:{name}",
        "base": "BTC",
        "quote": "USD",
        "settle": "BTC",
        "type": "option",
        "option": True,
        "contract": True,
        "active": True,
        "precision": {"amount": 0.1, "price": 0.0001},
    }


def cryptofeed_handler(listed: list[dict[str, Any]]) -> Handle:
    """Decode and handle one frame with cryptofeed, its symbols known."""
    from cryptofeed.defines import DERIBIT, L2_BOOK, OPEN_INTEREST, TICKER
    from cryptofeed.exchanges.deribit import Deribit
    from cryptofeed.symbols import Symbols

    async def nothing(item: object, received: float) -> None:
        pass

    logging.getLogger("feedhandler").setLevel(logging.CRITICAL)
    mapping, info = Deribit._parse_symbol_data([{"result": listed}])
    Symbols.set(DERIBIT, mapping, dict(info))
    names = {each["instrument_name"] for each in listed}
    feed: Any = Deribit(
        # It asks for a key before it takes a ticker; none is ever sent.
        config={"deribit": {"key_id": "none", "key_secret": "none"}, "log": {"disabled": True}},
        symbols=[symbol for symbol, name in mapping.items() if name in names],
        channels=[TICKER, L2_BOOK, OPEN_INTEREST],
        callbacks=dict.fromkeys((TICKER, L2_BOOK, OPEN_INTEREST), nothing),
    )
    feed._Deribit__reset()

    def handle(frame: bytes) -> object:
        return finish(feed.message_handler(frame.decode(), None, 0.0))

    return handle


def finish(work: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("it waits for something")
