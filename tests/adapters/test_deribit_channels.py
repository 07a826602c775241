"""Channel names."""

from __future__ import annotations

import pytest

from pricer.adapters.deribit import channels

OPTION = "BTC-27DEC24-100000-C"


@pytest.mark.parametrize(
    ("channel", "expected", "kind", "subject"),
    [
        (channels.ticker(OPTION, "100ms"), f"ticker.{OPTION}.100ms", "ticker", OPTION),
        (channels.incremental_ticker(OPTION), f"incremental_ticker.{OPTION}", "incremental_ticker", OPTION),
        (channels.quote("BTC-PERPETUAL"), "quote.BTC-PERPETUAL", "quote", "BTC-PERPETUAL"),
        (channels.option_marks("btc_usd"), "markprice.options.btc_usd", "markprice", "btc_usd"),
        (channels.index("btc_usd"), "deribit_price_index.btc_usd", "deribit_price_index", "btc_usd"),
        (
            channels.volatility_index("btc_usd"),
            "deribit_volatility_index.btc_usd",
            "deribit_volatility_index",
            "btc_usd",
        ),
        (
            channels.expiration_price("btc_usd"),
            "estimated_expiration_price.btc_usd",
            "estimated_expiration_price",
            "btc_usd",
        ),
        (channels.perpetual("BTC-PERPETUAL", "agg2"), "perpetual.BTC-PERPETUAL.agg2", "perpetual", "BTC-PERPETUAL"),
        (channels.book("BTC-PERPETUAL", "raw"), "book.BTC-PERPETUAL.raw", "book", "BTC-PERPETUAL"),
        (
            channels.grouped_book("BTC-PERPETUAL", "none", 10, "100ms"),
            "book.BTC-PERPETUAL.none.10.100ms",
            "book",
            "BTC-PERPETUAL",
        ),
        (channels.trades(OPTION, "raw"), f"trades.{OPTION}.raw", "trades", OPTION),
        (channels.class_trades("option", "BTC", "100ms"), "trades.option.BTC.100ms", "trades", ""),
        ("trades.option.any.raw", "trades.option.any.raw", "trades", ""),
        (channels.PLATFORM, "platform_state", "platform_state", ""),
        (channels.PUBLIC_METHODS, "platform_state.public_methods_state", "platform_state", ""),
        (channels.lifecycle(["option"], "BTC")[0], "instrument.state.option.BTC", "instrument", ""),
        (channels.lifecycle(["option"], "BTC")[1], "instrument.creation.option.BTC", "instrument", ""),
        ("", "", "", ""),
        ("ticker", "ticker", "ticker", ""),
        ("user.portfolio.BTC", "user.portfolio.BTC", "user", ""),
    ],
)
def test_a_channel_is_written_as_in_the_sheet_and_says_what_it_is_about(
    channel: str, expected: str, kind: str, subject: str
) -> None:
    assert channel == expected
    assert channels.kind_of(channel) == kind
    assert channels.subject(channel) == subject


def test_lifecycle_is_of_each_kind() -> None:
    assert channels.lifecycle(("option", "future"), "USDC") == [
        "instrument.state.option.USDC",
        "instrument.creation.option.USDC",
        "instrument.state.future.USDC",
        "instrument.creation.future.USDC",
    ]
