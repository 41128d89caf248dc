"""What is on record of numbers is kept for as long as anybody can come in with one, and deleted then."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from waiting_people import AT, OPEN, SEED, changed, make_lane, take_lane_back

from emeterai.gate import bearer_store, call_store, over_store, room_store
from emeterai.gate.bearers import forget_numbers
from emeterai.gate.lanes import Lane
from emeterai.gate.over_store import Bounds
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

HOUR_S = 3_600
OWNERS = {number: new_id() for number in range(1, 101)}


async def room(db: Database, lane: str, *, grace_from: int, drawn: int | None = None, **state: object) -> None:
    """A lane whose now-serving file says so; `drawn`: so many numbers were in its draw."""
    published = changed(OPEN, lane=lane, grace_from=grace_from, **state)
    await db.fetch(
        "INSERT INTO gate.rooms (lane, next_number, draw_seed, draw_count, published) VALUES ($1, 501, $2, $3, $4)",
        lane,
        SEED if drawn is not None else None,
        drawn or None,
        msgspec.json.encode(published).decode(),
    )


async def number(db: Database, lane: str, number: int, *ends_in_s: int) -> None:
    """What is on record of an account's number, whose passes of nobody end so soon."""
    now_s = int(utc_now().timestamp())
    await db.fetch(
        "INSERT INTO gate.bearers (lane, number, account_id, ends_s) VALUES ($1, $2, $3, $4)",
        lane,
        number,
        new_id(),
        [now_s + one for one in ends_in_s],
    )


async def left(db: Database) -> list[tuple[str, int]]:
    """What is still on record."""
    return [tuple(row) for row in await db.fetch("SELECT lane, number FROM gate.bearers ORDER BY lane, number")]


async def test_a_number_is_forgotten_when_its_turn_is_over_and_its_passes_have_ended(db: Database) -> None:
    """A day ago, the last of them: whoever uses one still may tie it to an account."""
    await room(db, "retail", grace_from=100)
    for one, ends_in_s in ((96, (300,)), (97, (-48 * HOUR_S, -HOUR_S)), (98, (-25 * HOUR_S,)), (99, ()), (100, ())):
        await number(db, "retail", one, *ends_in_s)
    assert 2 == await forget_numbers(db)
    assert [("retail", 96), ("retail", 97), ("retail", 100)] == await left(db)
    assert 0 == await forget_numbers(db)


@pytest.mark.parametrize(("grace_from", "drawn", "kept"), [(40, 50, [10, 60]), (61, 50, []), (50, 50, [10, 60])])
async def test_of_a_draw_all_are_kept_until_all_are_over(
    db: Database, grace_from: int, drawn: int, kept: list[int]
) -> None:
    """A low number may have a late turn."""
    await room(db, "retail", grace_from=grace_from, drawn=drawn)
    for one in (10, 60):
        await number(db, "retail", one)
    await forget_numbers(db)
    assert [("retail", one) for one in kept] == await left(db)


async def test_before_a_draw_nobody_is_forgotten(db: Database) -> None:
    """Nor in a lane of which nobody has said anything."""
    await room(db, "retail", grace_from=1_000, drawn=0)
    for lane in ("retail", "cpns-2026"):
        await number(db, lane, 5)
    assert 0 == await forget_numbers(db)


async def test_a_lane_that_has_been_closed_for_a_week_is_forgotten(db: Database) -> None:
    """Until then it may be opened again."""
    for lane, days in (("cpns-2025", 8), ("cpns-2026", 6)):
        await room(db, lane, grace_from=1, state="closed", closes_at=utc_now() - timedelta(days=days))
        await number(db, lane, 5)
    await number(db, "cpns-2025", 6, 300)
    await room(db, "cpns-2027", grace_from=1, closes_at=AT + timedelta(days=4_000))
    await number(db, "cpns-2027", 5)
    assert 1 == await forget_numbers(db)
    assert [("cpns-2025", 6), ("cpns-2026", 5), ("cpns-2027", 5)] == await left(db)


async def test_few_are_forgotten_at_once(db: Database) -> None:
    """Lowest numbers first, of all lanes together no more than so many."""
    for lane in ("retail", "staff"):
        await room(db, lane, grace_from=100)
        for one in range(1, 6):
            await number(db, lane, one)
    bounds = Bounds(ended_s=60.0, lasting=(), limit=4)
    found = [await over_store.forget_bearers(db, bounds, pass_ended_s=60.0) for _ in range(4)]
    assert [4, 4, 2, 0] == found


async def places(db: Database, lane: str, *numbers: int) -> None:
    """Accounts have these places in a lane."""
    await room_store.take_places(db, [(lane, OWNERS[number], number, 1_000) for number in numbers])


async def places_left(db: Database) -> list[tuple[str, int]]:
    """The places that are still on record."""
    return [tuple(row) for row in await db.fetch("SELECT lane, number FROM gate.places ORDER BY lane, number")]


async def called(db: Database, lane: str, number: int, state: str) -> None:
    """Somebody's wish to be called, and what became of it."""
    await call_store.add_call(db, lane, number, number, "warga@contoh.id")
    if state != "waiting":
        await db.fetch(
            "UPDATE gate.calls SET state = $3, email = NULL WHERE lane = $1 AND number = $2", lane, number, state
        )


