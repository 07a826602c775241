"""Settings read again while clients stay: what changes, what is refused, and what needs a restart."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import ssl
import time
from pathlib import Path
from typing import Any

import pytest

from pricer.config import RELOADABLE, RELOADABLE_ALERTS, AlertsSection, ServerSection, Settings
from pricer.errors import ConfigError
from pricer.logs import Seldom
from pricer.sidecar.auth import Scopes
from pricer.sidecar.reload import changes
from tests.sidecar.certificates import make
from tests.sidecar.secured import Ring, bearer, fetch, secured
from tests.sidecar.serving import QUICK, ask, ended, hear, joined, subscribe
from tests.sidecar.snapshots import Market, Source
from tests.waiting import until


class File:
    """The settings of a sidecar, as its operator edits them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "volstream.toml"
        self.ring = Ring(folder / "tokens.toml")
        self.admin = self.ring.add("operator", Scopes.ADMIN | Scopes.READ)
        self.write("")

    def write(self, text: str) -> None:
        quick = "\n".join(f"{key} = {value}" for key, value in QUICK.items() if f"{key} =" not in text)
        self.path.write_text(f'[server]\n{quick}\ntokens_file = "{self.ring.path}"\n{text}\n')

    def read(self) -> Settings:
        return Settings.load(self.path)

    @property
    def server(self) -> dict[str, Any]:
        return {"reread": self.read, "tokens_file": str(self.ring.path)}


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


_count = 0


async def reload(address: str, token: str) -> tuple[int, Any]:
    global _count
    _count += 1
    body = {"sent_ns": time.time_ns(), "nonce": f"nonce-of-the-test-{_count}"}
    answer = await fetch(address, "v1/admin/reload", method="POST", json=body, **bearer(token))
    return answer.status_code, answer.json()


async def test_E10_limits_change_without_dropping_anybody(source: Source, market: Market, file: File) -> None:
    async with (
        secured(source, **file.server) as address,
        joined(address, additional_headers=bearer(file.admin)) as websocket,
    ):
        await subscribe(websocket)
        file.write("max_clients = 1\nallowed_hosts = ['desk.example']\nport = 1234\n[engine]\nlast_good_s = 3")
        assert await reload(address, file.admin) == (
            200,
            {
                "applied": ["server.allowed_hosts", "server.max_clients"],
                "needs_restart": ["engine.last_good_s", "server.port"],
            },
        )
        answer = await fetch(address, "v1/underlyings", host="desk.example", **bearer(file.admin))
        assert answer.status_code == 200
        market.move()
        source.publish(market.snapshot())
        assert (await hear(websocket, "delta"))["seq"] == 2
        assert (await reload(address, file.admin))[1]["applied"] == [], "said once, not each time"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("max_clients = 0", "server.max_clients"),
        ("max_clinets = 5", "server.max_clinets: unknown key"),
        ("max_clients = [", "not valid TOML"),
        ("queue_hard_bytes = 2048", "server.queue_hard_bytes"),
        ("tls_cert = 'x'\ntls_key = 'y'\nmax_clients = 3", ""),
    ],
)
async def test_E10_a_wrong_file_is_refused_by_the_keys_path_and_changes_nothing(
    source: Source, file: File, text: str, named: str
) -> None:
    async with secured(source, **file.server) as address:
        file.write(text)
        code, answer = await reload(address, file.admin)
        if named:
            assert (code, answer["code"]) == (422, "bad_settings")
            assert named in answer["detail"]
        else:
            assert answer == {"applied": ["server.max_clients"], "needs_restart": ["server.tls_cert", "server.tls_key"]}
        assert address.startswith("http://")
        metrics = (await fetch(address, "metrics", **bearer(file.admin))).text
        assert f"\nvolstream_clients_limit {3.0 if not named else 200.0}" in metrics


