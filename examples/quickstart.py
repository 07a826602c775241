"""Quick start: price arrays, invert prices, then watch a live chain for a few seconds.

    python examples/quickstart.py

The live part runs on the embedded market: a seeded venue that speaks Deribit's protocol on this machine.
Give `pricer.live()` no url and it connects to the real one.
"""

from __future__ import annotations

import asyncio

import numpy as np

import pricer
from pricer.simulator.venues.deribit import DeribitServer


def arrays() -> None:
    """Whole chains at once: arrays broadcast, bad rows get a status instead of an exception."""
    strikes = np.array([80_000.0, 100_000.0, 120_000.0])
    premiums = pricer.price(100_000.0, strikes, 30 / 365, 0.6, "call")
    greeks = pricer.greeks(100_000.0, strikes, 30 / 365, 0.6, "call")
    print("strike    premium     delta      gamma     vega")
    for row in zip(strikes, premiums, greeks.delta, greeks.gamma, greeks.vega, strict=True):
        print("{:>7,.0f} {:>10,.2f} {:>9.4f} {:>10.2e} {:>8,.0f}".format(*row))

    premiums[0] = 19_000.0  # below intrinsic value: there is no volatility to find
    iv, status = pricer.implied_vol(premiums, 100_000.0, strikes, 30 / 365, "call", status=True)
    print("implied vol", iv.round(6), "status", status)


async def live() -> None:
    """Snapshots of the whole chain, each number with its status, reasons and age."""
    async with DeribitServer(seed=7) as market, pricer.live(url=market.url) as stream:
        async for snapshot in stream:
            good = [row for row in snapshot if row.status is pricer.Status.OK]
            if len(good) < 0.9 * len(snapshot) or not len(snapshot):
                continue
            at_the_money = min(good, key=lambda row: abs(abs(row.delta) - 0.5))
            print(f"{len(good)} of {len(snapshot)} options OK, index {snapshot.index.value:,.2f}")
            print(f"{at_the_money.name}: iv {at_the_money.iv:.2%}, delta {at_the_money.delta:.4f}")
            try:
                print("bid volatility", good[0].bid_iv)
            except pricer.NotTradable as refused:
                print("refused:", refused)
            return


if __name__ == "__main__":
    arrays()
    asyncio.run(live())
