"""Alarms whose conditions weigh several series, or several machines: when they ring and when they do not."""

from __future__ import annotations

import pytest
from alarm_bell import NOW_S, Series, rings
from alarm_rules import alarms


def checked(outcome: str, count: int, machine: str = "a") -> Series:
    """So many receipts were checked."""
    return Series("emeterai_gate_receipts_checked_total", count, machine, {"outcome": outcome})


def failed(task: str, count: int) -> Series:
    """A sweep failed so often."""
    return Series("emeterai_steward_failures_total", count, labels={"task": task})


def line(age_s: float, machine: str = "a") -> Series:
    """The last public line that a machine's steward made."""
    return Series("emeterai_invariants_line_timestamp_seconds", NOW_S - age_s, machine)


def step(value: int, decisions: int, machine: str = "a") -> list[Series]:
    """The step that a machine's steward saw last, and how often it decided in the last minute."""
    decided = Series("emeterai_gate_controller_decisions_total", decisions, machine)
    return [Series("emeterai_gate_brown_out_step", value, machine), decided]


def resting(value: int, lane: str = "retail", machine: str = "a") -> Series:
    """The step that counts in a lane, measured or by its lever."""
    return Series("emeterai_gate_lane_brown_out_step", value, machine, {"lane": lane})


def held(people: int, lane: str = "retail", machine: str = "a") -> Series:
    """So many wait in a lane that is paused."""
    return Series("emeterai_gate_held_people", people, machine, {"lane": lane})


def ahead(months: int) -> Series:
    """Months that a table has."""
    return Series("emeterai_partitions_ahead", months, labels={"table": "ledger.transfers"})


@pytest.mark.parametrize(
    ("alert", "series", "is_ringing"),
    [
        ("ReceiptsRefused", [checked("refused", 21), checked("ours", 3)], True),
        ("ReceiptsRefused", [checked("refused", 20), checked("ours", 3)], False),
        ("ReceiptsRefused", [checked("refused", 30), checked("ours", 31)], False),
        (
            "ReceiptsRefused",
            [checked("refused", 15), checked("ours", 0), checked("refused", 15, "b"), checked("ours", 20, "b")],
            True,
        ),
        ("InvariantsSilent", [line(50)], False),
        ("InvariantsSilent", [line(301)], True),
        ("InvariantsSilent", [line(50), line(4_000, "b")], False),
        ("InvariantsSilent", [], True),
        ("BrownOutDeep", step(5, 60), True),
        ("BrownOutDeep", step(4, 60), False),
        ("BrownOutDeep", [*step(0, 60), *step(7, 0, "b")], False),
        ("BrownOutDeep", [*step(0, 0), *step(7, 60, "b")], True),
        ("LeverLeft", [*step(0, 60), resting(5), resting(0, "partners")], True),
        ("LeverLeft", [*step(0, 60), resting(4), resting(0, "partners")], False),
        ("LeverLeft", [*step(5, 60), resting(5), resting(5, "partners")], False),
        ("LeverLeft", [*step(5, 60), resting(6), resting(5, "partners")], True),
        ("LeverLeft", [*step(1, 60), *step(7, 0, "b"), resting(6), resting(6, machine="b")], True),
        ("PauseLeft", [held(0), held(0, "partners")], False),
        ("PauseLeft", [held(0), held(1, "partners"), held(0, machine="b"), held(1, "partners", "b")], True),
        ("StewardFailing", [failed("reclaim_jobs", 6)], True),
        ("StewardFailing", [failed("reclaim_jobs", 5)], False),
        ("StewardFailing", [failed("keep_partitions", 4)], True),
        ("StewardFailing", [failed("keep_partitions", 3)], False),
        ("PartitionsMissing", [ahead(3)], False),
        ("PartitionsMissing", [ahead(1)], True),
        ("PartitionsMissing", [], True),
    ],
)
def test_an_alarm_rings_when_it_should(alert: str, series: list[Series], is_ringing: bool) -> None:
    """`a` and `b` are machines; what only one steward at a time measures stands still at the other's."""
    rule = next(rule for rule in alarms() if rule["alert"] == alert)
    assert is_ringing is rings(rule["expr"], series)
