"""A surface that follows its quotes without their jitter: half-life smoothing on the curve.

Raw SVI parameters jump while their curve hardly moves, so nothing is averaged but the curve: sigma of every slice at
fixed k, nodes from −5 to 5 standard deviations and close together at the money. Of the smoothed curve's distance from
the raw one, e(k),

    e(0) ← 2^(−dt/h)·e(0),     e(k) − e(0) ← 2^(−dt/(h·m(k)))·(e(k) − e(0)),     m(k) = band(k)/band(0), 1 to 8:

the level is followed with the half-life h at every k, the shape the more slowly the less the quotes know of it
(`pricer.surfaces.bands`). That is the steady state of a Kalman filter on a curve that moves as a whole and changes its
shape little, whose gain is inverse to the error of what is observed.

The SVI nearest to that curve may carry arbitrage, as may the curve. So it is projected on a certified SVI between the
neighbours' published smiles, with the fit of `svi_hard`, the nodes as its quotes. The curve itself is kept unprojected:
what a projection misses is not smoothed in again, and one that moves the smile by less than `STILL` is not made.

- **News is not noise.** What is left of e(0) is never more than `NEWS` bands: in a crash the level lags by that much
  and not by a half-life.
- **A long gap forgets**: after ten half-lives the raw surface is taken as it is, and all begins anew.
- **Slices** are recognised by their time to maturity less the time that passed. A new one begins with its raw smile,
  one that leaves is forgotten, and one without a raw smile has none. A refused raw fit holds its last good smile, and
  that is what is smoothed. sigma(k) is kept while forward and time move, as everywhere.
- **No certificate** for a projection: `slices`' way back towards the last smile published, which holds between its
  neighbours (`ARB_REPAIRED`). Where that one does not hold either, say because time broke it, the raw surface is taken
  as it is: it is certified as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from pricer.conventions import NO_REASON, Reason, Status
from pricer.kernels.jit import kernel
from pricer.surfaces.arbitrage import certify_svi, check_butterfly
from pricer.surfaces.bands import iv_bands
from pricer.surfaces.quotes import HALF_SPREAD_FLOOR, HIGH, LOW, WEIGHT, WIDTH, K
from pricer.surfaces.slices import NONE, SurfaceSlice, assess, certificate_of
from pricer.surfaces.smile import Array
from pricer.surfaces.surface import VolSurface
from pricer.surfaces.svi import SviParams, SviSmile, value
from pricer.surfaces.svi_hard import EPSILON, blend_certified, fit_certified

# In standard deviations of the slice, and the place of the money among them.
_HALF = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
NODES = np.array([*(-x for x in reversed(_HALF)), 0.0, *_HALF])
_MONEY = len(_HALF)

# A slice's nodes are laid anew when its standard deviation is this factor away from what they were laid for.
_STRETCH = 1.3

# Volatility: a smaller move of the smoothed curve is not published.
STILL = 1e-5

# The width of a node as an observation: a tenth of a narrow quote's.
_NODE_WIDTH = 5e-5

# So many standard errors of the raw volatility at the money are noise; and a half-spread's floor always is.
NEWS = 5.0

# The shape of the curve is followed at most so many times more slowly than its level.
SLOWEST = 8.0

# The share of the old curve below which it is forgotten: ten half-lives.
FORGOTTEN = 2.0**-10

# A slice whose raw smile has not moved is brought closer to it after this share of a half-life.
_WAIT = 0.25

# Time to maturity runs in wall time, the smoother's seconds on any clock: so many seconds they may differ.
_SLACK = 60.0
_YEAR = 365 * 86_400.0

_AT_RAW, _AT_PUBLISHED, _MOVED = range(3)


@dataclass(slots=True)
class _Track:
    """One slice through time: its last raw and published form, and the smoothed volatility at its nodes."""

    raw: SurfaceSlice
    part: SurfaceSlice
    nodes: Array
    curve: Array
    waited: float = 0.0  # seconds since the curve was last brought closer to the raw smile
    age: float = 0.0  # seconds since the raw slice last had a new time to maturity


class _Task(NamedTuple):
    """A slice to be projected: from `start`, and where it may be blended back to."""

    place: int
    raw: SurfaceSlice
    start: Array
    observations: Array
    base: SviSmile | None
    is_raw: bool  # `start` is the raw smile and near enough to be taken as it is


class SurfaceSmoother:
    """Smooths the surfaces of one underlying in time; holds the state, knows no clock.

    `half_life` is in seconds: after it, half of a small move of the raw surface is in the smoothed one. 0 is off.
    """

    def __init__(self, half_life: float) -> None:
        if not 0.0 <= half_life < math.inf:
            raise ValueError(f"a half-life is finite and not negative, not {half_life!r}")
        self.half_life = half_life
        self._tracks: list[_Track | None] = []

    def update(self, raw: VolSurface, seconds: float) -> VolSurface:
        """The smoothed surface now that `seconds` have passed since the last update and `raw` is the fitted one.

        Its slices have the raw ones' quotes, statuses, reasons and paths, and their own smiles, certificates and
        figures of fit. The first one, and one after a long gap, is `raw` itself. ValueError for negative or no seconds.
        """
        if not seconds >= 0.0:
            raise ValueError(f"time does not pass by {seconds!r} seconds")
        if self.half_life == 0.0:
            return raw
        kept = 0.5 ** (seconds / self.half_life)
        self._tracks = self._matched(raw.slices, seconds) if kept > FORGOTTEN else []
        if not any(self._tracks):
            return self._restarted(raw)
        parts, tasks = self._prepared(raw.slices)
        if not _projected(parts, tasks):
            return self._restarted(raw)
        self._certified(parts, {task.place for task in tasks})
        for track, part in zip(self._tracks, parts, strict=True):
            if track is not None:
                track.part = part
        return VolSurface(tuple(parts), raw.version)

    def _restarted(self, raw: VolSurface) -> VolSurface:
        self._tracks = [_begun(part) for part in raw.slices]
        return raw

    def _matched(self, slices: Sequence[SurfaceSlice], seconds: float) -> list[_Track | None]:
        """For every slice the track that it goes on with; a new one's is to be made."""
        free = [track for track in self._tracks if track is not None]
        for track in free:
            track.age += seconds
        matched: list[_Track | None] = []
        at = 0
        for part in slices:
            # Both are in order of ttm.
            while at < len(free) and (free[at].raw.ttm - part.ttm) * _YEAR < -_SLACK:
                at += 1
            known = at < len(free) and _distance(free[at], part.ttm) * _YEAR <= _SLACK
            if not known or part.svi is None:
                matched.append(None)
                continue
            free[at].waited += seconds
            matched.append(free[at])
            at += 1
        return matched

    def _prepared(self, slices: Sequence[SurfaceSlice]) -> tuple[list[SurfaceSlice], list[_Task]]:
        """Every slice as it was published, at today's forward and time; and those whose smile has to move."""
        parts, tasks = [], []
        for i, raw in enumerate(slices):
            track = self._tracks[i]
            if track is None:
                self._tracks[i] = _begun(raw)
                parts.append(raw)
                if raw.svi is not None:
                    params = np.array(raw.svi.params)
                    tasks.append(_Task(i, raw, params, _node_observations(raw.svi), None, True))
                continue
            part, task = self._advanced(i, track, raw)
            parts.append(part)
            if task is not None:
                tasks.append(task)
        return parts, tasks

    def _advanced(self, index: int, track: _Track, raw: SurfaceSlice) -> tuple[SurfaceSlice, _Task | None]:
        assert raw.svi is not None
        assert track.raw.svi is not None
        assert track.part.svi is not None
        published = track.part.svi
        changed = raw is not track.raw and not _same_curve(raw.svi, track.raw.svi)
        if raw.ttm != track.raw.ttm:
            track.age = 0.0
        base = published if _same_place(raw, published) else published.at(raw.forward, raw.ttm)
        part = track.part if raw is track.raw else _dressed(raw, base, track.part)
        track.raw = raw
        # What time breaks (g < 0, as w shrinks) is mended at once.
        broken = base is not published and not part.certificate.butterfly
        if not (changed or broken or track.waited >= _WAIT * self.half_life):
            return part, None
        _keep_nodes(track, base)
        observations = np.empty((NODES.size, 5))
        own, old = np.array(raw.svi.params), np.array(base.params)
        state = _advance(
            own, old, raw.ttm, track.waited / self.half_life, track.nodes, track.curve,
            raw.selection.observations, observations,
        )  # fmt: skip
        track.waited = 0.0
        if state == _AT_PUBLISHED and not broken:
            return part, None
        start = own if state == _AT_RAW or broken else _nearer(own, old, raw.ttm, observations)
        return part, _Task(index, raw, start, observations, base, state == _AT_RAW)

    def _certified(self, parts: list[SurfaceSlice], moved: set[int]) -> None:
        """Renew the calendar part of certificates: of slices that moved, in smile or time, and the next longer ones."""
        lower: SurfaceSlice | None = None
        lower_moved = False
        for i, part in enumerate(parts):
            if part.svi is None:
                continue
            track = self._tracks[i]
            own_moved = i in moved or track is None or part is not track.part
            if own_moved or lower_moved:
                parts[i] = part.above(None if lower is None else lower.smile)
            lower, lower_moved = parts[i], own_moved


