"""Millions of random options through every kernel: `python -m benchmarks.random_points --points 10_000_000 --seed 1`.

sigma 1e-4 to 20, a second to thirty years, |ln(F/K)| up to 10, a fifth of the rows next to the money; in one row of
twenty an input is NaN, infinite, subnormal, zero or negative. Premiums are the kernel's own, or next to the intrinsic
value or the bound, or anywhere between. What must hold is in `benchmarks.claims`; the exit code is 1 where it does not.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks import claims
from benchmarks.claims import Mask
from benchmarks.sets import Floats, Options, log_uniform, signs
from benchmarks.tally import Tally, report
from pricer.kernels import black76, implied_vol
from pricer.kernels.status import KernelStatus

SECOND = 1.0 / (365.0 * 86_400.0)
BAD = (np.nan, np.inf, -np.inf, 5e-324, -5e-324, 1e-310, -0.0, 0.0, -1.0, 1e308)
BAD_SHARE = 0.05

# Relative changes of a volatility, from which a warm start begins; the last are no volatilities at all.
WARM_FACTORS = (1.0, 1.0 + 1e-4, 1.0 - 1e-4, 1.003, 0.997, 1.05, 0.5, 1e3, 1e-3, *BAD)

CHUNK = 50_000


def main() -> None:
    arguments = parse(sys.argv[1:])
    tally, started = Tally(), time.perf_counter()
    run_chunk(np.random.default_rng(0), 1, Tally())  # compiles, which is no hang
    columns = (TextColumn("random points"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=arguments.points)
        for start in range(0, arguments.points, CHUNK):
            count = min(CHUNK, arguments.points - start)
            run_chunk(np.random.default_rng([arguments.seed, start]), count, tally)
            progress.advance(bar, count)
    print(f"{arguments.points:,} points, seed {arguments.seed}, {time.perf_counter() - started:.0f} s\n")
    print("\n".join(report(tally)))
    sys.exit(1 if tally.violations else 0)


def parse(given: list[str]) -> argparse.Namespace:
    description = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.random_points", description=description)
    parser.add_argument("--points", type=int, default=1_000_000, help="a million takes about ten seconds (1_000_000)")
    parser.add_argument("--seed", type=int, default=1, help="every seed is another set of points (1)")
    return parser.parse_args(given)


@np.errstate(all="ignore")  # many inputs are meant to overflow something
def run_chunk(rng: np.random.Generator, count: int, tally: Tally) -> None:
    """`count` options through price, Greeks, cold and warm implied volatility."""
    options, plain = draw(rng, count)
    price, status = tally.call("price", black76.price_chain, options, (count,))
    tally.violated("price", claims.price_claims(options, price, status, plain), options, price, status)
    check_price_rises(rng, options, price, tally)
    check_greeks(options, plain, tally)
    check_vols(rng, options, plain, price, tally)


def draw(rng: np.random.Generator, count: int) -> tuple[Options, Mask]:
    """Options, and which of them hold no bad input."""
    sigma = log_uniform(rng, 1e-4, 20.0, count)
    ttm = log_uniform(rng, SECOND, 30.0, count)
    forward = log_uniform(rng, 1e-4, 1e7, count)
    k = rng.uniform(-10.0, 10.0, count)
    # By deviations, since at 10 a quiet or short option has no value to look at.
    by_deviations = rng.random(count) < 0.4
    k[by_deviations] = np.clip(rng.uniform(-38.0, 38.0, count) * sigma * np.sqrt(ttm), -10.0, 10.0)[by_deviations]
    near = rng.random(count) < 0.2
    k[near] *= 10.0 ** rng.uniform(-17.0, -3.0, int(near.sum()))
    options = Options(forward, forward * np.exp(k), ttm, sigma, signs(rng, count))
    spoiled = rng.random(count) < BAD_SHARE
    where, value = rng.integers(0, len(options), count), rng.choice(BAD, count)
    for i, column in enumerate(options):
        hit = spoiled & (where == i)
        column[hit] = value[hit]
    return options, ~spoiled


def check_price_rises(rng: np.random.Generator, options: Options, price: Floats, tally: Tally) -> None:
    """A larger volatility gives no lower price, but for the last bits of the price itself."""
    more = options._replace(sigma=options.sigma * (1.0 + log_uniform(rng, 1e-12, 1.0, len(price))))
    higher, status = tally.call("price, sigma raised", black76.price_chain, more, price.shape)
    falls = {"falls as sigma rises": claims.too_low(price, higher, 4.0 * claims.EPS)}
    tally.violated("price", falls, (*options, more.sigma), higher, status)


def check_greeks(options: Options, plain: Mask, tally: Tally) -> None:
    count = len(options.cp)
    for name, kernel, rows in (
        ("14 Greeks", black76.greeks_chain, len(black76.GREEKS)),
        ("price + 5 Greeks", black76.first_greeks_chain, 6),
    ):
        out, status = tally.call(name, kernel, options, (rows, count))
        tally.violated(name, claims.greek_claims(options, out, status, plain), options, out, status)


def check_vols(rng: np.random.Generator, options: Options, plain: Mask, price: Floats, tally: Tally) -> None:
    forward, strike, ttm, sigma, cp = options
    premium = premiums(rng, options, price)
    quotes = (premium, forward, strike, ttm, cp)
    found, status = tally.call("cold IV", implied_vol.implied_vol_chain, quotes, price.shape)
    tally.violated("cold IV", claims.vol_claims(quotes, found, status, plain), quotes, found, status)

    own = (status == KernelStatus.OK) & plain & (premium == price)
    units = np.where(own, claims.units_apart(quotes, sigma, found), 0.0)
    tally.far("round trip", units)
    tally.violated("cold IV", {"not what the price was made from": units > claims.MOST_UNITS}, quotes, found, status)

    dearer = (premium * (1.0 + log_uniform(rng, 1e-15, 1.0, len(premium))), *quotes[1:])
    higher, higher_status = tally.call("cold IV, premium raised", implied_vol.implied_vol_chain, dearer, price.shape)
    falls = claims.too_low(found, higher, claims.MOST_UNITS * claims.attainable(quotes, found))
    tally.violated("cold IV", {"falls as the premium rises": falls}, (*quotes, dearer[0]), higher, higher_status)

    previous = found * rng.choice(WARM_FACTORS, len(found))
    again, warm_status = tally.call("warm IV", implied_vol.implied_vol_chain_warm, (*quotes, previous), price.shape)
    units = np.where(status == KernelStatus.OK, claims.units_apart(quotes, found, again), 0.0)
    tally.far("warm against cold", units)
    masks = claims.vol_claims(quotes, again, warm_status, plain) | {
        "another status than cold": warm_status != status,
        "another volatility than cold": units > claims.MOST_UNITS,
    }
    tally.violated("warm IV", masks, (*quotes, previous), again, warm_status)


def premiums(rng: np.random.Generator, options: Options, own: Floats) -> Floats:
    """Six in ten the kernel's own; the others at or next to a limit, anywhere between the limits, or no premium."""
    count = len(own)
    intrinsic, bound = claims.limits(options.forward, options.strike, options.cp)
    share = np.exp(rng.uniform(np.log(1e-300), 0.0, count))
    edge = np.where(rng.random(count) < 0.5, intrinsic, bound)
    aside = np.nextafter(edge, rng.choice([-np.inf, np.inf], count))
    kinds = (own, edge, aside, intrinsic + share * (bound - intrinsic), rng.choice(BAD, count))
    return np.choose(rng.choice(len(kinds), count, p=(0.6, 0.05, 0.15, 0.15, 0.05)), kinds)


if __name__ == "__main__":
    main()
