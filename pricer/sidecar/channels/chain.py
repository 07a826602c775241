"""The channel `chain`: every option of an underlying, or a window of them, values beside their statuses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from pricer.adapters.instruments import SliceKey
from pricer.clock import Instant
from pricer.sidecar.channels.channel import Channel, Content, Market
from pricer.sidecar.channels.expiries import blocks_of
from pricer.sidecar.messages import Head
from pricer.sidecar.moment import definition, expiry, market_of, stages
from pricer.sidecar.protocol import StreamKey
from pricer.sidecar.slices import (
    EVERYTHING,
    WHOLE,
    Picture,
    Selection,
    Visible,
    all_columns,
    changes,
    take_picture,
    visible_of,
)
from pricer.sidecar.window import EMPTY, Measure, Window, window_of
from pricer.snapshot import VALUE_FIELDS, SliceBlock

Windows = Mapping[SliceKey, Window]
NO_WINDOWS: Windows = {}


@dataclass(frozen=True, slots=True)
class ChainPicture:
    """One chain as a consumer may see it."""

    picture: Picture
    selection: Selection
    venue: str
    digits: int
    windows: Windows = field(default_factory=dict)

    @property
    def now(self) -> Instant:
        return self.picture.now

    def says_the_same_as(self, other: ChainPicture) -> bool:
        """The same version, and no status that the clock has changed since."""
        return self.picture.says_the_same_as(other.picture)

    def has_rows_of(self, other: ChainPicture) -> bool:
        """The same options in the same order."""
        return self.picture.has_rows_of(other.picture)

    def whole(self) -> Content:
        """All rows."""
        head = moment(self.picture, self.venue, self.digits)
        head["expiries"] = [
            definition(piece.block, len(piece)) | dynamic
            for piece, dynamic in zip(self.picture.slices, head["expiries"], strict=True)
        ]
        head["convention"] = asdict(self.picture.snapshot.convention)
        return Content(head, all_columns(self.picture, self.selection))

    def since(self, other: ChainPicture) -> Content:
        """The rows that changed; the moment is always told in full."""
        found = changes(other.picture, self.picture, self.selection)
        return Content(moment(self.picture, self.venue, self.digits), found.columns, found.rows)

    def crc32(self) -> int:
        """Of the selected value columns."""
        return self.picture.crc32(self.selection)


def moment(picture: Picture, venue: str, digits: int) -> Head:
    """What every message says about its moment: instants, underlying prices, connections, and each expiry."""
    snapshot, now = picture.snapshot, picture.now
    return {
        **stages(snapshot, now, picture.newest),
        **market_of(snapshot, venue, now, digits),
        "expiries": [expiry(piece.block, now, digits) for piece in picture.slices],
    }


class ChainChannel(Channel):
    """Whole chains, or a window of them."""

    name = "chain"
    columns = VALUE_FIELDS
    filters = frozenset({"expiries", "strikes"})

    def take(self, market: Market, key: StreamKey, previous: ChainPicture | None = None) -> ChainPicture:
        """The options of `key` at this moment."""
        snapshot = blocks_of(market.part(key.venue, key.underlying), key.expiries)
        windows = NO_WINDOWS if key.strikes is None else _windows(snapshot.blocks, key.strikes, previous)
        rows = {block.key: windows[block.key].rows(block.definition) for block in snapshot.blocks} if windows else WHOLE

        def visible(block: SliceBlock) -> Visible:
            return market.shared(("visible", id(block)), lambda: visible_of(block, market.digits))

        known = None if previous is None else previous.picture
        picture = take_picture(snapshot, market.digits, known, rows, visible)
        selection = Selection(key.columns) if key.columns else EVERYTHING
        return ChainPicture(picture, selection, key.venue, market.digits, windows)


def _windows(blocks: tuple[SliceBlock, ...], measure: Measure, previous: ChainPicture | None) -> Windows:
    """The window of each expiry; one whose strikes are others is chosen anew."""
    if previous is None:
        return {block.key: window_of(block, measure) for block in blocks}
    listed = {piece.block.key: piece.block.definition for piece in previous.picture.slices}
    out: dict[SliceKey, Window] = {}
    for block in blocks:
        before = previous.windows.get(block.key, EMPTY)
        if listed.get(block.key) is not block.definition:
            before = before._replace(above=EMPTY.above, below=EMPTY.below)
        out[block.key] = window_of(block, measure, before)
    return out
