"""What several pictures show: smiles as curves, quotes as points, and how far both may be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pricer.conventions import Reason, Status
from pricer.surfaces.plots.look import expiry_name, instant_name, percent, ramp, span
from pricer.surfaces.plots.scene import Axis, Dash, Line, Panel, Picture, Text
from pricer.surfaces.quotes import HIGH, LOW, WIDTH, K, Role, SliceQuotes, select
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.smile import Array, Smile
from pricer.surfaces.surface import VolSurface

POINTS = 121  # of a curve, in each of its parts
FAINTER = 0.45  # what is extrapolated


@dataclass(frozen=True, slots=True, eq=False)
class SmileCurve:
    """One expiry: its smile on a grid of k that holds both ends of the quoted range, and where it is quoted."""

    index: int
    part: SurfaceSlice
    smile: Smile
    name: str
    color: str
    k: Array
    quoted: tuple[float, float]

    @property
    def strikes(self) -> Array:
        """The strikes of the grid."""
        return np.asarray(self.smile.forward * np.exp(self.k))

    def lines(self, x: Array, y: Array, *, color: str = "", width: float = 1.7, label: str = "") -> list[Line]:
        """A curve over the grid: drawn through where it is quoted, dashed and faint where it is extrapolated."""
        low, high = self.quoted
        found = []
        for among in ((self.k >= low) & (self.k <= high), self.k <= low, self.k >= high):
            inside = bool(among.any()) and low <= float(self.k[among].mean()) <= high
            if np.count_nonzero(among) > 1:
                dash: Dash = "solid" if inside else "dashed"
                entry = label if inside else "extrapolated"
                opacity = 1.0 if inside else FAINTER
                found.append(
                    Line(
                        x[among],
                        y[among],
                        color or self.color,
                        entry,
                        self.name,
                        width if inside else 1.1,
                        dash,
                        opacity,
                    )
                )
        return found


def curves(
    surface: VolSurface, expiries: Sequence[int] | None, now_ns: int | None, *, beyond: float = 0.12
) -> list[SmileCurve]:
    """The smiles of the chosen slices, `beyond` their quoted ranges by that share of them on each side.

    A smile that nothing is quoted of is drawn over two standard deviations, all of it extrapolated.
    """
    chosen = chosen_slices(surface, expiries)
    colors = ramp(len(surface.slices))
    found = []
    for i in chosen:
        part = surface.slices[i]
        if part.smile is None:
            continue
        low, high = part.k_min, part.k_max
        sd = math.sqrt(max(float(part.smile.total_variance(0.0)), 0.0))
        if not high > low:
            low = high = -2.0 * sd
            grid = np.linspace(-2.0 * sd, 2.0 * sd, POINTS)
        else:
            reach = max(beyond * (high - low), 0.1 * sd)
            grid = np.concatenate((
                np.linspace(low - reach, low, 16)[:-1],
                np.linspace(low, high, POINTS),
                np.linspace(high, high + reach, 16)[1:],
            ))  # fmt: skip
        found.append(SmileCurve(i, part, part.smile, expiry_name(part.ttm, now_ns), colors[i], grid, (low, high)))
    return found


def over(curve: SmileCurve, k: Array) -> SmileCurve:
    """The same curve on another grid, to which the ends of its quoted range are added where they lie within."""
    low, high = curve.quoted
    ends = [end for end in (low, high) if k[0] < end < k[-1]]
    grid = np.unique(np.concatenate((k, ends)))
    return SmileCurve(curve.index, curve.part, curve.smile, curve.name, curve.color, grid, curve.quoted)


def chosen_slices(surface: VolSurface, expiries: Sequence[int] | None) -> list[int]:
    """Indices of slices; IndexError names one that is not there."""
    count = len(surface.slices)
    chosen = list(range(count)) if expiries is None else list(expiries)
    for i in chosen:
        if not -count <= i < count:
            raise IndexError(f"there is no slice {i}: this surface has {count}")
    return [i % count for i in chosen]


@dataclass(frozen=True, slots=True, eq=False)
class QuotesShown:
    """The quotes of one expiry by what became of them; volatilities at the k each had at its own forward.

    `excluded` holds (k, vol, what hovering says) by reason, of quotes that have a volatility at all.
    """

    k: Array  # two-sided observations
    low: Array
    high: Array
    width: Array
    bids: tuple[Array, Array]  # one-sided: k and the side that is there
    asks: tuple[Array, Array]
    excluded: dict[str, tuple[Array, Array, tuple[str, ...]]]
    unseen: int  # excluded without a volatility to show


def quotes_shown(part: SurfaceSlice, quotes: SliceQuotes | None) -> QuotesShown:
    """What entered the fit of a slice; and what did not, which only the quotes themselves can show."""
    selection = part.selection if quotes is None else select(quotes)
    seen = selection.observations
    two_sided = np.isfinite(seen[:, LOW]) & np.isfinite(seen[:, HIGH])
    mids = seen[two_sided]
    bids, asks = seen[seen[:, HIGH] == math.inf], seen[seen[:, LOW] == -math.inf]
    excluded: dict[str, tuple[Array, Array, tuple[str, ...]]] = {}
    unseen = 0
    if quotes is not None:
        forwards = np.full(quotes.strikes.size, quotes.forward) if quotes.forwards is None else quotes.forwards
        sides = np.column_stack((quotes.bid_iv, quotes.ask_iv))
        known = np.isfinite(sides) & (sides > 0.0)
        count = known.sum(axis=1)
        vol = np.where(known, sides, 0.0).sum(axis=1) / np.maximum(count, 1)
        out = selection.role == Role.EXCLUDED
        drawable = out & (count > 0) & (quotes.strikes > 0.0) & (forwards > 0.0)
        unseen = int(np.count_nonzero(out & ~drawable))
        for reason in sorted(set(selection.reasons[drawable].tolist())):
            rows = np.flatnonzero(drawable & (selection.reasons == reason))
            words = tuple(
                f"{Reason(reason).label}<br>strike {quotes.strikes[i]:,.10g}"
                f"<br>bid {percent(quotes.bid_iv[i])}, ask {percent(quotes.ask_iv[i])}"
                for i in rows
            )
            excluded[Reason(reason).label] = np.log(quotes.strikes[rows] / forwards[rows]), vol[rows], words
    return QuotesShown(
        mids[:, K], mids[:, LOW], mids[:, HIGH], mids[:, WIDTH],
        (bids[:, K], bids[:, LOW]), (asks[:, K], asks[:, HIGH]), excluded, unseen,
    )  # fmt: skip


def matched(surface: VolSurface, quotes: Sequence[SliceQuotes] | None) -> list[SliceQuotes | None]:
    """The quotes of each slice, in order of ttm; ValueError where their number is another."""
    if quotes is None:
        return [None] * len(surface.slices)
    if len(quotes) != len(surface.slices):
        raise ValueError(f"quotes= has {len(quotes)} expiries, the surface has {len(surface.slices)}")
    ordered: list[SliceQuotes | None] = [*sorted(quotes, key=lambda one: one.ttm)]
    return ordered


def title(what: str, underlying: str) -> str:
    """The head of a picture."""
    return f"{underlying} \u00b7 {what}" if underlying else what


def standing(surface: VolSurface, now_ns: int | None) -> str:
    """When, whether it is proved free of arbitrage, how it meets its quotes, and which expiries are not plain OK."""
    words = [] if now_ns is None else [instant_name(now_ns)]
    if not any(surface.smiles):
        return " \u00b7 ".join([*words, "no smile"])
    evidence = surface.certificate
    if math.isnan(evidence.min_g):
        words.append("no certificate")
    elif evidence.ok:
        words.append("free of arbitrage, proved" if evidence.kind == "exact" else "no arbitrage found on a grid")
    else:
        words.append("not certified: " + " and ".join(
            name for name, fine in (("butterfly", evidence.butterfly), ("calendar", evidence.calendar)) if not fine
        ))  # fmt: skip
    figures = surface.diagnostics
    if figures.mids:
        words.append(f"{percent(figures.inside_spread)} of {figures.mids} quotes met inside bid and ask")
    flagged = [part for part in surface.slices if part.status is not Status.OK]
    if flagged:
        names = [expiry_name(part.ttm, now_ns) for part in flagged]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        words.append(f"{max(part.status for part in flagged).name}: {shown}")
    return " \u00b7 ".join(words)


def slice_title(part: SurfaceSlice, now_ns: int | None) -> str:
    """An expiry and the time that is left."""
    return span(part.ttm) if now_ns is None else f"{expiry_name(part.ttm, now_ns)} \u00b7 {span(part.ttm)}"


def flag_of(part: SurfaceSlice) -> str:
    """What is wrong with a slice; empty where it is OK."""
    return "" if part.status is Status.OK else f"{part.status.name} {part.reasons.label}".strip()


def nothing(what: str, underlying: str, subtitle: str, why: str) -> Picture:
    """A picture that says why there is none."""
    panel = Panel((Text(why, place="middle"),), Axis(ticks=()), Axis(ticks=()))
    return Picture(title(what, underlying), subtitle, (panel,), row_height=260)


def listed(names: Sequence[tuple[str, str]], limits: tuple[float, float]) -> list[Text]:
    """Names in their colours down the right side of a panel, where curves end too close for words beside them."""
    low, high = limits
    step = min(0.055, 1.0 / max(len(names), 1)) * (high - low)
    return [Text(name, y=high - (i + 0.5) * step, color=color, place="margin") for i, (name, color) in enumerate(names)]