async def test_E10_tokens_come_and_go_and_take_their_connections_with_them(source: Source, file: File) -> None:
    bot, other = file.ring.add("bot"), file.ring.add("other")
    async with secured(source, **file.server) as address:
        async with (
            joined(address, additional_headers=bearer(bot)) as gone,
            joined(address, additional_headers=bearer(other)) as stays,
        ):
            await subscribe(gone)
            await subscribe(stays)
            file.ring.remove("bot")
            new = file.ring.add("new")
            assert (await reload(address, file.admin))[0] == 200
            assert (await ended(gone))[0] == 4401
            assert (await ask(stays, op="ping"))["type"] == "pong"
        assert (await fetch(address, "v1/underlyings", **bearer(bot))).status_code == 401
        assert (await fetch(address, "v1/underlyings", **bearer(new))).status_code == 200


async def test_E10_a_file_of_tokens_that_is_wrong_leaves_the_old_ones(source: Source, file: File) -> None:
    async with secured(source, **file.server) as address:
        file.ring.path.write_text("[")
        assert (await reload(address, file.admin))[0] == 422
        assert (await fetch(address, "v1/underlyings", **bearer(file.admin))).status_code == 200


async def test_E10_sighup_reads_again_and_tells_the_log(
    source: Source, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    async with secured(source, **file.server) as address:
        for text, told in (("max_clients = 7", "changed: server.max_clients"), ("max_clients = 0", "refused")):
            caplog.clear()
            file.write(text)
            os.kill(os.getpid(), signal.SIGHUP)
            await until(lambda told=told: told in caplog.text)  # type: ignore[misc]
        assert "\nvolstream_clients_limit 7.0" in (await fetch(address, "metrics", **bearer(file.admin))).text


async def test_E10_every_reload_leaves_its_line_with_who_asked_and_what_came_of_it(
    source: Source, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    file.ring.add("bot")
    async with secured(source, **file.server) as address:
        new = file.ring.add("new")
        file.ring.remove("bot")
        file.ring.add("operator", Scopes.ADMIN)  # the name stays, the token is another
        assert (await reload(address, file.admin))[0] == 200
        assert _lines(caplog)[-1] == (
            "WARNING by the token operator: the settings were read again; changed: tokens: +new, -bot, ~operator"
        )
        assert (await reload(address, file.admin))[0] == 401, "whom the door turns away has reloaded nothing"
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(_lines(caplog)) == 2)
        assert _lines(caplog)[-1] == "WARNING by SIGHUP: the settings were read again; changed: nothing"
        file.ring.path.write_text(new)
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: len(_lines(caplog)) == 3)
        assert _lines(caplog)[-1].startswith("ERROR by SIGHUP: the settings are refused, and stay as they were: ")
        assert new not in caplog.text


