"""Staff: which accounts may do the issuer's own work, granted and revoked on a record that stays.

Routes and pages of the office declare `dependencies={"caller": Provide(staff_of(Role.TREASURY))}`: whoever has not
signed in is treated as everywhere, whoever lacks the role hears `staff_only`. A program's key never is staff.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum
from typing import Protocol, cast
from uuid import UUID

import msgspec

from emeterai.accounts import staff_store, store
from emeterai.accounts.callers import AnyRequest, caller
from emeterai.accounts.details import clean_contact
from emeterai.accounts.service import Account, Caller, require_session
from emeterai.core.refusal import RefusalKind
from emeterai.infra.database import Database

STAFF_ONLY = RefusalKind(
    "staff_only",
    403,
    "Halaman ini hanya untuk petugas yang diberi peran {role}; mintalah peran itu kepada pengelola layanan.",
    "This is only for staff who were given the role {role}; ask whoever runs the service for that role.",
    words_id={"treasury": "perbendaharaan", "care": "layanan pengguna"},
)
ACCOUNT_UNKNOWN = RefusalKind(
    "account_unknown",
    404,
    "Tidak ada akun dengan surel atau nomor telepon ini; periksa penulisannya.",
    "No account has this e-mail address or phone number; check how it is written.",
)


class Role(StrEnum):
    """What a member of staff may do: approve money and stock, help people, or run the service."""

    TREASURY = "treasury"
    CARE = "care"
    OPERATOR = "operator"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A role that somebody has now, and who gave it when."""

    name: str
    contact: str
    role: Role
    granted_by: str
    granted_at: datetime


class HasStaff(Protocol):
    """What the handlers of the office find in the application's `state["services"]`."""

    staff: Staff


class Staff:
    """The verbs of staff. What they say holds at once, everywhere: nothing of it is remembered between requests."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def grant(self, contact: str, role: Role, *, by: str) -> Account:
        """Give the account with this e-mail address or phone number a role; having it already changes nothing.

        `by` says who decides. Raises `account_unknown` or a refusal of `details`.
        """
        return await self._change(contact, role, granting=True, by=by)

    async def revoke(self, contact: str, role: Role, *, by: str) -> Account:
        """Take a role away; not having it changes nothing. Raises as `grant` does."""
        return await self._change(contact, role, granting=False, by=by)

    async def roles_of(self, account_id: UUID) -> frozenset[Role]:
        """The roles of an account now; none for a person who is no staff."""
        return frozenset(Role(role) for role in await staff_store.roles_of(self._db, account_id))

    async def require(self, caller: Caller, role: Role) -> None:
        """Raise `staff_only` when the caller has not the role now, `session_needed` when a program calls."""
        require_session(caller)
        if role not in await self.roles_of(caller.actor):
            raise STAFF_ONLY(role=role.value)

    async def members(self) -> list[Member]:
        """Every role that somebody has now."""
        return [
            Member(
                name=row["name"],
                contact=row["email"] or row["phone"],
                role=Role(row["role"]),
                granted_by=row["done_by"],
                granted_at=row["done_at"],
            )
            for row in await staff_store.all_staff(self._db)
        ]

    async def _change(self, contact: str, role: Role, *, granting: bool, by: str) -> Account:
        found = await store.read_account_by_contact(self._db, clean_contact(contact))
        if found is None:
            raise ACCOUNT_UNKNOWN()
        account, _ = found
        async with self._db.transaction() as tx:
            await staff_store.lock_person(tx, account.id)
            has_it = role in await staff_store.roles_of(tx, account.id)
            if has_it != granting:
                change = "granted" if granting else "revoked"
                await staff_store.insert_change(tx, account.id, role.value, change=change, done_by=by)
        return account


def staff_of(role: Role) -> Callable[[AnyRequest], Awaitable[Caller]]:
    """The dependency of routes and pages that only staff with `role` may use: gives the caller."""

    async def staff_caller(request: AnyRequest) -> Caller:
        found = await caller(request)
        await cast("HasStaff", request.app.state["services"]).staff.require(found, role)
        return found

    return staff_caller
