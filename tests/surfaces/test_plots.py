"""Plots: what is drawn are the surface's own numbers, in both libraries; what may not be trusted looks so."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import pricer
from pricer.surfaces import Role, SliceQuotes, SviParams, SviSmile, VolSurface, cumulative, select
from pricer.surfaces.plots import (
    before_and_after,
    density,
    durrleman_g,
    local_vol,
    look,
    raw_and_smoothed,
    rendering,
    residuals,
    scene,
    skew_history,
    smiles,
    surface_3d,
    term_structure,
    total_variance,
)
from pricer.surfaces.quotes import HIGH, LOW, WIDTH, K
from tests.data import CHECKOUT
from tests.surfaces.made import chain, recorded_btc, recorded_eth, smile, surface_of

Array = npt.NDArray[np.float64]
NOW_NS = 1_798_761_600_000_000_000  # 2027-01-01 00:00 UTC
THIN = 3  # the slice with two quotes


def market() -> list[SliceQuotes]:
    """A noisy chain. Its second expiry has a crossed quote, one far off and a one-sided one; its fourth two quotes."""
    made = chain(seed=11)
    bid, ask = made[1].bid_iv.copy(), made[1].ask_iv.copy()
    bid[3], ask[3] = ask[3], bid[3]
    bid[8], ask[8] = 5.0, 5.1
    bid[20] = math.nan
    made[1] = replace(made[1], bid_iv=bid, ask_iv=ask)
    thin = np.full(made[THIN].strikes.size, math.nan)
    few_bid, few_ask = thin.copy(), thin.copy()
    few_bid[10:12], few_ask[10:12] = made[THIN].bid_iv[10:12], made[THIN].ask_iv[10:12]
    made[THIN] = replace(made[THIN], bid_iv=few_bid, ask_iv=few_ask)
    return made


QUOTES = market()


@pytest.fixture(scope="module")
def surface() -> VolSurface:
    return VolSurface.fit(QUOTES)


@pytest.fixture(scope="module")
def history(surface: VolSurface) -> list[tuple[int, VolSurface]]:
    """Three instants, with vol and skew rising."""
    return [(NOW_NS + i * 10**10, surface.shocked(vol=0.01 * i, skew=0.005 * i)) for i in range(3)]


PLOTS: dict[str, Callable[..., Any]] = {
    "smiles": lambda s, h, **of: smiles(s, quotes=QUOTES, now_ns=NOW_NS, underlying="BTC", **of),
    "residuals": lambda s, h, **of: residuals(s, **of),
    "total_variance": lambda s, h, **of: total_variance(s, **of),
    "durrleman_g": lambda s, h, **of: durrleman_g(s, **of),
    "density": lambda s, h, **of: density(s, **of),
    "term_structure": lambda s, h, **of: term_structure(s, **of),
    "local_vol": lambda s, h, **of: local_vol(s, **of),
    "surface_3d": lambda s, h, **of: surface_3d(s, **of),
    "skew_history": lambda s, h, **of: skew_history(h, **of),
    "raw_and_smoothed": lambda s, h, **of: raw_and_smoothed(h, h[:2], **of),
    "raw_and_smoothed surfaces": lambda s, h, **of: raw_and_smoothed(s, s.shocked(vol=0.01), **of),
    "before_and_after": lambda s, h, **of: before_and_after(s, s.shocked(spot=-0.1, vol=0.02), **of),
}


class Draw:
    """Calls a plot and keeps the picture that it hands to the renderer."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.picture = scene.Picture("", "", ())
        render = rendering.rendered

        def spy(picture: scene.Picture, backend: Any, axes: Any = None) -> Any:
            self.picture = picture
            return render(picture, backend, axes)

        for module in ("smiles", "evidence", "maps", "changes"):
            monkeypatch.setattr(sys.modules[f"pricer.surfaces.plots.{module}"], "rendered", spy)

    def marks(self, kind: type[Any], panel: int = 0) -> list[Any]:
        return [mark for mark in self.picture.panels[panel].marks if isinstance(mark, kind)]

    def words(self) -> str:
        """All that can be read in the picture, but for what hovering says."""
        found = [self.picture.title, self.picture.subtitle, *self.picture.labels]
        for panel in self.picture.panels:
            found += [panel.title, panel.remark, *(mark.text for mark in panel.marks if isinstance(mark, scene.Text))]
        return "\n".join(found)


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Draw:
    return Draw(monkeypatch)


