"""Groups: who may do what, what an invitation opens, and that every change is on record."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest
from group_people import Office, office_of, person_of

from emeterai.accounts.groups import (
    GROUP_NEEDS_OWNER,
    GROUP_NOT_YOURS,
    GROUP_ROLE_NEEDED,
    INVITATION_FOR_OTHER,
    INVITATION_UNKNOWN,
    MEMBER_UNKNOWN,
    GroupRole,
    Groups,
    Limits,
)
from emeterai.accounts.groups_spending import LIMIT_REACHED
from emeterai.accounts.service import SESSION_NEEDED, SIGN_IN_NEEDED, Accounts, Caller
from emeterai.accounts.staff import Role, Staff
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger


@pytest.fixture
def groups(db: Database) -> Groups:
    """The service on this test's database."""
    return Groups(db, Ledger(db))


@pytest.fixture
async def office(accounts: Accounts, groups: Groups) -> Office:
    """A group and its owner."""
    return await office_of(accounts, groups)


async def refuses(kind: RefusalKind, work: object) -> None:
    """The work is refused with this kind."""
    with pytest.raises(Refused) as refused:
        await work  # type: ignore[misc]
    assert kind is refused.value.kind


async def test_the_founder_owns_the_group_and_acts_for_it(office: Office) -> None:
    """The caller then has the group's account, and remains himself as the actor."""
    acting = await office.groups.act(office.owner, office.group.id)
    assert (office.group.id, office.owner.account_id) == (acting.account_id, acting.actor)
    assert acting.acting is not None
    assert (GroupRole.OWNER, "PT Maju Bersama") == (acting.acting.role, acting.acting.group_name)
    assert (acting.actor, None) == (acting.made_by, acting.only_by)


async def test_a_member_sees_only_what_is_his_own(office: Office) -> None:
    """A plain member's caller says so, and lists of members and deeds hold only himself."""
    budi = await office.join()
    acting = await office.groups.act(budi, office.group.id)
    assert budi.account_id == acting.only_by
    assert [budi.account_id] == [it.account_id for it in await office.groups.members(budi, office.group.id, limit=9)]
    assert ["joined"] == [it.kind for it in await office.groups.history(budi, office.group.id, limit=9)]
    await refuses(MEMBER_UNKNOWN, office.groups.member(budi, office.group.id, office.owner.account_id))
    await refuses(GROUP_ROLE_NEEDED, office.groups.invitations(budi, office.group.id))


async def test_a_stranger_knows_nothing_of_a_group(office: Office) -> None:
    """Also when the group does not exist at all: the same refusal."""
    stranger = await person_of(office.accounts)
    for group_id in (office.group.id, new_id()):
        await refuses(GROUP_NOT_YOURS, office.groups.act(stranger, group_id))
        await refuses(GROUP_NOT_YOURS, office.groups.group(stranger, group_id))
        await refuses(GROUP_NOT_YOURS, office.groups.history(stranger, group_id, limit=9))
        await refuses(GROUP_NOT_YOURS, office.groups.remove(stranger, group_id, office.owner.account_id))


async def test_an_invitation_holds_once(office: Office) -> None:
    """Whoever accepts it twice is a member once; anybody else, and he once he has left, finds it used up."""
    invitation = await office.groups.invite(
        office.owner, office.group.id, contact=None, role=GroupRole.MEMBER, limits=Limits(units_a_day=2)
    )
    budi, tono = [await person_of(office.accounts) for _ in range(2)]
    assert "PT Maju Bersama" == (await office.groups.invited(budi, invitation.code)).group_name
    await office.groups.accept(budi, invitation.code)
    assert office.group.id == (await office.groups.accept(budi, invitation.code)).id
    await refuses(INVITATION_UNKNOWN, office.groups.accept(tono, invitation.code))
    assert Limits(units_a_day=2) == (await office.groups.member(budi, office.group.id, budi.account_id)).limits
    joined = [it for it in await office.groups.history(office.owner, office.group.id, limit=9) if it.kind == "joined"]
    assert 1 == len(joined)
    await office.groups.remove(office.owner, office.group.id, budi.account_id)
    await refuses(INVITATION_UNKNOWN, office.groups.accept(budi, invitation.code))


async def test_an_invitation_to_a_contact_is_for_its_holder_alone(office: Office) -> None:
    """A link that is passed on opens nothing for anybody else."""
    budi, tono = [await person_of(office.accounts) for _ in range(2)]
    contact = (await office.accounts.account(budi.account_id)).email
    invitation = await office.groups.invite(
        office.owner, office.group.id, contact=contact, role=GroupRole.MEMBER, limits=Limits()
    )
    await refuses(INVITATION_FOR_OTHER, office.groups.accept(tono, invitation.code))
    assert office.group.id == (await office.groups.accept(budi, invitation.code)).id


