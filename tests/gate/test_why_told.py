"""Why people wait: what holds a line up is said at once, and whatever else makes the wait grow when it has grown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from simulated_day import RETAIL, ROW, Day, later
from waiting_people import AT, OPEN, SEED, changed

from emeterai.core.pacing import LaneSeen, Pacer, Seen
from emeterai.gate.conductor import _SLOWER, Admission, step
from emeterai.gate.controller import WHY, LanePace, admission_of
from emeterai.gate.lanes import Lane
from emeterai.gate.now import Reason
from emeterai.gate.room_page import still_page
from emeterai.gate.room_store import Counts


def drawn_at(seconds: int, *, lots: int = 5_000) -> Day:
    """A lane with so many lots, in the second before it opens; `seconds` after its first look."""
    day = Day(Lane(name="cpns-2026", title="CPNS", opens_at=AT + timedelta(seconds=seconds)))
    day.run(1, per_s=0.0, arrivals=lots)
    day.row = replace(day.row, next_number=lots + 1)
    day.run(seconds - 2, per_s=0.0)
    return day


def why_in(state: str, admission: Admission, *, waiting: int) -> Reason | None:
    """What the file says in the first second of a line."""
    lane = msgspec.structs.replace(
        RETAIL, paused=state == "paused", opens_at=AT + timedelta(hours=1) if state == "before_opening" else None
    )
    counts = Counts(given=waiting, last_number=waiting)
    _, now = step(later(ROW, 1.0), lane, admission, counts, seed=SEED)
    assert state == now.state
    return now.why


@pytest.mark.parametrize("code", ["standing", "unknown", "ceiling"])
def test_what_holds_a_line_up_is_said_soon_after_its_draw(code: str) -> None:
    """After a second and after ninety, although the line moves as it has from the first moment on."""
    day = drawn_at(30)
    for seconds in (1, 89):
        now = day.run(seconds, per_s=0.2, why=WHY[code])
        assert now.draw is not None
        assert 5_000 == now.draw.count
        assert WHY[code] == now.why
    assert WHY[code] == day.run(600, per_s=0.2, why=WHY[code]).why
    assert day.run(10, per_s=0.2).why is None


@pytest.mark.parametrize(
    ("state", "code", "waiting", "pass_needed", "told"),
    [
        ("open", "standing", 0, True, True),
        ("open", "unknown", 0, True, True),
        ("open", "unknown", 0, False, False),
        ("open", "ceiling", 900, True, True),
        ("open", "ceiling", 0, True, False),
        ("open", "sealing_slow", 900, True, False),
        ("open", "paused", 900, True, False),
        ("paused", "paused", 900, True, True),
        ("paused", "paused", 0, True, False),
        ("paused", "unknown", 900, True, False),
        ("before_opening", "paused", 900, True, False),
    ],
)
def test_each_reason_is_said_where_it_is_true(
    state: str, code: str, waiting: int, pass_needed: bool, told: bool
) -> None:
    """A lane that has not opened is not paused; and who walks straight in is not let in slowly."""
    found = why_in(state, Admission(0.0, pass_needed=pass_needed, why=WHY[code]), waiting=waiting)
    assert (WHY[code] if told else None) == found


def test_a_wait_that_grows_in_a_young_line_is_explained() -> None:
    """What people were told in the moment of the draw came of what was let in then; a minute later it is less."""
    day = drawn_at(30)
    assert day.run(1, per_s=25).why is None
    assert day.run(58, per_s=5).why is None
    assert _SLOWER == day.run(31, per_s=5).why
    assert day.run(600, per_s=5).why is None


def test_a_line_of_which_nothing_was_told_at_first_is_compared_with_the_first_word() -> None:
    """In the seconds before anybody decides how many come in it does not move: that is no word."""
    day = drawn_at(30)
    day.run(3, per_s=0.0)
    assert day.run(1, per_s=25).why is None
    day.run(58, per_s=5)
    assert _SLOWER == day.run(31, per_s=5).why


def test_a_young_line_that_is_as_quick_as_told_or_quicker_has_nothing_to_explain() -> None:
    """Neither in its first minutes nor later."""
    for per_s in (10, 40):
        day = drawn_at(30)
        day.run(1, per_s=10)
        assert [None] * 40 == [day.run(10, per_s=per_s).why for _ in range(40)]


def test_a_ceiling_that_holds_people_up_is_named_also_while_sealing_is_slow() -> None:
    """More could come in than it lets in, however late the sealers are."""
    pacer = Pacer(start=2_000)
    seen = LaneSeen(waiting=1_000, inside=50, oldest_s=3.0, share=1.0, ceiling_per_s=2.0)
    for _ in range(3):
        pace = pacer.turn(Seen({"retail": seen}, settled=10, under_way=100, oldest_s=3.0))["retail"]
    assert {"sealing_slow", "ceiling"} == set(pace.reasons)
    assert WHY["ceiling"] == admission_of(LanePace(per_s=pace.per_s, reasons=tuple(pace.reasons))).why


@pytest.mark.parametrize("why", [*WHY.values(), _SLOWER], ids=lambda why: why.code)
def test_the_page_has_words_for_every_reason(why: Reason) -> None:
    """In both languages, without a script; with one it shows the same two sentences of the file."""
    page = still_page(changed(OPEN, why=why), None, age_s=0.0, chance=0.5, refresh=False).content.decode()
    assert why.id
    assert why.en
    assert f"{why.id} <small lang=en>{why.en}</small>" in page
