"""The normal distribution, and the ratio Y = Φ/φ that carries it through both wings.

Y(z) = Φ(z)/φ(z) neither overflows nor underflows for z ≤ 0, and differences of it are Black's formula without an
exponential (see `black76`). Y and its derivative Y' = 1 + z·Y are each one polynomial on z ≤ Z_MAX, in the variable of
a Moebius map of the half-line; `docs/derivations/mills_ratio.py` and `mills_difference.py` print them again.

A difference Y(a) − Y(b) is the divided difference of such a polynomial (`mills_difference`): no digit is lost however
near a and b are, and both cost less than one call of Y each.
"""

from __future__ import annotations

import math

from pricer.kernels.elementary import divided_difference, exp, fma, log, polynomial
from pricer.kernels.jit import inlined, kernel

INV_SQRT_2PI = 0.3989422804014327  # 1/√(2π), φ(0)
SQRT_2PI = 2.5066282746310002

# Right end of the polynomials, and the scale of the Moebius map y = (C − u)/(C + u), u = Z_MAX − z.
Z_MAX = 1.25
C = 4.5

# Powers of y, lowest first: Y(z)·(C + u) to 2.4e-16.
MILLS = (
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
)

# Powers of y, lowest first: Y'(z)·(C + u)² to 1.7e-15 far in the wing, 2e-16 near zero.
MILLS_SLOPE = (
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
)


# Y(z) in powers of y = z/(POLE − z), without its constant: its derivative is Y'(z)·(POLE − z)²/POLE, to
# 1e-16·max(1, z²/3). y keeps all digits of a small z, and the first coefficient is POLE itself: nothing is lost at the
# money.
POLE = 5.75
MILLS_RISE = (
    0.0,
    5.75,
    14.968849332496871,
    27.6820930016728,
    37.55141201140778,
    37.10914401017999,
    25.207196055678192,
    9.478390948341813,
    -0.6135674329329067,
    -2.4649408336710987,
    -0.5355787084586886,
    0.5483829463740227,
    0.20396843319285535,
    -0.15023614884903072,
    -0.05520376313548962,
    0.05095525645628878,
    0.010212932971894646,
    -0.018383106653434858,
    -0.000717107888185788,
    0.00300471863072845,
    -0.00163764197655579,
    0.006968829635605539,
    0.014548115460476418,
    0.010447960052161516,
    0.003498334047339404,
    0.0004671160092875375,
)

_mills_tail = polynomial(MILLS)
_slope_tail = polynomial(MILLS_SLOPE)
_rise_between = divided_difference(MILLS_RISE)


@inlined
def norm_pdf(x: float) -> float:
    """φ(x) = exp(−x²/2)/√(2π), to 3 units in the last place: the rounding of x² is put back."""
    square = x * x
    lost = fma(x, x, -square)
    density = INV_SQRT_2PI * exp(-0.5 * square)
    return fma(-0.5 * lost, density, density) if abs(lost) < 1.0 else density


@inlined
def norm_cdf(x: float) -> float:
    """Φ(x), to 5 units in the last place from −10 up, 12 down to where it is subnormal (−37.5); 0 from −39 down."""
    density = norm_pdf(x)
    # At an infinity the ratio is none; the tail is zero already.
    tail = density * mills_left(-abs(x)) if density > 0.0 else density
    return 1.0 - tail if x > 0.0 else tail


@kernel
def norm_ppf(p: float) -> float:
    """The inverse of Φ: x with Φ(x) = p, to 7 units in the last place; ∓inf at 0 and 1, NaN outside.

    Above 1/2 it is −norm_ppf(1 − p), and 1 − p is exact. Subnormal p have as many digits of x as they have themselves.
    """
    if not 0.0 <= p <= 1.0:
        return math.nan
    if 0.25 <= p <= 0.75:
        return math.copysign(_central_ppf(abs(p - 0.5)), p - 0.5)
    return -_wing_ppf(1.0 - p) if p > 0.5 else _wing_ppf(p)


@inlined
def _central_ppf(q: float) -> float:
    """x with Φ(x) − 1/2 = q for q from 0 to 1/4, with all its digits next to 0: p itself would not give them."""
    x = q * SQRT_2PI * (1.0 + 1.0472 * q * q)  # from Φ's series, 1 % off at 1/4
    for _ in range(2):
        newton = 0.5 * mills_difference(0.0, x) - q * SQRT_2PI * exp(0.5 * x * x)
        x -= newton / (1.0 + 0.5 * newton * x)
    return x


@inlined
def _wing_ppf(p: float) -> float:
    """x with Φ(x) = p for p up to 1/4: Newton's steps on ln Φ(x) = ln p, whose slope is 1/Y, bent by its curvature."""
    if p == 0.0:
        return -math.inf
    log_p = log(p)
    # The leading terms of ln Φ at 0 and at −∞, ln(1/2) − 0.798·z + ... and −z²/2, joined: 3 % off at most.
    level = -log_p - 0.6931471805599453
    x = (0.7979 - math.sqrt(0.6366 + 1.6 * level)) / 0.8
    for _ in range(60):
        ratio = mills(x)
        residual = _log_ratio_to(p, log_p, x, ratio)
        newton = residual * ratio
        change = newton / (1.0 + 0.5 * newton * (x + 1.0 / ratio))
        x -= change
        if abs(change) <= 1e-6 * abs(x):
            break
    return x


@inlined
def _log_ratio_to(p: float, log_p: float, x: float, ratio: float) -> float:
    """ln(Φ(x)/p): as the logarithm of a quotient where that, of a guess too, is far from the end of the doubles."""
    if p > 1e-100:
        return log(norm_pdf(x) * ratio / p)
    return log(INV_SQRT_2PI * ratio) - 0.5 * x * x - log_p


@inlined
def mills(z: float) -> float:
    """Y(z) = Φ(z)/φ(z), z > −∞; falls like 1/|z| to the left, grows like exp(z²/2) to the right (inf from 37.7 up)."""
    if z > Z_MAX:
        density = norm_pdf(z)
        return 1.0 / density - mills_left(-z) if density > 0.0 else math.inf
    return mills_left(z)


@inlined
def mills_left(z: float) -> float:
    """Y(z) for z ≤ Z_MAX, without a branch."""
    u = Z_MAX - z
    scale = 1.0 / (C + u)
    return _mills_tail((C - u) * scale) * scale


@inlined
def mills_slope(z: float) -> float:
    """Y'(z) = 1 + z·Y(z) for z ≤ Z_MAX, without the cancellation that the sum suffers in the left wing."""
    u = Z_MAX - z
    scale = 1.0 / (C + u)
    return _slope_tail((C - u) * scale) * scale * scale


@inlined
def mills_difference(h: float, t: float) -> float:
    """Y(h + t) − Y(h − t) for h ≤ 0 ≤ t and h + t ≤ Z_MAX, without a branch and without cancellation."""
    from_high, from_low = POLE - (h + t), POLE - (h - t)
    both = 1.0 / (from_high * from_low)
    high, low = (h + t) * (from_low * both), (h - t) * (from_high * both)
    # high − low is exactly 2t·POLE·both.
    return 2.0 * POLE * t * both * _rise_between(high, low)
