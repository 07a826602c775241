"""The container, the service and the example that ship with the project."""

from __future__ import annotations

import asyncio
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pricer.config import Settings
from tests.data import CHECKOUT
from tests.free_port import free_port
from tests.sidecar.certificates import make
from tests.sidecar.secured import Ring, secured
from tests.sidecar.snapshots import Market, Source

DEPLOY = CHECKOUT / "deploy"
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
UNIT = (DEPLOY / "volstream.service").read_text(encoding="utf-8")


def test_the_dockerfile_has_no_complaint_of_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    answer = subprocess.run(
        [hadolint, CHECKOUT / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (answer.returncode, answer.stdout) == (0, "")


def test_the_image_does_not_run_as_root_and_asks_its_health_without_curl() -> None:
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert [user.partition(":")[0].isdigit() and user != "0" for user in users] == [True]
    assert "warmup" in DOCKERFILE
    health = re.search(r"^HEALTHCHECK .*$", DOCKERFILE, re.MULTILINE)
    assert health is not None
    assert "curl" not in health[0]
    assert ":latest" not in DOCKERFILE


def test_everything_the_image_copies_is_there_and_is_not_ignored() -> None:
    copied = [
        word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    ]
    allowed = [line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert copied
    assert [path for path in copied if not (CHECKOUT / path).exists()] == []
    assert [path for path in copied if path not in allowed] == []


def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "volstream.service"
    unit.write_text(UNIT.replace("/opt/volstream/bin/volstream", sys.executable))
    verified = subprocess.run([analyze, "verify", unit], capture_output=True, text=True, timeout=60, check=False)
    ours = [line for line in verified.stderr.splitlines() if "volstream.service" in line]
    assert ours == []
    exposure = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", unit],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = re.search(r"exposure level for volstream.service: (\S+)", exposure.stdout)
    if found is None:
        pytest.skip(f"systemd-analyze security does not work here: {exposure.stderr.strip()[:100]}")
    assert float(found[1]) < 2.0


def test_a_reload_of_the_unit_finds_new_secrets_where_it_reads_them() -> None:
    paths = re.findall(r"^Environment=VOLSTREAM_SERVER__(?:TLS_CERT|TLS_KEY|TOKENS_FILE)=(\S+)$", UNIT, re.MULTILINE)
    assert {str(Path(path).parent) for path in paths} == {"/etc/volstream/secrets"}
    assert len(paths) == 3
    assert not re.search(r"^LoadCredential", UNIT, re.MULTILINE), (
        "copies of the start: a reload would read the old ones"
    )
    assert "kill -HUP" in UNIT
    (group,) = re.findall(r"^SupplementaryGroups=(\S+)$", UNIT, re.MULTILINE)
    assert f"groupadd --system {group}" in UNIT, "the lines that install it make the group"


def test_the_unit_leaves_the_program_the_time_that_it_takes_to_end() -> None:
    found = re.search(r"^TimeoutStopSec=(\d+)", UNIT, re.MULTILINE)
    assert found is not None
    assert int(found[1]) > Settings().server.exit_s


def test_the_example_is_read_and_is_one_that_may_be_reached() -> None:
    settings = Settings.load(DEPLOY / "volstream.toml")
    assert settings.server.host == "0.0.0.0"
    assert settings.server.tls_key
    assert settings.server.tokens_file
    assert settings.server.metrics_port is None, "it would take /health/ready from whoever sends traffic here"


@pytest.fixture
def health() -> Any:
    return runpy.run_path(str(DEPLOY / "healthcheck.py"))["main"]


@pytest.mark.parametrize("how", ["port", "tls", "metrics_port", "unix_socket"])
async def test_the_healthcheck_says_alive_and_dead(how: str, tmp_path: Path, health: Any) -> None:
    from pricer.clock import SystemClock

    port = free_port()
    ring = Ring(tmp_path / "tokens.toml")
    ring.add("bot")
    server: dict[str, Any] = {"port": port, "tokens_file": str(ring.path)}
    if how == "tls":
        made = make(tmp_path)
        server |= {"tls_cert": made.cert, "tls_key": made.key}
    elif how == "metrics_port":
        server = {"port": 0, "metrics_port": port}
    elif how == "unix_socket":
        server = {"unix_socket": str(tmp_path / "v.sock")}
    file = tmp_path / "volstream.toml"
    file.write_text("[server]\n" + "".join(f"{key} = {value!r}\n" for key, value in server.items()))
    source = Source()
    source.publish(Market(SystemClock()).snapshot())
    async with secured(source, **server):
        assert await asyncio.to_thread(health, str(file)) == 0
    assert await asyncio.to_thread(health, str(file)) == 1


def test_the_healthcheck_reads_settings_as_the_sidecar_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(DEPLOY / "healthcheck.py"))
    read, keys = script["server"], script["KEYS"]
    file = tmp_path / "volstream.toml"
    file.write_text("[server]\nport = 9000\nhost = '::1'\nmetrics_port = 9765\n")
    for path, environment in (
        (str(tmp_path / "none"), {}),
        (str(file), {}),
        (str(file), {"VOLSTREAM_SERVER__PORT": "9001", "volstream_server__host": "localhost"}),
        (str(file), {"VOLSTREAM_SERVER__UNIX_SOCKET": "/run/v.sock"}),
    ):
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            settings = Settings.load(path if Path(path).exists() else None).server
        meant = {key: str(getattr(settings, key)) for key in keys if getattr(settings, key) is not None}
        assert read(path, environment) == meant


def test_the_healthcheck_costs_next_to_nothing_for_it_imports_nothing_of_ours(tmp_path: Path) -> None:
    absent = tmp_path / "volstream.toml"
    absent.write_text(f"[server]\nunix_socket = '{tmp_path}/none.sock'\n")
    asked = subprocess.run(
        [sys.executable, "-I", "-S", DEPLOY / "healthcheck.py"],
        env={"VOLSTREAM_CONFIG": str(absent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (asked.returncode, asked.stderr.count("not alive: ")) == (1, 1)
    assert "Traceback" not in asked.stderr
