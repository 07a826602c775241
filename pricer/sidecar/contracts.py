"""Contracts that a client posts: listed ones by name, others by expiry, strike and side; found in a chain or placed on
its surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pricer.expiries import expiry_iso, parse_expiry
from pricer.sidecar.slices import Picture, Slice

# An expiry later than that is a slip of the pen: the year 2262 is where nanoseconds end.
LAST_NS = 2**63 - 1

Side = Literal["call", "put"]
_SIDES: dict[Any, Side] = {1: "call", -1: "put", "c": "call", "p": "put", "call": "call", "put": "put"}


class Contract(BaseModel):
    """An option: `instrument`, or `expiry`, `strike` and `cp`, which need not be listed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    instrument: Annotated[str, Field(min_length=1, max_length=64)] | None = Field(
        None, description="The name of a listed option."
    )
    expiry: str | int | None = Field(
        None, description='"2026-12-25", "25DEC26", "2026-12-25T08:00Z" or nanoseconds UTC; 08:00 UTC by default.'
    )
    strike: Annotated[float, Field(gt=0, le=1e15)] | None = Field(None, description="In quote currency.")
    cp: Side | None = Field(None, description="call or put; C, P, 1 and -1 are understood.")

    @field_validator("cp", mode="before")
    @classmethod
    def _side(cls, value: Any) -> Any:
        key = value.lower() if isinstance(value, str) else value
        if isinstance(key, str | int) and not isinstance(key, bool):
            return _SIDES.get(key, value)
        return value

    @field_validator("expiry")
    @classmethod
    def _expiry(cls, value: str | int | None) -> int | None:
        if isinstance(value, str):
            value = parse_expiry(value[:40])
        if value is not None and not 0 < value < LAST_NS:
            raise ValueError("an expiry is a moment between 1970 and 2262, in nanoseconds or as a date")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Contract:
        described = (self.expiry, self.strike, self.cp)
        if self.instrument is None and None in described:
            raise ValueError("give instrument, or expiry, strike and cp")
        if self.instrument is not None and described != (None, None, None):
            raise ValueError("give instrument alone, or expiry, strike and cp without it")
        return self


@dataclass(frozen=True, slots=True)
class Placed:
    """A contract and where it was found: in the row of a slice, in a slice without a row, or between slices."""

    expiry_ns: int
    strike: float
    cp: int
    name: str | None
    piece: Slice | None
    row: int | None


class BadContract(ValueError):
    """A contract that does not exist or has expired; the message names its index and value."""


def placed(picture: Picture, contracts: Sequence[Contract]) -> list[Placed]:
    """Every contract in its place; `BadContract` for the first that has none."""
    rows = {name: (piece, row) for piece in picture.slices for name, row in piece.block.definition.rows.items()}
    pieces = {piece.block.key.expiry_ns: piece for piece in picture.slices}
    return [_place(i, contract, rows, pieces, picture.now.wall_ns) for i, contract in enumerate(contracts)]


def _place(
    i: int,
    contract: Contract,
    rows: dict[str, tuple[Slice, int]],
    pieces: dict[int, Slice],
    now_ns: int,
) -> Placed:
    if contract.instrument is not None:
        found = rows.get(contract.instrument)
        if found is None:
            raise BadContract(f"contracts[{i}].instrument: no instrument {contract.instrument!a} in this chain")
        return _of_row(*found)
    assert isinstance(contract.expiry, int)
    assert contract.strike is not None
    cp = 1 if contract.cp == "call" else -1
    if contract.expiry <= now_ns:
        raise BadContract(f"contracts[{i}].expiry: {expiry_iso(contract.expiry)} is past")
    piece = pieces.get(contract.expiry)
    if piece is not None:
        definition = piece.block.definition
        same = ((definition.strike == contract.strike) & (definition.cp == cp)).nonzero()[0]
        if same.size:
            return _of_row(piece, int(same[0]))
    return Placed(contract.expiry, contract.strike, cp, None, piece, None)


def _of_row(piece: Slice, row: int) -> Placed:
    definition = piece.block.definition
    return Placed(
        definition.key.expiry_ns,
        float(definition.strike[row]),
        int(definition.cp[row]),
        definition.names[row],
        piece,
        row,
    )
