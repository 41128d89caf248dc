"""The steps of a return, each under its owner's open book: what is posted and what is written commit together.

A step that the table does not know changes nothing, so each may be taken again after a kill.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from emeterai.core.ledger import Transfer
from emeterai.core.ordering import Price, Seen
from emeterai.core.returning import (
    ReturnCause,
    ReturnMove,
    ReturnState,
    SecondPayment,
    after_return_move,
    units_for,
)
from emeterai.infra.database import Connection
from emeterai.infra.ids import new_id
from emeterai.ledger.service import OpenBook
from emeterai.purchase import postings, returns_store
from emeterai.purchase.model import Order, Source
from emeterai.purchase.returns_model import Return
from emeterai.purchase.returns_store import NewReturn

NOT_WHOLE_RUPIAH = "not_whole_rupiah"
"""The trouble of a return that the ledger cannot hold: broken rupiah, or another currency."""


async def post(book: OpenBook, transfers: Sequence[Transfer], *, about: UUID) -> None:
    """Post what must not be refused. Raises RuntimeError when it is: that is a bug, and nothing commits."""
    await book.post_whole(transfers, about=about)


def return_ids() -> tuple[UUID, UUID, UUID, UUID, UUID]:
    """The ids of everything that a return may ever post: they are made with it."""
    return new_id(), new_id(), new_id(), new_id(), new_id()


async def begin(
    tx: Connection, book: OpenBook, order: Order, seen: Seen, *, payment: Source, cause: ReturnCause, due_s: float
) -> Return:
    """Put money that was seen and is not the order's on record, and post it. `seen.kept` is what is still there.

    Money that differs waits `due_s` for a decision. A second payment is owed at once, or is quota at once when the
    buyer chose so and it pays for whole stamps. What the ledger cannot hold is left to people.
    """
    return await begin_with(tx, book, order, seen, payment=payment, cause=cause, amount_idr=seen.whole_idr, due_s=due_s)


async def begin_with(
    tx: Connection,
    book: OpenBook,
    order: Order,
    seen: Seen,
    *,
    payment: Source,
    cause: ReturnCause,
    amount_idr: int | None,
    due_s: float,
) -> Return:
    """As `begin`, for a part of what is there: `amount_idr` of it, None when it cannot be written so."""
    units = _credited_at_once(order, cause, amount_idr)
    state = ReturnState.UNDECIDED if cause is ReturnCause.AMOUNT_DIFFERS else ReturnState.OWED
    if amount_idr is None:
        state = ReturnState.NEEDS_CARE
    elif units is not None:
        state = ReturnState.CREDITED
    new = NewReturn(
        id=new_id(),
        order_id=order.id,
        account_id=order.account_id,
        cause=cause,
        state=state,
        payment=payment,
        seen_amount=seen.kept,
        seen_currency=seen.currency,
        amount_idr=amount_idr,
        transfers=return_ids(),
        quantity=units,
        price=order.price.part(units, of=order.quantity) if units is not None else None,
        trouble=NOT_WHOLE_RUPIAH if amount_idr is None else None,
        due_s=due_s if state is ReturnState.UNDECIDED else None,
    )
    back = await returns_store.insert_return(tx, new)
    if amount_idr is not None:
        credited = postings.credited_return(back) if units is not None else []
        await post(book, [*postings.seen_money(back), *credited], about=back.id)
    return back


async def confirm(tx: Connection, book: OpenBook, known: Return, *, proof: str | None = None) -> bool:
    """The payer has the money: by the provider, or with `proof` by a transfer of ours. False when that was known."""
    back = await _read(tx, known.id)
    after = after_return_move(back.state, ReturnMove.CONFIRM)
    if after is None:
        return False
    if back.amount_idr is not None:
        await post(book, postings.money_back(back), about=back.id)
    await returns_store.write_move(tx, back.id, after, proof=proof)
    return True


async def credit(tx: Connection, book: OpenBook, known: Return, order: Order) -> bool:
    """Undecided money becomes the stamps that it pays for. False when it is undecided no more, or pays for none."""
    back = await _read(tx, known.id)
    after = after_return_move(back.state, ReturnMove.CREDIT)
    units = units_for(back.amount_idr, order.price, quantity=order.quantity) if back.amount_idr else None
    if after is None or units is None:
        return False
    price: Price = order.price.part(units, of=order.quantity)
    await returns_store.write_credit(tx, back.id, quantity=units, price=price)
    await post(book, postings.credited_return(await _read(tx, back.id)), about=back.id)
    return True


async def move(
    tx: Connection, known: Return, what: ReturnMove, *, cause: ReturnCause | None = None, trouble: str | None = None
) -> bool:
    """Take a step that posts nothing. False when the table does not know it from where the return is now."""
    back = await _read(tx, known.id)
    after = after_return_move(back.state, what)
    if after is None or (what is ReturnMove.OWE and back.amount_idr is None):
        return False
    await returns_store.write_move(tx, back.id, after, cause=cause, trouble=trouble)
    return True


def _credited_at_once(order: Order, cause: ReturnCause, amount_idr: int | None) -> int | None:
    wants_it = cause is ReturnCause.PAID_AGAIN and order.second_payment is SecondPayment.CREDIT
    if not wants_it or amount_idr is None:
        return None
    return units_for(amount_idr, order.price, quantity=order.quantity)


async def _read(tx: Connection, return_id: UUID) -> Return:
    back = await returns_store.return_by_id(tx, return_id)
    assert back is not None
    return back