# Both libraries draw the picture.


def same(a: Any, b: Any) -> bool:
    """Equal arrays; NaN and None (plotly's) are equal, instants as numbers of nanoseconds."""
    return bool(np.array_equal(plain(a), plain(b), equal_nan=True))


def plain(values: Any) -> Array:
    array = np.asarray(values)
    if array.dtype.kind == "M":
        return array.astype("datetime64[ns]").astype(np.int64).astype(np.float64)
    return array.astype(np.float64)


def drawn_by_matplotlib(figure: Any) -> Iterator[tuple[Any, ...]]:
    for axis in figure.axes:
        for line in axis.lines:
            yield line.get_data_3d() if hasattr(line, "get_data_3d") else line.get_data(orig=True)
        for found in axis.collections:
            name = type(found).__name__
            if name == "PathCollection":
                yield tuple(np.ma.filled(found.get_offsets().astype(np.float64), np.nan).T)
            elif name == "LineCollection" and len(found.get_segments()):  # a colour bar has an empty one
                ends = np.array(found.get_segments())
                yield ends[:, 0, 0], ends[:, 0, 1], ends[:, 1, 1]
            elif name == "QuadMesh":
                corners = found.get_coordinates()
                yield corners[0, :, 0], corners[:, 0, 1], np.ma.filled(found.get_array(), np.nan)


def drawn_by_plotly(figure: Any) -> Iterator[tuple[Any, ...]]:
    for trace in figure.data:
        if trace.type in ("heatmap", "surface", "scatter3d"):
            yield trace.x, trace.y, trace.z
        elif trace.mode == "lines" and len(trace.x) % 3 == 0 and trace.x[0] is not None:
            yield trace.x, trace.y
            y = np.array(trace.y[:3], dtype=np.float64)
            if math.isnan(y[2]):  # bars
                yield np.array(trace.x)[::3], np.array(trace.y)[::3], np.array(trace.y)[1::3]
        else:
            yield trace.x, trace.y


def expected(mark: Any) -> list[tuple[Any, ...]]:
    if isinstance(mark, scene.Line | scene.Points):
        return [(mark.x, mark.y)]
    if isinstance(mark, scene.Bars):
        return [(mark.x, mark.low, mark.high)]
    if isinstance(mark, scene.Heat):
        return [(mark.x, mark.y, mark.z)]
    if isinstance(mark, scene.Sheet):
        return [(mark.x, np.full(mark.x.size, y), z) for y, z in mark.ribs]
    return []


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
@pytest.mark.parametrize("name", PLOTS)
def test_every_array_of_the_picture_is_in_the_figure(
    name: str, backend: str, surface: VolSurface, history: list[Any], draw: Draw
) -> None:
    figure = PLOTS[name](surface, history, backend=backend)
    found = list((drawn_by_matplotlib if backend == "matplotlib" else drawn_by_plotly)(figure))
    asked = [wanted for panel in draw.picture.panels for mark in panel.marks for wanted in expected(mark)]
    assert len(asked) > 0
    for wanted in asked:
        assert any(len(wanted) == len(one) and all(map(same, wanted, one)) for one in found), wanted
    if backend == "plotly":
        (sheets,) = [[trace for trace in figure.data if trace.type == "surface"]]
        for trace, mark in zip(sheets, draw.marks(scene.Sheet), strict=True):
            assert same(trace.z, mark.z)
            assert same(trace.y, mark.y)


