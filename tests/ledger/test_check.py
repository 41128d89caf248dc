"""The audit is seen to fail: each rule is broken by hand in the data, and the audit names that rule and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, fields
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest
from broken_looks import BREAKS_EITHER

from emeterai.core.ledger import Counter, Kind, Posted, Reason, Transfer
from emeterai.core.serial import check_character
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.ledger.check import check_ledger
from emeterai.ledger.serials import SerialRegister, SerialWanted
from emeterai.ledger.service import Ledger

DIGEST = bytes(range(32))
SPARE_SERIAL = "A" * 21 + check_character("A" * 21)
WRONG_SERIAL = "A" * 21 + ("0" if SPARE_SERIAL[-1] != "0" else "1")

BREAKS = BREAKS_EITHER | {
    "a settle or release repeats the account and the amount of its hold": """
        UPDATE ledger.transfers SET amount = 2 WHERE hold_id = '{sealed_hold}';
        UPDATE ledger.balances SET used = used + 1, held = held - 1
    """,
    "a hold ends at most once": """
        DROP INDEX ledger.transfers_one_ending;
        INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id)
            VALUES ('{new}', 'settle', 'sealed', 1, '{account}', '{USED}', '{plain_hold}');
        UPDATE ledger.balances SET used = used + 1, held = held - 1
    """,
    "a serial is affixed, void or taken as its hold is settled, released or open": """
        UPDATE ledger.serials SET state = 'void', ended_at = now() WHERE hold_id = '{open_hold}'
    """,
    "a hold has one serial": """
        INSERT INTO ledger.serials (serial, digest, hold_id, subject)
            SELECT '{SPARE_SERIAL}', digest, hold_id, subject FROM ledger.serials WHERE hold_id = '{open_hold}'
    """,
    "every hold is for one stamp and has its serial": "DELETE FROM ledger.serials WHERE hold_id = '{open_hold}'",
    "transfers debit and credit the accounts that their kind names": """
        UPDATE ledger.transfers SET credit = '{REFUNDED}' WHERE hold_id = '{sealed_hold}'
    """,
    "every serial carries its right check character": """
        UPDATE ledger.serials SET serial = '{WRONG_SERIAL}' WHERE hold_id = '{open_hold}'
    """,
}
"""Each rule of the audit, and the smallest change that breaks it alone."""


@dataclass(frozen=True)
class Books:
    """A small true ledger: five bought, one open, one sealed and one given back with serials, one settled without."""

    account: UUID
    order: UUID
    open_hold: UUID
    sealed_hold: UUID
    void_hold: UUID
    plain_hold: UUID

    def fill(self, statement: str) -> str:
        """A statement with the ids of these books."""
        counters = {name: value for name, value in vars(Counter).items() if isinstance(value, UUID)}
        ids = {one.name: getattr(self, one.name) for one in fields(self)}
        serials = {"SPARE_SERIAL": SPARE_SERIAL, "WRONG_SERIAL": WRONG_SERIAL}
        return statement.format(**counters, **ids, **serials, new=new_id())


@pytest.fixture
async def books(db: Database) -> Books:
    """The small true ledger, written through the ledger itself."""
    made = Books(*(new_id() for _ in fields(Books)))
    account, order = made.account, made.order
    money = [
        (Reason.PAYMENT_SEEN, 62_500, Counter.PROVIDER_RECEIVABLE, Counter.ORDER_LIABILITY),
        (Reason.DUTY, 50_000, Counter.ORDER_LIABILITY, Counter.TREASURY_DUTY),
        (Reason.FEE, 12_500, Counter.ORDER_LIABILITY, Counter.SERVICE_FEE),
    ]
    transfers = [
        *(
            Transfer(new_id(), Kind.MONEY, reason, amount, debit=debit, credit=credit, subject=order)
            for reason, amount, debit, credit in money
        ),
        Transfer(new_id(), Kind.CREDIT, Reason.PURCHASE, 5, account=account, subject=order),
        Transfer(new_id(), Kind.REFUND, Reason.RETURNED, 1, account=account),
        *(_hold(hold_id, account) for hold_id in (made.open_hold, made.sealed_hold, made.void_hold)),
        _hold(made.plain_hold, account, Reason.CANCELLED),
        Transfer(new_id(), Kind.SETTLE, Reason.SEALED, 1, account=account, hold_id=made.plain_hold),
        Transfer(new_id(), Kind.SETTLE, Reason.SEALED, 1, account=account, hold_id=made.sealed_hold),
        Transfer(new_id(), Kind.RELEASE, Reason.EXPIRED, 1, account=account, hold_id=made.void_hold),
    ]
    answers = await Ledger(db).post(transfers)
    assert all(isinstance(answer, Posted) for answer in answers)
    await _take_serials(db, made)
    return made


def _hold(hold_id: UUID, account: UUID, reason: Reason = Reason.STAMPING) -> Transfer:
    return Transfer(hold_id, Kind.HOLD, reason, 1, account=account, life_s=60)


async def _take_serials(db: Database, books: Books) -> None:
    register = SerialRegister(db)
    holds = [books.open_hold, books.sealed_hold, books.void_hold]
    serials = await register.draw(len(holds))
    async with db.transaction() as tx:
        await register.take(tx, serials, [SerialWanted(DIGEST, hold_id, new_id()) for hold_id in holds])
        await register.affix(tx, [serials[1]])
        await register.void(tx, [serials[2]])


@pytest.fixture
async def intruder(postgres: EmbeddedPostgres, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser for whom no trigger fires: what a mistake in the data centre could do."""
    connection = await asyncpg.connect(postgres.admin_url(urlsplit(database_url).path.removeprefix("/")))
    await connection.execute("SET session_replication_role = replica")
    yield connection
    await connection.close()


