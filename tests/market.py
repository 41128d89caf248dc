"""A small market for the tests of partners: people, staff, partners with stock, and the services they use."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from emeterai.accounts.service import Accounts
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger
from emeterai.partners.audit import check_all_partners
from emeterai.partners.deposits import Deposit, Deposits
from emeterai.partners.model import SaleWanted
from emeterai.partners.moves import Moves
from emeterai.partners.sales import Sale, Sales
from emeterai.partners.service import Partner, PartnerKind, Partners

DUTY_IDR = 10_000
PAID_ON = date(2026, 1, 5)
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@dataclass
class Market:
    """One process of the service, as far as partners need it. `first` and `second` are the treasury's staff."""

    db: Database
    ledger: Ledger
    serials: SerialChannels
    accounts: Accounts
    partners: Partners
    deposits: Deposits
    moves: Moves
    sales: Sales
    first: UUID
    second: UUID

    @classmethod
    async def open(cls, db: Database) -> Market:
        """On this test's database."""
        ledger, serials, accounts = Ledger(db), SerialChannels(db), Accounts(db, session_life_s=3600)
        partners = Partners(db, ledger, serials)
        return cls(
            db,
            ledger,
            serials,
            accounts,
            partners,
            Deposits(db, ledger, partners, duty_idr=DUTY_IDR),
            Moves(db, ledger, partners),
            Sales(db, ledger, accounts, base_url="https://meterai.example"),
            await person(db),
            await person(db),
        )

    async def partner(self, *, stock: int = 0, distributor: Partner | None = None) -> Partner:
        """A partner whose deposit was approved; a retailer when it has a distributor."""
        kind = PartnerKind.RETAILER if distributor else PartnerKind.DISTRIBUTOR
        made = await self.partners.register(
            await person(self.db),
            name=f"Mitra {new_id().hex[-4:]}",
            contact="mitra@contoh.id",
            kind=kind,
            by="test",
            distributor_id=distributor.id if distributor else None,
        )
        if stock:
            deposit = await self.proposed(made, quantity=stock)
            await self.deposits.approve(deposit.id, by=self.second)
        return made

    async def proposed(self, partner: Partner, *, quantity: int, ntpn: str | None = None) -> Deposit:
        """A deposit on record that pays for `quantity`."""
        return await self.deposits.propose(
            partner.id,
            ntpn=ntpn or new_id().hex[-16:],
            amount_idr=quantity * DUTY_IDR,
            paid_on=PAID_ON,
            by=self.first,
        )

    async def buyer(self) -> tuple[UUID, str]:
        """Somebody who may buy: the account, and its e-mail address."""
        account = await person(self.db)
        return account, address_of(account)

    async def sell(self, partner: Partner, to: str, quantity: int = 1, *, key: str | None = None) -> Sale:
        """One sale, by default under a key of its own."""
        return await self.sales.sell(partner.id, SaleWanted(quantity, to, "", key or new_id().hex))

    async def available(self, account: UUID) -> int:
        """What an account or a stock may spend."""
        return (await self.ledger.balance(account)).available

    async def broken(self) -> list[str]:
        """The rules of both audits that do not hold, each with its first places."""
        rules = [*(await check_ledger(self.db)).rules, *await check_all_partners(self.db)]
        return [f"{rule.name}: {rule.examples}" for rule in rules if rule.broken]


async def person(db: Database) -> UUID:
    """An account that nobody can sign in to."""
    account = new_id()
    await db.fetch(
        """
        INSERT INTO accounts.accounts (id, name, email, password_hash, timezone)
        VALUES ($1, 'Warga Uji', $2, '$argon2id$none', 'Asia/Jakarta')
        """,
        account,
        address_of(account),
    )
    return account


def address_of(account: UUID) -> str:
    """The e-mail address of one of these people."""
    return f"{account.hex}@contoh.id"


async def refusal(work: Awaitable[Any]) -> str:
    """The code of the refusal that `work` ends in."""
    with pytest.raises(Refused) as refused:
        await work
    return refused.value.code


async def until_waiting(db: Database, count: int) -> None:
    """So many transactions wait for a lock."""
    async with asyncio.timeout(10):
        while await db.fetchval(_WAITING) < count:
            await asyncio.sleep(0.02)
