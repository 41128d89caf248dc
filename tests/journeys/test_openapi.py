"""What the API says of itself is true: schemathesis tries every operation of the running service."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings, strategies
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from papers import letter
from running import Person, RunningService

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
Operation = APIOperation[Any, Any, Any, Any]
AS_TRIED = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
REFUSED = ["400", "401", "402", "403", "404", "409", "410", "412", "413", "415", "422", "460"]
METHODS = {"get", "post", "put", "patch", "delete", "head"}


@schemathesis.serializer("application/offset+octet-stream", "application/pdf")
def as_it_is(_: schemathesis.SerializationContext, value: object) -> bytes:
    """Bytes go as they are; whatever else was thought of goes as its text."""
    content = getattr(value, "data", value)
    return content if isinstance(content, bytes) else str(content).encode(errors="replace")


@pytest.fixture(scope="module")
def document(service: RunningService) -> dict[str, Any]:
    """The OpenAPI document as it is served."""
    answer = httpx.get(f"{service.base_url}/docs/openapi.json", trust_env=False, timeout=30)
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


@pytest.fixture(scope="module")
def described(service: RunningService, document: dict[str, Any]) -> BaseSchema:
    """The same as schemathesis reads it."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=service.base_url)
    schema.config.generation.update(with_security_parameters=False)
    schema.config.checks.negative_data_rejection.expected_statuses = REFUSED
    return schema


@pytest.fixture(scope="module")
async def known(buyer: Person) -> dict[str, str]:
    """Things that are there, by the name of the path's parameter."""
    stamp = (await buyer.stamp(letter())).json()
    order = (await buyer.api.post("/v1/orders", json={"quantity": 1})).json()
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "1000000"}
    upload = await buyer.api.post("/v1/uploads", headers=headers)
    return {
        "stamp_id": stamp["id"],
        "document_id": stamp["document_id"],
        "serial": stamp["serial"],
        "order_id": order["id"],
        "upload_id": upload.headers["location"].rsplit("/", 1)[-1],
        "provider_name": "sandbox",
    }


def test_the_document_is_openapi_3_1_and_describes_every_operation(document: dict[str, Any]) -> None:
    """Each has a name of its own, a summary, and its refusals as problem documents."""
    assert document["openapi"].startswith("3.1")
    schemathesis.openapi.from_dict(document).validate()
    names = set()
    for path, item in document["paths"].items():
        for method in METHODS & set(item):
            operation, label = item[method], f"{method} {path}"
            names.add(operation["operationId"])
            assert operation["summary"], label
            refusals = {status: found for status, found in operation["responses"].items() if status >= "4"}
            assert {"400", "503"} <= set(refusals), label
            assert operation.get("security") == [{}] or "401" in refusals, label
            assert all("application/problem+json" in found["content"] for found in refusals.values()), label
            assert all("`" in found["description"] for found in refusals.values()), label
    assert sum(len(METHODS & set(item)) for item in document["paths"].values()) == len(names)


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation_is_as_it_says(
    described: BaseSchema, buyer: Person, known: dict[str, str], mode: GenerationMode
) -> None:
    """Right and wrong requests, to things that are there and that are not: only the answers that are described."""
    # Signing out would end the session that all the others need; test_journey_bad_requests does it.
    found = described.exclude(operation_id="sign_out").get_all_operations()
    operations = [result.ok() for result in found if isinstance(result, Ok)]
    operations.sort(key=lambda operation: operation.method == "delete")
    wrong = {operation.label: try_operation(operation, mode, buyer, known) for operation in operations}
    assert not any(wrong.values()), "\n\n".join(f"{label}: {text}" for label, text in wrong.items() if text)


def try_operation(operation: Operation, mode: GenerationMode, buyer: Person, known: dict[str, str]) -> str:
    """What is wrong with an operation; empty when nothing is."""

    @AS_TRIED
    @given(case=operation.as_strategy(generation_mode=mode), is_known=strategies.booleans())
    def attempt(case: schemathesis.Case[Any], *, is_known: bool) -> None:
        if is_known and mode is GenerationMode.POSITIVE:
            case.path_parameters = {name: known.get(name, value) for name, value in case.path_parameters.items()}
            if isinstance(case.body, dict) and "document_id" in case.body:
                case.body["document_id"] = known["document_id"]
        case.call_and_validate(headers={"Authorization": buyer.api.headers["Authorization"]}, checks=CHECKS)

    try:
        attempt()
    except Unsatisfiable:
        return ""
    except (Exception, FailureGroup) as error:  # noqa: BLE001 - all that is wrong is told at once, in the end
        return repr(error)[:1500]
    return ""
