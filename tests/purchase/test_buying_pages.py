"""Buying as a person does: pages and forms, no JavaScript."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx
import pytest
from shops import Shop, listening, token_of, until

from emeterai.purchase.sandbox import SandboxProvider
from emeterai.purchase.service import Purchase
from emeterai.web.credentials import SESSION_COOKIE


@pytest.fixture
async def browser(open_shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    """A browser whose person is signed in."""
    cookies = {SESSION_COOKIE: await token_of(open_shop, "siti@contoh.id")}
    async with httpx.AsyncClient(base_url=open_shop.settings.base_url, cookies=cookies, trust_env=False) as client:
        yield client


@pytest.fixture
async def deaf_browser(shop: Shop) -> AsyncIterator[httpx.AsyncClient]:
    """The same, in a shop whose provider does not answer."""
    deaf = SandboxProvider("http://127.0.0.1:9", shop.secret)
    without = replace(shop, purchase=Purchase(shop.db, shop.ledger, shop.settings, providers=[deaf]))
    cookies = {SESSION_COOKIE: await token_of(shop, "siti@contoh.id")}
    async with (
        listening(without.app(), int(shop.settings.base_url.rpartition(":")[2])),
        httpx.AsyncClient(base_url=shop.settings.base_url, cookies=cookies, trust_env=False) as client,
    ):
        yield client
    await deaf.close()


def fields_of(page: httpx.Response, action: str) -> dict[str, str]:
    """The hidden fields of the form that posts to `action`."""
    form = re.search(rf'<form method="post" action="{re.escape(action)}">(.*?)</form>', page.text, re.DOTALL)
    assert form is not None, page.text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form[1]))


async def ordered(browser: httpx.AsyncClient, quantity: int) -> str:
    """Order through the form; gives the order's path."""
    form = fields_of(await browser.get("/beli", params={"quantity": quantity}), "/beli")
    answer = await browser.post("/beli", data=form)
    assert 303 == answer.status_code
    return answer.headers["location"]


async def test_a_person_buys_quota(open_shop: Shop, browser: httpx.AsyncClient) -> None:
    """Price, order, pay at the provider, come back, and the quota is there; the form sent twice is one order."""
    page = await browser.get("/beli", params={"quantity": "3"})
    for shown in ("Rp30.000", "Rp7.500", "Rp37.500"):
        assert shown in page.text
    form = fields_of(page, "/beli")
    path = (await browser.post("/beli", data=form)).headers["location"]
    assert path == (await browser.post("/beli", data=form)).headers["location"]
    waiting = await browser.get(path)
    assert '<meta http-equiv="refresh"' in waiting.text
    assert '<meta http-equiv="refresh"' not in (await browser.get(path, params={"refresh": "0"})).text
    paying = await browser.post(f"{path}/bayar", data=fields_of(waiting, f"{path}/bayar"))
    assert 303 == paying.status_code
    back = await browser.post(paying.headers["location"], data={"action": "pay"})
    assert f"{open_shop.settings.base_url}{path}?kembali=1" == back.headers["location"]

    async def look() -> str:
        return (await browser.get(back.headers["location"])).text

    assert "3 kuota sudah masuk" in await until(look, lambda text: "Pembayaran diterima" in text)
    assert path in (await browser.get("/pesanan")).text


@pytest.mark.parametrize("quantity", ["0", "1001", "-1", "banyak", "", "9" * 400, "٣", "1.5", "2.0"])
async def test_a_quantity_that_cannot_be_ordered_is_explained(browser: httpx.AsyncClient, quantity: str) -> None:
    """The form comes back with what is wrong, and no order is made."""
    shown = await browser.get("/beli", params={"quantity": quantity})
    assert "antara 1 dan 1000" in shown.text
    form = fields_of(await browser.get("/beli"), "/beli") | {"quantity": quantity}
    answer = await browser.post("/beli", data=form)
    assert 422 == answer.status_code
    assert "Belum ada pesanan" in (await browser.get("/pesanan")).text


async def test_forms_of_others_are_refused(open_shop: Shop, browser: httpx.AsyncClient) -> None:
    """Without our hidden field nothing is ordered, paid or given up."""
    path = await ordered(browser, 1)
    for target in ("/beli", f"{path}/bayar", f"{path}/batal"):
        answer = await browser.post(target, data={"quantity": "1"})
        assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])
    assert 1 == await open_shop.db.fetchval("SELECT count(*) FROM purchase.orders WHERE state = 'awaiting_payment'")


@pytest.mark.parametrize("path", ["/beli", "/pesanan", "/pesanan/01990000-0000-7000-8000-000000000000"])
async def test_pages_want_a_person(open_shop: Shop, path: str) -> None:
    """Whoever is not signed in is sent to sign in, and comes back."""
    async with httpx.AsyncClient(base_url=open_shop.settings.base_url, trust_env=False) as stranger:
        answer = await stranger.get(path)
    assert 303 == answer.status_code
    assert answer.headers["location"].startswith("/masuk?next=")