def _begun(raw: SurfaceSlice) -> _Track | None:
    if raw.svi is None:
        return None
    track = _Track(raw, raw, NONE, NONE)
    _lay_nodes(track, raw.svi)
    return track


def _distance(track: _Track, ttm: float) -> float:
    """How far `ttm` is from where the track's may be by now; a slice that saw no fit may have stayed where it was."""
    return max(track.raw.ttm - track.age / _YEAR - ttm, ttm - track.raw.ttm, 0.0)


def _keep_nodes(track: _Track, smile: SviSmile) -> None:
    """Lay the nodes anew where the smile's standard deviation has left them, on what was published."""
    laid = float(track.nodes[-1]) / float(NODES[-1])
    now = math.sqrt(float(smile.total_variance(0.0)))
    if not 1.0 / _STRETCH < now / laid < _STRETCH:
        _lay_nodes(track, smile)


def _lay_nodes(track: _Track, smile: SviSmile) -> None:
    track.nodes = NODES * math.sqrt(float(smile.total_variance(0.0)))
    track.curve = np.sqrt(np.asarray(smile.total_variance(track.nodes)) / smile.ttm)


def _same_curve(one: SviSmile, other: SviSmile) -> bool:
    """The same sigma(k), up to the rounding of `SviSmile.at`."""
    p, q = one.params, other.params
    scale = one.ttm / other.ttm
    return p[2:] == q[2:] and math.isclose(p.a, q.a * scale, rel_tol=1e-12) and math.isclose(p.b, q.b * scale)


