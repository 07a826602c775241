"""What each reason means, in the words of docs/conventions.md; a test holds the two together."""

from __future__ import annotations

from pricer.conventions import Reason

MEANINGS: dict[Reason, str] = {
    Reason.NO_UNDERLYING: "no forward or index has arrived yet",
    Reason.UNDERLYING_STALE: "the forward or index is older than its limit, or its connection is gone",
    Reason.QUOTE_STALE: "the quote's channel has given no sign of life within its limit",
    Reason.NO_QUOTE: "neither a bid nor an ask",
    Reason.ONE_SIDED: "only one of bid and ask",
    Reason.WIDE_SPREAD: "the two sides are too far apart for the mid to mean much",
    Reason.CROSSED: "the bid is above the ask",
    Reason.LOCKED: "the bid equals the ask",
    Reason.BOOK_GAP: "a message of the order book is missing",
    Reason.RESYNCING: "the connection was lost, or the book is being rebuilt",
    Reason.CHECKSUM_FAIL: "the book's checksum does not match",
    Reason.OUT_OF_BAND: "a price far from the surface or outside the venue's price limits; not "
    "fitted. Of a forward: put-call parity contradicts it",
    Reason.BELOW_INTRINSIC: "the premium is not above the exercise value, so that no volatility gives it",
    Reason.ABOVE_MAX: "the premium is at or above what any volatility gives",
    Reason.NO_CONVERGENCE: "the solver stopped without an answer",
    Reason.LOW_VEGA: "one price tick moves the volatility by as much as itself: it is right, and says nothing",
    Reason.FIT_FAILED: "the smile could not be fitted, or the fit was refused",
    Reason.FIT_LAST_GOOD: "an earlier certified smile, moved to the present forward",
    Reason.FIT_UNDERDETERMINED: "too few quotes to determine the smile of this expiry, or none on one "
    "side of the money",
    Reason.EXTRAPOLATED: "outside the strikes or expiries that were quoted",
    Reason.ARB_REPAIRED: "the fit held an arbitrage and was changed until it did not",
    Reason.SETTLING: "the settlement price is being averaged, which Black-76 does not describe",
    Reason.EXPIRED: "the option is past its expiry",
    Reason.NOT_TRADING: "the venue refuses, halts or does not open this instrument",
    Reason.VENUE_DOWN: "the venue cannot be reached",
    Reason.VENUE_MAINTENANCE: "the venue says that it is under maintenance or locked",
    Reason.CLOCK_SUSPECT: "our wall clock disagrees with the venue's",
    Reason.OVERLOADED: "input comes faster than it can be priced",
    Reason.CONFLATED: "intermediate updates were skipped; informs, goes with `OK`",
    Reason.REPLAY: "made from a recording, not live; informs, goes with `OK`",
    Reason.MODEL_LIMIT: "a Greek has no finite value here, or no strike has this delta",
    Reason.BAD_INPUT: "an input is not a number or outside the model's domain",
    Reason.JUMP_UNCONFIRMED: "the underlying jumped, and nothing else confirms it yet",
    Reason.FORWARD_IMPLIED: "the forward comes from put-call parity, not from the venue",
}
