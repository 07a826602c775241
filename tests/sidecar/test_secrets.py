"""Z05: secrets are planted in everything that a sidecar is given, then sought in everything that it shows."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import re
import ssl
import stat
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pricer.config import Settings
from pricer.errors import ConfigError
from pricer.logs import OneLine, logging_beside
from pricer.sidecar.auth import Scopes, Token, digest_of
from tests.data import CHECKOUT
from tests.sidecar.certificates import make
from tests.sidecar.secured import Ring, bearer, fetch, secured
from tests.sidecar.serving import hear, subscribe
from tests.sidecar.snapshots import Source
from tests.tree import project_files

CANARIES = {
    "token of the file": "canary-7f3a-file-token-of-the-operator",
    "token of the environment": "canary-9b1c-environment-token-of-a-bot",
    "token that is wrong": "canary-4d2e-a-token-that-nobody-knows",
    "secret of the venue": "canary-1a8f-venue-secret",
}


def found(text: str | bytes, *more: str) -> list[str]:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return [each for each in (*CANARIES.values(), *more) if each.encode() in data]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """All that anybody logs at any level, not starred by our own formatter: nothing must even come to it."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    # What a test's own client writes is not the sidecar's.
    quiet = [logging.getLogger(name) for name in ("websockets.client", "httpcore", "httpx")]
    for each in quiet:
        each.propagate = False
    yield stream
    for each in quiet:
        each.propagate = True
    root.setLevel(level)
    root.removeHandler(handler)


