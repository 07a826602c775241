"""A seeded options market: spot, forwards, smiles and quotes that move together. Time is passed in; nothing here waits.

`Market.step(now_ns)` moves spot and smile factors on and requotes a random share of the options, each at the forward
of that very instant. The same seed and the same instants give the same market, to the last digit.

The displayed numbers follow the recorded frames: premiums on the price grid; marks with four decimals; volatilities
in percent with two; Greeks with five (see `valuation`).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from pricer.conventions import NS_PER_DAY, NS_PER_YEAR
from pricer.simulator.listing import EXPIRY_HOUR_NS, FAMILIES, Expiry, Family, days_to, ladder, listed, option_name
from pricer.simulator.quotes import Quotes, Valued, make_quotes, on_grid
from pricer.simulator.smiles import Factors, svi_slices, total_variance
from pricer.simulator.trades import Hit, Tape, Trade
from pricer.simulator.valuation import BlackValues, black, display_greeks, display_iv

Floats = NDArray[np.float64]
Rows = NDArray[np.void]

START_PRICE = 100_000.0
NS_PER_SECOND = 1_000_000_000

# One option's state, as displayed: what a ticker and an instrument object are built from.
ROW = np.dtype(
    [
        ("strike", "f8"),
        ("cp", "f8"),
        ("expiry_ns", "i8"),
        ("instrument_id", "i8"),
        ("created_ms", "i8"),
        ("temper_maker", "f8"),  # uniform draws fixed for life, see quotes.Valued.temper
        ("temper_width", "f8"),
        ("eager", "f8"),  # requote rate relative to the chain's mean
        ("quoted_ns", "i8"),
        ("due_ns", "i8"),  # requoted by then at the latest
        ("index", "f8"),
        ("forward", "f8"),
        ("mark", "f8"),
        ("mark_iv", "f8"),
        ("bid", "f8"),
        ("ask", "f8"),
        ("bid_size", "f8"),
        ("ask_size", "f8"),
        ("bid_iv", "f8"),
        ("ask_iv", "f8"),
        ("delta", "f8"),
        ("gamma", "f8"),
        ("vega", "f8"),
        ("theta", "f8"),
        ("rho", "f8"),
        ("min_price", "f8"),
        ("max_price", "f8"),
        ("settlement", "f8"),
        ("open_interest", "f8"),
        ("last", "f8"),  # NaN: never traded
        ("high", "f8"),  # NaN: no trade in the statistics
        ("low", "f8"),
        ("opened", "f8"),
        ("volume", "f8"),
        ("volume_usd", "f8"),
    ]
)

# The venue re-sends a ticker at least every 5 s, changed or not.
_RESEND_NS = (2_500_000_000, 4_700_000_000)
_INDEX_EVERY_NS = NS_PER_SECOND
_INDEX_MOVE = 1e-4
_REQUOTE_MOVE = 3e-4  # a forward this far from the quote's own brings its maker back within a few steps
_TRADED_SHARE = 0.004
SETTLEMENT_WINDOW_NS = 30 * 60 * NS_PER_SECOND
KEPT_DELIVERIES = 365
_PAST_DELIVERIES = 30  # made up for the days before the start
_NEW_STRIKES_AFTER = 0.01  # the spot moved that far since strikes were last listed
_NEW_STRIKES_EVERY_NS = 60 * NS_PER_SECOND


class Spot:
    """The spot price: geometric moves with stochastic volatility, and now and then a jump."""

    LONG_VOL = 0.42
    VOL_SPREAD = 0.35  # stationary standard deviation of ln(vol)
    VOL_HALF_LIFE_S = 1_800.0
    JUMPS_PER_S = 1.5 / 3_600.0
    JUMP_SIZE = 0.002

    def __init__(self, price: float) -> None:
        self.price = price
        self.log_vol = 0.0

    def step(self, seconds: float, draws: Floats) -> float:
        """Advance with draws (move, vol, jump size: normal; jump time: uniform); return the move's draw."""
        move, vol, size, when = (float(x) for x in draws)
        decay = 0.5 ** (seconds / self.VOL_HALF_LIFE_S)
        self.log_vol = self.log_vol * decay + self.VOL_SPREAD * math.sqrt(1.0 - decay**2) * vol
        sigma = self.LONG_VOL * math.exp(self.log_vol)
        years = seconds * NS_PER_SECOND / NS_PER_YEAR
        log_return = sigma * math.sqrt(years) * move - 0.5 * sigma**2 * years
        if when < self.JUMPS_PER_S * seconds:
            log_return += self.JUMP_SIZE * size
        self.price *= math.exp(log_return)
        return move


