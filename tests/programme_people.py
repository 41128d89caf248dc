"""An agency, its programmes and its applicants, on a real database: for the tests of grants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from emeterai.accounts.model import Caller, Timezone
from emeterai.core.granting import identity_hash
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger
from emeterai.partners.programme_audit import check_all_programmes
from emeterai.partners.programme_claims import Claims
from emeterai.partners.programme_model import Programme
from emeterai.partners.programme_returns import GrantReturns
from emeterai.partners.programme_secrets import ProgrammeSecrets
from emeterai.partners.programmes import Programmes
from market import Market

SECRET = b"a secret of thirty-two bytes or so"


def person(name: str = "Siti Rahayu") -> Caller:
    """Somebody signed in. Claiming asks accounts for nothing more."""
    return Caller(new_id(), name, Timezone.WIB, "session")


async def organisation(db: Database, name: str = "Badan Kepegawaian") -> Caller:
    """Somebody signed in who may grant: the account of a partner that may sell."""
    partner = await (await Market.open(db)).partner()
    return Caller(partner.account_id, name, Timezone.WIB, "session")


def identity(number: int) -> str:
    """An identity number of nobody."""
    return f"32010112{number % 28 + 1:02d}"[:6] + f"{number % 28 + 1:02d}0390{number:04d}"


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """A body as it arrives."""
    for part in parts:
        yield part


class Bureau:
    """One of each part of grants, wired as the service wires them, and an agency."""

    def __init__(self, db: Database, agency: Caller) -> None:
        self.db = db
        self.agency = agency
        self.ledger = Ledger(db)
        self.keys = ProgrammeSecrets(SECRET)
        self.programmes = Programmes(db, self.ledger, self.keys)
        self.claims = Claims(db, self.ledger, self.keys)
        self.returns = GrantReturns(db, self.ledger)

    @classmethod
    async def open(cls, db: Database) -> Bureau:
        """On this test's database."""
        return cls(db, await organisation(db))

    async def credit(self, account_id: UUID, units: int) -> None:
        """Somebody has bought quota."""
        await self.ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, units, account=account_id)])

    async def programme(self, *, funded: int = 10, units_each: int = 2, invited: int = 3) -> Programme:
        """A programme with units, and a list of identities 1 to `invited`."""
        made = await self.programmes.make(
            self.agency,
            name="Seleksi 2026",
            message="Dua meterai untuk setiap pelamar.",
            units_each=units_each,
            ends_at=datetime.now(UTC) + timedelta(days=3),
        )
        if funded:
            await self.credit(self.agency.account_id, funded)
            await self.programmes.fund(self.agency, made.id, funded, key="first")
        if invited:
            lines = [identity_hash(identity(number), made.salt).hex() for number in range(1, invited + 1)]
            await self.programmes.invite_list(self.agency, made.id, chunks("\n".join(lines).encode()))
        return await self.programmes.of_agency(self.agency, made.id)

    async def codes(self, programme: Programme, quantity: int) -> list[str]:
        """Invitation codes."""
        batch = await self.programmes.make_codes(self.agency, programme.id, quantity)
        parts = await self.programmes.codes(self.agency, programme.id, batch.id)
        return [code async for part in parts for code in part]

    async def use(self, account_id: UUID, units: int, *, settled: bool = True) -> list[UUID]:
        """Use units, or only hold them; answers the holds."""
        holds = []
        for _ in range(units):
            hold, subject = new_id(), new_id()
            await self.ledger.post(
                [Transfer(hold, Kind.HOLD, Reason.STAMPING, 1, account=account_id, subject=subject, life_s=60)]
            )
            if settled:
                await self.settle(account_id, hold)
            holds.append(hold)
        return holds

    async def settle(self, account_id: UUID, hold: UUID) -> None:
        """A held unit is used."""
        ending = Transfer(new_id(), Kind.SETTLE, Reason.SEALED, 1, account=account_id, hold_id=hold)
        await self.ledger.post([ending])

    async def let_it_end(self, programme: Programme) -> None:
        """Its end date has passed; nobody has noticed yet."""
        async with self.db.transaction() as tx:
            await tx.execute("UPDATE partners.programmes SET ends_at = now() WHERE id = $1", programme.id)

    async def available(self, account_id: UUID) -> int:
        """What somebody may use now."""
        return (await self.ledger.balance(account_id)).available

    async def assert_sound(self) -> None:
        """Both audits hold, save that these tests' holds have no serials."""
        broken = [rule.name for rule in (await check_ledger(self.db)).rules if rule.broken]
        assert [] == [name for name in broken if "serial" not in name]
        assert [] == [rule.name for rule in await check_all_programmes(self.db) if rule.broken]
