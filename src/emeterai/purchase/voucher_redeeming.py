"""Redeeming: the units of an active voucher go from its batch to whoever brings its code, once.

State and units move in one transaction, under the locks of the batch and of the person (of a group: its founder's too).
"""

from __future__ import annotations

from datetime import UTC
from uuid import UUID

from emeterai.accounts.groups_buying import locks_of_buyer
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.voucher_code import VoucherMove, VoucherState, after_voucher_move
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger, OpenBook
from emeterai.purchase import voucher_store as store
from emeterai.purchase.units_received import VOUCHER_LIMIT_REACHED, CheckVoucher, any_voucher
from emeterai.purchase.voucher_model import Redemption, Voucher
from emeterai.web.formats import moment

VOUCHER_NOT_ACTIVE = RefusalKind(
    "voucher_not_active",
    409,
    "Voucer ini belum diaktifkan di kasir. Minta penjualnya mengaktifkan, lalu coba lagi; kodenya tetap sama.",
    "This voucher has not been activated at the till. Ask the seller to activate it, then try the same code again.",
)
VOUCHER_YOURS_ALREADY = RefusalKind(
    "voucher_yours_already",
    409,
    "Voucer ini sudah Anda tukarkan pada {at}; kuotanya sudah ada di akun Anda.",
    "You have redeemed this voucher already, at {at}; its quota is in your account.",
)
VOUCHER_REDEEMED = RefusalKind(
    "voucher_redeemed",
    409,
    "Voucer ini sudah ditukarkan pada {at} dengan akun lain. Periksa akun Anda yang lain, atau bawa voucernya ke "
    "penjual.",
    "This voucher was redeemed at {at} with another account. Look at your other accounts, or take it to the seller.",
)
VOUCHER_VOID = RefusalKind(
    "voucher_void",
    409,
    "Voucer ini sudah dibatalkan penjualnya dan tidak berlaku. Bawa ke tempat Anda membelinya untuk diganti.",
    "The seller has voided this voucher. Take it to where you bought it to have it replaced.",
)

NOT_REDEEMED = (VOUCHER_NOT_ACTIVE, VOUCHER_YOURS_ALREADY, VOUCHER_REDEEMED, VOUCHER_VOID, VOUCHER_LIMIT_REACHED)
"""What redeeming a voucher that was found may be refused with."""


async def redeem_voucher(
    db: Database,
    ledger: Ledger,
    found: Voucher,
    *,
    account_id: UUID,
    key: str | None,
    check: CheckVoucher = any_voucher,
) -> Redemption:
    """Redeem the voucher that was found: its units are the account's. The same key gives the same answer again.

    Raises `voucher_not_active`, `voucher_yours_already`, `voucher_redeemed`, `voucher_void`, what `check` raises for
    units that the account may not get now, and `idempotency_key_reused` for a key that redeemed another voucher.
    """
    async with db.transaction() as tx:
        book = await ledger.open_book(tx, [found.batch_id, *await locks_of_buyer(tx, account_id)], opening=True)
        now = await store.voucher_by_id(tx, found.id)
        assert now is not None
        earlier = await store.redeemed_with(tx, account_id, key) if key else None
        if earlier is not None:
            if earlier != now.id:
                raise IDEMPOTENCY_KEY_REUSED()
            return redemption_of(now)
        if after_voucher_move(now.state, VoucherMove.REDEEM) is None:
            raise _why_not(now, account_id)
        await check(tx, account_id, now.units)
        await pass_on(book, Reason.VOUCHER_REDEEMED, now.units, giver=now.batch_id, receiver=account_id, subject=now.id)
        redemption = await store.write_redeemed(tx, now, account_id=account_id, key=key)
        may_die_at("redeem.written")
    may_die_at("redeem.recorded")
    return redemption


async def pass_on(book: OpenBook, reason: Reason, units: int, *, giver: UUID, receiver: UUID, subject: UUID) -> None:
    """Post both sides of units that pass from one account to another. Raises the refusal of a giver without so many."""
    gives = Transfer(new_id(), Kind.GIVE, reason, units, account=giver, subject=subject)
    receives = Transfer(new_id(), Kind.RECEIVE, reason, units, account=receiver, subject=subject)
    for answer in await book.post([gives, receives]):
        if isinstance(answer, Refused):
            raise answer


def redemption_of(voucher: Voucher) -> Redemption:
    """What a redeemed voucher gave."""
    assert voucher.redeemed_at is not None
    return Redemption(id=voucher.id, units=voucher.units, redeemed_at=voucher.redeemed_at)


def _why_not(voucher: Voucher, account_id: UUID) -> Refused:
    """Why a voucher cannot be redeemed: each reason is another sentence, since another thing helps."""
    match voucher.state:
        case VoucherState.REDEEMED:
            assert voucher.redeemed_at is not None
            kind = VOUCHER_YOURS_ALREADY if voucher.redeemed_by == account_id else VOUCHER_REDEEMED
            at = voucher.redeemed_at
            return kind(at=moment(at), redeemed_at=at.astimezone(UTC).isoformat())
        case VoucherState.VOID:
            return VOUCHER_VOID()
        case _:
            return VOUCHER_NOT_ACTIVE()
