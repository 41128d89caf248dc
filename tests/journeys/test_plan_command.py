"""`emeterai plan` as an operator runs it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emeterai.cli import EXIT_REFUSED, main

ASKED = ["plan", "--applicants", "4000000", "--per-person", "2.5", "--deadline", "2026-09-10T23:59+07:00"]


def test_a_plan_says_machines_waits_and_when_it_is_too_late(capsys: pytest.CaptureFixture[str]) -> None:
    """For people; the moments lie before the deadline."""
    assert 0 == main(ASKED)
    said = capsys.readouterr().out
    for words in (
        "10,000,000 stamps",
        "Nobody waits longer than 10 min",
        "core",
        "for database",
        "the rest helps until",
    ):
        assert words in said
    assert "10 Sep" in said


def test_a_plan_for_programs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One JSON object, and a picture that is well-formed."""
    picture = tmp_path / "plan.svg"
    assert 0 == main([*ASKED, "--wait-minutes", "30", "--picture", str(picture), "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert 10_000_000 == plan["stamps"]
    assert plan["longest_wait_s"] <= 1_800
    assert plan["planned_per_s"] < plan["busiest_hour_per_s"]
    assert ["web", "sealer", "database"] == [machine["role"] for machine in plan["machines"]]
    left = [less["left_at_deadline"] for less in plan["less"]]
    assert sorted(left) == left
    assert "svg" in ElementTree.parse(picture).getroot().tag  # noqa: S314 - our own file


def test_measured_rates_take_the_place_of_ours(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What `emeterai bench stamp --json` printed: twice the time on every processor, about twice the cores."""
    costs = {"web": 3.0, "web, its opener": 1.6, "sealer-1": 3.5, "sealer-1, its opener": 0.5, "postgres": 1.4}
    rates = tmp_path / "stamp.jsonl"
    rates.write_text(
        "".join(json.dumps({"name": f"CPU a stamp: {it}", "value": ms}) + "\n" for it, ms in costs.items())
    )
    assert 0 == main([*ASKED, "--rates", str(rates), "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert [4.6, 4.0, 1.4] == [machine["cpu_ms_a_stamp"] for machine in plan["machines"]]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--applicants", "0"],
        ["--days", "0"],
        ["--deadline", "2026-09-10T23:59"],
        ["--rates", "README.md"],
    ],
)
def test_what_cannot_be_planned_is_refused(capsys: pytest.CaptureFixture[str], wrong: list[str]) -> None:
    """With the reason, in both languages."""
    assert EXIT_REFUSED == main([*ASKED, *wrong])
    assert "This plan cannot be made: " in capsys.readouterr().err
