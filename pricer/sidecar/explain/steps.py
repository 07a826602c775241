"""The steps from an option's inputs to its numbers: formulas, each with what goes into it and what comes out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pricer.conventions import NS_PER_YEAR, Dynamics
from pricer.sidecar.explain.option import Option
from pricer.sidecar.explain.smile import params_of
from pricer.sidecar.messages import Head
from pricer.surfaces.dynamics import iv_moves, level_pull
from pricer.surfaces.smile import Smile
from pricer.surfaces.svi import SviSmile


@dataclass(frozen=True, slots=True)
class Step:
    """`value` is what `formula` gives of `inputs`; `field` is the published column that it is, if one."""

    symbol: str
    formula: str
    inputs: Mapping[str, float]
    value: float
    field: str = ""

    def told(self, option: Option) -> Head:
        """As it stands in the answer."""
        out: Head = {"symbol": self.symbol, "formula": self.formula, "inputs": dict(self.inputs), "value": self.value}
        return out | ({"field": self.field, "published": option.published(self.field)} if self.field else {})


def steps(option: Option) -> list[Step]:
    """From log-moneyness to the delta forms, as far as there are numbers."""
    block = option.piece.block
    forward, ttm, iv = block.forward.value, block.ttm, option.raw("iv")
    if not (forward > 0.0 and ttm > 0.0):
        return []
    k = math.log(option.strike / forward)
    out = [
        Step("T", "(expiry_ns - priced_ns)/year_ns", _instants(option), ttm),
        Step("k", "ln(K/F)", {"K": option.strike, "F": forward}, k),
    ]
    if not math.isfinite(iv):
        return out
    out += _volatility(option, k, iv)
    return out + _black(option, k, iv)


def _instants(option: Option) -> dict[str, float]:
    block = option.piece.block
    return {"expiry_ns": block.key.expiry_ns, "priced_ns": block.computed.wall_ns, "year_ns": NS_PER_YEAR}


def _volatility(option: Option, k: float, iv: float) -> list[Step]:
    """Total variance and volatility: of the smile, or the option's own."""
    block = option.piece.block
    if option.has_own_volatility:
        own = Step("iv", "mid_iv: no smile is determined here", {"mid_iv": option.raw("mid_iv")}, iv, "iv")
        return [own, Step("w", "iv^2*T", {"iv": iv, "T": block.ttm}, iv * iv * block.ttm)]
    params = params_of(block.fit, block.forward.value, block.ttm)
    assert block.fit is not None
    assert block.fit.smile is not None
    w = float(block.fit.smile.at(block.forward.value, block.ttm).total_variance(k))
    formula = "a + b*(rho*(k - m) + sqrt((k - m)^2 + sigma^2))" if params else "the model's total variance at k"
    return [
        Step("w", formula, {"k": k} | dict(params or {}), w),
        Step("iv", "sqrt(w/T)", {"w": w, "T": block.ttm}, iv, "iv"),
    ]


def _black(option: Option, k: float, iv: float) -> list[Step]:
    """Black-76 at that volatility, and what is made of it."""
    block = option.piece.block
    forward, strike, cp, root = block.forward.value, option.strike, option.cp, math.sqrt(block.ttm)
    s = iv * root
    d1 = -k / s + 0.5 * s
    d2 = d1 - s
    value, delta = option.raw("price"), option.raw("delta")
    base = {"F": forward, "d1": d1, "T": block.ttm}
    price = {"cp": cp, "F": forward, "K": strike, "d1": d1, "d2": d2}
    theo, theo_inputs = ("V/F", {"V": value, "F": forward}) if block.definition.inverse else ("V", {"V": value})
    out = [
        Step("s", "iv*sqrt(T)", {"iv": iv, "T": block.ttm}, s),
        Step("d1", "-k/s + s/2", {"k": k, "s": s}, d1),
        Step("d2", "d1 - s", {"d1": d1, "s": s}, d2),
        Step("V", "cp*(F*N(cp*d1) - K*N(cp*d2))", price, value, "price"),
        Step("theo", theo, theo_inputs, option.raw("theo"), "theo"),
    ]
    rule, smile = option.snapshot.convention.dynamics, _smile(option)
    if rule == "sticky_strike" or smile is None:
        out += [
            Step("delta", "cp*N(cp*d1)", {"cp": cp, "d1": d1}, delta, "delta"),
            Step("gamma", "n(d1)/(F*s)", {"F": forward, "d1": d1, "s": s}, option.raw("gamma"), "gamma"),
            Step("vega", "F*n(d1)*sqrt(T)", base, option.raw("vega"), "vega"),
            Step("theta", "-F*n(d1)*iv/(2*sqrt(T))", base | {"iv": iv}, option.raw("theta"), "theta"),
        ]
    else:
        out += _under_a_rule(option, smile, rule, {"k": k, "s": s, "d1": d1, "d2": d2, "iv": iv})
    return out + _forms(option, value, delta)


