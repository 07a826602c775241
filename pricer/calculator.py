"""What `volstream price` prints: one option's premium, Greeks, delta forms or implied volatility."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import pricer
from pricer.clock import SystemClock
from pricer.conventions import ttm_years
from pricer.kernels.status import KernelStatus
from pricer.snapshot import GREEK_FIELDS


@dataclass(frozen=True)
class Calculation:
    """One option: what was given and what follows. Values are NaN, and `status` says why, where there is none."""

    forward: float
    strike: float
    ttm: float
    cp: int
    discount: float
    inverse: bool
    sigma: float
    status: KernelStatus
    values: dict[str, float]

    @property
    def is_priced(self) -> bool:
        """Is there a volatility, and so a price? At intrinsic there is: zero."""
        return self.status in (KernelStatus.OK, KernelStatus.AT_INTRINSIC)

    @property
    def bounds(self) -> str:
        """What a premium must lie between, in its own currency."""
        low = self.discount * max(self.cp * (self.forward - self.strike), 0.0)
        high = self.discount * (self.forward if self.cp > 0 else self.strike)
        unit = self.forward if self.inverse else 1.0
        return f"it must lie between {low / unit:.10g} and {high / unit:.10g}"

    def as_text(self) -> str:
        """For people: eight significant digits, scaled values beside the raw ones."""
        kind = "call" if self.cp > 0 else "put"
        lines = [
            f"{kind} of strike {self.strike:,.10g} on a forward of {self.forward:,.10g},"
            f" {self.ttm:.6f} years ({self.ttm * 365:.4g} days)",
            f"{'volatility':<28}{_shown(self.sigma)}   {self.status.name}",
        ]
        if not self.is_priced:
            return "\n".join(lines)
        lines += [f"{name.replace('_', ' '):<28}{_shown(value)}" for name, value in self.values.items()]
        return "\n".join(lines)

    def as_json(self) -> str:
        """All digits; null where there is no value."""
        given = {
            "forward": self.forward,
            "strike": self.strike,
            "ttm": self.ttm,
            "cp": self.cp,
            "discount": self.discount,
            "inverse": self.inverse,
        }
        found = {"sigma": self.sigma, **self.values}
        numbers = {name: None if math.isnan(value) else value for name, value in found.items()}
        return json.dumps({**given, "status": self.status.name, **numbers}, indent=2)


def years_until(expiry_ns: int, now_ns: int | None) -> float:
    """Time to expiry from `now_ns`, by default from this moment; negative after it."""
    return ttm_years(expiry_ns, SystemClock().now().wall_ns if now_ns is None else now_ns)


def calculate(
    forward: float,
    strike: float,
    ttm: float,
    cp: int,
    discount: float,
    *,
    sigma: float | None,
    premium: float | None,
    inverse: bool,
) -> Calculation:
    """Price at `sigma`, or at the volatility that `premium` implies (in coin where `inverse`)."""
    status = None
    if sigma is None:
        assert premium is not None
        value = premium * forward if inverse else premium
        iv, code = pricer.implied_vol(value, forward, strike, ttm, cp, discount, status=True)
        sigma, status = float(iv), KernelStatus(int(code))
    greeks, code = pricer.greeks(forward, strike, ttm, sigma, cp, discount, status=True)
    if status is None:
        status = KernelStatus(int(code))
    raw = {name: float(getattr(greeks, name)) for name in GREEK_FIELDS}
    values = {"price": raw["price"]}
    if inverse:
        values["premium_in_coin"] = raw["price"] / forward
    values |= {name: raw[name] for name in GREEK_FIELDS if name != "price"}
    values |= {"vega_per_point": raw["vega"] / 100, "theta_per_day": raw["theta"] / 365}
    if inverse:
        adjusted = raw["delta"] - raw["price"] / forward
        values |= {
            "delta_premium_adjusted": adjusted,
            "delta_coin": adjusted / forward,
            "vega_coin": raw["vega"] / forward,
        }
    return Calculation(forward, strike, ttm, cp, discount, inverse, sigma, status, values)


def _shown(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.8g}"
