"""A group that staff have not approved is no second person: it buys under its founder's limit and makes no vouchers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import UUID

import asyncpg
import msgspec
import pytest
from shop_floor import Floor

from emeterai.accounts.groups import Group, GroupRole, Limits
from emeterai.accounts.service import Caller
from emeterai.accounts.staff import Role
from emeterai.app import Services
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.gate import lane_store
from emeterai.infra.ids import new_id
from emeterai.purchase.choosing import payment_providers
from emeterai.purchase.service import Purchase
from market import Market, person, refusal, until_waiting

UNITS, PERSON_MAX, ORGANISATION_MAX = 3, 5, 12
"""What is ordered at once is more than half of what a person may order in a day."""


@pytest.fixture
def services(floor: Floor) -> Services:
    """Everything that the application works with."""
    found: Services = floor.app.state["services"]
    return found


async def founder_of(services: Services, market: Market) -> Caller:
    """Somebody who has signed in."""
    account = await services.accounts.account(await person(market.db))
    return await services.accounts.identify((await services.accounts.open_session(account)).token)


async def founded(services: Services, founder: Caller, name: str = "PT Maju Bersama") -> tuple[Group, Caller]:
    """A new group, and its founder acting for it."""
    group = await services.groups.found(founder, name=name)
    return group, await services.groups.act(founder, group.id)


@pytest.fixture
async def purchase(services: Services) -> AsyncIterator[Purchase]:
    """A shop with small limits."""
    settings = msgspec.structs.replace(
        services.settings, person_units_a_day_max=PERSON_MAX, organisation_units_a_day_max=ORGANISATION_MAX
    )
    providers = payment_providers(settings)
    yield Purchase(services.db, services.ledger, settings, providers=providers)
    for provider in providers:
        await provider.close()


async def orders(purchase: Purchase, caller: Caller, units: int = UNITS) -> str:
    """What becomes of an order."""
    try:
        await purchase.place_order(caller.account_id, units, made_by=caller.made_by)
    except Refused as refused:
        return refused.code
    return "ordered"


async def units_ordered(services: Services) -> int:
    """The units of all orders on record."""
    found: int = await services.db.fetchval("SELECT coalesce(sum(quantity), 0)::int FROM purchase.orders")
    return found


async def test_groups_do_not_multiply_what_one_person_may_buy(
    floor: Floor, services: Services, purchase: Purchase
) -> None:
    """Neither one nor several, by page or by program, nor the founder after them; others are not concerned."""
    founder = await founder_of(services, floor.market)
    _, first = await founded(services, founder)
    _, second = await founded(services, founder, "PT Kedua")
    assert "ordered" == await orders(purchase, first)
    for caller in (first, second, founder, replace(second, via="api_key")):
        assert "units_a_day_reached" == await orders(purchase, caller)
    assert "ordered" == await orders(purchase, founder, PERSON_MAX - UNITS)
    assert "ordered" == await orders(purchase, await founder_of(services, floor.market))


async def test_an_approved_group_has_the_limit_of_an_organisation(
    floor: Floor, services: Services, purchase: Purchase
) -> None:
    """Its own, and its founder has his; when the approval is withdrawn they are one again."""
    founder = await founder_of(services, floor.market)
    group, acting = await founded(services, founder)
    await services.approvals.approve(group.id, "NIB diperiksa", by="test")
    for caller in (acting, acting, founder):
        assert "ordered" == await orders(purchase, caller)
    await services.approvals.withdraw(group.id, "NIB dicabut", by="test")
    assert "units_a_day_reached" == await orders(purchase, founder, 1)
    assert "units_a_day_reached" == await orders(purchase, acting, 1)


async def test_the_limit_holds_for_orders_at_one_moment(floor: Floor, services: Services, purchase: Purchase) -> None:
    """Of a founder and four groups only one order fits, however they hurry."""
    founder = await founder_of(services, floor.market)
    callers = [founder, *[(await founded(services, founder, f"PT {number}"))[1] for number in range(4)]]
    async with services.db.transaction() as tx:
        await services.ledger.open_book(tx, [founder.account_id], opening=True)
        asked = [asyncio.create_task(orders(purchase, caller)) for caller in callers]
        await until_waiting(services.db, len(callers))
    answers = await asyncio.gather(*asked)
    assert ["ordered", *["units_a_day_reached"] * 4] == sorted(answers)
    assert UNITS == await units_ordered(services)


async def test_another_owner_of_the_group_is_not_limited_by_it(
    floor: Floor, services: Services, purchase: Purchase
) -> None:
    """The group's orders are the founder's, whoever makes them; what others buy for themselves is their own."""
    founder, other = [await founder_of(services, floor.market) for _ in range(2)]
    group, _ = await founded(services, founder)
    invited = await services.groups.invite(founder, group.id, contact=None, role=GroupRole.OWNER, limits=Limits())
    await services.groups.accept(other, invited.code)
    assert "ordered" == await orders(purchase, await services.groups.act(other, group.id))
    assert "ordered" == await orders(purchase, other)
    assert "units_a_day_reached" == await orders(purchase, founder)


async def test_an_order_and_its_line_in_the_history_are_one(floor: Floor, services: Services) -> None:
    """Neither is without the other: an order whose line cannot be written is none."""
    founder = await founder_of(services, floor.market)
    group, acting = await founded(services, founder)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await services.purchase.place_order(group.id, 1, made_by=new_id())
    assert 0 == await units_ordered(services)
    for _ in range(2):
        order = await services.purchase.place_order(group.id, 1, idempotency_key="k", made_by=acting.made_by)
    history = await services.groups.history(founder, group.id, limit=9)
    assert [order.id] == [deed.subject for deed in history if deed.kind == "ordered"]


async def test_a_group_makes_vouchers_once_it_is_approved(floor: Floor, services: Services) -> None:
    """Before it hears why not; when that is taken back it activates no more, and what is active stays good."""
    founder = await founder_of(services, floor.market)
    group, acting = await founded(services, founder)
    await services.ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, 100, account=group.id)])
    vouchers = services.vouchers
    assert "group_not_approved" == await refusal(vouchers.make(acting, vouchers=2, units=5))
    assert 100 == await floor.market.available(group.id)
    await services.approvals.approve(group.id, "Akta diperiksa", by="test")
    batch = await vouchers.make(acting, vouchers=2, units=5)
    _, codes = await vouchers.codes(acting, batch.id)
    await vouchers.activate(acting, batch.id, first=1)
    await services.approvals.withdraw(group.id, "Laporan penipuan", by="test")
    assert "group_not_approved" == await refusal(vouchers.activate(acting, batch.id, first=2))
    assert "group_not_approved" == await refusal(vouchers.make(acting, vouchers=1, units=1))
    assert 5 == (await vouchers.redeem(founder.account_id, codes[0], address="203.0.113.7")).units


async def test_the_operator_approves_on_a_page_and_it_stays_on_record(floor: Floor, services: Services) -> None:
    """With a note, by name; the group's own page says what it may do meanwhile."""
    founder = await founder_of(services, floor.market)
    group, _ = await founded(services, founder)
    operator = await floor.visitor(role=Role.OPERATOR)
    assert "PT Maju Bersama" in await operator.see("/petugas/kelompok")
    page = f"/petugas/kelompok/{group.id}"
    unsaid = await operator.send(page, decision="approve", note=" ")
    assert (422, True) == (unsaid.status_code, "Tuliskan apa yang diperiksa" in unsaid.text)
    assert 303 == (await operator.send(page, decision="approve", note="Akta nomor 7")).status_code
    assert (await services.groups.group(founder, group.id)).approved
    shown = await operator.see(page)
    assert ("Akta nomor 7" in shown, "Tarik persetujuan" in shown) == (True, True)
    assert "PT Maju Bersama" in await operator.see("/petugas/kelompok?disetujui=1")
    (line,) = await services.approvals.changes_of(group.id)
    assert ("approved", "Akta nomor 7") == (line.change, line.note)
    for statement in ("UPDATE accounts.group_approvals SET note = 'x'", "DELETE FROM accounts.group_approvals"):
        with pytest.raises(asyncpg.RaiseError, match="stays on record"):
            await services.db.fetch(statement)


