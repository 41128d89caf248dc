"""What follows from what a provider says of an order's money: quota, a return, a case, or nothing.

Every proof comes here: a notification, the answer to our own question, a line of a settlement file. The first one
counts, and the others find that it is done: all of it happens under the buyer's open book.
"""

from __future__ import annotations

import structlog

from emeterai.core.ordering import ChargeState, OrderState, Seen, after_order_move, order_move
from emeterai.core.returning import ReturnCause, ReturnState, excess_idr
from emeterai.infra.database import Connection
from emeterai.ledger.service import Ledger, OpenBook
from emeterai.purchase import cases_store, postings, returns_store, steps, store
from emeterai.purchase.model import Order, Source
from emeterai.purchase.returns_model import Case, CaseKind, Return

UNCHANGED = "unchanged"
PAID_AGAIN = "paid_again"
CONTRADICTED = "contradicted"
REVERSED = "reversed"
RETURNED = "returned"
_STAYS_OPEN = frozenset({ReturnState.UNDECIDED, ReturnState.OWED, ReturnState.NEEDS_CARE})
_log = structlog.get_logger(__name__)


class Settling:
    """Settles orders. `quota_due_s`: so long money that differs waits for a decision before it goes back."""

    def __init__(self, ledger: Ledger, *, quota_due_s: float) -> None:
        self._ledger = ledger
        self._quota_due_s = quota_due_s

    async def apply(self, tx: Connection, known: Order, seen: Seen | None, source: Source) -> tuple[Order, str]:
        """Lock the buyer, read the order anew, decide by the tables, post and write.

        Gives the order as it is then, and what this was: the state that the order was moved to, or one of the words
        above. `seen` None is silence: then only the deadline counts.
        """
        book = await self._ledger.open_book(tx, [known.account_id], opening=True)
        before = await store.known_order(tx, known.id)
        payment = before.payment(source)
        move = order_move(seen, before.total_idr, overdue=before.overdue)
        after = after_order_move(before.state, move) if move is not None else None
        if after is not None:
            await self._move(tx, book, before, after, seen=seen, payment=payment)
            return await store.known_order(tx, known.id), after.value
        outcome = UNCHANGED
        if seen is not None and seen.state is ChargeState.SETTLED and before.has_money:
            outcome = await self._more_money(tx, book, before, seen, payment=payment)
        elif seen is not None and seen.state is ChargeState.REVERSED:
            outcome = await self._reversal(tx, book, before, seen, payment=payment)
        if outcome != UNCHANGED:
            _log.warning("order_needs_a_look", order=str(before.id), outcome=outcome)
        return before, outcome

    async def _move(
        self, tx: Connection, book: OpenBook, before: Order, after: OrderState, *, seen: Seen | None, payment: Source
    ) -> None:
        if after is OrderState.PAID:
            await steps.post(book, postings.paid_order(before), about=before.id)
        await store.write_state(tx, before.id, state=after, seen=seen, payment=payment)
        if after is OrderState.QUARANTINED:
            assert seen is not None
            await self._put_aside(tx, book, before, seen, payment=payment, cause=ReturnCause.AMOUNT_DIFFERS)

    async def _more_money(self, tx: Connection, book: OpenBook, order: Order, seen: Seen, *, payment: Source) -> str:
        """Settled money for an order that has its money: the same once more, a second payment, or a contradiction."""
        mine = _of_payment(await returns_store.returns_of(tx, [order.id]), payment)
        if any((back.seen_amount, back.seen_currency) == (seen.kept, seen.currency) for back in mine):
            return UNCHANGED
        recognised_idr = _recognised_idr(order, mine, payment)
        more_idr = excess_idr(seen, recognised_idr)
        if more_idr == 0:
            return UNCHANGED
        if more_idr is None and recognised_idr == 0 and not mine:
            await self._put_aside(tx, book, order, seen, payment=payment, cause=ReturnCause.PAID_AGAIN)
            return PAID_AGAIN
        if more_idr is None or more_idr < 0 or any(back.amount_idr is None for back in mine):
            await cases_store.insert_case(tx, CaseKind.CONTRADICTED, order.id, payment)
            return CONTRADICTED
        await steps.begin_with(
            tx,
            book,
            order,
            seen,
            payment=payment,
            cause=ReturnCause.PAID_AGAIN,
            amount_idr=more_idr,
            due_s=self._quota_due_s,
        )
        return PAID_AGAIN

    async def _reversal(self, tx: Connection, book: OpenBook, order: Order, seen: Seen, *, payment: Source) -> str:
        """Money left the provider again. What we asked for is ours; what we owe is paid by it; the rest is a case."""
        every = [back for back in await returns_store.returns_of(tx, [order.id]) if back.payment == payment]
        gone = [back for back in every if back.state in _STAYS_OPEN and back.amount_idr is None and seen.kept <= 0]
        for back in gone:
            await steps.confirm(tx, book, back)
        recognised_idr = _recognised_idr(order, _of_payment(every, payment), payment)
        if recognised_idr == 0:
            return RETURNED if gone else UNCHANGED
        asked = [back.id for back in every if back.is_on_its_way]
        await returns_store.write_due_now(tx, asked)
        known = [case for case in await cases_store.cases_of(tx, [order.id]) if payment == _case_payment(case)]
        rest_idr = (
            min(int(seen.taken), recognised_idr) - sum(case.amount_idr or 0 for case in known) - _given_back_idr(every)
        )
        outcome = RETURNED if gone else UNCHANGED
        for back in every:
            if back.state in _STAYS_OPEN and back.amount_idr is not None and back.amount_idr <= rest_idr:
                await steps.confirm(tx, book, back)
                rest_idr -= back.amount_idr
                outcome = RETURNED
        if rest_idr <= 0:
            return outcome
        case = await cases_store.insert_case(tx, CaseKind.TAKEN_BACK, order.id, payment, amount_idr=rest_idr)
        assert case is not None
        await steps.post(book, postings.loss(case), about=case.id)
        return REVERSED

    async def _put_aside(
        self, tx: Connection, book: OpenBook, order: Order, seen: Seen, *, payment: Source, cause: ReturnCause
    ) -> None:
        if seen.kept > 0:
            await steps.begin(tx, book, order, seen, payment=payment, cause=cause, due_s=self._quota_due_s)


def _of_payment(returns: list[Return], payment: Source) -> list[Return]:
    """Those that began with money of this transaction."""
    return [back for back in returns if back.is_seen_money and back.payment == payment]


def _case_payment(case: Case) -> Source:
    return Source(case.provider, case.reference)


def _recognised_idr(order: Order, mine: list[Return], payment: Source) -> int:
    """What of a transaction's money is in our books."""
    settled_idr = order.total_idr if order.is_paid_with(payment) else 0
    return settled_idr + sum(back.amount_idr or 0 for back in mine)


def _given_back_idr(returns: list[Return]) -> int:
    """What the provider has returned at our request, or is returning."""
    through_provider = [
        back for back in returns if back.is_on_its_way or (back.state is ReturnState.RETURNED and back.proof is None)
    ]
    return sum(back.amount_idr or 0 for back in through_provider)
