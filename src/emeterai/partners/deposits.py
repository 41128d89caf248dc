"""Deposits: duty paid into the treasury in advance becomes stock when two members of the staff have signed for it."""

from __future__ import annotations

import re
from datetime import date
from typing import Any
from uuid import UUID

from emeterai.core.ledger import Counter, Kind, Reason, Transfer
from emeterai.core.refusal import RefusalKind
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.partners import decision_store
from emeterai.partners.model import Decision, Deposit
from emeterai.partners.service import Partners
from emeterai.partners.signatures import checked_reason, is_repeated, require_other

__all__ = ["Decision", "Deposit", "Deposits"]

AMOUNT_IDR_MAX = 10_000_000_000_000
DEPOSITS_A_PAGE_MAX = 100
_NTPN = re.compile(r"[0-9A-Z]{16}")

NTPN_UNUSABLE = RefusalKind(
    "ntpn_unusable",
    422,
    "NTPN terdiri dari 16 huruf dan angka; salinlah dari bukti penerimaan negara.",
    "An NTPN has 16 letters and digits; copy it from the treasury's receipt.",
)
NTPN_USED = RefusalKind(
    "ntpn_used",
    409,
    "NTPN ini sudah tercatat pada setoran lain; satu pembayaran hanya menjadi stok satu kali.",
    "This NTPN is on record with another deposit; a payment becomes stock only once.",
)
DEPOSIT_NOT_WHOLE = RefusalKind(
    "deposit_not_whole",
    422,
    "Jumlah setoran harus kelipatan Rp{duty_idr} dan paling banyak Rp{amount_idr_max}; periksa bukti setornya.",
    "The amount must be a multiple of Rp{duty_idr} and at most Rp{amount_idr_max}; check the receipt.",
)
DEPOSIT_DATE_UNUSABLE = RefusalKind(
    "deposit_date_unusable",
    422,
    "Tanggal setor tidak boleh sesudah hari ini; periksa bukti setornya.",
    "The day of payment cannot be after today; check the receipt.",
)
DEPOSIT_UNKNOWN = RefusalKind(
    "deposit_unknown",
    404,
    "Setoran ini tidak dikenal; lihat daftar setoran.",
    "There is no such deposit; look at the list of deposits.",
)


