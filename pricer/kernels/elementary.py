"""exp, log and polynomials that LLVM can vectorise, with the same bits on every machine and in every process.

A call of libm stops the vectoriser: a loop with one runs an option at a time. These are straight-line code: the
exponent is split off by its bits, one polynomial does the rest, and special cases are selections, not branches.

Polynomials are evaluated with *explicit* fused multiply-adds. Left to the compiler (`fastmath="contract"`) the fusing
depends on what was inlined where, so a last bit could differ between a fresh compilation and the cache, or between a
row in the vectorised part of a loop and one in its tail (docs/decisions/0006). With NUMBA_DISABLE_JIT=1 the same
functions run in Python on exact twins of the few operations that have no name there.

Coefficients and their errors: docs/derivations/elementary.py.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from pricer.kernels.jit import inlined

config: Any = numba.config

F64, I64 = ir.DoubleType(), ir.IntType(64)

# The bits of 2^52, whose last place is 1: a small integer added to them reads as 2^52 plus that integer.
TWO_52 = 4503599627370496.0
TWO_52_BITS = 0x4330000000000000

# 1.5·2^52: adding it rounds to the nearest integer, which then stands in the low bits (two's complement).
ROUNDER = 6755399441055744.0
ROUNDER_BITS = 0x4338000000000000

LEAST_NORMAL = 2.2250738585072014e-308
TWO_54 = 18014398509481984.0

LN2_HIGH = 0.6931471803691238  # 20 trailing zero bits: times any exponent it is exact
LN2_LOW = 1.9082149292705877e-10  # ln 2 − LN2_HIGH
LOG2_E = 1.4426950408889634

# (2·atanh(r) − 2r)/r³ in powers of r², to 3e-17 for |r| ≤ 0.2.
ATANH = (
    0.6666666666666666,
    0.40000000000008523,
    0.2857142856701462,
    0.2222222309164114,
    0.18181734246400308,
    0.15389002125166182,
    0.13207080082061878,
    0.13629110721910584,
)

# (exp(r) − 1 − r)/r² in powers of r, to 1.1e-16 for |r| ≤ ln(2)/2.
EXP = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662413,
    0.008333333333330062,
    0.0013888888917213717,
    0.00019841269863053618,
    2.4801521295954376e-05,
    2.7557268459997064e-06,
    2.7620088445409746e-07,
    2.510038549551032e-08,
)


def _operation(
    result: Any, arguments: tuple[Any, ...], emit: Callable[..., Any], twin: Callable[..., Any]
) -> Callable[..., Any]:
    """An operation that `emit(builder, *values)` writes as LLVM instructions, and `twin` does in Python."""
    if config.DISABLE_JIT:
        # NumPy's double divides by zero as compiled code does; Python's raises.
        return (lambda *values: np.float64(twin(*values))) if result is types.float64 else twin
    signature = result(*arguments)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return emit(builder, *values)

    # Numba reads the number of parameters from the function's signature.
    if len(arguments) == 1:
        return intrinsic(lambda typing, a: (signature, generate))
    if len(arguments) == 2:
        return intrinsic(lambda typing, a, b: (signature, generate))
    return intrinsic(lambda typing, a, b, c: (signature, generate))


def _exact_fma(a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    try:
        return float(Fraction(a) * Fraction(b) + Fraction(c)) or a * b + c  # the latter for the sign of a zero
    except OverflowError:
        return a * b + c


fma: Callable[[float, float, float], float] = _operation(
    types.float64, (types.float64,) * 3, lambda builder, a, b, c: builder.fma(a, b, c), _exact_fma
)

# NaN below zero, also in Python, where math.sqrt raises: a selection computes what it does not take.
sqrt: Callable[[float], float] = _operation(
    types.float64,
    (types.float64,),
    lambda builder, x: builder.call(builder.module.declare_intrinsic("llvm.sqrt", [F64]), [x]),
    lambda x: math.sqrt(x) if x >= 0.0 else math.nan,
)

# select(condition, a, b): both are computed; never a branch.
select: Callable[[bool, float, float], float] = _operation(
    types.float64,
    (types.boolean, types.float64, types.float64),
    lambda builder, condition, a, b: builder.select(condition, a, b),
    lambda condition, a, b: a if condition else b,
)

bits: Callable[[float], int] = _operation(
    types.int64,
    (types.float64,),
    lambda builder, x: builder.bitcast(x, I64),
    lambda x: struct.unpack("<q", struct.pack("<d", x))[0],
)

from_bits: Callable[[int], float] = _operation(
    types.float64,
    (types.int64,),
    lambda builder, n: builder.bitcast(n, F64),
    lambda n: struct.unpack("<d", struct.pack("<Q", n & 0xFFFFFFFFFFFFFFFF))[0],
)

# The exponent field of a number with sign 0, as an integer. AVX2 shifts 64-bit integers logically only.
exponent_field: Callable[[int], int] = _operation(
    types.int64,
    (types.int64,),
    lambda builder, n: builder.lshr(n, ir.Constant(I64, 52)),
    lambda n: (n & 0xFFFFFFFFFFFFFFFF) >> 52,
)


def polynomial(coefficients: Sequence[float]) -> Callable[[float], float]:
    """p(y) = Σ c_k·y^k, even and odd powers side by side (two chains of fused multiply-adds instead of one long one).

    Written as LLVM instructions at once: Numba would take a tenth of a second to type each long one.
    """
    even, odd = tuple(coefficients[0::2]), tuple(coefficients[1::2])

    def emit(builder: Any, y: Any) -> Any:
        w = builder.fmul(y, y)
        return builder.fma(y, _horner(builder, w, odd), _horner(builder, w, even))

    def twin(y: float) -> float:
        w = y * y
        return _exact_fma(y, _horner_twin(w, odd), _horner_twin(w, even))

    return _operation(types.float64, (types.float64,), emit, twin)


def divided_difference(coefficients: Sequence[float]) -> Callable[[float, float], float]:
    """(p(a) − p(b))/(a − b) for p(y) = Σ c_k·y^k, without the cancellation of the difference; p'(a) where a = b.

    Horner's scheme on both arguments at once: with P ← P·b + c goes D ← D·a + P. With p(y) = E(y²) + y·O(y²) it is

        E[a², b²]·(a + b) + O(b²) + a·(a + b)·O[a², b²].
    """
    even, odd = tuple(coefficients[0::2]), tuple(coefficients[1::2])

    def emit(builder: Any, a: Any, b: Any) -> Any:
        a2, b2, both = builder.fmul(a, a), builder.fmul(b, b), builder.fadd(a, b)
        _, even_slope = _double_horner(builder, a2, b2, even)
        odd_value, odd_slope = _double_horner(builder, a2, b2, odd)
        return builder.fma(both, builder.fma(a, odd_slope, even_slope), odd_value)

    def twin(a: float, b: float) -> float:
        a2, b2, both = a * a, b * b, a + b
        _, even_slope = _double_horner_twin(a2, b2, even)
        odd_value, odd_slope = _double_horner_twin(a2, b2, odd)
        return _exact_fma(both, _exact_fma(a, odd_slope, even_slope), odd_value)

    return _operation(types.float64, (types.float64,) * 2, emit, twin)


def _horner(builder: Any, y: Any, coefficients: Sequence[float]) -> Any:
    total = ir.Constant(F64, coefficients[-1])
    for c in coefficients[-2::-1]:
        total = builder.fma(total, y, ir.Constant(F64, c))
    return total


def _horner_twin(y: float, coefficients: Sequence[float]) -> float:
    total = coefficients[-1]
    for c in coefficients[-2::-1]:
        total = _exact_fma(total, y, c)
    return total


def _double_horner(builder: Any, a: Any, b: Any, coefficients: Sequence[float]) -> tuple[Any, Any]:
    value, slope = ir.Constant(F64, coefficients[-1]), ir.Constant(F64, 0.0)
    for c in coefficients[-2::-1]:
        slope = builder.fma(slope, a, value)
        value = builder.fma(value, b, ir.Constant(F64, c))
    return value, slope


def _double_horner_twin(a: float, b: float, coefficients: Sequence[float]) -> tuple[float, float]:
    value, slope = coefficients[-1], 0.0
    for c in coefficients[-2::-1]:
        slope = _exact_fma(slope, a, value)
        value = _exact_fma(value, b, c)
    return value, slope


_atanh_tail = polynomial(ATANH)
_exp_tail = polynomial(EXP)


@inlined
def log(x: float) -> float:
    """ln(x), within one unit in the last place; −inf at ±0, NaN below, inf at inf; subnormals like all others."""
    tiny = x < LEAST_NORMAL
    scaled = select(tiny, x * TWO_54, x)
    # x = 2^e·m with m within a factor √2 of 1, by arithmetic on the bits; 0x3FE6A09E... are those of √½.
    field = exponent_field(bits(scaled) - 0x3FE6A09E667F3BCD + (1023 << 52))
    e = from_bits(field + TWO_52_BITS) - (TWO_52 + 1023.0)
    m = from_bits(bits(scaled) - ((field - 1023) << 52))
    f = m - 1.0
    r = f / (2.0 + f)
    z = r * r
    e = select(tiny, e - 54.0, e)
    # ln m = f − (f²/2 − r·(f²/2 + tail)): f is exact and carries most of the sum.
    half = 0.5 * f * f
    tail = z * _atanh_tail(z)
    found = fma(e, LN2_HIGH, f - (half - fma(r, half + tail, e * LN2_LOW)))
    found = select(x > 0.0, found, select(x == 0.0, -math.inf, math.nan))
    return select(x == math.inf, x, found)


@inlined
def log_ratio(a: float, b: float) -> float:
    """ln(a/b) for normal positive numbers with a normal quotient, to 2 units in the last place also where a ≈ b.

    From the exact difference: ln of the rounded quotient would lose the digits that a and b share.
    """
    # 2^e is a/b to within a factor of 1.5: bits are a piecewise linear logarithm. Biased, so that it is positive.
    field = exponent_field(bits(a) - bits(b) + ((1023 << 52) + (1 << 51)))
    e = from_bits(field + TWO_52_BITS) - (TWO_52 + 1023.0)
    near = b * from_bits(field << 52)
    r = (a - near) / (a + near)
    z = r * r
    return fma(e, LN2_HIGH, fma(r, 2.0, fma(r * z, _atanh_tail(z), e * LN2_LOW)))


@inlined
def exp(x: float) -> float:
    """exp(x), within 1.1 units in the last place; 0 from −745.2 down (subnormals above it), inf from 709.8 up."""
    inside = select(x > 710.0, 710.0, select(x < -746.0, -746.0, x))
    shifted = fma(inside, LOG2_E, ROUNDER)
    n = shifted - ROUNDER
    r = fma(-n, LN2_LOW, fma(-n, LN2_HIGH, inside))
    grown = fma(r * r, _exp_tail(r), r) + 1.0
    # 2^n in two factors: the whole range from subnormals to the largest double goes beyond one.
    whole = bits(shifted) - ROUNDER_BITS
    first = exponent_field((whole + 4096) << 51) - 2048
    return grown * from_bits((first + 1023) << 52) * from_bits((whole - first + 1023) << 52)
