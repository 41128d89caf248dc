"""All SQL of cases and proposals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg

from emeterai.core.ordering import Price
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id
from emeterai.purchase.model import Source
from emeterai.purchase.returns_model import Action, Case, CaseKind, Proposal

_CASE = """
    id, kind, order_id, provider, reference, amount_idr, quantity, loss_transfer, quota_transfer, duty_transfer,
    fee_transfer, created_at, closed_at
"""
_PROPOSAL = """
    id, return_id, case_id, action, quantity, note, proposed_by, decided_by, approved, created_at, decided_at
"""


async def insert_case(
    tx: Connection, kind: CaseKind, order_id: UUID, payment: Source, *, amount_idr: int | None = None
) -> Case | None:
    """Open a case; None when the order has an open one of this kind, of which one says enough."""
    row = await tx.fetchrow(
        f"""
        INSERT INTO purchase.cases (id, kind, order_id, provider, reference, amount_idr, loss_transfer,
            quota_transfer, duty_transfer, fee_transfer)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (order_id, kind) WHERE closed_at IS NULL AND kind <> 'taken_back' DO NOTHING
        RETURNING {_CASE}
        """,
        new_id(),
        kind.value,
        order_id,
        payment.provider,
        payment.reference,
        amount_idr,
        new_id(),
        new_id(),
        new_id(),
        new_id(),
    )
    return _case(row) if row is not None else None


async def case_by_id(connection: Connection | Database, case_id: UUID) -> Case | None:
    """One case."""
    row = await connection.fetchrow(f"SELECT {_CASE} FROM purchase.cases WHERE id = $1", case_id)
    return _case(row) if row is not None else None


async def cases_of(connection: Connection | Database, order_ids: Sequence[UUID]) -> list[Case]:
    """The cases of some orders, oldest first, closed ones too."""
    rows = await connection.fetch(
        f"SELECT {_CASE} FROM purchase.cases WHERE order_id = ANY ($1::uuid[]) ORDER BY order_id, id", list(order_ids)
    )
    return [_case(row) for row in rows]


async def open_cases(db: Database, *, after: UUID | None, limit: int) -> list[Case]:
    """Cases that nobody has closed, oldest first; those after `after`."""
    rows = await db.fetch(
        f"""
        SELECT {_CASE} FROM purchase.cases WHERE closed_at IS NULL AND ($2::uuid IS NULL OR id > $2)
        ORDER BY id LIMIT $1
        """,
        limit,
        after,
    )
    return [_case(row) for row in rows]


async def count_open_cases(db: Database) -> dict[CaseKind, int]:
    """How many cases of each kind nobody has closed; a kind without any is left out."""
    rows = await db.fetch("SELECT kind, count(*) AS cases FROM purchase.cases WHERE closed_at IS NULL GROUP BY kind")
    return {CaseKind(row["kind"]): row["cases"] for row in rows}


async def close_case(tx: Connection, case_id: UUID, *, quantity: int | None = None) -> None:
    """Close a case; `quantity` stamps were taken back for it."""
    await tx.execute(
        "UPDATE purchase.cases SET closed_at = now(), quantity = $2 WHERE id = $1 AND closed_at IS NULL",
        case_id,
        quantity,
    )


async def taken_prices(tx: Connection, cases: Sequence[Case]) -> dict[UUID, Price]:
    """What was posted for the stamps that were taken back, for each case for which some were."""
    done = [case for case in cases if case.quantity]
    rows = await tx.fetch(
        "SELECT id, amount FROM ledger.transfers WHERE id = ANY ($1::uuid[])",
        [line for case in done for line in (case.duty_transfer, case.fee_transfer)],
    )
    posted = {row["id"]: row["amount"] for row in rows}
    return {case.id: Price(posted[case.duty_transfer], posted.get(case.fee_transfer, 0)) for case in done}


async def insert_proposal(
    tx: Connection,
    *,
    return_id: UUID | None,
    case_id: UUID | None,
    action: Action,
    quantity: int | None,
    note: str,
    by: UUID,
) -> Proposal | None:
    """Write a proposal; None when one about the same waits already."""
    row = await tx.fetchrow(
        f"""
        INSERT INTO purchase.proposals (id, return_id, case_id, action, quantity, note, proposed_by)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING {_PROPOSAL}
        """,
        new_id(),
        return_id,
        case_id,
        action.value,
        quantity,
        note,
        by,
    )
    return _proposal(row) if row is not None else None


async def proposal_by_id(connection: Connection | Database, proposal_id: UUID) -> Proposal | None:
    """One proposal."""
    row = await connection.fetchrow(f"SELECT {_PROPOSAL} FROM purchase.proposals WHERE id = $1", proposal_id)
    return _proposal(row) if row is not None else None


async def proposals_about(connection: Connection | Database, subjects: Sequence[UUID]) -> list[Proposal]:
    """Every proposal about these returns and cases, oldest first: the record of who decided what, and why."""
    rows = await connection.fetch(
        f"""
        SELECT {_PROPOSAL} FROM purchase.proposals WHERE return_id = ANY ($1::uuid[])
        UNION ALL SELECT {_PROPOSAL} FROM purchase.proposals WHERE case_id = ANY ($1::uuid[]) ORDER BY id
        """,
        list(subjects),
    )
    return [_proposal(row) for row in rows]


async def write_decision(tx: Connection, proposal_id: UUID, *, by: UUID, approved: bool) -> bool:
    """Write who decided; False when somebody else already had. The database refuses the proposer."""
    return bool(
        await tx.fetchval(
            """
            UPDATE purchase.proposals SET decided_by = $2, approved = $3, decided_at = now()
            WHERE id = $1 AND decided_at IS NULL RETURNING true
            """,
            proposal_id,
            by,
            approved,
        )
    )


def _case(row: asyncpg.Record) -> Case:
    values: dict[str, Any] = dict(row)
    return Case(**{**values, "kind": CaseKind(values["kind"])})


def _proposal(row: asyncpg.Record) -> Proposal:
    values: dict[str, Any] = dict(row)
    return Proposal(**{**values, "action": Action(values["action"])})
