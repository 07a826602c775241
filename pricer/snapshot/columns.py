"""A whole snapshot as columns, for arrays and data frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import NO_TIME, Reason, Status
from pricer.snapshot.fields import FIELD_INDEX, ROW_PAIR, STATUS_PAIRS, VALUE_FIELDS

if TYPE_CHECKING:
    from pricer.snapshot.snapshot import Snapshot


def columns_of(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    """What `Snapshot.columns` gives."""
    definitions = [block.definition for block in snapshot.blocks]
    out: dict[str, NDArray[Any]] = {
        "name": np.array([name for d in definitions for name in d.names], dtype=object),
        "expiry_ns": _spread(snapshot, lambda block: block.key.expiry_ns, np.int64),
        "strike": _joined([d.strike for d in definitions], np.float64),
        "cp": _joined([d.cp for d in definitions], np.float64).astype(np.int8),
    }
    values = np.concatenate([b.values for b in snapshot.blocks], axis=1) if snapshot.blocks else _no_rows(np.float64)
    out.update({name: values[i] for name, i in FIELD_INDEX.items()})
    out.update(_ages(snapshot))
    out.update(_statuses(snapshot))
    out["tick_size"] = _joined([d.tick_size for d in definitions], np.float64)
    out["min_amount"] = _joined([d.min_amount for d in definitions], np.float64)
    out["contract_size"] = _joined([d.contract_size for d in definitions], np.float64)
    out["settlement_currency"] = _spread(snapshot, lambda block: block.definition.settlement_currency, object)
    return out


def _ages(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    now = snapshot.clock.now()
    quotes = _joined([block.quote_mono_ns for block in snapshot.blocks], np.int64)
    return {
        "quote_age_ns": np.where(quotes == NO_TIME, NO_TIME, now.mono_ns - quotes),
        "forward_age_ns": _spread(snapshot, lambda block: _or_no_time(block.forward.age_ns(now)), np.int64),
        "fit_age_ns": _spread(
            snapshot, lambda block: NO_TIME if block.fitted is None else now.mono_ns - block.fitted.mono_ns, np.int64
        ),
    }


def _statuses(snapshot: Snapshot) -> dict[str, NDArray[Any]]:
    """The four pairs, made STALE where the reader's clock has passed `valid_until`."""
    if not snapshot.blocks:
        status, reasons = _no_rows(np.uint8), _no_rows(np.uint64)
    else:
        status = np.concatenate([block.status for block in snapshot.blocks], axis=1)
        reasons = np.concatenate([block.reasons for block in snapshot.blocks], axis=1) | np.uint64(snapshot.reasons)
        now = snapshot.clock.now().mono_ns
        limits = np.empty(status.shape, np.int64)
        limits[:ROW_PAIR] = _joined([block.quote_valid_until_ns for block in snapshot.blocks], np.int64)
        limits[ROW_PAIR] = _spread(snapshot, lambda block: block.model_valid_until_ns, np.int64)
        late = (now > limits) & (status < Status.STALE)
        status[late] = Status.STALE
        reasons[:ROW_PAIR][late[:ROW_PAIR]] |= np.uint64(Reason.QUOTE_STALE)
        reasons[ROW_PAIR][late[ROW_PAIR]] |= np.uint64(Reason.UNDERLYING_STALE)
    out: dict[str, NDArray[Any]] = {}
    for i, pair in enumerate(STATUS_PAIRS):
        prefix = "" if i == ROW_PAIR else f"{pair}_"
        out[f"{prefix}status"] = status[i]
        out[f"{prefix}reasons"] = reasons[i]
    return out


def _spread(snapshot: Snapshot, value_of: Any, dtype: Any) -> NDArray[Any]:
    """One value a block, repeated over its rows."""
    out = np.empty(len(snapshot), dtype)
    start = 0
    for block in snapshot.blocks:
        stop = start + len(block.definition)
        out[start:stop] = value_of(block)
        start = stop
    return out


def _joined(parts: list[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _no_rows(dtype: Any) -> NDArray[Any]:
    return np.empty((max(len(VALUE_FIELDS), len(STATUS_PAIRS)), 0), dtype)


def _or_no_time(age_ns: int | None) -> int:
    return NO_TIME if age_ns is None else age_ns
