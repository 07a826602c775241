"""The channel `surface`: the published smile of each expiry, with its certificate and the figures that desks quote."""

from __future__ import annotations

import math

import numpy as np

from pricer.clock import Instant
from pricer.conventions import NO_TIME, Status
from pricer.sidecar.channels.channel import Channel, Market
from pricer.sidecar.channels.expiries import blocks_of
from pricer.sidecar.channels.table import Table, chosen
from pricer.sidecar.messages import Column
from pricer.sidecar.moment import Newest, newest, newest_of, stages
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.rounding import round_significant
from pricer.sidecar.slices import smile_status, statuses_at
from pricer.sidecar.smile_points import points_of
from pricer.snapshot import SliceBlock, Snapshot
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.svi import SviSmile

IDENTITY = ("expiry_ns",)
# In full, not rounded: what describes a smile and proves it.
EXACT = ("a", "b", "rho", "m", "sigma", "k_min", "k_max", "min_g", "min_calendar_gap")
ROUNDED = ("forward", "atm_iv", "rr25", "bf25")
VALUES = ("ttm", "forward", *EXACT[:7], "atm_iv", "rr25", "bf25", *EXACT[7:])


class SurfaceChannel(Channel):
    """One row an expiry; parameters are raw SVI."""

    name = "surface"
    columns = VALUES
    filters = frozenset({"expiries"})

    def take(self, market: Market, key: StreamKey, previous: Table | None = None) -> Table:
        """The smiles at the forwards and the instant of the snapshot."""
        whole = market.part(key.venue, key.underlying)
        part = blocks_of(whole, key.expiries)
        now = part.clock.now()
        smiles = whole.smiles
        found = [smiles.get(block.key.expiry_ns) for block in part.blocks]
        columns: dict[str, Column] = {"expiry_ns": np.array([b.key.expiry_ns for b in part.blocks], np.int64)}
        columns |= _values(market, part, found)
        columns |= _states(part, found, now)
        surface = whole.surface
        version = None if surface is None else surface.version
        head = {**stages(part, now, _newest(part)), "surface_version": version}
        return Table(now, chosen(columns, VALUES, key.columns), IDENTITY, head, news=version)


def _newest(part: Snapshot) -> Newest:
    """Of the forwards and of all quotes."""
    quotes = (
        Newest(
            int(block.quote_exchange_ns.max(initial=NO_TIME)),
            int(block.quote_received_ns.max(initial=NO_TIME)),
        )
        for block in part.blocks
    )
    return newest([newest_of(*(block.forward for block in part.blocks)), *quotes])


def _values(market: Market, part: Snapshot, found: list[SurfaceSlice | None]) -> dict[str, Column]:
    rows = [_numbers(market, block, fit) for block, fit in zip(part.blocks, found, strict=True)]
    table = np.array(rows, np.float64).reshape(-1, len(VALUES))
    columns: dict[str, Column] = {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(VALUES)}
    return columns | {name: round_significant(np.asarray(columns[name]), market.digits) for name in ROUNDED}


def _numbers(market: Market, block: SliceBlock, fit: SurfaceSlice | None) -> tuple[float, ...]:
    """In the order of VALUES."""
    forward = math.nan if block.forward.status == Status.INVALID else block.forward.value
    if fit is None or fit.smile is None:
        return (block.ttm, forward, *(len(VALUES) - 2) * (math.nan,))
    smile, proof = fit.smile, fit.certificate
    params = smile.params if isinstance(smile, SviSmile) else 5 * (math.nan,)
    figures = market.shared(("figures", block.key), lambda: points_of(smile))
    return fit.ttm, forward, *params, fit.k_min, fit.k_max, *figures, proof.min_g, proof.min_calendar_gap


def _states(part: Snapshot, found: list[SurfaceSlice | None], now: Instant) -> dict[str, Column]:
    states = [smile_status(*statuses_at(block, now)) for block in part.blocks]
    fitted = [block.fitted for block in part.blocks]
    return {
        "model": [_model(fit) for fit in found],
        "certified": np.array(
            [fit is not None and fit.smile is not None and fit.certificate.ok for fit in found], np.int8
        ),
        "fitted_ns": np.array([NO_TIME if at is None else at.wall_ns for at in fitted], np.int64),
        "mono_ns": np.array([NO_TIME if at is None else at.mono_ns for at in fitted], np.int64),
        "valid_until_ns": np.array([block.model_valid_until_ns for block in part.blocks], np.int64),
        "status": np.array([status for status, _ in states], np.uint8),
        "reasons": np.array([int(reasons) for _, reasons in states], np.uint64),
    }


def _model(fit: SurfaceSlice | None) -> str | None:
    if fit is None or fit.smile is None:
        return None
    return "svi" if isinstance(fit.smile, SviSmile) else type(fit.smile).__name__
