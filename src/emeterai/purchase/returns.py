"""The money's way back: quota that its owner hands back, and money that never became quota, until the payer has it.

Each step is put on record before it is taken, and taken again with the same ids and the same key when nobody knows
whether it was: the provider returns the money once, the ledger posts it once.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol
from uuid import UUID

import msgspec
import structlog

from emeterai.core.ledger import Balance
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.returning import RefundState, ReturnCause, ReturnMove, ReturnState, refund_move
from emeterai.infra import metrics
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Connection, Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger, OpenBook
from emeterai.purchase import cases_store, postings, returns_store, steps, store
from emeterai.purchase.model import Order, RefundSeen, Source
from emeterai.purchase.paid_stamps import PaidStamps, paid_stamps_of
from emeterai.purchase.providers import Providers
from emeterai.purchase.returns_model import CaseKind, Return
from emeterai.purchase.returns_store import NewReturn
from emeterai.purchase.together import finish_all

RETURN_QUANTITY_INVALID = RefusalKind(
    "return_quantity_invalid",
    422,
    "Jumlah yang dikembalikan harus antara 1 dan {quantity_max}; ubah lalu coba lagi.",
    "The number to hand back must be from 1 to {quantity_max}; change it and try again.",
)
RETURN_NOT_AVAILABLE = RefusalKind(
    "return_not_available",
    409,
    "Hanya kuota yang belum terpakai dapat dikembalikan; yang tersedia {available}. Kurangi jumlahnya.",
    "Only unused quota can be handed back; {available} available. Ask for fewer.",
)
RETURN_ALREADY_MADE = RefusalKind(
    "return_already_made",
    409,
    "Semua meterai dari pesanan ini sudah dikembalikan; lihat langkahnya di halaman pesanan.",
    "All stamps of this order were handed back already; see the steps on the order's page.",
)
RETURN_NOT_PAID = RefusalKind(
    "return_not_paid",
    409,
    "Pesanan ini belum menjadi kuota, jadi tidak ada kuota yang dapat dikembalikan; lihat keadaannya.",
    "This order has not become quota, so there is none to hand back; see the order's page.",
)
RETURN_IN_CARE = RefusalKind(
    "return_in_care",
    409,
    "Uang pesanan ini ditarik kembali oleh penyedia pembayaran; petugas sedang memeriksanya, hubungi kami.",
    "The payment provider took this order's money back; staff are looking into it, please contact us.",
)
NOTHING_HANDED_BACK = (
    RETURN_QUANTITY_INVALID,
    RETURN_NOT_AVAILABLE,
    RETURN_ALREADY_MADE,
    RETURN_NOT_PAID,
    RETURN_IN_CARE,
)
"""What `hand_back` answers whoever asks for what cannot be."""
_FIRST_TRY_S = 60.0
_TRY_S_MAX = 6 * 3600.0
_DOUBLINGS_MAX = 12
_JITTER = 0.25
_AT_ONCE = 4
NO_ANSWER = "no_answer"
"""The trouble of a return that the provider never said anything usable about."""
_log = structlog.get_logger(__name__)
_steps = metrics.counter("emeterai_return_steps", "Steps of returns of money", ["state"])
for _state in ReturnState:
    _steps.labels(_state)  # shown as nought before the first: an alarm watches how it grows
LookAt = Callable[[UUID, Source], Awaitable[object]]


class Owed(Protocol):
    """How many units an account that has used so many still has to use or to give back to whoever granted them."""

    def __call__(self, tx: Connection, account_id: UUID, /, *, used: int) -> Awaitable[int]:
        """Under the account's open book."""


async def nothing_owed(_tx: Connection, _account_id: UUID, /, *, used: int) -> int:
    """Nobody grants anything."""
    del used
    return 0


async def own_units(tx: Connection, account_id: UUID, balance: Balance, *, owed: Owed) -> int:
    """The unused units of an account that nobody granted: only these may become money again."""
    return max(0, balance.available - await owed(tx, account_id, used=balance.used))


