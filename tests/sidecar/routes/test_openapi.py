"""The OpenAPI document: complete, with examples that are true, and a server that keeps to it (schemathesis).

`make test` tries a few requests for each path, always the same; `make fuzz-http` tries as many as asked for.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from pricer.sidecar.routes.documented import examples
from tests.scene import Scene
from tests.sidecar.fitted import Fitted
from tests.sidecar.http_examples import Embedded, answers, shortened
from tests.sidecar.secured import Ring

EXAMPLES = int(os.environ.get("VOLSTREAM_HTTP_EXAMPLES", "2"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]

# Answers that are whole documents; their own tests have them.
DOCUMENTS = ("/metrics", "/asyncapi.json", "/volstream.proto", "/schemas/{name}")

fitted = Fitted(scene=Scene(expiry_days=(30.0, 90.0)), max_http_per_s=100_000)
HOST = {"host": "127.0.0.1"}  # schemathesis says `testserver`, which is no name of ours
DOCUMENT: dict[str, Any] = fitted.app.openapi()
api = schemathesis.openapi.from_asgi("/openapi.json", fitted.app, headers=HOST)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, verb, each) for path, verbs in DOCUMENT["paths"].items() for verb, each in verbs.items()]


@api.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES < 100,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_server_keeps_to_its_document(case: Any) -> None:
    case.call_and_validate(checks=CHECKS, headers=HOST)


@pytest.mark.parametrize(("path", "verb", "operation"), operations(), ids=lambda each: str(each)[:40])
def test_every_operation_is_described_with_an_example_that_fits_its_schema(
    path: str, verb: str, operation: dict[str, Any]
) -> None:
    assert operation["description"]
    assert len(operation["tags"]) == 1
    for status, response in operation["responses"].items():
        if status not in ("200", "304", "503"):
            assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Problem"}
    if path in DOCUMENTS:
        return
    content = operation["responses"]["200"]["content"]["application/json"]
    known = examples()[path]
    known = known["answer"] if verb == "post" else known
    assert content["example"] == known
    validate(content["schema"], known)
    if verb == "post":
        body = operation["requestBody"]["content"]["application/json"]
        validate(body["schema"], body["example"])


def validate(schema: dict[str, Any], value: Any) -> None:
    """`jsonschema_rs.ValidationError` where the value does not fit."""
    jsonschema_rs.validate({**schema, "components": DOCUMENT["components"]}, value)


async def test_the_examples_have_the_fields_of_real_answers() -> None:
    real = shortened(await answers(Embedded()))
    assert shape(real) == shape(examples()), "python -m tests.sidecar.http_examples writes them anew"


def shape(value: Any) -> Any:
    """Field names alone; of lists those of the first entry."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [shape(value[0])]
    return None


def test_the_document_is_openapi_3_1_without_an_outside_address() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert "://" not in str(DOCUMENT)
    assert "HTTPValidationError" not in DOCUMENT["components"]["schemas"]


def test_the_document_says_where_a_token_is_asked_for(tmp_path: Path) -> None:
    ring = Ring(tmp_path / "tokens.toml")
    ring.add("bot")
    secured = Fitted(tokens_file=str(ring.path)).app.openapi()
    assert secured["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"
    asked = {path: [each.get("security") for each in verbs.values()] for path, verbs in secured["paths"].items()}
    assert asked["/v1/chain/{underlying}"] == asked["/metrics"] == [[{"bearer": ["read"]}]]
    assert asked["/v1/admin/reload"] == [[{"bearer": ["admin"]}]]
    assert asked["/health/live"] == asked["/schemas"] == asked["/schemas/{name}"] == [None]
    here = {path for path, verbs in DOCUMENT["paths"].items() for each in verbs.values() if "security" in each}
    assert here == {"/v1/admin/reload"}, "without tokens on loopback nothing else is asked for"


def test_what_a_reload_says_is_described_with_what_it_refuses() -> None:
    reload = DOCUMENT["paths"]["/v1/admin/reload"]["post"]
    assert {"400", "401", "403", "409", "413", "415", "422", "429"} <= set(reload["responses"])
    assert set(reload["requestBody"]["content"]["application/json"]["example"]) == {"sent_ns", "nonce"}