@pytest.mark.parametrize("name", PLOTS)
def test_both_libraries_say_the_same_words(
    name: str, surface: VolSurface, history: list[Any], draw: Draw, tmp_path: Any
) -> None:
    still = PLOTS[name](surface, history)
    still.savefig(tmp_path / "picture.png")  # draws all of it, and warnings are errors
    moving = PLOTS[name](surface, history, backend="plotly")
    notes = {
        note.text.replace("<b>", "").replace("</b>", "").replace("<br>", "\n") for note in moving.layout.annotations
    }
    texts = {text.get_text() for text in [*still.texts, *(text for axis in still.axes for text in axis.texts)]}
    assert texts - {""} == notes - {""}
    labels = {trace.name for trace in moving.data if trace.showlegend}
    assert labels == set(draw.picture.labels)
    assert {text.get_text() for legend in still.legends for text in legend.get_texts()} == labels
    assert (still.get_size_inches() * still.dpi).round().tolist() == [900, moving.layout.height]


# The picture shows the surface's numbers.


def test_smiles_are_the_surfaces_vols_and_the_quotes_own(surface: VolSurface, draw: Draw) -> None:
    strikes, vols = np.array([62_000.0, 58_000.0]), np.array([0.5, 0.6])
    smiles(surface, quotes=QUOTES, marks={2: (strikes, vols)})
    assert len(draw.picture.panels) == len(surface.slices)
    for i, part in enumerate(surface.slices):
        for line in draw.marks(scene.Line, i):
            np.testing.assert_allclose(line.y, surface.iv(line.x, part.ttm), rtol=1e-13)
        seen = select(QUOTES[i]).observations
        seen = seen[np.isfinite(seen[:, LOW]) & np.isfinite(seen[:, HIGH])]
        (bars,) = draw.marks(scene.Bars, i)
        np.testing.assert_array_equal(bars.low, seen[:, LOW])
        np.testing.assert_array_equal(bars.high, seen[:, HIGH])
        np.testing.assert_allclose(bars.x, part.forward * np.exp(seen[:, K]), rtol=1e-13)
    (mark,) = [points for points in draw.marks(scene.Points, 2) if points.label == "venue's mark"]
    assert (mark.x.tolist(), mark.y.tolist()) == ([58_000.0, 62_000.0], [0.6, 0.5])


def test_quotes_that_did_not_enter_are_crosses_with_their_reasons(surface: VolSurface, draw: Draw) -> None:
    smiles(surface, quotes=QUOTES, expiries=[1])
    crosses = {points.label: points for points in draw.marks(scene.Points) if points.symbol == "cross"}
    assert set(crosses) == {"left out: CROSSED", "left out: OUT_OF_BAND"}
    crossed, far = crosses["left out: CROSSED"], crosses["left out: OUT_OF_BAND"]
    np.testing.assert_allclose(crossed.x, QUOTES[1].strikes[3])
    np.testing.assert_allclose(far.y, 5.05)
    assert "strike" in far.hover[0]
    assert "500.0 %" in far.hover[0]
    assert draw.picture.panels[0].note == "1 beyond the edge"
    (ask_only,) = [points for points in draw.marks(scene.Points) if points.label == "ask only"]
    np.testing.assert_allclose(ask_only.y, QUOTES[1].ask_iv[20])
    excluded = int(np.count_nonzero(select(QUOTES[1]).role == Role.EXCLUDED))
    assert sum(points.x.size for points in crosses.values()) == excluded


