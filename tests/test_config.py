"""The settings: where they come from, and how wrong ones are refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pricer.config import EngineSection, FeedSection, ServerSection, Settings
from pricer.engine import EngineSettings
from pricer.errors import ConfigError


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VOLSTREAM_") and "__" in name]:
        monkeypatch.delenv(name)


def write(folder: Path, text: str) -> Path:
    path = folder / "volstream.toml"
    path.write_text(text)
    return path


def test_the_defaults_are_loopback_and_documented() -> None:
    settings = Settings.load()
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8765)
    for section in (FeedSection, EngineSection, ServerSection):
        assert all(field.description for field in section.model_fields.values())


def test_the_defaults_are_those_of_the_engine() -> None:
    assert Settings().engine_settings() == EngineSettings()


def test_caller_beats_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, '[server]\nport = 1\nmax_clients = 2\nheartbeat_s = 2\n[feed]\nunderlyings = ["ETH"]\n')
    monkeypatch.setenv("VOLSTREAM_SERVER__MAX_CLIENTS", "20")
    monkeypatch.setenv("VOLSTREAM_SERVER__HEARTBEAT_S", "3")
    settings = Settings.load(path, server={"heartbeat_s": 4})
    assert (settings.server.port, settings.server.max_clients, settings.server.heartbeat_s) == (1, 20, 4.0)
    assert settings.feed.underlyings == ("ETH",)


def test_a_list_in_the_environment_is_words_between_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLSTREAM_FEED__UNDERLYINGS", "BTC, ETH")
    assert Settings.load().feed.underlyings == ("BTC", "ETH")


def test_the_environment_is_not_read_behind_the_callers_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOLSTREAM_SERVER__PORT", "1")
    assert Settings().server.port == 8765


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("[server]\nprot = 8000\n", "server.prot: unknown key", "8000"),
        ("[sever]\nport = 8000\n", "sever: unknown key", "8000"),
        ("[server]\nport = 70000\n", "server.port", "70000"),
        ('[server]\nport = "http"\n', "server.port", "'http'"),
        ("[engine]\nquote_max_age_s = -1\n", "engine.quote_max_age_s", "-1"),
        ("[engine]\nquote_max_age_s = nan\n", "engine.quote_max_age_s", "nan"),
        ("[server]\nqueue_soft_bytes = 9000000\n", "server.queue_hard_bytes", "8388608"),
        ('[feed]\nurl = "example"\n', "feed.url", "'example'"),
        ("[feed]\nunderlyings = []\n", "feed.underlyings", "[]"),
        ("server = 3\n", "server", "3"),
    ],
)
def test_E09_wrong_settings_are_refused_with_the_keys_path_and_the_value(
    tmp_path: Path, text: str, path: str, value: str
) -> None:
    if "queue_soft" in text:
        text += "queue_hard_bytes = 8388608\n"
    with pytest.raises(ConfigError) as caught:
        Settings.load(write(tmp_path, text))
    assert path in str(caught.value)
    assert value in str(caught.value)


def test_E09_every_fault_is_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"server\.port.*engine\.nonsense|engine\.nonsense.*server\.port"):
        Settings.load(write(tmp_path, "[server]\nport = -1\n[engine]\nnonsense = 1\n"))


@pytest.mark.parametrize("name", ["VOLSTREAM_SERVER__PROT", "VOLSTREAM_SEVER__PORT"])
def test_E09_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=r"(?i)prot|sever"):
        Settings.load()


@pytest.mark.parametrize("text", ["[server\n", "port = = 1\n", "\x00"])
def test_E09_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"volstream\.toml"):
        Settings.load(path)


def test_E09_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        Settings.load(tmp_path / "none.toml")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "sidecar.example"])
def test_Z01_another_address_than_loopback_needs_a_proxy(host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.host.*neither TLS nor authentication.*behind_proxy = true"):
        Settings.load(server={"host": host})
    assert Settings.load(server={"host": host, "behind_proxy": True}).server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_Z01_loopback_is_allowed(host: str) -> None:
    overrides: dict[str, Any] = {"host": host}
    assert Settings.load(server=overrides).server.host == host
