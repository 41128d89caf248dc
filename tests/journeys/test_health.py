"""What operators look at: health, readiness and metrics of the running service."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from emeterai.stamping.audit import HAS_STAMP
from papers import letter
from running import Person, RunningService


@pytest.fixture(scope="module")
async def anyone(service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has no account."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as client:
        yield client


async def numbers(anyone: httpx.AsyncClient) -> dict[str, float]:
    """The sums of all metrics by name."""
    text = (await anyone.get("/metrics")).raise_for_status().text
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0) + sample.value
    return sums


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_a_running_service_is_healthy_and_ready(anyone: httpx.AsyncClient, path: str) -> None:
    """Both say so in one word."""
    answer = await anyone.get(path)
    assert (200, {"status": "ok"}) == (answer.status_code, answer.json())


async def test_metrics_count_what_people_do(anyone: httpx.AsyncClient, buyer: Person) -> None:
    """One more stamp is one more in the numbers of every process that touched it, in Prometheus' own words."""
    assert (await anyone.get("/metrics")).headers["content-type"].startswith("text/plain")
    before = await numbers(anyone)
    assert 201 == (await buyer.stamp(letter())).status_code
    after = await numbers(anyone)
    assert all(name.startswith("emeterai_") for name in after if not name.startswith(("python_", "process_")))
    assert before["emeterai_http_request_seconds_count"] < after["emeterai_http_request_seconds_count"]
    assert before.get("emeterai_payment_notifications_total", 0) <= after["emeterai_payment_notifications_total"]
    assert 0 <= after["emeterai_http_requests_in_flight"]


async def test_metrics_tell_the_last_audit_and_what_waits(anyone: httpx.AsyncClient) -> None:
    """The steward's numbers are there although another process answers: no rule is broken."""
    names = {"emeterai_ledger_broken_rules", "emeterai_ledger_stamps", "emeterai_jobs_waiting"}
    async with asyncio.timeout(60):
        while not names <= set(found := await numbers(anyone)):
            await asyncio.sleep(0.5)
    assert 0 == found["emeterai_ledger_broken_rules"]


async def test_the_books_balance_after_all_that(service: RunningService) -> None:
    """`emeterai ledger check` recomputes everything by other code, and finds every promise kept."""
    environment = {
        **os.environ,
        "EMETERAI_DATA_DIR": str(service.data_path),
        "EMETERAI_PORT": str(service.port),
    }
    command = [sys.executable, "-m", "emeterai", "ledger", "check", "--json"]
    checked = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, check=False)
    assert 0 == checked.returncode, checked.stdout.decode() + checked.stderr.decode()
    rules = {rule["name"] for rule in json.loads(checked.stdout)["rules"]}
    assert {"every balance equals the sum of its transfers", HAS_STAMP} <= rules


async def test_metrics_name_nobody(anyone: httpx.AsyncClient, buyer: Person) -> None:
    """No contact, no id of a person: numbers only."""
    me = (await buyer.api.get("/v1/accounts/me")).json()
    text = (await anyone.get("/metrics")).text
    assert buyer.contact not in text
    assert me["id"] not in text


async def test_every_answer_can_be_found_in_the_log(service: RunningService, anyone: httpx.AsyncClient) -> None:
    """`X-Request-Id` names each request."""
    ids = {(await anyone.get("/healthz")).headers["x-request-id"] for _ in range(3)}
    assert 3 == len(ids)
