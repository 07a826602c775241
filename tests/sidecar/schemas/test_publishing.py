"""What is published is what the program says: current, valid, and held against the makers' own tools."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import jsonschema
import numpy as np
import orjson
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message as ProtoMessage

from pricer.errors import ConfigError
from pricer.sidecar import protocol
from pricer.sidecar.channels import CHANNELS
from pricer.sidecar.encodings import JSON, PROTOBUF
from pricer.sidecar.schemas import published
from pricer.sidecar.schemas.messages import MESSAGES
from pricer.sidecar.schemas.numbers import NUMBERS
from pricer.sidecar.schemas.plan import columns, plans
from pricer.sidecar.schemas.proto import check_append_only, fields_of
from pricer.sidecar.schemas.publishing import write
from pricer.sidecar.schemas.requests import REQUESTS
from pricer.sidecar.schemas.tables import ALWAYS, FIXED, TABLES
from pricer.snapshot import VALUE_FIELDS
from tests.data import CHECKOUT
from tests.sidecar.encodings.made import assert_same, message
from tests.sidecar.schemas.checking import complaints, schema

DIRECTORY = CHECKOUT / "docs" / "schemas"
PROTO = published()["volstream.proto"][1].decode()


def test_what_is_committed_is_current() -> None:
    committed = {path.name: path.read_bytes() for path in DIRECTORY.iterdir()}
    assert committed == {name: body for name, (_, body) in published().items()}, "run: python -m pricer.sidecar.schemas"


# ---- JSON Schema


@pytest.mark.parametrize("name", [*MESSAGES, *(f"request-{op}" for op in ("subscribe", "unsubscribe", "ping"))])
def test_every_schema_is_a_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema(name)["description"]


@pytest.mark.parametrize("name", MESSAGES)
def test_a_complete_message_of_each_kind_is_valid(name: str) -> None:
    assert complaints(name, orjson.loads(message(name).encoded(JSON))) == []


def test_a_message_that_lacks_or_invents_something_is_not() -> None:
    body = orjson.loads(message("chain-snapshot").encoded(JSON))
    assert complaints("chain-snapshot", body | {"news": 1})
    assert complaints("chain-snapshot", body | {"crc32": -1})
    assert complaints("chain-snapshot", {key: value for key, value in body.items() if key != "seq"})
    assert complaints("chain-snapshot", body | {"columns": {"iv": ["0.5"]}})
    assert complaints("chain-delta", body), "another type"


def test_every_request_that_the_sidecar_reads_is_published_and_has_a_form_in_the_proto() -> None:
    read = {get_args(model.model_fields["op"].annotation)[0]: model for model in get_args(protocol.AnyRequest)}
    assert {f"request-{op}.json" for op in read} == {name for name in published() if name.startswith("request-")}
    assert set(read) <= set(REQUESTS)
    for op, model in read.items():
        assert set(model.model_fields) - {"op"} == set(REQUESTS[op].model_fields), op


# ---- the tables


def test_the_tables_are_those_of_the_channels() -> None:
    assert set(CHANNELS) <= set(TABLES)
    assert set(protocol.CHANNELS) == set(TABLES) == set(FIXED) == set(ALWAYS)
    assert [name for name in columns("chain") if name in VALUE_FIELDS] == list(VALUE_FIELDS)
    assert all({*FIXED[channel], *ALWAYS[channel]} <= set(columns(channel)) for channel in TABLES)


# ---- .proto


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> dict[str, type[ProtoMessage]]:
    """Google's own classes for the published file, by way of Google's compiler."""
    folder = tmp_path_factory.mktemp("proto")
    (folder / "volstream.proto").write_text(PROTO)
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--descriptor_set_out=out", "volstream.proto"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    files = descriptor_pb2.FileDescriptorSet.FromString((folder / "out").read_bytes())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(files.file[0])
    names = (f"volstream.v1.{name}" for name in fields_of(PROTO) if name not in ("Status", "Reason"))
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names}


def test_the_compiler_takes_the_proto_with_the_numbers_of_the_table(runtime: dict[str, type[ProtoMessage]]) -> None:
    found = {name.rpartition(".")[2]: kind.DESCRIPTOR for name, kind in runtime.items()}
    assert set(found) == set(NUMBERS)
    for name, names in NUMBERS.items():
        numbers = {field.name: field.number for field in found[name].fields}
        assert numbers == {field: i for i, field in enumerate(names.split(), 1)}, name


@pytest.mark.parametrize("name", MESSAGES)
def test_googles_runtime_reads_what_we_write_and_we_read_what_it_writes(
    runtime: dict[str, type[ProtoMessage]], name: str
) -> None:
    made = message(name)
    read = runtime["volstream.v1.Message"].FromString(made.encoded(PROTOBUF))
    assert read.WhichOneof("body") == name.replace("-", "_")
    body = getattr(read, name.replace("-", "_"))
    for field, column in (made.columns or {}).items():
        theirs = list(getattr(body.columns, field))
        if isinstance(column, np.ndarray) and column.dtype == np.float64:
            assert np.array(theirs).tobytes() == np.where(np.isnan(column), np.nan, column).tobytes(), field
        else:
            assert theirs == list(column), field
    assert_same(made, PROTOBUF.decode(read.SerializeToString()))


def test_a_request_of_googles_runtime_is_understood(runtime: dict[str, type[ProtoMessage]]) -> None:
    request: Any = runtime["volstream.v1.Request"]()
    request.subscribe.channel, request.subscribe.underlying = "chain", "BTC"
    request.subscribe.expiries.first, request.subscribe.strikes.percent = 3, 12.5
    assert PROTOBUF.decode_request(request.SerializeToString()) == {
        "op": "subscribe",
        "channel": "chain",
        "underlying": "BTC",
        "expiries": {"first": 3},
        "strikes": {"percent": 12.5},
    }


def test_numbers_stand_once_and_every_field_has_one() -> None:
    for message_name, names in NUMBERS.items():
        assert len(set(names.split())) == len(names.split()), message_name
    assert set(plans()) == set(NUMBERS) - {"Message", "Request"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("double strike = 3;", "double strike = 300;"),
        ("double iv = 14;", "double vi = 14;"),
        ("  Pong pong = 18;", "  Pong pong = 40;"),
        ("REASON_WIDE_SPREAD = 5", "REASON_WIDER_SPREAD = 5"),
    ],
)
def test_a_number_that_changes_its_field_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert old in PROTO
    (tmp_path / "volstream.proto").write_text(PROTO.replace(old, new))
    with pytest.raises(ConfigError, match="append new names"):
        write(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1, "nothing was written"


def test_new_fields_may_be_appended_and_old_ones_reserved() -> None:
    more = PROTO.replace("  string token = 1;", "  string token = 1;\n  string realm = 2;")
    assert more != PROTO
    check_append_only(PROTO, more)
    check_append_only(PROTO, re.sub(r"^  string token = 1;.*$", "  reserved 1;", PROTO, flags=re.MULTILINE))
    with pytest.raises(ConfigError, match="number 2 was realm and would be nothing"):
        check_append_only(more, PROTO)


def test_writing_removes_schemas_of_messages_that_are_no_more(tmp_path: Path) -> None:
    (tmp_path / "old-message.json").write_text("{}")
    write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(published())


# ---- AsyncAPI


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = orjson.loads(published()["asyncapi.json"][1])
    references = re.findall(r'"\$ref": "#/([^"]+)"', published()["asyncapi.json"][1].decode())
    assert len(references) > 50
    for reference in set(references):
        place = document
        for step in reference.split("/"):
            place = place[step]
    assert set(document["components"]["messages"]) == {
        *MESSAGES,
        *(name.removesuffix(".json") for name in published() if name.startswith("request-")),
    }
