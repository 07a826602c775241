"""The table of each channel, column by column.

Every column may be absent: not asked for, or in a delta not changed. `FIXED` and `ALWAYS` say what a snapshot
never lacks. The order of the columns is that of the checksum.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pricer.sidecar.schemas.kinds import Instants, Names, ReasonSets, Signs, Statuses, Values


class Model(BaseModel):
    """What all models share. Fields that a reader does not know are to be ignored: newer sidecars send more."""

    # Built when first used: most programs only need the field numbers, not the validators.
    model_config = ConfigDict(extra="allow", defer_build=True)


def column(meaning: str) -> Any:
    """A column that may be absent."""
    return Field(None, description=meaning)


class ChainColumns(Model):
    """Options, a row each, grouped by expiry in the order of `expiries`. docs/conventions.md has the formulas."""

    name: Names = column("the venue's name of the option")
    expiry_ns: Instants = column("expiry, UTC")
    strike: Values = column("strike, quote currency")
    cp: Signs = column("+1 a call, -1 a put")
    bid: Values = column("best bid, settlement currency as the venue quotes it")
    ask: Values = column("best ask, settlement currency")
    bid_size: Values = column("size at the bid, contracts of the venue")
    ask_size: Values = column("size at the ask")
    mark: Values = column("the venue's mark price, settlement currency")
    mark_iv: Values = column("the venue's mark volatility; 0.65 is 65 %")
    bid_iv: Values = column("volatility of the bid")
    ask_iv: Values = column("volatility of the ask")
    mid_iv: Values = column("volatility of the mid; none made from one side")
    iv: Values = column("volatility of the published surface")
    theo: Values = column("the model's premium, settlement currency")
    price: Values = column("the model's value V, quote currency")
    delta: Values = column("dV/dF")
    gamma: Values = column("d2V/dF2")
    vega: Values = column("dV/dsigma, per 1.0 of volatility")
    theta: Values = column("-dV/dT, per year, at fixed forward")
    rho: Values = column("dV/dr at fixed forward")
    vanna: Values = column("d2V/dF dsigma")
    volga: Values = column("d2V/dsigma2")
    charm: Values = column("-d2V/dF dT")
    veta: Values = column("-d2V/dsigma dT")
    speed: Values = column("d3V/dF3")
    zomma: Values = column("d3V/dF2 dsigma")
    color: Values = column("-d3V/dF2 dT")
    ultima: Values = column("d3V/dsigma3")
    delta_premium_adjusted: Values = column("delta - V/F")
    delta_coin: Values = column("(delta - V/F)/F, coins per unit of the forward")
    delta_cash: Values = column("delta*F, quote currency")
    delta_cash_premium_adjusted: Values = column("delta*F - V, quote currency: the notional in inverse futures")
    delta_spot: Values = column("delta*F/S")
    vega_coin: Values = column("vega/F, coins per 1.0 of volatility")
    iv_error: Values = column("how far one price tick moves the volatility")
    bid_iv_status: Statuses = column("of bid_iv")
    bid_iv_reasons: ReasonSets = column("of bid_iv")
    ask_iv_status: Statuses = column("of ask_iv")
    ask_iv_reasons: ReasonSets = column("of ask_iv")
    mid_iv_status: Statuses = column("of mid_iv")
    mid_iv_reasons: ReasonSets = column("of mid_iv")
    status: Statuses = column("of iv, theo and all Greeks")
    reasons: ReasonSets = column("of iv, theo and all Greeks")
    quote_exchange_ns: Instants = column("the exchange's instant of the quote, UTC")
    quote_received_ns: Instants = column("when the quote was received, UTC")
    quote_mono_ns: Instants = column("when the quote was last proved to live, the sidecar's monotonic clock")
    quote_valid_until_ns: Instants = column("past this the quote's numbers are STALE, monotonic")
    tick_size: Values = column("price step, settlement currency")
    min_amount: Values = column("smallest order")
    contract_size: Values = column("coins of one contract")
    settlement_currency: Names = column("what the premium is paid in")
    quote_age_ns: Instants = column("age of the quote; only in HTTP answers")
    forward_age_ns: Instants = column("age of the forward; only in HTTP answers")
    fit_age_ns: Instants = column("age of the smile; only in HTTP answers")


class ForwardColumns(Model):
    """The index, the perpetual and the forward of every expiry, a row each."""

    name: Names = column('"index", "perpetual", or the expiry as "2026-12-25T08:00Z"')
    kind: Names = column("index, perpetual or forward")
    expiry_ns: Instants = column("expiry, UTC; none for index and perpetual")
    ttm: Values = column("time to expiry, years of 365 days")
    value: Values = column("the price, quote currency")
    bid: Values = column("best bid of the perpetual")
    ask: Values = column("best ask of the perpetual")
    funding: Values = column("the perpetual's funding rate as the venue gives it")
    basis: Values = column("ln(forward/index)/ttm, per year")
    parity: Values = column("what put-call parity of the expiry's quotes says")
    parity_error: Values = column("standard error of parity, or of the value where parity is its source")
    parity_gap: Values = column("the venue's forward less parity")
    source: Names = column("venue, basis, parity or none")
    exchange_ns: Instants = column("the exchange's instant, UTC")
    received_ns: Instants = column("when it was received, UTC")
    mono_ns: Instants = column("when it was received, monotonic")
    valid_until_ns: Instants = column("past this it is STALE, monotonic")
    status: Statuses = column("of the row")
    reasons: ReasonSets = column("of the row")


class SurfaceColumns(Model):
    """The smile of every expiry, a row each: w(k) = a + b*(rho*(k - m) + sqrt((k - m)**2 + sigma**2))."""

    expiry_ns: Instants = column("expiry, UTC")
    ttm: Values = column("time to expiry that the parameters belong to, years of 365 days")
    forward: Values = column("the forward that the parameters belong to, quote currency")
    model: Names = column("svi, or another name; none without a smile")
    a: Values = column("raw SVI: level of total variance")
    b: Values = column("raw SVI: slope of the wings")
    rho: Values = column("raw SVI: rotation, in (-1, 1)")
    m: Values = column("raw SVI: shift of log-moneyness")
    sigma: Values = column("raw SVI: smoothness at the vertex")
    k_min: Values = column("lowest log-moneyness that quotes reached")
    k_max: Values = column("highest log-moneyness that quotes reached")
    atm_iv: Values = column("volatility at k = 0")
    rr25: Values = column("25-delta risk reversal: call volatility less put volatility")
    bf25: Values = column("25-delta butterfly: mean of call and put volatility less atm_iv")
    min_g: Values = column("least value of the butterfly function; negative is an arbitrage")
    min_calendar_gap: Values = column("least distance in w to the smile before; negative is an arbitrage")
    certified: Signs = column("1 where both were proved not to be negative, else 0")
    fitted_ns: Instants = column("when the smile was fitted, UTC")
    mono_ns: Instants = column("when the smile was fitted, monotonic")
    valid_until_ns: Instants = column("past this the smile is STALE, monotonic")
    status: Statuses = column("of the row")
    reasons: ReasonSets = column("of the row")


class HealthColumns(Model):
    """What works, a row each: connections, venues, the engine, the sidecar itself."""

    name: Names = column("of the unit")
    kind: Names = column("feed, venue, engine or sidecar")
    state: Names = column("in one word: live, resyncing, down ...")
    detail: Names = column("for people")
    since_ns: Instants = column("since when it is in this state, UTC")
    lag_ns: Instants = column("how late a venue's newest price came; of the engine: its snapshot's age")
    skew_ns: Instants = column("of a venue: our clock less its own, as far as it can be known")
    status: Statuses = column("of the unit")
    reasons: ReasonSets = column("of the unit")


class TradesColumns(Model):
    """A ring of 256 slots: trade number n stands in row n % 256, so the rows of a delta are the new trades in order."""

    number: Instants = column("counts from 0; none in a slot without a trade yet")
    instrument: Names = column("what was traded")
    id: Names = column("the venue's name of the trade")
    price: Values = column("as the venue quotes it")
    amount: Values = column("contracts of the venue")
    side: Signs = column("+1 the buyer was the aggressor, -1 the seller, 0 unknown")
    iv: Values = column("volatility of the price, as the venue gives it")
    index: Values = column("the index at the trade, as the venue gives it")
    exchange_ns: Instants = column("the exchange's instant, UTC")
    received_ns: Instants = column("when it was received, UTC")


class DepthColumns(Model):
    """The best 20 levels of an instrument's book: row 0 is the best of each side."""

    bid_price: Values = column("settlement currency")
    bid_amount: Values = column("contracts of the venue")
    ask_price: Values = column("settlement currency")
    ask_amount: Values = column("contracts of the venue")


