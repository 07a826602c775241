"""The public channels, without sockets: what they carry, how their messages hang together."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from pricer.simulator.venues.deribit.channels import parse
from pricer.simulator.venues.deribit.wire import Json
from tests.data import data_path
from tests.simulator.venues.sans_io import EIGHT, SECOND, START, Bench, Client
from tests.simulator.venues.test_deribit_wire import read_json, read_lines, shapes, unlike

PERPETUAL = "BTC-PERPETUAL"


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def client(bench: Bench) -> Client:
    return bench.client()


class Oracle:
    """A book from messages, a dictionary a side; insists on the chain and on every action's meaning."""

    def __init__(self, snapshot: Json) -> None:
        assert snapshot["type"] == "snapshot"
        assert "prev_change_id" not in snapshot
        self.change_id = snapshot["change_id"]
        self.sides: dict[str, dict[float, float]] = {"bids": {}, "asks": {}}
        self._take(snapshot)

    def apply(self, message: Json) -> None:
        assert message["type"] == "change"
        assert message["prev_change_id"] == self.change_id < message["change_id"]
        assert message["bids"] or message["asks"]
        self.change_id = message["change_id"]
        self._take(message)

    def _take(self, message: Json) -> None:
        for side, held in self.sides.items():
            for action, price, amount in message[side]:
                assert (price in held) == (action != "new")
                if action == "delete":
                    del held[price]
                else:
                    held[price] = amount

    def best(self) -> tuple[float, float]:
        """Best bid and ask, 0 where there is none, as tickers have it."""
        return max(self.sides["bids"], default=0.0), min(self.sides["asks"], default=0.0)


