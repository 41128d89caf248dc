"""What the tests of vouchers are made of: a desk on a real database, a stock with units, codes as they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from emeterai.accounts.model import Caller, Timezone
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.core.voucher_code import grouped_code
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.check import check_ledger
from emeterai.ledger.service import Ledger
from emeterai.purchase.voucher_audit import check_all_vouchers
from emeterai.purchase.voucher_model import Batch, Redemption, Stock
from emeterai.purchase.vouchers import Vouchers

SECRET = b"a secret of thirty-two bytes or so"
ADDRESS = "203.0.113.7"


@dataclass
class Desk:
    """A seller who keeps one stock, and everybody else."""

    db: Database
    ledger: Ledger
    vouchers: Vouchers
    seller: Caller
    stock: UUID
    codes: dict[UUID, list[str]] = field(default_factory=dict)

    @classmethod
    async def open(cls, db: Database, *, units: int = 1_000) -> Desk:
        """A desk whose stock has so many units."""
        seller, stock, ledger = person_of(new_id()), new_id(), Ledger(db)
        desk = cls(db, ledger, desk_of(db, seller, stock), seller, stock)
        if units:
            await ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.DEPOSIT, units, account=stock)])
        return desk

    async def batch(self, vouchers: int = 3, units: int = 5, *, active: bool = True) -> Batch:
        """A batch, active unless it is said otherwise, and its codes as they are printed."""
        batch = await self.vouchers.make(self.seller, vouchers=vouchers, units=units)
        _, codes = await self.vouchers.codes(self.seller, batch.id)
        self.codes[batch.id] = [grouped_code(code) for code in codes]
        if active:
            await self.vouchers.activate(self.seller, batch.id)
        return await self.vouchers.batch(self.seller, batch.id)

    async def redeem(self, person: UUID, code: str, *, key: str | None = None, address: str = ADDRESS) -> Redemption:
        """Somebody redeems a code."""
        return await self.vouchers.redeem(person, code, address=address, idempotency_key=key)

    async def available(self, account: UUID) -> int:
        """What an account may spend now."""
        return (await self.ledger.balance(account)).available

    async def assert_sound(self) -> None:
        """Both audits hold."""
        assert set() == await broken_rules(self.db)


def person_of(account_id: UUID) -> Caller:
    """Somebody who is signed in."""
    return Caller(account_id, "Siti Rahayu", Timezone.WIB, "session")


def desk_of(db: Database, seller: Caller, stock: UUID, *, sells: bool = True) -> Vouchers:
    """The service in a web process of its own."""

    async def stocks_of(caller: Caller, _: object) -> Sequence[Stock]:
        return [Stock(stock, "Loket Pos Bandung", sells)] if caller.account_id == seller.account_id else []

    return Vouchers(db, Ledger(db), secret=SECRET, stocks_of=stocks_of)


async def broken_rules(db: Database) -> set[str]:
    """The rules that either audit finds broken."""
    rules = [*(await check_ledger(db)).rules, *await check_all_vouchers(db)]
    return {rule.name for rule in rules if rule.broken}


async def refusal(awaitable: Any) -> str:
    """The code of the refusal that this ends with."""
    with pytest.raises(Refused) as caught:
        await awaitable
    return caught.value.code


async def write(db: Database, statement: str, *arguments: Any) -> None:
    """Change the database behind everybody's back."""
    async with db.transaction() as tx:
        await tx.execute(statement, *arguments)
