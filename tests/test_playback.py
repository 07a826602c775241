"""The same input gives the same bytes: recordings of the real venue, and of the live engine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pricer
from pricer.conventions import Reason, Status, ttm_years
from pricer.errors import RecordingError
from tests.data import data_path
from tests.embedded_market import embedded_market


def recorded() -> Path:
    return data_path("wire/cryptofeed/DERIBIT.ws.1.0")


def test_a_real_recording_is_priced_twice_to_identical_bytes() -> None:
    first, second = ([snapshot.digest() for snapshot in pricer.replay(recorded())] for _ in range(2))
    assert first == second
    assert len(set(first)) == len(first) > 89


def last_tickers() -> dict[str, dict[str, float]]:
    """The last ticker of every option in the recording, as the venue sent it."""
    tickers = {}
    for line in recorded().read_text().splitlines():
        message = json.loads(line.partition(": ")[2]) if line[:1].isdigit() else {}
        channel = message.get("params", {}).get("channel", "")
        if channel.startswith("ticker."):
            tickers[channel.split(".")[1]] = message["params"]["data"]
    return tickers


def test_a_real_recordings_quote_volatilities_are_the_venues_own() -> None:
    """To 2e-4, or to one step of the displayed price (1e-4 coin) where vega is low; where the venue gives 0, none."""
    snapshot = list(pricer.replay(recorded()))[-1]
    tickers = last_tickers()
    assert len(tickers) == 10
    for name, ticker in tickers.items():
        row = snapshot[name]
        assert row.reasons & Reason.REPLAY
        for field in ("bid_iv", "ask_iv"):
            ours = row.get(field, allow=set(Status))
            if ticker[field] == 0.0:
                assert ours is None
            else:
                assert ours is not None
                forward, ttm = ticker["underlying_price"], ttm_years(row.expiry_ns, int(ticker["timestamp"]) * 10**6)
                step_iv = 1e-4 * forward / pricer.greeks(forward, row.strike, ttm, ours, row.cp).vega
                assert ours == pytest.approx(ticker[field] / 100, abs=max(2e-4, step_iv))


def test_one_underlying_can_be_kept() -> None:
    snapshot = list(pricer.replay(recorded(), underlying="ETH"))[-1]
    assert snapshot.underlyings == ("ETH",)


async def test_a_recording_of_the_live_engine_replays_to_the_same_digests(tmp_path: Path) -> None:
    path = tmp_path / "session.vsr"
    live: dict[int, str] = {}
    async with (
        embedded_market(3, activity=0.02) as market,
        pricer.live(url=market.url, record=path, publish=50) as stream,
    ):
        async for snapshot in stream:
            live[snapshot.version] = snapshot.digest()
            if sum(row.status is Status.OK for row in snapshot) > 500 and len(live) > 10:
                break
    replayed = {snapshot.version: snapshot.digest() for snapshot in pricer.replay(path)}
    assert set(live) <= set(replayed)
    assert {version: replayed[version] for version in live} == live


def test_a_file_that_is_no_recording_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear sir or madam\n")
    with pytest.raises(RecordingError, match=r"letter\.txt"):
        next(pricer.replay(path))
