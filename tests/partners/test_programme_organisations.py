"""Only organisations grant: anybody else could sell his quota on to strangers by a programme of his own."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from shop_floor import Floor, Visitor, fresh_key

from emeterai.accounts.service import Caller
from emeterai.app import Services
from emeterai.core.granting import ProgrammeState
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.ids import new_id
from emeterai.partners.programmes import Programme
from market import person, refusal, until_waiting
from programme_people import chunks

FUNDED = 6


@pytest.fixture
def services(floor: Floor) -> Services:
    """Everything that the application works with."""
    found: Services = floor.app.state["services"]
    return found


async def signed_in(services: Services, account_id: UUID | None = None) -> Caller:
    """Somebody who has signed in and bought quota."""
    account = await services.accounts.account(account_id or await person(services.db))
    await bought(services, account.id)
    return await services.accounts.identify((await services.accounts.open_session(account)).token)


async def bought(services: Services, account_id: UUID) -> None:
    """An account has quota, enough to fund a programme twice."""
    await services.ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, 2 * FUNDED, account=account_id)])


async def made(services: Services, agency: Caller) -> Programme:
    """A programme of one stamp for each applicant."""
    ends_at = datetime.now(UTC) + timedelta(days=3)
    return await services.programmes.make(agency, name="Seleksi", message="", units_each=1, ends_at=ends_at)


async def group_of(services: Services) -> tuple[UUID, Caller]:
    """A group with quota that staff have not approved, and its founder acting for it."""
    founder = await signed_in(services)
    group = await services.groups.found(founder, name="Badan Kepegawaian")
    await bought(services, group.id)
    return group.id, await services.groups.act(founder, group.id)


async def code_of(services: Services, agency: Caller, programme: Programme) -> str:
    """A code that opens one grant."""
    batch = await services.programmes.make_codes(agency, programme.id, 1)
    (codes,) = [part async for part in await services.programmes.codes(agency, programme.id, batch.id)]
    return codes[0]


async def nothing_more_is_given(services: Services, agency: Caller, programme: Programme) -> None:
    """Neither units nor codes nor invitations nor another programme, and the agency's quota is where it was."""
    before = (await services.ledger.balance(agency.account_id)).available
    for step in (
        services.programmes.fund(agency, programme.id, 1, key="more"),
        services.programmes.make_codes(agency, programme.id, 1),
        services.programmes.invite_list(agency, programme.id, chunks(b"ab" * 32)),
        made(services, agency),
    ):
        assert "organisation_needed" == await refusal(step)
    assert before == (await services.ledger.balance(agency.account_id)).available


async def test_a_person_can_do_nothing_with_a_programme(services: Services) -> None:
    """Not make one, and with one that was made when anybody might, neither fund it nor make codes of it."""
    siti = await signed_in(services)
    assert "organisation_needed" == await refusal(made(services, siti))
    _, agency = await group_of(services)
    await services.approvals.approve(agency.account_id, "Akta diperiksa", by="test")
    old = await made(services, agency)
    async with services.db.transaction() as tx:
        await tx.execute("UPDATE partners.programmes SET agency_id = $2 WHERE id = $1", old.id, siti.account_id)
    await nothing_more_is_given(services, siti, old)
    assert (False, 0) == (
        await services.programmes.may_give(siti),
        (await services.programmes.figures(siti, old.id)).funded,
    )


async def test_a_group_grants_once_it_is_approved(services: Services) -> None:
    """Before it hears what to do; the group of a partner is no partner."""
    group_id, acting = await group_of(services)
    assert "organisation_needed" == await refusal(made(services, acting))
    await services.approvals.approve(group_id, "Akta diperiksa", by="test")
    programme = await made(services, acting)
    figures = await services.programmes.fund(acting, programme.id, FUNDED, key="first")
    assert FUNDED == figures.funded


async def test_what_was_funded_before_goes_on_to_the_end(services: Services) -> None:
    """It is owed to applicants: they claim by what they have, and the agency has back what nobody claimed."""
    group_id, acting = await group_of(services)
    await services.approvals.approve(group_id, "Akta diperiksa", by="test")
    programme = await made(services, acting)
    await services.programmes.fund(acting, programme.id, FUNDED, key="first")
    code = await code_of(services, acting, programme)
    await services.approvals.withdraw(group_id, "Laporan penipuan", by="test")
    await nothing_more_is_given(services, acting, programme)
    assert FUNDED == (await services.programmes.fund(acting, programme.id, FUNDED, key="first")).funded
    claim, _ = await services.claims.claim(await signed_in(services), programme.id, code=code)
    assert (1, programme.id) == (claim.units, claim.programme_id)
    ended = await services.programmes.end(acting, programme.id)
    assert ended.state is not ProgrammeState.OPEN
    assert 2 * FUNDED - 1 == (await services.ledger.balance(group_id)).available


