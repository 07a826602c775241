"""The forward and the discount of one expiry from put-call parity across its strikes.

Premiums of a call and a put of one strike differ by what no volatility can move:

    C − P = D·(F − K)      premiums in quote currency
    C − P = D·(1 − K/F)    premiums of a coin-settled (inverse) option, in coin

Both are a line y = a − b·K with F = a/b; the discount D is b in the first case and a in the second. Each strike gives
an interval for y, from C_bid − P_ask to C_ask − P_bid. Its middle is the observation and its half-width e the scale of
its error: for an honest pair the truth lies inside.

1. Start: with the discount known, the forward that lies inside the intervals of the most strikes. With both unknown
   the median slope of strikes half the list apart, which a quarter of bad quotes cannot move (an incomplete form of
   Theil's estimator; H. Theil 1950, P. K. Sen 1968), and the median level at that slope.
2. Weighted least squares with weights 1/(e² + tau²), repeated with Tukey's biweight (A. E. Beaton and J. W. Tukey
   1974) of the residual over √(e² + tau²): a strike loses weight as its quotes contradict the line. The variance tau²
   is what the strikes contradict one another by, beyond their intervals, as they do when they were quoted at different
   moments of a moving market: the least with which half of the residuals are as small as the normal law wants.
3. The standard error takes each y as uniform over its interval plus a deviation of tau, strikes as independent, and
   adds what they have in common: all quotes may lean to one side by as much as their bids and asks allow. So it is
   never under the deviation of a uniform forward in the range that lies inside the intervals of the most strikes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from pricer.kernels.jit import kernel
from pricer.kernels.status import BAD_INPUT, NO_CONVERGENCE, OK

Floats = npt.NDArray[np.float64]

# What `parity_forward` writes, in this order.
FORWARD_FIELDS = (
    "forward",
    "error",  # its standard error
    "low",  # the forwards inside the bids and asks of the most strikes: from here
    "high",  # to here
    "discount",
    "discount_error",  # its standard error; 0 where it was given
    "scatter",  # weighted root mean square of the residuals, in units of the forward
    "agreeing",  # strikes whose bids and asks admit the forward
    "used",  # strikes with four usable sides
)

# Rows of the caller's scratch: y, e, the strike's distance from a middle one, the weight, the ends of the interval of
# forwards, and a buffer to select in.
Y, E, X, WEIGHT, LOW, HIGH, BUFFER = range(7)
SCRATCH_ROWS = 7

# Beyond this many robust standard deviations an observation has no weight: 95 % efficient where errors are normal.
BIWEIGHT = 4.685
# The median of a squared standard normal.
MEDIAN_SQUARE = 0.4549364

# A half-width counts as at least this share of the median one, so that a locked pair is not believed without bound.
NARROWEST = 0.1
# The same where all pairs are locked, as a share of the forward: its LAST_STEP is far over the rounding of premiums. By
# the middle strike and not by the largest |y|, which an ask that is no price (99,999,999) may have made.
LOCKED = 1e-7

MAX_STEPS = 100
# From this step on tau stands still, so that it cannot swing to and fro with the weights.
TAU_STEPS = 20
# A step of the line smaller than this share of its standard error is the last.
LAST_STEP = 1e-6


@kernel
def parity_forward(
    strike: Floats,
    call_bid: Floats,
    call_ask: Floats,
    put_bid: Floats,
    put_ask: Floats,
    inverse: bool,
    discount: float,
    scratch: Floats,
    gap: Floats,
    out: Floats,
) -> int:
    """`FORWARD_FIELDS` into `out`, and what C − P lies above the line at each strike into `gap`; gives a kernel status.

    Strikes ascend, one row each; NaN is a missing side, and a strike that lacks a side or has a crossed pair is not
    used (its gap is NaN). `inverse` premiums are in coin. A NaN `discount` is estimated along with the forward, any
    other is taken as given (1 for coin-settled options). `scratch` is [SCRATCH_ROWS, at least the number of strikes].

    BAD_INPUT for fewer than two usable strikes or a discount that is not positive; NO_CONVERGENCE where the quotes give
    no positive forward and discount, or no finite error of them. Then all of `out` but `used` is NaN, and so is `gap`.
    """
    blank(gap)
    blank(out)
    used = collect(strike, call_bid, call_ask, put_bid, put_ask, scratch)
    out[8] = used
    estimated = math.isnan(discount)
    if used < 2 or not (estimated or 0.0 < discount < math.inf):
        return BAD_INPUT
    middle = prepare(scratch, used, inverse)
    level, slope = start(scratch, used, middle, inverse, discount)
    level, slope, tau2 = settle(scratch, used, middle, inverse, discount, level, slope)
    forward = level / slope + middle
    if estimated:
        discount = level + slope * middle if inverse else slope
    if not (slope > 0.0 and 0.0 < forward < math.inf and 0.0 < discount < math.inf and tau2 < math.inf):
        return NO_CONVERGENCE
    out[0], out[4] = forward, discount
    write_errors(scratch, used, middle, inverse, estimated, forward, slope, tau2, out)
    out[2], out[3] = busiest(scratch, used, middle, inverse, discount)
    out[1] = math.sqrt(out[1] ** 2 + (out[3] - out[2]) ** 2 / 12.0)
    if not out[1] + out[5] + out[6] < math.inf:
        blank(out)
        out[8] = used
        return NO_CONVERGENCE
    out[7] = admitting(scratch, used, forward)
    for i in range(len(strike)):
        if usable(call_bid[i], call_ask[i], put_bid[i], put_ask[i]):
            y = 0.5 * ((call_bid[i] - put_ask[i]) + (call_ask[i] - put_bid[i]))
            gap[i] = y - (level - slope * (strike[i] - middle))
    return OK


@kernel
def blank(values: Floats) -> None:
    """All NaN. A loop: `values[:] = nan` takes half a second to compile."""
    for i in range(len(values)):
        values[i] = math.nan


@kernel
def usable(call_bid: float, call_ask: float, put_bid: float, put_ask: float) -> bool:
    """Are all four sides prices, and neither pair crossed? Written so that a NaN anywhere makes it false."""
    return 0.0 <= call_bid <= call_ask < math.inf and 0.0 <= put_bid <= put_ask < math.inf


@kernel
def collect(
    strike: Floats, call_bid: Floats, call_ask: Floats, put_bid: Floats, put_ask: Floats, scratch: Floats
) -> int:
    """Fill rows Y, E and X with the usable strikes, X with the strike itself; gives their number."""
    used = 0
    for i in range(len(strike)):
        if usable(call_bid[i], call_ask[i], put_bid[i], put_ask[i]):
            low, high = call_bid[i] - put_ask[i], call_ask[i] - put_bid[i]
            scratch[Y, used] = 0.5 * (low + high)
            scratch[E, used] = scratch[BUFFER, used] = 0.5 * (high - low)
            scratch[X, used] = strike[i]
            used += 1
    return used


@kernel
def prepare(scratch: Floats, used: int, inverse: bool) -> float:
    """Give E its least value and let X count from the middle strike, which is returned."""
    middle: float = scratch[X, used // 2]
    unit = 1.0 if inverse else abs(middle)
    narrowest = max(NARROWEST * median(scratch[BUFFER], used), LOCKED * unit, 1e-300)
    for i in range(used):
        scratch[E, i] = max(scratch[E, i], narrowest)
        scratch[X, i] -= middle
    return middle


@kernel
def start(scratch: Floats, used: int, middle: float, inverse: bool, discount: float) -> tuple[float, float]:
    """(level at the middle strike, slope) of a line that bad quotes have not bent."""
    if not math.isnan(discount):
        low, high = busiest(scratch, used, middle, inverse, discount)
        forward = 0.5 * (low + high)
        slope = discount / forward if inverse else discount
        return slope * (forward - middle), slope
    half = used // 2
    for i in range(used - half):
        rise = scratch[Y, i] - scratch[Y, i + half]
        scratch[BUFFER, i] = rise / (scratch[X, i + half] - scratch[X, i])
    slope = median(scratch[BUFFER], used - half)
    for i in range(used):
        scratch[BUFFER, i] = scratch[Y, i] + slope * scratch[X, i]
    return median(scratch[BUFFER], used), slope


@kernel
def busiest(scratch: Floats, used: int, middle: float, inverse: bool, discount: float) -> tuple[float, float]:
    """The range of forwards inside the intervals of the most strikes, at this discount; fills LOW and HIGH."""
    for i in range(used):
        strike = scratch[X, i] + middle
        scratch[LOW, i] = strike_forward(scratch[Y, i] - scratch[E, i], strike, inverse, discount)
        scratch[HIGH, i] = strike_forward(scratch[Y, i] + scratch[E, i], strike, inverse, discount)
    most, low = 0, math.nan
    for i in range(used):  # the range begins where one of the intervals does
        count = admitting(scratch, used, scratch[LOW, i])
        if count > most:
            most, low = count, scratch[LOW, i]
    high = math.inf
    for i in range(used):
        if scratch[LOW, i] <= low <= scratch[HIGH, i]:
            high = min(high, scratch[HIGH, i])
    return low, high


@kernel
def strike_forward(y: float, strike: float, inverse: bool, discount: float) -> float:
    """The forward that C − P = y at one strike speaks for; NaN where an inverse y is no price."""
    if not inverse:
        return strike + y / discount
    return strike * discount / (discount - y) if y < discount else math.nan


@kernel
def admitting(scratch: Floats, used: int, forward: float) -> int:
    """How many strikes' intervals hold this forward."""
    count = 0
    for i in range(used):
        if scratch[LOW, i] <= forward <= scratch[HIGH, i]:
            count += 1
    return count


