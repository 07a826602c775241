"""A client in another language: a Node program reads a real sidecar's feed from the published `.proto` alone."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import orjson
import pytest

from pricer.clock import SystemClock
from pricer.sidecar.encodings import JSON
from pricer.sidecar.messages import Column
from pricer.sidecar.schemas import published
from tests.data import CHECKOUT
from tests.sidecar.encodings.made import bits
from tests.sidecar.serving import joined, running, stream_of
from tests.sidecar.snapshots import Market, Source

SOURCE = CHECKOUT / "tests" / "clients" / "node"
LAST = 52  # one delta on the way has a checksum


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Node program with its packages, in a folder of its own."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no node with npm here; .ci/node installs Debian's")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "reader.js"):
        shutil.copy(SOURCE / name, folder)
    quietly = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"]
    try:
        done = subprocess.run([npm, "install", *quietly], cwd=folder, capture_output=True, text=True, timeout=100)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install ws and protobufjs within 100 s")
    if done.returncode:
        pytest.skip(f"npm could not install ws and protobufjs: {done.stderr.strip()[-200:]}")
    (folder / "volstream.proto").write_bytes(published()["volstream.proto"][1])
    return folder


async def test_a_stranger_reads_the_feed_from_the_proto_alone(project: Path) -> None:
    market, source = Market(SystemClock()), Source()
    source.publish(market.snapshot())
    async with running(source) as address, asyncio.timeout(100):
        command = ["node", "reader.js", "volstream.proto", stream_of(address), "BTC", str(LAST)]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=project, stdout=pipe, stderr=pipe) as reader:  # noqa: ASYNC220 - starts at once
            try:
                assert reader.stderr is not None
                assert await asyncio.to_thread(reader.stderr.readline) == b"subscribed\n"
                states = await move(market, source, address)
                out, errors = await asyncio.to_thread(reader.communicate, timeout=90)
            finally:
                reader.kill()
    assert (reader.returncode, errors) == (0, b"")
    read = orjson.loads(out)
    assert (read["seq"] >= LAST, read["snapshots"], read["verified"]) == (True, 1, 2)
    assert read["deltas"] > 45
    ours = states[read["seq"]]
    theirs = {snake(name): column for name, column in read["columns"].items() if column}
    assert set(theirs) == set(ours)
    assert {name: as_node_shows(column) for name, column in ours.items()} == theirs


async def move(market: Market, source: Source, address: str) -> dict[int, dict[str, Column]]:
    """Make the market move until LAST; what a reader of the JSON encoding has after each message, by `seq`."""
    states: dict[int, dict[str, Column]] = {}
    async with joined(address) as websocket:
        await websocket.send(JSON.encode_request({"op": "subscribe", "channel": "chain", "underlying": "BTC"}).decode())
        while max(states, default=0) < LAST:
            message = JSON.decode(await websocket.recv())
            columns = message.columns
            if columns is None:
                continue
            if message.rows is not None:
                columns = applied(states[message.head["seq"] - 1], columns, message.rows)
            states[message.head["seq"]] = dict(columns)
            step = message.head["seq"]
            market.quote(
                step % 3, step % 20, iv=[0.5 + step / 999, np.nan, -0.0, 5e-324, 1e308][step % 5], bid=step / 7
            )
            source.publish(market.snapshot())
    return states


def applied(state: dict[str, Column], columns: Any, rows: Any) -> dict[str, Column]:
    """The state after a delta."""
    out = dict(state)
    for name, column in columns.items():
        changed = np.array(state[name])
        changed[rows] = column
        out[name] = changed
    return out


def snake(name: str) -> str:
    """protobufjs writes names its own way."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def as_node_shows(column: Column) -> list[Any]:
    """Floats as their bytes in hexadecimal, 64-bit integers as text."""
    if isinstance(column, list):
        return column
    if column.dtype == np.float64:
        return [int(number).to_bytes(8, "little").hex() for number in bits(column)]
    return [str(n) if column.dtype.itemsize == 8 else n for n in column.tolist()]


def test_the_asyncapi_document_is_valid_by_asyncapis_own_schema(project: Path) -> None:
    specification = project / "node_modules" / "@asyncapi" / "specs" / "schemas" / "3.0.0.json"
    validator = jsonschema.Draft7Validator(orjson.loads(specification.read_bytes()))
    document = orjson.loads(published()["asyncapi.json"][1])
    assert [error.message[:200] for error in validator.iter_errors(document)] == []
    del document["info"]["title"]
    assert not validator.is_valid(document)
