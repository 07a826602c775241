# %% [markdown]
# # A volatility surface, looked at from all sides
#
# From quotes to a surface that is proved free of arbitrage, and what can be read from it. As a script:
#
#     python examples/surface_research.py pictures
#     python examples/surface_research.py pictures --recording session.vsr
#
# The chain comes from the embedded market, or from a recording that `pricer.live(record=...)` has made. Pictures need
# `pip install volstream[research]`.

# %%
from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import pricer
from pricer.simulator.market import Market
from pricer.surfaces import SliceQuotes, SurfaceSmoother, VolSurface, plots, quantile

IN_NOTEBOOK = "__file__" not in globals()
parser = argparse.ArgumentParser(description="A volatility surface, looked at from all sides.")
parser.add_argument("pictures", nargs="?", type=Path, default=Path("pictures"), help="the directory to write them to")
parser.add_argument("--recording", type=Path, help="a recorded session, in place of the embedded market")
options = parser.parse_args([] if IN_NOTEBOOK else None)
options.pictures.mkdir(parents=True, exist_ok=True)


def keep(figure: Any, name: str) -> None:
    """Write a picture; a notebook shows it, too."""
    path = options.pictures / f"{name}.png"
    figure.savefig(path)
    if IN_NOTEBOOK:
        from IPython.display import Image, display

        display(Image(path))
    else:
        print("picture", path)


# %% [markdown]
# ## Quotes
#
# One `SliceQuotes` for each expiry: strikes, bid and ask volatility, each with the forward of its own instant. NaN is a
# side that nobody quotes. The venue's own mark volatilities are kept apart; they are drawn, never fitted.


# %%
class Chain(NamedTuple):
    now_ns: int
    quotes: list[SliceQuotes]
    marks: list[tuple[np.ndarray, np.ndarray]]


def chain_of(now_ns: int, columns: Any, forwards: np.ndarray) -> Chain:
    """The slices of a chain from its columns, one row for each option."""
    chain = Chain(now_ns, [], [])
    for expiry_ns in np.unique(columns["expiry_ns"]).tolist():
        rows = columns["expiry_ns"] == expiry_ns
        ttm = pricer.ttm_years(expiry_ns, now_ns)
        if ttm <= 0.0 or not np.isfinite(forwards[rows]).all():
            continue
        strike, bid, ask, mark, cp = (columns[name][rows] for name in ("strike", "bid_iv", "ask_iv", "mark_iv", "cp"))
        chain.quotes.append(SliceQuotes(ttm, forwards[rows][-1], strike, bid, ask, forwards=forwards[rows], cp=cp))
        chain.marks.append((strike[cp > 0], mark[cp > 0]))
    return chain


def simulated(seed: int = 7, start_ns: int = 1_798_000_000 * 10**9, steps: int = 60) -> Iterator[Chain]:
    """The embedded market, half a minute at a time; it shows volatilities in percent, and 0 for none."""
    market = Market(seed, start_ns)
    for step in range(steps):
        now_ns = start_ns + step * 30 * 10**9
        market.step(now_ns)
        rows = market.chains["BTC"].rows
        columns = {name: rows[name] for name in ("expiry_ns", "strike", "cp")}
        for name in ("bid_iv", "ask_iv", "mark_iv"):
            columns[name] = np.where(rows[name] > 0.0, rows[name] / 100.0, np.nan)
        yield chain_of(now_ns, columns, rows["forward"])


def recorded(path: Path, every_ns: int = 10**9) -> Iterator[Chain]:
    """The snapshots of a recording, at least a second apart, once they hold quotes."""
    last_ns = 0
    for snapshot in pricer.replay(path):
        snapshot = snapshot.of(snapshot.underlyings[0]) if snapshot.underlyings else snapshot
        columns = snapshot.columns()
        if snapshot.computed_ns - last_ns < every_ns or not np.isfinite(columns["bid_iv"]).any():
            continue
        last_ns = snapshot.computed_ns
        known = {expiry_ns: forward.value for expiry_ns, forward in snapshot.forwards.items()}
        forwards = np.array([known.get(expiry_ns, np.nan) for expiry_ns in columns["expiry_ns"].tolist()])
        yield chain_of(snapshot.computed_ns, columns, forwards)


