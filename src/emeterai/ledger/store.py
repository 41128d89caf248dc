"""All SQL of the ledger's transfers, balances and holds. Four moments, four statements: lock, read, decide, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from emeterai.core.ledger import Balance, Book, Kind, OpenHold, Transfer
from emeterai.infra.arrays import Cell, array_text
from emeterai.infra.database import Connection, Database
from emeterai.ledger.model import Movement

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
# One by one in the order of the array, whatever the plan knows of the table. Not `= ANY`: a row that others changed
# meanwhile is judged again, by itself, and not against the whole array.
_BALANCES_IN_ORDER = """
    SELECT balance.* FROM unnest($1::text::uuid[]) AS wanted(account) CROSS JOIN LATERAL (
        SELECT account, bought, held, used, refunded FROM ledger.balances WHERE account = wanted.account {which}
    ) AS balance
"""
_BALANCES = _BALANCES_IN_ORDER.format(which="OFFSET 0")
_LOCKED = _BALANCES_IN_ORDER.format(which="FOR NO KEY UPDATE")
# The bounds let partitions be skipped when the statement's plan is kept. A row without a kind is an open hold.
_EARLIER = """
    SELECT id, kind, reason, amount, debit, credit, hold_id, subject FROM ledger.transfers
    WHERE id = ANY($1::text::uuid[]) AND id BETWEEN $2 AND $3
    UNION ALL
    SELECT id, NULL, NULL, amount, account, NULL, NULL, NULL FROM ledger.holds WHERE id = ANY($4::text::uuid[])
"""
_ENDINGS = "SELECT hold_id, kind FROM ledger.transfers WHERE hold_id = ANY($1::text::uuid[])"
# Balances first, so that whoever writes holds those; then the holds that end, which have to be open. What the
# transaction did not find as it was decided upon undoes the statement. Changes come in the order of locks.
_WRITE = """
    WITH new AS MATERIALIZED (
        SELECT * FROM unnest($1::text::uuid[], $2::text::text[], $3::text::text[], $4::text::bigint[],
                             $5::text::uuid[], $6::text::uuid[], $7::text::uuid[], $8::text::uuid[],
                             $9::text::float8[])
            AS new(id, kind, reason, amount, debit, credit, hold_id, subject, open_for_s)
    ), moved AS (
        UPDATE ledger.balances AS balance
        SET bought = balance.bought + coalesce(change.bought, 0), held = balance.held + coalesce(change.held, 0),
            used = balance.used + coalesce(change.used, 0),
            refunded = balance.refunded + coalesce(change.refunded, 0)
        FROM unnest($10::text::uuid[], $11::text::bigint[], $12::text::bigint[], $13::text::bigint[],
                    $14::text::bigint[]) AS change(account, bought, held, used, refunded)
        WHERE balance.account = change.account RETURNING true
    ), ended AS (
        DELETE FROM ledger.holds WHERE id = ANY(ARRAY(SELECT hold_id FROM new WHERE hold_id IS NOT NULL))
        RETURNING id, account, amount
    ), opened AS (
        INSERT INTO ledger.holds (id, account, amount, subject, expires_at)
        SELECT id, debit, amount, subject, now() + make_interval(secs => open_for_s)
        FROM new WHERE open_for_s IS NOT NULL
    ), posted AS (
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id, subject)
        SELECT id, kind, reason, amount, debit, credit, hold_id, subject FROM new
    )
    SELECT CASE WHEN (SELECT count(*) FROM moved) <> $15 THEN ledger.refuse_overtaken()
                WHEN (SELECT count(*) FROM ended) <> $16 THEN ledger.refuse_overtaken()
                WHEN EXISTS (SELECT id, account, amount FROM ended EXCEPT SELECT hold_id, debit, amount FROM new)
                    THEN ledger.refuse_overtaken() END
