"""How long messages of the feed take to encode and to decode, and how large they are: `python -m benchmarks.encodings`.

A snapshot of 1,008 options of twelve expiries, a delta of 100 rows with new quotes, and one of all rows after a move of
the forward: as the sidecar makes them, in each encoding. Medians of one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

from pricer.clock import Instant, ManualClock
from pricer.sidecar.channels import CHANNELS
from pricer.sidecar.channels import Market as Known
from pricer.sidecar.channels.channel import Content
from pricer.sidecar.encodings import ENCODINGS
from pricer.sidecar.messages import Message
from pricer.sidecar.protocol import StreamKey
from tests.sidecar.snapshots import Market

KEY = StreamKey("chain", "deribit", "BTC")
ROUNDS = 100
EXPIRIES, STRIKES, MOVED = 12, 42, 100


def contents() -> dict[str, tuple[str, Content]]:
    """What to encode, by its label: the type and the content of a message."""
    channel, market = CHANNELS["chain"], Market(ManualClock(Instant(1_795_000_000 * 10**9, 10**12)), EXPIRIES, STRIKES)

    def known() -> Known:
        return Known(market.snapshot(), None, 9)

    first = channel.take(known(), KEY)
    for i in range(MOVED):
        row = i // EXPIRIES
        market.quote(
            i % EXPIRIES, row, bid=0.1 + i / 1e4, ask=0.2 + i / 1e4, bid_iv=0.5 + i / 1e3, ask_iv=0.6 + i / 1e3
        )
    quoted = channel.take(known(), KEY, first)
    market.move()
    moved = channel.take(known(), KEY, quoted)
    return {
        "snapshot": ("snapshot", first.whole()),
        f"delta of {MOVED} rows": ("delta", quoted.since(first)),
        "delta of all rows": ("delta", moved.since(quoted)),
    }


def made(kind: str, content: Content) -> Message:
    """The message, not encoded yet."""
    head = {"type": kind, "seq": 1, "channel": "chain", "venue": "deribit", "underlying": "BTC", "crc32": 1}
    head |= {"protocol": 1, "session": "b7beef5711954331911518cc5875ecf1"} if kind == "snapshot" else {}
    return Message(head | content.head, content.columns, content.rows)


def microseconds(work: Callable[[], object]) -> float:
    """The median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter_ns()
        work()
        times.append(time.perf_counter_ns() - start)
    return median(times) / 1e3


def main() -> None:
    """The table."""
    print("| message | encoding | bytes | encode, µs | decode in Python, µs |\n|---|---|---|---|---|")
    for label, (kind, content) in contents().items():
        message = made(kind, content)
        for encoding in ENCODINGS.values():
            payload = encoding.encode(message)
            there = microseconds(lambda e=encoding, m=message: e.encode(m))  # type: ignore[misc]
            back = microseconds(lambda e=encoding, p=payload: e.decode(p))  # type: ignore[misc]
            print(f"| {label} | {encoding.name} | {len(payload):,} | {there:,.0f} | {back:,.0f} |")


if __name__ == "__main__":
    main()
