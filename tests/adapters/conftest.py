"""What the tests of feeds share: both transports, certificates of a test authority, and a look for what is left."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import shutil
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from tests.adapters.loopback import Watch, Watched


@pytest.fixture(params=["websockets", "picows"])
def transport_name(request: pytest.FixtureRequest) -> str:
    """Each transport in turn: the same tests for both."""
    name: str = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (extra [fast])")
    return name


@pytest.fixture
def watch(transport_name: str) -> Watch:
    """Makes a watched feed over each transport."""
    return partial(Watched, transport_name=transport_name)


@pytest.fixture
async def nothing_is_left_behind() -> AsyncIterator[None]:
    """FAULTS I9: no task, no transport."""
    before = asyncio.all_tasks()
    gc.freeze()  # what is there already is not this test's, and looking through it takes two seconds
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=5.0)  # what is ending may take its time; what stays, stays
    assert not left, left
    gc.collect()  # an unclosed transport would warn here, and warnings are errors
    gc.unfreeze()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A test authority, and certificates of its own making: good, for another host, expired, self-signed."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA", *authority)
    run("req", "-x509", *key, "-keyout", "self.key", "-out", "self.pem", "-days", "2", "-subj", "/CN=localhost")
    for name, host, days in (
        ("good", "IP:127.0.0.1", "2"),
        ("other", "DNS:example.org", "2"),
        ("expired", "IP:127.0.0.1", "-1"),
    ):
        run("req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text(f"subjectAltName={host}\n")
        issue = ("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
        run(*issue, "-out", f"{name}.pem", "-days", days, "-extfile", f"{name}.ext")
    return folder
