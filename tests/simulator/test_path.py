"""Lanes and links by the figures that a script asks for; the times are the test's own."""

from __future__ import annotations

import pytest

from pricer.simulator.faults import Fault, fault
from pricer.simulator.path import LANE_BYTES, End, Link, Path


class Bench:
    """A path with some links, and what happened to them."""

    def __init__(self, links: int = 1, seed: int = 0) -> None:
        self.now_s = 0.0
        self.ends: list[End] = []
        self.changes = 0
        self.path = Path(seed)
        self.path.use_clock(lambda: self.now_s)
        self.links = [self.path.join(self.ends.append, self._changed) for _ in range(links)]

    @property
    def link(self) -> Link:
        return self.links[0]

    def begin(self, name: str, **parameters: float | int | str) -> Fault:
        each = fault(self.now_s, name, **parameters)
        self.path.begin(id(each), each)
        return each

    def end(self, each: Fault) -> None:
        self.path.end(id(each), each)

    def _changed(self) -> None:
        self.changes += 1


def test_a_fair_path_passes_bytes_at_once_and_whole() -> None:
    link = Bench().link
    link.up.push(b"hello", 1.0)
    assert link.up.next_s(1.0) == 1.0
    assert link.up.take(1.0) == [b"hello"]
    assert link.up.next_s(1.0) is None


def test_latency_and_jitter_delay_and_keep_the_order() -> None:
    bench = Bench()
    slow = bench.begin("latency", seconds=0.5, jitter_s=0.2)
    lane = bench.link.down
    dues = []
    for at in range(50):
        lane.push(bytes([at]), at * 0.01)
    while (due_s := lane.next_s(0.0)) is not None:
        dues.append(due_s)
        assert lane.take(due_s - 1e-6) == []
        assert lane.take(due_s)
    assert dues == sorted(dues)
    assert 0.5 <= dues[0] <= 0.7
    assert all(at * 0.01 + 0.5 <= due <= 50 * 0.01 + 0.7 for at, due in enumerate(dues))
    bench.end(slow)
    lane.push(b"x", 9.0)
    assert lane.take(9.0) == [b"x"]


def test_a_band_passes_so_many_bytes_a_second() -> None:
    bench = Bench()
    bench.begin("bandwidth", bytes_per_s=1000)
    lane = bench.link.down
    for _ in range(20):
        lane.push(bytes(100), 0.0)
    assert sum(map(len, lane.take(1.0))) == 1000
    assert lane.next_s(1.0) == pytest.approx(1.1)
    assert sum(map(len, lane.take(5.0))) == 1000


def test_a_full_lane_says_so() -> None:
    bench = Bench()
    bench.begin("black_hole")
    lane = bench.link.up
    lane.push(bytes(LANE_BYTES), 0.0)
    assert lane.is_full


def test_slices() -> None:
    bench = Bench()
    bench.begin("slice", bytes=2)
    bench.link.up.push(b"abcde", 0.0)
    assert bench.link.up.take(0.0) == [b"ab", b"cd", b"e"]


@pytest.mark.parametrize(("direction", "up", "down"), [("both", 0, 0), ("up", 0, 1), ("down", 1, 0)])
def test_a_black_hole_holds_one_way_or_both_until_it_is_over(direction: str, up: int, down: int) -> None:
    bench = Bench()
    hole = bench.begin("black_hole", direction=direction)
    for lane, passes in ((bench.link.up, up), (bench.link.down, down)):
        lane.push(b"x", 0.0)
        assert (lane.next_s(0.0) is not None) is bool(passes)
        assert len(lane.take(100.0)) == passes
    bench.end(hole)
    assert bench.changes == 2
    assert len(bench.link.up.take(100.0)) + len(bench.link.down.take(100.0)) == 2 - up - down


@pytest.mark.parametrize("how", ["reset", "fin"])
def test_ends_reach_every_link(how: str) -> None:
    bench = Bench(links=3)
    bench.begin(how)
    assert bench.ends == [how] * 3


def test_a_cut_comes_after_so_many_bytes() -> None:
    bench = Bench()
    bench.begin("cut", bytes=7)
    link = bench.link
    assert link.passed_down(b"abcde") == b"abcde"
    assert not link.is_cut
    assert link.passed_down(b"fghij") == b"fg"
    assert link.is_cut


def test_a_stall_holds_a_part_of_the_links_and_lets_all_go_in_time() -> None:
    bench = Bench(links=40, seed=3)
    bench.begin("stall", share=0.5, for_s=4.0)
    for link in bench.links:
        link.down.push(b"x", 2.0)  # in the middle all that are to stall do
    dues = [link.down.next_s(2.0) for link in bench.links]
    stalled = [due for due in dues if due is not None and due > 2.0]
    assert 8 <= len(stalled) <= 32
    assert all(2.0 < due <= 4.0 for due in stalled)
    assert stalled != sorted(stalled), "they go on in another order"


def test_faults_add_up_and_leave_nothing_behind() -> None:
    bench = Bench()
    both = [bench.begin("latency", seconds=0.1), bench.begin("latency", seconds=0.2), bench.begin("unreachable")]
    assert bench.path.weather.latency_s == pytest.approx(0.3)
    assert bench.path.weather.unreachable
    for each in both:
        bench.end(each)
    assert bench.path.weather == Path().weather


def test_the_same_seed_gives_the_same_delays() -> None:
    def delays(seed: int) -> list[float]:
        bench = Bench(seed=seed)
        bench.begin("latency", seconds=0.0, jitter_s=1.0)
        return [bench.path.delay_s() for _ in range(5)]

    assert delays(4) == delays(4) != delays(5)
