"""A delta-hedging bot on the embedded market: short one at-the-money straddle, hedged with the inverse perpetual.

    python examples/hedging_bot.py --seconds 10

What to copy from here is not the strategy but the manners: the bot asks a `pricer.HedgeGate` before it acts, which
refuses what is not `OK`, too old, jumped, near settlement, just after a break or too soon after the start; it trades on
the very numbers that were checked; and it names the delta form it hedges (coin P&L of an inverse option needs the
premium-adjusted one).
"""

from __future__ import annotations

import argparse
import asyncio
import time
from dataclasses import dataclass

import pricer
from pricer.simulator.venues.deribit import DeribitServer

OPTION_COINS = 10.0  # short this many calls and puts
BAND_USD = 500.0  # hedge when the exposure has moved by more than this
FIELD = "delta_cash_premium_adjusted"
CONTRACT_USD = 10.0  # the perpetual trades in multiples of 10 USD


@dataclass
class Hedge:
    """The perpetual position, USD notional; positive is long."""

    usd: float = 0.0
    trades: int = 0
    refused: int = 0

    def rebalance(self, target_usd: float) -> bool:
        """Trade to the target in whole contracts where it is further away than the band."""
        target = round(target_usd / CONTRACT_USD) * CONTRACT_USD
        if abs(target - self.usd) <= BAND_USD:
            return False
        self.usd, self.trades = target, self.trades + 1
        return True


def straddle_of(snapshot: pricer.Snapshot) -> tuple[str, str] | None:
    """The at-the-money call and put of the first expiry beyond two days; None until the feed is live and both are OK.

    Before that the chain is not complete: the nearest strike of those that there are may be far from the money.
    """
    if any(feed.state != "live" for feed in snapshot.feeds):
        return None
    in_two_days = snapshot.computed_ns + 2 * 86_400 * 10**9
    calls = [row for row in snapshot if row.expiry_ns > in_two_days and row.cp > 0 and row.status is pricer.Status.OK]
    if not calls:
        return None
    first = min(row.expiry_ns for row in calls)
    call = min((row for row in calls if row.expiry_ns == first), key=lambda row: abs(row.delta - 0.5))
    put = call.name[:-1] + "P"
    return (call.name, put) if put in snapshot and snapshot[put].status is pricer.Status.OK else None


def target_usd(decisions: list[pricer.Decision]) -> float:
    """USD notional of perpetual that offsets the coin P&L of the short straddle."""
    return OPTION_COINS * sum(decision.values[FIELD] for decision in decisions)


async def run(seconds: float, seed: int) -> Hedge:
    hedge, gate = Hedge(), pricer.HedgeGate(fields=(FIELD,), cool_down_s=1.0)
    names: tuple[str, str] | None = None
    async with DeribitServer(seed=seed) as market, pricer.live(url=market.url) as stream:
        ends = time.monotonic() + seconds
        async for snapshot in stream:
            if time.monotonic() > ends:
                break
            names = names or straddle_of(snapshot)
            if names is None:
                continue
            decisions = [gate.check(snapshot, name) for name in names]
            target = target_usd(decisions) if all(decision.values for decision in decisions) else hedge.usd
            reduces = abs(target) < abs(hedge.usd)
            if not all(decision.allows(reduces_risk=reduces) for decision in decisions):
                hedge.refused += 1
                print("holding still:", next(each.detail for each in decisions if not each.allowed))
            elif hedge.rebalance(target):
                print(f"index {snapshot.index.value:>12,.2f}  hedge {hedge.usd:>+12,.0f} USD  trade {hedge.trades}")
    print(f"done: {hedge.trades} trades, {hedge.refused} refusals, final hedge {hedge.usd:+,.0f} USD of {names}")
    return hedge


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.seconds, arguments.seed))
