"""Buying quota: an order is made, its money is seen, and in the same moment it is quota.

Whoever sees the money first settles the order: a notification, or our own question to the provider. Both go through
`_apply`, under the buyer's open book, and post transfers whose ids were made with the order: so there is one credit.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog

from emeterai.core.ledger import Counter, Kind, Reason, Transfer
from emeterai.core.ordering import OrderMove, OrderState, Price, Seen, after_order_move, order_move, order_price
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra import metrics
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Connection, Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase import store
from emeterai.purchase.model import Order
from emeterai.purchase.provider import PROVIDER_UNAVAILABLE, PaymentProvider
from emeterai.purchase.providers import PROVIDER_UNKNOWN, Providers

__all__ = ["PROVIDER_UNAVAILABLE", "PROVIDER_UNKNOWN", "Order", "OrderState", "Purchase"]

ORDER_QUANTITY_INVALID = RefusalKind(
    "order_quantity_invalid",
    422,
    "Jumlah meterai harus antara 1 dan {quantity_max}; ubah lalu coba lagi.",
    "The number of stamps must be from 1 to {quantity_max}; change it and try again.",
)
ORDER_UNKNOWN = RefusalKind(
    "order_unknown",
    404,
    "Anda tidak memiliki pesanan ini; lihat daftar pesanan Anda.",
    "You have no such order; look at the list of your orders.",
)
ORDER_NOT_OPEN = RefusalKind(
    "order_not_open",
    409,
    "Pesanan ini tidak lagi menunggu pembayaran; lihat keadaannya di halaman pesanan.",
    "This order is no longer awaiting payment; see its state on the order's page.",
)

ORDERS_A_PAGE_MAX = 100
_FIRST_CHECK_S = 20.0
_OPEN_CHECK_S_MAX = 900.0
_CLOSED_CHECK_S_MAX = 6 * 3600.0
_DOUBLINGS_MAX = 12
_CLOSED_WATCH_S = 3 * 86_400.0
_JITTER = 0.25
_CHECKS_AT_ONCE = 4
_WORKED_AT_ONCE = 4
_WAITING_MAX = 200
_UNWORKED_AGE_S = 5.0
_log = structlog.get_logger(__name__)
_notifications = metrics.counter("emeterai_payment_notifications", "Payment notifications by outcome", ["outcome"])


class Purchase:
    """The verbs of buying. One per process; `providers` are asked in their order of preference."""

    def __init__(
        self, db: Database, ledger: Ledger, settings: Settings, *, providers: Sequence[PaymentProvider]
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._settings = settings
        self._providers = Providers(providers, base_url=settings.base_url)
        self._turns = asyncio.Semaphore(_WORKED_AT_ONCE)
        self._waiting = 0

    async def create_order(self, account_id: UUID, quantity: int, *, idempotency_key: str | None = None) -> Order:
        """Make an order and open its charge. The same key with the same quantity gives the same order.

        Raises `order_quantity_invalid`, `idempotency_key_reused` or `provider_unavailable`: then nothing is owed, and
        the same key (or `open_charge`) continues with the same order.
        """
        order = await self.place_order(account_id, quantity, idempotency_key=idempotency_key)
        return await self.open_charge(account_id, order.id) if order.is_payable else order

    async def place_order(self, account_id: UUID, quantity: int, *, idempotency_key: str | None = None) -> Order:
        """Make an order without asking a provider yet. Raises as `create_order` does, save `provider_unavailable`."""
        if not 1 <= quantity <= self._settings.order_quantity_max:
            raise ORDER_QUANTITY_INVALID(quantity_max=self._settings.order_quantity_max)
        new = self._new_order(account_id, quantity, idempotency_key)
        async with self._db.transaction() as tx:
            order = await store.insert_order(tx, new)
        may_die_at("order.placed")
        if order is not None:
            return order
        assert idempotency_key is not None
        order = await store.order_by_key(self._db, account_id, idempotency_key)
        if order is None or order.request_digest != new.request_digest:
            raise IDEMPOTENCY_KEY_REUSED()
        return order

    async def open_charge(self, account_id: UUID, order_id: UUID) -> Order:
        """Open the charge of an order that has none, so that it has a page to pay at; otherwise the order as it is.

        Raises `order_unknown`, `order_not_open` or `provider_unavailable`.
        """
        order = await self.order(account_id, order_id)
        if not order.is_payable:
            raise ORDER_NOT_OPEN()
        if order.pay_url is None:
            provider, charge = await self._providers.charge(order)
            may_die_at("charge.opened")
            async with self._db.transaction() as tx:
                await store.write_charge(tx, order.id, charge, provider=provider)
            may_die_at("charge.recorded")
        return await self.order(account_id, order_id)

    def quote(self, quantity: int) -> Price:
        """What an order of `quantity` costs now."""
        return order_price(quantity, duty_idr=self._settings.duty_idr, fee_idr=self._settings.fee_idr)

    async def available(self, account_id: UUID) -> int:
        """How many stamps the account may use now."""
        return (await self._ledger.balance(account_id)).available

    async def order(self, account_id: UUID, order_id: UUID) -> Order:
        """One order of this account. Raises `order_unknown`, for other people's too."""
        order = await store.order_by_id(self._db, order_id)
        if order is None or order.account_id != account_id:
            raise ORDER_UNKNOWN()
        return order

    async def orders(self, account_id: UUID, *, before: UUID | None = None, limit: int = 20) -> list[Order]:
        """The account's orders, newest first, at most 100; `before` is the last order already seen."""
        return await store.orders_of(self._db, account_id, before=before, limit=min(limit, ORDERS_A_PAGE_MAX + 1))

    async def cancel(self, account_id: UUID, order_id: UUID) -> Order:
        """Give up an order that awaits payment; cancelled already is no error. Money that comes still becomes quota.

        Raises `order_unknown` or `order_not_open`.
        """
        await self.order(account_id, order_id)
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [account_id], opening=True)
            order = await _read(tx, order_id)
            after = after_order_move(order.state, OrderMove.CANCEL)
            if after is not None:
                await store.write_state(tx, order_id, state=after, seen=None)
            elif order.state is not OrderState.CANCELLED:
                raise ORDER_NOT_OPEN()
            return await _read(tx, order_id)

    async def receive_notification(
        self, provider_name: str, headers: Mapping[str, str], body: bytes, *, now: datetime
    ) -> UUID | None:
        """Check a notification and put it on record; gives the id to hand to `work_notification`, None for a known one.

        `body` is what came over the wire, byte by byte. Raises `provider_unknown` and the refusals of
        `PaymentProvider.parse_notification`; then nothing was changed. `service_busy` makes the provider send it again.
        """
        provider = self._providers.named(provider_name)
        try:
            notice = provider.parse_notification(headers, body, now=now)
        except Refused as refused:
            _notifications.labels(refused.code).inc()
            raise
        notification_id = new_id()
        async with self._db.transaction() as tx:
            is_new = await store.insert_notification(
                tx, notification_id, provider=provider.name, notice=notice, body=body
            )
        may_die_at("payment.noted")
        if is_new:
            return notification_id
        return await store.unworked_notification_of(self._db, provider.name, notice.event_id)

    async def work_notification(self, notification_id: UUID) -> None:
        """Do what a stored notification says. Safe to repeat. When too many wait, it is left to the sweep."""
        if self._waiting >= _WAITING_MAX:
            return
        self._waiting += 1
        try:
            async with self._turns:
                await self._work(notification_id)
        except Refused as refused:
            _log.info("notification_left_to_sweep", notification=str(notification_id), code=refused.code)
        finally:
            self._waiting -= 1

    async def work_unworked(self, limit: int = 100) -> int:
        """Work notifications whose worker died or was too busy; gives how many there were. For the steward."""
        left = await store.unworked_notifications(self._db, older_than_s=_UNWORKED_AGE_S, limit=limit)
        await _all(self.work_notification(notification_id) for notification_id in left)
        return len(left)

    async def check_orders(self, limit: int = 50) -> int:
        """Ask the providers about orders that are due, at most `limit`, and end those whose time is over.

        Gives how many were due. For the steward: a lost notification costs time, never money.
        """
        due = await store.orders_to_check(self._db, limit)
        turns = asyncio.Semaphore(_CHECKS_AT_ONCE)

        async def check(order: Order) -> None:
            async with turns:
                is_last = await self._claim_check(order)
                if is_last is not None:
                    await self.settle_from_status(order, is_last=is_last)

        await _all(check(order) for order in due)
        return len(due)

    async def settle_from_status(self, order: Order, *, is_last: bool = False) -> OrderState:
        """Ask the provider about one order and do what follows; when it is down, only the deadline counts.

        With `is_last` the watch over the order ends, but never without an answer as long as there is one to be had.
        """
        seen = await self._providers.ask(order)
        async with self._db.transaction() as tx:
            after, _ = await self._apply(tx, order, seen)
            if is_last and (seen is not None or not self._providers.can_ask(order)):
                await store.end_checks(tx, order.id)
            may_die_at("check.written")
        may_die_at("check.recorded")
        return after.state

    async def _claim_check(self, order: Order) -> bool | None:
        """Put the next check on record before this one: no crash forgets an order, no bug asks about one for ever.

        Answers whether this one is the last; None when somebody else has claimed it.
        """
        delay_s = _FIRST_CHECK_S * 2 ** min(order.checks, _DOUBLINGS_MAX)
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads the load, guards nothing
        async with self._db.transaction() as tx:
            return await store.write_next_check(
                tx,
                order.id,
                checks_before=order.checks,
                open_delay_s=min(delay_s, _OPEN_CHECK_S_MAX) * jitter,
                closed_delay_s=min(delay_s, _CLOSED_CHECK_S_MAX) * jitter,
                closed_watch_s=_CLOSED_WATCH_S,
            )

    async def _work(self, notification_id: UUID) -> None:
        found = await store.unworked_notice(self._db, notification_id)
        if found is None:
            return
        sender, notice, doubtful = found
        order = await store.order_by_id(self._db, notice.order_id) if notice.order_id is not None else None
        seen = await self._providers.believed(sender, notice, order, doubtful=doubtful) if order is not None else None
        async with self._db.transaction() as tx:
            if order is None:
                outcome = "unknown_order"
            else:
                after, moved = await self._apply(tx, order, seen)
                outcome = _outcome(after, seen, moved=moved)
            await store.write_outcome(tx, notification_id, outcome)
            may_die_at("payment.written")
        may_die_at("payment.recorded")
        _notifications.labels(outcome).inc()
        _log.info("notification_worked", notification=str(notification_id), outcome=outcome)

    async def _apply(self, tx: Connection, order: Order, seen: Seen | None) -> tuple[Order, bool]:
        """Lock the buyer, read the order anew, decide by the table, post and write.

        Gives the order as it is then, and whether this call moved it.
        """
        book = await self._ledger.open_book(tx, [order.account_id], opening=True)
        before = await _read(tx, order.id)
        move = order_move(seen, before.total_idr, overdue=before.overdue)
        after = after_order_move(before.state, move) if move is not None else None
        if after is None:
            return before, False
        if after is OrderState.PAID:
            answers = await book.post(_transfers(before))
            refused = [answer.code for answer in answers if isinstance(answer, Refused)]
            if refused:
                raise RuntimeError(f"the ledger refused to settle order {order.id}: {refused}")
        await store.write_state(tx, order.id, state=after, seen=seen)
        return await _read(tx, order.id), True

    def _new_order(self, account_id: UUID, quantity: int, idempotency_key: str | None) -> store.NewOrder:
        request = msgspec.json.encode({"quantity": quantity})
        return store.NewOrder(
            id=new_id(),
            account_id=account_id,
            quantity=quantity,
            price=self.quote(quantity),
            provider=self._providers.preferred,
            idempotency_key=idempotency_key,
            request_digest=hashlib.sha256(request).digest(),
            transfers=(new_id(), new_id(), new_id(), new_id()),
            life_s=self._settings.order_life_s,
            first_check_s=_FIRST_CHECK_S,
        )


