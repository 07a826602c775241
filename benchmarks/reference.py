"""Exact implied volatilities with mpmath: slow, simple, and by no way that a kernel goes.

Each option's premium is computed with 50 digits and rounded to a double; the reference is the volatility of that
*rounded* premium. Errors are given in

    u = |found/exact − 1| / ((1 + premium/(sigma·vega))·2.2e-16),

the accuracy that the rounding of the premium and of the result leaves: 1 is as good as a double gets.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

from benchmarks.sets import DRAWN_PER_KEPT, Floats, Options, is_kept

DIGITS = 50
ULP = 2.220446049250313e-16

# Rows that one process takes at a time: about a tenth of a second, so that a progress bar moves.
CHUNK = 64

MOST_STEPS = 100

Mapping = Callable[[Callable[[Options], Floats], Iterator[Options]], Iterator[Floats]]


class Report(Protocol):
    """Hears of progress: `completed` rows so far."""

    def __call__(self, *, completed: int) -> object: ...


class Reference(NamedTuple):
    """Options with their rounded premiums and the exact volatilities of those; columns of one length."""

    options: Options
    premium: Floats
    sigma: Floats
    rest: Floats  # the exact volatility minus `sigma`
    condition: Floats  # premium/(sigma·vega): the relative error of a volatility per one of the premium

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Reference:
        return Reference(self.options.take(rows), *(column[rows] for column in self[1:]))

    def error_in_u(self, found: Floats) -> Floats:
        """u of each row; NaN where `found` is."""
        return self.relative_error(found) / ((1.0 + self.condition) * ULP)

    def relative_error(self, found: Floats) -> Floats:
        return np.abs((found - self.sigma) - self.rest) / self.sigma


def reference_set(
    make: Callable[[int, int], Options], seed: int, count: int, report: Report, processes: int | None = None
) -> Reference:
    """The first `count` rows of a set (`benchmarks.sets`) that belong to it, solved exactly.

    In as many processes as there are cores, unless told otherwise; the rows do not depend on that. `report` is
    called now and then.
    """
    drawn, found, done = make(seed, DRAWN_PER_KEPT * count), [], 0
    for part in solved_parts(drawn, processes):
        found.append(part.take(~np.isnan(part.sigma)))
        done += len(found[-1].sigma)
        report(completed=min(done, count))
        if done >= count:
            return joined(found).take(np.arange(count))
    raise ValueError(f"only {done} of {len(drawn.cp)} rows drawn belong to the set, {count} are wanted")


def solve(options: Options, report: Report, processes: int | None = None) -> Reference:
    """Every row, solved exactly; NaN where its premium is none that `benchmarks.sets` keeps."""
    found, done = [], 0
    for part in solved_parts(options, processes):
        found.append(part)
        done += len(part.sigma)
        report(completed=done)
    return joined(found)


def solved_parts(options: Options, processes: int | None) -> Iterator[Reference]:
    with workers(processes or os.cpu_count() or 1) as each:
        for part, solved in zip(chunks(options), each(solve_rows, chunks(options)), strict=True):
            yield Reference(part, *solved)


def joined(parts: list[Reference]) -> Reference:
    options = Options(*map(np.concatenate, zip(*(part.options for part in parts), strict=True)))
    return Reference(options, *map(np.concatenate, list(zip(*parts, strict=True))[1:]))


@contextmanager
def workers(processes: int) -> Iterator[Mapping]:
    """A `map` that keeps the order of its results, over so many processes; over none of its own for one."""
    if processes == 1:
        yield map
        return
    # Not forked: the caller may have threads by now, of Numba or of a peer.
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield pool.imap


def chunks(options: Options) -> Iterator[Options]:
    for start in range(0, len(options.cp), CHUNK):
        yield options.take(np.arange(start, min(start + CHUNK, len(options.cp))))


def solve_rows(options: Options) -> Floats:
    """Rows premium, sigma, rest and condition of `Reference`; a column is NaN where its option is not of the set."""
    premium = np.array([float(exact_price(*row)) for row in rows(options)])
    solved = np.full((4, len(premium)), np.nan)
    for i, (row, kept) in enumerate(zip(rows(options), is_kept(options, premium), strict=True)):
        if kept:
            solved[:, i] = premium[i], *exact_volatility(float(premium[i]), *row)
    return solved


def rows(options: Options) -> Iterator[tuple[float, ...]]:
    return zip(*(column.tolist() for column in options), strict=True)


def exact_price(forward: float, strike: float, ttm: float, sigma: float, cp: float) -> mp.mpf:
    """The undiscounted Black-76 premium of these doubles, to `DIGITS` digits less what cancels (ten at most)."""
    with mp.workdps(DIGITS):
        f, k = mp.mpf(forward), mp.mpf(strike)
        s = mp.mpf(sigma) * mp.sqrt(mp.mpf(ttm))
        x = -abs(mp.log(f / k))
        return max(cp * (f - k), mp.mpf(0)) + mp.sqrt(f * k) * time_value(x / s, s / 2)


def exact_volatility(
    premium: float, forward: float, strike: float, ttm: float, sigma: float, cp: float
) -> tuple[float, float, float]:
    """(sigma, rest, condition) of `Reference` for a premium, by Newton's method from the volatility that made it."""
    with mp.workdps(DIGITS):
        f, k = mp.mpf(forward), mp.mpf(strike)
        x, root = -abs(mp.log(f / k)), mp.sqrt(f * k)
        room = min(f, k) / root
        target = (mp.mpf(premium) - max(cp * (f - k), mp.mpf(0))) / root
        s = mp.mpf(sigma) * mp.sqrt(mp.mpf(ttm))
        for _ in range(MOST_STEPS):
            h, t = x / s, s / 2
            slope = mp.npdf(h) * mp.exp(-t * t / 2)
            if 2 * target > room:  # the logarithm of what is missing is the straighter of the two
                missing = time_room(h, t)
                step = mp.log(missing / (room - target)) * missing / slope
            else:
                now = time_value(h, t)
                step = -mp.log(now / target) * now / slope
            s = max(s + step, s / 2)
            if abs(step) < s * mp.mpf(10) ** -30:
                break
        else:
            raise ArithmeticError(f"no convergence: {premium, forward, strike, ttm, sigma, cp}")
        exact = s / mp.sqrt(mp.mpf(ttm))
        nearest = float(exact)
        return nearest, float(exact - nearest), float(mp.mpf(premium) / (root * slope * s))


def time_value(h: mp.mpf, t: mp.mpf) -> mp.mpf:
    """The time value over √(F·K) at h = −|ln(F/K)|/s and t = s/2; both as mpmath numbers."""
    half = h * t  # of ln(F/K)
    return mp.exp(half) * mp.ncdf(h + t) - mp.exp(-half) * mp.ncdf(h - t)


def time_room(h: mp.mpf, t: mp.mpf) -> mp.mpf:
    """What `time_value` lacks of its bound, exp(h·t)."""
    half = h * t
    return mp.exp(half) * mp.ncdf(-h - t) + mp.exp(-half) * mp.ncdf(h - t)
