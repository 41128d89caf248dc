"""What web processes count stays what it is, however often the rows of the silent are folded away."""

from __future__ import annotations

import pytest
from waiting_people import OPEN

from emeterai.gate import room_store
from emeterai.gate.room_store import Counts
from emeterai.gate.tally import Tally
from emeterai.gate.tickets import Ticket
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id


def one_more(tally: Tally, lane: str, number: int, *, now_s: float = 40.0) -> None:
    """Somebody takes a number that promises half a minute, and comes in."""
    tally.gave(lane, number)
    tally.came(Ticket(lane, number, 0, low_s=20, high_s=40), OPEN, now_s=now_s, called_lately=True)


def many(count: int, *, late_s: float) -> Counts:
    """What is counted of so many of them, the last of whom has that number."""
    return Counts(given=count, last_number=count, came=count, promised=count, kept=count, late_s=late_s)


async def quiet_hour(db: Database) -> None:
    """Nobody counts anything for an hour, and a steward sweeps."""
    await db.fetch("UPDATE gate.counts SET updated_at = now() - interval '61 min'")
    await room_store.fold_counts(db)


async def test_a_living_process_counts_nobody_twice(db: Database) -> None:
    """However often its lane is quiet for an hour; other lanes and other processes go on as they were."""
    tally, other = Tally(new_id()), Tally(new_id())
    for number in (1, 2, 3):
        one_more(tally, "retail", 2 * number - 1)
        one_more(tally, "staff", number)
        await tally.flush(db)
        one_more(other, "retail", 2 * number)
        await other.flush(db)
        expected = {"retail": many(2 * number, late_s=20.0 * number), "staff": many(number, late_s=10.0 * number)}
        assert expected == await room_store.read_counts(db)
        await quiet_hour(db)
        assert expected == await room_store.read_counts(db)
        await tally.flush(db)
        assert expected == await room_store.read_counts(db)


async def test_only_the_quiet_lane_begins_a_new_row(db: Database) -> None:
    """One that was busy all the time has its row, and is written together with it."""
    tally = Tally(new_id())
    one_more(tally, "retail", 1)
    one_more(tally, "staff", 1)
    await tally.flush(db)
    await db.fetch("UPDATE gate.counts SET updated_at = now() - interval '61 min' WHERE lane = 'staff'")
    await room_store.fold_counts(db)
    for number in (2, 3):
        one_more(tally, "retail", number)
        one_more(tally, "staff", number)
        await tally.flush(db)
    assert {"retail": many(3, late_s=30.0), "staff": many(3, late_s=30.0)} == await room_store.read_counts(db)
    assert [("retail", 1), ("staff", 2)] == [
        tuple(row) for row in await db.fetch("SELECT lane, count(*) FROM gate.counts GROUP BY lane ORDER BY lane")
    ]


async def test_what_could_not_be_written_is_written_later(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, also when it was written and nobody heard of it, and when the row was folded away meanwhile."""
    tally, write = Tally(new_id()), room_store.write_counts
    one_more(tally, OPEN.lane, 1)

    async def unheard(*asked: object) -> set[str]:
        await write(*asked)  # type: ignore[arg-type]
        raise ConnectionError

    monkeypatch.setattr(room_store, "write_counts", unheard)
    with pytest.raises(ConnectionError):
        await tally.flush(db)
    monkeypatch.setattr(room_store, "write_counts", write)
    await tally.flush(db)
    assert {"retail": many(1, late_s=10.0)} == await room_store.read_counts(db)
    await quiet_hour(db)
    one_more(tally, "retail", 2)
    monkeypatch.setattr(room_store, "write_counts", unheard)
    with pytest.raises(ConnectionError):
        await tally.flush(db)
    monkeypatch.setattr(room_store, "write_counts", write)
    one_more(tally, "retail", 3)
    await tally.flush(db)
    assert {"retail": many(3, late_s=30.0)} == await room_store.read_counts(db)


async def test_who_comes_while_it_is_written_is_written_next(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """And counts neither as written nor as new when the row is folded away after that."""
    tally, write = Tally(new_id()), room_store.write_counts
    one_more(tally, "retail", 1)

    async def slow(*asked: object) -> set[str]:
        written = await write(*asked)  # type: ignore[arg-type]
        one_more(tally, "retail", 2)
        return written

    monkeypatch.setattr(room_store, "write_counts", slow)
    await tally.flush(db)
    monkeypatch.setattr(room_store, "write_counts", write)
    await quiet_hour(db)
    assert {"retail": many(1, late_s=10.0)} == await room_store.read_counts(db)
    await tally.flush(db)
    assert {"retail": many(2, late_s=20.0)} == await room_store.read_counts(db)
