"""The checksum against one written without it: struct and zlib, number by number."""

from __future__ import annotations

import math
import struct
import time
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricer.sidecar.checksum import crc32_of

NOTHING = struct.pack("<Q", 0x7FF8000000000000)


def plain(rows: list[list[float]]) -> int:
    """Row by row, 8 little-endian bytes a number."""
    return zlib.crc32(b"".join(struct.pack("<d", x) if math.isfinite(x) else NOTHING for row in rows for x in row))


@given(st.integers(0, 4).flatmap(lambda width: st.lists(st.lists(st.floats(), min_size=width, max_size=width))))
def test_it_is_the_crc_of_the_bytes_row_by_row(rows: list[list[float]]) -> None:
    columns = [np.array(column, float) for column in zip(*rows, strict=True)]
    assert crc32_of(columns) == plain(rows)


def test_every_nan_is_the_same_and_so_is_an_infinity() -> None:
    odd = np.array([0xFFF8000000000001, 0x7FF8000000000000], np.uint64).view(np.float64)
    assert crc32_of([odd]) == crc32_of([np.array([np.inf, np.nan])]) == plain([[math.nan], [math.nan]])


def test_rows_in_two_parts_are_the_rows_together() -> None:
    table = np.random.default_rng(1).normal(size=(5, 40))
    assert crc32_of(table[:, 13:], crc32_of(table[:, :13])) == crc32_of(table) == plain(table.T.tolist())


def test_other_byte_orders_and_layouts_make_no_difference() -> None:
    table = np.random.default_rng(2).normal(size=(3, 8))
    assert crc32_of(table.astype(">f8")) == crc32_of(np.asfortranarray(table)) == crc32_of(table)


def test_a_changed_bit_is_seen_and_the_arrays_stay_as_they_are() -> None:
    column = np.array([1.0, np.nan])
    before, other = column.tobytes(), np.array([np.nextafter(1.0, 2.0), np.nan])
    assert crc32_of([column]) != crc32_of([other])
    assert column.tobytes() == before


def test_a_whole_chain_takes_well_below_a_millisecond() -> None:
    table = np.random.default_rng(3).normal(size=(32, 1000))
    best = math.inf
    for _ in range(20):
        started = time.thread_time()
        crc32_of(table)
        best = min(best, time.thread_time() - started)
    assert best < 1e-3


@pytest.mark.parametrize("rows", [0, 1])
def test_no_columns_and_no_rows_have_the_checksum_of_nothing(rows: int) -> None:
    assert crc32_of([np.empty(0)] * rows) == zlib.crc32(b"")
