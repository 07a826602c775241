"""Checksums: the published examples, OKX's own frames, and what is done when they disagree."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from pricer.adapters.book import OrderBook, Outcome
from pricer.adapters.checksum import ChecksumGuard, interleaved, listed, signed_crc32
from pricer.adapters.sequences import BookUpdate, growing_id, seq_id_chain, unnumbered
from tests.data import data_path

OKX_WINDOW = 400


def okx_frames() -> list[dict[str, Any]]:
    """The book frames of a recording of 2022, when OKX still had checksums."""
    lines = data_path("wire/cryptofeed/OKX.ws.1.0").read_text().splitlines()
    messages = [json.loads(text) for _, _, text in (line.partition(": ") for line in lines) if text.startswith("{")]
    return [each for each in messages if each.get("arg", {}).get("channel") == "books" and "data" in each]


def update_of(message: dict[str, Any], **changes: Any) -> BookUpdate:
    """An OKX book message as an update; a checksum of 0 means none (sheet 4.5)."""
    data = message["data"][0]
    fields = {
        "bids": [(price, size) for price, size, *_ in data["bids"]],
        "asks": [(price, size) for price, size, *_ in data["asks"]],
        "last": data.get("seqId", 0),
        "previous": data.get("prevSeqId"),
        "snapshot": message["action"] == "snapshot",
        "checksum": data["checksum"] or None,
    }
    return BookUpdate(**(fields | changes))


class Okx:
    """Books from OKX's frames, one guard for all of them."""

    def __init__(self, guard: ChecksumGuard) -> None:
        self.guard = guard
        self.counters: Counter[str] = Counter()
        self.books: dict[str, OrderBook] = {}

    def receive(self, message: dict[str, Any], **changes: Any) -> Outcome:
        update = update_of(message, **changes)
        rule = unnumbered if update.previous is None else seq_id_chain
        book = self.books.setdefault(
            message["arg"]["instId"],
            OrderBook(rule, guard=self.guard, window=OKX_WINDOW, counters=self.counters),
        )
        return book.apply(update)


def test_every_one_of_the_290_recorded_checksums_agrees() -> None:
    okx = Okx(ChecksumGuard(interleaved))
    outcomes = [okx.receive(message) for message in okx_frames()]
    assert outcomes == [Outcome.CHANGED] * 290
    assert (okx.guard.matched, okx.guard.mismatched, okx.guard.take_alarm()) == (290, 0, None)
    assert {len(book.levels()[0]) for book in okx.books.values()} == {74, 125, 400}


def test_a_recorded_option_with_one_side_agrees() -> None:
    """Out of another project's tests: a whole book of two asks, so that the missing side is left out of the text."""
    lines = data_path("wire/crypto-msg-parser/okx.options.jsonl").read_text().splitlines()
    (message,) = [json.loads(line) for line in lines if '"books-l2-tbt"' in line]
    okx = Okx(ChecksumGuard(interleaved))
    assert okx.receive(message) is Outcome.CHANGED
    assert (okx.guard.matched, len(message["data"][0]["bids"])) == (1, 0)


def test_S10_one_corrupted_level_is_found_on_that_message_and_a_snapshot_heals_it() -> None:
    frames = [frame for frame in okx_frames() if frame["arg"]["instId"] == "BTC-USDT"]
    okx = Okx(ChecksumGuard(interleaved))
    snapshot, first, *_ = frames
    okx.receive(snapshot)
    price, size, *_ = snapshot["data"][0]["bids"][3]
    wrong = {"bids": [*update_of(first).bids, (price, size + "1")]}
    assert okx.receive(first, **wrong) is Outcome.CHECKSUM
    (book,) = okx.books.values()
    assert (book.in_sync, book.levels(), okx.counters["book_checksum"]) == (False, ((), ()), 1)
    assert okx.receive(first) is Outcome.BUFFERED
    assert okx.receive(snapshot) is Outcome.CHANGED, "with what came in the meantime"
    assert [okx.receive(frame) for frame in frames[2:]] == [Outcome.CHANGED] * (len(frames) - 2)


def test_S10_the_text_is_the_venues_own_not_the_numbers() -> None:
    texts = [("0.10", "5.00")], [("0.1200", "1e1")]
    guard = ChecksumGuard(interleaved)
    book = OrderBook(unnumbered, guard=guard)
    stated = signed_crc32("0.10:5.00:0.1200:1e1")
    update = BookUpdate(bids=texts[0], asks=texts[1], last=0, snapshot=True, checksum=stated)
    assert book.apply(update) is Outcome.CHANGED
    assert book.levels() == (((0.1, 5.0),), ((0.12, 10.0),))
    deleted = BookUpdate(bids=[("0.1", "0")], asks=[], last=0, checksum=signed_crc32("0.1200:1e1"))
    assert book.apply(deleted) is Outcome.CHANGED, "another spelling is the same level"