class AlertsColumns(Model):
    """What rules have raised and what is not over, a row each, in the order of the rules; docs/alerts.md."""

    rule: Names = column("the rule's name in the settings")
    subject: Names = column("the option, the expiry or the underlying that it is about")
    metric: Names = column("which number")
    limit: Names = column('beyond which limit, as "> 1.2"')
    since_ns: Instants = column("when it was raised, UTC")
    state: Names = column("raised")
    value: Values = column("the number, the newest that anybody may act on")
    status: Statuses = column("of the number; STALE where there is none that anybody may act on now")
    reasons: ReasonSets = column("of the number")


# The columns of each channel.
TABLES: dict[str, type[Model]] = {
    "chain": ChainColumns,
    "forward": ForwardColumns,
    "surface": SurfaceColumns,
    "health": HealthColumns,
    "trades": TradesColumns,
    "depth": DepthColumns,
    "alerts": AlertsColumns,
}
# What a row is: these stand in every snapshot and in no delta, and do not count in the checksum.
FIXED: dict[str, tuple[str, ...]] = {
    "chain": ("name", "expiry_ns", "strike", "cp", "tick_size", "min_amount", "contract_size", "settlement_currency"),
    "forward": ("name", "kind", "expiry_ns"),
    "surface": ("expiry_ns",),
    "health": ("name", "kind"),
    "trades": (),
    "depth": (),
    "alerts": ("rule", "subject", "metric", "limit", "since_ns"),
}
# What a snapshot has besides, whichever columns were asked for.
ALWAYS: dict[str, tuple[str, ...]] = {
    "chain": ("status", "reasons"),
    "forward": ("source", "status", "reasons"),
    "surface": ("model", "status", "reasons"),
    "health": ("state", "status", "reasons"),
    "trades": ("number", "instrument"),
    "depth": (),
    "alerts": ("status", "reasons"),
}
# Only in HTTP answers, which are one moment.
HTTP_ONLY = ("quote_age_ns", "forward_age_ns", "fit_age_ns")