def test_what_is_extrapolated_is_dashed_and_faint(surface: VolSurface, draw: Draw) -> None:
    part = surface.slices[0]
    low, high = part.forward * math.exp(part.k_min), part.forward * math.exp(part.k_max)
    smiles(surface, expiries=[0])
    through, *beyond = draw.marks(scene.Line)
    assert (through.dash, through.opacity) == ("solid", 1.0)
    np.testing.assert_allclose(through.x[[0, -1]], [low, high])
    assert [line.dash for line in beyond] == ["dashed", "dashed"]
    assert all(line.opacity < 0.6 and line.label == "extrapolated" for line in beyond)
    np.testing.assert_allclose([beyond[0].x[-1], beyond[1].x[0]], [low, high])


def test_a_slice_that_is_not_ok_is_named_with_its_reasons(surface: VolSurface, draw: Draw) -> None:
    smiles(surface)
    assert draw.picture.panels[THIN].flag == "DEGRADED FIT_UNDERDETERMINED"
    assert [panel.flag for i, panel in enumerate(draw.picture.panels) if i != THIN] == [""] * 7
    total_variance(surface)
    assert f"DEGRADED: {look.span(surface.ttm(THIN))}" in draw.picture.subtitle
    term_structure(surface)
    (hollow,) = [points for points in draw.marks(scene.Points) if points.label == "not OK"]
    assert hollow.x.tolist() == [surface.ttm(THIN)]


def test_residuals_are_in_half_spreads_at_their_deltas(surface: VolSurface, draw: Draw) -> None:
    residuals(surface)
    groups = [points for points in draw.marks(scene.Points) if points.symbol == "circle"]
    assert len(groups) == len(surface.slices)
    for points, strip, part in zip(groups, draw.marks(scene.Points, 1), surface.slices, strict=True):
        seen = part.selection.observations
        seen = seen[np.isfinite(seen[:, LOW]) & np.isfinite(seen[:, HIGH])]
        strikes = part.forward * np.exp(seen[:, K])
        vol = np.asarray(surface.iv(strikes, part.ttm))
        off = (vol - 0.5 * (seen[:, LOW] + seen[:, HIGH])) / seen[:, WIDTH]
        np.testing.assert_allclose(points.y, off, atol=1e-9)
        np.testing.assert_allclose(strip.shades, off, atol=1e-9)
        call = pricer.greeks(part.forward, strikes, part.ttm, vol, "call").delta
        np.testing.assert_allclose([0.5 * math.erfc(x / math.sqrt(2.0)) for x in points.x], call, atol=1e-12)
    at = dict((text, place) for place, text in draw.picture.panels[1].x.ticks or ())
    np.testing.assert_allclose([at["25P"], at["50"], at["25C"]], [-0.674490, 0.0, 0.674490], atol=1e-5)
    inside = np.concatenate([np.abs(points.y) <= 1.0 for points in groups])
    assert inside.mean() == pytest.approx(surface.diagnostics.inside_spread)


def test_a_residual_beyond_the_edge_is_counted(draw: Draw) -> None:
    moved = surface_of(smile(0.1))
    far = VolSurface((replace(moved.slices[0], smile=smile(0.1, atm=0.7)),))
    residuals(far)
    assert "25 beyond 6 half-spreads" in draw.words()


def test_total_variance_and_g_are_the_smiles_own(surface: VolSurface, draw: Draw) -> None:
    total_variance(surface)
    names = {look.expiry_name(part.ttm): part for part in surface.slices}
    for line in draw.marks(scene.Line):
        np.testing.assert_allclose(line.y, surface.total_variance(line.x, names[line.name].ttm), rtol=1e-13)
    words = [text.text for text in draw.marks(scene.Text)]
    assert words == list(names)
    durrleman_g(surface)
    for line in draw.marks(scene.Line):
        found = names[line.name].smile
        assert found is not None
        k = line.x * math.sqrt(float(found.total_variance(0.0)))
        np.testing.assert_allclose(line.y, found.durrleman_g(k), rtol=1e-9, atol=1e-12)
    assert f"smallest g {surface.certificate.min_g:.4f}" in draw.picture.subtitle


