"""The normal distribution, and the ratio Y = Φ/φ that carries it through both wings.

Y(z) = Φ(z)/φ(z) neither overflows nor underflows for z ≤ 0, and differences of it are Black's formula without an
exponential (`black76.value_over_vega`). Y and its derivative Y' = 1 + z·Y are each one polynomial on z ≤ Z_MAX;
`docs/derivations/mills_ratio.py` says how they were made and prints them again.
"""

from __future__ import annotations

import math

import numpy as np

from pricer.kernels.jit import fused_kernel

INV_SQRT_2PI = 0.3989422804014327  # 1/√(2π), φ(0)

# Right end of the polynomials, and the scale of the Moebius map y = (C − u)/(C + u), u = Z_MAX − z.
Z_MAX = 1.25
C = 4.5

# Powers of y, lowest first: Y(z)·(C + u) to 2.4e-16.
MILLS = np.array(
    [
        2.5594393207364363,
        3.576960547722799,
        4.199083997427284,
        4.148890459522134,
        3.4280133139413183,
        2.327294343831042,
        1.250311950732283,
        0.48655146534145144,
        0.0997344727995022,
        -0.01938046665445595,
        -0.021471741949047957,
        -0.004076657401904695,
        0.0022989088009124047,
        0.0012001156219533541,
        -0.0001843211126709591,
        -0.00024428196178639586,
        9.932882532379659e-06,
        4.823568342292281e-05,
        -3.7667663080801534e-07,
        -9.784052336962202e-06,
        2.781828337097785e-07,
        1.91928130220833e-06,
        -1.5424356168595945e-07,
        -3.0573275747113065e-07,
        4.213753342330709e-08,
        2.7382332539998267e-08,
        -5.075528364230387e-09,
    ]
)

# Powers of y, lowest first: Y'(z)·(C + u)² to 1.7e-15 far in the wing, 2e-16 near zero.
MILLS_SLOPE = np.array(
    [
        6.136399868459238,
        15.552089090300166,
        25.043923370847377,
        30.307615093853247,
        28.776538288914697,
        21.465637767412442,
        12.158043911258996,
        4.690287504378083,
        0.7231860708599142,
        -0.4085220770274526,
        -0.28103250777914646,
        -0.021333047600195307,
        0.04548786530623439,
        0.014221418102068468,
        -0.006430809643856374,
        -0.0037504889873928257,
        0.0009927973265363883,
        0.0008633532636056452,
        -0.000199181609422335,
        -0.00019282863097774762,
        5.2785382686375167e-05,
        4.1449779947158625e-05,
        -1.5460724812186003e-05,
        -7.95525891448483e-06,
        4.050155632085501e-06,
        1.1690298965830579e-06,
        -7.693795461970654e-07,
        -9.40840468012578e-08,
        7.515594654632736e-08,
    ]
)


@fused_kernel
def norm_pdf(x: float) -> float:
    """φ(x) = exp(−x²/2)/√(2π)."""
    return INV_SQRT_2PI * math.exp(-0.5 * x * x)


@fused_kernel
def norm_cdf(x: float) -> float:
    """Φ(x), with small *relative* error in the left wing too; 0 from x = −39 down."""
    if x > 0.0:
        return 1.0 - norm_pdf(x) * mills(-x)
    return norm_pdf(x) * mills(x)


@fused_kernel
def mills(z: float) -> float:
    """Y(z) = Φ(z)/φ(z); grows like exp(z²/2) to the right (infinite from z = 39), falls like 1/|z| to the left."""
    if z > Z_MAX:
        return 1.0 / norm_pdf(z) - _mills_left(-z)
    return _mills_left(z)


@fused_kernel
def _mills_left(z: float) -> float:
    u = Z_MAX - z
    scale = 1.0 / (C + u)
    y = (C - u) * scale
    total: float = MILLS[26]
    for i in range(25, -1, -1):
        total = total * y + MILLS[i]
    return total * scale


@fused_kernel
def mills_slope(z: float) -> float:
    """Y'(z) = 1 + z·Y(z) for z ≤ Z_MAX, without the cancellation that the sum suffers in the left wing."""
    u = Z_MAX - z
    scale = 1.0 / (C + u)
    y = (C - u) * scale
    total: float = MILLS_SLOPE[28]
    for i in range(27, -1, -1):
        total = total * y + MILLS_SLOPE[i]
    return total * scale * scale
