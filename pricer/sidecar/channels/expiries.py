"""Some expiries of an underlying, as a subscription names them."""

from __future__ import annotations

from dataclasses import replace

from pricer.snapshot import SliceBlock, Snapshot


def blocks_of(part: Snapshot, expiries: tuple[int, ...] | int | None) -> Snapshot:
    """The snapshot of one underlying with the expiries at these instants, or so many of the nearest; None is all."""
    if expiries is None:
        return part
    if isinstance(expiries, int):
        now_ns = part.clock.now().wall_ns
        living = sorted({block.key.expiry_ns for block in part.blocks if block.key.expiry_ns > now_ns})
        expiries = tuple(living[:expiries])
    return narrowed(part, [block for block in part.blocks if block.key.expiry_ns in expiries])


def narrowed(part: Snapshot, blocks: list[SliceBlock]) -> Snapshot:
    """The same moment with these blocks."""
    return part if len(blocks) == len(part.blocks) else replace(part, blocks=tuple(blocks))