class Deposits:
    """The verbs of deposits. `duty_idr` is the tax of one stamp now."""

    def __init__(self, db: Database, ledger: Ledger, partners: Partners, *, duty_idr: int) -> None:
        self._db = db
        self._ledger = ledger
        self._partners = partners
        self._duty_idr = duty_idr

    async def propose(
        self,
        partner_id: UUID,
        *,
        ntpn: str,
        amount_idr: int,
        paid_on: date,
        by: UUID,
        proof_sha256: bytes | None = None,
    ) -> Deposit:
        """Put a payment to the treasury on record, with its proof; it is no stock yet. The same again is the same one.

        Raises `partner_unknown`, `ntpn_unusable`, `ntpn_used`, `deposit_not_whole`, `deposit_date_unusable`,
        and `second_person_needed` for whoever acts for the partner.
        """
        number = "".join(ntpn.split()).upper()
        if not _NTPN.fullmatch(number):
            raise NTPN_UNUSABLE()
        if not 0 < amount_idr <= AMOUNT_IDR_MAX or amount_idr % self._duty_idr:
            raise DEPOSIT_NOT_WHOLE(duty_idr=self._duty_idr, amount_idr_max=AMOUNT_IDR_MAX)
        if paid_on > await self._db.fetchval("SELECT (now() AT TIME ZONE 'Asia/Jakarta')::date"):
            raise DEPOSIT_DATE_UNUSABLE()
        partner = await self._partners.get(partner_id)
        require_other(by, (partner.account_id,))
        values: dict[str, Any] = {
            "id": new_id(),
            "partner_id": partner.id,
            "ntpn": number,
            "amount_idr": amount_idr,
            "duty_idr": self._duty_idr,
            "quantity": amount_idr // self._duty_idr,
            "paid_on": paid_on,
            "proof_sha256": proof_sha256,
            "proposed_by": by,
            "money_transfer": new_id(),
            "stock_transfer": new_id(),
        }
        async with self._db.transaction() as tx:
            made = await decision_store.insert_deposit(tx, values)
        return made or await self._proposed_before(values)

    async def approve(self, deposit_id: UUID, *, by: UUID) -> Deposit:
        """Sign as the second person: in one moment the payment is posted and the stock credited, once.

        Raises `deposit_unknown`, `second_person_needed`, `decided_already`.
        """
        found = await self.get(deposit_id)
        partner = await self._partners.get(found.partner_id)
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, [partner.id], opening=True)
            deposit = await decision_store.deposit_by_id(tx, deposit_id) or found
            not_by = (deposit.proposed_by, partner.account_id)
            if not is_repeated(deposit.state, deposit.decided_by, wanted=Decision.APPROVED, by=by, not_by=not_by):
                await book.post_whole(_transfers(deposit), about=deposit.id)
                await decision_store.decide_deposit(tx, deposit_id, Decision.APPROVED, by=by)
            may_die_at("deposit.written")
        may_die_at("deposit.recorded")
        await self._partners.reserve_serials(partner.id)
        return await self.get(deposit_id)

    async def reject(self, deposit_id: UUID, reason: str, *, by: UUID) -> Deposit:
        """Say no as the second person, with a reason that the partner sees; the NTPN may then be recorded anew.

        Raises `deposit_unknown`, `reason_needed`, `second_person_needed`, `decided_already`.
        """
        text = checked_reason(reason)
        found = await self.get(deposit_id)
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [found.partner_id], opening=True)
            deposit = await decision_store.deposit_by_id(tx, deposit_id) or found
            if not is_repeated(
                deposit.state, deposit.decided_by, wanted=Decision.REJECTED, by=by, not_by=(deposit.proposed_by,)
            ):
                await decision_store.decide_deposit(tx, deposit_id, Decision.REJECTED, by=by, reason=text)
        return await self.get(deposit_id)

    async def get(self, deposit_id: UUID) -> Deposit:
        """One deposit. Raises `deposit_unknown`."""
        deposit = await decision_store.deposit_by_id(self._db, deposit_id)
        if deposit is None:
            raise DEPOSIT_UNKNOWN()
        return deposit

    async def of_partner(self, partner_id: UUID, *, before: UUID | None = None, limit: int = 20) -> list[Deposit]:
        """A partner's deposits, newest first, at most 100; `before` is the last one already seen."""
        limit = min(limit, DEPOSITS_A_PAGE_MAX + 1)
        return await decision_store.deposits_of(self._db, partner_id, before=before, limit=limit)

    async def awaiting(self, limit: int = DEPOSITS_A_PAGE_MAX) -> list[Deposit]:
        """Deposits that await a second person, oldest first."""
        return await decision_store.open_deposits(self._db, limit)

    async def _proposed_before(self, values: dict[str, Any]) -> Deposit:
        """The deposit that this proposal repeats, sent again by the same person. Raises `ntpn_used` otherwise."""
        deposit = await decision_store.deposit_by_ntpn(self._db, values["ntpn"])
        same = ("partner_id", "amount_idr", "paid_on", "proof_sha256", "proposed_by")
        if deposit is None or any(getattr(deposit, name) != values[name] for name in same):
            raise NTPN_USED()
        return deposit


def _transfers(deposit: Deposit) -> list[Transfer]:
    """The duty that the treasury received in advance, and the units that it pays for."""
    return [
        Transfer(
            deposit.money_transfer,
            Kind.MONEY,
            Reason.DEPOSIT_PAID,
            deposit.amount_idr,
            debit=Counter.TREASURY_DEPOSIT,
            credit=Counter.TREASURY_DUTY,
            subject=deposit.id,
        ),
        Transfer(
            deposit.stock_transfer,
            Kind.CREDIT,
            Reason.DEPOSIT,
            deposit.quantity,
            account=deposit.partner_id,
            subject=deposit.id,
        ),
    ]
