"""What Deribit allows and what it promises: budgets, limits of a connection, and which channels keep a rhythm."""

from __future__ import annotations

from pricer.adapters.budget import Budget, Price, TokenBucket
from pricer.adapters.deribit import channels
from pricer.adapters.liveness import Cadence, OnChange, Rule
from pricer.adapters.planner import ConnectionLimits
from pricer.adapters.session import subscription_prices
from pricer.clock import NS_PER_SECOND

# Calls that are not subscriptions; and, stricter than those, the instrument lists.
CALL = "call"
LIST = "list"

# Sheet section 3. Channels per connection are not limited by any document. We send at most 250 names of 500 allowed.
CONNECTIONS = ConnectionLimits(connections=32, channels_per_call=250, frame_bytes=32_000)
# Attempts to connect, in so many seconds: no document has a limit, so this is ours.
CONNECTS = (10, 10.0)

_NEWS = OnChange()
# Tickers are sent again at least every 5 s, the index about every second (sheet sections 4 and 5). Books, bulk marks
# and merged tickers begin with a full picture. Trades and news say nothing while nothing happens.
_RULES: dict[str, Rule] = {
    channels.INDEX: Cadence(NS_PER_SECOND, vital=True),
    channels.TICKER: Cadence(5 * NS_PER_SECOND),
    channels.INCREMENTAL: OnChange(first_message=True, probed=True),
    channels.BOOK: OnChange(first_message=True, probed=True),
    channels.MARKS: OnChange(first_message=True),
    channels.QUOTE: OnChange(probed=True),
}


def new_budget() -> Budget:
    """What one address or key may spend (sheet sections 2 and 3): give the same one to all adapters that share it."""
    pools = {
        "subscriptions": TokenBucket(30_000, 10_000),
        "calls": TokenBucket(50_000, 10_000),
        "lists": TokenBucket(5, 0.1),
    }
    prices = {CALL: Price("calls", 500), LIST: Price("lists", 1)}
    return Budget(pools, {**subscription_prices("subscriptions", 3_000), **prices})


def rule_of(channel: str) -> Rule:
    """When this channel's silence means something."""
    return _RULES.get(channels.kind_of(channel), _NEWS)
