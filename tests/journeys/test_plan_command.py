"""`emeterai plan` as an operator runs it."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest

from emeterai.cli import EXIT_REFUSED, main
from emeterai.plan import Machine, add_plan, looks_per_s, machines_for, planned

ASKED = ["plan", "--applicants", "4000000", "--per-person", "2.5", "--deadline", "2026-09-10T23:59+07:00"]
MANY = [*ASKED, "--applicants", "40000000"]
"""More than one machine serves."""


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
        "give it with --rates",
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
    assert ["web", "room", "sealer", "database", "steward"] == [machine["role"] for machine in plan["machines"]]
    left = [less["left_at_deadline"] for less in plan["less"]]
    assert sorted(left) == left
    assert "svg" in ElementTree.parse(picture).getroot().tag  # noqa: S314 - our own file


def test_a_plan_says_how_many_machines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """To people, to programs, and on the picture; of eight cores each where nobody says how many."""
    picture = tmp_path / "plan.svg"
    assert 0 == main([*MANY, "--picture", str(picture), "--json"])
    plan = json.loads(capsys.readouterr().out)
    cores = sum(machine["cores"] for machine in plan["machines"])
    assert (8, 8) == (plan["cores_each"], plan["database_machine_cores"])
    assert cores <= 8 * plan["machine_count"] < cores + 8
    words = f"{plan['machine_count']} machines of 8 cores"
    assert words in picture.read_text(encoding="utf-8")
    assert 0 == main(MANY)
    assert words in capsys.readouterr().out
    assert 0 == main([*MANY, "--cores-each", "64"])
    assert "1 machine of 64 cores" in capsys.readouterr().out


@pytest.mark.parametrize(("cores_each", "found"), [(12, (1, 12)), (8, (2, 8)), (4, (3, 4)), (3, (4, 4)), (1, (9, 4))])
def test_the_database_is_not_divided(cores_each: int, found: tuple[int, int]) -> None:
    """Where it needs more cores than a machine has, its own has more; all else fills up what there is."""
    roles = [Machine("web", 1.0, 5), Machine("sealer", 1.0, 3), Machine("database", 1.0, 4)]
    assert found == machines_for(roles, cores_each=cores_each)


def test_a_database_that_needs_a_larger_machine_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """With what it needs."""
    assert 0 == main([*MANY, "--cores-each", "1", "--json"])
    cores = json.loads(capsys.readouterr().out)["database_machine_cores"]
    assert 0 == main([*MANY, "--cores-each", "1"])
    said = capsys.readouterr().out
    assert f"and one of {cores} for the database, which is not divided" in said
    assert f"{cores} cores for database" in said


def printed(file: Path, of: str, costs_ms: dict[str, float]) -> str:
    """A file with the lines of a bench; its path."""
    lines = [json.dumps({"name": f"CPU a {of}: {role}", "value": cost_ms}) for role, cost_ms in costs_ms.items()]
    file.write_text("\n".join([json.dumps({"name": "something else", "value": 1.0}), *lines, ""]))
    return str(file)


STAMP_MS = {"web": 3.0, "web, its opener": 1.0, "sealer-1": 3.5, "sealer-2": 0.5, "postgres": 2.0, "generator": 9.0}
PERSON_MS = {
    "web": 30.0,
    "room": 2.0,
    "room, its opener": 0.5,
    "sealer-1": 4.0,
    "postgres": 7.0,
    "steward": 1.0,
    "sandbox": 3.0,
}


def test_measured_rates_take_the_place_of_ours(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """What the benches printed: a person's way in is paid once, further stamps by themselves; a role is one."""
    rates = [printed(tmp_path / "day", "person", PERSON_MS), printed(tmp_path / "stamp", "stamp", STAMP_MS)]
    assert 0 == main([*ASKED, "--rates", *rates, "--json"])
    plan = json.loads(capsys.readouterr().out)
    found = {machine["role"]: machine["cpu_ms_a_stamp"] for machine in plan["machines"]}
    assert {"web": 14.4, "room": 1.0, "sealer": 4.0, "database": 4.0, "steward": 0.4} == pytest.approx(found)


def test_people_look_less_often_in_a_longer_line() -> None:
    """Every two seconds where the turn is near, once a minute where it is far; on average by the whole line."""
    assert [0.5, 0.5] == [looks_per_s(wait_s) for wait_s in (0.0, 20.0)]
    assert 1 / 60 < looks_per_s(3_600.0) < 0.03
    assert looks_per_s(60.0) > looks_per_s(600.0) > looks_per_s(6_000.0)


