"""What the API says of itself is true: schemathesis tries every operation of the running service."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
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
EXAMPLES = 12
STAT={}
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


@pytest.fixture(scope="module")
def token(person: Person) -> str:
    """The token of somebody who has bought nothing."""
    return str(person.api.headers["Authorization"])


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_operation_is_as_it_says(described: BaseSchema, token: str, mode: GenerationMode) -> None:
    """Right and wrong requests alike: no crash, and only the answers that are described."""
    wrong = {}
    # Signing out would end the session that all the others need; test_journey_bad_requests does it.
    for found in described.exclude(operation_id="sign_out").get_all_operations():
        operation = found.ok()

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def attempt(case: schemathesis.Case) -> None:
            r = case.call_and_validate(headers={"Authorization": token}, checks=CHECKS)
            import collections; STAT.setdefault(operation.label, collections.Counter())[r.status_code]+=1

        try:
            attempt()
        except Unsatisfiable:
            continue
        except Exception as error:  # noqa: BLE001 - every operation is tried, then all that is wrong is told at once
            wrong[operation.label] = str(error)[:1500]
    for k,v in STAT.items(): print("STAT",k,dict(v))
    assert {} == wrong, "\n\n".join(f"{label}: {text}" for label, text in wrong.items())