def test_arbitrage_is_marked_and_named(draw: Draw) -> None:
    vogt = SviSmile(1.0, 100.0, SviParams(-0.0410, 0.1331, 0.3060, 0.3586, 0.4153))
    lower = SviSmile(0.5, 100.0, SviParams(0.05, 0.02, 0.0, 0.0, 0.2))
    bare = surface_of(lower, vogt)
    surface = bare.at([0.5, 1.0], [100.0, 100.0])
    total_variance(surface)
    assert "not certified: butterfly and calendar" in draw.picture.subtitle
    (crossing,) = draw.marks(scene.Points)
    assert crossing.x[0] == surface.certificate.gap_at_k
    durrleman_g(surface)
    (low,) = [points for points in draw.marks(scene.Points) if points.y[0] < 0.0]
    assert low.y[0] == pytest.approx(-0.03286, abs=2e-4)
    assert low.color == look.ALARM
    density(surface)
    assert "negative: butterfly arbitrage" in draw.picture.labels
    term_structure(surface)
    assert "total variance falls" in draw.words()
    local_vol(surface)
    assert "CALENDAR" in draw.words()
    assert np.isnan(draw.marks(scene.Heat)[0].z).any()
    total_variance(bare)
    assert "no certificate" in draw.picture.subtitle


def test_densities_stand_in_rows_with_their_quantiles(surface: VolSurface, draw: Draw) -> None:
    density(surface)
    rows = {name: row for row, name in draw.picture.panels[0].y.ticks or ()}
    assert list(rows) == [look.expiry_name(part.ttm) for part in reversed(surface.slices)]
    for part in surface.slices:
        found, name = part.smile, look.expiry_name(part.ttm)
        assert found is not None
        lines = [line for line in draw.marks(scene.Line) if line.name == name and not line.label.startswith("5 %")]
        strikes = np.concatenate([line.x for line in lines])
        heights = np.concatenate([line.y for line in lines]) - rows[name]
        q = strikes * np.asarray(found.density(strikes))
        np.testing.assert_allclose(heights / heights.max(), q / q.max(), atol=1e-12)
        (feet,) = [points for points in draw.marks(scene.Points) if points.y[0] == rows[name]]
        np.testing.assert_allclose(cumulative(found, feet.x), [0.05, 0.5, 0.95], atol=1e-10)


def test_the_term_structure_is_atm_and_steps_of_forward_vol(surface: VolSurface, draw: Draw) -> None:
    term_structure(surface)
    steps, curve = draw.marks(scene.Line)
    terms = surface.term_structure()
    np.testing.assert_array_equal(curve.y, [surface.atm(ttm) for ttm in curve.x.tolist()])
    np.testing.assert_array_equal(steps.y[1::2], terms.forward_vol)
    np.testing.assert_array_equal(steps.y[::2], terms.forward_vol)
    np.testing.assert_array_equal(steps.x[1::2], terms.ttm)
    for i in range(1, len(surface.slices)):
        assert steps.y[2 * i] == pytest.approx(surface.forward_vol(i - 1, i), rel=1e-12)
    points = draw.marks(scene.Points)
    at = dict(zip(np.concatenate([p.x for p in points]), np.concatenate([p.y for p in points]), strict=True))
    assert at == dict(zip(terms.ttm, terms.atm, strict=True))


def test_the_local_vol_map_is_veiled_outside_the_quotes(surface: VolSurface, draw: Draw) -> None:
    local_vol(surface)
    (heat,) = draw.marks(scene.Heat)
    times, strikes = np.sqrt(heat.x[1:] * heat.x[:-1]), np.sqrt(heat.y[1:] * heat.y[:-1])
    assert set(surface.term_structure().ttm) <= set(heat.x), "local variance jumps at expiries: no cell lies across one"
    for j in (0, 40, times.size - 1):
        np.testing.assert_allclose(heat.z[:, j], surface.local_vol(strikes, times[j]), rtol=1e-12)
    below, above = draw.marks(scene.Band)
    for part in surface.slices:
        at = int(np.flatnonzero(heat.x == part.ttm)[0])
        assert below.high[at] == pytest.approx(part.forward * math.exp(part.k_min))
        assert above.low[at] == pytest.approx(part.forward * math.exp(part.k_max))


