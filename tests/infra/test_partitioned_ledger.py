"""The ledger in months: what was there before is still there, and no promise hangs on where a row lies."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from emeterai.core.ledger import Answer, Balance, Kind, Posted, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.migrate import default_folder, migrate
from emeterai.infra.partitions import first_id_of, month_of, months_after
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger
from spine import Spine, some_seal

PARTITIONED = next(default_folder().glob("*_partitions.sql")).name
YEARS_AGO = 3 * 12
BEFORE = """
    INSERT INTO ledger.balances (account, bought, held, used) VALUES ('{account}', 5, 1, 1);
    INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id, subject) VALUES
        ('{bought}', 'credit', 'returned', 5, '{issued}', '{account}', NULL, NULL),
        ('{open}', 'hold', 'cancelled', 1, '{account}', '{used}', NULL, NULL),
        ('{hold}', 'hold', 'cancelled', 1, '{account}', '{used}', NULL, NULL),
        ('{ending}', 'settle', 'sealed', 1, '{account}', '{used}', '{hold}', NULL);
    INSERT INTO ledger.holds (id, account, amount, expires_at)
        VALUES ('{open}', '{account}', 1, now() + interval '1 hour');
    INSERT INTO purchase.notifications (id, provider, event_id, state, amount, currency, headers, body)
        VALUES ('{notice}', 'sandbox', 'one', 'settled', 1, 'IDR', '{{"a": "b"}}', 'words');
"""
IDS = ("account", "bought", "open", "hold", "ending", "notice")


def id_in(month: datetime) -> UUID:
    """An id as it is made somewhere in the first days of a month."""
    return UUID(int=first_id_of(month).int + (new_id().int & (2**80 - 1)))


async def this_month(db: Database) -> datetime:
    """The month of the database's clock."""
    return month_of(await db.fetchval("SELECT now()"))


async def place_of(db: Database, transfer_id: UUID) -> str:
    """The partition that a transfer lies in."""
    query = "SELECT tableoid::regclass::text FROM ledger.transfers WHERE id = $1"
    return str(await db.fetchval(query, transfer_id))


def codes(answers: Sequence[Answer]) -> list[object]:
    """`posted`, `again` or the code of the refusal."""
    return [("again" if it.again else "posted") if isinstance(it, Posted) else it.code for it in answers]


def credit(account: UUID, transfer_id: UUID, amount: int = 1) -> Transfer:
    """Quota from nowhere."""
    return Transfer(transfer_id, Kind.CREDIT, Reason.RETURNED, amount, account=account)


def ending(account: UUID, hold: UUID, kind: Kind, transfer_id: UUID) -> Transfer:
    """The end of a hold of one unit."""
    reason = Reason.SEALED if kind is Kind.SETTLE else Reason.CANCELLED
    return Transfer(transfer_id, kind, reason, 1, account=account, hold_id=hold)


async def migrated_with_data(postgres: EmbeddedPostgres, folder: Path, ids: dict[str, UUID]) -> Database:
    """A database that was in use before its ledger was partitioned, with a small true ledger of these ids."""
    name = f"before_{new_id().hex}"
    admin = await asyncpg.connect(postgres.admin_url())
    await admin.execute(f"CREATE DATABASE {name} OWNER emeterai")
    await admin.close()
    for path in default_folder().glob("*.sql"):
        if path.name < PARTITIONED:
            shutil.copy(path, folder)
    url = postgres.url().replace("/emeterai?", f"/{name}?")
    await migrate(url, folder)
    connection = await asyncpg.connect(url)
    await connection.execute(BEFORE.format(**ids, issued=UUID(int=1), used=UUID(int=2)))
    await connection.close()
    assert PARTITIONED == (await migrate(url))[0]
    return await Database.connect(url, connections_max=4, wait_s=5)


@pytest.mark.parametrize(
    ("age_months", "place"), [(0, "ledger.transfers_first"), (YEARS_AGO, "ledger.transfers_first"), (None, "default")]
)
async def test_a_ledger_in_use_keeps_every_row(
    postgres: EmbeddedPostgres, tmp_path: Path, age_months: int | None, place: str
) -> None:
    """Young or old it becomes one partition as it is; with ids that are no UUIDv7, the default one. Work goes on."""
    month = month_of(datetime.now(UTC))
    ids = {name: uuid4() if age_months is None else id_in(months_after(month, -age_months)) for name in IDS}
    db = await migrated_with_data(postgres, tmp_path, ids)
    try:
        ledger, account = Ledger(db), ids["account"]
        assert place.rpartition("_")[2] == (await place_of(db, ids["ending"])).rpartition("_")[2]
        assert Balance(bought=5, held=1, used=1) == await ledger.balance(account)
        assert 4 == len(await ledger.history(account))
        assert b"words" == await db.fetchval("SELECT body FROM purchase.notification_bodies")
        again = [credit(account, ids["bought"], 5), ending(account, ids["hold"], Kind.RELEASE, new_id())]
        assert ["again", "hold_settled"] == codes(await ledger.post(again))
        assert ["posted"] == codes(await ledger.post([ending(account, ids["open"], Kind.SETTLE, new_id())]))
        assert [] == [rule.name for rule in (await check_ledger(db)).rules if rule.broken]
        with pytest.raises(asyncpg.RaiseError):
            await db.fetch("DELETE FROM ledger.transfers")
        with pytest.raises(asyncpg.UniqueViolationError):
            await _end_by_hand(db, ids, ids["ending"])
    finally:
        await db.close()


