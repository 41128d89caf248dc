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
# A join and not `= ANY`: a row that another transaction changed meanwhile is judged again, by itself, and not against
# the whole array.
_BALANCES = """
    SELECT balance.account, bought, held, used, refunded
    FROM unnest($1::text::uuid[]) AS wanted(account) JOIN ledger.balances AS balance USING (account)
"""
_LOCKED = f"{_BALANCES} ORDER BY balance.account FOR NO KEY UPDATE OF balance"
# The bounds let partitions be skipped when the statement's plan is kept. A row without a kind is an open hold.
_EARLIER = """
    SELECT id, kind, reason, amount, debit, credit, hold_id, subject FROM ledger.transfers
    WHERE id = ANY($1::text::uuid[]) AND id BETWEEN $2 AND $3
    UNION ALL
    SELECT id, NULL, NULL, amount, account, NULL, NULL, NULL FROM ledger.holds WHERE id = ANY($4::text::uuid[])
"""
_ENDINGS = "SELECT hold_id, kind FROM ledger.transfers WHERE hold_id = ANY($1::text::uuid[])"
_WRITE = """
    WITH new AS MATERIALIZED (
        SELECT * FROM unnest($1::text::uuid[], $2::text::text[], $3::text::text[], $4::text::bigint[],
                             $5::text::uuid[], $6::text::uuid[], $7::text::uuid[], $8::text::uuid[],
                             $9::text::float8[])
            AS new(id, kind, reason, amount, debit, credit, hold_id, subject, open_for_s)
    ), posted AS (
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id, subject)
        SELECT id, kind, reason, amount, debit, credit, hold_id, subject FROM new
    ), opened AS (
        INSERT INTO ledger.holds (id, account, amount, subject, expires_at)
        SELECT id, debit, amount, subject, now() + make_interval(secs => open_for_s)
        FROM new WHERE open_for_s IS NOT NULL
    ), ended AS (
        DELETE FROM ledger.holds WHERE id = ANY($10::text::uuid[])
    )
    UPDATE ledger.balances AS balance
    SET bought = after.bought, held = after.held, used = after.used, refunded = after.refunded
    FROM unnest($11::text::uuid[], $12::text::bigint[], $13::text::bigint[], $14::text::bigint[], $15::text::bigint[])
        AS after(account, bought, held, used, refunded)
    WHERE balance.account = after.account
"""


async def open_accounts(tx: Connection, accounts: Sequence[UUID]) -> None:
    """Make the balance rows that are not there yet, so that they can be locked."""
    await tx.execute(
        "INSERT INTO ledger.balances (account) SELECT unnest($1::text::uuid[]) ON CONFLICT DO NOTHING",
        array_text(accounts),
    )


async def lock_accounts(tx: Connection, accounts: Sequence[UUID]) -> dict[UUID, Balance]:
    """Lock balance rows and answer them as they stand under the lock; one that was never credited is absent.

    The ORDER BY keeps any plan from locking them in another order than everybody's.
    """
    return _balances(
        await tx.fetch(f"{_BALANCES} ORDER BY balance.account FOR NO KEY UPDATE OF balance", array_text(accounts))
    )


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


async def write(tx: Connection, transfers: Sequence[Transfer], balances: Mapping[UUID, Balance]) -> None:
    """Write decided transfers, the balances they lead to, and the holds they open and end, in one round trip."""
    ended = {transfer.hold_id for transfer in transfers if transfer.hold_id is not None}
    lines = [transfer.lines for transfer in transfers]
    columns: tuple[Sequence[Cell], ...] = (
        [transfer.id for transfer in transfers],
        [transfer.kind for transfer in transfers],
        [transfer.reason for transfer in transfers],
        [transfer.amount for transfer in transfers],
        [debit for debit, _ in lines],
        [credit for _, credit in lines],
        [transfer.hold_id for transfer in transfers],
        [transfer.subject for transfer in transfers],
        # Only a hold has a life; one that these very transfers end is not open for any time.
        [transfer.life_s if transfer.id not in ended else None for transfer in transfers],
        list(ended),
        list(balances),
        [balance.bought for balance in balances.values()],
        [balance.held for balance in balances.values()],
        [balance.used for balance in balances.values()],
        [balance.refunded for balance in balances.values()],
    )
    await tx.execute(_WRITE, *(array_text(column) for column in columns))


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
             WHERE debit = $1 AND kind IN ('hold', 'settle', 'release', 'refund')
               AND (posted_at, id) < ($2, $3)
             ORDER BY posted_at DESC, id DESC LIMIT $4)
            UNION ALL
            (SELECT * FROM ledger.transfers
             WHERE credit = $1 AND kind = 'credit' AND (posted_at, id) < ($2, $3)
             ORDER BY posted_at DESC, id DESC LIMIT $4)
        ) AS moved ORDER BY posted_at DESC, id DESC LIMIT $4
        """,
        account,
        at,
        transfer_id,
        limit,
    )
    return [Movement(**row) for row in rows]
