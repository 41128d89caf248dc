"""Two who claim one grant at once. First with the guard removed, then with it in place.

The guard is the lock on the programme's balance row: lock, read, decide, write. The unique constraints stand behind it:
where they are left in place, removing the lock turns the race into an error, and where they are dropped, into a grant
that is given twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from emeterai.accounts.model import Caller, Timezone
from emeterai.core.granting import identity_hash
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.partners import programme_claim_store as store
from emeterai.partners.programme_audit import check_all_programmes
from emeterai.partners.programme_claims import Claims
from emeterai.partners.programme_model import Programme
from emeterai.partners.programme_returns import GrantReturns
from emeterai.partners.programme_secrets import ProgrammeSecrets
from emeterai.partners.programmes import Programmes
from programme_people import organisation

Widen = Callable[[Any, str], None]
IDENTITIES = ("3201011203900001", "3201011203900002")


def person() -> Caller:
    """Somebody signed in."""
    return Caller(new_id(), "Siti", Timezone.WIB, "session")


class Desk:
    """A programme of two identities with ten units, and two processes in which people claim."""

    def __init__(self, db: Database, agency: Caller) -> None:
        self.db = db
        self.agency = agency
        self.ledger, self.keys = Ledger(db), ProgrammeSecrets(b"x" * 32)
        self.processes = [Claims(db, Ledger(db), self.keys) for _ in range(2)]
        self.programmes = Programmes(db, self.ledger, self.keys)

    async def open(self) -> Programme:
        """The programme."""
        credit = Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, 10, account=self.agency.account_id)
        await self.ledger.post([credit])
        ends_at = datetime.now(UTC) + timedelta(days=1)
        made = await self.programmes.make(self.agency, name="Seleksi", message="", units_each=2, ends_at=ends_at)
        await self.programmes.fund(self.agency, made.id, 10, key="first")

        async def lines() -> Any:
            for identity in IDENTITIES:
                yield identity_hash(identity, made.salt).hex().encode() + b"\n"

        await self.programmes.invite_list(self.agency, made.id, lines())
        return made

    async def both(self, made: Programme, people: tuple[Caller, Caller], identities: tuple[str, str]) -> list[Any]:
        """Both claim at once, each in a process of his own; each has a balance row, which is not waited for."""
        accounts = {who.account_id for who in people}
        await self.ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, 1, account=it) for it in accounts])
        return list(
            await asyncio.gather(
                *(
                    process.claim(who, made.id, identity=identity)
                    for process, who, identity in zip(self.processes, people, identities, strict=True)
                ),
                return_exceptions=True,
            )
        )

    async def broken(self) -> list[str]:
        """The rules that do not hold."""
        return [rule.name for rule in await check_all_programmes(self.db) if rule.broken]


@pytest.fixture
async def desk(db: Database) -> Desk:
    """On this test's own database."""
    return Desk(db, await organisation(db))


async def drop(db: Database, constraint: str) -> None:
    """Take a constraint of the claims away."""
    async with db.transaction() as tx:
        await tx.execute(f"ALTER TABLE partners.claims DROP CONSTRAINT {constraint}")


ONE = person()
CASES = {
    "claims_once_each_key": ((person(), person()), (IDENTITIES[0], IDENTITIES[0]), "grant_claimed_by_other"),
    "claims_once_each_account": ((ONE, ONE), IDENTITIES, "grant_claimed_by_you"),
}
every_case = pytest.mark.parametrize("constraint", CASES)


@every_case
async def test_without_lock_and_constraint_a_grant_is_given_twice(
    desk: Desk, widen: Widen, no_lock: None, constraint: str
) -> None:
    """Both find nothing claimed, and both are granted; the audit names it."""
    made, (people, identities, _) = await desk.open(), CASES[constraint]
    await drop(desk.db, constraint)
    widen(store, "known_claims")
    assert [tuple, tuple] == [type(it) for it in await desk.both(made, people, identities)]
    assert 6 == (await desk.ledger.balance(made.id)).available
    assert ["a person claims once, and by an identity or code that is invited"] == await desk.broken()


@every_case
async def test_without_the_lock_the_constraint_makes_it_an_error(
    desk: Desk, widen: Widen, no_lock: None, constraint: str
) -> None:
    """One is granted and the other crashes in place of being answered."""
    made, (people, identities, _) = await desk.open(), CASES[constraint]
    widen(store, "known_claims")
    answers = await desk.both(made, people, identities)
    errors = [it for it in answers if isinstance(it, asyncpg.UniqueViolationError)]
    assert [constraint] == [it.constraint_name for it in errors]


@every_case
@pytest.mark.parametrize("has_constraint", [True, False])
async def test_a_grant_is_given_once(desk: Desk, widen: Widen, constraint: str, has_constraint: bool) -> None:
    """With the lock the second hears why, constraint or not."""
    made, (people, identities, code) = await desk.open(), CASES[constraint]
    if not has_constraint:
        await drop(desk.db, constraint)
    widen(store, "known_claims")
    answers = await desk.both(made, people, identities)
    assert [code] == [it.code for it in answers if isinstance(it, Refused)]
    assert 8 == (await desk.ledger.balance(made.id)).available
    assert [] == await desk.broken()


async def test_the_last_units_are_granted_once(desk: Desk, widen: Widen) -> None:
    """Two invited people and units for one: the second is told that the programme is empty."""
    made = await desk.open()
    async with desk.db.transaction() as tx:
        await tx.execute("UPDATE partners.programmes SET units_each = 6")
    widen(store, "known_claims")
    answers = await desk.both(made, (person(), person()), IDENTITIES)
    assert ["programme_empty"] == [it.code for it in answers if isinstance(it, Refused)]
    assert [] == await desk.broken()


async def test_a_claim_against_the_end_is_granted_and_returned_or_refused(desk: Desk) -> None:
    """Whichever is first under the lock; either way every unit is accounted for."""
    made, people = await desk.open(), [person() for _ in range(2)]
    returns = [GrantReturns(desk.db, Ledger(desk.db)) for _ in range(2)]
    await asyncio.gather(desk.both(made, (people[0], people[1]), IDENTITIES), desk.programmes.end(desk.agency, made.id))
    await asyncio.gather(*(it.sweep() for it in returns))
    await returns[0].sweep()
    assert 10 == (await desk.ledger.balance(desk.agency.account_id)).available
    assert [] == await desk.broken()