def test_the_surface_in_space_has_a_rib_for_each_expiry(surface: VolSurface, draw: Draw) -> None:
    surface_3d(surface)
    (sheet,) = draw.marks(scene.Sheet)
    assert len(sheet.ribs) == len(surface.slices)
    for (y, z), part in zip(sheet.ribs, surface.slices, strict=True):
        assert y == math.log10(part.ttm)
        sd = surface.atm(part.ttm) * math.sqrt(part.ttm)
        strikes = part.forward * np.exp(sheet.x * sd)
        np.testing.assert_allclose(z, surface.iv(strikes, part.ttm), rtol=1e-9)
        row = int(np.flatnonzero(sheet.y == y)[0])
        np.testing.assert_array_equal(sheet.z[row], z)


class FakeSnapshot:
    """What a plot asks of a `pricer.Snapshot`."""

    def __init__(self, computed_ns: int, surface: VolSurface | None) -> None:
        self.computed_ns, self.surface = computed_ns, surface


def test_the_skew_history_takes_pairs_and_snapshots(history: list[tuple[int, VolSurface]], draw: Draw) -> None:
    snapshots = [*(FakeSnapshot(*item) for item in history), FakeSnapshot(NOW_NS + 10**11, None)]
    skew_history(snapshots, expiry=0.1, deltas=(0.25, 0.10))
    for panel, method in enumerate(("risk_reversal", "butterfly")):
        lines = draw.marks(scene.Line, panel)
        assert [line.label for line in lines] == ["25 delta", "10 delta"]
        for line, delta in zip(lines, (0.25, 0.10), strict=True):
            wanted = [getattr(found, method)(delta, 0.1) for _, found in history]
            np.testing.assert_array_equal(line.y, [*wanted, math.nan])
            assert line.x[0] == np.datetime64(NOW_NS, "ns")
    start = datetime(2027, 1, 1, 3, tzinfo=UTC)
    zoned = start.astimezone(timezone(timedelta(hours=9)))
    skew_history([(zoned, history[0][1]), (start + timedelta(hours=1), history[1][1])], expiry=1)
    (first, *_) = draw.marks(scene.Line)
    assert first.x[0] == np.datetime64("2027-01-01T03:00:00", "ns")
    assert first.y[1] == history[1][1].risk_reversal(0.25, 1)
    assert draw.picture.title.endswith("slice 1")


def test_raw_and_smoothed_say_their_jitter(history: list[tuple[int, VolSurface]], draw: Draw) -> None:
    still = [(at, history[0][1]) for at, _ in history]
    raw_and_smoothed(history, still, expiry=0.1)
    raw, smoothed = draw.marks(scene.Line)
    np.testing.assert_array_equal(raw.y, [found.atm(0.1) for _, found in history])
    np.testing.assert_array_equal(smoothed.y, [history[0][1].atm(0.1)] * 3)
    step = 100.0 * math.sqrt(np.mean(np.diff(raw.y) ** 2))
    assert f"jitter {step:.3f} \u2192 0.000 vol points" in draw.picture.panels[0].title
    put, call = draw.marks(scene.Line, 1)[0], draw.marks(scene.Line, 2)[0]
    for line, delta in ((put, -0.10), (call, 0.10)):
        wanted = [found.iv_at_delta(delta, 0.1, convention="forward") for _, found in history]
        np.testing.assert_array_equal(line.y, wanted)
    with pytest.raises(ValueError, match="two surfaces or two histories"):
        raw_and_smoothed(history, history[0][1])


