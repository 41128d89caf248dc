"""Quota and its history over HTTP, for programs and for people, on the real ledger."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import httpx
import pytest
from quota_app import Person, Till, browsing, create_quota_app, person_of

from emeterai.accounts.quota import read_statement
from emeterai.accounts.service import Accounts
from emeterai.core.ledger import Balance, Kind, Posted, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.model import Movement
from emeterai.ledger.service import Ledger


@pytest.fixture
def ledger(db: Database) -> Ledger:
    """The ledger on this test's database."""
    return Ledger(db)


@pytest.fixture
def till() -> Till:
    """Where nobody pays yet."""
    return Till()


@pytest.fixture
async def browser(accounts: Accounts, ledger: Ledger, till: Till) -> AsyncIterator[httpx.AsyncClient]:
    """A browser or a program at an application of quota alone."""
    async with browsing(create_quota_app(accounts, ledger, till)) as client:
        yield client


@pytest.fixture
async def siti(accounts: Accounts) -> Person:
    """A person without quota."""
    return await person_of(accounts, "siti@contoh.id")


async def _post(ledger: Ledger, *transfers: Transfer) -> None:
    for transfer in transfers:
        (answer,) = await ledger.post([transfer])
        assert isinstance(answer, Posted)


async def _live_through(ledger: Ledger, account_id: UUID) -> None:
    """Twenty bought, twelve stamps asked for: eight used, two refused, one late, one under way; two handed back."""

    def moves(kind: Kind, reason: Reason, amount: int = 1, **more: Any) -> Transfer:
        return Transfer(new_id(), kind, reason, amount, account=account_id, **more)

    await _post(ledger, moves(Kind.CREDIT, Reason.PURCHASE, 20, subject=new_id()))
    endings = [(Kind.SETTLE, Reason.SEALED)] * 8 + [(Kind.RELEASE, Reason.FILE_REFUSED)] * 2
    endings += [(Kind.RELEASE, Reason.EXPIRED)]
    for ending in [*endings, None]:
        hold = moves(Kind.HOLD, Reason.STAMPING, subject=new_id(), life_s=60)
        await _post(ledger, hold)
        if ending:
            await _post(ledger, moves(*ending, hold_id=hold.id, subject=hold.subject))
    await _post(ledger, moves(Kind.REFUND, Reason.RETURNED, 2))


async def test_a_new_person_has_nothing(browser: httpx.AsyncClient, siti: Person) -> None:
    """Five zeros, no line, and no page that fails."""
    quota = await browser.get("/v1/quota", headers=siti.bearer)
    assert dict.fromkeys(("bought", "available", "held", "used", "refunded"), 0) == quota.json()
    history = await browser.get("/v1/quota/history", headers=siti.bearer)
    assert {"items": [], "next": None} == history.json()
    for path in ("/kuota", "/kuota/riwayat"):
        page = await browser.get(path, headers=siti.cookie)
        assert 200 == page.status_code
        assert "Belum ada gerak" in page.text


async def test_the_sum_holds(browser: httpx.AsyncClient, siti: Person, ledger: Ledger) -> None:
    """Bought = available + held + used + refunded, and no cache keeps it."""
    await _live_through(ledger, siti.account_id)
    answer = await browser.get("/v1/quota", headers=siti.bearer)
    assert {"bought": 20, "available": 9, "held": 1, "used": 8, "refunded": 2} == answer.json()
    assert "no-store" == answer.headers["cache-control"]


@pytest.mark.parametrize("limit", [1, 4, 25, 100])
async def test_programs_read_every_line_once(
    browser: httpx.AsyncClient, siti: Person, ledger: Ledger, limit: int
) -> None:
    """Whatever the length of a page, the pages together are the history, newest first; the changes add up."""
    await _live_through(ledger, siti.account_id)
    items, query = [], f"limit={limit}"
    while True:
        page = (await browser.get(f"/v1/quota/history?{query}", headers=siti.bearer)).json()
        items += page["items"]
        assert len(page["items"]) <= limit
        if page["next"] is None:
            break
        query = f"limit={limit}&cursor={page['next']}"
    expected = [str(movement.id) for movement in await ledger.history(siti.account_id, limit=100)]
    assert expected == [item["id"] for item in items]
    assert 9 == sum(item["change"] for item in items)
    assert sorted((item["at"] for item in items), reverse=True) == [item["at"] for item in items]


async def test_a_line_says_everything(browser: httpx.AsyncClient, siti: Person, ledger: Ledger) -> None:
    """Codes for programs; a sentence and a next step in both languages for people."""
    order_id = new_id()
    bought = Transfer(new_id(), Kind.CREDIT, Reason.PURCHASE, 3, account=siti.account_id, subject=order_id)
    await _post(ledger, bought)
    (item,) = (await browser.get("/v1/quota/history", headers=siti.bearer)).json()["items"]
    assert item.pop("at").endswith("Z")
    assert {
        "id": str(bought.id),
        "kind": "credit",
        "reason": "purchase",
        "amount": 3,
        "change": 3,
        "subject": str(order_id),
        "sentence": {
            "id": "Dibeli: pembayaran Anda sudah kami terima. Kuota tersedia bertambah 3.",
            "en": "Bought: your payment has arrived. The available quota grows by 3.",
        },
        "next_step": {"id": "Lihat pesanannya", "en": "See the order"},
    } == item


