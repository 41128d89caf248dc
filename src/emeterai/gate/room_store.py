"""All SQL of the waiting room. No explicit lock: every write is one statement on rows that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from emeterai.infra.database import Database

_TOGETHER_S = 5
_LOTS_FORGOTTEN = 10_000
"""So many lots of a drawn lane are forgotten with each of its moves: it moves every second, and must not wait."""


@dataclass(frozen=True, slots=True)
class RoomRow:
    """What is on record of a room, and the database's time `at`."""

    lane: str
    next_number: int
    now_serving: int
    credit: float
    moved_at: datetime
    marks: str
    come_share: float
    draw_seed: bytes | None
    draw_count: int | None
    at: datetime


@dataclass(slots=True)
class Counts:
    """What the web processes counted, added up: `kept` of `promised` waits held; in sum they were `late_s` late."""

    given: int = 0
    last_number: int = 0
    came: int = 0
    finishing: int = 0
    promised: int = 0
    kept: int = 0
    late_s: float = 0.0

    def since(self, before: Counts) -> Counts:
        """What was counted after `before`; the last number stays what it is."""
        more = {name: getattr(self, name) - getattr(before, name) for name in self.__slots__}
        return Counts(**{**more, "last_number": self.last_number})


async def lease(db: Database, lane: str, size: int, machine: UUID) -> tuple[int, bool]:
    """The first of `size` numbers that nobody else gets, and whether other machines give numbers too."""
    row = await db.fetchrow(
        """
        WITH me AS (
            INSERT INTO gate.givers (machine) VALUES ($3) ON CONFLICT (machine) DO UPDATE SET seen_at = now()
        )
        INSERT INTO gate.rooms AS room (lane, next_number) VALUES ($1, 1 + $2::int)
        ON CONFLICT (lane) DO UPDATE SET next_number = room.next_number + $2::int
        RETURNING next_number - $2::int AS first, EXISTS (
            SELECT FROM gate.givers WHERE machine <> $3 AND seen_at > now() - make_interval(secs => $4)
        ) AS together
        """,
        lane,
        size,
        machine,
        _TOGETHER_S,
    )
    return row["first"], row["together"]


async def give_back(db: Database, lane: str, first: int, end: int) -> bool:
    """Take a range back that is the last that was leased; False when others have leased since: it is lost."""
    row = await db.fetchval(
        "UPDATE gate.rooms SET next_number = $2 WHERE lane = $1 AND next_number = $3 RETURNING true", lane, first, end
    )
    return bool(row)


async def say_here(db: Database, machine: UUID) -> bool:
    """This machine gives numbers; answers whether others do too."""
    found: bool = await db.fetchval(
        """
        WITH me AS (
            INSERT INTO gate.givers (machine) VALUES ($1) ON CONFLICT (machine) DO UPDATE SET seen_at = now()
        ), gone AS (
            DELETE FROM gate.givers WHERE machine <> $1 AND seen_at < now() - interval '1 hour'
        )
        SELECT EXISTS (
            SELECT FROM gate.givers WHERE machine <> $1 AND seen_at > now() - make_interval(secs => $2)
        )
        """,
        machine,
        _TOGETHER_S,
    )
    return found


async def take_places(db: Database, asked: Sequence[tuple[str, UUID, int, int]]) -> None:
    """Write places down: (lane, account, number, issued_ms) each. An account keeps the place that it has, and a number
    that is somebody's stays theirs.
    """
    columns = [list(column) for column in zip(*asked, strict=True)]
    await db.fetch(
        """
        INSERT INTO gate.places (lane, account_id, number, issued_ms)
        SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[]) AS asked (lane, account_id, number, ms)
        ORDER BY lane, number
        ON CONFLICT DO NOTHING
        """,
        *columns,
    )


async def read_places(db: Database, asked: Sequence[tuple[str, UUID]]) -> dict[tuple[str, UUID], tuple[int, int]]:
    """The places that these accounts have in these lanes: (number, issued_ms)."""
    rows = await db.fetch(
        """
        SELECT lane, account_id, number, issued_ms FROM gate.places
        JOIN unnest($1::text[], $2::uuid[]) AS asked (lane, account_id) USING (lane, account_id)
        """,
        [lane for lane, _ in asked],
        [account_id for _, account_id in asked],
    )
    return {(row["lane"], row["account_id"]): (row["number"], row["issued_ms"]) for row in rows}


