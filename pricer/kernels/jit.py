"""The project's compiling decorators, `kernel` and `inlined`, and where their compiled code is kept.

A compiled kernel holds code of the kernels that it calls, in other files: after an edit of `black76.price`, a kept
`svi` kernel would go on using the old one. So the cache directory is named by a hash of *all* sources in
`pricer/kernels` and `pricer/surfaces`: any edit starts a new, empty one. `pricer.kernels.store` has the files in it.

Compiled code is loaded and run, so the directory must be ours alone: one that somebody else owns, may write to, or
could put another in the place of, is not used. Its parent is `$VOLSTREAM_CACHE_DIR`, else
`$XDG_CACHE_HOME/volstream`, else `~/.cache/volstream`. Where that cannot be had, kernels are kept in a private
temporary directory that ends with the process.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import importlib.util
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np

from pricer.kernels.store import KernelStore

logger = logging.getLogger(__name__)

# Old directories beyond these many are removed when a new one is made; each is a few megabytes.
KEPT_CACHES = 8

_PREFIX = "kernels-"
_temporary: set[Path] = set()

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile `function` with Numba at its first call: cached on disk, without the GIL, arithmetic as in IEEE 754.

    No fast-math, and no multiply-adds fused by the compiler: NaN means "no value" everywhere, and a replay gives the
    same bytes in the process that compiles as in one that loads from the cache (`pricer.kernels.elementary`).
    """
    return _compiled(function)


def inlined(function: Function) -> Function:
    """`kernel` for a part of one, always inlined: a loop is vectorised only when it calls nothing."""
    return _compiled(function, forceinline=True)


def _compiled(function: Function, **more: bool) -> Function:
    # No kernel is handed to C code, so none needs the wrapper for it.
    options: Any = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True, **more}
    compiled: Any = numba.njit(**options)(function)
    if compiled is function:  # as it is with NUMBA_DISABLE_JIT=1
        return _interpreted(function)
    compiled._cache = KernelStore(function, cache_directory())
    return cast(Function, compiled)


def _interpreted(function: Function) -> Function:
    """`function` in Python with the arithmetic of the compiled one: 1/0 is inf there, and no error.

    NumPy's doubles have it; Python's own do not. What `math` refuses, it refuses.
    """

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*(np.float64(value) if type(value) is float else value for value in arguments))

    return cast(Function, call)


@functools.cache
def cache_directory() -> Path:
    """Where this process keeps its compiled kernels; made on the first call, mode 0700."""
    try:
        directory = cache_parent() / (_PREFIX + sources_digest())
        made = _make_private(directory)
        # Links on the way are followed once, here: pointing one elsewhere later changes nothing.
        directory = directory.parent.resolve() / directory.name
        complaint = _complaint(directory)
    except (OSError, RuntimeError) as error:  # pathlib's RuntimeError: a user without a home
        complaint = str(error)
    if complaint:
        return _temporary_directory(complaint)
    if made:
        _remove_old(directory.parent)
    return directory


def cache_is_kept() -> bool:
    """Whether the next process finds what this one compiles; not so where the directory is a temporary one."""
    return cache_directory() not in _temporary


def cache_parent() -> Path:
    """The directory that holds the kernel caches of all versions of the sources."""
    chosen = os.environ.get("VOLSTREAM_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    # The XDG rule: a relative path is invalid and is ignored.
    return (Path(base) if base and Path(base).is_absolute() else Path("~/.cache").expanduser()) / "volstream"


def sources_digest() -> str:
    """A hash over names and contents of every Python source that may hold a kernel."""
    digest = hashlib.sha256()
    for package in ("pricer.kernels", "pricer.surfaces"):
        for file in _sources(package):
            digest.update(f"{package}/{file.name}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:24]


def _sources(package: str) -> list[Path]:
    # By the import system and not by path: an editable install on a system without symlinks mounts the folder.
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return sorted(file for folder in folders or () for file in Path(folder).glob("*.py"))


def _make_private(directory: Path) -> bool:
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _complaint(directory: Path) -> str:
    """Why `directory` cannot be trusted with code that we run; empty where it can.

    One that we may only read is no cause: what is in it is used.
    """
    found = directory.lstat()  # not stat: a link may be pointed elsewhere later
    if not stat.S_ISDIR(found.st_mode):
        return f"{directory}: not a directory"
    if not hasattr(os, "getuid"):  # Windows has neither owners nor modes in this sense
        return ""
    if found.st_uid != os.getuid():
        return f"{directory}: owned by another user"
    if found.st_mode & 0o077:
        return f"{directory}: mode is {stat.S_IMODE(found.st_mode):04o}, not 0700"
    return next((complaint for above in directory.parents if (complaint := _complaint_above(above))), "")


def _complaint_above(directory: Path) -> str:
    """Why somebody else could put another directory in the place of one in `directory`; empty where nobody can."""
    found = directory.stat()
    if found.st_uid not in (0, os.getuid()):
        return f"{directory}: owned by another user"
    if found.st_mode & stat.S_ISVTX:  # as in /tmp: what is ours only we can rename
        return ""
    if found.st_mode & stat.S_IWOTH or (found.st_mode & stat.S_IWGRP and not _is_own_group(found.st_gid)):
        return f"{directory}: mode is {stat.S_IMODE(found.st_mode):04o}, others may write"
    return ""


def _is_own_group(number: int) -> bool:
    """Whether it is the group that many systems give each user: of the user's name, with nobody else in it."""
    import grp
    import pwd

    try:
        group, user = grp.getgrgid(number), pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return number == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def _temporary_directory(reason: str) -> Path:
    directory = Path(tempfile.mkdtemp(prefix="volstream-kernels-"))
    atexit.register(_remove, directory, os.getpid())
    _temporary.add(directory)
    logger.warning("compiled kernels are kept for this process only: %s", reason)
    return directory


def _remove(directory: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child that ends first leaves it
        shutil.rmtree(directory, ignore_errors=True)


def _remove_old(parent: Path) -> None:
    found = sorted(parent.glob(_PREFIX + "*"), key=lambda path: path.lstat().st_mtime, reverse=True)
    for path in found[KEPT_CACHES:]:
        # A process that still uses it loses its cache, not its kernels.
        shutil.rmtree(path, ignore_errors=True)