class Returns:
    """The verbs of returns. `silence_s`: a provider that says nothing usable for so long is not asked any more."""

    def __init__(
        self, db: Database, ledger: Ledger, providers: Providers, *, silence_s: float, owed: Owed = nothing_owed
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._providers = providers
        self._silence_s = silence_s
        self._owed = owed

    async def hand_back(
        self, account_id: UUID, order_id: UUID, quantity: int, *, idempotency_key: str | None = None
    ) -> Return | None:
        """Hand `quantity` unused stamps of a paid order back: they leave the quota now, the money follows in full.

        It goes back the way it came, so at most those stamps at once that one transaction paid for. The same key with
        the same wish gives the same return. None for an order that is not this account's. Raises `return_not_paid`,
        `return_quantity_invalid`, `return_already_made`, `return_not_available`, `return_in_care` or
        `idempotency_key_reused`; then nothing was changed.
        """
        digest = hashlib.sha256(msgspec.json.encode([order_id, quantity])).digest()
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, [account_id], opening=True)
            order = await store.order_by_id(tx, order_id)
            if order is None or order.account_id != account_id:
                return None
            if idempotency_key is not None:
                known = await returns_store.return_by_key(tx, account_id, idempotency_key)
                if known is not None and known.request_digest == digest:
                    return known
                if known is not None:
                    raise IDEMPOTENCY_KEY_REUSED()
            paid = await _check_hand_back(tx, book, order, quantity, owed=self._owed)
            new = _handed_back(order, quantity, idempotency_key, digest, paid=paid)
            back = await returns_store.insert_return(tx, new)
            await steps.post(book, postings.returned_quota(back), about=back.id)
            may_die_at("return.written")
        may_die_at("return.recorded")
        _steps.labels(back.state).inc()
        return back

    async def of_orders(self, order_ids: Sequence[UUID]) -> list[Return]:
        """The returns of some orders, oldest first. The caller has seen to whose orders they are."""
        return await returns_store.returns_of(self._db, order_ids)

    async def order_of(self, account_id: UUID, return_id: UUID) -> UUID | None:
        """The order of one of this account's returns; None when it has no such return."""
        back = await returns_store.return_by_id(self._db, return_id)
        return back.order_id if back is not None and back.account_id == account_id else None

    async def still_returnable(self, order: Order) -> int:
        """How many stamps of an order can be handed back at once; some of them may have been used."""
        if not order.has_money or await _is_taken_back(self._db, order.id):
            return 0
        return _most_left(paid_stamps_of(order, await returns_store.returns_of(self._db, [order.id])))

    async def returnable_now(self, order: Order) -> int:
        """How many stamps of an order its owner can hand back at this moment: unused ones that nobody granted."""
        left = await self.still_returnable(order)
        if left == 0:
            return 0
        balance = await self._ledger.balance(order.account_id)
        async with self._db.connection() as connection:
            return min(left, await own_units(connection, order.account_id, balance, owed=self._owed))

    async def hear(self, tx: Connection, return_id: UUID) -> bool:
        """There is news of a return: ask about it soon. False when this is no return. Believes nothing."""
        back = await returns_store.return_by_id(tx, return_id)
        if back is None:
            return False
        await returns_store.write_due_now(tx, [return_id])
        return True

    async def decide_due(self, limit: int = 100) -> int:
        """The refund clock: undecided money whose time is over goes back. Gives how much there was. For the steward."""
        due = await returns_store.returns_due(self._db, limit)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def decide(back: Return) -> None:
            async with turns, self._db.transaction() as tx:
                await self._ledger.open_book(tx, [back.account_id])
                await steps.move(tx, back, ReturnMove.OWE, cause=ReturnCause.NO_QUOTA_IN_TIME)

        await finish_all(decide(back) for back in due)
        return len(due)

    async def work_due(self, look_at: LookAt, limit: int = 50) -> int:
        """Ask the providers for what is owed, at most `limit`; gives how much there was. For the steward.

        `look_at` is told the order and the transaction of a return that was refused: its money may have left otherwise.
        """
        due = await returns_store.returns_to_try(self._db, limit)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def work(back: Return) -> None:
            async with turns:
                await self._work(back, look_at)

        await finish_all(work(back) for back in due)
        return len(due)

    async def _work(self, back: Return, look_at: LookAt) -> None:
        """One try. It is on record as asked before it is asked: whoever dies in between leaves it to the next try."""
        delay_s = min(_FIRST_TRY_S * 2 ** min(back.tries, _DOUBLINGS_MAX), _TRY_S_MAX)
        jitter = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads the load, guards nothing
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [back.account_id])
            if not await returns_store.write_next_try(tx, back.id, tries_before=back.tries, delay_s=delay_s * jitter):
                return
            await steps.move(tx, back, ReturnMove.ASK)
        may_die_at("return.asked")
        assert back.amount_idr is not None
        try:
            said = await self._providers.refund(
                back.order_id, back.payment, amount_idr=back.amount_idr, refund_key=str(back.id)
            )
        except Refused as refused:
            _log.info("return_not_answered", id=str(back.id), code=refused.code)
            said = RefundSeen(RefundState.UNKNOWN)
        may_die_at("return.answered")
        if await self._follow(back, said):
            await look_at(back.order_id, back.payment)

    async def _follow(self, back: Return, said: RefundSeen) -> bool:
        """Do what follows from an answer; True when the provider will not return it."""
        what, trouble = refund_move(said.state), said.trouble or said.state.value
        if what is None:
            if not await returns_store.is_silent(self._db, back.id, silence_s=self._silence_s):
                return False
            what, trouble = ReturnMove.GIVE_UP, NO_ANSWER
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, [back.account_id])
            if what is ReturnMove.CONFIRM:
                await steps.confirm(tx, book, back)
            else:
                await steps.move(tx, back, what, trouble=trouble)
            may_die_at("return.ending")
        may_die_at("return.ended")
        _steps.labels(ReturnState.RETURNED if what is ReturnMove.CONFIRM else ReturnState.NEEDS_CARE).inc()
        _log.info("return_answered", id=str(back.id), said=said.state.value, trouble=said.trouble)
        return what is ReturnMove.GIVE_UP