def _same_place(raw: SurfaceSlice, smile: SviSmile) -> bool:
    return (raw.forward, raw.ttm) == (smile.forward, smile.ttm)


def _dressed(raw: SurfaceSlice, smile: SviSmile, before: SurfaceSlice) -> SurfaceSlice:
    """The raw slice with a published smile in the place of its own."""
    own = before.certificate if smile is before.smile else check_butterfly(smile)
    diagnostics, _ = assess(raw.selection, raw.ttm, np.array(smile.params), raw.diagnostics.path, raw.diagnostics.steps)
    return replace(raw, smile=smile, certificate=own, diagnostics=diagnostics)


def _node_observations(smile: SviSmile) -> Array:
    k = NODES * math.sqrt(float(smile.total_variance(0.0)))
    sigma = np.sqrt(np.asarray(smile.total_variance(k)) / smile.ttm)
    width = np.full(k.size, _NODE_WIDTH)
    return np.column_stack([k, sigma - width, sigma + width, width, np.ones(k.size)])


def _projected(parts: list[SurfaceSlice], tasks: Sequence[_Task]) -> bool:
    """Project every task between its present neighbours, in place; False where one has no certified smile.

    When the surface rises the longer slices make room first, when it falls the shorter ones. Those that had to be
    blended back are tried once more in the other order.
    """
    if not tasks:
        return True
    rise = sum(_move_at_the_money(task) for task in tasks)
    # A new slice is without a smile to hold its place: it comes before all others.
    waiting = sorted(tasks, key=lambda task: (task.base is not None, -task.place if rise > 0.0 else task.place))
    held = _project_all(parts, waiting)
    missing = _project_all(parts, held[::-1])
    return all(task.base is not None and parts[task.place].certificate.butterfly for task in missing)


def _move_at_the_money(task: _Task) -> float:
    if task.base is None:
        return 0.0
    target = 0.5 * (task.observations[_MONEY, LOW] + task.observations[_MONEY, HIGH])
    w = float(task.base.total_variance(float(task.observations[_MONEY, K])))
    return float(target * target) * task.base.ttm - w


def _project_all(parts: list[SurfaceSlice], tasks: Iterable[_Task]) -> list[_Task]:
    """Project in this order; those that did not come through whole."""
    held = []
    for task in tasks:
        below, above = _neighbours(parts, task.place)
        params, evidence = task.start.copy(), np.empty(9)
        blended = False
        if not (task.is_raw and certify_svi(params, below, above, evidence)):
            found, _ = fit_certified(
                task.observations, task.raw.ttm, below, above, NONE, NONE, EPSILON, params, evidence
            )
            if found == 0:
                held.append(task)
                blended = task.base is not None and _blended(params, np.array(task.base.params), below, above, evidence)
                if not blended:
                    continue
        parts[task.place] = _slice_of(task.raw, params, evidence, blended)
    return held