async def test_an_invitation_that_is_withdrawn_or_old_opens_nothing(office: Office, db: Database) -> None:
    """Neither does a code that nobody gave out."""
    made = [
        await office.groups.invite(office.owner, office.group.id, contact=None, role=GroupRole.MEMBER, limits=Limits())
        for _ in range(2)
    ]
    await office.groups.withdraw(office.owner, office.group.id, made[0].id)
    async with db.transaction() as tx:
        await tx.execute("UPDATE accounts.invitations SET expires_at = now() WHERE id = $1", made[1].id)
    budi = await person_of(office.accounts)
    for code in (made[0].code, made[1].code, "tebakan", "\ud800", "x" * 5000):
        await refuses(INVITATION_UNKNOWN, office.groups.accept(budi, code))
    assert [] == await office.groups.invitations(office.owner, office.group.id)


@pytest.mark.parametrize("how", ["accept", "withdraw", "expire"])
@pytest.mark.parametrize("contact", ["email", "phone"])
async def test_a_contact_is_forgotten_with_its_invitation(office: Office, db: Database, how: str, contact: str) -> None:
    """Open, it is the group's to see; ended in any way, it is nowhere, and the history has had it masked throughout."""
    budi = await person_of(office.accounts)
    typed = "+6281234567890" if contact == "phone" else (await office.accounts.account(budi.account_id)).email or ""
    if contact == "phone":
        await write(db, "UPDATE accounts.accounts SET phone = $2 WHERE id = $1", budi.account_id, typed)
    made = await office.groups.invite(
        office.owner, office.group.id, contact=typed, role=GroupRole.MEMBER, limits=Limits()
    )
    assert [typed] == [it.contact for it in await office.groups.invitations(office.owner, office.group.id)]
    if how == "accept":
        await office.groups.accept(budi, made.code)
    elif how == "withdraw":
        await office.groups.withdraw(office.owner, office.group.id, made.id)
    else:
        await write(db, "UPDATE accounts.invitations SET expires_at = now() WHERE id = $1", made.id)
        assert 1 == await office.accounts.sweep()
    kept = await db.fetchval("SELECT row_to_json(invitations)::text FROM accounts.invitations WHERE id = $1", made.id)
    told = await db.fetchval("SELECT string_agg(facts::text, ' ') FROM accounts.deeds")
    assert typed not in kept + told
    assert ("+62***90" if contact == "phone" else f"{typed[0]}***@surat.example") in told


async def test_the_database_keeps_no_contact_of_an_ended_invitation(office: Office, db: Database) -> None:
    """Whatever the code above believes."""
    made = await office.groups.invite(
        office.owner, office.group.id, contact="siti@surat.example", role=GroupRole.MEMBER, limits=Limits()
    )
    with pytest.raises(asyncpg.CheckViolationError):
        await write(db, "UPDATE accounts.invitations SET ended_at = now() WHERE id = $1", made.id)


async def test_refusals_speak_one_language_in_each_sentence(office: Office) -> None:
    """No English word in an Indonesian sentence, and none the other way round."""
    budi = await office.join()
    with pytest.raises(Refused) as refused:
        await office.groups.invitations(budi, office.group.id)
    with pytest.raises(Refused) as of_staff:
        await Staff(office.accounts._db).require(budi, Role.TREASURY)
    for one in (refused.value, of_staff.value, LIMIT_REACHED(limit=3, period="day")):
        assert not set(re.findall(r"\w+", one.id.lower())) & {"owners", "managers", "treasury", "day", "a", "the"}
        assert not set(re.findall(r"\w+", one.en.lower())) & {"pemilik", "pengelola", "perbendaharaan", "hari"}
    assert "peran perbendaharaan;" in of_staff.value.id
    assert {"role": "treasury"} == dict(of_staff.value.facts)


async def write(db: Database, statement: str, *arguments: object) -> None:
    """Change the database behind everybody's back."""
    async with db.transaction() as tx:
        await tx.execute(statement, *arguments)


async def test_a_manager_decides_about_members_and_nobody_above(office: Office) -> None:
    """He invites and limits members; who is manager or owner is for owners to say."""
    manager, budi = await office.join(role=GroupRole.MANAGER), await office.join()
    change, group_id = office.groups.change, office.group.id
    await change(manager, group_id, budi.account_id, role=GroupRole.MEMBER, limits=Limits(units_in_all=5))
    for role, who in (
        (GroupRole.MANAGER, budi.account_id),
        (GroupRole.MEMBER, office.owner.account_id),
        (GroupRole.MEMBER, manager.account_id),
    ):
        await refuses(GROUP_ROLE_NEEDED, change(manager, group_id, who, role=role, limits=Limits()))
    await refuses(GROUP_ROLE_NEEDED, office.groups.remove(manager, group_id, office.owner.account_id))
    await refuses(
        GROUP_ROLE_NEEDED,
        office.groups.invite(manager, group_id, contact=None, role=GroupRole.MANAGER, limits=Limits()),
    )
    await refuses(GROUP_ROLE_NEEDED, change(budi, group_id, budi.account_id, role=GroupRole.MEMBER, limits=Limits()))
    await office.groups.remove(manager, group_id, budi.account_id)