async def taken_back(db: Database, name: str, *, days: int) -> None:
    """A lane that an operator made and took back so long ago."""
    await take_lane_back(db, name, await make_lane(db, Lane(name=name, title="Umum")))
    await db.fetch("ALTER TABLE gate.lane_changes DISABLE TRIGGER lane_changes_immutable")
    await db.fetch("UPDATE gate.lane_changes SET at = now() - make_interval(days => $2) WHERE lane = $1", name, days)


async def test_a_place_is_forgotten_when_its_turn_is_over(db: Database) -> None:
    """Whose the number was is known for a day more: their pass may be withdrawn with it."""
    await room(db, "retail", grace_from=50)
    await places(db, "retail", 48, 49, 50)
    await bearer_store.own_numbers(db, [("retail", 49, OWNERS[49])])
    assert 2 == await forget_numbers(db)
    assert [("retail", 50)] == await places_left(db)
    owners = [await bearer_store.owner_of(db, "retail", number) for number in (48, 49, 50)]
    assert [OWNERS[number] for number in (48, 49, 50)] == owners
    other = {("retail", 49): OWNERS[49]}
    assert other == await bearer_store.own_numbers(db, [("retail", 49, OWNERS[1])])
    assert 0 == await forget_numbers(db)
    await db.fetch("UPDATE gate.bearers SET ends_s = ARRAY[ends_s[1] - 86400]")
    assert 2 == await forget_numbers(db)
    assert [("retail", 50)] == await places_left(db)
    assert [] == await left(db)


@pytest.mark.parametrize(
    ("grace_from", "drawn", "kept"), [(40, 50, [10, 60]), (61, 50, []), (55, 50, [60]), (100, 0, [10, 60])]
)
async def test_a_lot_keeps_its_place_until_the_whole_draw_is_over(
    db: Database, grace_from: int, drawn: int, kept: list[int]
) -> None:
    """However low its number; and before the draw. What became of its call is kept as long."""
    await room(db, "retail", grace_from=grace_from, drawn=drawn)
    await places(db, "retail", 10, 60)
    for one in (10, 60):
        await called(db, "retail", one, "called")
    await forget_numbers(db)
    assert [("retail", one) for one in kept] == await places_left(db)
    assert kept == [row["number"] for row in await db.fetch("SELECT number FROM gate.calls ORDER BY number")]


async def test_a_call_that_was_made_or_given_up_is_forgotten_when_its_turn_is_over(db: Database) -> None:
    """Until then it says that nobody is called again. One that waits is the steward's to end."""
    await room(db, "retail", grace_from=50)
    for one, state in ((47, "waiting"), (48, "called"), (49, "failed"), (50, "called"), (51, "failed")):
        await called(db, "retail", one, state)
    assert 2 == await forget_numbers(db)
    assert [47, 50, 51] == [row["number"] for row in await db.fetch("SELECT number FROM gate.calls ORDER BY number")]


async def test_of_a_lane_that_is_no_more_nothing_is_kept(db: Database) -> None:
    """Nor of one that was closed before its draw; not at once, as it may have been a mistake. Lanes that are always
    there stay, whatever of theirs was taken back.
    """
    lanes = {"cpns-2024": 8, "cpns-2025": 6, "cpns-2026": 8, "cpns-2027": 6, "retail": 8}
    for name, days in lanes.items():
        closes_at = utc_now() - timedelta(days=days) if name in {"cpns-2026", "cpns-2027"} else None
        await room(db, name, grace_from=1, drawn=0, state="before_opening", closes_at=closes_at)
        if closes_at is None:
            await taken_back(db, name, days=days)
        await places(db, name, 5)
        await number(db, name, 6)
        await called(db, name, 7, "failed")
        await db.fetch("INSERT INTO gate.lots (lane, network, taken) VALUES ($1, $2, 3)", name, bytes(12))
    for _ in range(2):
        await forget_numbers(db)
        await db.fetch("UPDATE gate.bearers SET ends_s = ARRAY[]::bigint[]")
    kept = ["cpns-2025", "cpns-2027", "retail"]
    for table in ("places", "bearers", "calls", "lots"):
        rows = await db.fetch(f"SELECT lane FROM gate.{table} ORDER BY lane")
        assert kept == [row["lane"] for row in rows], table


async def test_a_lane_that_is_open_again_is_not_forgotten(db: Database) -> None:
    """What an operator says of a lane counts, also while its line stands and its file says that it is closed."""
    await room(db, "cpns-2026", grace_from=1, state="closed", closes_at=utc_now() - timedelta(days=8))
    await make_lane(db, Lane(name="cpns-2026", title="CPNS"))
    await places(db, "cpns-2026", 5)
    assert 0 == await forget_numbers(db)
    assert [("cpns-2026", 5)] == await places_left(db)


async def test_few_places_calls_and_lots_are_forgotten_at_once(db: Database) -> None:
    """A sweep is no burden, however many there are."""
    await room(db, "cpns-2026", grace_from=100, state="closed", closes_at=utc_now() - timedelta(days=8))
    for one in range(1, 6):
        await places(db, "cpns-2026", one)
        await called(db, "cpns-2026", one, "called")
        await db.fetch("INSERT INTO gate.lots (lane, network, taken) VALUES ('cpns-2026', $1, 1)", bytes([one] * 12))
    bounds = Bounds(ended_s=60.0, lasting=(), limit=3)
    for forget in (over_store.forget_places, over_store.forget_calls, over_store.forget_lots):
        assert [3, 2, 0] == [await forget(db, bounds) for _ in range(3)]