def some_options(bench: Bench, count: int = 6) -> list[str]:
    names = bench.market.chains["BTC"].names
    return names[:: len(names) // count][:count]


@pytest.mark.parametrize(
    "name",
    [
        "ticker.BTC-PERPETUAL",
        "ticker.BTC-PERPETUAL.1s",
        "book.BTC-PERPETUAL.none.7.100ms",
        "book.BTC-PERPETUAL.none.10.raw",
        "book.BTC-PERPETUAL.zero.10.100ms",
        "book.BTC-PERPETUAL.0.10.100ms",
        "trades.option.XYZ.100ms",
        "markprice.futures.btc_usd",
        "user.portfolio.XYZ",
        "user.changes.option.BTC",
        "instrument.gone.option.BTC",
        "",
    ],
)
def test_names_outside_the_grammar_are_no_channels(name: str) -> None:
    assert parse(name) is None


def test_a_grouping_step_may_be_below_one() -> None:
    channel = parse("book.BTC-PERPETUAL.0.5.10.100ms")
    assert channel is not None
    assert (channel.step, channel.depth) == (0.5, 10)


def test_books_chain_from_a_snapshot_and_their_best_is_the_ticker_of_the_same_instant(
    bench: Bench, client: Client
) -> None:
    names = [*some_options(bench), PERPETUAL, "BTC-25DEC26", bench.market.chains["BTC_USDC"].names[3]]
    client.read(*(f"{kind}.{name}.100ms" for name in names for kind in ("book", "ticker")))
    books = {name: Oracle(client.first[f"book.{name}.100ms"]) for name in names}
    tickers = {name: client.first[f"ticker.{name}.100ms"] for name in names}
    changed = 0
    for _ in range(150):
        heard = client.hear(1)
        for name in names:
            for message in heard[f"book.{name}.100ms"]:
                books[name].apply(message)
                changed += 1
            tickers[name] = (heard[f"ticker.{name}.100ms"] or [tickers[name]])[-1]
            assert books[name].best() == (tickers[name]["best_bid_price"], tickers[name]["best_ask_price"])
    assert changed > 300


def test_raw_agg2_and_100ms_chain_each_by_itself_to_the_same_book(bench: Bench, client: Client) -> None:
    client.log_in()
    channels = {interval: f"book.{PERPETUAL}.{interval}" for interval in ("raw", "100ms", "agg2")}
    client.read(*channels.values())
    books = {interval: Oracle(client.first[name]) for interval, name in channels.items()}
    counts: dict[str, int] = defaultdict(int)
    for _ in range(100):
        heard = client.hear(1)
        for interval, name in channels.items():
            for message in heard[name]:
                books[interval].apply(message)
                counts[interval] += 1
        assert books["raw"].sides == books["100ms"].sides
        if heard[channels["agg2"]]:
            assert books["agg2"].sides == books["100ms"].sides
    assert counts["raw"] > counts["100ms"] > 90 > counts["agg2"] >= 9


def test_a_late_reader_of_a_channel_gets_a_snapshot_that_chains(bench: Bench, client: Client) -> None:
    client.read(f"book.{PERPETUAL}.agg2")
    client.hear(25)
    late = bench.client()
    late.read(f"book.{PERPETUAL}.agg2")
    book = Oracle(late.first[f"book.{PERPETUAL}.agg2"])
    for message in late.hear(30)[f"book.{PERPETUAL}.agg2"]:
        book.apply(message)
    assert len(book.sides["bids"]) > 10


def test_raw_channels_need_a_login(client: Client) -> None:
    for channel in (f"book.{PERPETUAL}.raw", f"ticker.{PERPETUAL}.raw", "trades.option.BTC.raw"):
        assert client.ask("public/subscribe", channels=[channel])["error"]["code"] == 13778
    client.log_in()
    client.read(f"book.{PERPETUAL}.raw", f"ticker.{PERPETUAL}.raw", "trades.option.BTC.raw")


def test_grouped_books_are_whole_pictures_of_so_many_levels(bench: Bench, client: Client) -> None:
    plain, coarse, full = (f"book.{PERPETUAL}.{form}.100ms" for form in ("none.10", "5.10", "none.20"))
    client.read(plain, coarse, full)
    heard = client.hear(20)
    assert len(heard[plain]) > 10
    for message in (*heard[plain], client.first[plain]):
        assert len(message["bids"]) == len(message["asks"]) == 10
        assert message["bids"][0][0] < message["asks"][0][0]
    for message in heard[coarse]:
        assert all(price % 5.0 == 0.0 for price, _ in (*message["bids"], *message["asks"]))
    last, grouped = heard[full][-1], heard[coarse][-1]
    assert last["change_id"] == grouped["change_id"]
    assert grouped["bids"][0][1] == pytest.approx(sum(a for p, a in last["bids"] if p >= grouped["bids"][0][0]))


def test_get_order_book_is_the_ticker_with_the_channels_levels(bench: Bench, client: Client) -> None:
    name = some_options(bench)[2]
    client.read(f"book.{name}.none.20.100ms")
    client.hear(3)
    result = client.ask("public/get_order_book", instrument_name=name, depth=20)["result"]
    ticker = client.ask("public/ticker", instrument_name=name)["result"]
    assert {key: result[key] for key in ticker} == ticker
    assert [level[0] for level in result["bids"][:1]] == [ticker["best_bid_price"]][: len(result["bids"])]
    assert len(client.ask("public/get_order_book", instrument_name=PERPETUAL, depth=1)["result"]["bids"]) == 1


def test_quotes_follow_the_ticker_and_have_null_for_an_empty_side(bench: Bench, client: Client) -> None:
    rows = bench.market.chains["BTC"].rows
    one_sided = [bench.market.chains["BTC"].names[row] for row in (rows["bid"] == 0.0).nonzero()[0][:3]]
    channels = [f"quote.{name}" for name in (*one_sided, PERPETUAL)]
    client.read(*channels)
    assert all(client.first[f"quote.{name}"]["best_bid_price"] is None for name in one_sided)
    assert list(client.first[channels[-1]]) == [
        "timestamp",
        "instrument_name",
        "best_bid_price",
        "best_bid_amount",
        "best_ask_price",
        "best_ask_amount",
    ]
    assert len(client.hear(10)[f"quote.{PERPETUAL}"]) == 10


def test_marks_come_all_at_first_and_then_as_they_change_with_a_fraction_for_volatility(
    bench: Bench, client: Client
) -> None:
    client.read("markprice.options.btc_usd")
    chain = bench.market.chains["BTC"]
    held = {mark["instrument_name"]: mark for mark in client.first["markprice.options.btc_usd"]}
    assert set(held) == set(chain.names)
    sizes = []
    for message in client.hear(60)["markprice.options.btc_usd"]:
        sizes.append(len(message))
        for mark in message:
            old = held[mark["instrument_name"]]
            assert (old["iv"], old["mark_price"]) != (mark["iv"], mark["mark_price"])
            held[mark["instrument_name"]] = mark
    assert 0 < max(sizes) < len(chain.names) / 2
    for name, row in chain.row_of.items():
        assert held[name]["mark_price"] == chain.rows["mark"][row]
        assert held[name]["iv"] == pytest.approx(chain.rows["mark_iv"][row] / 100.0)


def test_trades_come_by_instrument_and_by_class_and_rest_knows_the_last(bench: Bench, client: Client) -> None:
    channels = [f"trades.{PERPETUAL}.100ms", "trades.option.BTC.100ms", "trades.any.any.100ms", "trades.any.any.agg2"]
    client.read(*channels)
    heard = {name: [t for m in messages for t in m] for name, messages in client.hear(600).items()}
    perpetual, options, everything, slow = (heard[name] for name in channels)
    assert {t["instrument_name"] for t in perpetual} == {PERPETUAL}
    assert [t["trade_seq"] for t in perpetual] == list(range(1, len(perpetual) + 1))
    assert all("iv" in t for t in options)
    ids = [t["trade_id"] for t in everything]
    assert len(ids) == len(set(ids)) > len(options) + len(perpetual)
    assert [t["trade_id"] for t in slow] == ids[: len(slow)]
    assert len(slow) > 0.9 * len(ids)
    last = client.ask("public/get_last_trades_by_instrument", instrument_name=PERPETUAL, count=5)["result"]
    assert [t["trade_id"] for t in last["trades"]] == [t["trade_id"] for t in perpetual[:-6:-1]]
    assert last["has_more"] is True
    last = client.ask("public/get_last_trades_by_currency", currency="BTC", kind="option", count=3, sorting="asc")
    assert [t["trade_id"] for t in last["result"]["trades"]] == [t["trade_id"] for t in options[-3:]]
    since = perpetual[-1]["timestamp"]
    late = client.ask(
        "public/get_last_trades_by_instrument_and_time", instrument_name=PERPETUAL, start_timestamp=since
    )["result"]["trades"]
    assert {t["timestamp"] for t in late} == {since}


def test_an_incremental_ticker_merges_to_the_ticker_at_most_once_a_second(bench: Bench, client: Client) -> None:
    name = some_options(bench)[3]
    channel = f"incremental_ticker.{name}"
    client.read(channel)
    held = client.first[channel]
    assert held["type"] == "snapshot"
    heard = client.hear(100)[channel]
    assert 2 <= len(heard) <= 10
    assert {message["type"] for message in heard} == {"change"}
    assert all(len(message) < len(held) for message in heard)
    for message in heard:
        held = {**held, **message}
    ticker = client.ask("public/ticker", instrument_name=name)["result"]
    assert {k: v for k, v in held.items() if k not in ("type", "timestamp")} == {
        k: v for k, v in ticker.items() if k != "timestamp"
    }
    bench.venue.halt(name)
    client.hear(20)
    (again,) = client.hear(61, SECOND)[channel]
    assert again["type"] == "snapshot"
    assert again["state"] == "halted"


def test_indexes_volatility_expiration_and_funding(bench: Bench, client: Client) -> None:
    channels = [
        "deribit_price_index.btc_usd",
        "deribit_volatility_index.btc_usd",
        "estimated_expiration_price.btc_usd",
        f"perpetual.{PERPETUAL}.100ms",
        f"perpetual.{PERPETUAL}.agg2",
    ]
    client.read(*channels)
    assert set(client.first) == set(channels)
    heard = client.hear(50)
    assert len(heard[channels[0]]) == len(heard[channels[1]]) == len(heard[channels[2]]) >= 5
    assert all(20.0 < message["volatility"] < 120.0 for message in heard[channels[1]])
    seconds = [message["seconds"] for message in heard[channels[2]]]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[0] == pytest.approx((EIGHT - START) / SECOND, abs=2)
    assert not any(message["is_estimated"] for message in heard[channels[2]])
    assert len(heard[channels[3]]) == 50 > len(heard[channels[4]]) == 5
    assert set(heard[channels[3]][0]) == {"timestamp", "interest", "index_price"}
    refused = client.ask("public/subscribe", channels=["perpetual.BTC-25DEC26.100ms", "markprice.options.xrp_usdc"])
    assert refused["result"] == []


def test_inside_the_settlement_window_the_expiration_price_is_an_estimate() -> None:
    client = Bench(EIGHT - 20 * 60 * SECOND).client()
    client.read("estimated_expiration_price.btc_usd")
    last = client.hear(100, 2 * SECOND)["estimated_expiration_price.btc_usd"][-1]
    assert last["is_estimated"] is True
    index = client.ask("public/get_index_price", index_name="btc_usd")["result"]["index_price"]
    assert last["price"] != index


def test_agg2_tickers_speak_once_a_second(bench: Bench, client: Client) -> None:
    client.read(f"ticker.{PERPETUAL}.agg2", f"ticker.{PERPETUAL}.100ms")
    heard = client.hear(50)
    assert len(heard[f"ticker.{PERPETUAL}.agg2"]) == 5
    assert len(heard[f"ticker.{PERPETUAL}.100ms"]) == 50


def test_what_nobody_reads_any_more_is_forgotten(bench: Bench, client: Client) -> None:
    client.read(f"book.{PERPETUAL}.100ms", "markprice.options.btc_usd", f"incremental_ticker.{PERPETUAL}")
    client.hear(3)
    client.ask("public/unsubscribe_all")
    client.read("platform_state")
    client.hear(1)
    stream = bench.venue.rpc.stream
    assert not stream._books_sent
    assert not stream._marks_sent
    assert not stream._tickers_sent


def test_book_messages_have_the_recorded_shapes(bench: Bench, client: Client) -> None:
    recorded = [
        frame["params"]["data"]
        for name in ("wire/cryptofeed/DERIBIT.ws.1.0", "wire/crypto-msg-parser/deribit.all.jsonl")
        for frame in read_lines(data_path(name))
        if frame.get("params", {}).get("channel", "").startswith("book.")
    ]
    names = (*some_options(bench), PERPETUAL)
    client.read(*(f"book.{n}.100ms" for n in names), *(f"book.{n}.none.20.100ms" for n in names))
    heard = client.hear(50)
    ours = [*client.first.values(), *(m for messages in heard.values() for m in messages)]
    for form in ("snapshot", "change", None):
        mine, theirs = ([m for m in found if m.get("type") == form] for found in (ours, recorded))
        assert unlike(shapes(mine), shapes(theirs)) == []
    snapshot = client.first[f"book.{PERPETUAL}.100ms"]
    assert list(snapshot) == [k for k in recorded[0] if k in snapshot]


def test_trades_have_the_recorded_shapes(bench: Bench, client: Client) -> None:
    client.read("trades.any.any.100ms")
    made = [t for message in client.hear(3_000)["trades.any.any.100ms"] for t in message]
    recorded = [t for t in read_json("ws_trades.json")["params"]["data"] if "combo_trade_id" not in t]
    plain = [t for t in made if t["instrument_name"] == PERPETUAL and "liquidation" not in t]
    assert unlike(shapes(plain), shapes(recorded)) == []
    assert list(plain[0]) == list(recorded[0])
    (whole,) = read_json("ws_trades_option_combo.json")["params"]["data"]
    combos = [t for t in made if "legs" in t]
    assert combos
    assert unlike(shapes(combos), shapes([whole])) == []
    leg_shapes = shapes(whole["legs"])
    assert unlike(shapes([leg for combo in combos for leg in combo["legs"]]), leg_shapes) == []
    assert unlike(shapes([t for t in made if "combo_id" in t]), leg_shapes) == []


@pytest.mark.parametrize(
    ("channel", "file"),
    [
        (f"quote.{PERPETUAL}", "ws_quote.json"),
        ("deribit_volatility_index.btc_usd", "ws_volatility_index.json"),
        (f"book.{PERPETUAL}.none.10.100ms", "ws_book_grouped_snapshot.json"),
    ],
)
def test_other_messages_have_the_fixtures_shapes(client: Client, channel: str, file: str) -> None:
    client.read(channel)
    data: Any = client.first[channel]
    assert unlike(shapes([data]), shapes([read_json(file)["params"]["data"]])) == []


def test_order_books_and_expirations_have_the_fixtures_shapes(client: Client) -> None:
    ours = client.ask("public/get_order_book", instrument_name=PERPETUAL, depth=20)["result"]
    # An integer in the fixture; a float on the perpetual's ticker of the same year.
    complaints = unlike(shapes([ours]), shapes([read_json("http_get_order_book.json")["result"]]))
    assert complaints == [".open_interest is ['float'], recorded ['int']"]
    for currency, kind, file in (
        ("any", "any", "http_get_expirations_any.json"),
        ("BTC", "option", "http_get_expirations_btc_option.json"),
    ):
        ours = client.ask("public/get_expirations", currency=currency, kind=kind)["result"]
        assert unlike(shapes([ours]), shapes([read_json(file)["result"]])) == []