@dataclass
class Future:
    """A dated future, or the perpetual (`expiry` None), as displayed."""

    name: str
    expiry: Expiry | None
    instrument_id: int
    created_ms: int
    bid: float = 0.0
    ask: float = 0.0
    bid_size: float = 0.0
    ask_size: float = 0.0
    mark: float = 0.0
    last: float = 0.0
    settlement: float = 0.0
    high: float = 0.0
    low: float = 0.0
    opened: float = 0.0
    volume: float = 0.0
    open_interest: float = 0.0
    funding_8h: float = 0.0


@dataclass
class Chain:
    """One family's options and futures. `rows`, `names` and `codes` run in parallel; slices in order of expiry."""

    family: Family
    index: float
    slices: list[Expiry] = field(default_factory=list)
    forwards: Floats = field(default_factory=lambda: np.empty(0))
    rows: Rows = field(default_factory=lambda: np.empty(0, ROW))
    names: list[str] = field(default_factory=list)
    row_of: dict[str, int] = field(default_factory=dict)
    futures: dict[str, Future] = field(default_factory=dict)
    past: Chain | None = None  # what expired last
    deliveries: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=KEPT_DELIVERIES))  # newest first

    def expiry_of(self, expiry_ns: int) -> Expiry:
        """The calendar entry of one of this chain's expiries."""
        return next(e for e in self.slices if e.expiry_ns == expiry_ns)

    def underlying_index(self, expiry_ns: int, now_ns: int) -> str:
        """The venue's name of an expiry's forward: the index in the last day, else a synthetic or the future."""
        expiry = self.expiry_of(expiry_ns)
        if days_to(expiry_ns, now_ns) < 1.0:
            return "index_price"
        name = f"{self.family.name}-{expiry.code}"
        return f"SYN.{name}" if expiry.period == "day" else name

    def replace_rows(self, rows: Rows, names: list[str]) -> None:
        """Take new rows with their names, and forget expiries without options."""
        self.rows, self.names = rows, names
        self.row_of = {name: row for row, name in enumerate(names)}
        kept = set(rows["expiry_ns"].tolist())
        self.slices = [e for e in self.slices if e.expiry_ns in kept]