async def test_E10_a_refused_reload_over_http_stands_in_the_log(
    source: Source, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    async with secured(source, **file.server) as address:
        file.write("max_clients = 0")
        assert (await reload(address, file.admin))[0] == 422
        assert "by the token operator: the settings are refused" in _lines(caplog)[-1]
        file.write("max_clients = 7\nport = 1234")
        assert (await reload(address, file.admin))[0] == 200
        assert _lines(caplog)[-1].endswith("changed: server.max_clients; a restart is needed for: server.port")
        stale = {"sent_ns": 1, "nonce": "nonce-of-yesterday"}
        await fetch(address, "v1/admin/reload", method="POST", json=stale, **bearer(file.admin))
        assert "by the token operator: not_now: " in caplog.text


def test_E10_outcomes_of_reloads_are_not_limited() -> None:
    seldom = Seldom()
    lines = [
        logging.LogRecord("pricer.sidecar.reload", logging.ERROR, "", 0, "refused: %s", (why,), None) for why in "abc"
    ]
    assert [seldom.filter(line) for line in lines] == [True, True, True]


def _lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What reloads wrote."""
    return [f"{line.levelname} {line.getMessage()}" for line in caplog.records if line.name == "pricer.sidecar.reload"]


async def test_E10_a_renewed_certificate_serves_new_connections(
    source: Source, file: File, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [tmp_path / "old", tmp_path / "new"]
    for folder in folders:
        folder.mkdir()
    old, new = (make(folder) for folder in folders)
    file.write(f'tls_cert = "{old.cert}"\ntls_key = "{old.key}"')
    trust_old = ssl.create_default_context(cafile=old.authority)
    trust_new = ssl.create_default_context(cafile=new.authority)
    body = {"sent_ns": time.time_ns(), "nonce": "x" * 16}
    async with secured(source, **file.server, tls_cert=old.cert, tls_key=old.key) as address:
        shutil.copy(new.key, old.key)  # half of the renewal: it does not fit
        sent = body | {"sent_ns": time.time_ns()}
        answer = await fetch(address, "v1/admin/reload", method="POST", json=sent, tls=trust_old, **bearer(file.admin))
        assert (answer.status_code, "server.tls_cert" in answer.json()["detail"]) == (422, True)
        assert (await fetch(address, "health/live", tls=trust_old)).status_code == 200
        shutil.copy(new.cert, old.cert)
        sent = {"sent_ns": time.time_ns(), "nonce": "y" * 16}
        answer = await fetch(address, "v1/admin/reload", method="POST", json=sent, tls=trust_old, **bearer(file.admin))
        assert answer.status_code == 200
        assert _lines(caplog)[-1].endswith("changed: certificate")
        assert (await fetch(address, "health/live", tls=trust_new)).status_code == 200


async def test_E10_rules_change_without_dropping_anybody_and_a_bad_one_changes_nothing(
    market: Market, source: Source, file: File
) -> None:
    market.quote(0, 10, iv=6.0)
    source.publish(market.snapshot())
    async with (
        secured(source, **file.server) as address,
        joined(address, additional_headers=bearer(file.admin)) as websocket,
    ):
        shown = await ask(websocket, op="subscribe", channel="alerts")
        assert shown["raised"] == 0
        file.write('[alerts]\nevery_ms = 50\n[alerts.rules]\nstays = "iv > 500%"\ngoes = "iv > 550%"')
        assert (await reload(address, file.admin))[1]["applied"] == ["alerts.rules", "alerts.every_ms"]
        while shown["columns"]["rule"] != ["stays", "goes"]:
            shown = await hear(websocket, "snapshot")
        file.write('[alerts.rules]\nstays = "iv > 500%"\nbad = "iv >"')
        status, answer = await reload(address, file.admin)
        assert (status, answer["code"]) == (422, "bad_settings")
        assert answer["detail"].endswith(": alerts.rules.bad: at the end: a number is missing (got 'iv >')")
        since_ns = shown["columns"]["since_ns"][0]
        file.write(
            '[alerts]\nevery_ms = 50\nwebhooks = ["https://hooks.example/other"]\n'
            '[alerts.rules]\ncomes = "iv > 560%"\nstays = "iv > 500%"'
        )
        expected = {"applied": ["alerts.rules"], "needs_restart": ["alerts.webhooks"]}
        assert await reload(address, file.admin) == (200, expected)
        while shown["columns"]["rule"] != ["comes", "stays"]:
            shown = await hear(websocket, "snapshot")
        assert shown["columns"]["since_ns"][1] == since_ns, "what stays the same keeps what it knows"


def test_what_can_change_is_a_setting_and_the_rest_needs_a_restart() -> None:
    assert set(ServerSection.model_fields) >= RELOADABLE
    assert set(AlertsSection.model_fields) >= RELOADABLE_ALERTS
    changed = Settings(server={"port": 1, "host": "127.0.0.2"}, feed={"underlyings": ["ETH"]})
    assert changes(Settings(), changed) == ((), ("feed.underlyings", "server.host", "server.port"))


def test_E10_reading_again_obeys_the_same_precedence(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write("max_clients = 5")
    monkeypatch.setenv("VOLSTREAM_SERVER__MAX_CLIENTS", "6")
    assert file.read().server.max_clients == 6
    monkeypatch.setenv("VOLSTREAM_SERVER__MAX_CLIENTS", "many")
    with pytest.raises(ConfigError, match=r"server\.max_clients"):
        file.read()
