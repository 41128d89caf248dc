"""What the nouns of buying post in the ledger: docs/accounts.md in code. Every id was made with its noun."""

from __future__ import annotations

from uuid import UUID

from emeterai.core.ledger import Counter, Kind, Reason, Transfer
from emeterai.core.ordering import Price
from emeterai.core.returning import ReturnCause
from emeterai.purchase.model import Order
from emeterai.purchase.returns_model import Case, Return

_SEEN = {
    ReturnCause.PAID_AGAIN: Reason.PAID_AGAIN,
    ReturnCause.AMOUNT_DIFFERS: Reason.PAID_OTHER,
    ReturnCause.NO_QUOTA_IN_TIME: Reason.PAID_OTHER,
}


def paid_order(order: Order) -> list[Transfer]:
    """A paid order: the money seen, the tax, the fee, and the quota."""
    ids = (order.duty_transfer, order.fee_transfer, order.credit_transfer)
    seen = _money(
        order.payment_transfer,
        Reason.PAYMENT_SEEN,
        order.total_idr,
        lines=(Counter.PROVIDER_RECEIVABLE, Counter.ORDER_LIABILITY),
        subject=order.id,
    )
    return [seen, *_became_quota(order.id, ids, order.price, account=order.account_id, quantity=order.quantity)]


def seen_money(back: Return) -> list[Transfer]:
    """Money that was seen and is not an order's: it is owed, as long as nothing else becomes of it."""
    assert back.amount_idr is not None
    lines = (Counter.PROVIDER_RECEIVABLE, Counter.ORDER_LIABILITY)
    return [_money(back.seen_transfer, _SEEN[back.cause], back.amount_idr, lines=lines, subject=back.id)]


def credited_return(back: Return) -> list[Transfer]:
    """Money that was owed becomes quota: the tax, the fee, the stamps."""
    assert back.quantity is not None
    ids = (back.duty_transfer, back.fee_transfer, back.quota_transfer)
    return _became_quota(back.id, ids, back.price, account=back.account_id, quantity=back.quantity)


def returned_quota(back: Return) -> list[Transfer]:
    """Stamps that their owner hands back: they are money that is owed, in full."""
    assert back.quantity is not None
    ids = (back.duty_transfer, back.fee_transfer)
    return [
        Transfer(
            back.quota_transfer, Kind.REFUND, Reason.RETURNED, back.quantity, account=back.account_id, subject=back.id
        ),
        *_undone(back.id, ids, back.price, to=Counter.ORDER_LIABILITY),
    ]


def money_back(back: Return) -> list[Transfer]:
    """The payer has the money."""
    assert back.amount_idr is not None
    lines = (Counter.ORDER_LIABILITY, Counter.MONEY_RETURNED)
    return [_money(back.back_transfer, Reason.MONEY_BACK, back.amount_idr, lines=lines, subject=back.id)]


def loss(case: Case) -> list[Transfer]:
    """The provider took money back that had become quota: it is missing, and nobody's balance is touched."""
    assert case.amount_idr is not None
    lines = (Counter.TAKEN_BACK, Counter.PROVIDER_RECEIVABLE)
    return [_money(case.loss_transfer, Reason.TAKEN_BACK, case.amount_idr, lines=lines, subject=case.id)]


def stamps_for_loss(case: Case, price: Price, *, account: UUID, quantity: int) -> list[Transfer]:
    """Two people decided to take available stamps back for money that is missing: tax and fee make the loss smaller."""
    ids = (case.duty_transfer, case.fee_transfer)
    return [
        Transfer(case.quota_transfer, Kind.REFUND, Reason.TAKEN_BACK, quantity, account=account, subject=case.id),
        *_undone(case.id, ids, price, to=Counter.TAKEN_BACK),
    ]


def _became_quota(
    subject: UUID, ids: tuple[UUID, UUID, UUID], price: Price, *, account: UUID, quantity: int
) -> list[Transfer]:
    transfers = [
        _money(
            ids[0],
            Reason.DUTY,
            price.duty_idr,
            lines=(Counter.ORDER_LIABILITY, Counter.TREASURY_DUTY),
            subject=subject,
        )
    ]
    if price.fee_idr > 0:
        lines = (Counter.ORDER_LIABILITY, Counter.SERVICE_FEE)
        transfers.append(_money(ids[1], Reason.FEE, price.fee_idr, lines=lines, subject=subject))
    return [*transfers, Transfer(ids[2], Kind.CREDIT, Reason.PURCHASE, quantity, account=account, subject=subject)]


def _undone(subject: UUID, ids: tuple[UUID, UUID], price: Price, *, to: UUID) -> list[Transfer]:
    transfers = [_money(ids[0], Reason.DUTY_BACK, price.duty_idr, lines=(Counter.TREASURY_DUTY, to), subject=subject)]
    if price.fee_idr > 0:
        lines = (Counter.SERVICE_FEE, to)
        transfers.append(_money(ids[1], Reason.FEE_BACK, price.fee_idr, lines=lines, subject=subject))
    return transfers


def _money(transfer_id: UUID, reason: Reason, amount_idr: int, *, lines: tuple[UUID, UUID], subject: UUID) -> Transfer:
    return Transfer(transfer_id, Kind.MONEY, reason, amount_idr, debit=lines[0], credit=lines[1], subject=subject)
