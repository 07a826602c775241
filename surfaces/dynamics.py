"""How a smile moves with the market, as rules, and the Greeks that follow from each rule.

An option's volatility σ(K) is read off a smile s(k), k = ln(K/F). When the market moves, a rule says what becomes of
it. With x = ln(F′/F), v a parallel shift of the vols, T′ another time to maturity and k′ = ln(K/F′):

    sticky_strike        σ′ = s(k) + v
    sticky_moneyness     σ′ = s(k′) + v
    sticky_delta         σ′ = f(d1′) + v,  f: the old smile as a function of d1, and d1′ that of (k′, σ′, T′)
    minimum_variance     σ′ = λ·s(k′/λ) + v,  λ = 1 + 2·x·s′(0)/s(0)

(The first two are in Derman 1999, "Regimes of volatility".) Only sticky_delta changes σ as time passes.

Sticky delta holds σ at the forward delta Φ(d1). A move of the forward leaves the smile itself as it is, so each k keeps
its σ and hence its d1: there the rule *is* sticky moneyness. It differs where σ or T move, since d1 depends on them. d1
falls in strike on a smile without butterfly arbitrage (Fukasawa 2012, "The normalizing transformation of the implied
volatility smile"), so f exists.

Minimum variance is the delta that leaves the hedged position the least variance: it counts the move of volatility that
is to be expected given the move of the forward. In a stochastic-volatility model that is Bartlett's delta (Bartlett
2006, "Hedging under SABR model"; Hagan and Lesniewski 2017, arXiv 1704.03110). Here it is that of lognormal SABR to
leading order in T, where both halves can be read off the smile: s(k) = α·h(k/α) with s′(0) = ½·ρν, and α is expected
to move by ρν·x = 2·s′(0)·x. So the at-the-money vol moves by twice the skew times x, and the strike's own vol by

    dσ/dx = 2·s′(0)/s(0)·(s − k·s′) − s′,      at k = 0: +s′(0)

which at the money is also what a local-volatility model says (Derman, Kani and Zou 1996) and what SABR says for any
backbone. s′(0) stays as it is, so two moves in a row are the rule's one move by their sum. What it is not: fitted to
how volatility has moved. Hull and White (2017, "Optimal delta hedging for options") fit three numbers to a market's
history instead. And the factor 2 is the limit for short expiries; in models of this kind it falls towards 1 as the
expiry grows (Bergomi 2009, "Smile dynamics IV").

Greeks under a rule are total derivatives: with subscripts for derivatives of σ at fixed strike,

    delta = delta_BS + vega·σ_F          gamma = gamma_BS + 2·vanna·σ_F + volga·σ_F² + vega·σ_FF

and, which differ from Black's under sticky_delta alone, vega·σ_v and theta − vega·σ_T. The other ten are Black's
partial derivatives at σ(K) under every rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pricer import columns, conventions
from pricer.kernels.black76 import GREEKS, greeks_chain
from pricer.surfaces.smile import Array, like_input

Dynamics: TypeAlias = conventions.Dynamics
DYNAMICS: tuple[Dynamics, ...] = conventions.DYNAMICS

# The ratio of the at-the-money vol's move to skew·x in the minimum-variance rule ("skew-stickiness ratio").
SKEW_STICKINESS = 2.0

_DOUBLINGS = 60  # of a bracket, until no point of the smile can come to lie at a strike
_HALVINGS = 120  # of it, from there to the last bit
_AT_STRIKE = 1e-9  # how near a found point must come to lie to its strike


class Curve(Protocol):
    """What is read of a smile, and all that another model needs to have rules and Greeks of its own here."""

    @property
    def ttm(self) -> float: ...
    @property
    def forward(self) -> float: ...
    def total_variance(self, k: npt.ArrayLike) -> Array: ...
    def dw(self, k: npt.ArrayLike) -> Array: ...
    def d2w(self, k: npt.ArrayLike) -> Array: ...


class IvMoves(NamedTuple):
    """Derivatives of σ at fixed strike under a rule: in the forward (first and second), in v and in the ttm."""

    d_forward: Array
    d2_forward: Array
    d_vol: Array
    d_ttm: Array


@dataclass(frozen=True, slots=True)
class SmileGreeks:
    """The fourteen Greeks of `pricer.Greeks`, each times discount, under the rule `dynamics`.

    delta, gamma (in the forward), vega (in a parallel shift of the vols) and theta (minus the ttm-derivative) are total
    derivatives under that rule; vega and theta differ from Black's under sticky_delta only. The rest are Black's.
    """

    dynamics: Dynamics
    price: Array
    delta: Array
    gamma: Array
    vega: Array
    theta: Array
    rho: Array
    vanna: Array
    volga: Array
    charm: Array
    veta: Array
    speed: Array
    zomma: Array
    color: Array
    ultima: Array


def checked(dynamics: str) -> Dynamics:
    """`dynamics` if it is one; ValueError naming it otherwise."""
    if dynamics not in DYNAMICS:
        raise ValueError(f"unknown dynamics {dynamics!r}; there are {', '.join(map(repr, DYNAMICS))}")
    return dynamics


def smile_greeks(
    smile: Curve, strikes: npt.ArrayLike, cp: columns.Signs, discount: npt.ArrayLike, dynamics: Dynamics
) -> SmileGreeks:
    """The Greeks of options on a smile; strikes, cp and discount broadcast, and scalars in give scalars out.

    NaN where the strike is not positive or the smile has no vol. A ValueError names an unknown rule or cp.
    """
    checked(dynamics)
    strikes = np.asarray(strikes, dtype=np.float64)
    sigma = moved_iv(smile, strikes, "sticky_strike")
    values, _ = columns.derived(greeks_chain, len(GREEKS), (smile.forward, strikes, smile.ttm, sigma), cp, discount)
    greeks = dict(zip(GREEKS, values, strict=True))
    if dynamics != "sticky_strike":
        moves = iv_moves(smile, strikes, dynamics)
        adjusted = _adjusted(greeks, moves)
        greeks |= {name: float(value) if value.shape == () else value for name, value in adjusted.items()}
    return SmileGreeks(dynamics, **greeks)


def _adjusted(black: dict[str, Array], moves: IvMoves) -> dict[str, Array]:
    first, second, d_vol, d_ttm = moves
    vega = black["vega"]
    return {
        "delta": np.asarray(black["delta"] + vega * first),
        "gamma": np.asarray(
            black["gamma"] + 2.0 * black["vanna"] * first + black["volga"] * first * first + vega * second
        ),
        "vega": np.asarray(vega * d_vol),
        "theta": np.asarray(black["theta"] - vega * d_ttm),
    }


def iv_moves(smile: Curve, strikes: npt.ArrayLike, dynamics: Dynamics) -> IvMoves:
    """How fast the σ of each strike moves under a rule; NaN where the smile has no vol there."""
    checked(dynamics)
    strikes = np.asarray(strikes, dtype=np.float64)
    k, root_ttm, forward = _k(smile, strikes, smile.forward), math.sqrt(smile.ttm), smile.forward
    s, slope, bend = _sigma(smile, k)
    nothing = 0.0 * s
    in_x = in_xx = d_ttm = nothing
    d_vol = 1.0 + nothing
    if dynamics != "sticky_strike":
        pull = level_pull(smile, dynamics)
        in_x = pull * (s - k * slope) - slope
        in_xx = bend * (1.0 + pull * k) ** 2
    if dynamics == "sticky_delta":
        # Differentiate σ′ = f(d1′) + v, where f is known by f(d1(k, s(k))) = s(k).
        d2 = -k / (s * root_ttm) - 0.5 * s * root_ttm
        d_vol = 1.0 + slope * d2 * root_ttm
        d_ttm = slope * d2 * s / (2.0 * root_ttm)
    moves = in_x / forward, (in_xx - in_x) / forward**2, d_vol, d_ttm
    return IvMoves(*(like_input(move, strikes.shape) for move in moves))


def moved_iv(
    smile: Curve,
    strikes: npt.ArrayLike,
    dynamics: Dynamics,
    *,
    forward: float | None = None,
    ttm: float | None = None,
    vol: float = 0.0,
) -> Array:
    """σ of each strike by the rule, after the forward and ttm have become these and all vols have risen by `vol`.

    Of finite moves, in one step. NaN where the rule gives no volatility (a strike, `forward` or `ttm` that is not
    positive, a vol that falls to zero, a `minimum_variance` move that takes the at-the-money vol below zero).
    """
    checked(dynamics)
    strikes = np.asarray(strikes, dtype=np.float64)
    forward, ttm = smile.forward if forward is None else forward, smile.ttm if ttm is None else ttm
    if not (forward > 0.0 and ttm > 0.0 and smile.forward > 0.0):
        return like_input(np.full(strikes.size, math.nan), strikes.shape)
    k = _k(smile, strikes, smile.forward if dynamics == "sticky_strike" else forward)
    if dynamics == "sticky_delta":
        sigma = _at_equal_delta(smile, k, ttm, vol)
    else:
        level = 1.0 + level_pull(smile, dynamics) * math.log(forward / smile.forward)
        level = level if level > 0.0 else math.nan
        sigma = level * _sigma(smile, k / level)[0] + vol
    return like_input(np.where(sigma > 0.0, sigma, math.nan), strikes.shape)


def level_pull(smile: Curve, dynamics: Dynamics) -> float:
    """dλ/dx: the share by which a rise of the log forward moves the at-the-money vol at equal k."""
    if dynamics != "minimum_variance":
        return 0.0
    s, slope, _ = _sigma(smile, np.zeros(1))
    return SKEW_STICKINESS * float(slope[0] / s[0])


def _k(smile: Curve, strikes: Array, forward: float) -> Array:
    flat = strikes.reshape(-1)
    return np.asarray(np.log(np.where(flat > 0.0, flat, math.nan) / forward))


def _sigma(smile: Curve, k: Array) -> tuple[Array, Array, Array]:
    """(s, s′, s″) at each k; NaN where w is not positive."""
    w = np.asarray(smile.total_variance(k))
    s = np.sqrt(np.where(w > 0.0, w, math.nan) / smile.ttm)
    slope = np.asarray(smile.dw(k)) / (2.0 * s * smile.ttm)
    bend = (np.asarray(smile.d2w(k)) / smile.ttm - 2.0 * slope * slope) / (2.0 * s)
    return s, slope, bend


def _at_equal_delta(smile: Curve, k: Array, ttm: float, vol: float) -> Array:
    """σ at each k after a move of vol and time under sticky delta.

    A point of the old smile keeps its d1 while its σ and √T grow, together by `stretch`: its k becomes
    stretch·k + stretch·(stretch − 1)·w/2. Which point comes to lie at k is found by halving.
    """

    def moved(old: Array) -> tuple[Array, Array]:
        w = np.asarray(smile.total_variance(old))
        w = np.where(w > 0.0, w, math.nan)
        s = np.sqrt(w / smile.ttm)
        sigma = np.where(s + vol > 0.0, s + vol, math.nan)
        stretch = sigma / s * math.sqrt(ttm / smile.ttm)
        return stretch * old + 0.5 * stretch * (stretch - 1.0) * w, sigma

    step = np.maximum(np.abs(k), 0.1)
    low, high = k - step, k + step
    for _ in range(_DOUBLINGS):
        low_misses, high_misses = moved(low)[0] > k, moved(high)[0] < k
        if not (low_misses.any() or high_misses.any()):
            break
        step = 2.0 * step
        low, high = np.where(low_misses, low - step, low), np.where(high_misses, high + step, high)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        left = moved(middle)[0] < k
        low, high = np.where(left, middle, low), np.where(left, high, middle)
    lies, sigma = moved(high)
    return np.where(np.abs(lies - k) <= _AT_STRIKE * (1.0 + np.abs(k)), sigma, math.nan)
