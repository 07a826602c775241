"""A port for a server that a test starts, and starts again."""

from __future__ import annotations

import random
import socket


def free_port() -> int:
    """A port that nobody has, also while a server of it starts again.

    Of those that the system gives to outgoing connections one may be taken meanwhile, even by a client that keeps
    trying to reach it: TCP then connects that client to itself.
    """
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("a hundred ports, and all of them taken")
