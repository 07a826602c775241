"""One slice's numbers: a few compiled calls over its columns, in place.

Quote numbers are made for the rows whose quote changed, model numbers for the whole slice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import Dynamics, Reason, Status
from pricer.engine.chain import ASK, BID, IV, MID_IV, ChainSlice
from pricer.kernels.chain import model_values, quote_ivs
from pricer.kernels.rating import rate_model, rate_quotes
from pricer.snapshot import FIRST_MODEL, FIRST_QUOTE_IV, GREEK_FIELDS, ROW_PAIR, STATUS_PAIRS
from pricer.surfaces.follow import follow_smile
from pricer.surfaces.slices import SurfaceSlice

MID_PAIR = STATUS_PAIRS.index("mid_iv")
SIDES = (0, 1)

# Flags of a row that the rating kernel does not know; those of a lost book come with RESYNCING, which it does.
_DOUBT = np.uint64(Reason.JUMP_UNCONFIRMED)
_NAMED = np.uint64(Reason.JUMP_UNCONFIRMED | Reason.BOOK_GAP | Reason.CHECKSUM_FAIL | Reason.CROSSED)


def price_quotes(chain: ChainSlice, oldest_ns: int, wide_iv: float) -> int:
    """Bid, ask and mid IV of the dirty rows, with their statuses; none is dirty afterwards.

    A quote from before `oldest_ns` (monotonic) is stale; a bid-ask wider than `wide_iv` degrades its mid. Returned
    is how many volatilities the fast solver left to the fallback.
    """
    rows, definition = chain.dirty_rows, chain.definition
    chain.update_ticks(rows)
    bid, ask, ivs = chain.values[BID], chain.values[ASK], chain.values[FIRST_QUOTE_IV : FIRST_QUOTE_IV + 3]
    searched = quote_ivs(
        rows,
        len(rows),
        bid,
        ask,
        chain.quote_forward,
        chain.quote_ttm,
        definition.strike,
        definition.cp,
        chain.tick,
        definition.inverse,
        ivs,
        chain.kernel_status,
        chain.scratch,
    )
    rate_quotes(
        rows,
        len(rows),
        bid,
        ask,
        chain.quote_forward,
        chain.quote_mono_ns,
        chain.flags,
        chain.kernel_status,
        oldest_ns,
        wide_iv,
        ivs,
        chain.status,
        chain.reasons,
    )
    if chain.special:
        _rate_flags(chain, rows)
    chain.clean()
    return searched


def _rate_flags(chain: ChainSlice, rows: NDArray[np.int64]) -> None:
    """What the rows' flags add to their quote volatilities; in a locked market no side is better than the mid."""
    flags = chain.flags[rows] & _NAMED
    if flags.any():
        doubtful = np.where(flags & _DOUBT, np.uint8(Status.DEGRADED), np.uint8(Status.OK))
        for pair in range(ROW_PAIR):
            chain.status[pair, rows] = np.maximum(chain.status[pair, rows], doubtful)
            chain.reasons[pair, rows] |= flags
    locked = rows[chain.values[BID, rows] == chain.values[ASK, rows]]
    if locked.size:
        for side in SIDES:
            chain.status[side, locked] = np.maximum(chain.status[side, locked], np.uint8(Status.DEGRADED))
            chain.reasons[side, locked] |= np.uint64(Reason.LOCKED)
    chain.special = bool((chain.flags & _NAMED).any() or (chain.values[BID] == chain.values[ASK]).any())


def price_model(
    chain: ChainSlice,
    fit: SurfaceSlice | None,
    forward: float,
    spot: float,
    ttm: float,
    rating: tuple[Status, Reason],
    dynamics: Dynamics = "sticky_strike",
) -> None:
    """`iv`, `theo`, Greeks and delta forms of the whole slice, with the rows' own statuses.

    `rating` is what forward and fit earn for all rows. A NaN forward gives no number; a NaN spot only no `delta_spot`.
    The Greeks follow the smile under the rule `dynamics`; they are Black's where there is no smile.
    """
    definition = chain.definition
    k_min, k_max = fill_iv(chain, fit, forward, ttm)
    model_values(
        len(chain),
        chain.values[IV],
        forward,
        spot,
        ttm,
        definition.strike,
        definition.cp,
        chain.tick * forward if definition.inverse else chain.tick,
        1.0,
        definition.inverse,
        chain.values[FIRST_MODEL:],
    )
    if fit is not None and fit.svi is not None and dynamics != "sticky_strike":
        follow_smile(fit.svi.at(forward, ttm), dynamics, spot, definition.strike, chain.values[FIRST_MODEL:])
    rate_model(
        len(chain),
        int(rating[0]),
        int(rating[1]),
        forward,
        definition.strike,
        k_min,
        k_max,
        chain.flags,
        1 + len(GREEK_FIELDS),
        chain.values[IV],
        chain.values[FIRST_MODEL:],
        chain.status[ROW_PAIR],
        chain.reasons[ROW_PAIR],
    )
    if fit is None or fit.smile is None:
        inherit_mid(chain)


def inherit_mid(chain: ChainSlice) -> None:
    """Without a curve each number is made from the option's own mid, and is no better than that."""
    np.maximum(chain.status[ROW_PAIR], chain.status[MID_PAIR], out=chain.status[ROW_PAIR])
    chain.reasons[ROW_PAIR] |= chain.reasons[MID_PAIR]


def fill_iv(chain: ChainSlice, fit: SurfaceSlice | None, forward: float, ttm: float) -> tuple[float, float]:
    """The model volatilities of the slice, and the range of k in which quotes support them (NaN where none do).

    Too few quotes make no surface: there an option's own mid comes first, and the curve serves the others.
    """
    iv, mid = chain.values[IV], chain.values[MID_IV]
    if fit is None or fit.smile is None or not np.isfinite(forward):
        iv[:] = mid
        return np.nan, np.nan
    fit.smile.at(forward, ttm).fill_iv(chain.definition.strike, iv)
    if not fit.determined:
        own = chain.status[MID_PAIR] < Status.STALE
        iv[own] = mid[own]
    return fit.k_min, fit.k_max
