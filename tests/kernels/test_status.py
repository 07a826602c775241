"""The codes are a public contract: their numbers never change."""

from __future__ import annotations

from pricer.kernels import status
from pricer.kernels.status import KernelStatus


def test_the_numbers_of_the_codes_are_fixed() -> None:
    assert {code.name: int(code) for code in KernelStatus} == {
        "OK": 0,
        "AT_INTRINSIC": 1,
        "BELOW_INTRINSIC": 2,
        "ABOVE_MAX": 3,
        "BAD_INPUT": 4,
        "NO_CONVERGENCE": 5,
        "LOW_VEGA": 6,
    }


def test_each_code_has_its_plain_integer_for_kernels() -> None:
    for code in KernelStatus:
        assert type(getattr(status, code.name)) is int
        assert getattr(status, code.name) == code
