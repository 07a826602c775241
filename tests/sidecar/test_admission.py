"""Places for connections: so many, so many of one address, and none is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pricer.sidecar.admission import ADDRESS, TOTAL, Places


def test_V03_an_address_cannot_take_every_place() -> None:
    places = Places(5, 3)
    assert [places.take("a") for _ in range(4)] == ["", "", "", ADDRESS]
    assert [places.take("b") for _ in range(3)] == ["", "", TOTAL]
    places.give_back("a")
    assert places.take("a") == ""


def test_a_unix_socket_has_no_address_to_count() -> None:
    places = Places(5, 1)
    assert [places.take("") for _ in range(6)] == ["", "", "", "", "", TOTAL]


@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["", "a", "b"])), max_size=60))
def test_V03_whatever_comes_and_goes_the_count_is_right(steps: list[tuple[bool, str]]) -> None:
    places, inside = Places(4, 2), []
    for comes, address in steps:
        if comes and not places.take(address):
            inside.append(address)
        elif not comes and address in inside:
            inside.remove(address)
            places.give_back(address)
        assert places.count == len(inside) <= 4
        assert max((inside.count(name) for name in ("a", "b")), default=0) <= 2
