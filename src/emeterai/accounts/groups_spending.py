"""What members spend of a group's quota: decided where units leave it, under the lock of the group's account.

Stamping calls these in its own transactions, and only for stamps that a member asks for; whoever passes a group's quota
on to others calls `require_passing_on` in his.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from emeterai.accounts import groups_spending_store as store
from emeterai.accounts.groups_model import Allowance, Limits, Spending
from emeterai.accounts.model import Caller
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.database import Connection
from emeterai.ledger.service import OpenBook

__all__ = [
    "GROUP_NOT_YOURS",
    "LIMIT_REACHED",
    "PASSING_ON",
    "PASSING_ON_LIMITED",
    "Spending",
    "limit_spending",
    "note_spending",
    "require_passing_on",
    "return_spending",
]

GROUP_NOT_YOURS = RefusalKind(
    "group_not_yours",
    403,
    "Anda bukan anggota kelompok ini. Kembali ke akun sendiri, atau minta pengelola kelompok mengundang Anda.",
    "You are not a member of this group. Go back to your own account, or ask its managers to invite you.",
)
LIMIT_REACHED = RefusalKind(
    "member_limit_reached",
    403,
    "Batas Anda di kelompok ini ({limit} meterai) sudah habis; lihat batas per hari, per bulan, dan seluruhnya di "
    "halaman kelompok, atau minta pengelola kelompok menaikkannya.",
    "Your limit in this group ({limit} stamps) is used up; see your limits a day, a month and in all on the group's "
    "page, or ask the group's managers to raise it.",
)
PASSING_ON_LIMITED = RefusalKind(
    "passing_on_limited",
    403,
    "Peran atau batas Anda di kelompok ini tidak mengizinkan kuota dialihkan kepada orang lain; minta pemilik kelompok "
    "melakukannya.",
    "Your role or your limits in this group do not let you pass quota on to others; ask one of its owners to do it.",
)
PASSING_ON = (GROUP_NOT_YOURS, PASSING_ON_LIMITED)
"""What `require_passing_on` raises."""


async def require_passing_on(tx: Connection, caller: Caller) -> None:
    """Pass whoever may give a group's quota to others now: he oversees it, and no limit holds for him.

    Limits count stamps, and what is given away is none. `tx` holds the lock of the group's account; a person's own
    quota is not asked about. Raises `group_not_yours`, `passing_on_limited`.
    """
    if caller.acting is None:
        return
    seat = await store.seat(tx, caller.account_id, caller.actor)
    if seat is None:
        raise GROUP_NOT_YOURS()
    role, limits = seat
    if not role.oversees or limits != Limits():
        raise PASSING_ON_LIMITED()


async def limit_spending(tx: Connection, book: OpenBook, asked: Sequence[Spending]) -> dict[UUID, Refused]:
    """Those of the units that are refused, by stamp, decided in order; `book` has the groups' accounts.

    What a group has no unit for is left to the ledger to refuse, and takes nothing of its member's limits.
    """
    allowances = await store.allowances(tx, asked)
    left = {one.group_id: book.balance(one.group_id).available for one in asked}
    refused = {}
    for one in asked:
        allowance = allowances.get((one.group_id, one.member_id))
        no = _refusal(allowance)
        if no is not None:
            refused[one.stamp_id] = no
        elif allowance is not None and left[one.group_id] > 0:
            left[one.group_id] -= 1
            _count(allowance)
    return refused


async def note_spending(tx: Connection, spent: Sequence[Spending]) -> None:
    """Count units that were held in this transaction, and write who asked for each into the group's history."""
    if spent:
        await store.add_spent(tx, spent)


async def return_spending(tx: Connection, given_back: Sequence[tuple[Spending, datetime]]) -> None:
    """Units went back, of the moments at which they were held: the limits have room for them again."""
    if given_back:
        await store.subtract_spent(tx, given_back)


def _refusal(allowance: Allowance | None) -> Refused | None:
    """Why the next unit may not be spent; None when it may."""
    if allowance is None:
        return GROUP_NOT_YOURS()
    limits = allowance.limits
    for limit, spent, period in (
        (limits.units_a_day, allowance.today, "day"),
        (limits.units_a_month, allowance.this_month, "month"),
        (limits.units_in_all, allowance.in_all, "all"),
    ):
        if limit is not None and spent >= limit:
            return LIMIT_REACHED(limit=limit, period=period)
    return None


def _count(allowance: Allowance) -> None:
    """A unit is spent: it counts for those that come after."""
    allowance.today += 1
    allowance.this_month += 1
    allowance.in_all += 1
