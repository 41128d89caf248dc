"""Groups: an organisation's account that its members act for, with roles, limits and a history of who did what.

Every change of members is made under the lock of the group's account, which is the lock under which its units are held:
so a limit that is lowered, or a member who is removed, counts for the very next stamp.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from emeterai.accounts import details
from emeterai.accounts import groups_store as store
from emeterai.accounts.groups_model import (
    Deed,
    DeedKind,
    Group,
    Invitation,
    Invited,
    Limits,
    Member,
    NewInvitation,
)
from emeterai.accounts.groups_spending import GROUP_NOT_YOURS
from emeterai.accounts.model import Caller, GroupRole
from emeterai.accounts.service import require_session
from emeterai.accounts.tokens import RecentCallers
from emeterai.core.refusal import RefusalKind
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger

__all__ = ["GROUP_NOT_YOURS", "Deed", "Group", "GroupRole", "Groups", "Invitation", "Invited", "Limits", "Member"]

GROUPS_MAX = 50
MEMBERS_MAX = 10_000
INVITATIONS_MAX = 500
INVITATION_LIFE_S = 7 * 86_400
_CODE_LENGTH_MAX = 100

GROUP_ROLE_NEEDED = RefusalKind(
    "group_role_needed",
    403,
    "Peran Anda di kelompok tidak mengizinkan langkah ini: pengelola mengurus anggota biasa, pemilik mengurus "
    "semuanya; mintalah kepada mereka, atau bertindaklah untuk diri sendiri.",
    "Your role in the group does not allow this: managers look after plain members, owners after everything; ask "
    "one of them, or act for yourself.",
)
GROUP_NEEDS_OWNER = RefusalKind(
    "group_needs_owner",
    409,
    "Kelompok harus punya pemilik. Jadikan anggota lain pemilik lebih dahulu.",
    "A group needs an owner. Make another member an owner first.",
)
GROUPS_TOO_MANY = RefusalKind(
    "groups_too_many",
    409,
    "Satu orang dapat ikut paling banyak {groups_max} kelompok; tinggalkan satu lebih dahulu.",
    "A person can be in {groups_max} groups at most; leave one first.",
)
GROUP_FULL = RefusalKind(
    "group_full",
    409,
    "Kelompok ini sudah penuh ({count_max}); keluarkan anggota atau tarik undangan yang tidak dipakai.",
    "This group is full ({count_max}); remove members or withdraw invitations that are not used.",
)
MEMBER_UNKNOWN = RefusalKind(
    "member_unknown",
    404,
    "Kelompok ini tidak punya anggota itu; lihat daftar anggotanya.",
    "The group has no such member; look at the list of its members.",
)
INVITATION_UNKNOWN = RefusalKind(
    "invitation_unknown",
    404,
    "Undangan ini tidak berlaku: sudah dipakai, ditarik, atau lewat tujuh hari. Mintalah undangan baru.",
    "This invitation does not hold: it was used or withdrawn, or is older than seven days. Ask for a new one.",
)
INVITATION_FOR_OTHER = RefusalKind(
    "invitation_for_other",
    403,
    "Undangan ini untuk pemilik surel atau nomor telepon lain; masuklah dengan akun itu.",
    "This invitation is for whoever has another e-mail address or phone number; sign in with that account.",
)


class Groups:
    """The verbs of groups. One per process."""

    def __init__(self, db: Database, ledger: Ledger) -> None:
        self._db = db
        self._ledger = ledger
        self._recent = RecentCallers()

    async def act(self, caller: Caller, group_id: UUID) -> Caller:
        """The caller acting for a group. Raises `group_not_yours`.

        One indexed query, or none when the same member acted for the same group in the last three seconds; whoever
        was removed meanwhile cannot spend, for that is decided where the unit is held.
        """
        if caller.acting is not None:
            if caller.account_id == group_id:
                return caller
            raise GROUP_NOT_YOURS()
        key = _recent_key(caller.account_id, group_id)
        known = self._recent.get(key, time.monotonic())
        acting = known.acting if known else await store.acting(self._db, caller.account_id, group_id)
        if acting is None:
            raise GROUP_NOT_YOURS()
        found = replace(caller, account_id=group_id, acting=acting)
        if known is None:
            self._recent.put(key, found, time.monotonic(), left_s=float("inf"))
        return found

    async def found(self, caller: Caller, *, name: str, timezone: str = "WIB") -> Group:
        """Make a group whose owner is the caller. Raises `groups_too_many` or a refusal of `details`."""
        require_session(caller)
        clean_name, zone, group_id = details.clean_name(name), details.clean_timezone(timezone), new_id()
        async with self._db.transaction() as tx:
            if await store.count_groups(tx, caller.actor) >= GROUPS_MAX:
                raise GROUPS_TOO_MANY(groups_max=GROUPS_MAX)
            await store.insert_group(tx, group_id, name=clean_name, timezone=zone.value, founder=caller.actor)
            await store.note(tx, group_id, caller.actor, DeedKind.FOUNDED)
        return await self.group(caller, group_id)

    async def mine(self, caller: Caller) -> list[Group]:
        """The groups of the person, by name; at most `GROUPS_MAX`, a few more after a race."""
        return await store.groups_of(self._db, caller.actor, limit=2 * GROUPS_MAX)

    async def group(self, caller: Caller, group_id: UUID) -> Group:
        """A group of the person. Raises `group_not_yours`, also for one that does not exist."""
        group = await store.group_of(self._db, caller.actor, group_id)
        if group is None:
            raise GROUP_NOT_YOURS()
        return group

    async def members(self, caller: Caller, group_id: UUID, *, after: UUID | None = None, limit: int) -> list[Member]:
        """Members by id: all for owners and managers, and for a member only himself. Raises `group_not_yours`."""
        group = await self.group(caller, group_id)
        if group.role.oversees:
            return await store.members(self._db, group_id, after=after, limit=limit)
        own = await store.member(self._db, group_id, caller.actor)
        return [own] if own is not None and after is None else []

    async def member(self, caller: Caller, group_id: UUID, account_id: UUID) -> Member:
        """One member, for owners, managers and himself. Raises `group_not_yours`, `member_unknown`."""
        group = await self.group(caller, group_id)
        found = await store.member(self._db, group_id, account_id)
        if found is None or not (group.role.oversees or account_id == caller.actor):
            raise MEMBER_UNKNOWN()
        return found

    async def history(
        self, caller: Caller, group_id: UUID, *, before: tuple[datetime, UUID] | None = None, limit: int
    ) -> list[Deed]:
        """Who did what, newest first: all of it for owners and managers, for a member what he did himself."""
        group = await self.group(caller, group_id)
        actor = None if group.role.oversees else caller.actor
        return await store.deeds(self._db, group_id, actor=actor, before=before, limit=limit)

    async def change(
        self, caller: Caller, group_id: UUID, account_id: UUID, *, role: GroupRole, limits: Limits
    ) -> Member:
        """Give a member a role and limits. A manager may do so for members; roles above are an owner's to give.

        Raises `group_not_yours`, `member_unknown`, `group_role_needed`, `group_needs_owner`.
        """
        require_session(caller)
        async with self._changing(caller, group_id) as (tx, mine):
            before = await self._other(tx, group_id, account_id)
            _require_above(mine, before.role, role)
            await store.write_member(tx, group_id, account_id, role=role, limits=limits)
            await _require_owner(tx, group_id)
            facts = {"role": role.value, **_facts(limits)}
            await store.note(tx, group_id, caller.actor, DeedKind.CHANGED, subject=account_id, facts=facts)
        self._recent.forget(_recent_key(account_id, group_id))
        return await self.member(caller, group_id, account_id)

    async def remove(self, caller: Caller, group_id: UUID, account_id: UUID) -> None:
        """End a membership, or one's own; what was made for the group stays the group's.

        Raises `group_not_yours`, `member_unknown`, `group_role_needed`, `group_needs_owner`.
        """
        require_session(caller)
        async with self._changing(caller, group_id) as (tx, mine):
            before = await self._other(tx, group_id, account_id)
            leaves = account_id == caller.actor
            if not leaves:
                _require_above(mine, before.role, before.role)
            await store.end_member(tx, group_id, account_id)
            await _require_owner(tx, group_id)
            kind = DeedKind.LEFT if leaves else DeedKind.REMOVED
            await store.note(tx, group_id, caller.actor, kind, subject=account_id, facts={"name": before.name})
        self._recent.forget(_recent_key(account_id, group_id))

    async def invite(
        self, caller: Caller, group_id: UUID, *, contact: str | None, role: GroupRole, limits: Limits
    ) -> NewInvitation:
        """Make an invitation that holds once and for seven days; its code is in the answer and nowhere else.

        With a contact it is for whoever has that e-mail address or phone number. Raises `group_not_yours`,
        `group_role_needed`, `group_full` or a refusal of `details`.
        """
        require_session(caller)
        clean_contact = details.clean_contact(contact) if contact and contact.strip() else None
        code, invitation_id = secrets.token_urlsafe(24), new_id()
        async with self._changing(caller, group_id) as (tx, mine):
            _require_above(mine, GroupRole.MEMBER, role)
            if len(await store.open_invitations(tx, group_id, limit=INVITATIONS_MAX)) >= INVITATIONS_MAX:
                raise GROUP_FULL(count_max=INVITATIONS_MAX)
            expires_at = await store.insert_invitation(
                tx,
                invitation_id,
                group_id,
                digest=_digest(code),
                contact=clean_contact,
                role=role,
                limits=limits,
                invited_by=caller.actor,
                life_s=INVITATION_LIFE_S,
            )
            shown = details.masked_contact(clean_contact) if clean_contact else None
            facts = {"role": role.value, "contact": shown, **_facts(limits)}
            await store.note(tx, group_id, caller.actor, DeedKind.INVITED, subject=invitation_id, facts=facts)
        return NewInvitation(
            id=invitation_id, contact=clean_contact, role=role, limits=limits, expires_at=expires_at, code=code
        )

    async def invitations(self, caller: Caller, group_id: UUID) -> list[Invitation]:
        """The open invitations, newest first. Raises `group_not_yours`, `group_role_needed`."""
        _require_overseer((await self.group(caller, group_id)).role)
        return await store.open_invitations(self._db, group_id, limit=INVITATIONS_MAX)

    async def withdraw(self, caller: Caller, group_id: UUID, invitation_id: UUID) -> None:
        """End an open invitation. Raises `group_not_yours`, `group_role_needed`, `invitation_unknown`."""
        require_session(caller)
        async with self._changing(caller, group_id) as (tx, mine):
            _require_overseer(mine)
            if not await store.end_invitation(tx, group_id, invitation_id, accepted_by=None):
                raise INVITATION_UNKNOWN()
            kind = DeedKind.INVITATION_WITHDRAWN
            await store.note(tx, group_id, caller.actor, kind, subject=invitation_id)

    async def invited(self, caller: Caller, code: str) -> Invited:
        """What an invitation offers the person. Raises `invitation_unknown`, `invitation_for_other`."""
        _, offer = await self._offer(self._db, caller, code)
        return offer

    async def accept(self, caller: Caller, code: str) -> Group:
        """Become a member by an invitation; sent twice it is once, as long as the person is a member.

        Raises `invitation_unknown`, `invitation_for_other`, `group_full`, `groups_too_many`.
        """
        require_session(caller)
        joined = await store.accepted(self._db, _digest(code[:_CODE_LENGTH_MAX]), caller.actor)
        if joined is not None:
            return await self.group(caller, joined)
        _, offer = await self._offer(self._db, caller, code)
        group_id = offer.group_id
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [group_id], opening=True)
            invitation_id, offer = await self._offer(tx, caller, code)
            if await store.member(tx, group_id, caller.actor) is None:
                await self._require_room(tx, group_id, caller)
                await store.write_member(tx, group_id, caller.actor, role=offer.role, limits=offer.limits)
                facts = {"role": offer.role.value}
                await store.note(tx, group_id, caller.actor, DeedKind.JOINED, subject=invitation_id, facts=facts)
                await store.end_invitation(tx, group_id, invitation_id, accepted_by=caller.actor)
        return await self.group(caller, group_id)

    @asynccontextmanager
    async def _changing(self, caller: Caller, group_id: UUID) -> AsyncIterator[tuple[Connection, GroupRole]]:
        """A transaction that holds the lock of the group's account, and the caller's role in it under that lock."""
        await self.group(caller, group_id)
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [group_id], opening=True)
            group = await store.group_of(tx, caller.actor, group_id)
            if group is None:
                raise GROUP_NOT_YOURS()
            yield tx, group.role

    async def _other(self, tx: Connection, group_id: UUID, account_id: UUID) -> Member:
        found = await store.member(tx, group_id, account_id)
        if found is None:
            raise MEMBER_UNKNOWN()
        return found

    async def _offer(self, db: Connection | Database, caller: Caller, code: str) -> tuple[UUID, Invited]:
        found = await store.invited(db, _digest(code[:_CODE_LENGTH_MAX]))
        if found is None:
            raise INVITATION_UNKNOWN()
        contact = found[1].contact
        if contact is not None and contact not in await store.contacts_of(db, caller.actor):
            raise INVITATION_FOR_OTHER()
        return found

    async def _require_room(self, tx: Connection, group_id: UUID, caller: Caller) -> None:
        if (await store.count_members(tx, group_id))[0] >= MEMBERS_MAX:
            raise GROUP_FULL(count_max=MEMBERS_MAX)
        if await store.count_groups(tx, caller.actor) >= GROUPS_MAX:
            raise GROUPS_TOO_MANY(groups_max=GROUPS_MAX)


def require_overseer(caller: Caller) -> None:
    """Raise `group_role_needed` for a plain member who acts for a group; everybody else passes."""
    if caller.acting is not None:
        _require_overseer(caller.acting.role)


def _require_overseer(role: GroupRole) -> None:
    if not role.oversees:
        raise GROUP_ROLE_NEEDED(role=GroupRole.MANAGER.value)


def _require_above(mine: GroupRole, before: GroupRole, after: GroupRole) -> None:
    """A manager decides about members, an owner about everybody."""
    _require_overseer(mine)
    if mine is not GroupRole.OWNER and {before, after} != {GroupRole.MEMBER}:
        raise GROUP_ROLE_NEEDED(role=GroupRole.OWNER.value)


async def _require_owner(tx: Connection, group_id: UUID) -> None:
    if (await store.count_members(tx, group_id))[1] == 0:
        raise GROUP_NEEDS_OWNER()


def _facts(limits: Limits) -> dict[str, str | int | None]:
    return {"a_day": limits.units_a_day, "a_month": limits.units_a_month, "in_all": limits.units_in_all}


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).digest()


def _recent_key(account_id: UUID, group_id: UUID) -> bytes:
    return account_id.bytes + group_id.bytes
