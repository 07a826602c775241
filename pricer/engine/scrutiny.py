"""What is to be believed: venues, prices of underlyings against each other, quotes and marks against ours."""

from __future__ import annotations

from collections import Counter

from pricer.clock import Instant
from pricer.conventions import NO_TIME
from pricer.engine.alarms import Alarms
from pricer.engine.listing import Listing
from pricer.engine.market_state import Expiry, Family
from pricer.engine.settings import EngineSettings
from pricer.engine.venue_health import in_words

# Prices of underlyings are looked at this often, and at each pricing while one of them is in doubt.
EXAMINE_EVERY_NS = 50_000_000


class Scrutiny:
    """Asks who looks at what, when it is due; what begins to be doubtful is counted and logged."""

    def __init__(self, listing: Listing, alarms: Alarms, settings: EngineSettings, counters: Counter[str]) -> None:
        self._listing = listing
        self._alarms = alarms
        self._settings = settings
        self._counters = counters
        self._due_ns = NO_TIME

    def examine(self, now: Instant) -> None:
        """What is to be believed at this moment: venues, jumps, and prices that stand still."""
        due = now.mono_ns >= self._due_ns
        if due:
            self._due_ns = now.mono_ns + EXAMINE_EVERY_NS
        for watch in self._listing.venues.values():
            for reason in watch.examine(now) if due or watch.has_news else ():
                word = reason.label.lower()
                self._counters[f"venue.{word}"] += 1
                text = in_words(reason, watch.health)
                self._alarms.say(word, watch.venue, now.mono_ns, "%s: %s: %s", watch.venue, reason.label, text)
        for (venue, name), family in self._listing.families.items():
            if due or family.witnesses.doubt:
                family.witnesses.doubt = False  # who still doubts says so again
                self._examine_family(venue, name, family, now)

    def _examine_family(self, venue: str, name: str, family: Family, now: Instant) -> None:
        self._tell(family.index.examine(now), venue, name, family.index.frozen_by, now)
        for future in family.futures.values():
            future.examine(now)
        family.drop_expired(now)
        for key, expiry in self._listing.expiries.items():
            if expiry.family is family:
                self._tell(expiry.forward.examine(now), venue, key, expiry.forward.frozen_by, now)
                if expiry.chain.doubtful and not expiry.forward.is_doubted:
                    expiry.settle_jump()

    def _tell(self, news: str, venue: str, price: object, witness: str | None, now: Instant) -> None:
        """Count and log what has just begun with a price of an underlying; `news` is empty mostly."""
        if news == "frozen":
            self._counters["frozen_price"] += 1
            text = "the price of %s is repeated although %s has moved"
            self._alarms.say(news, venue, now.mono_ns, text, price, witness)
        elif news == "jump":
            self._counters["unconfirmed_jump"] += 1
            self._alarms.say(news, venue, now.mono_ns, "the price of %s jumps, and nothing confirms it", price)

    def ask_quotes(self, expiry: Expiry, forward: float, now: Instant) -> None:
        """Hold the venue's forward against put-call parity; a gap that opens is counted and logged."""
        monitor = expiry.monitor
        if monitor.ask(expiry.chain, forward, now, self._settings.quote_max_age_ns, self._settings.parity_gap):
            self._counters["parity_gap"] += 1
            assert monitor.check.parity is not None
            value, error, gap = monitor.check.parity
            self._alarms.say(
                "parity_gap", expiry.key.venue, now.mono_ns,
                "the forward of %s is %.2f off its options' put-call parity (%.2f, standard error %.2f)",
                expiry.key, gap, value, error,
            )  # fmt: skip
        expiry.forward.check = monitor.check
        expiry.heard_parity(now)

    def compare_marks(self, expiry: Expiry, now: Instant) -> None:
        """Once a second: the options whose venue's volatility has stayed away from ours are counted and told."""
        if apart := expiry.divergence.newly_apart(expiry.chain, self._settings.mark_divergence_iv, now):
            self._counters["mark_divergence"] += len(apart)
            text = "the venue's volatilities of %d options of %s stay away from ours, that of %s first"
            self._alarms.say("mark_divergence", expiry.key.venue, now.mono_ns, text, len(apart), expiry.key, apart[0])
