"""What an operator is told of the lines without looking: one stands, news is not written, a pause holds people."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import inf, nan
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from waiting_people import AT, DRAWN, OPEN, changed, publish

from emeterai.gate import now as now_file
from emeterai.gate.now import DrawState, NowFiles, Turns
from emeterai.gate.watch import LineWatch

Minute = Callable[..., tuple[float, float]]


@pytest.fixture
def minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Minute:
    """Lets so many seconds pass, each with a new file of a lane, and answers how long a line has stood and how old the
    oldest news is.
    """
    monkeypatch.setattr(now_file, "_LOOK_AGAIN_S", 0.0)
    second = [0.0]
    watch = LineWatch(NowFiles(tmp_path / "now"), lambda: ["retail"], clock=lambda: second[0])

    def passes(seconds: int = 60, *, written: bool = True, per_s: int = 0, **values: object) -> tuple[float, float]:
        for _ in range(seconds):
            second[0] += 1
            if written:
                served, at = 100 + per_s * int(second[0]), AT + timedelta(seconds=second[0])
                publish(tmp_path, changed(OPEN, now_serving=served, updated_at=at, **values))
            watch.look()
        shown = [REGISTRY.get_sample_value(f"emeterai_gate_{name}_seconds") for name in ("line_still", "news")]
        return shown[0] or 0.0, shown[1] or 0.0

    return passes


def test_a_line_that_moves_is_no_news(minute: Minute) -> None:
    """Nor is one where nobody waits, however long its turn stays."""
    assert (0, 0) == minute(per_s=1)
    assert (0, 0) == minute(last_number=100)


def test_a_line_that_stands_while_people_wait_is_measured(minute: Minute) -> None:
    """From when it last moved; and no more once it moves again."""
    minute(10, per_s=1)
    assert (59, 0) == minute()
    assert (119, 0) == minute()
    assert (0, 0) == minute(1, per_s=1)


def test_after_a_draw_its_last_turns_wait_too(minute: Minute) -> None:
    """Those of numbers that nobody got stand between, so that the last number is no sign of who waits."""
    draw = DrawState("ab" * 32, seed="cd" * 32, count=300)
    assert (59, 0) == minute(last_number=90, draw=draw)
    assert (0, 0) == minute(1, per_s=1, last_number=90, draw=draw)


@pytest.mark.parametrize("state", ["paused", "closed", "before_opening"])
def test_a_line_that_is_meant_to_stand_is_no_alarm(minute: Minute, state: str) -> None:
    """Nor does it count as having stood when it opens again."""
    assert (0, 0) == minute(state=state)
    assert (9, 0) == minute(10)


def test_news_that_nobody_writes_any_more_is_old(minute: Minute) -> None:
    """Where there has never been any, since it was first missed."""
    assert 59 == minute(written=False)[1]
    assert 0 == minute(1)[1]
    assert (60, 60) == minute(written=False)
    assert 0 == minute(1, per_s=1)[1]


def lane_gauges(lane: str) -> tuple[float | None, ...]:
    """The gauges of a lane: the wait of whoever comes last, at least and at most, and its brown-out step."""
    waits_s = (
        REGISTRY.get_sample_value("emeterai_gate_wait_seconds", {"lane": lane, "bound": bound})
        for bound in ("low", "high")
    )
    return (*waits_s, REGISTRY.get_sample_value("emeterai_gate_lane_brown_out_step", {"lane": lane}))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({}, (400 / 12, 400 / 8, 0)),
        ({"last_number": 100}, (0, 0, 0)),
        ({"turns_per_s": Turns(0.0, 0.0, 8.0), "brown_out": 3}, (400 / 8, inf, 3)),
        ({"state": "paused", "brown_out": 6}, (nan, nan, 6)),
    ],
)
def test_what_a_lane_is_told_is_measured_too(
    tmp_path: Path, values: dict[str, object], shown: tuple[float, ...]
) -> None:
    """As its now-serving file has it: endless where nobody can tell, and nothing where nobody is told."""
    publish(tmp_path, changed(OPEN, lane="told", **values))
    LineWatch(NowFiles(tmp_path / "now"), lambda: ["told"]).look()
    assert pytest.approx(shown, nan_ok=True) == lane_gauges("told")


def test_nothing_rests_in_a_lane_that_is_no_more(tmp_path: Path) -> None:
    """Its gauge would else ring for ever."""
    lanes = ["gone"]
    watch = LineWatch(NowFiles(tmp_path / "now"), lambda: lanes)
    publish(tmp_path, changed(OPEN, lane="gone", brown_out=7))
    watch.look()
    assert 7 == lane_gauges("gone")[-1]
    lanes.clear()
    watch.look()
    assert pytest.approx((nan, nan, 0), nan_ok=True) == lane_gauges("gone")


@pytest.mark.parametrize(
    ("values", "held"),
    [
        ({"state": "paused"}, 400),
        ({"state": "paused", "draw": changed(DRAWN, count=900)}, 800),
        ({"state": "paused", "last_number": 100}, 0),
        ({"state": "paused", "opens_at": AT - timedelta(hours=1)}, 400),
        ({"state": "paused", "opens_at": AT + timedelta(hours=1), "draw": DRAWN}, 0),
        ({"state": "before_opening", "now_serving": 0, "opens_at": AT + timedelta(hours=1)}, 0),
        ({"state": "open"}, 0),
        ({"state": "closed"}, 0),
    ],
)
def test_who_waits_in_a_lane_that_is_paused_is_measured(tmp_path: Path, values: dict[str, object], held: int) -> None:
    """Not in one that opens by itself: before its opening, also where it was drawn and put off, no lever holds it."""
    publish(tmp_path, changed(OPEN, lane="held", **values))
    LineWatch(NowFiles(tmp_path / "now"), lambda: ["held"]).look()
    assert held == REGISTRY.get_sample_value("emeterai_gate_held_people", {"lane": "held"})


def test_a_lane_that_was_taken_away_paused_holds_nobody(tmp_path: Path) -> None:
    """Its pause cannot be taken back any more."""
    lanes = ["taken"]
    watch = LineWatch(NowFiles(tmp_path / "now"), lambda: lanes)
    publish(tmp_path, changed(OPEN, lane="taken", state="paused"))
    watch.look()
    assert 400 == REGISTRY.get_sample_value("emeterai_gate_held_people", {"lane": "taken"})
    lanes.clear()
    watch.look()
    assert 0 == REGISTRY.get_sample_value("emeterai_gate_held_people", {"lane": "taken"})
