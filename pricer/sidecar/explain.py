"""How one option's numbers came about: every input, and every step from them, such that a reader can redo it by hand.

Each step is a formula, what goes into it, and what comes out, in full doubles; where the result is a published field,
that stands beside it as it was published, rounded. A test redoes all of it with fifty digits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pricer.clock import Instant
from pricer.conventions import NO_TIME, NS_PER_YEAR, Dynamics, Reason, Status
from pricer.sidecar import moment
from pricer.sidecar.meanings import MEANINGS
from pricer.sidecar.messages import Head
from pricer.sidecar.moment import or_none
from pricer.sidecar.slices import Slice
from pricer.snapshot import FIELD_INDEX, ROW_PAIR, STATUS_PAIRS, Snapshot
from pricer.surfaces.dynamics import iv_moves, level_pull
from pricer.surfaces.quotes import HIGH, LOW, WEIGHT, WIDTH, K, Role
from pricer.surfaces.slices import SurfaceSlice
from pricer.surfaces.smile import Smile
from pricer.surfaces.svi import SviSmile

# The delta that `delta` is, and where the others come from; docs/conventions.md has them all.
DELTA = "dV/dF, undiscounted, V in quote currency per coin; the other forms follow from it in the steps"


@dataclass(frozen=True, slots=True)
class Option:
    """One row of a picture."""

    snapshot: Snapshot
    piece: Slice
    row: int
    digits: int

    def raw(self, name: str) -> float:
        """A field as it was computed, before rounding."""
        return float(self.piece.block.values[FIELD_INDEX[name], self.row])

    def published(self, name: str) -> float | None:
        """A field as it is published."""
        return or_none(float(self.piece.values[FIELD_INDEX[name], self.row]))

    @property
    def strike(self) -> float:
        return float(self.piece.block.definition.strike[self.row])

    @property
    def cp(self) -> int:
        return int(self.piece.block.definition.cp[self.row])

    @property
    def has_own_volatility(self) -> bool:
        """Is `iv` the option's own mid, since no curve is determined?"""
        fit = self.piece.block.fit
        determined = fit is not None and fit.smile is not None and fit.determined
        return not determined and self.raw("iv") == self.raw("mid_iv")


def explanation(option: Option, now: Instant) -> Head:
    """The whole of it, at the moment of the picture."""
    block = option.piece.block
    return {
        "convention": {
            "delta": DELTA,
            "dynamics": option.snapshot.convention.dynamics,
            "settlement": "inverse" if block.definition.inverse else "linear",
            "discount": 1.0,
        },
        "forward": moment.forward(block.forward, now, option.digits) | {"used": or_none(block.forward.value)},
        "time": {
            "rule": "ttm = (expiry_ns - priced_ns) / year_ns: ACT/365, continuous, never whole days",
            "expiry_ns": block.key.expiry_ns,
            "priced_ns": block.computed.wall_ns,
            "year_ns": NS_PER_YEAR,
            "ttm": block.ttm,
        },
        "surface": _surface(option, now),
        "quotes": _quotes(option),
        "steps": [step.told(option) for step in steps(option)],
        "why": _why(option, now),
    }


# ---- the surface and the quotes in it


def _surface(option: Option, now: Instant) -> Head | None:
    """The smile of the expiry at the forward and time of the pricing; None where there is none."""
    block, fit = option.piece.block, option.piece.block.fit
    surface = option.snapshot.surface
    if fit is None or fit.smile is None:
        return None
    return {
        "version": None if surface is None else surface.version,
        "model": "svi" if fit.svi is not None else type(fit.smile).__name__,
        "params": _params(block.fit, block.forward.value, block.ttm),
        "fitted_ns": None if block.fitted is None else block.fitted.wall_ns,
        "fit_age_ns": None if block.fitted is None else now.mono_ns - block.fitted.mono_ns,
        "path": fit.diagnostics.path,
        "determined": fit.determined,
        "k_min": or_none(fit.k_min),
        "k_max": or_none(fit.k_max),
        "status": fit.status.name,
        "reasons": list(fit.reasons.names),
    }


def _params(fit: SurfaceSlice | None, forward: float, ttm: float) -> Mapping[str, float] | None:
    """Raw SVI at this forward and time; None for another model."""
    if fit is None or fit.svi is None or not (forward > 0.0 and ttm > 0.0):
        return None
    params: Mapping[str, float] = fit.svi.at(forward, ttm).params._asdict()
    return params


def _quotes(option: Option) -> Head:
    """Which quotes of the expiry entered its smile, how, and with what weight."""
    fit = option.piece.block.fit
    used = [] if fit is None else list(_used(option, fit))
    return {
        "observations": used,
        "own_role": _own_role(option),
        "note": "bid_iv and ask_iv are made at the forward of each quote's own instant; width and weight as fitted",
    }