@kernel
def settle(
    scratch: Floats, used: int, middle: float, inverse: bool, discount: float, level: float, slope: float
) -> tuple[float, float, float]:
    """(level, slope, tau²) by weighted least squares until the line stands still; tau² infinite where it does not."""
    tau2 = 0.0
    for step in range(MAX_STEPS):
        if step < TAU_STEPS:
            tau2 = excess_variance(scratch, used, level, slope)
        weigh(scratch, used, level, slope, tau2)
        new_level, new_slope, precision = line(scratch, used, middle, inverse, discount)
        moved = abs(new_level - level) + abs(new_slope - slope) * (scratch[X, used - 1] - scratch[X, 0])
        level, slope = new_level, new_slope
        if moved * math.sqrt(precision) <= LAST_STEP and step > 0:
            return level, slope, tau2
    return level, slope, math.inf


@kernel
def excess_variance(scratch: Floats, used: int, level: float, slope: float) -> float:
    """tau²: r²/(e² + tau²) ≤ MEDIAN_SQUARE for half of the strikes means tau² = median of r²/MEDIAN_SQUARE − e²."""
    for i in range(used):
        scratch[BUFFER, i] = residual(scratch, i, level, slope) ** 2 / MEDIAN_SQUARE - scratch[E, i] ** 2
    return max(median(scratch[BUFFER], used), 0.0)