async def test_Z05_a_running_sidecar_shows_no_secret_anywhere(
    source: Source, tmp_path: Path, logged: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    token, other, wrong, secret = CANARIES.values()
    made, ring = make(tmp_path), Ring(tmp_path / "tokens.toml")
    ring.put(Token("operator", Scopes.READ | Scopes.ADMIN, digest_of(token)))
    key_text = Path(made.key).read_text().splitlines()[1]  # noqa: ASYNC240 # a small file of the test's own
    server: dict[str, Any] = {
        "tls_cert": made.cert,
        "tls_key": made.key,
        "tokens_file": str(ring.path),
        "token": other,
        "auth_failures_per_minute": 1000,
        "auth_timeout_s": 0.3,
    }
    feed = {"client_id": "me", "client_secret": secret}

    def bad() -> Settings:
        return Settings.load(server=server | {"token": [other], "prot": other}, feed=feed | {"client_secrets": secret})

    trust, shown = ssl.create_default_context(cafile=made.authority), []
    async with secured(source, reread=bad, feed=feed, **server) as address:
        for presented in (token, other, wrong):
            header = bearer(presented)
            for path in (
                *("", "docs", "openapi.json", "metrics", "health/live", "health/ready", "v1/underlyings"),
                *("v1/chain/BTC", "v1/surface/BTC", f"v1/chain/{presented}x", "v1/instrument/nothing", "v1/nothing"),
                f"v1/underlyings?token={presented}",
            ):
                answer = await fetch(address, path, tls=trust, **header)
                if presented not in path:  # a name that was asked for is named in the answer to who asked
                    shown += [answer.text, str(answer.headers)]
            body = {"sent_ns": 1, "nonce": "n" * 16}
            answer = await fetch(address, "v1/admin/reload", method="POST", tls=trust, json=body, **header)
            shown.append(answer.text)
            where = address.replace("https", "http")
            try:
                async with joined_tls(where, trust, additional_headers=header) as websocket:
                    shown.append(str(await subscribe(websocket)))
                    await websocket.send(orjson.dumps({"op": "auth", "token": presented}).decode())
                    shown.append(str(await hear(websocket)))
            except InvalidStatus as refused:
                shown.append(str(refused.response.body))
            async with joined_tls(where, trust) as websocket:
                with suppress(ConnectionClosed):  # on a busy machine it comes too late
                    await websocket.send(orjson.dumps({"op": "auth", "tokens": presented}).decode())
                shown.append(str(await hear(websocket)))
        shown += [repr(task) for task in asyncio.all_tasks()]
    with pytest.raises(ConfigError) as caught:
        bad()
    shown.append("".join(traceback.format_exception(caught.value)))
    settings = Settings(server=server, feed=feed)
    shown += [repr(settings), str(settings), settings.model_dump_json(), repr(settings.server)]
    captured = capfd.readouterr()
    shown += [logged.getvalue(), captured.out, captured.err]
    assert [text for text in shown if found(text, key_text)] == []
    assert len(shown) > 80


def joined_tls(address: str, trust: Any, **more: Any) -> Any:
    """A raw client over TLS."""
    from websockets.asyncio.client import connect

    return connect(address.replace("http", "wss") + "v1/stream", ssl=trust, proxy=None, compression=None, **more)


async def test_Z05_recordings_hold_no_token(source: Source, tmp_path: Path) -> None:
    """A recording is what a venue sent; what a client of the sidecar sends never comes near it."""
    import pricer.adapters.recording as recording

    text = Path(recording.__file__).read_text()  # noqa: ASYNC240 # our own source
    assert "sidecar" not in text


def test_Z05_a_token_that_came_into_a_line_would_be_starred_out(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_beside(False):
        logging.getLogger("tests").warning("request: Authorization: Bearer %s", CANARIES["token that is wrong"])
    written = capsys.readouterr().err
    assert found(written) == []
    assert "Bearer ***" in written


def test_Z05_the_search_finds_what_is_planted() -> None:
    assert found(f"x{CANARIES['secret of the venue']}x") == [CANARIES["secret of the venue"]]
    assert isinstance(logging.Formatter(), logging.Formatter)
    assert OneLine().format(logging.LogRecord("n", 30, "f", 1, "m", (), None)).endswith("WARNING n: m")


# Z11: nothing that could run what it reads

UNSAFE = re.compile(
    r"\b(?:import (?:pickle|cPickle|dill|cloudpickle|shelve|marshal|joblib|yaml)\b"
    r"|from (?:pickle|dill|cloudpickle|shelve|marshal|joblib|yaml) import"
    r"|pickle\.loads?\(|np\.load\(|numpy\.load\(|allow_pickle\s*=\s*True|yaml\.(?:load|unsafe_load)\("
    r"|\beval\(|\bexec\()"
)


def unsafe(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if UNSAFE.search(line) and not line.lstrip().startswith("#")]


def test_Z11_nothing_reads_pickles_npz_or_yaml_or_evaluates_text() -> None:
    sources = [
        path for path in project_files() if path.suffix == ".py" and path.parts[0] not in ("tests", "benchmarks")
    ]
    hits = {str(path): lines for path in sources if (lines := unsafe((CHECKOUT / path).read_text(encoding="utf-8")))}
    # Compiled kernels, which are run as they are: from a directory that is ours alone, see the next test.
    assert hits.keys() == {"pricer/kernels/store.py"}
    assert len(sources) > 100
    for planted in ("import pickle", "x = np.load(path)", "yaml.load(text)", "eval(rule)", "np.f(allow_pickle=True)"):
        assert unsafe(planted)


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o702])
def test_Z11_compiled_code_comes_from_a_directory_that_only_its_owner_can_change(
    mode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pricer.kernels import jit

    monkeypatch.setenv("VOLSTREAM_CACHE_DIR", str(tmp_path / "cache"))
    own = jit.cache_directory.__wrapped__()
    assert (stat.S_IMODE(own.stat().st_mode), own.stat().st_uid) == (0o700, os.getuid())
    own.chmod(mode)
    assert jit.cache_directory.__wrapped__() != own
    own.chmod(0o700)
    monkeypatch.setattr(os, "getuid", lambda: own.stat().st_uid + 1)
    assert jit.cache_directory.__wrapped__() != own
