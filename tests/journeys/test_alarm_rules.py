"""The conditions of alarms: each can be read, and each can become true with the metrics that there are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from typing import Any

import promql_parser
import pytest
import yaml
from alarm_rules import ALERTS, HISTOGRAM, Metric, alarms, faults, groups, is_meant, selectors

_SIX_FAILURES_WITHIN_S = 600.0
"""An alarm rings at the sixth failure within so long; what is done more seldom has one of its own."""
_TOLD = """
import json, sys
from prometheus_client import REGISTRY
from emeterai import worker
from emeterai.app import create_asgi
from emeterai.infra.bus import Bus
from emeterai.infra.settings import Settings
settings = Settings(data_dir=sys.argv[1])
create_asgi(settings)
every_s = {name: every_s for name, (every_s, _) in worker._tasks(settings, None, Bus(""), []).items()}
for name in every_s:
    worker._failed.labels(name)  # as the steward does when it starts
own = [one for one in list(REGISTRY._collector_to_names) if getattr(one, "_name", "").startswith("emeterai_")]
print(json.dumps([every_s, [[one._name, one._type, one._labelnames, [it.labels for family in one.collect()
    for it in family.samples if not it.name.endswith("_created")]] for one in own]]))
"""
"""What a process tells in which nothing has happened yet: how often the steward does what, and its metrics."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """See `_TOLD`."""
    command = [sys.executable, "-c", _TOLD, str(tmp_path_factory.mktemp("data"))]
    answer: list[Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return answer


@pytest.fixture(scope="module")
def metrics(told: list[Any]) -> dict[str, Metric]:
    """Every metric by the name under which it is shown."""
    found: dict[str, Metric] = {}
    for name, kind, labels, series in told[1]:
        if kind == HISTOGRAM:
            found[f"{name}_bucket"] = Metric(kind, (*labels, "le"))
            found |= dict.fromkeys((f"{name}_count", f"{name}_sum"), Metric(kind, tuple(labels)))
        else:
            shown = f"{name}_total" if kind == "counter" else name
            found[shown] = Metric(kind, tuple(labels), tuple(series))
    return found


@pytest.mark.parametrize("rule", alarms(), ids=lambda rule: rule["alert"])
def test_every_condition_can_be_read_and_become_true(rule: dict[str, str], metrics: dict[str, Metric]) -> None:
    """By a parser of PromQL: one condition that it refuses, and Prometheus takes none of the file."""
    assert [] == faults(rule["expr"], metrics)


RECEIPTS = "emeterai_gate_receipts_checked_total"


@pytest.mark.parametrize(
    ("expr", "fault"),
    [
        (f'{RECEIPTS}{{outcome="refused"}} > 20 + ignoring(outcome) {RECEIPTS}{{outcome="ours"}}', "cannot be read"),
        (f'rate({RECEIPTS}{{outcome="refused"}}[5m]) > rate({RECEIPTS}{{outcome="ours"}}[5m])', "never match"),
        (f"sum(increase({RECEIPTS}[5m])) > increase({RECEIPTS}[5m])", "never match"),
        ("emeterai_processes and on (role) emeterai_holds_overdue_seconds > 1", "never match"),
        (f'sum(increase({RECEIPTS}{{outcome="theirs"}}[5m])) > 1', "outcome is never theirs"),
        (f'sum(increase({RECEIPTS}{{outcome=~"ours|theirs"}}[5m])) > 1', "outcome is never ours|theirs"),
        (f'sum(increase({RECEIPTS}{{result="ours"}}[5m])) > 1', "has no label result"),
        (f"sum by (result) (increase({RECEIPTS}[5m])) > 1", "there is no label"),
        ("increase(emeterai_gate_receipts_checked[5m]) > 1", "there is no such metric"),
        (f"{RECEIPTS} > 1", "a counter is not for"),
        ("rate(emeterai_processes[5m]) > 1", "a gauge is not for"),
        (f"increase({RECEIPTS}[30s]) > 1", "too few scrapes"),
        ("histogram_quantile(0.9, sum(rate(emeterai_stage_seconds_bucket[5m]))) > 1", "needs the label le"),
        (
            'sum(increase(emeterai_door_requests_total{work="finish",outcome="sent_to_room"}[5m])) > 1',
            "outcome is never sent_to_room",
        ),
        ("increase(emeterai_timestamps_total[10m]) > 5", "is not there before its first event"),
        ("emeterai_holds_overdue_seconds", "is no condition"),
        ("emeterai_holds_overdue_seconds > bool 15", "is no condition"),
        ("emeterai_holds_overdue_seconds > 15 or emeterai_processes", "is no condition"),
    ],
)
def test_what_would_never_ring_is_found(expr: str, fault: str, metrics: dict[str, Metric]) -> None:
    """The mistakes that a file of rules can have, one each."""
    assert any(fault in found for found in faults(expr, metrics)), faults(expr, metrics)


def test_the_file_is_as_prometheus_wants_it() -> None:
    """It reads strictly: a field that it does not know, a key twice or a time that is none, and it takes no rule."""
    keys = [yaml.compose(ALERTS.read_text(encoding="utf-8"))]
    while keys:
        node = keys.pop()
        if isinstance(node, yaml.MappingNode):
            assert 1 == max(Counter(key.value for key, _ in node.value).values()), node.start_mark
            keys += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            keys += node.value
    assert {"name", "rules"} == set().union(*groups())
    assert len(groups()) == len({group["name"] for group in groups()})
    for rule in alarms():
        assert {"alert", "expr", "labels", "annotations"} == rule.keys() - {"for"}
        promql_parser.parse_duration(rule.get("for", "1m"))
        words = [*rule["labels"].values(), *rule["annotations"].values()]
        assert all(isinstance(word, str) for word in words), rule["alert"]


def test_what_fails_once_an_hour_is_noticed_too(told: list[Any]) -> None:
    """Whatever the steward does too seldom to fail six times in ten minutes is named in the second part."""
    seldom = {name for name, every_s in told[0].items() if every_s * 6 > _SIX_FAILURES_WITHIN_S}
    rule = next(rule for rule in alarms() if rule["alert"] == "StewardFailing")
    matchers = [one for selector in selectors(rule["expr"]) for one in selector.matchers.matchers]
    assert seldom == {name for name in told[0] for one in matchers if is_meant(one, {one.name: name})}
