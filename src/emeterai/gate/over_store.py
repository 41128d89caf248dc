"""All SQL of forgetting: what is on record of numbers that nobody can come in with any more, and of lanes that ended.

No explicit lock: every write is one statement on rows that it names, some thousands at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emeterai.infra.database import Database

_ROOMS = """
    WITH rooms AS (
        SELECT room.lane, draw_seed IS NOT NULL AND draw_count IS NULL AS awaits_draw,
            coalesce(draw_count, 0) AS drawn, (published::jsonb ->> 'grace_from')::bigint AS grace_from,
            coalesce(CASE
                WHEN known.name IS NOT NULL
                THEN (known.lane ->> 'closes_at')::timestamptz < now() - make_interval(secs => $1)
                ELSE (published::jsonb ->> 'closes_at')::timestamptz < now() - make_interval(secs => $1)
                    OR room.lane <> ALL ($2::text[]) AND (
                        SELECT change.after IS NULL AND change.at < now() - make_interval(secs => $1)
                        FROM gate.lane_changes AS change WHERE change.lane = room.lane
                        ORDER BY change.number DESC LIMIT 1
                    )
            END, false) AS is_ended
        FROM gate.rooms AS room LEFT JOIN gate.lanes AS known ON known.name = room.lane
        WHERE published IS NOT NULL
    )
"""
"""Every lane that was ever moved, and whether it has been closed, or taken back, for long. A turn is over as the lane's
now-serving file says it: in a lane that was drawn once all of the draw are.
"""
_IS_OVER = "(is_ended OR NOT awaits_draw AND grace_from > drawn)"


@dataclass(frozen=True, slots=True)
class Bounds:
    """What is forgotten: of lanes that have been closed or taken back for `ended_s`; at most `limit` at once. The lanes
    `lasting` are always there, also without a row.
    """

    ended_s: float
    lasting: Sequence[str]
    limit: int


async def _forgotten(db: Database, bounds: Bounds, statement: str, *more: float) -> int:
    """How many rows a statement that begins with _ROOMS has deleted; `more` are its arguments from $4 on."""
    rows = await db.fetch(statement, bounds.ended_s, list(bounds.lasting), bounds.limit, *more)
    return len(rows)


async def forget_lots(db: Database, bounds: Bounds) -> int:
    """Delete who took lots of lanes that were closed or taken back; answers how many. Of a lane that is drawn they are
    deleted with the draw.
    """
    return await _forgotten(
        db,
        bounds,
        f"""
        {_ROOMS}
        DELETE FROM gate.lots WHERE (lane, network) IN (
            SELECT one.lane, one.network
            FROM rooms, LATERAL (SELECT lane, network FROM gate.lots WHERE lots.lane = rooms.lane LIMIT $3) AS one
            WHERE is_ended
            LIMIT $3
        )
        RETURNING true
        """,
    )


async def forget_calls(db: Database, bounds: Bounds) -> int:
    """Delete the calls that were made or given up, of numbers whose turn is over; answers how many."""
    return await _forgotten(
        db,
        bounds,
        f"""
        {_ROOMS}, ended AS (
            SELECT one.lane, one.number
            FROM rooms, LATERAL (
                SELECT call.lane, call.number FROM gate.calls AS call
                WHERE call.lane = rooms.lane AND (is_ended OR call.number < grace_from) AND call.state <> 'waiting'
                ORDER BY call.number LIMIT $3
            ) AS one
            WHERE {_IS_OVER}
            LIMIT $3
        )
        DELETE FROM gate.calls AS gone USING ended
        WHERE gone.lane = ended.lane AND gone.number = ended.number AND gone.state <> 'waiting'
        RETURNING true
        """,
    )


async def forget_places(db: Database, bounds: Bounds) -> int:
    """Delete the places whose turn is over; answers how many. Whose such a number was stays on record with the numbers
    (`forget_bearers`), as if a pass of it had ended now: a pass of the account may be alive for two hours more, and is
    withdrawn with its number.
    """
    return await _forgotten(
        db,
        bounds,
        f"""
        {_ROOMS}, ended AS (
            SELECT one.lane, one.account_id, one.number
            FROM rooms, LATERAL (
                SELECT place.lane, place.account_id, place.number FROM gate.places AS place
                WHERE place.lane = rooms.lane AND (is_ended OR place.number < grace_from)
                ORDER BY place.number LIMIT $3
            ) AS one
            WHERE {_IS_OVER}
            LIMIT $3
        ), gone AS (
            DELETE FROM gate.places AS gone USING ended
            WHERE gone.lane = ended.lane AND gone.account_id = ended.account_id AND gone.number = ended.number
            RETURNING gone.lane, gone.number, gone.account_id
        )
        INSERT INTO gate.bearers AS known (lane, number, account_id, ends_s)
        SELECT lane, number, account_id, ARRAY[floor(extract(epoch FROM now()))::bigint] FROM gone ORDER BY lane, number
        ON CONFLICT (lane, number) DO UPDATE SET
            account_id = coalesce(known.account_id, excluded.account_id), ends_s = known.ends_s || excluded.ends_s
        RETURNING true
        """,
    )


async def forget_bearers(db: Database, bounds: Bounds, *, pass_ended_s: float) -> int:
    """Delete whose numbers were, of which no pass has been alive for `pass_ended_s` and whose turn is over; answers how
    many there were. Lowest numbers first.
    """
    return await _forgotten(
        db,
        bounds,
        f"""
        {_ROOMS}, ended AS (
            SELECT one.lane, one.number
            FROM rooms, LATERAL (
                SELECT known.lane, known.number FROM gate.bearers AS known
                WHERE known.lane = rooms.lane AND (is_ended OR known.number < grace_from) AND NOT EXISTS (
                    SELECT FROM unnest(known.ends_s) AS end_s
                    WHERE end_s > extract(epoch FROM now() - make_interval(secs => $4))
                )
                ORDER BY known.number LIMIT $3
            ) AS one
            WHERE {_IS_OVER}
            LIMIT $3
        )
        DELETE FROM gate.bearers AS gone USING ended
        WHERE gone.lane = ended.lane AND gone.number = ended.number AND NOT EXISTS (
            SELECT FROM unnest(gone.ends_s) AS end_s
            WHERE end_s > extract(epoch FROM now() - make_interval(secs => $4))
        )
        RETURNING true
        """,
        pass_ended_s,
    )
