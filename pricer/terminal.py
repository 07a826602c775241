"""The live chain in a terminal: calls left, the strike in the middle, puts right, centred on the forward.

A frame is a list of lines, a line a list of styled segments of fixed width. rich's own tables measure every cell of
every frame, which took twenty times as long (measured); this shares a process with the pricer and must not cost it
its tail.
Only visible rows are made, at most `FRAMES_PER_SECOND` times a second.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from pricer.chainview import ChainView, FeedLine, Reading, SliceView, decimals_of
from pricer.conventions import NO_TIME, Status
from pricer.expiries import expiry_label

FRAMES_PER_SECOND = 4
NOTHING = "·"
# The engine publishes at least four times a second; a snapshot as old as this has stopped coming.
OLD_NS = 2_000_000_000

Line = list[Segment]

PLAIN = Style.null()
DIM = Style.parse("grey50")
FAINT = Style.parse("grey35")
BOLD = Style.parse("bold")
TITLE = Style.parse("bold black on cyan")
HEADING = Style.parse("bold cyan")
CALLS = Style.parse("bold green")
PUTS = Style.parse("bold magenta")
CHOSEN = Style.parse("bold black on white")
STRIKE = Style.parse("bold white on grey19")
ATM_STRIKE = Style.parse("bold black on yellow3")
FORWARD = Style.parse("yellow3")
IN_THE_MONEY = Style.parse("on grey11")
STATUS_STYLE = {
    Status.OK: Style.parse("green"),
    Status.DEGRADED: Style.parse("yellow"),
    Status.STALE: Style.parse("magenta"),
    Status.INVALID: Style.parse("red"),
}
# How a number looks under each status: only OK stands out plainly.
VALUE_STYLE = {
    Status.OK: PLAIN,
    Status.DEGRADED: STATUS_STYLE[Status.DEGRADED],
    Status.STALE: Style.parse("dim magenta"),
    Status.INVALID: FAINT,
}
# A shape of its own for each, so that colour is not needed to tell them apart.
SYMBOLS = {Status.OK: "●", Status.DEGRADED: "◐", Status.STALE: "○", Status.INVALID: "×"}
ASCII_SYMBOLS = {Status.OK: "*", Status.DEGRADED: "+", Status.STALE: "~", Status.INVALID: "x"}
FEED_STATUS = {"live": Status.OK, "open": Status.DEGRADED, "connecting": Status.STALE, "closed": Status.INVALID}


@dataclass
class Selection:
    """What the viewer chose; keys change it between frames. `offset` strikes the centre is moved from the forward."""

    expiry_ns: int | None = None
    offset: int = 0
    rows: int | None = None


def _price(value: float, piece: SliceView, row: int) -> str:
    return f"{value:,.{decimals_of(float(piece.columns['tick_size'][row]))}f}"


def _theo(value: float, piece: SliceView, row: int) -> str:
    # One decimal more than the tick: it need not be a price one could quote.
    return f"{value:,.{decimals_of(float(piece.columns['tick_size'][row])) + 1}f}"


def _percent(value: float, _piece: SliceView, _row: int) -> str:
    return f"{100 * value:.1f}"


def _theta_per_day(value: float, _piece: SliceView, _row: int) -> str:
    a_day = value / 365
    return f"{a_day:,.1f}" if abs(a_day) < 1000 else f"{a_day:,.0f}"


class Column(NamedTuple):
    """One column of a side. `pair` is the status that colours it; the highest `rank` goes first on a narrow screen."""

    title: str
    name: str
    width: int
    text: Callable[[float, SliceView, int], str]
    pair: str = "status"
    rank: int = 0


# From the outer edge to the strike; the puts' side mirrors the groups, not the order bid - theo - ask within one.
# Scaled Greeks say so in their titles: per day, per point of volatility, per one per cent of the forward.
GREEKS = (
    Column("theta/d", "theta", 8, _theta_per_day, rank=5),
    Column("vega/pt", "vega", 8, lambda value, _piece, _row: f"{value / 100:,.1f}", rank=3),
    Column("gamma/%", "gamma", 8, lambda value, piece, _row: f"{value * piece.forward.value / 100:.4f}", rank=6),
    Column("delta", "delta", 7, lambda value, _piece, _row: f"{value:.3f}"),
)
VOLATILITIES = (
    Column("bid iv", "bid_iv", 7, _percent, "bid_iv_status", rank=4),
    Column("iv", "iv", 6, _percent),
    Column("ask iv", "ask_iv", 7, _percent, "ask_iv_status", rank=4),
)
PRICES = (
    Column("bid", "bid", 8, _price, ""),
    Column("theo", "theo", 9, _theo, rank=1),
    Column("ask", "ask", 8, _price, ""),
)
AGE = Column("age", "quote_age_ns", 6, lambda value, _piece, _row: age_text(int(value)), rank=2)
# Lines of a frame that are not the table's body: five above it, two below.
FRAME_LINES = 7
STRIKE_WIDTH = 10
STATUS_WIDTH = 3


class Layout(NamedTuple):
    """The columns that fit: from the left edge to the strike, and from it to the right edge."""

    calls: tuple[Column, ...]
    puts: tuple[Column, ...]
    age: bool

    @property
    def side(self) -> int:
        """The width of one side."""
        return STATUS_WIDTH + self.age * AGE.width + sum(column.width for column in self.calls)


@functools.cache
def layout_for(width: int) -> Layout:
    """The most columns that fit into `width`; the prices, the volatility and the delta always stay."""
    for rank in range(6, -1, -1):
        greeks, volatilities, prices = (
            tuple(column for column in group if column.rank <= rank) for group in (GREEKS, VOLATILITIES, PRICES)
        )
        calls = (*greeks, *volatilities, *prices)
        layout = Layout(calls, (*prices, *volatilities, *reversed(greeks)), age=AGE.rank <= rank)
        if 2 * layout.side + STRIKE_WIDTH <= width:
            break
    return layout


def age_text(age_ns: int | None) -> str:
    """A short age for people.

    >>> [age_text(ns) for ns in (None, 40_000_000, 12_300_000_000, 600_000_000_000, 7_200_000_000_000)]
    ['·', '0.0s', '12s', '10m', '2h']
    """
    if age_ns is None or age_ns == NO_TIME:
        return NOTHING
    seconds = age_ns / 1e9
    for limit, unit, digits in ((9.95, 1, 1), (99.5, 1, 0), (5970, 60, 0), (172_800, 3600, 0)):
        if seconds < limit:
            return f"{seconds / unit:.{digits}f}{'h' if unit == 3600 else 'm' if unit == 60 else 's'}"
    return f"{seconds / 86_400:.0f}d"


@dataclass
class ChainScreen:
    """One frame as a rich renderable, as wide as the console and `height` lines (the console's where None)."""

    view: ChainView | None
    selection: Selection = field(default_factory=Selection)
    footer: str = ""
    keys: tuple[str, ...] = ()
    height: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = self.height or options.height or options.size.height
        # The legend's symbols need an encoding that has them.
        symbols = ASCII_SYMBOLS if options.ascii_only or options.legacy_windows else SYMBOLS
        for line in Frame(options.max_width, height, symbols, self).lines():
            yield from Segment.adjust_line_length(line, options.max_width)
            yield Segment.line()


@dataclass
class Frame:
    """The lines of one frame, top to bottom."""

    width: int
    height: int
    symbols: dict[Status, str]
    screen: ChainScreen

    def lines(self) -> Iterator[Line]:
        view = self.screen.view
        piece = view.slice_at(self.screen.selection.expiry_ns) if view else None
        if view is None or piece is None:
            yield self._between([Segment(" volstream ", TITLE)], [])
            yield [Segment(" waiting for the first quotes …", DIM)]
            return
        yield self._title(view)
        yield self._expiries(view, piece)
        yield self._slice(view, piece)
        yield self._groups()
        yield self._headings()
        yield from self._chain(piece)
        yield self._reasons(piece)
        yield self._legend()

    # -- above the table

    def _title(self, view: ChainView) -> Line:
        name = [Segment(" volstream ", TITLE), Segment(f"  {view.underlying}", BOLD), Segment(f" · {view.venue}", DIM)]
        parts = [name, *map(self._feed, view.feeds), self._reading("   index ", view.index)]
        if not math.isnan(view.perpetual.value):
            parts.append(self._reading("   perpetual ", view.perpetual))
        clock = datetime.fromtimestamp(view.computed_ns / 1e9, UTC).strftime("%H:%M:%S")
        style = DIM if view.age_ns < OLD_NS else STATUS_STYLE[Status.STALE]
        right = [Segment(f"computed {clock} UTC, ", DIM), Segment(f"{age_text(view.age_ns)} ago ", style)]
        return self._between(self._fitting(parts), right)

    def _feed(self, feed: FeedLine) -> Line:
        status = FEED_STATUS.get(feed.state, Status.INVALID)
        line = [Segment(f"   {self.symbols[status]} {feed.state}", STATUS_STYLE[status])]
        return line if status is Status.OK or not feed.reason else [*line, Segment(f" ({feed.reason})", DIM)]

    def _reading(self, label: str, reading: Reading) -> Line:
        value = NOTHING if math.isnan(reading.value) else f"{reading.value:,.2f}"
        return [
            Segment(label, DIM),
            Segment(value, BOLD if reading.status is Status.OK else VALUE_STYLE[reading.status]),
            Segment(f" {self.symbols[reading.status]}", STATUS_STYLE[reading.status]),
            Segment(f" {age_text(reading.age_ns)}", DIM),
        ]

    def _expiries(self, view: ChainView, chosen: SliceView) -> Line:
        """The strip of expiries, scrolled so that the chosen one is in it."""
        cells: list[Line] = []
        for piece in view.slices:
            status = _worst_that_matters(piece)
            style = CHOSEN if piece is chosen else PLAIN
            cells.append(
                [
                    Segment(f" {expiry_label(piece.expiry_ns)}", style),
                    Segment(f" {self.symbols[status]} ", style if piece is chosen else STATUS_STYLE[status]),
                ]
            )
        first = 0
        at = view.slices.index(chosen)
        while first < at and sum(_width(cell) for cell in cells[first : at + 1]) > self.width - 4:
            first += 1
        shown = self._fitting(cells[first:], self.width - 2)
        more = _width(shown) < sum(_width(cell) for cell in cells[first:])
        return [Segment("<" if first else " ", DIM), *shown, Segment(">" if more else " ", DIM)]

    def _slice(self, view: ChainView, piece: SliceView) -> Line:
        days, iv = piece.ttm * 365, piece.atm_iv
        time_left = f"in {days:.1f} days" if days >= 1 else f"in {days * 24:.1f} hours"
        fit_age = int(piece.columns["fit_age_ns"][0]) if len(piece.columns["strike"]) else NO_TIME
        left = [
            [Segment(f" {expiry_label(piece.expiry_ns)} ", BOLD), Segment(time_left, DIM)],
            [*self._reading("   forward ", piece.forward), Segment(f" from {piece.forward.source}", DIM)],
            [Segment("   ATM iv ", DIM), Segment(NOTHING if math.isnan(iv) else f"{100 * iv:.2f} %", BOLD)],
            [Segment(f"   fitted {age_text(fit_age)} ago" if fit_age != NO_TIME else "   no fit yet", DIM)],
        ]
        right: Line = []
        for status in Status:
            count = piece.statuses.get(status, 0)
            right.append(Segment(f"{self.symbols[status]} {count}  ", STATUS_STYLE[status] if count else FAINT))
        place = f"{view.slices.index(piece) + 1} of {len(view.slices)} expiries "
        return self._between(self._fitting(left), [*right, Segment(place, DIM)])

    # -- the table

    @property
    def _layout(self) -> Layout:
        return layout_for(self.width)

    @property
    def _margin(self) -> str:
        """What centres the table."""
        return " " * max((self.width - 2 * self._layout.side - STRIKE_WIDTH) // 2, 0)

    def _groups(self) -> Line:
        side = self._layout.side
        return [
            Segment(self._margin),
            Segment("CALLS".center(side), CALLS),
            Segment("STRIKE".center(STRIKE_WIDTH), HEADING),
            Segment("PUTS".center(side), PUTS),
        ]

    def _headings(self) -> Line:
        age = AGE.title.rjust(AGE.width) if self._layout.age else ""
        calls = "".join(column.title.rjust(column.width) for column in self._layout.calls)
        puts = "".join(column.title.rjust(column.width) for column in self._layout.puts)
        text = f"{self._margin}{' ' * STATUS_WIDTH}{age}{calls}{' ' * STRIKE_WIDTH}{puts}{age}"
        return [Segment(text, DIM)]

    def _chain(self, piece: SliceView) -> list[Line]:
        """The visible strikes around the forward, with the forward's own line between its neighbours."""
        body = max(self.height - FRAME_LINES, 4)
        room = min(body - 1, self.screen.selection.rows or body)
        strikes, forward = piece.strikes, piece.forward.value
        below = sum(strike < forward for strike in strikes) if not math.isnan(forward) else len(strikes) // 2
        start = below + self.screen.selection.offset - room // 2
        start = min(max(start, 0), max(len(strikes) - room, 0))
        nearest = None if math.isnan(forward) else min(strikes, key=lambda strike: abs(strike - forward))
        lines: list[Line] = []
        for at in range(start, min(start + room, len(strikes))):
            if start < at == below and not math.isnan(forward):
                lines.append(self._forward_line(forward))
            lines.append(self._strike_line(piece, strikes[at], strikes[at] == nearest))
        # Empty lines keep the foot at the bottom of the screen.
        fill = 0 if self.screen.selection.rows else body - len(lines)
        return lines + [[] for _ in range(fill)]

    def _forward_line(self, forward: float) -> Line:
        label = f" {forward:,.2f} ".center(STRIKE_WIDTH, "─")
        extra = len(label) - STRIKE_WIDTH  # a long price takes its room from both sides
        side = self._layout.side
        left = side - extra // 2
        return [Segment(f"{self._margin}{'─' * left}{label}{'─' * (2 * side - extra - left)}", FORWARD)]

    def _strike_line(self, piece: SliceView, strike: float, nearest: bool) -> Line:
        text = f"{strike:,.10g}".center(STRIKE_WIDTH)
        return [
            Segment(self._margin),
            *self._side(piece, strike, 1),
            Segment(text, ATM_STRIKE if nearest else STRIKE),
            *self._side(piece, strike, -1),
        ]

    def _side(self, piece: SliceView, strike: float, cp: int) -> Line:
        layout = self._layout
        row = piece.row(strike, cp)
        if row is None:
            return [Segment(" " * layout.side)]
        ground = IN_THE_MONEY if cp * (piece.forward.value - strike) > 0 else PLAIN
        status = Status(int(piece.columns["status"][row]))
        edge = [Segment(f" {self.symbols[status]} ", ground + STATUS_STYLE[status])]
        age = []
        if layout.age:
            text = AGE.text(piece.columns[AGE.name][row], piece, row)
            age = [Segment(text.rjust(AGE.width), ground + DIM)]
        cells = [self._cell(column, piece, row, ground) for column in (layout.calls if cp > 0 else layout.puts)]
        return [*edge, *age, *cells] if cp > 0 else [*cells, *age, *edge]

    def _cell(self, column: Column, piece: SliceView, row: int, ground: Style) -> Segment:
        value = float(piece.columns[column.name][row])
        if math.isnan(value):
            return Segment(NOTHING.rjust(column.width), ground + FAINT)
        style = VALUE_STYLE[Status(int(piece.columns[column.pair][row]))] if column.pair else PLAIN
        return Segment(column.text(value, piece, row).rjust(column.width), ground + style)

    # -- below the table

    def _reasons(self, piece: SliceView) -> Line:
        if not piece.reasons:
            return [Segment(" no reasons: every number is plain OK", DIM)]
        parts = [[Segment(" reasons", DIM)]]
        for name, count in piece.reasons.most_common():
            parts.append([Segment(f"   {name}", PLAIN), Segment(f" {count}", DIM)])
        return self._fitting(parts)

    def _legend(self) -> Line:
        parts = [[Segment(f" {self.symbols[status]} {status.name} ", STATUS_STYLE[status])] for status in Status]
        parts += [[Segment(f"   {text}", DIM)] for text in self.screen.keys]
        footer = [Segment(f"{self.screen.footer} ", HEADING)] if self.screen.footer else []
        return self._between(self._fitting(parts, self.width - _width(footer) - 1), footer)

    def _fitting(self, parts: list[Line], width: int | None = None) -> Line:
        """As many whole parts, from the first, as fit beside each other."""
        line: Line = []
        for part in parts:
            if _width(line) + _width(part) > (self.width if width is None else width):
                break
            line += part
        return line

    def _between(self, left: Line, right: Line) -> Line:
        """`left` at the left edge, `right` at the right one; where both do not fit, `left` has the room."""
        gap = self.width - _width(left) - _width(right)
        return [*left, Segment(" " * gap), *right] if gap >= 1 else left


def _width(line: Line) -> int:
    return sum(segment.cell_length for segment in line)


def _worst_that_matters(piece: SliceView) -> Status:
    """A slice counts as OK with nine options in ten OK, and as nothing better than its best option otherwise."""
    total = sum(piece.statuses.values())
    if not total:
        return Status.INVALID
    if piece.statuses[Status.OK] >= 0.9 * total:
        return Status.OK
    best = min(piece.statuses)
    return Status.DEGRADED if best is Status.OK else best
