"""Buyers for the tests of the tracker: an account with a phone or without, and orders in every situation."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from emeterai.accounts.service import Accounts
from emeterai.care.service import Tracker
from emeterai.core.ordering import ChargeState, Seen
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase.model import Order, Source
from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.service import Purchase
from emeterai.purchase.tracking import OrderLives, tracking_code

PASSWORD = "kopi-hangat-di-teras"
ADDRESS = "203.0.113.7"


@dataclass
class Counter:
    """A shop whose provider nobody reaches, its accounts, and its tracker."""

    db: Database
    accounts: Accounts
    purchase: Purchase
    tracker: Tracker

    @classmethod
    def on(cls, db: Database) -> Counter:
        """On this database."""
        accounts = Accounts(db, session_life_s=3_600)
        provider = SandboxProvider("http://127.0.0.1:9", b"s" * 32)
        purchase = Purchase(db, Ledger(db), Settings(), providers=[provider])
        return cls(db, accounts, purchase, Tracker(db, accounts, OrderLives(db)))

    async def buyer(self, *, phone: str | None = "0812 3456 7890", email: str | None = None) -> UUID:
        """Somebody with an account."""
        account = await self.accounts.register(name="Siti Rahayu", password=PASSWORD, phone=phone, email=email)
        return account.id

    async def pay(self, order: Order, *, amount_idr: int | None = None) -> None:
        """Let the provider say that the order is paid."""
        seen = Seen(ChargeState.SETTLED, Decimal(amount_idr or order.total_idr), "IDR")
        await self.purchase.apply_seen(order.id, seen, Source("sandbox"))

    async def change(self, order: Order, assignment: str) -> None:
        """Change an order's row, for what takes long in life."""
        async with self.db.transaction() as tx:
            await tx.execute(f"UPDATE purchase.orders SET {assignment} WHERE id = $1", order.id)


def code_of(order: Order) -> str:
    """The four digits on the order's page."""
    return tracking_code(order.id, order.payment_transfer)
