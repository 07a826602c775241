"""Books on demand: counted, bounded, and kept for a moment."""

from __future__ import annotations

import threading

from pricer.book_wishes import LINGER_NS, BookWishes

SECOND = 1_000_000_000


def test_a_book_is_wanted_until_everybody_has_released_it() -> None:
    wishes = BookWishes(5, linger_ns=0)
    assert wishes.want("A")
    assert wishes.want("A")
    wishes.release("A", 0)
    assert wishes.names(1) == {"A"}
    wishes.release("A", 1)
    assert wishes.names(2) == frozenset()
    wishes.release("A", 3)
    wishes.release("never wanted", 3)
    assert wishes.names(4) == frozenset()


def test_beyond_the_limit_names_wait_in_their_order() -> None:
    wishes = BookWishes(2, linger_ns=0)
    assert [wishes.want(name) for name in "ABCD"] == [True, True, False, False]
    assert wishes.names(0) == {"A", "B"}
    wishes.release("A", 0)
    assert wishes.names(1) == {"B", "C"}


def test_one_that_was_released_lingers_where_there_is_room() -> None:
    wishes = BookWishes(2)
    wishes.want("A")
    wishes.release("A", 0)
    assert wishes.names(LINGER_NS - 1) == {"A"}
    assert wishes.next_deadline() == LINGER_NS
    assert wishes.names(LINGER_NS) == frozenset()
    assert wishes.next_deadline() is None
    for name in "ABC":
        wishes.want(name)
        wishes.release(name, LINGER_NS)
    assert wishes.names(LINGER_NS) == {"B", "C"}
    wishes.want("D")
    assert wishes.names(LINGER_NS) == {"D", "C"}


def test_V06_changing_to_and_fro_between_two_books_changes_nothing_at_the_venue() -> None:
    wishes = BookWishes(2)
    seen = set()
    for step in range(100):
        name = "AB"[step % 2]
        wishes.want(name)
        seen.add(wishes.names(step * SECOND))
        wishes.release(name, step * SECOND)
        seen.add(wishes.names(step * SECOND))
    assert seen == {frozenset("A"), frozenset("AB")}


def test_a_limit_of_none_gives_none() -> None:
    wishes = BookWishes(0)
    assert not wishes.want("A")
    assert wishes.names(0) == frozenset()


def test_wishes_of_many_threads_are_all_counted() -> None:
    wishes = BookWishes(3, linger_ns=0)

    def viewer() -> None:
        for _ in range(300):
            wishes.want("A")
            wishes.names(0)
            wishes.release("A", 0)

    threads = [threading.Thread(target=viewer) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wishes.names(1) == frozenset()
    wishes.want("A")
    wishes.release("A", 1)
    assert wishes.names(2) == frozenset()