def _smile(option: Option) -> SviSmile | None:
    """What the Greeks follow, where there is a rule for that."""
    block = option.piece.block
    return None if block.fit is None or block.fit.svi is None else block.fit.svi.at(block.forward.value, block.ttm)


def _under_a_rule(option: Option, smile: SviSmile, rule: Dynamics, at: dict[str, float]) -> list[Step]:
    """Delta, gamma, vega and theta as total derivatives: `pricer.surfaces.dynamics` has the rules."""
    forward, ttm, root = smile.forward, smile.ttm, math.sqrt(smile.ttm)
    k, s, d1, d2, iv = (at[name] for name in ("k", "s", "d1", "d2", "iv"))
    moves = iv_moves(smile, option.strike, rule)
    vol, slope, bend = _derivatives(smile, k)
    density = math.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi)
    vega = forward * density * root
    pull = level_pull(smile, rule)
    shape = {"s_k": vol, "s1": slope, "k": k, "pull": pull, "F": forward}
    first, second = float(moves.d_forward), float(moves.d2_forward)
    vanna, volga = -density * d2 / iv, vega * d1 * d2 / iv
    black = {"F": forward, "s": s, "d1": d1, "vanna": vanna, "volga": volga, "vega_black": vega}
    rules = {"x1": first, "x2": second}
    out = [
        Step("x1", "(pull*(s_k - k*s1) - s1)/F: the volatility's move with the forward", shape, first),
        Step("x2", "(s2*(1 + pull*k)^2 - x1*F)/F^2", shape | {"s2": bend, "x1": first}, second),
        Step("vega_black", "F*n(d1)*sqrt(T)", {"F": forward, "d1": d1, "T": ttm}, vega),
        Step("vanna", "-n(d1)*d2/iv", {"d1": d1, "d2": d2, "iv": iv}, vanna, "vanna"),
        Step("volga", "vega_black*d1*d2/iv", {"vega_black": vega, "d1": d1, "d2": d2, "iv": iv}, volga, "volga"),
        Step(
            "delta", "cp*N(cp*d1) + vega_black*x1",
            {"cp": option.cp, "d1": d1, "vega_black": vega, "x1": first}, option.raw("delta"), "delta",
        ),
        Step(
            "gamma", "n(d1)/(F*s) + 2*vanna*x1 + volga*x1^2 + vega_black*x2",
            black | rules, option.raw("gamma"), "gamma",
        ),
    ]  # fmt: skip
    in_vol, in_ttm = float(moves.d_vol), float(moves.d_ttm)
    time = {"F": forward, "d1": d1, "iv": iv, "T": ttm, "vega_black": vega, "xt": in_ttm}
    out.append(Step("vega", "vega_black*xv", {"vega_black": vega, "xv": in_vol}, option.raw("vega"), "vega"))
    decay = "-F*n(d1)*iv/(2*sqrt(T)) - vega_black*xt"
    return [*out, Step("theta", decay, time, option.raw("theta"), "theta")]


def _derivatives(smile: Smile, k: float) -> tuple[float, float, float]:
    """(s, s', s'') of s(k) = sqrt(w/T)."""
    w, dw, d2w = (float(of(k)) for of in (smile.total_variance, smile.dw, smile.d2w))
    s = math.sqrt(w / smile.ttm)
    slope = dw / (2.0 * s * smile.ttm)
    return s, slope, (d2w / smile.ttm - 2.0 * slope * slope) / (2.0 * s)


def _forms(option: Option, value: float, delta: float) -> list[Step]:
    """Every delta form, from V and delta."""
    forward = option.piece.block.forward.value
    of_all = {"delta": delta, "V": value, "F": forward}
    forms = {
        "delta_premium_adjusted": "delta - V/F",
        "delta_coin": "(delta - V/F)/F",
        "delta_cash_premium_adjusted": "delta*F - V",
    }
    out = [Step(name, formula, of_all, option.raw(name), name) for name, formula in forms.items()]
    cash = {"delta": delta, "F": forward}
    out.append(Step("delta_cash", "delta*F", cash, option.raw("delta_cash"), "delta_cash"))
    spot_form = option.raw("delta_spot")
    if math.isfinite(spot_form) and spot_form != 0.0:
        # The index of the pricing: the newest one may have moved by less than re-prices anything.
        spot = delta * forward / spot_form
        out.append(Step("delta_spot", "delta*F/S", cash | {"S": spot}, spot_form, "delta_spot"))
    return out
