"""All SQL of the ledger's transfers, balances and holds. Four moments, four statements: lock, read, decide, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from emeterai.core.ledger import Balance, Book, Kind, OpenHold, Transfer
from emeterai.infra.database import Connection, Database
from emeterai.ledger.model import Movement

_END_OF_TIME = datetime.max.replace(tzinfo=UTC)


async def open_accounts(tx: Connection, accounts: Sequence[UUID]) -> None:
    """Make the balance rows that are not there yet, so that they can be locked."""
    await tx.execute(
        "INSERT INTO ledger.balances (account) SELECT unnest($1::uuid[]) ON CONFLICT DO NOTHING", list(accounts)
    )


async def lock_accounts(tx: Connection, accounts: Sequence[UUID]) -> None:
    """Lock balance rows; `accounts` come sorted, and the ORDER BY keeps any plan from locking them otherwise."""
    await tx.execute(
        "SELECT 1 FROM ledger.balances WHERE account = ANY($1::uuid[]) ORDER BY account FOR NO KEY UPDATE",
        list(accounts),
    )


async def read_balances(connection: Connection | Database, accounts: Sequence[UUID]) -> dict[UUID, Balance]:
    """The balances of `accounts`; one that was never credited is absent."""
    rows = await connection.fetch(
        "SELECT account, bought, held, used, refunded FROM ledger.balances WHERE account = ANY($1::uuid[])",
        list(accounts),
    )
    return {row["account"]: Balance(row["bought"], row["held"], row["used"], row["refunded"]) for row in rows}


async def read_earlier(tx: Connection, transfers: Sequence[Transfer], book: Book) -> None:
    """Read into `book` what a decision about `transfers` needs besides the balances."""
    hold_ids = [transfer.hold_id for transfer in transfers if transfer.hold_id is not None]
    rows = await tx.fetch(
        """
        SELECT id, kind, reason, amount, debit, credit, hold_id, subject FROM ledger.transfers
        WHERE id = ANY($1::uuid[])
        """,
        [transfer.id for transfer in transfers],
    )
    for row in rows:
        lines = (row["debit"], row["credit"])
        book.earlier[row["id"]] = (row["kind"], row["reason"], row["amount"], *lines, row["hold_id"], row["subject"])
    if not hold_ids:
        return
    for row in await tx.fetch("SELECT id, account, amount FROM ledger.holds WHERE id = ANY($1::uuid[])", hold_ids):
        book.open_holds[row["id"]] = (row["account"], row["amount"])
    ended = [hold_id for hold_id in hold_ids if hold_id not in book.open_holds]
    if ended:
        rows = await tx.fetch("SELECT hold_id, kind FROM ledger.transfers WHERE hold_id = ANY($1::uuid[])", ended)
        book.endings.update({row["hold_id"]: Kind(row["kind"]) for row in rows})


async def write(tx: Connection, transfers: Sequence[Transfer], balances: Mapping[UUID, Balance]) -> None:
    """Write decided transfers, the balances they lead to, and the holds they open and end, in one round trip."""
    holds = [transfer for transfer in transfers if transfer.kind is Kind.HOLD]
    await tx.execute(
        """
        WITH transfer AS (
            INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id, subject)
            SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::uuid[], $6::uuid[],
                                 $7::uuid[], $8::uuid[])
        ), opened AS (
            INSERT INTO ledger.holds (id, account, amount, subject, expires_at)
            SELECT id, account, amount, subject, now() + make_interval(secs => life_s)
            FROM unnest($9::uuid[], $10::uuid[], $11::bigint[], $12::uuid[], $13::float8[])
                AS new(id, account, amount, subject, life_s)
            WHERE id <> ALL ($14::uuid[])
        ), ended AS (
            DELETE FROM ledger.holds WHERE id = ANY($14::uuid[])
        )
        UPDATE ledger.balances AS balance
        SET bought = new.bought, held = new.held, used = new.used, refunded = new.refunded
        FROM unnest($15::uuid[], $16::bigint[], $17::bigint[], $18::bigint[], $19::bigint[])
            AS new(account, bought, held, used, refunded)
        WHERE balance.account = new.account
        """,
        [transfer.id for transfer in transfers],
        [transfer.kind for transfer in transfers],
        [transfer.reason for transfer in transfers],
        [transfer.amount for transfer in transfers],
        [transfer.lines[0] for transfer in transfers],
        [transfer.lines[1] for transfer in transfers],
        [transfer.hold_id for transfer in transfers],
        [transfer.subject for transfer in transfers],
        [hold.id for hold in holds],
        [hold.account for hold in holds],
        [hold.amount for hold in holds],
        [hold.subject for hold in holds],
        [hold.life_s for hold in holds],
        [transfer.hold_id for transfer in transfers if transfer.hold_id is not None],
        list(balances),
        [balance.bought for balance in balances.values()],
        [balance.held for balance in balances.values()],
        [balance.used for balance in balances.values()],
        [balance.refunded for balance in balances.values()],
    )


async def expired_holds(db: Database, limit: int) -> list[OpenHold]:
    """Open holds whose life is over by the database's clock, oldest first."""
    rows = await db.fetch(
        """
        SELECT id, account, amount, subject, expires_at FROM ledger.holds
        WHERE expires_at <= now() ORDER BY expires_at LIMIT $1
        """,
        limit,
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