async def test_a_group_keeps_an_owner(office: Office) -> None:
    """The last one can neither leave nor step down; after another has become one, he can."""
    change, group_id, me = office.groups.change, office.group.id, office.owner.account_id
    budi = await office.join()
    await refuses(GROUP_NEEDS_OWNER, office.groups.remove(office.owner, group_id, me))
    await refuses(GROUP_NEEDS_OWNER, change(office.owner, group_id, me, role=GroupRole.MANAGER, limits=Limits()))
    await change(office.owner, group_id, budi.account_id, role=GroupRole.OWNER, limits=Limits())
    await office.groups.remove(office.owner, group_id, me)
    await refuses(GROUP_NOT_YOURS, office.groups.group(office.owner, group_id))


async def test_whoever_is_removed_acts_no_more(office: Office) -> None:
    """At once in this process, although he acted a moment ago."""
    budi = await office.join()
    await office.groups.act(budi, office.group.id)
    await office.groups.remove(office.owner, office.group.id, budi.account_id)
    await refuses(GROUP_NOT_YOURS, office.groups.act(budi, office.group.id))


async def test_a_key_made_while_acting_is_bound_to_the_group(office: Office) -> None:
    """Its caller is the member for the group; it acts for no other, and stops with the membership."""
    budi = await office.join()
    acting = await office.groups.act(budi, office.group.id)
    key = await office.accounts.create_api_key(acting, "Mesin stempel")
    found = await office.accounts.identify(key.token)
    assert replace(acting, via="api_key") == found
    assert found == await office.groups.act(found, office.group.id)
    await refuses(GROUP_NOT_YOURS, office.groups.act(found, budi.account_id))
    assert [office.group.id] == [it.group_id for it in await office.accounts.list_api_keys(budi)]
    await office.groups.remove(office.owner, office.group.id, budi.account_id)
    fresh = Accounts(office.accounts._db, session_life_s=60)
    await refuses(SIGN_IN_NEEDED, fresh.identify(key.token))


async def test_a_key_for_a_group_does_not_come_back_with_its_holder(db: Database, office: Office) -> None:
    """Whoever is removed and invited again makes a new one: nobody knows where the old one has been. His own stay."""
    budi = await office.join()
    acting = await office.groups.act(budi, office.group.id)
    bound = await office.accounts.create_api_key(acting, "Mesin stempel")
    own = await office.accounts.create_api_key(budi, "Punya sendiri")
    await office.groups.remove(office.owner, office.group.id, budi.account_id)
    again = await office.groups.invite(
        office.owner, office.group.id, contact=None, role=GroupRole.MEMBER, limits=Limits()
    )
    await office.groups.accept(budi, again.code)
    later = Accounts(db, session_life_s=60)
    await refuses(SIGN_IN_NEEDED, later.identify(bound.token))
    assert budi.account_id == (await later.identify(own.token)).account_id
    assert {"Mesin stempel": True, "Punya sendiri": False} == {
        key.label: key.revoked_at is not None for key in await later.list_api_keys(budi)
    }


async def test_a_program_changes_no_members(office: Office) -> None:
    """Even with its owner's key."""
    key: Caller = replace(office.owner, via="api_key")
    await refuses(
        SESSION_NEEDED,
        office.groups.invite(key, office.group.id, contact=None, role=GroupRole.MEMBER, limits=Limits()),
    )
    await refuses(SESSION_NEEDED, office.groups.remove(key, office.group.id, office.owner.account_id))
    await refuses(SESSION_NEEDED, office.groups.found(key, name="PT Lain"))


async def test_the_history_says_who_did_what(office: Office) -> None:
    """Newest first, and nothing in it can be changed."""
    budi = await office.join(limits=Limits(units_a_month=7))
    await office.groups.remove(budi, office.group.id, budi.account_id)
    lines = [(it.actor, it.kind) for it in await office.groups.history(office.owner, office.group.id, limit=9)]
    me, he = office.owner.account_id, budi.account_id
    assert [(he, "left"), (he, "joined"), (me, "invited"), (me, "founded")] == lines
    with pytest.raises(asyncpg.RaiseError):
        async with office.groups._db.transaction() as tx:
            await tx.execute("DELETE FROM accounts.deeds")


async def test_two_owners_cannot_step_down_past_each_other(office: Office) -> None:
    """At once: the lock lets one through, and the other finds that he is the last."""
    budi = await office.join()
    group_id = office.group.id
    await office.groups.change(office.owner, group_id, budi.account_id, role=GroupRole.OWNER, limits=Limits())

    async def leave(who: Caller) -> str:
        try:
            await office.groups.remove(who, group_id, who.account_id)
        except Refused as refused:
            return refused.code
        return "left"

    assert {"left", "group_needs_owner"} == set(await asyncio.gather(leave(office.owner), leave(budi)))


def test_ids_of_groups_are_no_counters(office: Office) -> None:
    """A group's id is a quota account of its own."""
    assert office.group.id > UUID(int=999)
