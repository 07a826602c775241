"""Premiums and deltas in other units: the inverse (coin-settled) option, and every named delta form.

An inverse option pays max(cp·(S − K), 0)/S coins. Its premium in coin times the forward is the premium V in quote
currency per coin that Black's formula gives; strikes, forwards and V stay in quote currency. All forms are linear in
(V, delta, vega), so discounted Greeks give discounted forms. `docs/conventions.md` lists them.
"""

from __future__ import annotations

import math

from pricer.kernels.jit import inlined


@inlined
def premium_to_quote(premium: float, forward: float, inverse: bool) -> float:
    """A premium in settlement currency, in quote currency: times the forward for an inverse option, else as it is."""
    return premium * forward if inverse else premium


@inlined
def premium_to_settlement(value: float, forward: float, inverse: bool) -> float:
    """A premium in quote currency, in settlement currency: over the forward for an inverse option, else as it is."""
    return value / forward if inverse else value


@inlined
def delta_premium_adjusted(delta: float, value: float, forward: float) -> float:
    """delta − V/F = F·d(V/F)/dF: the "net transaction" delta, for one who keeps the premium in coin."""
    return delta - value / forward


@inlined
def delta_coin(delta: float, value: float, forward: float) -> float:
    """d(V/F)/dF: coins gained per unit of the forward."""
    return (delta - value / forward) / forward


@inlined
def delta_cash(delta: float, forward: float) -> float:
    """delta·F: the quote-currency notional that hedges the premium in quote currency."""
    return delta * forward


@inlined
def delta_cash_premium_adjusted(delta: float, value: float, forward: float) -> float:
    """delta_premium_adjusted·F = delta·F − V: the inverse-future notional that hedges the coin profit and loss."""
    return delta * forward - value


@inlined
def delta_spot(delta: float, forward: float, spot: float) -> float:
    """delta·F/S: dV/dS at fixed carry F/S; NaN without a positive spot."""
    return delta * forward / spot if spot > 0.0 else math.nan


@inlined
def vega_coin(vega: float, forward: float) -> float:
    """vega/F: coins gained per 1.0 of volatility at fixed forward."""
    return vega / forward