async def move_place(db: Database, lane: str, account_id: UUID, number: int, issued_ms: int) -> bool:
    """Give an account that has a place in a lane another one; False when somebody has that one."""
    try:
        moved = await db.fetchval(
            """
            UPDATE gate.places SET number = $3, issued_ms = $4 WHERE lane = $1 AND account_id = $2 RETURNING true
            """,
            lane,
            account_id,
            number,
            issued_ms,
        )
    except asyncpg.UniqueViolationError:
        return False
    return bool(moved)


async def drop_place(db: Database, lane: str, account_id: UUID) -> bool:
    """An account leaves a line; False when it was not in it."""
    found = await db.fetchval(
        "DELETE FROM gate.places WHERE lane = $1 AND account_id = $2 RETURNING true", lane, account_id
    )
    return bool(found)


async def write_counts(db: Database, process: UUID, lanes: Sequence[tuple[str, Counts, bool]]) -> set[str]:
    """Replace what this process has counted; answers the lanes that are written. One row a lane, which nobody else
    writes. True beside the counts: the row is there already; one that is not has been folded with these counts in it,
    and is not made again.
    """
    rows = await db.fetch(
        """
        WITH asked AS (
            SELECT * FROM unnest(
                $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                $9::float8[], $10::boolean[]
            ) AS one (lane, given, last_number, came, finishing, promised, kept, late_s, is_there)
        ), replaced AS (
            UPDATE gate.counts SET
                given = asked.given, last_number = asked.last_number, came = asked.came, finishing = asked.finishing,
                promised = asked.promised, kept = asked.kept, late_s = asked.late_s, updated_at = now()
            FROM asked WHERE counts.process = $1 AND counts.lane = asked.lane AND is_there RETURNING counts.lane
        ), made AS (
            INSERT INTO gate.counts
                (process, lane, given, last_number, came, finishing, promised, kept, late_s, updated_at)
            SELECT $1, lane, given, last_number, came, finishing, promised, kept, late_s, now()
            FROM asked WHERE NOT is_there
            ON CONFLICT (lane, process) DO UPDATE SET
                given = excluded.given, last_number = excluded.last_number, came = excluded.came,
                finishing = excluded.finishing, promised = excluded.promised, kept = excluded.kept,
                late_s = excluded.late_s, updated_at = excluded.updated_at
            RETURNING lane
        )
        SELECT lane FROM replaced UNION ALL SELECT lane FROM made
        """,
        process,
        [lane for lane, _, _ in lanes],
        *[
            [getattr(counts, name) for _, counts, _ in lanes]
            for name in ("given", "last_number", "came", "finishing", "promised", "kept", "late_s")
        ],
        [is_there for _, _, is_there in lanes],
    )
    return {row["lane"] for row in rows}


async def read_counts(db: Database) -> dict[str, Counts]:
    """What all processes have counted, by lane."""
    rows = await db.fetch(
        """
        SELECT lane, sum(given)::bigint AS given, max(last_number) AS last_number, sum(came)::bigint AS came,
               sum(finishing)::bigint AS finishing, sum(promised)::bigint AS promised, sum(kept)::bigint AS kept,
               sum(late_s) AS late_s
        FROM gate.counts GROUP BY lane
        """
    )
    return {row["lane"]: Counts(**{name: row[name] for name in Counts.__slots__}) for row in rows}