def test_before_and_after_have_one_panel_for_each_expiry(surface: VolSurface, draw: Draw) -> None:
    after = surface.shocked(spot=-0.1, vol=0.03)
    before_and_after(surface, after, labels=("now", "crash"), expiries=[0, -1])
    assert len(draw.picture.panels) == 2
    for panel, i in enumerate((0, -1)):
        for line in draw.marks(scene.Line, panel):
            source = {look.PAIR[0]: surface, look.PAIR[1]: after}[line.color]
            np.testing.assert_allclose(line.y, source.iv(line.x, source.slices[i].ttm), rtol=1e-13)
        now, crash = draw.marks(scene.Points, panel)
        assert now.y[0] == pytest.approx(surface.atm(surface.slices[i].ttm))
        assert crash.x[0] == pytest.approx(0.9 * now.x[0])
    assert {"now", "crash"} <= set(draw.picture.labels)
    with pytest.raises(ValueError, match="8 and 7 slices"):
        before_and_after(surface, after.removed(0))


# What there is not.


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
@pytest.mark.parametrize("name", [name for name in PLOTS if name != "smiles"])
@pytest.mark.parametrize("kind", ["no slices", "no smiles"])
def test_a_surface_without_smiles_is_a_picture_that_says_so(name: str, kind: str, backend: str, draw: Draw) -> None:
    strikes, nan = np.array([90.0, 100.0]), np.full(2, math.nan)
    bare = VolSurface.fit([SliceQuotes(ttm, 100.0, strikes, nan, nan) for ttm in (0.1, 0.5)])
    empty = VolSurface(()) if kind == "no slices" else bare
    PLOTS[name](empty, [(NOW_NS, empty)] if kind == "no smiles" else [], backend=backend)
    if name in ("skew_history", "raw_and_smoothed") and kind == "no smiles":
        assert all(np.isnan(line.y).all() for line in draw.marks(scene.Line))
    else:
        assert any(
            word in draw.words() for word in ("no smile", "no slices", "no two-sided", "no surface", "takes two")
        )


def test_a_slice_without_a_smile_keeps_its_quotes_and_its_flag(surface: VolSurface, draw: Draw) -> None:
    part = surface.slices[2]
    refused = replace(part, smile=None, status=pricer.Status.INVALID, reasons=pricer.Reason.FIT_FAILED)
    broken = VolSurface((*surface.slices[:2], refused, *surface.slices[3:]))
    smiles(broken, quotes=QUOTES)
    assert draw.picture.panels[2].flag == "INVALID FIT_FAILED"
    assert draw.marks(scene.Bars, 2)[0].x.size > 20
    assert draw.marks(scene.Line, 2) == []
    assert [text.text for text in draw.marks(scene.Text, 2)] == ["no smile"]
    for plot in (residuals, total_variance, durrleman_g, density, local_vol, surface_3d, term_structure):
        plot(broken)
        assert f"INVALID: {look.span(surface.ttm(2))}" in draw.picture.subtitle
    smiles(VolSurface(()))
    assert "no slices" in draw.words()


# At the edges of the interface.


def test_an_unknown_backend_is_named(surface: VolSurface) -> None:
    with pytest.raises(ValueError, match="unknown backend 'bokeh'; there are 'matplotlib' and 'plotly'"):
        smiles(surface, backend="bokeh")  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", ["matplotlib", "plotly"])
def test_a_missing_library_names_the_extra(backend: Any, surface: VolSurface, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == backend] + [backend, f"{backend}.figure"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"needs {backend}.*pip install volstream\[research\]") as caught:
        term_structure(surface, backend=backend)
    assert caught.value.name == backend


def test_axes_of_ones_own_are_drawn_into(surface: VolSurface) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert smiles(surface, expiries=[2], axes=left) is figure
    assert term_structure(surface, axes=right) is figure
    assert left.lines
    assert right.get_legend() is not None
    with pytest.raises(ValueError, match="this plot has 2 panels, and axes= has 1"):
        residuals(surface, axes=left)
    with pytest.raises(ValueError, match="axes= are matplotlib's"):
        smiles(surface, axes=left, backend="plotly")


