"""The project's compiling decorators, `kernel` and `fused_kernel`, and where their compiled code is kept.

Numba notices an edit in a kernel's own file, but not one in another file whose kernel it calls: after an edit of
`black76.price`, a cached `svi` kernel would go on using the old one. So the cache directory is named by a hash of
*all* sources in `pricer/kernels` and `pricer/surfaces`: any edit starts a new, empty one.

Compiled code is loaded and run, so the directory must be ours alone: one that somebody else owns or may write to is
not used. Its parent is `$VOLSTREAM_CACHE_DIR`, else `$XDG_CACHE_HOME/volstream`, else `~/.cache/volstream`. Where
that cannot be had, kernels are kept in a private temporary directory that ends with the process.
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

logger = logging.getLogger(__name__)

# Old directories beyond these many are removed when a new one is made; each is a few megabytes.
KEPT_CACHES = 8

_PREFIX = "kernels-"


Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile `function` with Numba at its first call: cached on disk, without the GIL, arithmetic as in IEEE 754.

    No fast-math. NaN means "no value" everywhere. And where multiply-adds are fused depends on what was inlined into
    what, which is not the same in the process that compiles as in one that loads from the cache: the search for a
    smile made visible differences of such last bits, and a replay gives the same bytes every time.
    """
    return _compiled(function, fastmath=False)


def fused_kernel(function: Function) -> Function:
    """The same with fused multiply-adds (a fifth faster): for formulas whose last bits steer no search."""
    return _compiled(function, fastmath={"contract"})


def _compiled(function: Function, fastmath: bool | set[str]) -> Function:
    # The setting is put back, so that other users of Numba in this process keep their own cache directory.
    config: Any = numba.config
    before = config.CACHE_DIR
    config.CACHE_DIR = str(cache_directory())
    try:
        # No kernel is handed to C code, so none needs the wrapper for it.
        options: Any = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
        compiled = numba.njit(**options, fastmath=fastmath)(function)
    finally:
        config.CACHE_DIR = before
    return cast(Function, compiled)


@functools.cache
def cache_directory() -> Path:
    """Where this process keeps its compiled kernels; made on the first call, mode 0700."""
    directory = cache_parent() / (_PREFIX + sources_digest())
    try:
        made = _make_private(directory)
    except OSError as error:
        return _temporary_directory(f"{directory}: {error}")
    complaint = _complaint(directory)
    if complaint:
        return _temporary_directory(f"{directory}: {complaint}")
    if made:
        _remove_old(directory.parent)
    return directory


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
    """Why `directory` cannot be trusted with code that we run; empty where it can."""
    found = directory.lstat()  # not stat: a link may be pointed elsewhere later
    if not stat.S_ISDIR(found.st_mode):
        return "not a directory"
    if hasattr(os, "getuid"):  # Windows has neither owners nor modes in this sense
        if found.st_uid != os.getuid():
            return "owned by another user"
        if stat.S_IMODE(found.st_mode) != 0o700:
            return f"mode is {stat.S_IMODE(found.st_mode):04o}, not 0700"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "not writable"
    return ""


def _temporary_directory(reason: str) -> Path:
    directory = tempfile.mkdtemp(prefix="volstream-kernels-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    logger.warning("compiled kernels are kept for this process only: %s", reason)
    return Path(directory)


def _remove_old(parent: Path) -> None:
    found = sorted(parent.glob(_PREFIX + "*"), key=lambda path: path.lstat().st_mtime, reverse=True)
    for path in found[KEPT_CACHES:]:
        # A process that still uses it loses its cache, not its kernels.
        shutil.rmtree(path, ignore_errors=True)
