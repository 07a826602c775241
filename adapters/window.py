"""Which options around the money are wanted, so that the choice rolls with the market and does not flap.

An option enters when it lies inside the window and leaves when it lies clearly outside: the window is `slack` wider for
those who are in. What is held is always wanted.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from pricer.adapters.instruments import Instrument
from pricer.errors import ConfigError

# A move of the underlying that could change a choice: far finer than any distance of strikes.
ROLL_MOVE = 0.001


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a chain is wanted; None is all of it.

    `strikes`: so many on each side of the money, per expiry. `percent`: strikes within this fraction of the money
    (0.2 is 20 %). `expiries`: the nearest so many. An option must fit all that are given. `slack` is the hysteresis,
    as a fraction of the window, and at least one strike.
    """

    strikes: int | None = None
    percent: float | None = None
    expiries: int | None = None
    slack: float = 0.25

    def __post_init__(self) -> None:
        for name in ("strikes", "expiries"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{name}: {value!r} is not a whole number above 0")
        if self.percent is not None and not 0.0 < self.percent < math.inf:
            raise ConfigError(f"percent: {self.percent!r} is not a positive number")
        if not 0.0 <= self.slack <= 1.0:
            raise ConfigError(f"slack: {self.slack!r} is not between 0 and 1")

    @property
    def needs_money(self) -> bool:
        """Whether it cannot be said what is wanted before the underlying's price is known."""
        return self.strikes is not None or self.percent is not None


class Roll:
    """The options that are in the window now; a value of one connection that outlives its sessions."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self._inside: set[str] = set()

    @property
    def inside(self) -> frozenset[str]:
        """The names chosen last."""
        return frozenset(self._inside)

    def choose(
        self, options: Iterable[Instrument], money: Callable[[Instrument], float], held: Collection[str] = ()
    ) -> frozenset[str]:
        """The names wanted now. `money` is the price of an option's underlying, NaN while it is not known.

        Without a price what was inside stays, and nothing enters but what is `held`.
        """
        chains: dict[tuple[str, int], list[Instrument]] = defaultdict(list)
        chosen: set[str] = set()
        for option in options:
            if option.name in held:
                chosen.add(option.name)
            if option.expiry_ns is not None:
                chains[option.price_index, option.expiry_ns].append(option)
        for chain in self._nearest(chains):
            price = money(chain[0])
            if self.window.needs_money and not price > 0.0:
                chosen.update(option.name for option in chain if option.name in self._inside)
            else:
                chosen.update(self._fitting(chain, price))
        self._inside = chosen
        return frozenset(chosen)

    def _nearest(self, chains: dict[tuple[str, int], list[Instrument]]) -> list[list[Instrument]]:
        """The chains of the first expiries of each family; a newly listed expiry cannot push out a nearer one."""
        if self.window.expiries is None:
            return list(chains.values())
        expiries: dict[str, list[int]] = defaultdict(list)
        for index, expiry_ns in chains:
            expiries[index].append(expiry_ns)
        wanted = {index: set(sorted(times)[: self.window.expiries]) for index, times in expiries.items()}
        return [chain for (index, expiry_ns), chain in chains.items() if expiry_ns in wanted[index]]

    def _fitting(self, chain: list[Instrument], price: float) -> list[str]:
        strikes = sorted({option.strike for option in chain})
        middle = bisect_left(strikes, price)
        ranks = {strike: _rank(number, middle) for number, strike in enumerate(strikes)}
        return [option.name for option in chain if self._fits(option, price, ranks[option.strike])]

    def _fits(self, option: Instrument, price: float, rank: int) -> bool:
        window, stays = self.window, option.name in self._inside
        if window.strikes is not None:
            most = window.strikes
            if stays:
                most += max(1, math.ceil(most * window.slack))
            if rank > most:
                return False
        if window.percent is not None:
            widest = window.percent * (1.0 + window.slack) if stays else window.percent
            # A strike on the very edge is inside, whatever the last bit of the product says.
            if abs(option.strike - price) > widest * price * (1.0 + 1e-12):
                return False
        return True


def _rank(number: int, middle: int) -> int:
    """How many strikes away from the money, on its own side: 1 is next to it."""
    return number - middle + 1 if number >= middle else middle - number


def distance(option: Instrument, money: float) -> float:
    """How far from the money, |ln K/S|; infinite while the money is not known. For priorities: the nearest first."""
    return abs(math.log(option.strike) - math.log(money)) if option.strike > 0.0 and money > 0.0 else math.inf