def selection_is_of(option: Option, fit: SurfaceSlice) -> bool:
    """Do the rows that a fit remembers still stand for the same options? Not after strikes were listed since."""
    definition, chosen = option.piece.block.definition, fit.selection
    if chosen.role.size != len(definition) or not chosen.row.size:
        return False
    strikes = np.unique(definition.strike)
    nearest = strikes[np.abs(np.log(strikes[:, None] / fit.forward) - chosen.observations[:, K]).argmin(axis=0)]
    return bool(np.mean(nearest == definition.strike[chosen.row]) > 0.5)


def _used(option: Option, fit: SurfaceSlice) -> Iterator[Head]:
    if not selection_is_of(option, fit):
        return
    definition, chosen = option.piece.block.definition, fit.selection
    for at, row in enumerate(chosen.row.tolist()):
        seen = chosen.observations[at]
        yield {
            "name": definition.names[row],
            "role": Role(int(chosen.role[row])).name.lower(),
            "k": float(seen[K]),
            "bid_iv": or_none(float(seen[LOW])),
            "ask_iv": or_none(float(seen[HIGH])),
            "width": float(seen[WIDTH]),
            "weight": float(seen[WEIGHT]),
            "reasons": list(Reason(int(chosen.reasons[row])).names),
        }


def _own_role(option: Option) -> Head | None:
    """What became of this option's own quote; None where that is not known."""
    fit = option.piece.block.fit
    if fit is None or not selection_is_of(option, fit):
        return None
    chosen = fit.selection
    reasons = Reason(int(chosen.reasons[option.row]))
    return {"role": Role(int(chosen.role[option.row])).name.lower(), "reasons": list(reasons.names)}


# ---- the steps


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
    params = _params(block.fit, block.forward.value, block.ttm)
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


# ---- why not OK


def _why(option: Option, now: Instant) -> list[Head]:
    """For each status that is not OK: the reasons in words, with what they were decided on."""
    out = []
    for pair, name in enumerate(STATUS_PAIRS):
        status = Status(int(option.piece.status[pair, option.row]))
        reasons = Reason(int(option.piece.reasons[pair, option.row]))
        if status != Status.OK:
            because = [
                {"reason": reason.name, "means": MEANINGS[reason], "evidence": _evidence(option, reason, now)}
                for reason in Reason
                if reason in reasons
            ]
            out.append(
                {"of": "iv, theo, Greeks" if pair == ROW_PAIR else name, "status": status.name, "because": because}
            )
    return out


def _evidence(option: Option, reason: Reason, now: Instant) -> Head:
    """The numbers behind a reason; empty where the words say all."""
    block, row = option.piece.block, option.row
    quoted = int(block.quote_mono_ns[row])
    forward_age = block.forward.age_ns(now)
    if reason in Reason.ONE_SIDED | Reason.NO_QUOTE | Reason.CROSSED | Reason.LOCKED:
        return {"bid": option.published("bid"), "ask": option.published("ask")}
    if reason == Reason.WIDE_SPREAD:
        return {"bid_iv": option.published("bid_iv"), "ask_iv": option.published("ask_iv")}
    if reason in Reason.QUOTE_STALE | Reason.RESYNCING:
        age = None if quoted == NO_TIME else now.mono_ns - quoted
        return {"quote_age_ns": age, "late_by_ns": _late(int(block.quote_valid_until_ns[row]), now)}
    if reason in Reason.UNDERLYING_STALE | Reason.NO_UNDERLYING | Reason.FORWARD_IMPLIED:
        source = block.forward.source
        return {"source": source, "forward_age_ns": forward_age, "late_by_ns": _late(block.forward.valid_until_ns, now)}
    if reason in Reason.FIT_LAST_GOOD | Reason.FIT_FAILED:
        return {"fit_age_ns": None if block.fitted is None else now.mono_ns - block.fitted.mono_ns}
    if reason == Reason.FIT_UNDERDETERMINED:
        return {"two_sided_strikes": None if block.fit is None else block.fit.selection.mids}
    if reason == Reason.EXTRAPOLATED and block.fit is not None and block.forward.value > 0.0:
        k = math.log(option.strike / block.forward.value)
        return {"k": k, "k_min": or_none(block.fit.k_min), "k_max": or_none(block.fit.k_max)}
    if reason in Reason.SETTLING | Reason.EXPIRED:
        return {"to_expiry_ns": block.key.expiry_ns - now.wall_ns}
    return {}


def _late(valid_until_ns: int, now: Instant) -> int | None:
    """By how much a limit has passed; None where it has not, or there is none."""
    return None if valid_until_ns == NO_TIME or now.mono_ns <= valid_until_ns else now.mono_ns - valid_until_ns
