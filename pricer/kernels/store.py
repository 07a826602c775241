"""Compiled kernels in files: one a kernel, signature and processor, checked before it is run.

Numba's own store has an index a function. Two processes that compile at the same time overwrite each other's entries
there, a damaged one ends the program at the first call, and nothing tells flipped bits in machine code from good ones.
So here

- a file's name is a digest of everything that the code depends on: the processor and its features, the versions of
  Python, NumPy, Numba and LLVM, the signature, and the kernel's own source file (all kernels' sources
  name the directory, see `pricer.kernels.jit`). Another machine's or version's code is another file;
- it begins with a digest of its name and contents. What does not agree is as good as absent: compiled anew, written
  again, and said once in the log. A file that cannot be written is said once, too, and no more than that;
- it is written beside and then renamed: a reader sees all of it or nothing, and of two writers the last one wins.

Loading needs no compiler, and Numba's registries of what it can compile, with SciPy's BLAS where that is installed, are
half a second of imports. They are left until something is compiled; only the runtime that arrays need is made ready.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import pickle
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba.core import compiler, serialize
from numba.core.caching import _Cache
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.core.runtime.nrt import rtsys

logger = logging.getLogger(__name__)

# Numba has no type annotations to speak of.
CompileResult: Any = compiler.CompileResult
dumps: Any = serialize.dumps
compiler_lock: Any = global_compiler_lock

# A child forked while another thread compiles would find Numba's lock held for ever, by a thread that it has not got.
# So a fork waits until nobody holds it.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=compiler_lock.acquire, after_in_parent=compiler_lock.release, after_in_child=compiler_lock.release
    )

SUFFIX = ".nbc"

_DIGEST_SIZE = hashlib.sha256().digest_size
_said: set[str] = set()


class KernelStore(_Cache):
    """The compiled forms of one function in `directory`; what a dispatcher asks before it compiles and tells after."""

    def __init__(self, function: Callable[..., Any], directory: Path) -> None:
        self._function = function
        self._directory = directory
        self._source = _source_digest(function.__code__.co_filename)
        self._enabled = bool(self._source)  # what was typed at a prompt is kept for the session only

    @property
    def cache_path(self) -> str:
        return str(self._directory)

    def enable(self) -> None:
        self._enabled = True

    def disable(self) -> None:
        self._enabled = False

    def flush(self) -> None:
        """Forget this function's files."""
        for file in self._directory.glob(f"{self._stem()}-*{SUFFIX}"):
            with contextlib.suppress(OSError):
                file.unlink()

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """The compiled form for `signature` on this processor; None where there is no sound one."""
        if not self._enabled:
            return None
        content = _read(self._file(signature))
        if content is None:
            return None
        rtsys.initialize(target_context)
        return CompileResult._rebuild(target_context, *pickle.loads(content))

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled form, if it can be kept and the disk allows it."""
        if self._enabled and not (result.lifted or result.library.has_dynamic_globals):
            _write(self._file(signature), dumps(result._reduce()))

    def _file(self, signature: Any) -> Path:
        code = self._function.__code__
        closure = [cell.cell_contents for cell in self._function.__closure__ or ()]
        depends_on = (machine(), repr(signature), self._source, code.co_firstlineno, code.co_code)
        key = hashlib.sha256(repr(depends_on).encode() + dumps(closure))
        return self._directory / f"{self._stem()}-{key.hexdigest()[:24]}{SUFFIX}"

    def _stem(self) -> str:
        name = f"{self._function.__module__.rpartition('.')[2]}.{self._function.__qualname__}"
        return name.replace("<", "").replace(">", "")  # not allowed in a file's name on Windows


def sound_files(directory: Path) -> tuple[int, int]:
    """How many files of compiled code in `directory` are sound, and how many are not."""
    sound = [_is_sound(file) for file in directory.glob(f"*{SUFFIX}")]
    return sum(sound), len(sound) - sum(sound)


def _is_sound(file: Path) -> bool:
    try:
        return _content(file) is not None
    except OSError:
        return False


@functools.cache
def machine() -> str:
    """What compiled code is tied to besides its sources: the processor, its features, and the versions involved."""
    processor = cpu_target.target_context.codegen().magic_tuple()
    return repr((processor, sys.version, np.__version__, numba.__version__, llvmlite.__version__))


@functools.cache
def _source_digest(file: str) -> str:
    try:
        return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    except OSError:
        return ""


def _read(file: Path) -> bytes | None:
    """What `_write` put there; None where the file is missing, unreadable or damaged."""
    try:
        content = _content(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        _say_once("compiled kernels cannot be read and are compiled again: %s", error)
        return None
    if content is None:
        _say_once("a compiled kernel is damaged and is compiled again: %s", file)
    return content


def _content(file: Path) -> bytes | None:
    found = file.read_bytes()
    digest, content = found[:_DIGEST_SIZE], found[_DIGEST_SIZE:]
    return content if digest == _digest(file.name, content) else None


def _write(file: Path, content: bytes) -> None:
    beside = file.with_name(f"{file.name}.{uuid.uuid4().hex[:16]}.part")
    try:
        try:
            beside.write_bytes(_digest(file.name, content) + content)
            os.replace(beside, file)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
    except OSError as error:
        _say_once("compiled kernels cannot be kept, and the next start compiles them again: %s", error)


def _digest(name: str, content: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\0" + content).digest()


def _say_once(message: str, detail: object) -> None:
    """A directory that is damaged or full is so for every kernel; the first one tells."""
    if message not in _said:
        _said.add(message)
        logger.warning(message, detail)