def test_S10_sampling_checks_every_so_many_messages_until_one_fails() -> None:
    okx = Okx(ChecksumGuard(interleaved, every=10))
    for message in okx_frames():
        okx.receive(message)
    assert okx.guard.matched == 29
    failing = ChecksumGuard(lambda bids, asks: 1, every=10)
    verdicts = [failing.verify(lambda most: ([], []), 2) for _ in range(12)]
    assert verdicts == [True] * 9 + [False] * 3
    assert failing.mismatched == 3


def test_S11_a_wrong_formula_ends_the_check_after_three_resyncs_with_an_alarm() -> None:
    guard = ChecksumGuard(lambda bids, asks: 7)
    okx = Okx(guard)
    frames = okx_frames()
    resyncs, alarms = 0, []
    for message in [frames[0], *frames]:
        resyncs += okx.receive(message) is Outcome.CHECKSUM
        alarms += [alarm for alarm in [guard.take_alarm()] if alarm is not None]
    assert resyncs == 3
    assert alarms == ["checksum_mismatch"]
    assert not guard.active


def test_S11_a_formula_that_has_agreed_before_may_be_switched_off_later_but_one_bad_book_does_not_do_it() -> None:
    right = True
    guard = ChecksumGuard(lambda bids, asks: 1 if right else 0)
    one_bad = [guard.verify(lambda most: ([], []), stated) for stated in [2, 1] * 20]
    assert one_bad == [False, True] * 20
    assert guard.active
    right = False
    assert [guard.verify(lambda most: ([], []), 1) for _ in range(5)] == [False, False, False, True, True]
    assert guard.take_alarm() == "checksum_mismatch"


def test_S11_a_venue_that_stops_sending_checksums_is_trusted_by_its_sequence_and_it_is_said_once() -> None:
    guard = ChecksumGuard(interleaved)
    okx = Okx(guard)
    frames = okx_frames()
    for message in frames[:100]:
        okx.receive(message)
    assert guard.take_alarm() is None
    alarms = []
    for message in frames[100:]:
        assert okx.receive(message, checksum=None) is Outcome.CHANGED
        alarms += [alarm for alarm in [guard.take_alarm()] if alarm is not None]
    assert alarms == ["checksum_removed"]


def test_numbered_frames_of_okx_and_bybit_link_by_their_rules() -> None:
    """The literals of another project's tests; their checksums belong to whole books, of which they show a part."""
    folder = data_path("wire/nautilus_trader")
    okx = Okx(ChecksumGuard(interleaved))
    frames = [json.loads((folder / f"okx/ws_books_{kind}.json").read_bytes()) for kind in ("snapshot", "update")]
    assert [okx.receive(each, checksum=None) for each in frames] == [Outcome.CHANGED, Outcome.CHANGED]
    (book,) = okx.books.values()
    assert book.sequence == 123457
    assert okx.receive(frames[1], checksum=None) is Outcome.UNCHANGED
    assert okx.receive(frames[1], checksum=None, previous=123459, last=123460) is Outcome.GAP

    bybit = OrderBook(growing_id, guard=ChecksumGuard(interleaved))
    for kind in ("snapshot", "delta"):
        message = json.loads((folder / f"bybit/ws_orderbook_{kind}.json").read_bytes())
        data = message["data"]
        update = BookUpdate(bids=data["b"], asks=data["a"], last=data["u"], snapshot=message["type"] == "snapshot")
        assert bybit.apply(update) is Outcome.CHANGED
    assert bybit.levels() == (((27450.0, 0.4), (27449.5, 1.0)), ((27451.5, 0.9),))


@pytest.mark.parametrize(
    ("bids", "asks", "text"),
    [
        ([("3366.1", "7")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")], "3366.1:7:3366.8:9:3368:8:3372:8"),
        ([("3366.1", "7"), ("3366", "6")], [], "3366.1:7:3366:6"),
        ([], [], ""),
    ],
)
def test_the_interleaved_form_leaves_a_shorter_side_out(bids: Any, asks: Any, text: str) -> None:
    assert interleaved(bids, asks) == signed_crc32(text)


def test_the_listed_form_has_the_asks_first() -> None:
    """The text is the sheet's own example (delta.md 4.3)."""
    asks, bids = [("100.00", "23"), ("100.05", "34")], [("99.04", "87"), ("98.65", "102"), ("98.30", "16")]
    assert listed(bids, asks) == signed_crc32("100.00:23,100.05:34|99.04:87,98.65:102,98.30:16") % 2**32