def _blended(params: Array, base: Array, below: Array, above: Array, evidence: Array) -> bool:
    if not certify_svi(base, below, above, evidence):
        return False
    blend_certified(params, base, below, above, evidence)
    return True


def _neighbours(parts: Sequence[SurfaceSlice], i: int) -> tuple[Array, Array]:
    below = next((part.svi for part in reversed(parts[:i]) if part.svi is not None), None)
    above = next((part.svi for part in parts[i + 1 :] if part.svi is not None), None)
    return NONE if below is None else np.array(below.params), NONE if above is None else np.array(above.params)


def _slice_of(raw: SurfaceSlice, params: Array, evidence: Array, blended: bool) -> SurfaceSlice:
    figures = raw.diagnostics
    diagnostics, _ = assess(raw.selection, raw.ttm, params, figures.path, figures.steps)
    return replace(
        raw,
        smile=SviSmile(raw.ttm, raw.forward, SviParams(*params.tolist())),
        status=max(raw.status, Status.DEGRADED) if blended else raw.status,
        reasons=raw.reasons | (Reason.ARB_REPAIRED if blended else NO_REASON),
        certificate=certificate_of(evidence),
        diagnostics=diagnostics,
    )


def _nearer(one: Array, other: Array, ttm: float, observations: Array) -> Array:
    return one if _farthest(one, ttm, observations) < _farthest(other, ttm, observations) else other


@kernel
def _advance(
    raw: Array,
    published: Array,
    ttm: float,
    half_lives: float,
    nodes: Array,
    curve: Array,
    quotes: Array,
    observations: Array,
) -> int:
    """Bring the `curve` (sigma at the nodes) closer to the raw smile after so many half-lives, and say where it is.

    `observations` receives the nodes as quotes of the curve.
    """
    money = nodes.size // 2
    band = np.empty(nodes.size)
    iv_bands(raw, ttm, quotes, nodes, band)
    level = curve[money] - _sigma(raw, ttm, nodes[money])
    limit = max(NEWS * band[money], HALF_SPREAD_FLOOR)
    left = min(max(level * 0.5**half_lives, -limit), limit)
    for j in range(nodes.size):
        target = _sigma(raw, ttm, nodes[j])
        slower = min(max(band[j] / band[money], 1.0), SLOWEST)
        shape = (curve[j] - target - level) * 0.5 ** (half_lives / slower)
        curve[j] = max(target + left + shape, 0.01 * target)
        observations[j, K], observations[j, WEIGHT] = nodes[j], 1.0
        observations[j, LOW], observations[j, HIGH] = curve[j], curve[j]
    from_raw, from_published = _farthest(raw, ttm, observations), _farthest(published, ttm, observations)
    # Where both smiles are far, a wider node keeps the search from leaving the nodes for outliers.
    width = max(_NODE_WIDTH, 0.25 * min(from_raw, from_published))
    for j in range(nodes.size):
        observations[j, WIDTH] = width
        observations[j, LOW] -= width
        observations[j, HIGH] += width
    if from_published < STILL:
        return _AT_PUBLISHED
    return _AT_RAW if from_raw < STILL else _MOVED


@kernel
def _sigma(params: Array, ttm: float, k: float) -> float:
    return math.sqrt(max(value(params[0], params[1], params[2], params[3], params[4], k)[0], 1e-12) / ttm)


@kernel
def _farthest(params: Array, ttm: float, observations: Array) -> float:
    """The largest distance in volatility between a smile and the middles of observations."""
    farthest = 0.0
    for j in range(observations.shape[0]):
        middle = 0.5 * (observations[j, LOW] + observations[j, HIGH])
        farthest = max(farthest, abs(_sigma(params, ttm, observations[j, K]) - middle))
    return farthest


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """One step of a slice's curve; the other kernels are other modules'."""
    params, nodes = np.array([0.024, 0.01, 0.0, 0.0, 0.1]), 0.15 * NODES
    quotes = np.array([[k, 0.49, 0.51, 0.01, 1.0] for k in (-0.1, 0.0, 0.1)])

    def step() -> None:
        observations = np.empty((nodes.size, 5))
        _advance(params, params, 0.1, 1.0, nodes, np.full(nodes.size, 0.5), quotes, observations)
        _nearer(params, params, 0.1, observations)

    return [("smoothing step", step)]
