"""What is on record of numbers is kept for as long as anybody can come in with one, and deleted then."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from waiting_people import AT, OPEN, SEED, changed

from emeterai.gate import bearer_store
from emeterai.gate.bearers import forget_numbers
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

HOUR_S = 3_600


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
    found = [await bearer_store.forget_over(db, ended_s=60.0, closed_s=60.0, limit=4) for _ in range(4)]
    assert [4, 4, 2, 0] == found
