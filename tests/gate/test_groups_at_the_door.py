"""Who acts for a group comes in with what they have under way for it; with what others have only who oversees it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from rush import Rush, crowded

from emeterai.accounts.groups import GROUPS_MAX, Group, GroupRole, Limits
from emeterai.accounts.groups_seats import OVERSEERS_MAX, seats_of
from emeterai.accounts.service import Caller
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.ids import new_id
from emeterai.purchase.model import Order
from emeterai.purchase.money_in_flight import UNPAID_S
from emeterai.seal.model import Box
from emeterai.stamping.model import StampWanted
from papers import letter


class Office:
    """A group in a crowded service: its owner, and those who join it."""

    def __init__(self, rush: Rush, owner: Caller, group: Group) -> None:
        self.rush = rush
        self.owner = owner
        self.group = group

    @classmethod
    async def founded(cls, rush: Rush, owner: Caller) -> Office:
        """A group of this person's."""
        return cls(rush, owner, await rush.services.groups.found(owner, name="PT Maju Bersama"))

    async def joined(self, person: Caller, role: GroupRole = GroupRole.MEMBER) -> Caller:
        """This person, who accepts an invitation."""
        groups = self.rush.services.groups
        invitation = await groups.invite(self.owner, self.group.id, contact=None, role=role, limits=Limits())
        await groups.accept(person, invitation.code)
        return person

    async def ordered(self, member: Caller, *, ago_s: float = 0) -> Order:
        """An order for the group by this member, with a charge that can be paid."""
        return await ordered(self.rush, self.group.id, made_by=member.actor, ago_s=ago_s)

    async def held(self, member: Caller) -> None:
        """A unit of the group that is held for a stamp of this member's; nobody seals."""
        services, data = self.rush.services, letter()
        credit = Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, 1, account=self.group.id)
        await services.ledger.post([credit])
        document_id = await services.documents.receive(self.group.id, "surat.pdf", data, made_by=member.actor)
        digest = hashlib.sha256(data).digest()
        wanted = StampWanted(
            account_id=self.group.id,
            document_id=document_id,
            digest=digest,
            page=1,
            box=Box(50, 50, 100, 100),
            additional=False,
            idempotency_key=None,
            request_digest=digest,
            made_by=member.actor,
        )
        assert (await services.stamping.ask(wanted))[1]


