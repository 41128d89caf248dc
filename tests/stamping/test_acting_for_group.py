"""Acting for a group, over HTTP: the switch on every page, the header and the bound key, and who sees what."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from stamping_people import Person, Site, pdf

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.ids import new_id

HEADER = "emeterai-account"


class Company:
    """A group with its owner and one plain member."""

    def __init__(self, owner: Person, member: Person, group_id: str) -> None:
        self.owner = owner
        self.member = member
        self.group_id = group_id

    async def buy(self, units: int) -> None:
        """Have quota."""
        credit = Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, units, account=UUID(self.group_id))
        await self.owner.site.services.ledger.post([credit])

    async def switch(self, person: Person, to: str = "-") -> httpx.Response:
        """Press the button that says for whom to act."""
        fields = await person.form("/kelompok")
        return await person.send("/bertindak", {**fields, "for": self.group_id if to == "-" else to})


@pytest.fixture
async def company(people: Callable[[], Awaitable[Person]]) -> Company:
    """Made on the pages: the owner founds it and invites, the member opens the link and accepts."""
    owner, member = await people(), await people()
    made = await owner.submit("/kelompok", {"name": "PT Maju Bersama"})
    address = made.headers["location"]
    fields = await owner.form(address)
    shown = await owner.send(f"{address}/undang", {**fields, "role": "member", "units_in_all": "1"})
    assert 200 == shown.status_code, shown.text
    link = re.search(r"/undangan/[\w-]+", shown.text)
    assert link is not None
    assert "PT Maju Bersama" in await member.text(link[0])
    assert 303 == (await member.submit(link[0])).status_code
    return Company(owner, member, address.rsplit("/", 1)[-1])


async def test_every_page_says_for_whom_one_acts(company: Company) -> None:
    """After the switch, and until it is switched back."""
    assert "Bertindak untuk" not in await company.owner.text("/unggah")
    assert "/kuota" == (await company.switch(company.owner)).headers["location"]
    for page in ("/unggah", "/kuota", "/verifikasi", "/"):
        assert re.search(r"Bertindak untuk.*?PT Maju Bersama", await company.owner.text(page), re.DOTALL), page
    await company.switch(company.owner, "")
    assert "Bertindak untuk" not in await company.owner.text("/unggah")


async def test_a_member_stamps_with_the_groups_quota_up_to_his_limit(company: Company, sealer: None) -> None:
    """His own quota is untouched; the second stamp is refused with a sentence, on the page of its place."""
    await company.buy(5)
    await company.switch(company.member)
    first = await company.member.upload(pdf())
    answer = await company.member.submit(f"{first}/bubuhkan", {"page": "1", "place": "bottom-right"})
    assert 303 == answer.status_code, answer.text
    second = await company.member.upload(pdf(pages=2))
    refused = await company.member.submit(f"{second}/bubuhkan", {"page": "1", "place": "bottom-right"})
    assert 403 == refused.status_code
    assert "minta pengelola kelompok menaikkannya" in refused.text
    assert 0 == (await company.member.balance()).bought
    page = await company.member.text(f"/kelompok/{company.group_id}")
    assert "Meminta satu e-meterai" in page


async def test_a_member_sees_his_own_work_and_the_owner_all_of_it(company: Company, sealer: None) -> None:
    """Documents, stamps and files; each is not there for whoever may not see it."""
    await company.buy(5)
    for person in (company.owner, company.member):
        await company.switch(person)
    his, hers = (
        await company.member.upload(pdf(), "punya-budi.pdf"),
        await company.owner.upload(pdf(2), "punya-siti.pdf"),
    )
    stamped = await company.owner.submit(f"{hers}/bubuhkan", {"page": "1", "place": "bottom-right"})
    stamp = stamped.headers["location"]
    assert [200, 200] == [(await company.owner.browser.get(it)).status_code for it in (his, stamp)]
    assert [404, 404, 404] == [
        (await company.member.browser.get(it)).status_code for it in (hers, stamp, f"{stamp}/berkas")
    ]
    listed = await company.member.text("/dokumen")
    assert ("punya-budi.pdf" in listed, "punya-siti.pdf" in listed) == (True, False)
    assert "punya-budi.pdf" in await company.owner.text("/dokumen")


async def test_what_another_member_stamped_already_is_said_and_not_shown(company: Company, sealer: None) -> None:
    """A member who sends a file that a colleague has stamped spends nothing, and is told whom to ask for the result."""
    await company.buy(5)
    data = pdf(3)
    answers = []
    for person in (company.owner, company.member, company.owner):
        token = person.browser.cookies["emeterai_session"]
        headers = {"authorization": f"Bearer {token}", HEADER: company.group_id}
        async with person.site.browser() as program:
            file = {"file": ("surat.pdf", data, "application/pdf")}
            answers.append(await program.post("/v1/stamps", headers=headers, files=file))
    first, refused, again = answers
    assert (409, "stamped_by_other_member") == (refused.status_code, refused.json()["code"])
    assert first.json()["id"] not in refused.text
    assert (200, first.json()["id"]) == (again.status_code, again.json()["id"])
    balance = await company.owner.site.services.ledger.balance(UUID(company.group_id))
    assert 1 == balance.held + balance.used


async def test_no_page_leads_a_member_to_a_colleagues_stamp(company: Company, sealer: None) -> None:
    """The page of his own upload of the same file says nothing of it; asking says that another has stamped it.

    One more stamp on the file can still be asked for, in so many words.
    """
    await company.buy(5)
    data = pdf(4)
    for person in (company.owner, company.member):
        await company.switch(person)
    hers, his = await company.owner.upload(data), await company.member.upload(data)
    choice = {"page": "1", "place": "bottom-right"}
    stamp = (await company.owner.submit(f"{hers}/bubuhkan", choice)).headers["location"]
    assert stamp in await company.owner.text(hers)
    refused = await company.member.submit(f"{his}/bubuhkan", choice)
    assert (409, True) == (refused.status_code, "Anggota lain sudah membubuhkan meterai" in refused.text)
    for shown in (await company.member.text(his), await company.member.text(f"{his}/bubuhkan"), refused.text):
        assert stamp not in shown
    again = await company.member.submit(f"{his}/bubuhkan", {**choice, "again": "1"})
    assert 303 == again.status_code
    assert again.headers["location"] in await company.member.text(his)


@pytest.mark.parametrize("page", ["/beli", "/pesanan", "/kuota/riwayat", "/program", "/hibah"])
async def test_a_member_buys_and_oversees_nothing(company: Company, page: str) -> None:
    """What an account can do besides stamping is for those who oversee the group."""
    await company.switch(company.member)
    refused = await company.member.browser.get(page)
    assert 403 == refused.status_code
    assert "bertindaklah untuk diri sendiri" in refused.text
    await company.switch(company.owner)
    assert 200 == (await company.owner.browser.get(page)).status_code


async def test_the_quota_page_of_a_member_is_the_groups(company: Company) -> None:
    """It shows what he may spend, not every movement."""
    await company.switch(company.member)
    answer = await company.member.browser.get("/kuota")
    assert (303, f"/kelompok/{company.group_id}") == (answer.status_code, answer.headers["location"])


async def test_a_browser_forgets_a_group_that_is_not_the_persons_any_more(company: Company) -> None:
    """The next page asks to go on for oneself, by a button; a form that was open spends nothing."""
    await company.switch(company.member)
    form = await company.member.form("/unggah")
    address = f"/kelompok/{company.group_id}/anggota/{company.member.account_id}"
    asked = await company.owner.send(f"{address}/keluarkan", await company.owner.form(address))
    assert (200, True) == (asked.status_code, "Keluarkan anggota ini?" in asked.text)
    assert 200 == (await company.member.browser.get("/unggah")).status_code
    sure = {**await company.owner.form(address), "confirmed": "ya"}
    assert 303 == (await company.owner.send(f"{address}/keluarkan", sure)).status_code
    refused = await company.member.send("/unggah", form, file=("a.pdf", pdf()))
    assert (403, True) == (refused.status_code, "bukan anggota kelompok ini" in refused.text)
    away = await company.member.browser.get("/unggah")
    assert (303, "/bertindak?next=%2Funggah") == (away.status_code, away.headers["location"])
    for _ in range(2):
        page = await company.member.browser.get(away.headers["location"])
        assert (200, []) == (page.status_code, [it for it in page.headers.get_list("set-cookie") if "_for=" in it])
    assert 403 == (await company.member.send("/bertindak", {"for": "", "next": "/unggah"})).status_code
    fields = await company.member.form(away.headers["location"])
    back = await company.member.send("/bertindak", {**fields, "for": ""})
    assert (303, "/unggah") == (back.status_code, back.headers["location"])
    assert 200 == (await company.member.browser.get("/unggah")).status_code


async def test_limits_are_set_on_the_page_of_a_member(company: Company) -> None:
    """What is no number is said at its field, and keeps what was typed."""
    address = f"/kelompok/{company.group_id}/anggota/{company.member.account_id}"
    wrong = await company.owner.submit(address, {"role": "member", "units_a_day": "banyak"})
    assert (422, True) == (wrong.status_code, 'value="banyak"' in wrong.text)
    right = await company.owner.submit(address, {"role": "manager", "units_a_day": "1.000"})
    assert 303 == right.status_code
    page = await company.owner.text(f"/kelompok/{company.group_id}")
    assert "pengelola" in page
    assert "/ 1.000" in page


async def test_a_program_acts_by_header_or_by_a_bound_key(company: Company, site: Site) -> None:
    """Both have the group's quota; a group that is not the caller's is refused and never read as the caller."""
    await company.buy(3)
    services, member = site.services, company.member
    session = member.browser.cookies["emeterai_session"]
    caller = await services.groups.act(await services.accounts.identify(session), UUID(company.group_id))
    key = await services.accounts.create_api_key(caller, "Mesin stempel")

    async def quota(token: str, header: str | None = None) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {token}"} | ({HEADER: header} if header is not None else {})
        async with site.browser() as program:
            answer = await program.get("/v1/quota", headers=headers)
        return answer.status_code, answer.json().get("available", answer.json().get("code"))

    assert (200, 0) == await quota(session)
    assert (200, 0) == await quota(session, str(member.account_id))
    assert (200, 3) == await quota(session, company.group_id)
    assert (200, 3) == await quota(key.token)
    for token, header in ((session, str(new_id())), (session, "bukan"), (key.token, str(member.account_id))):
        assert (403, "group_not_yours") == await quota(token, header)


async def test_an_order_for_a_group_is_in_its_history(company: Company) -> None:
    """With the name of whoever made it."""
    await company.switch(company.owner)
    made = await company.owner.submit("/beli", {"quantity": "2"})
    assert 303 == made.status_code, made.text
    page = await company.owner.text(f"/kelompok/{company.group_id}/riwayat")
    assert "Memesan kuota" in page
    assert made.headers["location"] in page
