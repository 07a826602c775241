"""Read a running sidecar from another process: start `volstream demo` in one terminal, this in another.

    python examples/sidecar_client.py --url ws://127.0.0.1:8765/v1/stream --seconds 5

The client checks that messages follow each other, comes back after a broken connection, and lets numbers go stale by
its own clock: when the sidecar is gone, `row.delta` raises instead of repeating the last value.
"""

from __future__ import annotations

import argparse
import asyncio
import time

import pricer
from pricer.sidecar.client import connect


async def follow(url: str, underlying: str, seconds: float) -> None:
    """Print the at-the-money delta of the nearest expiry a few times a second, then what happened on the way."""
    ends, printed_at = time.monotonic() + seconds, 0.0
    async with connect(url, underlying=underlying) as chain:
        async for snapshot in chain:
            now = time.monotonic()
            if now > ends:
                break
            if now - printed_at < 0.5:
                continue
            printed_at = now
            calls = [row for row in snapshot if row.cp > 0 and row.status is pricer.Status.OK]
            if not calls:
                print(f"no number may be used yet, of {len(snapshot)} options")
                continue
            row = min(calls, key=lambda row: (row.expiry_ns, abs(row.delta - 0.5)))
            age_ms = (row.age_ns("delta") or 0) / 1e6
            print(
                f"version {snapshot.version:>5} {row.name:<24} delta {row.delta:.4f} iv {row.iv:.2%} {age_ms:.0f} ms old"
            )
    print(f"checksums compared: {chain.verified}, states skipped: {chain.dropped}")
    print("gaps, resubscriptions, reconnections:", dict(chain.stats) or "none")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--url", default="ws://127.0.0.1:8765/v1/stream")
    parser.add_argument("--underlying", default="BTC")
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    asyncio.run(follow(arguments.url, arguments.underlying, arguments.seconds))
