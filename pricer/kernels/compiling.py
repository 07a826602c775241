"""Other processes that compile beside this one, into the same directory.

Numba compiles one kernel at a time in a process, under a lock of its own, so a second core needs a second process. A
helper is a plain interpreter with this program's import path, not a `multiprocessing` child: that would run the user's
script again where it has no `if __name__ == "__main__"`.

The protocol is lines of text. A helper says `READY`; is told the name of a module; answers with the name of each call
of it that has run, then `DONE`; and so on until its input ends, as it does when the parent has ended in any way. It
does not catch exceptions: a helper that fails is gone, and the parent compiles what it has not found, and hears of
whatever was wrong by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from pricer.errors import VolstreamError

READY, DONE = "ready", "done"
MOST_HELPERS = 2  # with a third the tree of what calls what leaves them waiting for one another

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pricer.kernels.compiling import serve; serve()"
)


class HelperLost(VolstreamError):
    """The helper ended before it had done what it was told."""


def helpers_possible() -> int:
    """How many helpers this machine has cores for; 0 where none can be started."""
    # In a program that embeds Python, `sys.executable` is that program, and in a frozen one the program itself.
    interpreter = Path(sys.executable or "").name.lower()
    if getattr(sys, "frozen", False) or not interpreter.startswith(("python", "pypy")):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, MOST_HELPERS)


class Helper:
    """One process that compiles; `close` it in any case. Starting raises OSError where processes cannot be started."""

    def __init__(self) -> None:
        path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def wait_until_ready(self) -> None:
        """Blocks until it has imported the kernels; `HelperLost` where it could not."""
        self._expect(READY)

    def compile(self, module: str) -> Iterator[str]:
        """Tell it a module; yields the names of its calls as they are done. `HelperLost` where it ends before."""
        assert self._process.stdin is not None
        try:
            print(module, file=self._process.stdin, flush=True)
        except OSError:
            raise HelperLost("the helper has ended") from None
        while (line := self._line()) != DONE:
            yield line

    def kill(self) -> None:
        """End the process, whatever it is doing; from any thread."""
        self._process.kill()

    def close(self) -> None:
        """`kill`, and let go of it; from the thread that talks to it."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not yet sent cannot be
                if pipe is not None:
                    pipe.close()
        self._process.wait()

    def _expect(self, word: str) -> None:
        if (line := self._line()) != word:
            raise HelperLost(f"the helper said {line!r}, not {word!r}")

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise HelperLost("the helper has ended")
        return line.rstrip("\n")


def serve() -> None:
    """The helper's program."""
    from pricer.kernels.warmup import by_module, warmup_calls

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches us, too; the parent ends us
    answers, sys.stdout = sys.stdout, sys.stderr  # a stray print must not be taken for an answer
    modules = by_module(warmup_calls())
    print(READY, file=answers, flush=True)
    for line in sys.stdin:
        for name, call in modules[line.rstrip("\n")]:
            call()
            print(name, file=answers, flush=True)
        print(DONE, file=answers, flush=True)
