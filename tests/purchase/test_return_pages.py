"""The money's way back as people and programs see it, through the sandbox provider; and the office's page for money."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest
from litestar import Litestar
from returning import books, returns_of, work_returns
from shops import Shop, refuse

from emeterai.accounts.callers import SignInFirst, redirect_to_sign_in
from emeterai.accounts.service import Accounts
from emeterai.accounts.staff import Role, Staff
from emeterai.core.ordering import ChargeState, Seen
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.purchase import cases_pages, cases_store, pages, returns_routes, routes
from emeterai.purchase.model import Order, Source
from emeterai.purchase.returns_model import CaseKind
from emeterai.purchase.sandbox_words import Payment
from emeterai.purchase.service import Purchase
from emeterai.web.credentials import SESSION_COOKIE
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages


@dataclass(frozen=True)
class Office:
    """A shop with its office."""

    shop: Shop
    staff: Staff
    accounts: Accounts
    purchase: Purchase
    ledger: Ledger
    pages: Pages
    csrf: Csrf
    settings: Any

    def browser(self, token: str) -> httpx.AsyncClient:
        """A browser and a program of one person."""
        app = Litestar(
            [*routes.controllers, *pages.controllers, *returns_routes.controllers, *cases_pages.controllers],
            exception_handlers={SignInFirst: redirect_to_sign_in, Exception: refuse},
        )
        app.state["services"] = self
        transport = httpx.ASGITransport(app)
        cookies, bearer = {SESSION_COOKIE: token}, {"authorization": f"Bearer {token}"}
        return httpx.AsyncClient(transport=transport, base_url="http://shop", cookies=cookies, headers=bearer)

    async def person(self, email: str, role: Role | None = None) -> httpx.AsyncClient:
        """Somebody new, perhaps of the staff."""
        account = await self.accounts.register(name="Siti Rahayu", password="kopi-hangat-di-teras", email=email)
        if role is not None:
            await self.staff.grant(email, role, by="uji")
        return self.browser((await self.accounts.open_session(account)).token)

    async def bought(self, browser: httpx.AsyncClient, quantity: int, payment: Payment | None = None) -> Order:
        """An order of theirs that was paid at the sandbox, and found by the sweep."""
        made = (await browser.post("/v1/orders", json={"quantity": quantity})).json()
        order = await self.purchase.order(await self._account(made["id"]), made["id"])
        assert order.provider_reference is not None
        await self.shop.provider.pay(order.provider_reference, payment)
        await self.purchase.settle_from_status(order)
        return order

    async def _account(self, order_id: str) -> Any:
        return await self.shop.db.fetchval("SELECT account_id FROM purchase.orders WHERE id = $1", order_id)


@pytest.fixture
async def office(shop: Shop) -> Office:
    """The shop's pages, its office, and what they work with."""
    parts = (shop.accounts, shop.purchase, shop.ledger, shop.pages, shop.csrf, shop.settings)
    return Office(shop, Staff(shop.db), *parts)


def form_of(page: httpx.Response, action: str) -> dict[str, str]:
    """The hidden fields of the form that posts to `action`."""
    form = re.search(rf'<form method="post" action="{re.escape(action)}">(.*?)</form>', page.text, re.DOTALL)
    assert form is not None, page.text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[1]))


async def test_a_person_hands_quota_back_and_sees_each_step(office: Office) -> None:
    """The form sent twice is one return; asked and returned, each with its time; nothing is left to hand back."""
    browser = await office.person("siti@contoh.id")
    order = await office.bought(browser, 3)
    path = f"/pesanan/{order.id}"
    page = await browser.get(path)
    form = {**form_of(page, f"{path}/kembalikan"), "quantity": "3"}
    for _ in range(2):
        assert 303 == (await browser.post(f"{path}/kembalikan", data=form)).status_code
    asked = (await browser.get(path)).text
    for shown in ("Uang kembali", "Rp37.500", "Diminta", "Sebentar lagi kami minta penyedia"):
        assert shown in asked
    await work_returns(office.purchase, office.shop.db)
    done = (await browser.get(path)).text
    for shown in ("Uangnya sudah kembali.", "Dikembalikan", "Diminta ke penyedia pembayaran"):
        assert shown in done
    assert f"{path}/kembalikan" not in done
    assert {"seen": 37_500, "returned": 37_500} == await books(office.shop.db)


