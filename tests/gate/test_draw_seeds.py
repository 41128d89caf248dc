"""The seed of a draw: nobody who reads the database before the draw can compute it, and it is the one promised."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs
from waiting_people import SECRET, SEED, Room

from emeterai.core.draw import commitment_of
from emeterai.gate import conductor, room_store
from emeterai.gate.conductor import Conductor
from emeterai.gate.draw_seeds import DrawSeeds
from emeterai.gate.lanes import Lane
from emeterai.gate.now import NowFiles
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

SEEDS = DrawSeeds(SECRET)


def opening(lane: str = "retail", *, in_s: float = 3_600) -> Lane:
    """A lane that opens then."""
    return Lane(name=lane, title="CPNS", opens_at=utc_now() + timedelta(seconds=in_s))


async def kept(db: Database, lane: str = "retail") -> bytes:
    """What stands in the database."""
    found: bytes = await db.fetchval("SELECT draw_seed FROM gate.rooms WHERE lane = $1", lane)
    return found


async def test_before_the_draw_the_database_does_not_know_the_seed(db: Database, tmp_path: Path) -> None:
    """Its commitment is public and stays; at the draw the seed of that very commitment is told, and is on record."""
    room = Room(db, tmp_path)
    room.lanes["retail"] = opening()
    await room.conductor.move()
    promised, sealed = room.now.draw, await kept(db)
    assert promised is not None
    rows = str([tuple(row) for row in await db.fetch("SELECT rooms::text FROM gate.rooms")])
    seed = SEEDS.deciphered("retail", sealed)
    assert seed is not None
    assert promised.commitment == commitment_of(seed)
    assert seed.hex() not in rows
    assert promised.commitment not in {hashlib.sha256(sealed[start : start + 32]).hexdigest() for start in range(30)}
    await room.conductor.move()
    assert (promised, sealed) == (room.now.draw, await kept(db))
    await db.fetch("UPDATE gate.rooms SET next_number = 51")
    room.lanes["retail"] = opening(in_s=-1)
    await room.conductor.move()
    assert room.now.draw is not None
    assert (promised.commitment, seed.hex(), 50) == (
        room.now.draw.commitment,
        room.now.draw.seed,
        room.now.draw.count,
    )
    assert seed == await kept(db)
    await room.conductor.move()
    assert "open" == room.now.state


async def test_a_seed_from_before_is_the_one_that_is_drawn(db: Database, tmp_path: Path) -> None:
    """It stands in the clear, as it did; its commitment was published and holds."""
    await db.fetch("INSERT INTO gate.rooms (lane, next_number, draw_seed) VALUES ('retail', 51, $1)", SEED)
    room = Room(db, tmp_path)
    room.lanes["retail"] = opening()
    await room.conductor.move()
    assert (room.now.draw and room.now.draw.commitment, SEED) == (commitment_of(SEED), await kept(db))
    room.lanes["retail"] = opening(in_s=-1)
    await room.conductor.move()
    assert SEED.hex() == (room.now.draw and room.now.draw.seed)


@pytest.mark.parametrize("of", ["another lane", "another installation", "another version", "nobody"])
async def test_a_seed_that_is_not_this_lanes_is_not_drawn(db: Database, tmp_path: Path, of: str) -> None:
    """The lane stands, which rings, and nothing is drawn in its place; the other lanes move."""
    sealed = {
        "another lane": SEEDS.enciphered("cpns-2026", SEED),
        "another installation": DrawSeeds(b"o" * 32).enciphered("retail", SEED),
        "another version": b"\x02" + SEEDS.enciphered("retail", SEED)[1:],
        "nobody": bytes(61),
    }[of]
    await db.fetch("INSERT INTO gate.rooms (lane, next_number, draw_seed) VALUES ('retail', 51, $1)", sealed)
    room = Room(db, tmp_path)
    room.lanes |= {"retail": opening(in_s=-1), "umum": Lane(name="umum", title="Umum")}
    with capture_logs() as logs:
        await room.conductor.move()
    assert ["draw_seed_unreadable"] == [line["event"] for line in logs]
    assert ["umum"] == [path.stem for path in (tmp_path / "now").glob("*.json")]
    assert sealed == await kept(db)


@pytest.mark.parametrize(("unreadable_s", "told"), [(conductor.UNREADABLE_S, 1), (0.0, 2)])
async def test_a_steward_with_another_secret_stands_in_nobodys_way(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, unreadable_s: float, told: int
) -> None:
    """It gives the line back at once and leaves it alone for a while; whoever can read the seed goes on with it."""
    monkeypatch.setattr(conductor, "UNREADABLE_S", unreadable_s)
    room, files = Room(db, tmp_path), NowFiles(tmp_path / "other")
    room.lanes["retail"] = opening()
    await room.conductor.move()
    promised = room.now.draw
    other = Conductor(db, files, lanes=room._lanes, controller=room._controller, secret=b"o" * 32)
    await db.fetch("UPDATE gate.rooms SET writer_until = now() - interval '1 s'")
    with capture_logs() as logs:
        await other.move()
        await other.move()
    assert ["draw_seed_unreadable"] * told == [line["event"] for line in logs]
    room.lanes["retail"] = opening(in_s=-1)
    await room.conductor.move()
    await other.move()
    assert "open" == files.read("retail").state
    drawn = files.read("retail").draw
    assert drawn is not None
    assert promised is not None
    assert promised.commitment == commitment_of(bytes.fromhex(drawn.seed or ""))


async def test_the_row_takes_only_the_seed_that_was_promised(db: Database, tmp_path: Path) -> None:
    """Whatever writes it, and whatever it publishes meanwhile."""
    room = Room(db, tmp_path)
    room.lanes["retail"] = opening()
    await room.conductor.move()
    seed = SEEDS.deciphered("retail", await kept(db))
    assert seed is not None
    promised = "SELECT draw_commitment FROM gate.rooms"
    assert commitment_of(seed) == await db.fetchval(promised)
    for change in (f"draw_commitment = '{commitment_of(SEED)}'", "draw_commitment = NULL", "published = '{}'"):
        await db.fetch(f"UPDATE gate.rooms SET {change}")
        assert commitment_of(seed) == await db.fetchval(promised)
        with pytest.raises(asyncpg.RaiseError):
            await db.fetch("UPDATE gate.rooms SET draw_seed = $1, draw_count = 50", SEED)
    await db.fetch("UPDATE gate.rooms SET draw_seed = $1, draw_count = 50", seed)
    assert seed == await kept(db)


async def test_the_row_refuses_another_seed_and_a_draw_that_is_not_told(db: Database, tmp_path: Path) -> None:
    """Whatever writes it: a steward of a version that knows nothing of this cannot draw what it cannot read."""
    room = Room(db, tmp_path)
    room.lanes["retail"] = opening()
    await room.conductor.move()
    for change in ("draw_seed = sha256('x')", "draw_seed = NULL", "draw_seed = draw_seed || 'x'"):
        with pytest.raises(asyncpg.RaiseError):
            await db.fetch(f"UPDATE gate.rooms SET {change}")
    old = new_id()
    await db.fetch("UPDATE gate.rooms SET writer_until = now() - interval '1 s'")
    [row] = await room_store.claim_rooms(db, ["retail"], old, lease_s=3.0)
    with pytest.raises(asyncpg.CheckViolationError):
        await room_store.write_room(db, old, replace(row, draw_count=50), "{}")
    assert SEEDS.deciphered("retail", await kept(db)) is not None