async def test_true_books_hold(db: Database, books: Books) -> None:
    """The audit counts what is there and finds no rule broken."""
    report = await check_ledger(db)
    assert [] == [rule for rule in report.rules if rule.broken]
    assert report.holds_true
    assert (5, 1, 1, 2, 1) == (report.bought, report.available, report.held, report.used, report.refunded)
    assert (12, 3, 62_500) == (report.transfers, report.serials, report.money_in_idr)


async def test_an_empty_ledger_holds(db: Database) -> None:
    """Nothing bought, nothing lost."""
    report = await check_ledger(db)
    assert report.holds_true
    assert (0, 0, 0) == (report.bought, report.transfers, report.serials)


async def test_every_rule_is_broken_below(db: Database) -> None:
    """A rule that is added without a test of its failure is found here."""
    assert sorted(BREAKS) == sorted(rule.name for rule in (await check_ledger(db)).rules)


@pytest.mark.parametrize("name", BREAKS)
async def test_the_audit_finds_exactly_the_broken_rule(
    db: Database, books: Books, intruder: asyncpg.Connection, name: str
) -> None:
    """One place is broken, the audit counts one and shows where."""
    await intruder.execute(books.fill(BREAKS[name]))
    report = await check_ledger(db)
    assert not report.holds_true
    assert {name: 1} == {rule.name: rule.broken for rule in report.rules if rule.broken}
    assert [1] == [len(rule.examples) for rule in report.rules if rule.broken]


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("every balance equals the sum of its transfers", "DELETE FROM ledger.balances"),
        (
            "every balance equals the sum of its transfers",
            "INSERT INTO ledger.balances (account, bought) VALUES ('{new}', 1)",
        ),
        (
            "a settle or release repeats the account and the amount of its hold",
            """
            INSERT INTO ledger.transfers (id, kind, reason, amount, debit, credit, hold_id)
                VALUES ('{new}', 'settle', 'sealed', 1, '{account}', '{USED}', '{new}');
            UPDATE ledger.balances SET used = used + 1, held = held - 1
            """,
        ),
        (
            "the open holds are exactly the holds without an ending",
            "INSERT INTO ledger.holds (id, account, amount, expires_at) VALUES ('{new}', '{account}', 1, now())",
        ),
        ("the open holds are exactly the holds without an ending", "UPDATE ledger.holds SET amount = 2"),
        (
            "a serial is affixed, void or taken as its hold is settled, released or open",
            """
            INSERT INTO ledger.serials (serial, digest, hold_id, subject)
                SELECT '{SPARE_SERIAL}', digest, '{new}', subject FROM ledger.serials WHERE hold_id = '{open_hold}'
            """,
        ),
        (
            "transfers debit and credit the accounts that their kind names",
            "UPDATE ledger.transfers SET debit = '{TREASURY_DUTY}' WHERE kind = 'credit'",
        ),
        (
            "quota from a purchase was paid for: its order owes nothing and paid the duty",
            "DELETE FROM ledger.transfers WHERE reason = 'fee'",
        ),
        (
            "quota from a purchase was paid for: its order owes nothing and paid the duty",
            "DELETE FROM ledger.transfers WHERE kind = 'money'",
        ),
    ],
)
async def test_the_audit_finds_other_ways_to_break_a_rule(
    db: Database, books: Books, intruder: asyncpg.Connection, name: str, statement: str
) -> None:
    """A row too few, a row too many, a row changed."""
    await intruder.execute(books.fill(statement))
    report = await check_ledger(db)
    assert {name: 1} == {rule.name: rule.broken for rule in report.rules if rule.broken}


async def test_the_audit_shows_a_few_examples_of_many(db: Database, books: Books, intruder: asyncpg.Connection) -> None:
    """Twenty places are counted and five are shown."""
    await intruder.execute(
        "INSERT INTO ledger.balances (account, bought) SELECT gen_random_uuid(), 1 FROM generate_series(1, 20)"
    )
    (rule,) = [rule for rule in (await check_ledger(db)).rules if rule.broken]
    assert (20, 5) == (rule.broken, len(rule.examples))