async def test_what_cannot_be_handed_back_is_told_where_the_form_is(office: Office) -> None:
    """The form is open there; what went back is told beside what came."""
    browser = await office.person("siti@contoh.id")
    order = await office.bought(browser, 3)
    path = f"/pesanan/{order.id}"
    form = form_of(await browser.get(path), f"{path}/kembalikan")
    for typed in ("9", "0", "dua", ""):
        answer = await browser.post(f"{path}/kembalikan", data={**form, "quantity": typed})
        assert 422 == answer.status_code
        for shown in ("harus antara 1 dan 3", '<details class="card" open>', "3 kuota sudah masuk"):
            assert shown in answer.text
    assert "sudah Anda kembalikan" not in answer.text
    await browser.post(f"{path}/kembalikan", data={**form, "quantity": "2"})
    page = (await browser.get(path)).text
    for shown in ("sudah Anda kembalikan: 2.", "Tersedia sekarang: 1.", '<details class="card">'):
        assert shown in page


async def test_a_return_s_own_address_leads_to_its_order(office: Office) -> None:
    """The quota's history links what it is about: for a return that is its order; for others there is nothing."""
    browser, other = await office.person("siti@contoh.id"), await office.person("budi@contoh.id")
    order = await office.bought(browser, 1)
    back = (await browser.post(f"/v1/orders/{order.id}/returns", json={"quantity": 1})).json()
    answer = await browser.get(f"/pesanan/{back['id']}")
    assert (303, f"/pesanan/{order.id}") == (answer.status_code, answer.headers["location"])
    assert 404 == (await other.get(f"/pesanan/{back['id']}")).status_code


async def test_a_program_hands_quota_back_with_a_key(office: Office) -> None:
    """201 twice with one return; each refusal by its name; the order tells of its returns."""
    program, stranger = await office.person("siti@contoh.id"), await office.person("budi@contoh.id")
    order = await office.bought(program, 2)
    path, key = f"/v1/orders/{order.id}/returns", {"idempotency-key": "satu"}
    first, again = [await program.post(path, json={"quantity": 1}, headers=key) for _ in range(2)]
    assert (201, first.json()) == (again.status_code, again.json())
    assert ("quota_returned", "owed", 12_500) == tuple(first.json()[name] for name in ("cause", "state", "amount_idr"))
    refusals = [
        (await program.post(path, json={"quantity": 5})).json()["code"],
        (await program.post(path, json={"quantity": 2}, headers=key)).json()["code"],
        (await program.post(path, json={"quantity": 1}, headers={"idempotency-key": "a b"})).json()["code"],
        (await stranger.post(path, json={"quantity": 1})).json()["code"],
    ]
    assert ["return_quantity_invalid", "idempotency_key_reused", "idempotency_key_bad", "order_unknown"] == refusals
    await work_returns(office.purchase, office.shop.db)
    (told,) = (await program.get(f"/v1/orders/{order.id}")).json()["returns"]
    assert "returned" == told["state"]
    assert told["created_at"] <= told["asked_at"] <= told["ended_at"]
    listed = (await program.get("/v1/orders")).json()["items"]
    assert [told] == listed[0]["returns"]


