"""What staff decide about money: each decision is proposed by one of them, with its reason, and made by another.

Nothing here guesses: money that differs is credited only for whole stamps, stamps are taken back only while they are
available, and nobody's balance goes below zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from operator import attrgetter
from uuid import UUID

import msgspec

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.returning import RefundState, ReturnMove, ReturnState, units_for
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Connection, Database
from emeterai.ledger.service import Ledger, OpenBook
from emeterai.purchase import cases_store, postings, returns_store, steps, store
from emeterai.purchase.model import Order, Source
from emeterai.purchase.paid_stamps import PaidStamps, paid_stamps_of
from emeterai.purchase.provider import PROVIDER_UNAVAILABLE, RETRY_AFTER_S
from emeterai.purchase.providers import Providers
from emeterai.purchase.returns import LookAt, Owed, nothing_owed, own_units
from emeterai.purchase.returns_model import Action, Case, CaseKind, Proposal, Return

CASE_UNKNOWN = RefusalKind(
    "case_unknown",
    404,
    "Tidak ada perkara atau pengembalian ini; lihat daftarnya.",
    "There is no such case or return; look at the list.",
)
CASE_OWN = RefusalKind(
    "case_own",
    403,
    "Ini uang pesanan Anda sendiri; mintalah petugas lain mengurusnya.",
    "This is the money of your own order; ask another member of staff to see to it.",
)
PROPOSAL_UNKNOWN = RefusalKind(
    "proposal_unknown", 404, "Usulan ini tidak ada; lihat daftarnya.", "There is no such proposal; look at the list."
)
PROPOSAL_OWN = RefusalKind(
    "proposal_own",
    403,
    "Usulan sendiri tidak dapat diputuskan sendiri; mintalah petugas lain memutuskannya.",
    "Nobody decides a proposal of their own; ask another member of staff to decide it.",
)
PROPOSAL_WAITS = RefusalKind(
    "proposal_waits",
    409,
    "Sudah ada usulan yang menunggu keputusan untuk hal ini; putuskan itu dahulu.",
    "A proposal about this waits for its decision already; decide that one first.",
)
PROPOSAL_DECIDED = RefusalKind(
    "proposal_decided",
    409,
    "Usulan ini sudah diputuskan; muat ulang daftarnya.",
    "This proposal was decided already; load the list again.",
)
PROPOSAL_OVERTAKEN = RefusalKind(
    "proposal_overtaken",
    409,
    "Keadaannya sudah berubah sehingga usulan ini tidak dapat dijalankan lagi; lihat keadaannya sekarang.",
    "Things have changed so that this cannot be done any more; see how they are now.",
)
CREDIT_NOT_WHOLE = RefusalKind(
    "credit_not_whole",
    409,
    "Uang ini tidak tepat untuk sejumlah meterai, jadi hanya dapat dikembalikan.",
    "This money does not pay for a whole number of stamps, so it can only be returned.",
)
TAKE_BACK_TOO_MUCH = RefusalKind(
    "take_back_too_much",
    409,
    "Paling banyak {quantity_max} meterai dapat ditarik: sebanyak yang tersedia dan yang uangnya hilang.",
    "At most {quantity_max} stamps can be taken back: those available, and whose money is missing.",
)
CASE_WITHOUT_STAMPS = RefusalKind(
    "case_without_stamps",
    409,
    "Uang perkara ini tidak pernah menjadi kuota, jadi tidak ada meterai yang dapat ditarik; tutup perkaranya.",
    "The money of this case never became quota, so there are no stamps to take back; close the case.",
)
PROVIDER_SILENT = RefusalKind(
    "provider_silent",
    503,
    "Penyedia pembayaran tidak menjawab, jadi belum pasti uangnya belum kembali. Jangan transfer; coba lagi nanti.",
    "The payment provider does not answer, so the money may have gone back already. Do not transfer; try again later.",
)
_OF_CASES = frozenset({Action.TAKE_BACK, Action.CLOSE})
_FROM = {
    Action.CREDIT: ReturnState.UNDECIDED,
    Action.RETURN: ReturnState.UNDECIDED,
    Action.ASK_AGAIN: ReturnState.NEEDS_CARE,
    Action.PAID_OUT: ReturnState.NEEDS_CARE,
}


class Place(msgspec.Struct, frozen=True):
    """How far a list was read: the last return by its time and id, the last case; None is the beginning."""

    back: tuple[datetime, UUID] | None = None
    case: UUID | None = None


BEGINNING = Place()


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """What staff should look at, the longest waiting first, with its orders and the proposals about it.

    `following` is where the rest begins; None when this is all. `takeable` is how many stamps may be taken back now,
    for each case of money that was taken back.
    """

    returns: list[Return]
    cases: list[Case]
    orders: dict[UUID, Order]
    proposals: list[Proposal]
    takeable: dict[UUID, int]
    following: Place | None


class Cases:
    """The verbs of staff. The caller has seen to it that `by` may."""

    def __init__(
        self, db: Database, ledger: Ledger, providers: Providers, *, look_at: LookAt, owed: Owed = nothing_owed
    ) -> None:
        self._look_at = look_at
        self._owed = owed
        self._db = db
        self._ledger = ledger
        self._providers = providers

    async def waiting(self, after: Place = BEGINNING, *, limit: int = 100) -> Waiting:
        """What waits for people after a place, at most `limit` of returns and of cases."""
        more_returns = await returns_store.returns_in_care(self._db, after=after.back, limit=limit + 1)
        more_cases = await cases_store.open_cases(self._db, after=after.case, limit=limit + 1)
        returns, cases = more_returns[:limit], more_cases[:limit]
        following = None
        if len(more_returns) > limit or len(more_cases) > limit:
            last_return = (returns[-1].changed_at, returns[-1].id) if returns else after.back
            following = Place(last_return, cases[-1].id if cases else after.case)
        found: list[Return | Case] = [*returns, *cases]
        orders = {order.id: order for order in await store.orders_by_ids(self._db, [one.order_id for one in found])}
        proposals = await cases_store.proposals_about(self._db, [one.id for one in found])
        taken_back = [case for case in cases if case.kind is CaseKind.TAKEN_BACK]
        return Waiting(
            returns=returns,
            cases=cases,
            orders=orders,
            proposals=proposals,
            takeable={case.id: await self._takeable_now(case, orders[case.order_id]) for case in taken_back},
            following=following,
        )

    async def _takeable_now(self, case: Case, order: Order) -> int:
        """How many stamps may be taken back for a case at this moment; a decision counts again, under the lock."""
        balance = await self._ledger.balance(order.account_id)
        async with self._db.connection() as connection:
            stamps, missing_idr = await _stamps_and_loss(connection, case, order)
            own = await own_units(connection, order.account_id, balance, owed=self._owed)
        return 0 if stamps is None else min(own, stamps.units_within(missing_idr))

    async def record(self, subjects: Sequence[UUID]) -> list[Proposal]:
        """Every proposal about these returns and cases: who proposed and decided what, when and why."""
        return await cases_store.proposals_about(self._db, subjects)

    async def of_orders(self, order_ids: Sequence[UUID]) -> list[Case]:
        """The cases of some orders, closed ones too."""
        return await cases_store.cases_of(self._db, order_ids)

    async def propose(
        self, subject: UUID, action: Action, *, note: str, by: UUID, quantity: int | None = None
    ) -> Proposal:
        """Propose something about a return or a case; `note` says why, `quantity` how many stamps to take back.

        Raises `case_unknown`, `case_own`, `proposal_waits`, `proposal_overtaken`, `credit_not_whole`,
        `take_back_too_much` or `case_without_stamps`.
        """
        about_case = action in _OF_CASES
        async with self._db.transaction() as tx:
            back, case, order = await self._subject(tx, subject, is_case=about_case)
            _require_other(order, by)
            book = await self._ledger.open_book(tx, [order.account_id], opening=True)
            await _check(tx, action, back, case, order, book=book, quantity=quantity, owed=self._owed)
            proposal = await cases_store.insert_proposal(
                tx,
                return_id=back.id if back else None,
                case_id=case.id if case else None,
                action=action,
                quantity=quantity if action is Action.TAKE_BACK else None,
                note=note,
                by=by,
            )
        if proposal is None:
            raise PROPOSAL_WAITS()
        return proposal

    async def decide(self, proposal_id: UUID, *, by: UUID, approved: bool) -> Proposal:
        """Decide somebody else's proposal; approved, it is done in the same transaction.

        Raises `proposal_unknown`, `proposal_own`, `case_own`, `proposal_decided`, `provider_silent`, and what `propose`
        raises when things have changed since: then it is still undecided, and can be rejected.
        """
        proposal = await cases_store.proposal_by_id(self._db, proposal_id)
        if proposal is None:
            raise PROPOSAL_UNKNOWN()
        if proposal.proposed_by == by:
            raise PROPOSAL_OWN()
        if approved and proposal.action is Action.PAID_OUT:
            await self._look_at_provider(proposal)
        subject = proposal.return_id or proposal.case_id
        assert subject is not None
        async with self._db.transaction() as tx:
            back, case, order = await self._subject(tx, subject, is_case=proposal.case_id is not None)
            _require_other(order, by)
            book = await self._ledger.open_book(tx, [order.account_id], opening=True)
            if not await cases_store.write_decision(tx, proposal_id, by=by, approved=approved):
                raise PROPOSAL_DECIDED()
            if approved:
                # Read under the lock: what was decided is done to things as they are now.
                back, case, order = await self._subject(tx, subject, is_case=proposal.case_id is not None)
                await _check(
                    tx, proposal.action, back, case, order, book=book, quantity=proposal.quantity, owed=self._owed
                )
                await _do(tx, book, proposal, back=back, case=case, order=order)
            decided = await cases_store.proposal_by_id(tx, proposal_id)
            may_die_at("case.written")
        may_die_at("case.recorded")
        assert decided is not None
        return decided

    async def _look_at_provider(self, proposal: Proposal) -> None:
        """Before money is paid out by hand: has the provider not returned it after all, or taken it back?

        Raises `provider_silent`: silence is no answer. Raises `proposal_overtaken`; what the payer has otherwise is
        written, and noticed under the lock.
        """
        assert proposal.return_id is not None
        back = await returns_store.return_by_id(self._db, proposal.return_id)
        assert back is not None
        try:
            said = await self._providers.refund_status(back.order_id, back.payment, refund_key=str(back.id))
            await self._look_at(back.order_id, back.payment)
        except Refused as refused:
            if refused.kind is not PROVIDER_UNAVAILABLE:
                raise
            raise PROVIDER_SILENT(retry_after_s=RETRY_AFTER_S) from refused
        if said.state is RefundState.DONE:
            async with self._db.transaction() as tx:
                await steps.confirm(tx, await self._ledger.open_book(tx, [back.account_id]), back)
        if said.state in {RefundState.DONE, RefundState.PENDING}:
            raise PROPOSAL_OVERTAKEN()

    async def _subject(
        self, tx: Connection, subject: UUID, *, is_case: bool
    ) -> tuple[Return | None, Case | None, Order]:
        case = await cases_store.case_by_id(tx, subject) if is_case else None
        back = None if is_case else await returns_store.return_by_id(tx, subject)
        found = case or back
        if found is None:
            raise CASE_UNKNOWN()
        return back, case, await store.known_order(tx, found.order_id)


def _require_other(order: Order, by: UUID) -> None:
    """Raise `case_own` for the buyer, who has no say about the money of an order of his own."""
    if order.account_id == by:
        raise CASE_OWN()


async def _check(
    tx: Connection,
    action: Action,
    back: Return | None,
    case: Case | None,
    order: Order,
    *,
    book: OpenBook,
    quantity: int | None,
    owed: Owed,
) -> None:
    """Raise why this cannot be done as things are; stamps that are `owed` to agencies are not the buyer's."""
    if back is not None:
        needs_money = action in {Action.CREDIT, Action.ASK_AGAIN}
        if back.state is not _FROM[action] or (needs_money and back.amount_idr is None):
            raise PROPOSAL_OVERTAKEN()
        if action is Action.CREDIT and not units_for(back.amount_idr or 0, order.price, quantity=order.quantity):
            raise CREDIT_NOT_WHOLE()
        return
    assert case is not None
    if case.closed_at is not None or (action is Action.TAKE_BACK and case.kind is not CaseKind.TAKEN_BACK):
        raise PROPOSAL_OVERTAKEN()
    if action is Action.TAKE_BACK:
        stamps, missing_idr = await _stamps_and_loss(tx, case, order)
        if stamps is None or stamps.left <= 0:
            raise CASE_WITHOUT_STAMPS()
        own = await own_units(tx, order.account_id, book.balance(order.account_id), owed=owed)
        quantity_max = min(own, stamps.units_within(missing_idr))
        if quantity is None or not 1 <= quantity <= quantity_max:
            raise TAKE_BACK_TOO_MUCH(quantity_max=quantity_max)


