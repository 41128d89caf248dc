"""Alarms: the rules can be read, every metric in them is measured, and every alarm leads to its runbook and back."""

from __future__ import annotations

import asyncio
import contextlib
import re

import httpx
from alarm_rules import ALERTS, alarms, each_alternative, is_meant, selectors
from prometheus_client.parser import text_string_to_metric_families

from papers import letter
from running import Person, RunningService

STAGES = {
    "receive",
    "inspect",
    "hold",
    "wait_seal",
    "seal",
    "blob_put",
    "read_back",
    "settle",
    "database_wait",
}


async def measured(service: RunningService) -> dict[str, list[dict[str, str]]]:
    """The labels of every sample by its name."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as client:
        text = (await client.get("/metrics")).raise_for_status().text
    samples: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample.labels)
    return samples


def test_every_alarm_is_whole() -> None:
    """A name of its own, a condition, somebody to call, a sentence and a runbook."""
    names = [alarm["alert"] for alarm in alarms()]
    assert sorted(set(names)) == sorted(names)
    for alarm in alarms():
        assert alarm["labels"]["severity"] in {"page", "ticket"}
        assert alarm["annotations"]["summary"].endswith(".")
        assert re.search(r"[<>]", alarm["expr"]), alarm["alert"]


def test_every_alarm_has_its_runbook_and_every_runbook_its_alarm() -> None:
    """The runbook names the alarm in its title, so that one is found from the other."""
    runbooks = {path.name: path.read_text(encoding="utf-8") for path in ALERTS.parent.glob("*.md")}
    used = set()
    for alarm in alarms():
        folder, _, name = alarm["annotations"]["runbook"].rpartition("/")
        assert "docs/runbooks" == folder
        assert f"`{alarm['alert']}`" in runbooks[name].splitlines()[0], alarm["alert"]
        used.add(name)
    assert set(runbooks) == used


async def test_every_metric_of_an_alarm_is_measured(service: RunningService, buyer: Person) -> None:
    """After one stamp each is on /metrics, with every value of a label that the condition asks for."""
    assert 201 == (await buyer.stamp(letter())).status_code
    wanted = [(alarm["alert"], one) for alarm in alarms() for one in selectors(alarm["expr"])]
    samples = await measured(service)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(60):  # the first look of each process comes some seconds after the start
            while not {one.name for _, one in wanted} <= samples.keys():
                await asyncio.sleep(0.5)
                samples = await measured(service)
    for alert, one in wanted:
        assert one.name in samples, f"{alert}: {one.name}"
        matchers = [it for it in one.matchers.matchers if it.name != "status"]  # no error has been answered yet
        assert any(all(is_meant(it, sample) for it in matchers) for sample in samples[one.name]), f"{alert}: {one}"
        for it in matchers:
            values = {sample[it.name] for sample in samples[one.name]}
            assert all(any(map(means, values)) for means in each_alternative(it)), f"{alert}: {it}, of {values}"


async def test_every_stage_of_a_stamp_is_timed(service: RunningService, buyer: Person) -> None:
    """From the first byte to the settlement; and batches are counted by what they are."""
    assert 201 == (await buyer.stamp(letter())).status_code
    samples = await measured(service)
    assert STAGES <= {sample["stage"] for sample in samples["emeterai_stage_seconds_count"]}
    batches = {sample["what"] for sample in samples["emeterai_batch_size_count"]}
    assert {"hold", "seal", "settle"} <= batches
    assert {"expired", "sealing_failed", "file_refused"} <= {
        sample["reason"] for sample in samples["emeterai_units_given_back_total"]
    }
