"""Planted secrets: a key for the venue is used by the whole program, then looked for in all that the program shows."""

from __future__ import annotations

import asyncio
import io
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import pricer
from pricer.adapters.recording import open_recording
from pricer.adapters.records import Frame
from pricer.cli import app
from pricer.config import Settings
from pricer.errors import ConfigError
from tests.adapters.loopback import SmallVenue, listed
from tests.adapters.private_venue import CANARY, KEY, TOKENS
from tests.waiting import until

PLANTED = (CANARY, *TOKENS)


def found(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [secret for secret in PLANTED if secret.encode() in data]


class Bank(SmallVenue):
    """The small venue with logins; the second is refused, and the reason repeats what was sent."""

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        answer = super()._answer(message)
        if message["method"] == "public/auth":
            logins = [each for each in self.asked if each["method"] == "public/auth"]
            if len(logins) == 2:
                del answer["result"]
                answer["error"] = {"code": -32602, "message": f"Invalid params: {message['params']}"}
            else:
                answer["result"] = {"access_token": TOKENS[0], "refresh_token": TOKENS[1], "expires_in": 900}
        elif message["method"] == "private/subscribe":
            answer["result"] = message["params"]["channels"]
        elif message["method"] == "private/get_positions":
            answer["result"] = []
        return answer

    def asked_for(self, method: str) -> int:
        return sum(each["method"] == method for each in self.asked)


@pytest.fixture
def everything_logged() -> Iterator[io.StringIO]:
    """All that anybody logs, at every level."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)


async def test_I10_R07_Z05_a_live_stream_shows_its_key_to_the_venue_alone(
    tmp_path: Path, everything_logged: io.StringIO
) -> None:
    bank, file = Bank(), tmp_path / "live.vsr"
    bank.instruments = listed(3)
    async with bank.running():
        key = pricer.Credentials(KEY, CANARY)
        stream = pricer.live(url=bank.url, credentials=key, record=file, timeout=30, seed=1)
        async with stream:
            await until(lambda: bank.asked_for("private/get_positions") == 1)
            bank.connections[0].transport.abort()
            await until(lambda: bank.asked_for("public/auth") == 2)
            await asyncio.sleep(0.1)
            shown = [repr(stream), repr(stream.stats), repr(stream.engine_counters), repr(stream.feed_counters)]
            shown += [repr(stream.engine.counters), repr(stream.latest), repr(stream._feed_of)]
    assert CANARY in str(bank.asked), "the venue was shown it"
    assert "AccountStatus" not in everything_logged.getvalue()
    shown.append(everything_logged.getvalue())
    assert [text for text in shown if found(text)] == []
    recording = open_recording(file)
    frames = [record.data for record in recording if isinstance(record, Frame)]
    assert len(frames) > 5
    assert [each for each in frames if found(each)] == []
    assert found(file.read_bytes()) == []
    assert found(repr(recording.meta)) == []


async def test_I10_a_stream_that_cannot_connect_says_so_without_its_key(everything_logged: io.StringIO) -> None:
    key = pricer.Credentials(KEY, CANARY)
    with pytest.raises(pricer.ConnectError) as caught:
        async with pricer.live(url="ws://127.0.0.1:9/ws/api/v2", credentials=key, timeout=0.3):
            pass
    assert found("".join(traceback.format_exception(caught.value))) == []
    assert found(everything_logged.getvalue()) == []


def test_P15_a_key_is_not_sent_in_clear_text_over_a_network() -> None:
    with pytest.raises(ConfigError, match="wss://"):
        pricer.live(url="ws://10.1.2.3/ws/api/v2", credentials=pricer.Credentials(KEY, CANARY))


# The settings


@pytest.mark.parametrize(
    "text",
    [
        f'[feed]\nclient_id = "k"\nclient_secert = "{CANARY}"\n',
        f'[fede]\nclient_id = "k"\nclient_secret = "{CANARY}"\n',
        f'[feed]\nclient_secret = "{CANARY}"\n',
        f'[feed]\nclient_id = "k"\nclient_secret = ["{CANARY}"]\n',
        f'[feed]\nclient_id = "k"\nclient_secret = {{ it = "{CANARY}" }}\n',
        f'[feed]\nclient_id = ""\nclient_secret = "{CANARY}"\n',
        f'[feed]\nclient_id = "k"\nclient_secret = "{CANARY}"\nlogin = "maybe"\n',
        f'[engine]\nsecret = "{CANARY}"\n',
        f'client_secret = "{CANARY}"\n',
        f'[feed]\nclient_secret = "{CANARY}\n',
        f'[feed.client_secret]\n"{CANARY}" = 1\n',
    ],
)
def test_I10_wrong_settings_are_refused_without_showing_a_secret(tmp_path: Path, text: str) -> None:
    (tmp_path / "v.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        Settings.load(tmp_path / "v.toml")
    assert found("".join(traceback.format_exception(caught.value))) == []


def test_I10_settings_hold_the_key_and_do_not_show_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLSTREAM_FEED__CLIENT_ID", KEY)
    monkeypatch.setenv("VOLSTREAM_FEED__CLIENT_SECRET", CANARY)
    settings = Settings.load()
    key = settings.feed.credentials()
    assert key is not None
    assert CANARY in str(key.login(pricer.Instant(0, 0), "n"))
    for shown in (repr(settings), str(settings), repr(key), settings.model_dump_json(), repr(settings.model_dump())):
        assert found(shown) == []
    assert Settings().feed.credentials() is None


@pytest.mark.parametrize(
    "command", [["doctor", "--offline"], ["doctor"], ["serve", "--help"], ["watch", "--help"], ["--help"]]
)
def test_I10_no_command_prints_the_key_of_the_environment(monkeypatch: pytest.MonkeyPatch, command: list[str]) -> None:
    monkeypatch.setenv("VOLSTREAM_FEED__CLIENT_ID", KEY)
    monkeypatch.setenv("VOLSTREAM_FEED__CLIENT_SECRET", CANARY)
    assert found(CliRunner().invoke(app, command).output) == []


def test_the_search_finds_what_is_planted() -> None:
    assert found(f"key {CANARY}") == [CANARY]
    assert found(b"token " + TOKENS[1].encode()) == [TOKENS[1]]