async def test_the_wishes_of_an_order_are_kept(office: Office) -> None:
    """By the API and by the form; a key with other wishes is another request."""
    browser = await office.person("siti@contoh.id")
    wishes = {"quantity": 1, "second_payment": "credit", "channel": "virtual_account"}
    made = await browser.post("/v1/orders", json=wishes, headers={"idempotency-key": "k"})
    assert "credit" == made.json()["second_payment"]
    reused = await browser.post("/v1/orders", json={"quantity": 1}, headers={"idempotency-key": "k"})
    assert "idempotency_key_reused" == reused.json()["code"]
    assert 400 == (await browser.post("/v1/orders", json={**wishes, "channel": "tunai"})).status_code
    page = await browser.get("/beli", params={"quantity": "2"})
    form = form_of(page, "/beli") | {"channel": "qris", "second_payment": "credit"}
    path = (await browser.post("/beli", data=form)).headers["location"]
    row = await office.shop.db.fetchrow(
        "SELECT second_payment, wanted_channel FROM purchase.orders WHERE id = $1", path.rpartition("/")[2]
    )
    assert ("credit", "qris") == tuple(row)


async def test_the_buyer_of_a_quarantined_order_reads_what_happens_by_when(office: Office) -> None:
    """In words, with the time at which it goes back by itself."""
    browser = await office.person("siti@contoh.id")
    order = await office.bought(browser, 2, Payment(amount=24_999))
    page = (await browser.get(f"/pesanan/{order.id}")).text
    for shown in ("Uang yang masuk berbeda dari tagihan.", "Rp24.999", "Diputuskan paling lambat"):
        assert shown in page


async def test_the_office_decides_with_four_eyes(office: Office) -> None:
    """Only staff with the role see it; one proposes, sees no button to approve, and another approves."""
    buyer, ani, budi = (
        await office.person("siti@contoh.id"),
        await office.person("ani@contoh.id", Role.CARE),
        await office.person("budi@contoh.id", Role.CARE),
    )
    order = await office.bought(buyer, 2, Payment(amount=37_500))
    (back,) = await returns_of(office.purchase, order)
    seen_by_buyer = await buyer.get("/petugas/uang")
    assert 403 == seen_by_buyer.status_code, seen_by_buyer.text
    path = f"/petugas/uang/{back.id}"
    page = await ani.get("/petugas/uang")
    for shown in (order.number, "Rp37.500", "Jadikan kuota"):
        assert shown in page.text
    fields = form_of(page, path) | {"action": "credit", "note": "tiga meterai, menurut mutasi"}
    assert 303 == (await ani.post(path, data=fields)).status_code
    own = await ani.get("/petugas/uang")
    assert "Menunggu keputusan petugas lain." in own.text
    waiting = await budi.get("/petugas/uang")
    (decision,) = re.findall(r'action="(/petugas/uang/usulan/[^"]+)"', waiting.text)
    alone = form_of(own, path) if path in own.text else fields
    assert 403 == (await ani.post(decision, data={**alone, "decision": "approve"})).status_code
    approve = form_of(waiting, decision) | {"decision": "approve"}
    assert 303 == (await budi.post(decision, data=approve)).status_code
    assert 3 == await office.shop.bought(order.account_id)
    assert "Tidak ada yang menunggu." in (await budi.get("/petugas/uang")).text


