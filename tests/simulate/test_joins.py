"""A few thousand of the joins that `python -m tests.simulate.joins` makes a million of."""

from __future__ import annotations

import pytest

from pricer.sidecar.encodings import MSGPACK
from pricer.sidecar.following import Follower
from pricer.sidecar.messages import Message
from tests.simulate import joins
from tests.simulate.joins import Wrong, run


def test_V07_V08_V10_I3_clients_that_join_and_drop_at_any_moment_never_read_out_of_sequence() -> None:
    tally = run(5000, seed=20261122)
    assert tally.states > 5000
    assert tally.verified > 300, "checksums compared"
    for event in ("drops", "resumed", "restarts", "sessions", "gaps", "messages lost", "resubscriptions"):
        assert tally.events[event] > 0, event


def test_the_simulation_finds_a_client_that_keeps_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rule that a delta has the next seq, a lost message goes unnoticed."""

    class Careless(Follower):
        def _take(self, message: Message) -> bool:
            if message.type == "delta" and self.seq is not None:
                message.head["seq"] = self.seq + 1
                message.head.pop("crc32", None)
            return super()._take(message)

    monkeypatch.setattr(joins, "Follower", Careless)
    monkeypatch.setattr(joins, "decoded", MSGPACK.decode)
    with pytest.raises(Wrong, match="seed 1"):
        run(20_000, seed=1)
