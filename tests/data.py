"""Where tests find the recorded market data, which stands beside the checkout and is never copied into it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent


def data_root() -> Path:
    """`$VOLSTREAM_DATA`, or else `../shared/data` beside the checkout; it need not exist."""
    named = os.environ.get("VOLSTREAM_DATA")
    return Path(named) if named else CHECKOUT.parent / "shared" / "data"


def data_path(name: str) -> Path:
    """The file or folder `name` below the data root, for example `deribit/raw_ticker_snapshot_2026-06-27`.

    Skips the test (or the module that calls it at import) where the data is absent.
    """
    path = data_root() / name
    if not path.exists():
        pytest.skip(f"no recorded data {name!r}: set VOLSTREAM_DATA to its folder", allow_module_level=True)
    return path
