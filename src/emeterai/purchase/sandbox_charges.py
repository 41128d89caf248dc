"""The sandbox provider's own memory: charges and deliveries in an SQLite file, so that a kill -9 loses none.

A charge moves once, from pending to settlement, expire or cancel; each state is an event that has to be delivered.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import msgspec

from emeterai.purchase.sandbox_words import ChargeOrder, Event, SandboxState

DELIVERY_TRIES_MAX = 12
_BACK_OFF_S_MAX = 300.0
_TABLES = """
    CREATE TABLE IF NOT EXISTS charges (
        id TEXT PRIMARY KEY,
        order_id TEXT NOT NULL UNIQUE,
        asked BLOB NOT NULL,
        state TEXT NOT NULL DEFAULT 'pending',
        amount TEXT NOT NULL,
        currency TEXT NOT NULL,
        expires_at REAL NOT NULL
    );
    CREATE TABLE IF NOT EXISTS deliveries (
        event_id TEXT PRIMARY KEY,
        url TEXT NOT NULL,
        body BLOB NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0,
        next_at REAL
    );
    CREATE TABLE IF NOT EXISTS refunds (
        refund_key TEXT PRIMARY KEY,
        charge_id TEXT NOT NULL,
        amount_idr INTEGER NOT NULL
    );
    CREATE INDEX IF NOT EXISTS charges_pending ON charges (expires_at) WHERE state = 'pending';
    CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (next_at) WHERE next_at IS NOT NULL;
"""


class SandboxCharge(msgspec.Struct, frozen=True):
    """One charge. `amount` and `currency` are what was paid once it is settled, and what was asked before."""

    id: str
    asked: ChargeOrder
    state: SandboxState
    amount: Decimal
    currency: str
    expires_at: datetime


class Delivery(msgspec.Struct, frozen=True):
    """A notification that its receiver has not confirmed yet; `tries` have failed so far."""

    event_id: str
    url: str
    body: bytes
    tries: int


class SandboxCharges:
    """The charges in `file`. To be used from one thread; every call is committed when it returns."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def open(self, asked: ChargeOrder, *, now: datetime) -> SandboxCharge | None:
        """Open the charge of an order, or give the one it has; None when that one was asked differently."""
        row = (msgspec.json.encode(asked), str(asked.amount_idr), asked.currency, asked.expires_at.timestamp())
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            found = self._rows("SELECT * FROM charges WHERE order_id = ?", (asked.order_id,))
            if found:
                return found[0] if found[0].asked == asked else None
            charge_id = uuid4().hex
            self._db.execute(
                "INSERT INTO charges (id, order_id, asked, amount, currency, expires_at) VALUES (?, ?, ?, ?, ?, ?)",
                (charge_id, asked.order_id, *row),
            )
            charge = self._one(charge_id)
            self._announce(charge, now)
        return charge

    def find(self, charge_id: str) -> SandboxCharge | None:
        """One charge."""
        return next(iter(self._rows("SELECT * FROM charges WHERE id = ?", (charge_id,))), None)

    def end(
        self, charge_id: str, state: SandboxState, *, now: datetime, paid: tuple[Decimal, str] | None = None
    ) -> SandboxCharge | None:
        """Move a pending charge to its last state; one that has ended already stays as it is. None when there is none.

        `paid` is the amount and the currency, where they are not exactly what was asked.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            charge = self.find(charge_id)
            if charge is None or charge.state is not SandboxState.PENDING:
                return charge
            amount, currency = paid or (charge.amount, charge.currency)
            self._db.execute(
                "UPDATE charges SET state = ?, amount = ?, currency = ? WHERE id = ?",
                (state.value, str(amount), currency, charge_id),
            )
            charge = self._one(charge_id)
            self._announce(charge, now)
        return charge

    def refund(self, charge_id: str, refund_key: str, amount_idr: int) -> int | None:
        """Return so much of a settled charge, or find that it was returned; None when there is not so much of it left.

        Gives what was returned with this key.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            known = self.refunded(charge_id, refund_key)
            charge = self.find(charge_id)
            if known is not None or charge is None or charge.state is not SandboxState.SETTLEMENT:
                return known
            query = "SELECT coalesce(sum(amount_idr), 0) FROM refunds WHERE charge_id = ?"
            (before,) = self._db.execute(query, (charge_id,)).fetchone()
            if before + amount_idr > charge.amount or charge.currency != charge.asked.currency:
                return None
            self._db.execute("INSERT INTO refunds VALUES (?, ?, ?)", (refund_key, charge_id, amount_idr))
        return amount_idr

    def refunded(self, charge_id: str, refund_key: str) -> int | None:
        """What was returned with this key; None when nothing was."""
        query = "SELECT amount_idr FROM refunds WHERE charge_id = ? AND refund_key = ?"
        row = self._db.execute(query, (charge_id, refund_key)).fetchone()
        return None if row is None else int(row[0])

    def expire_due(self, *, now: datetime, limit: int = 100) -> None:
        """Expire pending charges whose time is over, at most `limit`."""
        query = "SELECT id FROM charges WHERE state = 'pending' AND expires_at <= ? LIMIT ?"
        for (charge_id,) in self._db.execute(query, (now.timestamp(), limit)).fetchall():
            self.end(charge_id, SandboxState.EXPIRE, now=now)

    def due_deliveries(self, *, now: datetime, limit: int) -> list[Delivery]:
        """Deliveries to try now, those that have waited longest first."""
        query = "SELECT event_id, url, body, tries FROM deliveries WHERE next_at <= ? ORDER BY next_at LIMIT ?"
        return [Delivery(*row) for row in self._db.execute(query, (now.timestamp(), limit))]

    def note_delivery(self, delivery: Delivery, *, confirmed: bool, now: datetime) -> None:
        """Write down how a try went; after the last one the provider gives up."""
        tries = delivery.tries + 1
        next_at: float | None = None
        if not confirmed and tries < DELIVERY_TRIES_MAX:
            next_at = now.timestamp() + min(2.0**delivery.tries, _BACK_OFF_S_MAX)
        self._db.execute(
            "UPDATE deliveries SET tries = ?, next_at = ? WHERE event_id = ?", (tries, next_at, delivery.event_id)
        )

    def _announce(self, charge: SandboxCharge, now: datetime) -> None:
        event = Event(
            event_id=uuid4().hex,
            charge_id=charge.id,
            order_id=charge.asked.order_id,
            state=charge.state,
            amount=charge.amount,
            currency=charge.currency,
            occurred_at=now,
        )
        self._db.execute(
            "INSERT INTO deliveries (event_id, url, body, next_at) VALUES (?, ?, ?, ?)",
            (event.event_id, charge.asked.notify_url, msgspec.json.encode(event), now.timestamp()),
        )

    def _one(self, charge_id: str) -> SandboxCharge:
        return self._rows("SELECT * FROM charges WHERE id = ?", (charge_id,))[0]

    def _rows(self, query: str, arguments: Sequence[str]) -> list[SandboxCharge]:
        with closing(self._db.execute(query, arguments)) as cursor:
            return [
                SandboxCharge(
                    charge_id,
                    msgspec.json.decode(asked, type=ChargeOrder),
                    SandboxState(state),
                    Decimal(amount),
                    currency,
                    datetime.fromtimestamp(expires_at, UTC),
                )
                for charge_id, _, asked, state, amount, currency, expires_at in cursor
            ]