async def _check_hand_back(tx: Connection, book: OpenBook, order: Order, quantity: int, *, owed: Owed) -> PaidStamps:
    """The transaction whose money goes back, the order's own before those that were credited. Raises why none may."""
    payments = paid_stamps_of(order, await returns_store.returns_of(tx, [order.id]))
    if not payments:
        raise RETURN_NOT_PAID()
    if await _is_taken_back(tx, order.id):
        raise RETURN_IN_CARE()
    left = _most_left(payments)
    if left == 0:
        raise RETURN_ALREADY_MADE()
    if not 1 <= quantity <= left:
        raise RETURN_QUANTITY_INVALID(quantity_max=left)
    available = await own_units(tx, order.account_id, book.balance(order.account_id), owed=owed)
    if quantity > available:
        raise RETURN_NOT_AVAILABLE(available=available)
    return next(paid for paid in payments if paid.left >= quantity)


def _most_left(payments: Sequence[PaidStamps]) -> int:
    return max((paid.left for paid in payments), default=0)


async def _is_taken_back(connection: Connection | Database, order_id: UUID) -> bool:
    """Whether the provider took money of this order back: what is missing cannot be returned once more."""
    cases = await cases_store.cases_of(connection, [order_id])
    return any(case.kind is CaseKind.TAKEN_BACK for case in cases)


def _handed_back(
    order: Order, quantity: int, idempotency_key: str | None, digest: bytes, *, paid: PaidStamps
) -> NewReturn:
    price = paid.price_of(quantity)
    return NewReturn(
        id=new_id(),
        order_id=order.id,
        account_id=order.account_id,
        cause=ReturnCause.QUOTA_RETURNED,
        state=ReturnState.OWED,
        payment=paid.payment,
        seen_amount=paid.seen_amount,
        seen_currency=paid.seen_currency,
        amount_idr=price.total_idr,
        transfers=steps.return_ids(),
        quantity=quantity,
        price=price,
        idempotency_key=idempotency_key,
        request_digest=digest,
    )
