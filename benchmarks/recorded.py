"""The recorded chains that stand beside the checkout, read into the slices that a surface is fitted to.

Each function takes the path of its own file or folder below the data root (`BTC`, `ETH`, `SPX`); none of the data is
part of the project, and `pricer.surfaces` never sees where its quotes come from.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sets import Floats
from pricer import implied_vol
from pricer.surfaces import SliceQuotes

BTC = "deribit/raw_ticker_snapshot_2026-06-27/deribit_snapshot.json"
ETH = "deribit/eth_book_summary_2024-01-08/deribit_options.csv"
SPX = "reference/volsurf/svi_failures"

_SPX_HALF_SPREAD = 0.001


def btc(path: Path) -> tuple[list[SliceQuotes], list[Floats]]:
    """The 330 BTC options polled ticker by ticker, each with the forward of its own instant; and the venue's marks."""
    snapshot = json.loads(path.read_text(encoding="utf-8"))
    expiries = {row["instrument_name"]: row["expiration_timestamp"] for row in snapshot["instruments"]}
    by_expiry: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for name, ticker in snapshot["tickers"].items():
        by_expiry[expiries[name]].append(ticker)
    now = max(ticker["timestamp"] for ticker in snapshot["tickers"].values())
    ordered = sorted(by_expiry)
    slices = [_btc_slice(by_expiry[expiry], (expiry - now) / (365 * 86_400_000.0)) for expiry in ordered]
    return slices, [_percent(by_expiry[expiry], "mark_iv") for expiry in ordered]


def _btc_slice(tickers: list[dict[str, Any]], ttm: float) -> SliceQuotes:
    names = [ticker["instrument_name"].split("-") for ticker in tickers]
    newest = max(tickers, key=lambda ticker: int(ticker["timestamp"]))
    return SliceQuotes(
        ttm,
        newest["underlying_price"],
        np.array([float(name[2]) for name in names]),
        _percent(tickers, "bid_iv"),
        _percent(tickers, "ask_iv"),
        forwards=np.array([ticker["underlying_price"] for ticker in tickers]),
        cp=np.array([1.0 if name[3] == "C" else -1.0 for name in names]),
    )


def _percent(tickers: list[dict[str, Any]], field: str) -> Floats:
    """The venue's percent as fractions; its 0 means that there is no such quote."""
    percent = np.array([ticker[field] for ticker in tickers], dtype=np.float64)
    return np.where(percent > 0.0, percent / 100.0, np.nan)


def eth(path: Path) -> list[SliceQuotes]:
    """The ETH book summary: coin prices, turned into vols by our own kernel."""
    by_expiry: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            by_expiry[row["expire_date"]].append(row)
    return [_eth_slice(expiry, rows) for expiry, rows in by_expiry.items()]


def _eth_slice(expiry: str, rows: list[dict[str, str]]) -> SliceQuotes:
    settled = datetime.strptime(expiry, "%d%b%y").replace(hour=8, tzinfo=UTC).timestamp()
    ttm = (settled - max(int(row["creation_timestamp"]) for row in rows) / 1000.0) / (365 * 86_400.0)
    forward = np.array([float(row["underlying_price"]) for row in rows])
    strike = np.array([float(row["strike_price"]) for row in rows])
    cp = np.array([1 if row["option_type"] == "C" else -1 for row in rows])

    def vols(field: str) -> Floats:
        coin = np.array([float(row[field] or "nan") for row in rows])
        found = implied_vol(coin * forward, forward, strike, ttm, cp)
        return np.where(found > 0.0, found, np.nan)

    return SliceQuotes(ttm, float(np.median(forward)), strike, vols("bid_price"), vols("ask_price"), forward, cp=cp)


def spx(path: Path) -> dict[str, tuple[float, SliceQuotes]]:
    """Four SPX slices (mid vols; a tenth of a vol point is put on each side) with their published ATM vols."""
    found = {}
    for file in sorted(path.glob("*.json")):
        row = json.loads(file.read_text(encoding="utf-8"))
        strikes, mid = np.array(row["market_vols"]).T
        quotes = SliceQuotes(
            row["expiry_years"], row["forward"], strikes, mid - _SPX_HALF_SPREAD, mid + _SPX_HALF_SPREAD
        )
        found[file.stem] = (row["expected_atm_iv"], quotes)
    return found
