"""What a kernel says about each number it gives. Kernels report; they never raise."""

from __future__ import annotations

from enum import IntEnum


class KernelStatus(IntEnum):
    """One uint8 a row. Values are part of the public contract: never changed, only appended."""

    OK = 0
    AT_INTRINSIC = 1  # no time value: sigma is 0, a price or Greek is the limit of zero time or volatility
    BELOW_INTRINSIC = 2  # the premium is under max(cp·(F − K), 0): no volatility gives it
    ABOVE_MAX = 3  # the premium is at or over F (call) or K (put): no finite volatility gives it
    BAD_INPUT = 4  # NaN, infinite, or outside the model's domain
    NO_CONVERGENCE = 5  # the solver stopped without meeting its own test
    LOW_VEGA = 6  # a volatility that one price tick moves by as much as itself: right, and says nothing


# The same as plain integers: compiled code cannot hold an enum member in a uint8 array without a cast.
OK = int(KernelStatus.OK)
AT_INTRINSIC = int(KernelStatus.AT_INTRINSIC)
BELOW_INTRINSIC = int(KernelStatus.BELOW_INTRINSIC)
ABOVE_MAX = int(KernelStatus.ABOVE_MAX)
BAD_INPUT = int(KernelStatus.BAD_INPUT)
NO_CONVERGENCE = int(KernelStatus.NO_CONVERGENCE)
LOW_VEGA = int(KernelStatus.LOW_VEGA)
