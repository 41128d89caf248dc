"""Moves of stock: the issuer takes units from one partner and gives them to another, with two signatures."""

from __future__ import annotations

from uuid import UUID

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import RefusalKind
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.partners import decision_store
from emeterai.partners.model import Decision, Move
from emeterai.partners.service import Partners
from emeterai.partners.signatures import checked_reason, is_repeated, require_other

__all__ = ["Move", "Moves"]

MOVES_A_PAGE_MAX = 100
QUANTITY_MAX = 1_000_000_000

MOVE_UNUSABLE = RefusalKind(
    "move_unusable",
    422,
    "Pilih dua mitra yang berbeda dan jumlah 1 sampai {quantity_max}; perbaiki lalu usulkan lagi.",
    "Choose two different partners and 1 to {quantity_max} stamps; put it right and propose it again.",
)
MOVE_UNKNOWN = RefusalKind(
    "move_unknown",
    404,
    "Pemindahan stok ini tidak dikenal; lihat daftarnya di halaman perbendaharaan.",
    "There is no such move of stock; look at the list on the treasury's page.",
)
STOCK_NOT_ENOUGH = RefusalKind(
    "stock_not_enough",
    409,
    "Stok mitra pemberi tinggal {available}, perlu {needed}. Tolak usulan ini, atau tunggu sampai stoknya bertambah.",
    "The giving partner has {available} left, {needed} are needed. Reject this, or wait until there is more.",
)


class Moves:
    """The verbs of moving stock."""

    def __init__(self, db: Database, ledger: Ledger, partners: Partners) -> None:
        self._db = db
        self._ledger = ledger
        self._partners = partners

    async def propose(
        self, move_id: UUID, *, giver_id: UUID, receiver_id: UUID, quantity: int, why: str, by: UUID
    ) -> Move:
        """Propose to move stock; nothing moves yet. `move_id` is the caller's: sent again it is the same one.

        Raises `move_unusable`, `partner_unknown`, `reason_needed`, `idempotency_key_reused`, and `second_person_needed`
        for whoever acts for one of the two.
        """
        if giver_id == receiver_id or not 1 <= quantity <= QUANTITY_MAX:
            raise MOVE_UNUSABLE(quantity_max=QUANTITY_MAX)
        giver, receiver = await self._partners.get(giver_id), await self._partners.get(receiver_id)
        require_other(by, (giver.account_id, receiver.account_id))
        values = {
            "id": move_id,
            "giver_id": giver.id,
            "receiver_id": receiver.id,
            "quantity": quantity,
            "why": checked_reason(why),
            "proposed_by": by,
            "give_transfer": new_id(),
            "receive_transfer": new_id(),
        }
        async with self._db.transaction() as tx:
            made = await decision_store.insert_move(tx, values)
        if made is not None:
            return made
        move = await self.get(move_id)
        same = ("giver_id", "receiver_id", "quantity", "why", "proposed_by")
        if any(getattr(move, name) != values[name] for name in same):
            raise IDEMPOTENCY_KEY_REUSED()
        return move

    async def approve(self, move_id: UUID, *, by: UUID) -> Move:
        """Sign as the second person: the units leave one stock and are in the other, once, in one moment.

        Raises `move_unknown`, `second_person_needed`, `decided_already`, and `stock_not_enough`, after which it still
        awaits a decision.
        """
        found = await self.get(move_id)
        partners = [await self._partners.get(it) for it in (found.giver_id, found.receiver_id)]
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, [partner.id for partner in partners], opening=True)
            move = await decision_store.move_by_id(tx, move_id) or found
            not_by = (move.proposed_by, *(partner.account_id for partner in partners))
            if not is_repeated(move.state, move.decided_by, wanted=Decision.APPROVED, by=by, not_by=not_by):
                available = book.balance(move.giver_id).available
                if available < move.quantity:
                    raise STOCK_NOT_ENOUGH(available=available, needed=move.quantity)
                await book.post_whole(_transfers(move), about=move.id)
                await decision_store.decide_move(tx, move_id, Decision.APPROVED, by=by)
            may_die_at("move.written")
        may_die_at("move.recorded")
        await self._partners.reserve_serials(found.receiver_id)
        return await self.get(move_id)

    async def reject(self, move_id: UUID, reason: str, *, by: UUID) -> Move:
        """Say no as the second person.

        Raises `move_unknown`, `reason_needed`, `second_person_needed`, `decided_already`.
        """
        text = checked_reason(reason)
        found = await self.get(move_id)
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [found.giver_id, found.receiver_id], opening=True)
            move = await decision_store.move_by_id(tx, move_id) or found
            if not is_repeated(
                move.state, move.decided_by, wanted=Decision.REJECTED, by=by, not_by=(move.proposed_by,)
            ):
                await decision_store.decide_move(tx, move_id, Decision.REJECTED, by=by, reason=text)
        return await self.get(move_id)

    async def get(self, move_id: UUID) -> Move:
        """One move. Raises `move_unknown`."""
        move = await decision_store.move_by_id(self._db, move_id)
        if move is None:
            raise MOVE_UNKNOWN()
        return move

    async def of_partner(self, partner_id: UUID, *, limit: int = 20) -> list[Move]:
        """The moves of a partner's stock in either direction, newest first, at most 100."""
        return await decision_store.moves_of(self._db, partner_id, limit=min(limit, MOVES_A_PAGE_MAX))

    async def awaiting(self, limit: int = MOVES_A_PAGE_MAX) -> list[Move]:
        """Moves that await a second person, oldest first."""
        return await decision_store.open_moves(self._db, limit)


def _transfers(move: Move) -> list[Transfer]:
    """What one stock gives and the other receives, of one subject and sum."""
    reason, amount, subject = Reason.STOCK_MOVED, move.quantity, move.id
    return [
        Transfer(move.give_transfer, Kind.GIVE, reason, amount, account=move.giver_id, subject=subject),
        Transfer(move.receive_transfer, Kind.RECEIVE, reason, amount, account=move.receiver_id, subject=subject),
    ]