def test_without_a_room_of_its_own_none_is_planned(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Where the web processes answered everybody, their cost has those outside in it."""
    person_ms = {role: cost_ms for role, cost_ms in PERSON_MS.items() if not role.startswith("room")}
    rates = [printed(tmp_path / "day", "person", person_ms), printed(tmp_path / "stamp", "stamp", STAMP_MS)]
    assert 0 == main([*ASKED, "--rates", *rates, "--json"])
    plan = json.loads(capsys.readouterr().out)
    assert ["web", "sealer", "database", "steward"] == [machine["role"] for machine in plan["machines"]]


def test_rates_of_stamps_alone_are_not_enough(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """They leave out all that a person does before and after."""
    stamp = printed(tmp_path / "stamp", "stamp", STAMP_MS)
    assert EXIT_REFUSED == main([*ASKED, "--rates", stamp, stamp])
    assert "lack the lines `CPU a person`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        b'{"name": "CPU a person: web"}',
        b'{"name": "CPU a person: web", "value": null}',
        b'{"name": "CPU a person: web", "value": "27.9"}',
        b'{"name": "CPU a person: web", "value": NaN}',
        b'{"name": "CPU a person: web", "value": -1}',
        b'{"name": "CPU a person',
        b'{"name": "\xff\xfe"}',
    ],
)
def test_a_line_without_a_cost_is_named_by_its_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, line: bytes
) -> None:
    """Cut off, emptied or made by something else: refused in words."""
    rates = [printed(tmp_path / "day", "person", PERSON_MS), printed(tmp_path / "stamp", "stamp", STAMP_MS)]
    (tmp_path / "day").write_bytes((tmp_path / "day").read_bytes() + b"\n" + line)
    assert EXIT_REFUSED == main([*ASKED, "--rates", *rates])
    assert "day holds a line that is no figure of a bench" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--applicants", "0"],
        ["--days", "0"],
        ["--cores-each", "0"],
        ["--deadline", "2026-09-10T23:59"],
        ["--rates", "README.md", "README.md"],
        ["--applicants", "inf"],
        ["--applicants=-4000000", "--per-person=-2.5"],
        ["--applicants", "1e300"],
        ["--per-person", "0"],
        ["--file-kb", "inf"],
        ["--file-kb", "nan"],
        ["--file-kb=-800"],
        ["--deadline", "0001-01-05T00:00+00:00"],
        ["--deadline", "9999-12-31T23:59-12:00"],
        ["--wait-minutes", "inf"],
    ],
)
def test_what_cannot_be_planned_is_refused(capsys: pytest.CaptureFixture[str], wrong: list[str]) -> None:
    """With the reason, in both languages."""
    assert EXIT_REFUSED == main([*ASKED, *wrong])
    assert "This plan cannot be made: " in capsys.readouterr().err


def text_at(now: datetime, *options: str) -> str:
    """What people read at that moment."""
    commands = argparse.ArgumentParser().add_subparsers()
    return planned(add_plan(commands).parse_args([*ASKED[1:], *options]), now=now)[1]


def test_a_moment_is_the_same_in_every_zone(capsys: pytest.CaptureFixture[str]) -> None:
    """The crowd keeps the hours of Jakarta, wherever the deadline was written down; people read them as WIB."""
    said = set()
    for deadline in ("2026-09-10T23:59+07:00", "2026-09-10T16:59+00:00", "2026-09-11T01:59+09:00"):
        assert 0 == main([*ASKED, "--deadline", deadline, "--json"])
        said.add(capsys.readouterr().out)
        text = text_at(datetime(2026, 8, 1, tzinfo=UTC), "--deadline", deadline)
        assert "22 days to 10 Sep 2026 23:59 WIB" in text
    assert 1 == len(said)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (datetime(2026, 8, 1, tzinfo=UTC), ""),
        (datetime(2026, 9, 10, 13, tzinfo=UTC), "For a part of 50%, 25% this moment is already past"),
        (datetime(2026, 9, 10, 16, 58, tzinfo=UTC), "For a part of 90%, 75%, 50%, 25% this moment is already past"),
        (datetime(2026, 9, 10, 17, 1, tzinfo=UTC), "The deadline is already past"),
    ],
)
def test_what_is_past_is_not_offered_as_a_hope(now: datetime, said: str) -> None:
    """A line of its own says that more comes too late; before the first such moment there is none."""
    lines = [line for line in text_at(now).splitlines() if "already past" in line]
    assert lines == ([f"{said}: more comes too late."] if said else [])