chains = list(recorded(options.recording) if options.recording else simulated())
quoted = [sum(np.count_nonzero(np.isfinite(slice_.bid_iv)) for slice_ in chain.quotes) for chain in chains]
chains = [chain for chain, count in zip(chains, quoted, strict=True) if count > 0.9 * max(quoted)]  # a session fills up
now_ns, quotes, marks = chains[0]
words = {"underlying": options.recording.stem if options.recording else "BTC, simulated", "now_ns": now_ns}
print(f"{len(chains)} chains; the first has {len(quotes)} expiries, {sum(q.strikes.size for q in quotes)} options")

# %% [markdown]
# ## The fit
#
# All expiries at once, under hard constraints. Each slice says how well it meets its quotes: the share of two-sided
# quotes whose bid and ask it lies between, and the root mean square of the residuals in half-spreads. What did not
# enter has a reason.

# %%
surface = VolSurface.fit(quotes)
print("expiry, days   quotes   inside   rmse   ATM vol   status")
for i, part in enumerate(surface.slices):
    met = part.diagnostics
    print(
        f"{365 * part.ttm:12.2f} {met.mids:8d} {met.inside_spread:8.1%} {met.rmse:6.2f} {surface.atm(i):9.2%}   "
        f"{part.status.name} {part.reasons.label}"
    )
print("all:", surface.diagnostics)

# %%
keep(plots.smiles(surface, quotes=quotes, marks=marks, **words), "smiles")

# %% [markdown]
# The same in half-spreads, where a tight quote counts as much as a wide one. A pattern along delta would mean that the
# shape of the curve cannot follow the market; one along expiry, that neighbours lock each other.

# %%
keep(plots.residuals(surface, **words), "residuals")

# %% [markdown]
# How well do the quotes determine a volatility? The band is one standard error: small where quotes are many and narrow,
# growing towards the wings, large beyond the last quote.

# %%
print("error in vol points   at the money   2 deviations down   4 down   8 down")
for days in (7, 30, 90):
    ttm = days / 365
    deviation = surface.atm(ttm) * ttm**0.5
    strikes = surface.forward(ttm) * np.exp(-deviation * np.array([0.0, 2.0, 4.0, 8.0]))
    at_money, two, four, eight = 100 * surface.band(strikes, ttm)
    print(f"{days:14d} days {at_money:14.3f} {two:19.3f} {four:8.3f} {eight:8.3f}")

# %% [markdown]
# ## Other models
#
# The same quotes in five models. "hard" is free of arbitrage whatever the quotes say; "check" is fitted as it comes and
# looked at afterwards. The kind of a certificate says what its evidence is: a proof on the whole line ("exact"),
# conditions that suffice ("sufficient"), or points ("grid"). Three numbers of SABR are too few for these smiles; on
# recorded chains those of eSSVI are, too.

# %%
promises = {"svi": "hard", "svi_local": "hard", "essvi": "hard", "sabr": "check", "spline": "check"}
print("model       promise   inside   rmse   certificate")
for model, promise in promises.items():
    other = VolSurface.fit(quotes, model=model, no_arbitrage=promise)
    met, proof = other.diagnostics, other.certificate
    held = "holds" if proof.ok else "FAILS"
    print(f"{model:11s} {promise:7s} {met.inside_spread:8.1%} {met.rmse:6.2f}   {proof.kind}, {held}")

# %% [markdown]
# ## The evidence
#
# A certificate is a value. `exact` means proved on the whole line, not looked at on a grid. We look all the same: g at
# 8,001 points of every slice, and the order of total variance of every neighbouring pair.

# %%
certificate = surface.certificate
print("certificate:", certificate)
k = np.linspace(-4.0, 4.0, 8001)
smiles = [smile for smile in surface.smiles if smile is not None]
print("smallest g on the grid:", min(float(smile.durrleman_g(k).min()) for smile in smiles))
gaps = np.diff([smile.total_variance(k) for smile in smiles], axis=0)
print("smallest rise of total variance to the next expiry:", gaps.min(initial=np.inf))

