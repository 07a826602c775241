"""A bounded memory of keys."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from pricer.remembered import Remembered


def test_a_key_is_new_once_and_then_known() -> None:
    seen = Remembered[tuple[str, str]](10)
    assert seen.add(("BTC", "1"))
    assert ("BTC", "1") in seen
    assert not seen.add(("BTC", "1"))
    assert seen.add(("BTC", "2"))
    assert len(seen) == 2


def test_the_oldest_is_forgotten_first_and_a_repetition_does_not_renew_it() -> None:
    seen = Remembered[int](3)
    assert [seen.add(key) for key in (1, 2, 3, 1, 4)] == [True, True, True, False, True]
    assert [key in seen for key in (1, 2, 3, 4)] == [False, True, True, True]


def test_a_flood_of_keys_stays_bounded_and_agrees_with_a_plain_reckoning() -> None:
    chance, most = np.random.default_rng(3), 50
    seen, plain = Remembered[int](most), OrderedDict[int, None]()
    for key in chance.integers(0, 120, 5_000).tolist():
        assert seen.add(key) is (key not in plain)
        if key not in plain:
            plain[key] = None
            if len(plain) > most:
                plain.popitem(last=False)
        assert len(seen) == len(plain) <= most