async def test_only_operators_approve_and_nobody_his_own_group(floor: Floor, services: Services) -> None:
    """Neither other staff nor a member who is an operator; and a group that does not exist is told."""
    founder = await founder_of(services, floor.market)
    group, _ = await founded(services, founder)
    for visitor in (
        await floor.visitor(),
        await floor.visitor(role=Role.TREASURY),
        await floor.visitor(role=Role.CARE),
    ):
        for path in ("/petugas/kelompok", f"/petugas/kelompok/{group.id}"):
            assert 403 == (await visitor.browser.get(path)).status_code
    own = services.approvals.approve(group.id, "Saya kenal", by="test", staff_id=founder.account_id)
    assert "approval_of_own_group" == await refusal(own)
    assert "group_unknown" == await refusal(services.approvals.approve(new_id(), "Siapa", by="test"))
    assert [] == await services.approvals.changes_of(group.id)


async def test_the_console_approves_too(floor: Floor, services: Services, database_url: str) -> None:
    """And says who sat there."""
    group, _ = await founded(services, await founder_of(services, floor.market))

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "emeterai", "groups", *arguments]
        environment = {"EMETERAI_DATABASE_URL": database_url, "PATH": "/usr/bin"}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    assert str(group.id) in await asyncio.to_thread(run, "list")
    await asyncio.to_thread(run, "approve", str(group.id), "Surat kuasa diperiksa")
    assert str(group.id) in await asyncio.to_thread(run, "list", "--approved")
    (line,) = await services.approvals.changes_of(group.id)
    assert line.done_by.startswith("console: ")
    await asyncio.to_thread(run, "withdraw", str(group.id), "Keliru")
    assert not (await services.approvals.group(group.id)).approved


async def lanes_of(services: Services) -> dict[UUID, str]:
    """Which accounts' keys belong to which lane."""
    return dict(await lane_store.read_accounts(services.db, limit=100))


async def test_partners_and_approved_groups_have_lanes_of_their_own(floor: Floor, services: Services) -> None:
    """From the moment of being made or approved; a key that is bound to a group is the group's and no one else's."""
    market = floor.market
    partner = await market.partner()
    assert {partner.account_id: "partners"} == await lanes_of(services)
    seller = await services.accounts.account(partner.account_id)
    founder = await services.accounts.identify((await services.accounts.open_session(seller)).token)
    group, acting = await founded(services, founder)
    own = await services.accounts.create_api_key(founder, "kasir")
    bound = await services.accounts.create_api_key(acting, "mesin")
    assert group.id not in await lanes_of(services)
    await services.approvals.approve(group.id, "NIB diperiksa", by="test")
    lanes = await lanes_of(services)
    assert {partner.account_id: "partners", group.id: "enterprises"} == lanes
    digests = await services.accounts.api_key_digests(sorted(lanes))
    assert {partner.account_id, group.id} == {account for _, account in digests}
    assert 2 == len(digests)
    assert own.id != bound.id
    await services.approvals.withdraw(group.id, "Keliru", by="test")
    assert "retail" == (await lanes_of(services))[group.id]