async def test_nobody_sees_the_quota_of_another(
    browser: httpx.AsyncClient, siti: Person, ledger: Ledger, accounts: Accounts
) -> None:
    """A cursor into somebody else's history shows one's own only; without a token there is nothing to see."""
    await _live_through(ledger, siti.account_id)
    other = await person_of(accounts, "budi@contoh.id")
    cursor = (await browser.get("/v1/quota/history?limit=1", headers=siti.bearer)).json()["next"]
    seen = await browser.get(f"/v1/quota/history?cursor={cursor}", headers=other.bearer)
    assert {"items": [], "next": None} == seen.json()
    for path in ("/v1/quota", "/v1/quota/history"):
        assert (401, "sign_in_needed") == _told(await browser.get(path))
    for path in ("/kuota", "/kuota/riwayat"):
        assert 303 == (await browser.get(path)).status_code


@pytest.mark.parametrize("cursor", ["x", "!!!!", "MjAyNg", "%00", "a" * 500, "%C3%A9"])
async def test_a_strange_cursor_is_refused(browser: httpx.AsyncClient, siti: Person, cursor: str) -> None:
    """A cursor that we did not give out is named as such, for programs and for people."""
    assert (400, "cursor_bad") == _told(await browser.get(f"/v1/quota/history?cursor={cursor}", headers=siti.bearer))
    for given in (cursor, f"{cursor}.5", f"{cursor}.", f"{cursor}.x"):
        answer = await browser.get(f"/kuota/riwayat?cursor={given}", headers=siti.cookie)
        assert (400, "cursor_bad") == _told(answer)


@pytest.mark.parametrize("limit", ["0", "101", "-1", "x", ""])
async def test_a_strange_limit_is_refused(browser: httpx.AsyncClient, siti: Person, limit: str) -> None:
    """A page has 1 to 100 lines."""
    assert 400 == (await browser.get(f"/v1/quota/history?limit={limit}", headers=siti.bearer)).status_code


async def test_a_person_reads_the_quota(browser: httpx.AsyncClient, siti: Person, ledger: Ledger) -> None:
    """The page shows the sum and the newest movements with what was available after each."""
    await _live_through(ledger, siti.account_id)
    page = await browser.get("/kuota", headers=siti.cookie)
    assert "9 + 1 + 8 + 2 = 20" in page.text
    assert [9, 11, 12, 11, 12] == _availables(page.text)
    assert "no-store" == page.headers["cache-control"]


async def test_a_person_reads_the_whole_history(browser: httpx.AsyncClient, siti: Person, ledger: Ledger) -> None:
    """Page by page, and on every page what was available goes on from the page before."""
    await _live_through(ledger, siti.account_id)
    path, seen, pages = "/kuota/riwayat", [], 0
    while path:
        page = (await browser.get(path, headers=siti.cookie)).text
        assert (pages > 0) == ('href="/kuota/riwayat"' in page)
        seen += _availables(page)
        found = re.search(r'href="(/kuota/riwayat\?cursor=[^"]+)"', page)
        path, pages = found[1] if found else "", pages + 1
    assert 2 == pages
    assert _counted(await ledger.history(siti.account_id, limit=100)) == seen


async def test_a_statement_fits_together_while_stamps_are_made(siti: Person, ledger: Ledger) -> None:
    """When the balance moves between the two reads, they are made again."""
    await _live_through(ledger, siti.account_id)
    busy = _BusyLedger(ledger, siti.account_id)
    balance, movements = await read_statement(busy, siti.account_id, limit=100)  # type: ignore[arg-type]
    assert balance.available == _counted(movements)[0] == 10


class _BusyLedger:
    """The real ledger, in which somebody buys one unit right after the first look at the balance."""

    def __init__(self, ledger: Ledger, account_id: UUID) -> None:
        self._ledger = ledger
        self._purchase = [Transfer(new_id(), Kind.CREDIT, Reason.PURCHASE, 1, account=account_id)]

    async def balance(self, account_id: UUID) -> Balance:
        found = await self._ledger.balance(account_id)
        await self._ledger.post(self._purchase)
        return found

    async def history(self, account_id: UUID, *, limit: int) -> list[Movement]:
        return await self._ledger.history(account_id, limit=limit)


def _counted(movements: Sequence[Movement]) -> list[int]:
    """What was available after each movement, counted forwards from nothing."""
    signs = {"credit": 1, "hold": -1, "settle": 0, "release": 1, "refund": -1}
    available, after = 0, []
    for movement in reversed(movements):
        available += signs[movement.kind] * movement.amount
        after.append(available)
    return after[::-1]


def _availables(page: str) -> list[int]:
    return [int(text) for text in re.findall(r"tersedia sesudahnya: (\d+)", page)]


def _told(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def test_the_pages_follow_while_a_payment_is_awaited(
    browser: httpx.AsyncClient, siti: Person, till: Till
) -> None:
    """So that the quota shows when it comes, unless the person said no; older pages and other people's rest."""
    for paying, expected in ((None, False), (new_id(), False), (siti.account_id, True)):
        till.paying = paying
        for path in ("/kuota", "/kuota/riwayat"):
            assert expected == ("http-equiv" in (await browser.get(path, headers=siti.cookie)).text)
            assert "http-equiv" not in (await browser.get(f"{path}?refresh=0", headers=siti.cookie)).text
