"""Buying, step by step as purchase/service.py does it, on the simulated store."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from simulated_database import Transaction, patiently
from simulated_guards import Guard
from simulated_house import House
from simulated_rows import NoticeRow, OrderRow
from simulated_time import Process, Steps

from emeterai.core.ledger import Counter, Kind, Reason, Transfer
from emeterai.core.ordering import (
    ChargeState,
    OrderMove,
    OrderState,
    Seen,
    after_order_move,
    order_move,
    order_price,
)
from emeterai.core.refusal import Refused

FIRST_CHECK_S = 20.0
OPEN_CHECK_S_MAX = 900.0
CLOSED_CHECK_S_MAX = 6 * 3600.0
DOUBLINGS_MAX = 12
JITTER = 0.25
UNWORKED_AGE_S = 5.0
ORDER_NOT_OPEN = "order_not_open"


class Shop:
    """The verbs of buying, for one process."""

    def __init__(self, house: House, process: Process) -> None:
        self.house = house
        self.store = house.store
        self.process = process

    def create(self, account: UUID, key: UUID, quantity: int) -> Steps[OrderRow]:
        """Make an order, or find the one with this key, and open its charge."""
        house, settings = self.house, self.house.settings
        order_id = self.store.tables["events"].get((account, key))
        if order_id is None:
            new = house.new_id
            price = order_price(quantity, duty_idr=settings.duty_idr, fee_idr=settings.fee_idr)
            expires_at_s = house.now_s + settings.order_life_s
            ids = (new(), new(), new(), new())
            state = OrderState.AWAITING_PAYMENT
            next_check_s = house.now_s + FIRST_CHECK_S
            row = OrderRow(new(), account, key, quantity, price, state, ids, expires_at_s, next_check_s)
            order_id = row.id
            with self.store.transaction(self.process) as tx:
                tx.put("orders", row.id, row)
                tx.put("events", (account, key), row.id)
            house.say(self.process.name, "makes order", row.id, "of", quantity)
            yield from self.store.answer()
        return (yield from self.open_charge(order_id))

    def open_charge(self, order_id: UUID) -> Steps[OrderRow]:
        """Ask the provider for a charge, with our order id as its key, and put its reference on record."""
        order = self.store.orders[order_id]
        payable = order.state is OrderState.AWAITING_PAYMENT and self.house.now_s < order.expires_at_s
        if payable and order.reference is None:
            reference = yield from self.house.provider.create(order)
            with self.store.transaction(self.process) as tx:
                now = self.store.orders[order_id]
                if now.reference is None:
                    tx.put("orders", order_id, now._replace(reference=reference))
            yield from self.store.answer()
        return self.store.orders[order_id]

    def cancel(self, order_id: UUID) -> Steps[OrderRow | str]:
        """Give up an order that awaits payment; money that comes still becomes quota."""
        with self.store.transaction(self.process) as tx:
            yield from tx.open_book([self.store.orders[order_id].account])
            order = self.store.orders[order_id]
            after = after_order_move(order.state, OrderMove.CANCEL)
            yield from tx.statement()
            if after is not None:
                tx.put("orders", order_id, order._replace(state=after))
            elif order.state is not OrderState.CANCELLED:
                return ORDER_NOT_OPEN
        yield from self.store.answer()
        return self.store.orders[order_id]

    def notified(self, event: str, order_id: UUID, seen: Seen) -> Steps[bool]:
        """Put a notification on record; what it says is done afterwards, or by the steward."""
        if event not in self.store.tables["events"]:
            row = NoticeRow(self.house.new_id(), event, order_id, seen, self.house.now_s)
            with self.store.transaction(self.process) as tx:
                tx.put("events", event, row.id)
                tx.put("notices", row.id, row)
            yield from self.store.answer()
        notice_id = self.store.tables["events"][event]
        if notice_id in self.store.notices:
            self.process.spawn(patiently(self.work(notice_id)))
        return True

    def work(self, notice_id: UUID) -> Steps[None]:
        """Do what a stored notification says."""
        notice = self.store.notices.get(notice_id)
        if notice is None:
            return
        order = self.store.orders[notice.order]
        yield self.house.pause_s()
        with self.store.transaction(self.process) as tx:
            yield from self._apply(tx, order, notice.seen)
            tx.put("notices", notice_id, None)
        yield from self.store.answer()

    def sweep(self) -> Steps[None]:
        """Work notifications that were left, then ask about orders that are due."""
        old_s = self.house.now_s - UNWORKED_AGE_S
        if self.house.has(Guard.NOTICE_SWEEP):
            for notice in [it for it in self.store.notices.values() if it.received_at_s <= old_s]:
                yield from self.work(notice.id)
        now_s = self.house.now_s
        for order in [self.store.orders[one] for one in self.store.watched]:
            if order.next_check_s is not None and order.next_check_s <= now_s:
                is_last = self._claim_check(order)
                if is_last is not None:
                    yield from self.store.answer()
                    yield from self._settle_from_status(order, is_last)

    def _settle_from_status(self, order: OrderRow, is_last: bool) -> Steps[None]:
        seen, can_ask = None, order.reference is not None and self.house.has(Guard.ASKING)
        if can_ask:
            seen = yield from self.house.provider.status(order.id)
        with self.store.transaction(self.process) as tx:
            yield from self._apply(tx, order, seen)
            if is_last and (seen is not None or not can_ask):
                tx.put("orders", order.id, tx.row("orders", order.id)._replace(next_check_s=None))
        yield from self.store.answer()

    def _claim_check(self, order: OrderRow) -> bool | None:
        """Put the next check on record; answers whether this is the last, None when it was claimed already."""
        house, now_s = self.house, self.house.now_s
        row = self.store.orders[order.id]
        if row.checks != order.checks or row.next_check_s is None:
            return None
        jitter = 1 - JITTER + 2 * JITTER * house.random()
        delay_s = FIRST_CHECK_S * 2 ** min(order.checks, DOUBLINGS_MAX)
        open_s = now_s + min(delay_s, OPEN_CHECK_S_MAX) * jitter
        following: float | None = now_s + min(delay_s, CLOSED_CHECK_S_MAX) * jitter
        is_open = row.state is OrderState.AWAITING_PAYMENT
        is_last = not is_open and now_s >= row.expires_at_s + house.settings.closed_watch_s
        if is_open:
            before_end = now_s < row.expires_at_s
            following = min(open_s, max(row.expires_at_s, now_s + 2)) if before_end else open_s
        elif is_last and not house.has(Guard.WATCH_ANSWERED):
            following = None
        with self.store.transaction(self.process) as tx:
            tx.put("orders", order.id, row._replace(checks=row.checks + 1, next_check_s=following))
        return is_last

    def _apply(self, tx: Transaction, known: OrderRow, seen: Seen | None) -> Steps[None]:
        """Lock the buyer, read the order anew, decide by the table, post and write."""
        yield from tx.open_book([known.account])
        before = self.store.orders[known.id] if self.house.has(Guard.ORDER_READ) else known
        yield from tx.statement()
        if seen is not None and seen.state is ChargeState.SETTLED and not self.house.has(Guard.AMOUNT):
            seen = Seen(ChargeState.SETTLED, Decimal(before.price.total_idr), "IDR")
        move = order_move(seen, before.price.total_idr, overdue=before.expires_at_s <= self.house.now_s)
        after = after_order_move(before.state, move) if move is not None else None
        if before.state is OrderState.EXPIRED and not self.house.has(Guard.LATE_MONEY):
            after = None
        if after is None:
            return
        if after is OrderState.PAID:
            answers = tx.post(self._transfers(before))
            refused = [answer for answer in answers if isinstance(answer, Refused)]
            assert not refused, f"the ledger refused to settle an order: {refused}"
        yield from tx.statement()
        self.house.say(self.process.name, "order", known.id, "is now", after.value)
        has_money = after in {OrderState.PAID, OrderState.QUARANTINED}
        money: dict[str, Any] = {"seen": seen, "next_check_s": None} if has_money else {}
        tx.put("orders", known.id, self.store.orders[known.id]._replace(state=after, **money))

    def _transfers(self, order: OrderRow) -> list[Transfer]:
        new = self.house.new_id
        ids = order.transfers if self.house.has(Guard.STEADY_ORDER_IDS) else (new(), new(), new(), new())
        counter, price = Counter, order.price

        def money(transfer_id: UUID, reason: Reason, amount_idr: int, *lines: UUID) -> Transfer:
            debit, credit = lines
            return Transfer(transfer_id, Kind.MONEY, reason, amount_idr, debit=debit, credit=credit, subject=order.id)

        return [
            money(ids[0], Reason.PAYMENT_SEEN, price.total_idr, counter.PROVIDER_RECEIVABLE, counter.ORDER_LIABILITY),
            money(ids[1], Reason.DUTY, price.duty_idr, counter.ORDER_LIABILITY, counter.TREASURY_DUTY),
            money(ids[2], Reason.FEE, price.fee_idr, counter.ORDER_LIABILITY, counter.SERVICE_FEE),
            Transfer(ids[3], Kind.CREDIT, Reason.PURCHASE, order.quantity, account=order.account, subject=order.id),
        ]