"""


async def open_accounts(tx: Connection, accounts: Sequence[UUID]) -> None:
    """Make the balance rows that are not there yet, so that they can be locked."""
    await tx.execute(
        "INSERT INTO ledger.balances (account) SELECT unnest($1::text::uuid[]) ON CONFLICT DO NOTHING",
        array_text(accounts),
    )


async def lock_accounts(tx: Connection, accounts: Sequence[UUID]) -> dict[UUID, Balance]:
    """Lock balance rows and answer them as they stand under the lock; one that was never credited is absent.

    They are locked in the order in which they come, which has to be everybody's.
    """
    return _balances(await tx.fetch(_LOCKED, array_text(accounts)))


async def read_balances(connection: Connection | Database, accounts: Sequence[UUID]) -> dict[UUID, Balance]:
    """The balances of `accounts` without a lock; one that was never credited is absent."""
    return _balances(await connection.fetch(_BALANCES, array_text(accounts)))


def _balances(rows: Sequence[Any]) -> dict[UUID, Balance]:
    return {account: Balance(bought, held, used, refunded) for account, bought, held, used, refunded in rows}


async def read_earlier(tx: Connection, transfers: Sequence[Transfer], book: Book) -> None:
    """Read into `book` what a decision about `transfers` needs besides the balances."""
    if not transfers:
        return
    hold_ids = [transfer.hold_id for transfer in transfers if transfer.hold_id is not None]
    ids = [transfer.id for transfer in transfers]
    for row in await tx.fetch(_EARLIER, array_text(ids), min(ids), max(ids), array_text(hold_ids)):
        transfer_id, kind, reason, amount, debit, credit, hold_id, subject = row
        if kind is None:
            book.open_holds[transfer_id] = (debit, amount)
        else:
            book.earlier[transfer_id] = (kind, reason, amount, debit, credit, hold_id, subject)
    ended = [hold_id for hold_id in hold_ids if hold_id not in book.open_holds and hold_id not in book.endings]
    if ended:
        rows = await tx.fetch(_ENDINGS, array_text(ended))
        book.endings.update({row["hold_id"]: Kind(row["kind"]) for row in rows})


async def write(tx: Connection, transfers: Sequence[Transfer], changes: Mapping[UUID, Balance]) -> None:
    """Write decided transfers, what they add to each balance, and the holds they open and end, in one round trip.

    `changes` are in the order of locks. Raises asyncpg's SerializationError and writes nothing when a hold that should
    end is not open as the transfer says, and CheckViolationError when a balance does not cover its change.
    """
    hold_ids = [transfer.hold_id for transfer in transfers]
    ended = {hold_id for hold_id in hold_ids if hold_id is not None}
    # Only a hold has a life; one that these very transfers end is not open for any time.
    brief = {transfer.id for transfer in transfers if transfer.id in ended} if ended else ended
    lines = [transfer.lines for transfer in transfers]
    columns: tuple[Sequence[Cell], ...] = (
        [transfer.id for transfer in transfers],
        [transfer.kind for transfer in transfers],
        [transfer.reason for transfer in transfers],
        [transfer.amount for transfer in transfers],
        [debit for debit, _ in lines],
        [credit for _, credit in lines],
        hold_ids if ended else (),
        [transfer.subject for transfer in transfers],
        [None if brief and transfer.id in brief else transfer.life_s for transfer in transfers],
        list(changes),
        _or_empty([change.bought for change in changes.values()]),
        _or_empty([change.held for change in changes.values()]),
        _or_empty([change.used for change in changes.values()]),
        _or_empty([change.refunded for change in changes.values()]),
    )
    await tx.fetchval(_WRITE, *(array_text(column) for column in columns), len(changes), len(ended) - len(brief))


def _or_empty(column: Sequence[int]) -> Sequence[int]:
    """Nothing for a column of zeros: `unnest` fills what is missing with NULL, which is sooner read."""
    return column if any(column) else ()


async def expired_holds(db: Database, limit: int, *, without: Sequence[UUID]) -> list[OpenHold]:
    """Open holds whose life is over by the database's clock, oldest first, but none of the accounts `without`."""
    rows = await db.fetch(
        """
        SELECT id, account, amount, subject, expires_at FROM ledger.holds
        WHERE expires_at <= now() AND account <> ALL ($2::uuid[]) ORDER BY expires_at LIMIT $1
        """,
        limit,
        list(without),
    )
    return [OpenHold(**row) for row in rows]


async def history(db: Database, account: UUID, *, before: tuple[datetime, UUID] | None, limit: int) -> list[Movement]:
    """The movements of one account, newest first, after the cursor `before`."""
    at, transfer_id = before or (_END_OF_TIME, UUID(int=2**128 - 1))
    rows = await db.fetch(
        """
        SELECT id, kind, reason, amount, subject, posted_at FROM (
            (SELECT * FROM ledger.transfers
             WHERE debit = $1 AND kind IN ('hold', 'settle', 'release', 'refund', 'give')
               AND (posted_at, id) < ($2, $3)
             ORDER BY posted_at DESC, id DESC LIMIT $4)
            UNION ALL
            (SELECT * FROM ledger.transfers
             WHERE credit = $1 AND kind IN ('credit', 'receive') AND (posted_at, id) < ($2, $3)
             ORDER BY posted_at DESC, id DESC LIMIT $4)
        ) AS moved ORDER BY posted_at DESC, id DESC LIMIT $4
        """,
        account,
        at,
        transfer_id,
        limit,
    )
    return [Movement(**row) for row in rows]
