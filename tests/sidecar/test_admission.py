"""Places for connections: so many, so many of one address, and none is lost."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pricer.config import ServerSection
from pricer.sidecar.admission import ADDRESS, MOST_UNKNOWN, MOST_UNKNOWN_OF_ONE, TOTAL, Admission, Places


def test_V03_an_address_cannot_take_every_place() -> None:
    places = Places(5, 3)
    assert [places.take("a") for _ in range(4)] == ["", "", "", ADDRESS]
    assert [places.take("b") for _ in range(3)] == ["", "", TOTAL]
    places.give_back("a")
    assert places.take("a") == ""


def asking(**settings: Any) -> Admission:
    """Of a sidecar that asks for tokens."""
    admission = Admission(ServerSection(**settings))
    admission.asks = lambda: True
    return admission


def taken(admission: Admission, *addresses: str) -> int:
    """How many of the handshakes without a token had a place."""
    places = admission.websockets(shows_token=False)
    return sum(not places.take(admission.address_of((address, 1))) for address in addresses)


def test_V03_one_address_leaves_others_room_to_show_their_token() -> None:
    admission = asking()
    assert taken(admission, *["192.0.2.1"] * 200) == MOST_UNKNOWN_OF_ONE
    assert taken(admission, "192.0.2.2") == 1
    assert taken(asking(max_clients_per_address=2), *["192.0.2.1"] * 200) == 2
    admission.reconfigure(ServerSection(max_clients_per_address=1))
    assert taken(admission, *["192.0.2.3"] * 2) == 1


def test_V03_behind_a_proxy_all_who_show_no_token_share_their_places() -> None:
    assert taken(asking(behind_proxy=True), *["192.0.2.1"] * 200) == MOST_UNKNOWN


def test_V03_an_address_of_ipv6_is_its_whole_network() -> None:
    admission = Admission(ServerSection(max_clients_per_address=20))
    for places in (admission.http, admission.clients):
        inside = [admission.address_of((f"2001:db8::{number:x}", 1)) for number in range(21)]
        assert [places.take(address) for address in inside] == [""] * 20 + [ADDRESS]
        assert places.take(admission.address_of(("2001:db8:0:1::1", 1))) == ""
        for address in inside[:20]:
            places.give_back(address)
        assert places.count == 1


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
