"""Raw SVI decided exactly: the parameters are doubles, so they are rational numbers, and so is all that follows here.

Butterfly: with x = k − m = σ(t − 1/t)/2, t > 0, the root √(x² + σ²) is σ(t + 1/t)/2, and everything in Durrleman's g is
a quotient of polynomials in t. So its sign is that of one polynomial.

Calendar: the difference of two smiles is L + b₂R₂ − b₁R₁ (L linear, Rᵢ the roots). Its zeros are real zeros of the
quartic (b₁²R₁² − L² − b₂²R₂²)² − 4L²b₂²R₂², which may have others. Where the quartic has none, or a single one while
the difference is positive on both sides, the difference has no zero.

Both polynomials are searched with the rule of Descartes in Bernstein form, halving an interval until it is decided
(Vincent, Collins and Akritas), all in integers: no decision is a matter of rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

Raw = Sequence[float]  # a, b, rho, m, sigma

# Zeros closer together than 2^-400 of an interval are taken for a touch, and a touch is called a violation.
DEPTH = 400


class Exact:
    """A polynomial with coefficients c·2^−e, lowest power first: as exact as fractions, and ten times as fast."""

    def __init__(self, coefficients: list[int], exponent: int = 0) -> None:
        self.coefficients, self.exponent = coefficients, exponent

    @classmethod
    def of(cls, value: float) -> Exact:
        """A constant."""
        top, bottom = float(value).as_integer_ratio()
        return cls([top], bottom.bit_length() - 1)

    def __mul__(self, other: Exact) -> Exact:
        product = [0] * (len(self.coefficients) + len(other.coefficients) - 1)
        for i, x in enumerate(self.coefficients):
            for j, y in enumerate(other.coefficients):
                product[i + j] += x * y
        return Exact(product, self.exponent + other.exponent)

    def __add__(self, other: Exact) -> Exact:
        exponent = max(self.exponent, other.exponent)
        total = [0] * max(len(self.coefficients), len(other.coefficients))
        for each in (self, other):
            for i, x in enumerate(each.coefficients):
                total[i] += x << (exponent - each.exponent)
        return Exact(total, exponent)

    def __neg__(self) -> Exact:
        return Exact([-x for x in self.coefficients], self.exponent)

    def __sub__(self, other: Exact) -> Exact:
        return self + -other

    @property
    def sign(self) -> int:
        """Of a constant."""
        (value,) = self.coefficients
        return (value > 0) - (value < 0)


ONE, TWO, FOUR = Exact([1]), Exact([2]), Exact([4])
T = Exact([0, 1])


def is_free_of_butterflies(params: Raw) -> bool:
    """w > 0 and g > 0 on the whole line, and wings not steeper than 2, for these very doubles."""
    if not all(map(math.isfinite, params)):
        return False
    a, b, rho, m, sigma = map(Exact.of, params)
    right, left = b * (ONE + rho), b * (ONE - rho)
    if sigma.sign <= 0 or min(right.sign, left.sign) < 0 or min((TWO - right).sign, (TWO - left).sign) < 0:
        return False
    # The smallest w is a + σ√(c₊c₋).
    if a.sign <= 0 and (sigma * sigma * right * left - a * a).sign <= 0:
        return False
    return is_positive(g_numerator(a, b, right, left, m, sigma).coefficients)


def g_numerator(a: Exact, b: Exact, right: Exact, left: Exact, m: Exact, sigma: Exact) -> Exact:
    """A polynomial in t with the sign of g: w = P/2t, k = K/2t, w′ = S/(t² + 1), w″ = 8bt³/(σ(t² + 1)³)."""
    p = sigma * left + TWO * a * T + sigma * right * T * T
    k = TWO * m * T + sigma * (T * T - ONE)
    s = right * T * T - left
    q = T * T + ONE
    tilt, squared = TWO * p * q - s * k, s * s
    g = FOUR * sigma * tilt * tilt * q
    g = g - Exact([8]) * sigma * squared * p * T * q
    g = g - sigma * squared * p * p * q
    return g + Exact([64]) * b * T * T * T * p * p


def is_positive(coefficients: list[int]) -> bool:
    """Of a polynomial at all t > 0."""
    coefficients = stripped(coefficients)
    return bool(coefficients) and all(
        is_positive_inside(bernstein(each)) for each in (coefficients, coefficients[::-1])
    )


def stripped(coefficients: list[int]) -> list[int]:
    """Without zeros at both ends: neither t = 0 nor infinity is a t > 0."""
    known = [i for i, c in enumerate(coefficients) if c != 0]
    return coefficients[known[0] : known[-1] + 1] if known else []


def is_positive_inside(form: list[int]) -> bool:
    """On [0, 1], from the Bernstein form."""
    waiting = [(form, 0)]
    while waiting:
        form, depth = waiting.pop()
        if form[0] <= 0 or form[-1] <= 0 or depth == DEPTH:
            return False
        if min(form) < 0:
            waiting += [(half, depth + 1) for half in halves(form)]
    return True


def bernstein(power: list[int]) -> list[int]:
    """The form on [0, 1] of a polynomial, times a positive number."""
    n = len(power) - 1
    scale = math.lcm(*(math.comb(n, i) for i in range(n + 1)))
    return [sum(math.comb(j, i) * scale // math.comb(n, i) * power[i] for i in range(j + 1)) for j in range(n + 1)]


def halves(form: list[int]) -> tuple[list[int], list[int]]:
    """The forms of both halves, times one positive number: de Casteljau with sums in place of means."""
    n = len(form) - 1
    level, left, right = form, [form[0] << n], [form[-1] << n]
    for i in range(1, n + 1):
        level = [x + y for x, y in itertools.pairwise(level)]
        left.append(level[0] << (n - i))
        right.append(level[-1] << (n - i))
    return left, right[::-1]


def sign_changes(form: list[int]) -> int:
    signs = [c > 0 for c in form if c != 0]
    return sum(first != second for first, second in itertools.pairwise(signs))


def is_above(upper: Raw, lower: Raw) -> bool:
    """Is total variance of `upper` greater than that of `lower` on the whole line, for these very doubles?"""
    if not all(map(math.isfinite, (*upper, *lower))):
        return False
    difference = Difference(upper, lower)
    quartic = difference.quartic()
    if not any(quartic) or min(difference.sign(Exact([x]), ONE) for x in (-1, 0, 1)) <= 0:
        return False
    return all(difference.far_sign(side) > 0 for side in (1, -1)) and all(
        difference.is_positive_on(quartic, side, far) for side in (1, -1) for far in (False, True)
    )


class Difference:
    """D = L + b₂R₂ − b₁R₁ of two smiles, in homogeneous coordinates: k = x/y with y >= 0, and D times y."""

    def __init__(self, upper: Raw, lower: Raw) -> None:
        self.upper, self.lower = (list(map(Exact.of, params)) for params in (upper, lower))
        a1, b1, rho1, m1, _ = self.lower
        a2, b2, rho2, m2, _ = self.upper
        self.constant = a2 - a1 - b2 * rho2 * m2 + b1 * rho1 * m1
        self.slope = b2 * rho2 - b1 * rho1

    def sign(self, x: Exact, y: Exact) -> int:
        line = self.constant * y + self.slope * x
        return sign_of_roots(line, squared_root(self.upper, x, y), squared_root(self.lower, x, y))

    def far_sign(self, side: int) -> int:
        """At k = ±infinity: of the slopes, of the asymptotes where these agree, of what is left where those do."""
        _, b1, _, m1, sigma1 = self.lower
        _, b2, _, m2, sigma2 = self.upper
        way = Exact([side])
        slopes = way * self.slope + b2 - b1
        asymptotes = self.constant - way * (b2 * m2 - b1 * m1)
        return slopes.sign or asymptotes.sign or (b2 * sigma2 * sigma2 - b1 * sigma1 * sigma1).sign

    def quartic(self) -> list[int]:
        line = self.constant + self.slope * T
        first, second = squared_root(self.lower, T, ONE), squared_root(self.upper, T, ONE)
        middle = first - line * line - second
        found = (middle * middle - FOUR * line * line * second).coefficients
        return found + [0] * (5 - len(found))

    def is_positive_on(self, quartic: list[int], side: int, far: bool) -> bool:
        """For 0 < side·k <= 1, or with `far` for side·k >= 1; known to be positive at both ends."""
        way = [c * side**i for i, c in enumerate(quartic)]
        waiting = [(bernstein(way[::-1] if far else way), 0, 0)]
        while waiting:
            form, place, depth = waiting.pop()  # of u in [place, place + 1]/2^depth
            if sign_changes(form) > 1:
                if depth == DEPTH:
                    return False
                waiting += [(half, 2 * place + i, depth + 1) for i, half in enumerate(halves(form))]
            elif sign_changes(form) == 1 or form[0] == 0 or form[-1] == 0:
                for end in (place, place + 1):
                    u = Exact([end], depth)
                    if end and self.sign(*((Exact([side]), u) if far else (Exact([side]) * u, ONE))) <= 0:
                        return False
        return True


def squared_root(params: list[Exact], x: Exact, y: Exact) -> Exact:
    """(bR)² in homogeneous coordinates."""
    _, b, _, m, sigma = params
    off, width = x - m * y, sigma * y
    return b * b * (off * off + width * width)


def sign_of_roots(line: Exact, plus: Exact, minus: Exact) -> int:
    """Whether line + √plus − √minus is positive: 1, or 0 where it is zero or less."""
    if line.sign >= 0:
        rest = line * line + plus - minus  # √minus is less than the other side where rest + 2·line·√plus > 0
        twice = FOUR * line * line * plus
        return int(rest.sign > 0 or (rest.sign == 0 and twice.sign > 0) or (twice - rest * rest).sign > 0)
    rest = plus - minus - line * line  # √plus is more than √minus − line where this is more than −2·line·√minus
    return int(rest.sign > 0 and (rest * rest - FOUR * line * line * minus).sign > 0)