@kernel
def residual(scratch: Floats, i: int, level: float, slope: float) -> float:
    """What y lies above the line."""
    value: float = scratch[Y, i] - (level - slope * scratch[X, i])
    return value


@kernel
def weigh(scratch: Floats, used: int, level: float, slope: float, tau2: float) -> None:
    """Tukey's biweight of each strike over its variance, into WEIGHT."""
    for i in range(used):
        variance = scratch[E, i] ** 2 + tau2
        t = residual(scratch, i, level, slope) / (BIWEIGHT * math.sqrt(variance))
        scratch[WEIGHT, i] = (1.0 - t * t) ** 2 / variance if abs(t) < 1.0 else 0.0


@kernel
def line(scratch: Floats, used: int, middle: float, inverse: bool, discount: float) -> tuple[float, float, float]:
    """(level, slope, sum of weights) of weighted least squares; one unknown where the discount is known."""
    total, x_mean, y_mean = means(scratch, used)
    if not (inverse or math.isnan(discount)):
        return y_mean + discount * x_mean, discount, total
    turns_at, value_there = x_mean, y_mean
    if not math.isnan(discount):
        turns_at, value_there = -middle, discount  # at K = 0 an inverse line has its discount
    across, square = 0.0, 0.0
    for i in range(used):
        x = scratch[X, i] - turns_at
        across += scratch[WEIGHT, i] * x * (value_there - scratch[Y, i])
        square += scratch[WEIGHT, i] * x * x
    slope = across / square
    return value_there + slope * turns_at, slope, total