async def test_the_page_says_how_many_stamps_can_be_taken_back(office: Office) -> None:
    """As many as the missing money paid for; where that is none, taking back is not offered."""
    buyer, ani = await office.person("siti@contoh.id"), await office.person("ani@contoh.id", Role.CARE)
    order = await office.bought(buyer, 3)
    source = Source(order.provider, order.provider_reference)
    for told_idr, most in ((order.total_idr // 3 - 1, 0), (order.total_idr - 1, 2)):
        seen = Seen(ChargeState.REVERSED, Decimal(order.total_idr), "IDR", Decimal(told_idr))
        await office.purchase.apply_seen(order.id, seen, source)
        page = (await ani.get("/petugas/uang")).text
        assert bool(most) == ('value="take_back"' in page) == (f'max="{most}"' in page)


@pytest.mark.parametrize(
    "fields",
    [{"action": "credit"}, {"note": "x"}, {"action": "steal", "note": "x"}, {"action": "return", "note": "a\x00b"}],
)
async def test_a_proposal_without_a_reason_is_none(office: Office, fields: dict[str, str]) -> None:
    """Which action, and why, in letters that can be kept."""
    browser = await office.person("siti@contoh.id")
    ani = await office.person("ani@contoh.id", Role.CARE)
    order = await office.bought(browser, 2, Payment(amount=24_999))
    (back,) = await returns_of(office.purchase, order)
    path = f"/petugas/uang/{back.id}"
    csrf = form_of(await ani.get("/petugas/uang"), path)
    assert 400 == (await ani.post(path, data=csrf | fields)).status_code


async def test_the_sandbox_returns_money_once_for_each_key_and_no_more_than_came(office: Office) -> None:
    """A client that asks twice, one that asks for too much, and a charge that nobody knows."""
    browser = await office.person("siti@contoh.id")
    order = await office.bought(browser, 2)
    provider, reference = office.shop.provider, order.provider_reference
    assert reference is not None
    said = [
        await provider.refund(order.id, reference, amount_idr=20_000, refund_key="a"),
        await provider.refund(order.id, reference, amount_idr=20_000, refund_key="a"),
        await provider.refund(order.id, reference, amount_idr=20_000, refund_key="b"),
        await provider.refund_status(order.id, reference, refund_key="a"),
        await provider.refund_status(order.id, reference, refund_key="b"),
        await provider.refund(order.id, "nobody", amount_idr=1, refund_key="c"),
    ]
    assert ["done", "done", "declined", "done", "unknown", "declined"] == [one.state.value for one in said]


async def all_pages(browser: httpx.AsyncClient) -> list[str]:
    """The office's pages, each where the one before leads."""
    pages, address = [], "/petugas/uang"
    while address:
        pages.append((await browser.get(address)).text)
        (address,) = re.findall(r'href="([^"]+)"[^>]*>[^<]*(?:<[^>]+>)?Halaman berikutnya', pages[-1]) or [""]
        assert bool(address) == ("masih ada lagi" in pages[-1])
        address = address.replace("&amp;", "&")
    return pages


async def test_the_office_s_page_says_that_there_is_more_and_leads_there(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of each on a page: every return and every case is on one page, those that waited longest first."""
    monkeypatch.setattr(cases_pages, "_A_PAGE", 2)
    buyer, ani = await office.person("siti@contoh.id"), await office.person("ani@contoh.id", Role.CARE)
    orders = [await office.bought(buyer, 2, Payment(amount=24_999)) for _ in range(5)]
    async with office.shop.db.transaction() as tx:
        for order in orders[:3]:
            await cases_store.insert_case(tx, CaseKind.NO_ANSWER, order.id, Source("sandbox"))
    pages = await all_pages(ani)
    numbers = [re.findall(r"Pesanan (\w{4}-\w{4})", page) for page in pages]
    first, second, third, fourth, fifth = (order.number for order in orders)
    assert [[first, second, first, second], [third, fourth, third], [fifth]] == numbers
    assert ["Halaman pertama" in page for page in pages] == [False, True, True]


@pytest.mark.parametrize(("returns", "cases"), [(5, 1), (1, 5)])
async def test_what_is_over_does_not_begin_anew_while_the_other_goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, returns: int, cases: int
) -> None:
    """There are pages of returns after the last case, or of cases after the last return: each is shown once."""
    monkeypatch.setattr(cases_pages, "_A_PAGE", 2)
    buyer, ani = await office.person("siti@contoh.id"), await office.person("ani@contoh.id", Role.CARE)
    orders = [await office.bought(buyer, 2, Payment(amount=24_999)) for _ in range(returns)]
    for _ in range(cases):
        orders.append(await office.shop.purchase.create_order(new_id(), 1))
        async with office.shop.db.transaction() as tx:
            await cases_store.insert_case(tx, CaseKind.NO_ANSWER, orders[-1].id, Source("sandbox"))
    pages = await all_pages(ani)
    numbers = [number for page in pages for number in re.findall(r"Pesanan (\w{4}-\w{4})", page)]
    assert (3, sorted(order.number for order in orders)) == (len(pages), sorted(numbers))