@pytest.fixture
async def rush(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service."""
    async with crowded(database_url, tmp_path) as found:
        yield found


@pytest.fixture
async def office(rush: Rush) -> Office:
    """A group whose owner is a new person."""
    return await Office.founded(rush, await person(rush))


async def person(rush: Rush) -> Caller:
    """Somebody who is signed in."""
    account_id, _ = await rush.person()
    return await rush.services.accounts.identify(await token_of(rush, account_id))


async def token_of(rush: Rush, account_id: UUID) -> str:
    """A new session of somebody's."""
    account = await rush.services.accounts.account(account_id)
    return (await rush.services.accounts.open_session(account)).token


async def ordered(rush: Rush, account_id: UUID, *, made_by: UUID | None = None, ago_s: float = 0) -> Order:
    """An order that was placed so long ago, with a charge that can be paid for an hour."""
    order = await rush.services.purchase.place_order(account_id, 1, made_by=made_by)
    await rush.services.db.fetch(
        """
        UPDATE purchase.orders SET provider_reference = id::text, pay_url = 'http://x',
            expires_at = now() + interval '1 hour', created_at = created_at - make_interval(secs => $2)
        WHERE id = $1
        """,
        order.id,
        float(ago_s),
    )
    return order


async def comes_in(rush: Rush, *people: Caller) -> list[bool]:
    """Who of these gets a pass to finish at the room without a ticket, whomever they act for there."""
    return [(await asked(rush, one)).status_code == 201 for one in people]


async def asked(rush: Rush, one: Caller, **headers: str) -> httpx.Response:
    """What the room answers to this person's program."""
    token = await token_of(rush, one.actor)
    async with rush.browser() as program:
        program.headers.update({"authorization": f"Bearer {token}", **headers})
        return await program.post("/gate/retail/passes", json={})


async def test_who_orders_for_a_group_comes_in_and_so_does_who_oversees_it(rush: Rush, office: Office) -> None:
    """A plain member and a stranger wait in line: the order is none of theirs. The pass is the person's."""
    treasurer = await office.joined(await person(rush), GroupRole.MANAGER)
    member, stranger = await office.joined(await person(rush)), await person(rush)
    people = (treasurer, office.owner, member, stranger)
    assert [False] * 4 == await comes_in(rush, *people)
    await office.ordered(treasurer)
    assert [True, True, False, False] == await comes_in(rush, *people)
    answer = await asked(rush, treasurer, **{"emeterai-account": str(office.group.id)})
    granted = rush.reception.passes.read(answer.json()["granted"])
    assert granted is not None
    assert (True, rush.reception.passes.holder_of(treasurer.actor)) == (granted.finish, granted.holder)


async def test_a_member_whose_stamp_holds_a_unit_comes_in(rush: Rush, office: Office) -> None:
    """Another member does not; who oversees the group does."""
    stamping, other = await office.joined(await person(rush)), await office.joined(await person(rush))
    assert [False] * 3 == await comes_in(rush, stamping, other, office.owner)
    await office.held(stamping)
    assert [True, False, True] == await comes_in(rush, stamping, other, office.owner)


async def test_a_browser_that_acts_for_a_group_comes_in_by_the_side_and_stays(rush: Rush, office: Office) -> None:
    """It is told to send the same again, with a pass; which lasts for longer while the unit is held."""
    member = await office.joined(await person(rush))
    await office.held(member)
    async with rush.browser() as browser:
        await rush.signed_in(browser, member.actor)
        browser.cookies.set("emeterai_for", str(office.group.id))
        again = await browser.post("/unggah")
        assert (307, "/unggah") == (again.status_code, again.headers["location"])
        used = rush.reception.passes.read(browser.cookies["emeterai_pass"])
    assert used is not None
    rush.clock.minute(20)
    assert await rush.reception.renewed(used, member.actor) is not None
    await rush.services.db.fetch("UPDATE stamping.stamps SET state = 'given_back', reason = 'x', ended_at = now()")
    assert await rush.reception.renewed(used, member.actor) is None


async def test_who_placed_an_order_comes_in_as_a_plain_member_too(rush: Rush, office: Office) -> None:
    """With money that was seen as well. Who is no member any more has nothing to finish in the group."""
    former = await office.joined(await person(rush), GroupRole.MANAGER)
    order = await office.ordered(former, ago_s=UNPAID_S + 60)
    groups = rush.services.groups
    await groups.change(office.owner, office.group.id, former.actor, role=GroupRole.MEMBER, limits=Limits())
    assert [False, False] == await comes_in(rush, former, office.owner)
    await rush.services.db.fetch(
        """
        INSERT INTO purchase.notifications (id, provider, event_id, order_id, state, amount, currency)
        SELECT $1, provider, 'e', id, 'settled', total_idr, 'IDR' FROM purchase.orders WHERE id = $2
        """,
        new_id(),
        order.id,
    )
    assert [True, True] == await comes_in(rush, former, office.owner)
    await groups.remove(office.owner, office.group.id, former.actor)
    assert [False, True] == await comes_in(rush, former, office.owner)


async def test_orders_for_several_groups_are_no_longer_way_past_the_line(rush: Rush, office: Office) -> None:
    """Of all that somebody ordered and did not pay the first counts, for whomever it was; also for who oversees it."""
    second = await Office.founded(rush, office.owner)
    treasurer = await office.joined(await person(rush), GroupRole.MANAGER)
    await second.joined(treasurer, GroupRole.MANAGER)
    await office.ordered(treasurer, ago_s=UNPAID_S + 60)
    await second.ordered(treasurer)
    await ordered(rush, treasurer.actor)
    assert [False, False] == await comes_in(rush, treasurer, office.owner)


async def test_what_others_order_for_a_group_takes_nothing_from_a_member(rush: Rush, office: Office) -> None:
    """Their own order counts, however many the treasurer has not paid."""
    member = await office.joined(await person(rush))
    await office.ordered(office.owner, ago_s=UNPAID_S + 60)
    assert [False] == await comes_in(rush, member)
    await ordered(rush, member.actor)
    assert [True, False] == await comes_in(rush, member, office.owner)


async def test_what_others_order_for_a_group_takes_nothing_from_who_oversees_it(rush: Rush, office: Office) -> None:
    """An hour after a colleague's order the owner's own counts, for the owner or for the group; the colleague's doesn't
    any more.
    """
    treasurer = await office.joined(await person(rush), GroupRole.MANAGER)
    await office.ordered(treasurer, ago_s=3_600)
    assert [False, False] == await comes_in(rush, office.owner, treasurer)
    await ordered(rush, office.owner.actor)
    assert [True, False] == await comes_in(rush, office.owner, treasurer)


async def test_one_order_opens_the_line_to_few_of_those_who_oversee_a_group(rush: Rush, office: Office) -> None:
    """Anybody may found a group and make everybody its manager. Those beyond the few come in with what is their own."""
    managers = [await office.joined(await person(rush), GroupRole.MANAGER) for _ in range(OVERSEERS_MAX)]
    await office.ordered(office.owner)
    assert [True] * OVERSEERS_MAX + [False] == await comes_in(rush, office.owner, *managers)
    await office.held(managers[-1])
    assert [True] == await comes_in(rush, managers[-1])


async def test_so_many_groups_of_one_person_are_looked_at(rush: Rush, office: Office) -> None:
    """Those that they joined first, should there be more after a race."""
    found = await seats_of(rush.services.db, office.owner.actor)
    assert [(office.group.id, True)] == found
    for one in range(GROUPS_MAX):
        await rush.services.db.fetch(
            """
            WITH made AS (
                INSERT INTO accounts.groups (id, name, timezone, created_by) VALUES ($1, 'PT', 'Asia/Jakarta', $2)
            )
            INSERT INTO accounts.members (group_id, account_id, role, joined_at)
            VALUES ($1, $2, 'member', now() + make_interval(secs => $3))
            """,
            new_id(),
            office.owner.actor,
            float(one),
        )
    found = await seats_of(rush.services.db, office.owner.actor)
    assert (GROUPS_MAX, (office.group.id, True)) == (len(found), found[0])