async def test_an_order_that_is_over_is_shown_and_not_paid(open_shop: Shop, browser: httpx.AsyncClient) -> None:
    """Its time is over as soon as the database says so; the pay button then leads back to the page."""
    path = await ordered(browser, 1)
    form = fields_of(await browser.get(path), f"{path}/bayar")
    async with open_shop.db.transaction() as tx:
        await tx.execute("UPDATE purchase.orders SET expires_at = now() - interval '1 second'")
    assert "Waktu pesanan ini sudah lewat" in (await browser.get(path)).text
    assert path == (await browser.post(f"{path}/bayar", data=form)).headers["location"]


@pytest.mark.parametrize(
    ("state", "status", "shown"),
    [
        ("expired", 200, "Waktu pesanan ini sudah lewat"),
        ("cancelled", 200, "Pesanan ini dibatalkan"),
        ("quarantined", 200, "petugas sedang memeriksanya"),
    ],
)
async def test_every_state_has_its_page(
    open_shop: Shop, browser: httpx.AsyncClient, state: str, status: int, shown: str
) -> None:
    """Whatever became of an order, its page says so, and the list can show it."""
    path = await ordered(browser, 1)
    async with open_shop.db.transaction() as tx:
        await tx.execute(
            """
            UPDATE purchase.orders SET state = $1, seen_amount = 1, seen_currency = 'IDR', next_check_at = NULL
            """,
            state,
        )
    page = await browser.get(path)
    assert (status, True) == (page.status_code, shown in page.text)
    assert path in (await browser.get("/pesanan")).text


async def test_orders_are_listed_a_page_at_a_time(open_shop: Shop, browser: httpx.AsyncClient) -> None:
    """Twenty-one orders are two pages."""
    await ordered(browser, 1)
    (account,) = await open_shop.db.fetchrow("SELECT account_id FROM purchase.orders") or ()
    for _ in range(20):
        await open_shop.purchase.place_order(account, 1)
    first = await browser.get("/pesanan")
    older = re.search(r'href="(/pesanan\?before=[^"]+)"', first.text)
    assert older is not None
    second = await browser.get(older[1])
    listed = [len(set(re.findall(r'href="/pesanan/([0-9a-f-]{36})"', page.text))) for page in (first, second)]
    assert [20, 1] == listed


async def test_an_order_that_cannot_be_paid_yet_is_shown_with_the_reason_and_the_button_to_try_again(
    deaf_browser: httpx.AsyncClient,
) -> None:
    """No provider answers: 503 with the order, nothing owed, and the form for a second try; the page stays as it is."""
    path = await ordered(deaf_browser, 1)
    for _ in range(2):
        form = fields_of(await deaf_browser.get(path), f"{path}/bayar")
        answer = await deaf_browser.post(f"{path}/bayar", data=form)
        assert (503, "10") == (answer.status_code, answer.headers["retry-after"])
        assert "Penyedia pembayaran sedang tidak menjawab" in answer.text
        assert fields_of(answer, f"{path}/bayar")
        assert '<meta http-equiv="refresh"' not in answer.text


async def test_whoever_buys_again_is_told_of_the_order_that_waits(browser: httpx.AsyncClient) -> None:
    """With a way to it; what is paid or given up is not mentioned."""
    assert "masih menunggu pembayaran" not in (await browser.get("/beli")).text
    path = await ordered(browser, 2)
    page = (await browser.get("/beli")).text
    assert "masih menunggu pembayaran" in page
    assert f'href="{path}"' in page
    await browser.post(f"{path}/batal", data=fields_of(await browser.get(path), f"{path}/batal"))
    assert path not in (await browser.get("/beli")).text


async def test_a_limit_is_told_where_the_person_buys(open_shop: Shop, browser: httpx.AsyncClient) -> None:
    """With the orders to pay or to give up, and the quantity as it was typed."""
    form = fields_of(await browser.get("/beli", params={"quantity": "3"}), "/beli")
    (account,) = await open_shop.db.fetchrow("SELECT id FROM accounts.accounts") or ()
    for _ in range(open_shop.settings.person_orders_an_hour_max):
        last = await open_shop.purchase.place_order(account, 1)
    answer = await browser.post("/beli", data=form)
    assert (429, True) == (answer.status_code, "retry-after" in answer.headers)
    assert "Anda sudah membuat 100 pesanan dalam satu jam" in answer.text
    assert f'href="/pesanan/{last.id}"' in answer.text
    assert 'value="3"' in answer.text


async def test_an_order_that_was_paid_meanwhile_is_shown_and_not_given_up(
    open_shop: Shop, browser: httpx.AsyncClient
) -> None:
    """The page says why, and what became of it."""
    path = await ordered(browser, 1)
    form = fields_of(await browser.get(path), f"{path}/batal")
    (account, order_id) = await open_shop.db.fetchrow("SELECT account_id, id FROM purchase.orders") or ()
    await open_shop.notify(await open_shop.purchase.order(account, order_id))
    answer = await browser.post(f"{path}/batal", data=form)
    assert 409 == answer.status_code
    for shown in ("tidak lagi menunggu pembayaran", "Pembayaran diterima"):
        assert shown in answer.text
