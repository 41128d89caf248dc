"""All SQL of those who left to be called. No explicit lock: every write is one statement on rows that it names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from emeterai.infra.database import Database


@dataclass(frozen=True, slots=True)
class Due:
    """Somebody to call now, at an e-mail address or a phone number, who asked for it `asked_ago_s` ago."""

    number: int
    turn: int
    to: str
    asked_ago_s: float


async def add_call(
    db: Database, lane: str, number: int, turn: int | None, email: str | None = None, *, phone: str | None = None
) -> bool:
    """Remember who wants to be called, at either address; `turn` is None before the draw. A second time replaces the
    address, and another one is not kept waiting for what was tried at the first. False when they were called: nobody is
    called again.
    """
    added = await db.fetchval(
        """
        INSERT INTO gate.calls (lane, number, turn, email, phone) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (lane, number)
        DO UPDATE SET email = excluded.email, phone = excluded.phone, state = 'waiting', turn = excluded.turn,
            tries = 0, again_at = CASE
                WHEN calls.state = 'waiting' AND coalesce(calls.phone, calls.email) <> coalesce($5, $4) THEN '-infinity'
                ELSE calls.again_at
            END
        WHERE calls.state <> 'called'
        RETURNING true
        """,
        lane,
        number,
        turn,
        email,
        phone,
    )
    return bool(added)


async def calls_of_phone(db: Database, phone: str, *, beside: tuple[str, int]) -> int:
    """How many wait to be called at a phone number, in all lanes, `beside` one lane's number."""
    found: int = await db.fetchval(
        "SELECT count(*) FROM gate.calls WHERE phone = $1 AND (lane, number) <> ($2, $3)", phone, *beside
    )
    return found


async def calls_without_turn(db: Database, lane: str, *, limit: int) -> list[int]:
    """The numbers of some who asked to be called before the draw."""
    rows = await db.fetch(
        "SELECT number FROM gate.calls WHERE lane = $1 AND state = 'waiting' AND turn IS NULL LIMIT $2", lane, limit
    )
    return [row["number"] for row in rows]


async def give_turns(db: Database, lane: str, turns: Sequence[tuple[int, int]]) -> None:
    """Put the turns of these numbers on record: (number, turn) each. Nobody could have called them before."""
    await db.fetch(
        """
        UPDATE gate.calls SET turn = drawn.turn, asked_at = now()
        FROM unnest($2::bigint[], $3::bigint[]) AS drawn (number, turn)
        WHERE calls.lane = $1 AND calls.number = drawn.number AND calls.turn IS NULL
        """,
        lane,
        [number for number, _ in turns],
        [turn for _, turn in turns],
    )


async def count_calls(db: Database, lane: str, *, up_to: int) -> int:
    """How many wait to be called; counted no further than `up_to`."""
    found: int = await db.fetchval(
        """
        SELECT count(*) FROM (SELECT FROM gate.calls WHERE lane = $1 AND state = 'waiting' LIMIT $2) AS found
        """,
        lane,
        up_to,
    )
    return found


async def due_calls(
    db: Database, lane: str, up_to: int, *, limit: int, tries_max: int, again_s: float, by_phone: bool
) -> list[Due]:
    """Those to call now by phone or by e-mail, nearest turn first, each `tries_max` times at most. They are not given
    again for `again_s`, give or take a quarter, unless `put_off_calls` says otherwise.
    """
    rows = await db.fetch(
        """
        UPDATE gate.calls SET tries = tries + 1, again_at = now() + make_interval(secs => $4 * (0.75 + random() / 2))
        WHERE lane = $1 AND number = ANY (ARRAY(
            SELECT number FROM gate.calls
            WHERE lane = $1 AND state = 'waiting' AND turn <= $2 AND again_at <= now() AND (phone IS NOT NULL) = $5
                AND tries < $6
            ORDER BY turn LIMIT $3
        )) AND state = 'waiting' AND again_at <= now() AND (phone IS NOT NULL) = $5 AND tries < $6
        RETURNING number, turn, coalesce(phone, email) AS "to",
                  extract(epoch FROM now() - asked_at)::float8 AS asked_ago_s
        """,
        lane,
        up_to,
        limit,
        again_s,
        by_phone,
        tries_max,
    )
    return sorted((Due(**row) for row in rows), key=lambda due: due.turn)


