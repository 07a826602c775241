"""What a caller can catch, and what the messages say."""

from __future__ import annotations

import inspect
import pickle

import pytest

from pricer import errors
from pricer.conventions import NO_REASON, Reason, Status
from pricer.errors import ConfigError, ConnectError, NotTradable, UnknownInstrument, VenueError, VolstreamError

ALL_ERRORS = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, Exception)]


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_one_root_catches_them_all(error: type[Exception]) -> None:
    assert issubclass(error, VolstreamError)


@pytest.mark.parametrize(
    ("error", "builtin"), [(ConfigError, ValueError), (ConnectError, ConnectionError), (UnknownInstrument, KeyError)]
)
def test_an_error_is_also_the_builtin_that_callers_expect(error: type[Exception], builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="why"):
        raise error("why")


def test_an_unknown_instrument_reads_without_quotes() -> None:
    assert str(UnknownInstrument("no BTC-1JAN30-1-C here")) == "no BTC-1JAN30-1-C here"
    assert str(UnknownInstrument()) == ""


def test_a_venue_error_keeps_the_venues_own_code() -> None:
    error = VenueError("too many requests", 10028)
    assert (str(error), error.code) == ("too many requests", 10028)
    assert VenueError("closed").code is None


def test_not_tradable_says_status_reasons_and_age() -> None:
    error = NotTradable("BTC delta", Status.STALE, Reason.UNDERLYING_STALE | Reason.QUOTE_STALE, 2_500_000_000)
    assert str(error) == "BTC delta is STALE: UNDERLYING_STALE, QUOTE_STALE (input 2.500 s old)"
    assert (error.status, error.reasons, error.age_ns) == (
        Status.STALE,
        Reason.UNDERLYING_STALE | Reason.QUOTE_STALE,
        2_500_000_000,
    )


def test_not_tradable_without_an_input_says_that_it_never_arrived() -> None:
    error = NotTradable("BTC delta", Status.INVALID, NO_REASON, None)
    assert str(error) == "BTC delta is INVALID: no reason given (input never arrived)"


def test_not_tradable_says_another_reason_in_place_of_its_status_also_after_a_journey() -> None:
    error = NotTradable("BTC iv", Status.INVALID, NO_REASON, 10, "not subscribed")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == "BTC iv is not subscribed"
