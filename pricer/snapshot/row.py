"""One option of a snapshot: a number that may be traded on, or an exception that says why not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pricer.conventions import NO_REASON, NO_TIME, Reason, Status
from pricer.errors import NotTradable
from pricer.snapshot.block import SliceBlock
from pricer.snapshot.fields import FIELD_INDEX, QUOTE_IV_FIELDS, ROW_PAIR, VENUE_FIELDS, check_field, not_subscribed

if TYPE_CHECKING:
    from pricer.snapshot.snapshot import Snapshot

OK_ONLY = frozenset({Status.OK})
# Two fields may be absent from a row that is otherwise complete: without a fresh index, and without vega.
_WHY_ABSENT = {"delta_spot": Reason.NO_UNDERLYING, "iv_error": Reason.LOW_VEGA}


@dataclass(frozen=True, slots=True)
class Row:
    """One option of a snapshot. Plain attributes give a number only while it is `OK` by the reader's own clock.

    `row.delta` raises `NotTradable` otherwise, and so does `hasattr(row, "delta")`: only an unknown field is absent.
    `row.get("delta", allow={Status.OK, Status.DEGRADED})` gives None. Rows of one snapshot are equal where they are the
    same option; they can be hashed, copied and pickled.
    """

    snapshot: Snapshot
    block: SliceBlock
    index: int

    @property
    def name(self) -> str:
        return self.block.definition.names[self.index]

    @property
    def strike(self) -> float:
        return float(self.block.definition.strike[self.index])

    @property
    def cp(self) -> int:
        return int(self.block.definition.cp[self.index])

    @property
    def expiry_ns(self) -> int:
        return self.block.key.expiry_ns

    @property
    def status(self) -> Status:
        """The status of `iv`, `theo` and the Greeks, by the clock of the reader."""
        return self._of_model[0]

    @property
    def reasons(self) -> Reason:
        return self._of_model[1]

    @property
    def _of_model(self) -> tuple[Status, Reason]:
        """As of `iv`, also where that itself was left out: its status comes along with whatever was asked for."""
        absent = "iv" not in self.snapshot.left_out and self._is_absent("iv")
        return self._rated("iv", absent)

    @property
    def valid_until_ns(self) -> int:
        """The monotonic instant after which the model numbers of this row must not be used."""
        return self.block.model_valid_until_ns

    def status_of(self, name: str) -> tuple[Status, Reason]:
        """Status and reasons of one field, now. An unknown field is an AttributeError.

        One that was not subscribed to (`snapshot.left_out`) is INVALID, without a reason of its own.
        """
        check_field(name)
        if name in self.snapshot.left_out:
            return Status.INVALID, self.snapshot.reasons
        return self._rated(name, self._is_absent(name))

    def _is_absent(self, name: str) -> bool:
        return bool(np.isnan(self.block.values[FIELD_INDEX[name], self.index]))

    def _rated(self, name: str, absent: bool) -> tuple[Status, Reason]:
        pair = QUOTE_IV_FIELDS.index(name) if name in QUOTE_IV_FIELDS else ROW_PAIR
        if name in VENUE_FIELDS:
            # What the venue said is a fact; it is either there and fresh, or not.
            status, reasons = (Status.INVALID, Reason.NO_QUOTE) if absent else (Status.OK, NO_REASON)
        else:
            status = Status(int(self.block.status[pair, self.index]))
            reasons = Reason(int(self.block.reasons[pair, self.index]))
            if absent and status != Status.INVALID:
                status, reasons = Status.INVALID, reasons | _WHY_ABSENT.get(name, Reason.MODEL_LIMIT)
        of_model = pair == ROW_PAIR and name not in VENUE_FIELDS
        limit = self.block.model_valid_until_ns if of_model else int(self.block.quote_valid_until_ns[self.index])
        if status < Status.STALE and self.snapshot.clock.now().mono_ns > limit:
            status, reasons = (
                Status.STALE,
                reasons | (Reason.UNDERLYING_STALE if of_model else Reason.QUOTE_STALE),
            )
        return status, reasons | self.snapshot.reasons

    def age_ns(self, name: str = "iv") -> int | None:
        """Age of the oldest input of a field, in nanoseconds; None where an input never arrived."""
        check_field(name)
        now = self.snapshot.clock.now()
        if name in VENUE_FIELDS or name in QUOTE_IV_FIELDS:
            mono = int(self.block.quote_mono_ns[self.index])
            return None if mono == NO_TIME else now.mono_ns - mono
        forward_age = self.block.forward.age_ns(now)
        fitted = self.block.fitted
        if forward_age is None or fitted is None:
            return forward_age
        return max(forward_age, now.mono_ns - fitted.mono_ns)

    def get(self, name: str, allow: Collection[Status] = OK_ONLY) -> float | None:
        """The field where its status is in `allow`, else None. An unknown field is an AttributeError."""
        status, _ = self.status_of(name)
        value = float(self.block.values[FIELD_INDEX[name], self.index])
        return None if status not in allow or np.isnan(value) else value

    def __getattr__(self, name: str) -> float:
        value = self.get(name)
        if value is None:
            status, reasons = self.status_of(name)
            why = not_subscribed(name) if name in self.snapshot.left_out else ""
            raise NotTradable(f"{name} of {self.name}", status, reasons, self.age_ns(name), why)
        return value

    def __repr__(self) -> str:
        return f"<Row {self.name} {self.status.name} {self.reasons.label}>".replace(" >", ">")
