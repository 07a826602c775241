"""Files that hold secrets: only their owner, and at most a group that the owner chose, may read them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pricer.errors import ConfigError

LARGEST = 1024 * 1024
READ_BY_OTHERS = stat.S_IROTH | stat.S_IWOTH | stat.S_IXOTH


def read_private(setting: str, path: str | Path) -> bytes:
    """The contents; `ConfigError` naming `setting` and the path where others may read it, or it cannot be read."""
    try:
        with open(path, "rb") as file:
            complain_of(setting, path, os.fstat(file.fileno()))
            return file.read(LARGEST)
    except OSError as error:
        raise ConfigError(f"{setting}: cannot read {path}: {error.strerror}") from None


def complain_of(setting: str, path: str | Path, about: os.stat_result) -> None:
    """`ConfigError` where the file is no plain one, open to all, writable by its group, or of another user."""
    if not stat.S_ISREG(about.st_mode):
        raise ConfigError(f"{setting}: {path} is not a file")
    if os.name != "posix":  # the mode says nothing there
        return
    if about.st_mode & (READ_BY_OTHERS | stat.S_IWGRP):
        mode = stat.S_IMODE(about.st_mode)
        raise ConfigError(f"{setting}: {path} has mode {mode:04o} and is open to others: chmod 600 {path}")
    if about.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{setting}: {path} belongs to another user (uid {about.st_uid})")
