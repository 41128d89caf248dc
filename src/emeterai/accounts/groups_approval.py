"""Approving groups: staff look at who stands behind one, and from then on it buys as an organisation.

What is said holds for the very next order, and every word of it stays on record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from emeterai.accounts import groups_approval_store as store
from emeterai.accounts import groups_store
from emeterai.accounts.details import has_unprintable
from emeterai.accounts.groups_model import Approval, GroupInOffice
from emeterai.core.refusal import RefusalKind
from emeterai.infra.database import Connection, Database
from emeterai.ledger.service import Ledger

__all__ = ["Approval", "GroupApprovals", "GroupInOffice"]

NOTE_LENGTH_MAX = 500
GROUPS_A_PAGE_MAX = 100
_CHANGES_SHOWN = 50

GROUP_UNKNOWN = RefusalKind(
    "group_unknown",
    404,
    "Tidak ada kelompok dengan nomor ini; lihat daftar kelompok.",
    "There is no group with this id; look at the list of groups.",
)
APPROVAL_NOTE_NEEDED = RefusalKind(
    "approval_note_needed",
    422,
    "Tuliskan apa yang diperiksa atau sebabnya, paling panjang {length_max} karakter; catatan ini disimpan.",
    "Write what was checked, or why, in at most {length_max} characters; this note stays on record.",
)
APPROVAL_OF_OWN_GROUP = RefusalKind(
    "approval_of_own_group",
    403,
    "Anda anggota kelompok ini; mintalah petugas lain yang memutuskan.",
    "You are a member of this group; ask another member of the staff to decide.",
)

Enrol = Callable[[Connection, UUID, bool], Awaitable[None]]
"""What else happens in the transaction in which a group is approved (True), or its approval is withdrawn."""


class GroupApprovals:
    """The verbs of staff about groups. One per process; `enrol` is what the application adds to a decision."""

    def __init__(self, db: Database, ledger: Ledger, *, enrol: Enrol) -> None:
        self._db = db
        self._ledger = ledger
        self._enrol = enrol

    async def approve(self, group_id: UUID, note: str, *, by: str, staff_id: UUID | None = None) -> GroupInOffice:
        """Let a group buy as an organisation, make vouchers and programmes of grants; approved already changes nothing.

        `by` says who decides, `staff_id` is that person's account where there is one. Raises `group_unknown`,
        `approval_note_needed`, `approval_of_own_group`.
        """
        return await self._decide(group_id, note, approved=True, by=by, staff_id=staff_id)

    async def withdraw(self, group_id: UUID, note: str, *, by: str, staff_id: UUID | None = None) -> GroupInOffice:
        """Take an approval back; not approved changes nothing. Raises as `approve` does."""
        return await self._decide(group_id, note, approved=False, by=by, staff_id=staff_id)

    async def group(self, group_id: UUID) -> GroupInOffice:
        """One group. Raises `group_unknown`."""
        found = await store.one(self._db, group_id)
        if found is None:
            raise GROUP_UNKNOWN()
        return found

    async def listed(self, *, approved: bool, before: UUID | None = None, limit: int = 50) -> list[GroupInOffice]:
        """The groups that are approved, or those that are not, newest first, at most 100."""
        return await store.many(self._db, approved=approved, before=before, limit=min(limit, GROUPS_A_PAGE_MAX + 1))

    async def changes_of(self, group_id: UUID) -> list[Approval]:
        """Who decided what about a group and why, newest first, at most 50."""
        return await store.changes_of(self._db, group_id, limit=_CHANGES_SHOWN)

    async def _decide(
        self, group_id: UUID, note: str, *, approved: bool, by: str, staff_id: UUID | None
    ) -> GroupInOffice:
        tidy = " ".join(note.split())
        if not 1 <= len(tidy) <= NOTE_LENGTH_MAX or has_unprintable(tidy):
            raise APPROVAL_NOTE_NEEDED(length_max=NOTE_LENGTH_MAX)
        await self.group(group_id)
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [group_id], opening=True)
            if staff_id is not None and await groups_store.member(tx, group_id, staff_id) is not None:
                raise APPROVAL_OF_OWN_GROUP()
            if await store.is_approved(tx, group_id) is not approved:
                await store.write_approved(tx, group_id, approved=approved)
                change = "approved" if approved else "withdrawn"
                await store.insert_change(tx, group_id, change=change, note=tidy, done_by=by)
                await self._enrol(tx, group_id, approved)
        return await self.group(group_id)