async def _stamps_and_loss(tx: Connection, case: Case, order: Order) -> tuple[PaidStamps | None, int]:
    """The stamps that the money of a case became, None for none; and how much may be taken back for it, in rupiah.

    A loss may be told in parts, each a case: what was too little for a stamp when a case was closed counts with the
    cases after it, as if all of it had been told at once. What was enough, and was not taken, is decided.
    """
    payment = Source(case.provider, case.reference)
    every = await cases_store.cases_of(tx, [order.id])
    lost = [one for one in every if one.kind is CaseKind.TAKEN_BACK and Source(one.provider, one.reference) == payment]
    became = paid_stamps_of(order, await returns_store.returns_of(tx, [order.id]))
    stamps = next((stamps for stamps in became if stamps.payment == payment), None)
    if stamps is None:
        return None, case.amount_idr or 0
    prices, missing_idr = await cases_store.taken_prices(tx, lost), 0
    for one in sorted((it for it in lost if it.closed_at is not None), key=attrgetter("closed_at")):
        missing_idr += one.amount_idr or 0
        if one.id in prices:
            stamps = stamps.without(one.quantity or 0, prices[one.id])
            missing_idr -= prices[one.id].total_idr
        missing_idr = stamps.too_little_of(missing_idr)
    return stamps, missing_idr + (case.amount_idr or 0)


async def _do(
    tx: Connection, book: OpenBook, proposal: Proposal, *, back: Return | None, case: Case | None, order: Order
) -> None:
    """Do what two people want."""
    if case is not None:
        if proposal.action is Action.TAKE_BACK:
            assert proposal.quantity is not None
            stamps, _ = await _stamps_and_loss(tx, case, order)
            assert stamps is not None
            price = stamps.price_of(proposal.quantity)
            taken = postings.stamps_for_loss(case, price, account=order.account_id, quantity=proposal.quantity)
            await steps.post(book, taken, about=case.id)
        await cases_store.close_case(tx, case.id, quantity=proposal.quantity)
        return
    assert back is not None
    match proposal.action:
        case Action.CREDIT:
            is_done = await steps.credit(tx, book, back, order)
        case Action.PAID_OUT:
            is_done = await steps.confirm(tx, book, back, proof=proposal.note)
        case _:
            is_done = await steps.move(tx, back, ReturnMove.OWE)
    if not is_done:
        raise PROPOSAL_OVERTAKEN()