# %%
keep(plots.total_variance(surface, **words), "total_variance")

# %%
keep(plots.durrleman_g(surface, **words), "durrleman_g")

# %% [markdown]
# ## What the market thinks
#
# Without butterfly arbitrage the smile is a distribution of the price at expiry, with quantiles.

# %%
levels = [0.05, 0.25, 0.5, 0.75, 0.95]
print("price at expiry not exceeded with", *(f"{level:9.0%}" for level in levels))
for smile in smiles:
    print(f"{365 * smile.ttm:26.2f} days    ", *(f"{price:9,.0f}" for price in quantile(smile, levels)))

# %%
keep(plots.density(surface, **words), "density")

# %% [markdown]
# ## Along time
#
# Volatility at the money by expiry, and what lies between two expiries. A forward volatility that stands out is an
# event, or a weekend. Constant maturities, variance swaps and a 30-day index come from the same surface.

# %%
for days in (7, 30, 90):
    ttm = days / 365
    print(
        f"{days:3d} days: ATM {surface.atm(ttm):.2%}, 25-delta risk reversal {surface.risk_reversal(0.25, ttm):+.2%}, "
        f"butterfly {surface.butterfly(0.25, ttm):+.2%}, variance swap {surface.variance_swap(ttm) ** 0.5:.2%}"
    )
print(f"30-day index {surface.vol_index():.2%}")
keep(plots.term_structure(surface, **words), "term_structure")

# %% [markdown]
# Dupire's local volatility, the one diffusion that agrees with all of these smiles; and the surface as a whole.

# %%
keep(plots.local_vol(surface, **words), "local_vol")

# %%
keep(plots.surface_3d(surface, **words), "surface_3d")

# %% [markdown]
# ## Through time
#
# Later chains update the surface: a warm fit of the slices that moved, certified again. Risk reversals and butterflies
# at a constant maturity of 30 days do not see strikes come and expiries go.

# %%
history = [(now_ns, surface)]
for chain in chains[1:]:
    last = history[-1][1]
    if len(chain.quotes) == len(last.slices):
        history.append((chain.now_ns, last.updated_many(dict(enumerate(chain.quotes)))))
    else:  # one has expired, or is new
        history.append((chain.now_ns, VolSurface.fit(chain.quotes)))
print("certified, all of them:", all(later.certificate.ok for _, later in history))
keep(plots.skew_history(history, underlying=words["underlying"]), "skew_history")

# %% [markdown]
# ## Smoothed
#
# A fit follows every quote, and so it trembles with them. A smoother averages the curve, never the parameters, and what
# it gives is certified again: the level follows with the half-life, the shape more slowly where quotes tell little. A
# move that is larger than the quotes' error is news, and comes through at once.

# %%
smoother = SurfaceSmoother(half_life=60.0)
smoothed, last_ns = [], now_ns
for at_ns, raw in history:
    smoothed.append((at_ns, smoother.update(raw, (at_ns - last_ns) / 1e9)))
    last_ns = at_ns
print("certified, the smoothed ones too:", all(later.certificate.ok for _, later in smoothed))
keep(plots.raw_and_smoothed(history, smoothed, underlying=words["underlying"]), "raw_and_smoothed")

# %% [markdown]
# ## A scenario
#
# The spot falls by a tenth, vols rise by five points and puts grow dearer, all at once, and the result is certified
# like any other surface: a scenario that nobody could lock a profit in.

# %%
shocked = surface.shocked(spot=-0.10, vol=0.05, skew=-0.02)
print("the shocked surface:", shocked.certificate)
labels = ("today", "spot -10 %, vol +5, skew -2")
keep(plots.before_and_after(surface, shocked, labels=labels, **words), "before_and_after")

# %% [markdown]
# Every plot also comes as a plotly figure, with the numbers under the pointer.

# %%
page = options.pictures / "surface_3d.html"
plots.surface_3d(surface, backend="plotly", **words).write_html(page, include_plotlyjs=True)
print("page", page)