async def fold_counts(db: Database) -> None:
    """Add the rows that nobody has written for an hour to one row a lane: those of the dead, and of the living that had
    nothing to count (they begin a new one with what they count afterwards).
    """
    await db.fetch(
        """
        WITH dead AS (
            DELETE FROM gate.counts
            WHERE updated_at < now() - interval '1 hour' AND process <> '00000000-0000-0000-0000-000000000000'
            RETURNING *
        )
        INSERT INTO gate.counts AS sums (lane, process, given, last_number, came, finishing, promised, kept, late_s)
        SELECT lane, '00000000-0000-0000-0000-000000000000', sum(given), max(last_number), sum(came), sum(finishing),
               sum(promised), sum(kept), sum(late_s)
        FROM dead GROUP BY lane
        ON CONFLICT (lane, process) DO UPDATE SET
            given = sums.given + excluded.given, last_number = greatest(sums.last_number, excluded.last_number),
            came = sums.came + excluded.came, finishing = sums.finishing + excluded.finishing,
            promised = sums.promised + excluded.promised, kept = sums.kept + excluded.kept,
            late_s = sums.late_s + excluded.late_s, updated_at = now()
        """
    )


async def claim_rooms(db: Database, lanes: Sequence[str], writer: UUID, *, lease_s: float) -> list[RoomRow]:
    """Be the one who moves these lines for `lease_s`; answers those that are ours, made when absent."""
    rows = await db.fetch(
        """
        INSERT INTO gate.rooms AS room (lane, writer, writer_until)
        SELECT lane, $2, now() + make_interval(secs => $3) FROM unnest($1::text[]) AS lane ORDER BY lane
        ON CONFLICT (lane) DO UPDATE SET writer = excluded.writer, writer_until = excluded.writer_until
        WHERE room.writer IS NULL OR room.writer = $2 OR room.writer_until < now()
        RETURNING lane, next_number, now_serving, credit, moved_at, marks, come_share, draw_seed, draw_count,
                  now() AS at
        """,
        list(lanes),
        writer,
        lease_s,
    )
    return [RoomRow(**row) for row in rows]


async def give_room_back(db: Database, lane: str, writer: UUID) -> None:
    """Be no longer the one who moves a line: another may, at once."""
    await db.fetch("UPDATE gate.rooms SET writer_until = '-infinity' WHERE lane = $1 AND writer = $2", lane, writer)


async def write_room(db: Database, writer: UUID, row: RoomRow, published: str) -> bool:
    """Move a line and publish it; False when another has taken the line over. Once it is drawn, who took lots of it is
    forgotten: with the draw, also what comes in after it, and a share each time where there is much.
    """
    found = await db.fetchval(
        """
        WITH moved AS (
            UPDATE gate.rooms SET now_serving = $3, credit = $4, moved_at = $5, marks = $6, come_share = $7,
                draw_seed = $8, draw_count = $9, published = $10
            WHERE lane = $1 AND writer = $2 RETURNING draw_count IS NOT NULL AS is_drawn
        ), forgotten AS (
            DELETE FROM gate.lots WHERE (lane, network) IN (
                SELECT lane, network FROM gate.lots WHERE lane = $1 AND (SELECT is_drawn FROM moved) LIMIT $11
            )
        )
        SELECT true FROM moved
        """,
        row.lane,
        writer,
        row.now_serving,
        row.credit,
        row.at,
        row.marks,
        row.come_share,
        row.draw_seed,
        row.draw_count,
        published,
        _LOTS_FORGOTTEN,
    )
    return bool(found)


async def read_published(db: Database) -> list[tuple[str, str]]:
    """Every lane's published state as JSON."""
    rows = await db.fetch("SELECT lane, published FROM gate.rooms WHERE published IS NOT NULL")
    return [(row["lane"], row["published"]) for row in rows]


async def read_revocations(db: Database) -> list[tuple[str, bytes]]:
    """The lanes and subjects whose tickets and passes are withdrawn."""
    rows = await db.fetch("SELECT lane, subject FROM gate.revocations")
    return [(row["lane"], row["subject"]) for row in rows]


async def add_revocation(db: Database, lane: str, subject: bytes, reason: str) -> None:
    """Withdraw the ticket and the passes of a subject; once is enough."""
    await db.fetch(
        "INSERT INTO gate.revocations (lane, subject, reason) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        lane,
        subject,
        reason,
    )


async def is_of_lane(db: Database, lane: str, accounts: Sequence[UUID]) -> bool:
    """Whether one of these accounts was put into this lane."""
    found: bool = await db.fetchval(
        "SELECT EXISTS (SELECT FROM gate.lane_accounts WHERE lane = $1 AND account_id = ANY ($2))", lane, list(accounts)
    )
    return found