async def _end_by_hand(db: Database, ids: dict[str, UUID], near: UUID) -> None:
    """A second ending of a hold, past the code, in the partition of the first."""
    query = """
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id)
        VALUES ($1, 'settle', 'sealed', 1, $2, $3, $4)
    """
    async with db.transaction() as tx:
        await tx.execute(query, UUID(int=near.int ^ 1), ids["account"], UUID(int=2), ids["hold"])


async def test_normal_work_leaves_the_default_partition_empty(db: Database, tmp_path: Path) -> None:
    """A bought, held, settled and a given back unit lie in the month's partition."""
    spine = Spine(db, tmp_path)
    first, second = await spine.held(), await spine.held()
    claims = [claim for claim in await spine.claim() if claim.id == first.id]
    assert 1 == await spine.endings.settle(claims, {first.id: first}, {first.id: some_seal(first)})
    assert 1 == await spine.endings.give_back({second.id: (Reason.EXPIRED, None)})
    await spine.assert_sound(first, second)
    assert 0 == await db.fetchval("SELECT count(*) FROM ledger.transfers_default")
    assert 6 == await db.fetchval("SELECT count(*) FROM ledger.transfers_first")


async def test_an_id_is_posted_once_wherever_it_lies(db: Database) -> None:
    """The same ids in this month, in the next, and in none: again is `again`, other content is refused."""
    ledger, account, month = Ledger(db), new_id(), await this_month(db)
    ids = [id_in(month), id_in(months_after(month, 1)), id_in(months_after(month, -YEARS_AGO)), uuid4()]
    assert ["posted"] * 4 == codes(await ledger.post([credit(account, one) for one in ids]))
    assert 3 == len({await place_of(db, one) for one in ids})
    assert ["again"] * 4 == codes(await ledger.post([credit(account, one) for one in reversed(ids)]))
    assert ["transfer_id_reused"] * 4 == codes(await ledger.post([credit(account, one, 2) for one in ids]))
    assert 4 == (await ledger.balance(account)).bought


async def test_a_hold_ends_once_also_in_another_month(db: Database) -> None:
    """A hold at the end of a month is settled in the next; a release after that, in either, is told so."""
    ledger, account, month = Ledger(db), new_id(), await this_month(db)
    later = months_after(month, 1)
    hold = Transfer(id_in(month), Kind.HOLD, Reason.CANCELLED, 1, account=account, life_s=60)
    assert ["posted", "posted"] == codes(await ledger.post([credit(account, new_id()), hold]))
    assert ["posted"] == codes(await ledger.post([ending(account, hold.id, Kind.SETTLE, id_in(later))]))
    others = [ending(account, hold.id, Kind.RELEASE, id_in(one)) for one in (month, later)]
    assert ["hold_settled", "hold_settled"] == codes(await ledger.post(others))
    assert Balance(bought=1, used=1) == await ledger.balance(account)


async def test_history_runs_through_the_months(db: Database) -> None:
    """Newest first, page after page, whatever partition a line lies in."""
    ledger, account, now = Ledger(db), new_id(), await db.fetchval("SELECT now()")
    times = [now - timedelta(days=20 * back) for back in range(12)]
    async with db.transaction() as tx:
        for back in range(1, 9):
            month = months_after(month_of(now), -back)
            await tx.execute("SELECT infra.add_month('ledger', 'transfers', $1)", month.date())
        for at in times:
            values = (id_in(at), UUID(int=1), account, at)
            await tx.execute(
                """
                INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, posted_at)
                VALUES ($1, 'credit', 'returned', 1, $2, $3, $4)
                """,
                *values,
            )
    seen, before = [], None
    while page := await ledger.history(account, before=before, limit=5):
        seen += [line.posted_at for line in page]
        before = (page[-1].posted_at, page[-1].id)
    assert times == seen
    assert 0 == await db.fetchval("SELECT count(*) FROM ledger.transfers_default")


@pytest.mark.parametrize("change", ["UPDATE {} SET amount = 2", "DELETE FROM {}", "TRUNCATE {}"])
async def test_no_partition_can_be_changed(db: Database, change: str) -> None:
    """Not through the whole, and not directly: every partition refuses, the default one too."""
    month = await this_month(db)
    await Ledger(db).post([credit(new_id(), one) for one in (id_in(month), id_in(months_after(month, 2)), uuid4())])
    places = ["ledger.transfers", "ledger.transfers_first", "ledger.transfers_default"]
    for place in [*places, f"ledger.transfers_{months_after(month, 2):%Y_%m}"]:
        with pytest.raises(asyncpg.RaiseError, match="transfers are immutable"):
            await db.fetch(change.format(place))
    assert 3 == await db.fetchval("SELECT count(*) FROM ledger.transfers")