@kernel
def means(scratch: Floats, used: int) -> tuple[float, float, float]:
    """(sum of weights, weighted mean of X, weighted mean of Y)."""
    total, x_sum, y_sum = 0.0, 0.0, 0.0
    for i in range(used):
        total += scratch[WEIGHT, i]
        x_sum += scratch[WEIGHT, i] * scratch[X, i]
        y_sum += scratch[WEIGHT, i] * scratch[Y, i]
    return total, x_sum / total, y_sum / total


@kernel
def write_errors(
    scratch: Floats,
    used: int,
    middle: float,
    inverse: bool,
    estimated: bool,
    forward: float,
    slope: float,
    tau2: float,
    out: Floats,
) -> None:
    """The standard errors of forward and discount, and the scatter, from independent strikes (linear propagation)."""
    total, x_mean, _ = means(scratch, used)
    # Where the line turns: level there and slope are independent of one another.
    turns_at = -middle if inverse and not estimated else x_mean
    level_sum, slope_sum, square, misfit = 0.0, 0.0, 0.0, 0.0
    level = slope * (forward - middle)
    for i in range(used):
        weight, x = scratch[WEIGHT, i], scratch[X, i] - turns_at
        if weight == 0.0:  # of a quote so wrong that its square is infinite no part may count: 0·inf is NaN
            continue
        variance = scratch[E, i] ** 2 / 3.0 + tau2
        level_sum += weight * weight * variance
        slope_sum += weight * weight * variance * x * x
        square += weight * x * x
        misfit += weight * residual(scratch, i, level, slope) ** 2
    level_variance = level_sum / (total * total)
    slope_variance = slope_sum / (square * square)
    out[5] = 0.0
    if not estimated:
        out[1] = forward * math.sqrt(slope_variance) / slope if inverse else math.sqrt(level_variance) / slope
    else:
        arm = forward - (middle + turns_at)
        out[1] = math.sqrt(level_variance + arm * arm * slope_variance) / slope
        reach = middle + turns_at  # from there to K = 0, where an inverse line has its discount
        out[5] = math.sqrt(level_variance + reach * reach * slope_variance) if inverse else math.sqrt(slope_variance)
    out[6] = math.sqrt(misfit / total) / slope


@kernel
def median(values: Floats, count: int) -> float:
    """The upper median of the first `count` values, in whose order it leaves them (C. A. R. Hoare, "Find", 1961)."""
    left, right, wanted = 0, count - 1, count // 2
    while left < right:
        pivot = values[(left + right) // 2]
        i, j = left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            right = j
        elif wanted >= i:
            left = i
        else:
            break
    value: float = values[wanted]
    return value


def warmup_calls() -> list[tuple[str, Callable[[], object]]]:
    """As the engine calls it: an expiry's strikes are read-only."""
    strike, side = np.array([90.0, 110.0]), np.ones(2)
    strike.flags.writeable = False
    scratch, out = np.empty((SCRATCH_ROWS, 2)), np.empty(len(FORWARD_FIELDS))
    return [
        (
            "parity_forward",
            lambda: parity_forward(strike, side, side, side, side, True, 1.0, scratch, np.empty(2), out),
        ),
    ]