async def _read(tx: Connection, order_id: UUID) -> Order:
    order = await store.order_by_id(tx, order_id)
    if order is None:
        raise ORDER_UNKNOWN()
    return order


async def _all(works: Iterable[Coroutine[Any, Any, object]]) -> None:
    """Finish every work, whatever becomes of the others. Refusals (a busy database) wait for the next sweep."""
    outcomes = await asyncio.gather(*works, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Refused):
            _log.info("left_to_next_sweep", code=outcome.code)
        elif isinstance(outcome, BaseException):
            raise outcome


def _outcome(after: Order, seen: Seen | None, *, moved: bool) -> str:
    if after.is_reversed_by(seen):
        _log.warning("paid_order_reversed", order=str(after.id))
        return "reversed"
    if seen is not None and after.is_contradicted_by(seen):
        _log.warning("paid_order_contradicted", order=str(after.id))
        return "contradicted"
    return after.state.value if moved else "unchanged"


def _transfers(order: Order) -> list[Transfer]:
    """What a paid order posts: the money seen, the tax, the fee, and the quota."""

    def money(transfer_id: UUID, reason: Reason, *, amount_idr: int, lines: tuple[UUID, UUID]) -> Transfer:
        return Transfer(transfer_id, Kind.MONEY, reason, amount_idr, debit=lines[0], credit=lines[1], subject=order.id)

    paid_in = (Counter.PROVIDER_RECEIVABLE, Counter.ORDER_LIABILITY)
    to_treasury = (Counter.ORDER_LIABILITY, Counter.TREASURY_DUTY)
    to_fees = (Counter.ORDER_LIABILITY, Counter.SERVICE_FEE)
    transfers = [
        money(order.payment_transfer, Reason.PAYMENT_SEEN, amount_idr=order.total_idr, lines=paid_in),
        money(order.duty_transfer, Reason.DUTY, amount_idr=order.duty_idr, lines=to_treasury),
    ]
    if order.fee_idr > 0:
        transfers.append(money(order.fee_transfer, Reason.FEE, amount_idr=order.fee_idr, lines=to_fees))
    transfers.append(
        Transfer(
            order.credit_transfer,
            Kind.CREDIT,
            Reason.PURCHASE,
            order.quantity,
            account=order.account_id,
            subject=order.id,
        )
    )
    return transfers
