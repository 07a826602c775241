"""Where people's arrays meet the kernels: any shapes and words in, flat columns to a kernel, shapes and statuses out.

Every model's public functions go through here, so that all of them broadcast, discount and refuse alike. A chain
kernel takes read-only columns in the order of its inputs, then cp, then the arrays it fills: numbers and statuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pricer.kernels.status import BAD_INPUT, KernelStatus

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.uint8]
Sign: TypeAlias = str | float  # ±1 or a word
Signs: TypeAlias = Any  # either of them, or an array-like of them
Chain: TypeAlias = Callable[..., None]

# Up to this discount no number of any kernel leaves the doubles; over it each is looked at.
SAFE_DISCOUNT = 1e15

_WORDS = {"call": 1.0, "c": 1.0, "put": -1.0, "p": -1.0}
_NUMBERS = {1.0: 1.0, -1.0: -1.0}
# By the very type: True is no sign, though it equals 1.
_SIGNS: dict[type, dict[Any, float]] = {str: _WORDS | {"C": 1.0, "P": -1.0}, float: _NUMBERS, int: _NUMBERS}


def priced(chain: Chain, inputs: tuple[ArrayLike, ...], cp: Signs, discount: ArrayLike, status: bool) -> Any:
    """One number a row, times discount: `chain(*inputs, cp, out, status)`."""
    shape, (*columns, d) = rows(*inputs, signs(cp), discount)
    out, codes = np.empty(len(d)), np.empty(len(d), np.uint8)
    chain(*columns, out, codes)
    _discount(out, codes, d)
    return (shaped(out, shape), shaped_codes(codes, shape)) if status else shaped(out, shape)


def solved(
    chain: Chain,
    premium: ArrayLike,
    inputs: tuple[ArrayLike, ...],
    cp: Signs,
    discount: ArrayLike,
    status: bool,
    *more: ArrayLike,
) -> Any:
    """One number a row of the premium over discount: `chain(premium, *inputs, cp, *more, out, status)`."""
    shape, (p, *columns) = rows(undiscounted(premium, discount), *inputs, signs(cp), *more)
    out, codes = np.empty(len(p)), np.empty(len(p), np.uint8)
    chain(p, *columns, out, codes)
    return (shaped(out, shape), shaped_codes(codes, shape)) if status else shaped(out, shape)


def derived(
    chain: Chain, fields: int, inputs: tuple[ArrayLike, ...], cp: Signs, discount: ArrayLike
) -> tuple[list[Any], Codes | KernelStatus]:
    """`fields` numbers a row, times discount, and the statuses: `chain(*inputs, cp, out[fields, row], status)`."""
    shape, (*columns, d) = rows(*inputs, signs(cp), discount)
    out, codes = np.empty((fields, len(d))), np.empty(len(d), np.uint8)
    chain(*columns, out, codes)
    _discount(out, codes, d)
    return [shaped(field, shape) for field in out], shaped_codes(codes, shape)


def undiscounted(premium: ArrayLike, discount: ArrayLike) -> Floats:
    """The premium over discount; NaN where that is not positive and finite."""
    p, d = np.asarray(premium, float), np.asarray(discount, float)
    with np.errstate(all="ignore"):
        return np.where((d > 0.0) & (d < np.inf), p / d, np.nan)


def one_option(a: Any, b: Any, c: Any, d: Any, discount: Any, cp: Any) -> bool:
    """Whether all are plain floats: then arrays, which take ten times as long to make as a price, are not needed."""
    floats = a.__class__ is b.__class__ is c.__class__ is d.__class__ is discount.__class__ is float
    # NumPy's doubles are floats, too; only they pay for the question.
    floats = floats or all(isinstance(value, float) for value in (a, b, c, d, discount))
    return floats and (cp.__class__ in _SIGNS or isinstance(cp, (str, float, int)))


def sign(cp: object) -> float:
    """+1.0 or -1.0 for one word or number; anything else is named in a ValueError, never taken for a put."""
    try:
        return _SIGNS[cp.__class__][cp]  # one option from Python takes a microsecond: this is a tenth of it
    except (KeyError, TypeError):
        pass
    found = _WORDS.get(cp.lower()) if isinstance(cp, str) else cp
    if isinstance(found, (int, float, np.number)) and not isinstance(found, bool) and found in (1, -1):
        return float(found)
    raise ValueError(f'cp must be +1, -1, "call", "put", "C" or "P", not {cp!r}')


def signs(cp: Signs) -> Floats | float:
    """`sign` of one, or of each of an array."""
    if isinstance(cp, (str, int, float)):
        return sign(cp)
    given = np.asarray(cp)
    if given.dtype.kind not in "iuf":
        return np.array([sign(value) for value in given.ravel().tolist()], float).reshape(given.shape)
    wrong = np.abs(given) != 1
    if wrong.any():
        sign(given[wrong].flat[0].item())
    return given.astype(float)


def rows(*inputs: ArrayLike) -> tuple[tuple[int, ...], list[Floats]]:
    """The inputs broadcast: their shape, and each as a flat read-only column."""
    wide = np.broadcast_arrays(*(np.asarray(value, float) for value in inputs))
    return wide[0].shape, [frozen(np.ascontiguousarray(column).reshape(-1)) for column in wide]


def frozen(column: Floats) -> Floats:
    """A read-only view. Numba compiles once more for writable arrays; with this there is one kind."""
    view = column.view()
    view.flags.writeable = False
    return view


def shaped(row: Floats, shape: tuple[int, ...]) -> Any:
    """A flat column in the shape of the inputs; a float where they were scalars."""
    return row.reshape(shape) if shape else float(row[0])


def shaped_codes(codes: Codes, shape: tuple[int, ...]) -> Codes | KernelStatus:
    """Statuses in the shape of the inputs; one `KernelStatus` where they were scalars."""
    return codes.reshape(shape) if shape else KernelStatus(codes[0])


def _discount(out: Floats, codes: Codes, discount: Floats) -> None:
    """`out` times discount in place; one that is not positive and finite, or leaves the doubles, is bad input."""
    bad = ~((discount > 0.0) & (discount < np.inf))
    with np.errstate(over="ignore"):
        out *= np.where(bad, np.nan, discount)
    if (discount > SAFE_DISCOUNT).any():
        bad |= np.isinf(out.reshape(-1, len(discount))).any(axis=0)
        out[..., bad] = np.nan
    codes[bad] = BAD_INPUT