async def drop_late_calls(db: Database, lane: str, grace_from: int, *, tries_max: int) -> int:
    """Give up the calls of those whose turn is over, and delete their addresses; answers how many. The addresses go,
    too, of those who were tried for the last time by a steward that did not live to write down how it went.
    """
    rows = await db.fetch(
        """
        UPDATE gate.calls SET state = 'failed', email = NULL, phone = NULL
        WHERE lane = $1 AND state = 'waiting' AND (turn < $2 OR (tries >= $3 AND again_at <= now()))
        RETURNING coalesce(turn < $2, false) AS is_over
        """,
        lane,
        grace_from,
        tries_max,
    )
    return sum(row["is_over"] for row in rows)


async def drop_calls_of_no_lane(db: Database, lanes: Sequence[str], *, kept_for: timedelta) -> int:
    """Give up the calls in lanes that are no more, and in those that have been closed, for `kept_for`, and delete the
    addresses; answers how many. `lanes` are always there, also without a row. The database alone decides: a line that
    stands still and a machine that has never seen the lane keep no address.
    """
    rows = await db.fetch(
        """
        WITH RECURSIVE waiting AS (
            (SELECT lane FROM gate.calls WHERE state = 'waiting' ORDER BY lane LIMIT 1)
            UNION ALL
            SELECT (SELECT lane FROM gate.calls WHERE state = 'waiting' AND lane > waiting.lane ORDER BY lane LIMIT 1)
            FROM waiting WHERE waiting.lane IS NOT NULL
        ), ended AS (
            SELECT waiting.lane FROM waiting LEFT JOIN gate.lanes AS known ON known.name = waiting.lane
            WHERE (known.lane ->> 'closes_at')::timestamptz < now() - $2::interval
               OR known.name IS NULL AND waiting.lane <> ALL ($1) AND NOT EXISTS (
                   SELECT FROM gate.lane_changes AS change
                   WHERE change.lane = waiting.lane AND change.at > now() - $2::interval
               )
        )
        UPDATE gate.calls SET state = 'failed', email = NULL, phone = NULL
        FROM ended WHERE calls.lane = ended.lane AND calls.state = 'waiting'
        RETURNING calls.number
        """,
        list(lanes),
        kept_for,
    )
    return len(rows)


async def end_calls(db: Database, lane: str, made: Sequence[Due]) -> None:
    """Calls that were made: their addresses are deleted. An address that was corrected meanwhile is still to call."""
    await db.fetch(
        """
        UPDATE gate.calls SET state = 'called', email = NULL, phone = NULL
        FROM unnest($2::bigint[], $3::text[]) AS made (number, "to")
        WHERE lane = $1 AND calls.number = made.number AND coalesce(phone, email) = made."to" AND state = 'waiting'
        """,
        lane,
        [one.number for one in made],
        [one.to for one in made],
    )


async def put_off_calls(db: Database, lane: str, failed: Sequence[Due], *, tries_max: int, again_s: float) -> None:
    """Calls that failed: they are due again after `again_s`, give or take a quarter. Those that failed `tries_max`
    times end, and their addresses are deleted. An address that was corrected meanwhile has not failed.
    """
    await db.fetch(
        """
        UPDATE gate.calls SET again_at = now() + make_interval(secs => $5 * (0.75 + random() / 2)),
            state = CASE WHEN tries >= $4 THEN 'failed' ELSE state END,
            email = CASE WHEN tries < $4 THEN email END, phone = CASE WHEN tries < $4 THEN phone END
        FROM unnest($2::bigint[], $3::text[]) AS failed (number, "to")
        WHERE lane = $1 AND calls.number = failed.number AND coalesce(phone, email) = failed."to" AND state = 'waiting'
        """,
        lane,
        [one.number for one in failed],
        [one.to for one in failed],
        tries_max,
        again_s,
    )