def test_arguments_that_do_not_fit_the_surface_are_refused(surface: VolSurface) -> None:
    with pytest.raises(ValueError, match="quotes= has 1 expiries, the surface has 8"):
        smiles(surface, quotes=QUOTES[:1])
    with pytest.raises(IndexError, match="no slice 8: this surface has 8"):
        density(surface, expiries=[8])
    with pytest.raises(ValueError, match="marks of slice 0 have 2 strikes and 1 vols"):
        smiles(surface, marks=[([1.0, 2.0], [0.5])])


def test_importing_the_plots_loads_no_library_and_drawing_leaves_pyplot_alone() -> None:
    program = (
        "import sys, pricer.surfaces.plots as plots;"
        "from pricer.surfaces import VolSurface;"
        "print({'matplotlib', 'plotly'} & set(sys.modules));"
        "plots.smiles(VolSurface(()));"
        "print('matplotlib.figure' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, timeout=100)
    assert done.stdout.split("\n")[:2] == ["set()", "True False"], done.stderr


# Words and places.


def test_ticks_of_strikes_are_round_and_apart() -> None:
    for low, high in ((58_000.0, 63_000.0), (1_900.0, 3_100.0), (20_000.0, 320_000.0), (0.9, 1.1), (3.0, 9_000.0)):
        ticks = look.strike_ticks(low, high, 4)
        assert 2 <= len(ticks) <= 5, (low, high, ticks)
        places = np.log([value for value, _ in ticks])
        assert np.diff(places).min() > 0.2 * math.log(high / low)
        assert all(float(text.replace(",", "")) == pytest.approx(value) for value, text in ticks)
    assert look.strike_ticks(20_000.0, 320_000.0, 4)[-1][1] == "200,000"
    assert look.strike_ticks(-1.0, 1.0) == ()


def test_words_beside_curves_keep_apart_and_in_order() -> None:
    heights = scene.spread(np.array([0.5, 0.50001, 0.9, 0.49999]), 0.0, 1.0, 0.1)
    assert np.argsort(heights).tolist() == [3, 0, 1, 2]
    assert np.diff(np.sort(heights)).min() > 0.099
    assert scene.spread(np.array([1e-4, 1.0]), 1e-4, 1.0, 0.05, log=True) == pytest.approx([1e-4, 1.0])


def test_colours_by_expiry_get_darker() -> None:
    def light(color: str) -> float:
        red, green, blue = (int(color[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
        return float(0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2)

    lights = [light(color) for color in look.ramp(12)]
    assert np.diff(lights).max() < 0.0


@pytest.mark.parametrize("recorded", [recorded_btc, recorded_eth])
def test_recorded_chains_are_drawn_without_a_warning(
    recorded: Callable[[], list[SliceQuotes]], draw: Draw, tmp_path: Any
) -> None:
    found = recorded()
    surface = VolSurface.fit(found)
    for plot in (residuals, total_variance, durrleman_g, density, term_structure, local_vol, surface_3d):
        plot(surface).savefig(tmp_path / "picture.png")
    smiles(surface, quotes=found).savefig(tmp_path / "picture.png")
    drawn = [mark.x.size for panel in draw.picture.panels for mark in panel.marks if isinstance(mark, scene.Bars)]
    assert sum(drawn) == surface.diagnostics.mids


def test_ticks_of_time_have_their_own_names() -> None:
    ticks = dict((text, years) for years, text in look.ttm_ticks(0.002, 1.1, 8))
    assert {"1 d", "1 w", "1 m", "3 m", "1 y"} <= set(ticks)
    assert ticks["1 w"] == 7 / 365
    assert list(ticks.values()) == sorted(ticks.values())
    assert [text for _, text in look.ttm_ticks(0.3, 0.31)] == ["110 d", "113 d"]