@dataclass(frozen=True, slots=True)
class Changes:
    """What one step did: rows requoted and names listed, by family; the families whose index was published.

    `rolled`: an 08:00 has passed. `gone`, by family: what has just expired or was taken off. `states`: the names whose
    state was changed by hand. `futures`: those that are new.
    """

    now_ns: int
    quoted: dict[str, list[int]]
    listed: dict[str, list[str]]
    indexes: tuple[str, ...]
    rolled: bool
    gone: dict[str, Chain] = field(default_factory=dict)
    futures: dict[str, list[str]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    trades: tuple[Trade, ...] = ()


@dataclass
class _Script:
    """What was asked for by hand since the last step."""

    states: dict[str, str] = field(default_factory=dict)
    strikes: list[tuple[str, Expiry, float]] = field(default_factory=list)
    doomed: set[str] = field(default_factory=set)


class Market:
    """`step(now_ns)` and the `chains` it leaves behind. In a step the share `activity` of the options requotes.

    Expiries nearer than `shortest_s` are not listed. `list_strike`, `expire` and `set_state` are for tests: they take
    effect in the next step.
    """

    def __init__(
        self,
        seed: int,
        now_ns: int,
        *,
        activity: float = 0.1,
        families: Iterable[Family] = FAMILIES,
        price: float = START_PRICE,
        shortest_s: float = 0.0,
    ) -> None:
        self.seed = seed
        self.rng = np.random.default_rng(seed)
        self.tape = Tape(seed)
        self.activity = activity
        self.spot = Spot(price)
        self.factors = Factors()
        self.carry = 0.05
        self.frozen = False  # spot stands still (a fault)
        self.now_ns = _whole_ms(now_ns)
        self.published_ns = self.now_ns
        self.published = price
        self.delivery_prices: dict[str, float] = {}  # the last of each family
        self.states: dict[str, str] = {}  # of instruments that are not open
        self._window: list[float] = []
        self._hits: dict[str, list[Hit]] = {}
        self._shortest_ns = round(shortest_s * 1e9)
        self._script = _Script()
        self._taken_off: set[str] = set()  # by hand: not to be listed again
        self._strikes_spot, self._strikes_ns = price, self.now_ns
        self._next_id = 600_000
        self.chains = {f.name: Chain(f, round(price * f.index_ratio, 2)) for f in families}
        for chain in self.chains.values():
            self._list(chain, initial=True)
            self._move_forwards(chain)
            self._requote(chain, np.arange(chain.rows.size))
            chain.rows["settlement"] = np.round(chain.rows["settlement"], 8)
            self._move_futures(chain)
            self._make_up_deliveries(chain)

    def chain_of(self, name: str) -> Chain | None:
        """The chain that lists option or future `name`."""
        return next((c for c in self.chains.values() if name in c.row_of or name in c.futures), None)

    def estimated_delivery(self, chain: Chain, expiry_ns: int, index: float) -> float:
        """The average index so far inside an expiry's settlement window; before it `index`."""
        if self._window and expiry_ns - self.now_ns <= SETTLEMENT_WINDOW_NS:
            return round(sum(self._window) / len(self._window) * chain.family.index_ratio, 2)
        return index

    def state_of(self, name: str) -> str:
        """`open`, or what `set_state` said."""
        return self.states.get(name, "open")

    def set_state(self, name: str, state: str) -> None:
        """Halt, lock or reopen an option or future; while it is not open its quotes stand still."""
        self._script.states[name] = state

    def list_strike(self, family: str, code: str, strike: float) -> tuple[str, str]:
        """List the call and the put of a listed expiry at `strike`; their names. LookupError for another expiry."""
        expiry = next((e for e in self.chains[family].slices if e.code == code), None)
        if expiry is None:
            raise LookupError(f"{family} has no expiry {code}")
        self._script.strikes.append((family, expiry, strike))
        return option_name(family, code, strike, 1.0), option_name(family, code, strike, -1.0)

    def expire(self, name: str) -> None:
        """Take off one option, or with `BTC-27DEC26` all of an expiry, at the estimated delivery price."""
        self._script.doomed.add(name)

    def is_settling(self, chain: Chain) -> bool:
        """Whether the nearest expiry's delivery price is being averaged."""
        return bool(self._window and chain.slices) and chain.slices[0].expiry_ns - self.now_ns <= SETTLEMENT_WINDOW_NS

    def volatility_index(self) -> float:
        """The smiles' at-the-money volatility of 30 days, in percent: our own stand-in for the venue's index."""
        month = np.array([30.0 / 365.0])
        variance = total_variance(svi_slices(month, self.factors.values), np.zeros(1))
        return round(100.0 * math.sqrt(float(variance[0] / month[0])), 2)

    def step(self, now_ns: int) -> Changes:
        """Move the market on to `now_ns`; a clock that steps back leaves the prices where they are."""
        before, self.now_ns = self.now_ns, _whole_ms(now_ns)
        self._move_factors(max(self.now_ns - before, 0) / NS_PER_SECOND)
        rolled = (self.now_ns - EXPIRY_HOUR_NS) // NS_PER_DAY > (before - EXPIRY_HOUR_NS) // NS_PER_DAY
        script, self._script, self._hits = self._script, _Script(), {}
        self._taken_off |= script.doomed
        self._change_states(script.states)
        changes = Changes(self.now_ns, {}, {}, self._publish_index(), rolled, states=script.states)
        respaced = rolled or self._needs_strikes()
        for name, chain in self.chains.items():
            if rolled or script.doomed:
                self._expire(chain, script.doomed, changes)
            futures = set(chain.futures)
            fresh = self._list(chain) if respaced else []
            fresh += self._list_by_hand(chain, script.strikes)
            if fresh:
                changes.listed[name] = fresh
                changes.futures[name] = [future for future in chain.futures if future not in futures]
            self._move_forwards(chain)
            if rolled:
                self._settle(chain)
            changes.quoted[name] = self._requote(chain, self._choose(chain, fresh))
            self._move_futures(chain)
        if rolled:
            self._window.clear()
        return replace(changes, trades=self.tape.step(self.now_ns, self.chains, self._hits))

    def _change_states(self, states: dict[str, str]) -> None:
        self.states.update(states)
        for name in [name for name, state in self.states.items() if state == "open"]:
            del self.states[name]

    def _needs_strikes(self) -> bool:
        """Whether spot has moved away from where the ladders were laid out; looked at once a minute."""
        if self.now_ns - self._strikes_ns < _NEW_STRIKES_EVERY_NS:
            return False
        self._strikes_ns = self.now_ns
        return abs(self.spot.price / self._strikes_spot - 1.0) > _NEW_STRIKES_AFTER

    def _make_up_deliveries(self, chain: Chain) -> None:
        moves = np.random.default_rng((self.seed, 2)).normal(0.0, Spot.LONG_VOL / math.sqrt(365.0), _PAST_DELIVERIES)
        last = self.now_ns - (self.now_ns - EXPIRY_HOUR_NS) % NS_PER_DAY
        for day, price in enumerate((chain.index * np.exp(np.cumsum(moves))).tolist()):
            chain.deliveries.append((last - day * NS_PER_DAY, round(price, 2)))

    def _move_factors(self, seconds: float) -> None:
        # Drawn also when frozen or standing still, so that a fault does not shift the later draws.
        normals, uniform = self.rng.normal(size=8), self.rng.random()
        if self.frozen or seconds == 0.0:
            return
        shock = self.spot.step(seconds, np.array([*normals[:3], uniform]))
        self.factors.step(seconds, shock, normals[3:7])
        decay = 0.5 ** (seconds / 21_600.0)
        self.carry = 0.05 + (self.carry - 0.05) * decay + 0.01 * math.sqrt(1.0 - decay**2) * float(normals[7])

    def _publish_index(self) -> tuple[str, ...]:
        due = self.now_ns - self.published_ns >= _INDEX_EVERY_NS or self.now_ns < self.published_ns
        if not due and abs(self.spot.price / self.published - 1.0) < _INDEX_MOVE:
            return ()
        self.published_ns, self.published = self.now_ns, self.spot.price
        for chain in self.chains.values():
            chain.index = round(self.published * chain.family.index_ratio, 2)
        if (EXPIRY_HOUR_NS - self.now_ns) % NS_PER_DAY <= SETTLEMENT_WINDOW_NS:
            self._window.append(self.published)
        return tuple(self.chains)

    def _expire(self, chain: Chain, doomed: set[str], changes: Changes) -> None:
        """Move what is over by now, or `doomed`, to `chain.past`, which forgets the expiry before."""
        name = chain.family.name
        over = chain.rows["expiry_ns"] <= self.now_ns
        if doomed:
            over |= np.array([_is_one_of(option, doomed) for option in chain.names], dtype=bool)
        futures = {f.name: f for f in chain.futures.values() if f.expiry and f.expiry.expiry_ns <= self.now_ns}
        futures |= {f.name: f for f in chain.futures.values() if f.expiry and f.name in doomed}
        if not changes.rolled and not over.any() and not futures:
            return
        price = self.delivery_prices[name] = self.estimated_delivery(chain, self.now_ns, chain.index)
        if changes.rolled:
            chain.deliveries.appendleft((self.now_ns, price))
        gone, kept = _split(chain.names, over)
        past = Chain(chain.family, chain.index, slices=chain.slices, futures=futures)
        past.replace_rows(chain.rows[over], gone)
        chain.replace_rows(chain.rows[~over], kept)
        for future in futures:
            del chain.futures[future]
        for each in (*gone, *futures):
            self.states.pop(each, None)
        self.tape.forget((*gone, *futures))
        changes.gone[name] = chain.past = past

    def _list(self, chain: Chain, *, initial: bool = False) -> list[str]:
        """List new expiries, and strikes that the forward has come near to; return the new options' names."""
        known = {e.expiry_ns for e in chain.slices}
        nearest = self.now_ns + self._shortest_ns
        new = [e for e in listed(chain.family, self.now_ns) if e.expiry_ns not in known and e.expiry_ns >= nearest]
        chain.slices = sorted([*chain.slices, *new], key=lambda e: e.expiry_ns)
        created_ms = self.now_ns // 1_000_000
        wanted: list[tuple[Expiry, float]] = []
        for expiry in chain.slices:
            days = days_to(expiry.expiry_ns, self.now_ns)
            strikes = ladder(self._raw_forward(chain, expiry), days, chain.family.strike_unit)
            wanted += [(expiry, strike) for strike in strikes]
            if expiry.period != "day":
                self._add_future(chain, f"{chain.family.name}-{expiry.code}", expiry, created_ms)
        self._add_future(chain, f"{chain.family.name}-PERPETUAL", None, 1_534_167_754_000)
        self._strikes_spot = self.spot.price
        if initial:  # as if listed at some earlier 08:00
            created_ms += 13_000 - (created_ms - EXPIRY_HOUR_NS // 1_000_000) % 86_400_000
        return self._add_options(chain, wanted, created_ms)

    def _list_by_hand(self, chain: Chain, strikes: list[tuple[str, Expiry, float]]) -> list[str]:
        # An expiry may be over between the call and this step.
        wanted = [(e, strike) for name, e, strike in strikes if name == chain.family.name and e in chain.slices]
        return self._add_options(chain, wanted, self.now_ns // 1_000_000) if wanted else []

    def _add_options(self, chain: Chain, wanted: list[tuple[Expiry, float]], created_ms: int) -> list[str]:
        """Calls and puts of these strikes, as far as they are not listed yet; their names."""
        names: list[str] = []
        fresh: list[tuple[float, float, int]] = []
        for expiry, strike in wanted:
            for cp in (1.0, -1.0):
                name = option_name(chain.family.name, expiry.code, strike, cp)
                if name not in chain.row_of and not _is_one_of(name, self._taken_off):
                    names.append(name)
                    fresh.append((strike, cp, expiry.expiry_ns))
        rows = self._fresh_rows(fresh)
        rows["created_ms"] = created_ms
        chain.replace_rows(np.concatenate((chain.rows, rows)), chain.names + names)
        return names

    def _fresh_rows(self, fresh: list[tuple[float, float, int]]) -> Rows:
        rows = np.zeros(len(fresh), ROW)
        if fresh:
            rows["strike"], rows["cp"], rows["expiry_ns"] = (np.array(column) for column in zip(*fresh, strict=True))
        count = rows.size
        rows["instrument_id"] = np.arange(self._next_id, self._next_id + count)
        self._next_id += count
        rows["temper_maker"], rows["temper_width"] = self.rng.random((2, count))
        rows["eager"] = 1.0
        traded = self.rng.random(count) < 0.9
        rows["open_interest"] = np.where(traded, np.round(np.exp(self.rng.normal(5.0, 1.8, count)), 1), 0.0)
        rows["last"] = rows["high"] = rows["low"] = rows["opened"] = np.nan
        return rows

    def _add_future(self, chain: Chain, name: str, expiry: Expiry | None, created_ms: int) -> None:
        if name in chain.futures or name in self._taken_off:
            return
        open_interest = round(float(self.rng.uniform(1e6, 1e9)), -1)
        chain.futures[name] = Future(name, expiry, self._next_id, created_ms, open_interest=open_interest)
        self._next_id += 1

    def _raw_forward(self, chain: Chain, expiry: Expiry) -> float:
        ttm = (expiry.expiry_ns - self.now_ns) / NS_PER_YEAR
        return self.spot.price * chain.family.index_ratio * math.exp(self.carry * ttm)

    def _move_forwards(self, chain: Chain) -> None:
        """One forward per slice, rounded as displayed: the index itself in an expiry's last day."""
        forwards = []
        for expiry in chain.slices:
            if days_to(expiry.expiry_ns, self.now_ns) < 1.0:
                forwards.append(chain.index)
            else:
                forwards.append(round(self._raw_forward(chain, expiry), 4 if expiry.period == "day" else 2))
        chain.forwards = np.array(forwards)

    def _choose(self, chain: Chain, listed: list[str]) -> NDArray[np.int64]:
        """The rows that requote in this step."""
        rows = chain.rows
        forward = chain.forwards[self._slice_of(chain, rows)]
        moved = np.abs(forward - rows["forward"]) > _REQUOTE_MOVE * forward
        chance = self.activity * rows["eager"] + np.where(moved, 0.5, 0.0)
        chosen = (self.rng.random(rows.size) < chance) | (rows["due_ns"] <= self.now_ns)
        chosen[[chain.row_of[name] for name in listed]] = True
        chosen[[chain.row_of[name] for name in self.states if name in chain.row_of]] = False
        return np.flatnonzero(chosen)

    def _slice_of(self, chain: Chain, rows: Rows) -> NDArray[np.int64]:
        expiry_ns = np.array([e.expiry_ns for e in chain.slices], dtype=np.int64)
        return np.searchsorted(expiry_ns, rows["expiry_ns"])

    def _requote(self, chain: Chain, chosen: NDArray[np.int64]) -> list[int]:
        """New quotes and venue numbers for the `chosen` rows, at the forwards of this instant."""
        if chosen.size == 0:
            return []
        rows = chain.rows[chosen]
        model = self._value(chain, rows)
        unit = 1.0 if chain.family.inverse else model.forward
        quotes = make_quotes(self.rng, chain.family, _valued(rows, model), unit)
        self._show(chain, rows, model, quotes)
        hits = self._trade(chain, rows)
        chain.rows[chosen] = rows
        result: list[int] = chosen.tolist()
        self._hits[chain.family.name] = [replace(hit, row=result[hit.row]) for hit in hits]
        return result

    def _value(self, chain: Chain, rows: Rows) -> BlackValues:
        slice_of = self._slice_of(chain, rows)
        ttms = np.array([(e.expiry_ns - self.now_ns) / NS_PER_YEAR for e in chain.slices])
        smiles = svi_slices(ttms, self.factors.values)
        forward, ttm = chain.forwards[slice_of], ttms[slice_of]
        sigma = np.sqrt(total_variance(smiles[slice_of], np.log(rows["strike"] / forward)) / ttm)
        return black(forward, rows["strike"], ttm, sigma, rows["cp"])

    def _show(self, chain: Chain, rows: Rows, model: BlackValues, quotes: Quotes) -> None:
        """Write what a ticker displays."""
        to_premium = 1.0 / model.forward if chain.family.inverse else np.ones(rows.size)
        rows["quoted_ns"] = self.now_ns
        rows["due_ns"] = self.now_ns + self.rng.integers(*_RESEND_NS, rows.size)
        rows["index"], rows["forward"] = chain.index, model.forward
        rows["mark"] = np.round(model.price * to_premium, 4)
        rows["mark_iv"] = np.round(100.0 * model.sigma, 2)
        rows["bid"], rows["ask"] = quotes.bid, quotes.ask
        rows["bid_size"], rows["ask_size"] = quotes.bid_size, quotes.ask_size
        rows["bid_iv"], rows["ask_iv"] = (display_iv(side / to_premium, model) for side in (quotes.bid, quotes.ask))
        for name, values in display_greeks(model).items():
            rows[name] = values
        rows["eager"] = np.where(np.abs(rows["delta"] - 0.5 * rows["cp"]) < 0.48, 1.25, 0.4)
        fresh = rows["settlement"] == 0.0
        rows["settlement"] = np.where(fresh, np.round(model.price * to_premium, 8), rows["settlement"])
        self._show_price_band(chain, rows)

    def _show_price_band(self, chain: Chain, rows: Rows) -> None:
        ticks = chain.family.ticks
        coin = rows["mark"] if chain.family.inverse else rows["mark"] / rows["forward"]
        reach = (0.015 + 0.09 * np.sqrt(coin)) * (1.0 if chain.family.inverse else rows["forward"])
        low = on_grid(np.maximum(rows["mark"] - reach, ticks.fine), ticks, np.floor)
        high = on_grid(rows["mark"] + reach, ticks, np.ceil)
        rows["min_price"] = np.where(rows["bid"] > 0.0, np.minimum(low, rows["bid"]), low)
        rows["max_price"] = np.maximum(high, rows["ask"])

    def _trade(self, chain: Chain, rows: Rows) -> list[Hit]:
        """A few of the requoted options trade at their bid or ask; which of `rows`, and how."""
        draws = self.rng.random((3, rows.size))
        happened = (draws[0] < _TRADED_SHARE) & (rows["bid"] > 0.0) & (rows["ask"] > 0.0)
        if not happened.any():
            return []
        traded = rows[happened]
        price = np.where(draws[1][happened] < 0.5, traded["bid"], traded["ask"])
        amount = np.maximum(np.round(traded["bid_size"] * draws[2][happened] ** 4, 1), chain.family.min_amount)
        traded["last"] = price
        traded["high"], traded["low"] = np.fmax(traded["high"], price), np.fmin(traded["low"], price)
        traded["opened"] = np.where(np.isnan(traded["opened"]), price, traded["opened"])
        traded["volume"] = np.round(traded["volume"] + amount, 2)
        in_quote = traded["index"] if chain.family.inverse else 1.0
        traded["volume_usd"] = np.round(traded["volume_usd"] + amount * price * in_quote, 2)
        traded["open_interest"] = np.round(traded["open_interest"] + amount, 2)
        rows[happened] = traded
        sold = draws[1][happened] < 0.5
        amount = np.minimum(amount, np.where(sold, traded["bid_size"], traded["ask_size"]))  # no more than was there
        columns = (np.flatnonzero(happened), price, amount, sold)
        made = zip(*(column.tolist() for column in columns), strict=True)
        return [Hit(row, paid, size, "sell" if hit_bid else "buy") for row, paid, size, hit_bid in made]

    def _settle(self, chain: Chain) -> None:
        """The daily settlement: keep each option's mark of this instant, with eight decimals."""
        model = self._value(chain, chain.rows)
        premium = model.price / model.forward if chain.family.inverse else model.price
        chain.rows["settlement"] = np.round(premium, 8)
        for future in chain.futures.values():
            future.settlement = future.mark

    def _move_futures(self, chain: Chain) -> None:
        tick = chain.family.future_tick
        carry_8h = self.carry / 1095.0
        draws = self.rng.random((len(chain.futures), 3)).tolist()
        for future, (bid_size, ask_size, lean) in zip(chain.futures.values(), draws, strict=True):
            if future.name in self.states:
                continue
            fair = self.spot.price * chain.family.index_ratio * (1.0 + carry_8h)
            if future.expiry is not None:
                fair = self._raw_forward(chain, future.expiry)
            half = 1.0 if future.expiry is None else 3.0
            future.mark = round(fair, 2)
            future.bid = math.floor((fair - half * tick * lean) / tick) * tick
            future.ask = future.bid + tick * (1.0 if future.expiry is None else math.ceil(4.0 * lean + 0.01))
            future.bid_size, future.ask_size = (
                max(round(10_000.0 * -math.log1p(-x), -1), 10.0) if chain.family.inverse else round(5.0 * x + 0.001, 3)
                for x in (bid_size, ask_size)
            )
            future.last = future.bid if lean < 0.5 else future.ask
            future.opened = future.opened or future.last
            future.settlement = future.settlement or future.mark
            future.high = max(future.high, future.last)
            future.low = min(future.low or future.last, future.last)
            future.funding_8h = round(carry_8h - 0.05 / 1095.0, 8)


def _valued(rows: Rows, model: BlackValues) -> Valued:
    """The makers' view of a model value."""
    intrinsic = np.maximum(rows["cp"] * (model.forward - rows["strike"]), 0.0)
    return Valued(
        fair=model.price / model.forward,
        intrinsic=intrinsic / model.forward,
        vega=model.vega / model.forward,
        delta=model.delta,
        strike=rows["strike"] / model.forward,
        ttm=model.ttm,
        distance=np.abs(np.log(rows["strike"] / model.forward)) / (model.sigma * np.sqrt(model.ttm)),
        temper=np.stack((rows["temper_maker"], rows["temper_width"]), axis=1),
    )


def _is_one_of(option: str, taken: set[str]) -> bool:
    """Whether the option or its whole expiry is among those `taken` off."""
    return option in taken or option.rsplit("-", 2)[0] in taken


def _split(names: list[str], over: NDArray[np.bool_]) -> tuple[list[str], list[str]]:
    """The names where `over` holds, and the others."""
    flags = over.tolist()
    return (
        [name for name, is_over in zip(names, flags, strict=True) if is_over],
        [name for name, is_over in zip(names, flags, strict=True) if not is_over],
    )


def _whole_ms(wall_ns: int) -> int:
    """Stamps are in milliseconds: what a ticker shows is valued at exactly its own timestamp."""
    return wall_ns // 1_000_000 * 1_000_000
