"""People in a group, for the tests of groups: a service, an owner, and members who came by invitation."""

from __future__ import annotations

from dataclasses import dataclass

from emeterai.accounts.groups import Group, GroupRole, Groups, Limits
from emeterai.accounts.service import Accounts, Caller
from emeterai.infra.ids import new_id

PASSWORD = "kopi-hangat-di-teras"


@dataclass(frozen=True)
class Office:
    """A group with its owner."""

    accounts: Accounts
    groups: Groups
    owner: Caller
    group: Group

    async def join(
        self, *, role: GroupRole = GroupRole.MEMBER, limits: Limits | None = None, name: str = "Budi"
    ) -> Caller:
        """A new person who accepts an invitation of the owner."""
        person = await person_of(self.accounts, name)
        invitation = await self.groups.invite(
            self.owner, self.group.id, contact=None, role=role, limits=limits or Limits()
        )
        await self.groups.accept(person, invitation.code)
        return person


async def person_of(accounts: Accounts, name: str = "Siti Rahayu") -> Caller:
    """A new person, signed in."""
    email = f"{new_id().hex}@surat.example"
    account = await accounts.register(name=name, password=PASSWORD, email=email)
    return await accounts.identify((await accounts.open_session(account)).token)


async def office_of(accounts: Accounts, groups: Groups) -> Office:
    """A group whose owner is a new person."""
    owner = await person_of(accounts, "Ratna Dewi")
    return Office(accounts, groups, owner, await groups.found(owner, name="PT Maju Bersama"))