async def test_a_partner_grants_while_it_may_sell(floor: Floor, services: Services) -> None:
    """Of its account's own quota; when it is stopped it gives nothing more, until it is let go on."""
    partner = await floor.market.partner()
    agency = await signed_in(services, partner.account_id)
    programme = await made(services, agency)
    await services.partners.suspend(partner.id, "keluhan pembeli", by="test")
    await nothing_more_is_given(services, agency, programme)
    await services.partners.reinstate(partner.id, "keluhan selesai", by="test")
    assert FUNDED == (await services.programmes.fund(agency, programme.id, FUNDED, key="first")).funded
    assert [] == await floor.market.broken()


async def stopped_while_funding(services: Services, agency: Caller, lock: UUID, stop: str) -> str:
    """How a funding ends that waits for `lock`, under which the agency is stopped meanwhile."""
    programme = await made(services, agency)
    async with services.db.transaction() as tx:
        await services.ledger.open_book(tx, [lock], opening=True)
        funding = asyncio.create_task(refusal(services.programmes.fund(agency, programme.id, 1, key="late")))
        await until_waiting(services.db, 1)
        await tx.execute(stop, lock)
    return await funding


async def test_an_agency_is_asked_about_under_the_lock(floor: Floor, services: Services) -> None:
    """Whoever stops it waits for fundings under way, and the next one is refused: at once, not soon."""
    group_id, acting = await group_of(services)
    await services.approvals.approve(group_id, "Akta diperiksa", by="test")
    withdrawn = "UPDATE accounts.groups SET approved = false WHERE id = $1"
    assert "organisation_needed" == await stopped_while_funding(services, acting, group_id, withdrawn)
    partner = await floor.market.partner()
    seller = await signed_in(services, partner.account_id)
    suspended = "UPDATE partners.partners SET state = 'suspended' WHERE id = $1"
    assert "organisation_needed" == await stopped_while_funding(services, seller, partner.id, suspended)


async def programme_of(visitor: Visitor) -> dict[str, Any]:
    """What becomes of making a programme by a program."""
    ends_at = f"{datetime.now(UTC) + timedelta(days=3):%Y-%m-%dT%H:%M:%SZ}"
    body = {"name": "Seleksi", "units_each": 1, "ends_at": ends_at}
    answer = await visitor.program.post("/v1/programmes", json=body, headers=fresh_key())
    return {"status": answer.status_code, **answer.json()}


async def test_programs_and_pages_say_so(floor: Floor, services: Services) -> None:
    """A person's program and form are refused, and his page offers no form but says what to do."""
    visitor = await floor.visitor()
    refused = await programme_of(visitor)
    assert (403, "organisation_needed") == (refused["status"], refused["code"])
    page = await visitor.see("/program")
    assert (False, True, True) == ("Buat program" in page, "/kelompok" in page, "petugas" in page)
    sent = await visitor.send("/program", name="Titipan", units_each="1", ends_on="2030-01-01")
    assert (403, True) == (sent.status_code, 'href="#lembaga"' in sent.text)
    assert 0 == await services.db.fetchval("SELECT count(*) FROM partners.programmes")


async def offered(visitor: Visitor, page: str) -> list[bool]:
    """Which forms the page of a programme has: for units, for lists, for codes."""
    shown = await visitor.see(f"{page}/kelola")
    return [f'action="{page}/{part}"' in shown for part in ("dana", "daftar", "kode")]


async def test_a_stopped_agency_hears_it_from_every_door(floor: Floor, services: Services) -> None:
    """Over HTTP too, for units, codes and lists; its page keeps what is there and offers nothing that is refused."""
    partner = await floor.market.partner()
    await bought(services, partner.account_id)
    visitor = await floor.visitor(of=partner)
    address = f"/v1/programmes/{(await programme_of(visitor))['id']}"
    page = f"/program/{address.rsplit('/', 1)[-1]}"
    assert [True, True, True] == await offered(visitor, page)
    await services.partners.suspend(partner.id, "keluhan pembeli", by="test")
    assert [False, False, False] == await offered(visitor, page)
    for path, body in (("funding", {"units": 1}), ("codes", {"quantity": 1})):
        answer = await visitor.program.post(f"{address}/{path}", json=body, headers=fresh_key())
        assert (403, "organisation_needed") == (answer.status_code, answer.json()["code"])
    listed = await visitor.program.post(f"{address}/list", content=b"ab" * 32, headers={"content-type": "text/csv"})
    assert (403, "organisation_needed") == (listed.status_code, listed.json()["code"])
    for part, fields in (("dana", {"units": "1"}), ("kode", {"quantity": "1"})):
        sent = await visitor.send(f"{page}/{part}", page=f"{page}/kelola", **fields)
        assert (403, True) == (sent.status_code, 'href="#lembaga"' in sent.text)
    assert 2 * FUNDED == await floor.market.available(partner.account_id)
