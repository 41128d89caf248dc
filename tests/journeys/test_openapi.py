"""What the API says of itself is true: schemathesis tries every operation of the running service."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from running import Person, RunningService

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
METHODS = {"get", "post", "put", "patch", "delete", "head"}


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
    return schema


api = schemathesis.pytest.from_fixture("described")


@pytest.fixture(scope="module")
def token(person: Person) -> str:
    """The token of somebody who has bought nothing."""
    return str(person.api.headers["Authorization"])


@api.parametrize()
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_operation_is_as_it_says(case: schemathesis.Case, token: str) -> None:
    """Right and wrong requests alike: no crash, and only the answers that are described."""
    case.call_and_validate(headers={"Authorization": token}, checks=CHECKS)
