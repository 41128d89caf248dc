"""What becomes of an address when nobody calls any more, when a lane is no more, and when a steward dies."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from waiting_people import DRAWN, OPEN, changed, make_lane, publish, take_lane_back

from emeterai.gate import call_store, callers, calls
from emeterai.gate.callers import CallError
from emeterai.gate.calls import Calls
from emeterai.gate.lanes import Lane
from emeterai.gate.now import NowFiles, NowServing
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database

PHONE = "+6281234567890"


class Watched:
    """A way to call that is down, and looks at what is on record while it calls."""

    channels = ("email",)

    def __init__(self, db: Database) -> None:
        self.db = db
        self.seen: list[tuple[int, bool]] = []

    async def call(self, now: NowServing, number: int, turn: int, email: str) -> None:
        """Note how many were taken in all, and whether nobody else takes them soon; and fail."""
        row = await self.db.fetchrow(
            "SELECT count(*), min(again_at) > now() + interval '130 s' FROM gate.calls WHERE tries > 0"
        )
        self.seen.append((row[0], row[1]))
        raise CallError


async def waiting(db: Database) -> list[tuple[str, int]]:
    """Whose address is on record."""
    rows = await db.fetch(
        "SELECT lane, number FROM gate.calls WHERE num_nonnulls(email, phone) > 0 OR state = 'waiting' ORDER BY 1, 2"
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(("taken_back_for", "kept"), [(timedelta(hours=23), 1), (timedelta(hours=25), 0)])
async def test_when_a_lane_is_no_more_the_addresses_are_deleted(
    db: Database, tmp_path: Path, taken_back_for: timedelta, kept: int
) -> None:
    """Not at once: it may have been taken back by mistake. Those of other lanes stay, on a machine without any file."""
    for name in ("cpns-2026", "cpns-2027"):
        number = await make_lane(db, Lane(name=name, title="CPNS"))
        await call_store.add_call(db, name, 7, None, phone=PHONE)
    await call_store.add_call(db, "retail", 7, 7, "warga@contoh.id")
    await take_lane_back(db, "cpns-2027", number)
    await db.fetch("ALTER TABLE gate.lane_changes DISABLE TRIGGER lane_changes_immutable")
    await db.fetch("UPDATE gate.lane_changes SET at = now() - $1::interval", taken_back_for)
    assert 0 == await Calls(db, NowFiles(tmp_path / "now"), []).call_due()
    expected = [("cpns-2026", 7), *[("cpns-2027", 7)] * kept, ("retail", 7)]
    assert expected == await waiting(db)


async def test_a_lane_that_closes_while_its_line_stands_keeps_no_address(db: Database, tmp_path: Path) -> None:
    """What is published of a line that nobody can move says for ever that it has not been opened."""
    await make_lane(db, Lane(name="cpns-2026", title="CPNS", closes_at=utc_now() - timedelta(hours=25)))
    publish(tmp_path, changed(OPEN, lane="cpns-2026", state="before_opening"))
    await call_store.add_call(db, "cpns-2026", 7, None, phone=PHONE)
    assert 0 == await Calls(db, NowFiles(tmp_path / "now"), []).call_due()
    assert [] == await waiting(db)


async def test_where_nobody_calls_any_more_no_address_stays_when_the_turn_is_over(db: Database, tmp_path: Path) -> None:
    """Whether it was asked for before the draw or after it; whose turn may still come is called when there is a way."""
    drawn = changed(OPEN, draw=DRAWN, now_serving=60, grace_from=31)
    publish(tmp_path, drawn)
    for number in range(1, 51):
        await call_store.add_call(db, "retail", number, None, f"warga{number}@contoh.id")
    await call_store.add_call(db, "retail", 150, 150, phone=PHONE)
    steward = Calls(db, NowFiles(tmp_path / "now"), [])
    assert [0, 0] == [await steward.call_due() for _ in range(2)]
    expected = [number for number in range(1, 51) if (drawn.turn_of(number) or 0) >= 31]
    assert [("retail", number) for number in [*expected, 150]] == await waiting(db)
    assert () == steward.offered("retail")


async def test_a_call_that_was_tried_often_is_not_made_again_whatever_was_written_down(
    db: Database, tmp_path: Path
) -> None:
    """A steward that dies after each letter, before it says so, sends few; then the address is deleted."""
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, "warga@contoh.id")
    found = []
    for _ in range(calls.TRIES_MAX + 2):
        due = await call_store.due_calls(
            db, "retail", 200, limit=10, tries_max=calls.TRIES_MAX, again_s=60.0, by_phone=False
        )
        found.append(len(due))
        await db.fetch("UPDATE gate.calls SET again_at = now()")
    assert [1] * calls.TRIES_MAX + [0, 0] == found
    way = Watched(db)
    assert 0 == await Calls(db, NowFiles(tmp_path / "now"), [way]).call_due()
    assert [] == way.seen
    assert [] == await waiting(db)


async def test_the_last_try_has_its_time(db: Database, tmp_path: Path) -> None:
    """While it is under way the address stays on record."""
    publish(tmp_path, OPEN)
    await call_store.add_call(db, "retail", 150, 150, "warga@contoh.id")
    await db.fetch("UPDATE gate.calls SET tries = $1, again_at = now() + interval '1 min'", calls.TRIES_MAX)
    assert 0 == await Calls(db, NowFiles(tmp_path / "now"), [Watched(db)]).call_due()
    assert [("retail", 150)] == await waiting(db)


async def test_no_letter_that_is_under_way_is_another_stewards_to_send(db: Database, tmp_path: Path) -> None:
    """However slow the mail server: no more are taken than are sent at once, and for longer than one can last; what
    failed is tried again sooner.
    """
    publish(tmp_path, OPEN)
    together = callers.LETTERS_AT_ONCE
    for number in range(150, 150 + together + 8):
        await call_store.add_call(db, "retail", number, number, f"warga{number}@contoh.id")
    way = Watched(db)
    await Calls(db, NowFiles(tmp_path / "now"), [way]).call_due()
    assert [(together, True)] * together == way.seen[:together]
    assert together + 8 == len(way.seen)
    later = "SELECT count(*) FROM gate.calls WHERE again_at BETWEEN now() AND now() + interval '80 s'"
    assert together + 8 == await db.fetchval(later)
