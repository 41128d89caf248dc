"""Waiting for news of a history: told of what others commit, in whichever process, and of nobody else's."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from quota_app import Person, Till, browsing, create_quota_app, person_of

from emeterai.accounts.quota_news import LINES_SHOWN, WAITS_MAX, WAITS_OF_ONE_MAX, QuotaNews, position_of
from emeterai.accounts.service import Accounts
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger

SOON_S = 10
"""Whoever is told answers by then; a wait that ends by itself takes longer."""
LONG = {"prefer": "wait=30"}
PROGRAM, BROWSER = "/v1/quota/history/news", "/kuota/riwayat/kabar"


@dataclass
class House:
    """One process that people look at, and the bus and ledger of another one."""

    db: Database
    bus: Bus
    ledger: Ledger
    news: QuotaNews
    far_bus: Bus
    far_ledger: Ledger

    async def until_waiting(self, person: Person, count: int = 1) -> None:
        """Return when so many wait for news of this person."""
        async with asyncio.timeout(SOON_S):
            while len(self.bus._waiters.get(str(person.account_id), ())) < count:
                await asyncio.sleep(0.01)

    async def position(self, person: Person) -> str:
        """Where a history stands."""
        return await self.news.position(person.account_id)


@pytest.fixture
async def house(db: Database, database_url: str) -> AsyncIterator[House]:
    """Both processes, once the news of one reach the other."""
    bus, far_bus = Bus(database_url), Bus(database_url)
    far_db = await Database.connect(database_url, connections_max=2, wait_s=5)
    ledger = Ledger(db, bus.publish)
    await bus.start()
    await far_bus.start()
    with bus.listening("ready") as ready:
        async with asyncio.timeout(SOON_S):
            while not ready.is_set():
                far_bus.publish(["ready"])
                await asyncio.sleep(0.02)
    yield House(db, bus, ledger, QuotaNews(ledger, bus), far_bus, Ledger(far_db, far_bus.publish))
    await far_bus.close()
    await bus.close()
    await far_db.close()


@pytest.fixture
async def browser(accounts: Accounts, house: House) -> AsyncIterator[httpx.AsyncClient]:
    """Whoever looks at the first process."""
    async with browsing(create_quota_app(accounts, house.ledger, Till(), house.news)) as client:
        yield client


@pytest.fixture
async def siti(accounts: Accounts) -> Person:
    """A person without quota."""
    return await person_of(accounts, "siti@contoh.id")


@pytest.fixture
async def budi(accounts: Accounts) -> Person:
    """Another one."""
    return await person_of(accounts, "budi@contoh.id")


def credit(person: Person, amount: int = 1) -> Transfer:
    """What somebody gets."""
    return Transfer(new_id(), Kind.CREDIT, Reason.PURCHASE, amount, account=person.account_id)


async def posted(house: House, person: Person) -> None:
    """A movement of its own."""
    await house.far_ledger.post_one(credit(person))


async def posted_in_a_book(house: House, person: Person) -> None:
    """A movement in somebody's transaction, as sales, vouchers, grants and stamps are."""
    async with house.far_ledger._db.transaction() as tx:
        book = await house.far_ledger.open_book(tx, [person.account_id], opening=True)
        await book.post([credit(person)])


def asked(browser: httpx.AsyncClient, path: str, person: Person, after: str) -> asyncio.Task[httpx.Response]:
    """A request that waits."""
    headers = {**LONG, **person.bearer} if path == PROGRAM else person.cookie
    return asyncio.create_task(browser.get(path, params={"after": after}, headers=headers))


@pytest.mark.parametrize("path", [PROGRAM, BROWSER])
@pytest.mark.parametrize("move", [posted, posted_in_a_book])
async def test_a_movement_made_elsewhere_ends_the_wait(
    browser: httpx.AsyncClient, house: House, siti: Person, path: str, move: Callable[..., Any]
) -> None:
    """Long before the wait is over; the answer says where the history stands now."""
    before = await house.position(siti)
    waiting = asked(browser, path, siti, before)
    await house.until_waiting(siti)
    async with asyncio.timeout(SOON_S):
        await move(house, siti)
        answer = await waiting
    assert 200 == answer.status_code
    assert {"position": await house.position(siti)} == answer.json()
    assert before != answer.json()["position"]
    assert "no-store" == answer.headers["cache-control"]


async def test_what_moved_before_one_asked_is_answered_at_once(
    browser: httpx.AsyncClient, house: House, siti: Person
) -> None:
    """Between the page and its first question nothing is missed, told or not."""
    before = await house.position(siti)
    await Ledger(house.db).post([credit(siti)])
    async with asyncio.timeout(SOON_S):
        assert before != (await asked(browser, PROGRAM, siti, before)).json()["position"]


async def test_the_movements_of_others_end_no_wait(house: House, siti: Person, budi: Person) -> None:
    """Nor do news without a movement: who waits hears of his own history and of nothing else."""
    before = await house.position(siti)
    waiting = asyncio.create_task(house.news.position(siti.account_id, after=before, wait_s=30))
    await house.until_waiting(siti)
    with house.bus.listening(budi.account_id) as of_budi, house.bus.listening("end") as end:
        async with asyncio.timeout(SOON_S):
            for _ in range(5):
                await posted(house, budi)
                await of_budi.wait()
                house.far_bus.publish([siti.account_id, "end"])
                await end.wait()
                await house.position(siti)
                of_budi.clear()
                end.clear()
    assert not waiting.done()
    async with asyncio.timeout(SOON_S):
        await posted(house, siti)
        assert await house.position(siti) == await waiting


async def test_a_line_that_was_committed_late_is_news_too(house: House, siti: Person) -> None:
    """It stands below one that was there before, for its transaction began earlier."""
    async with house.db.transaction() as tx:
        await tx.fetchval("SELECT now()")
        first = credit(siti)
        await house.far_ledger.post([first])
        before = await house.position(siti)
        book = await house.ledger.open_book(tx, [siti.account_id])
        await book.post([credit(siti)])
    newest, _ = await house.ledger.history(siti.account_id)
    assert first.id == newest.id
    assert before != await house.position(siti)


async def test_a_position_stands_for_the_lines_of_a_page(house: House, siti: Person) -> None:
    """The newest twenty, in sixteen characters, and nothing else."""
    await house.ledger.post([credit(siti) for _ in range(LINES_SHOWN + 2)])
    movements = await house.ledger.history(siti.account_id)
    assert await house.position(siti) == position_of(movements) == position_of(movements[:LINES_SHOWN])
    assert position_of(movements) != position_of(movements[1:])


@pytest.mark.parametrize("after", ["", "x", "0" * 15, "0" * 17, "G" * 16, "0" * 16 + "\n", "é" * 16, "a" * 500])
async def test_a_strange_position_is_refused(browser: httpx.AsyncClient, siti: Person, after: str) -> None:
    """One that we did not give out is named as such, in a plain sentence, for programs and for pages."""
    for path in (PROGRAM, BROWSER):
        answer = await asked(browser, path, siti, after)
        assert (400, "position_bad") == (answer.status_code, answer.json()["code"])
        assert "Posisi riwayat ini bukan dari kami. Muat ulang riwayat Anda." == answer.json()["id"]


async def test_who_asks_without_a_position_learns_it(browser: httpx.AsyncClient, house: House, siti: Person) -> None:
    """At once, however long one would wait; a page always has one."""
    async with asyncio.timeout(SOON_S):
        answer = await browser.get(PROGRAM, headers={**LONG, **siti.bearer})
    assert {"position": await house.position(siti)} == answer.json()
    assert "position_bad" == (await browser.get(BROWSER, headers=siti.cookie)).json()["code"]


async def test_who_waits_holds_no_connection(accounts: Accounts, house: House, database_url: str, siti: Person) -> None:
    """With a single one in the pool, ten wait and the next one still gets it."""
    lonely = await Database.connect(database_url, connections_max=1, wait_s=2)
    news = QuotaNews(Ledger(lonely), house.bus)
    try:
        before = await house.position(siti)
        count = WAITS_OF_ONE_MAX
        waits = [asyncio.create_task(news.position(siti.account_id, after=before, wait_s=30)) for _ in range(count)]
        await house.until_waiting(siti, count)
        assert 1 == await lonely.fetchval("SELECT 1")
        async with asyncio.timeout(SOON_S):
            await posted(house, siti)
            assert {await house.position(siti)} == set(await asyncio.gather(*waits))
    finally:
        await lonely.close()


async def test_so_many_may_wait_and_no_more(
    browser: httpx.AsyncClient, house: House, siti: Person, budi: Person
) -> None:
    """One account cannot take the places of the others; who is refused is told when to come again."""
    before = await house.position(siti)
    waits = [asked(browser, PROGRAM, siti, before) for _ in range(WAITS_OF_ONE_MAX)]
    await house.until_waiting(siti, WAITS_OF_ONE_MAX)
    for path in (PROGRAM, BROWSER):
        answer = await asked(browser, path, siti, before)
        assert (503, "news_crowded") == (answer.status_code, answer.json()["code"])
        assert 30 <= int(answer.headers["retry-after"]) <= 45
    other = asked(browser, PROGRAM, budi, await house.position(budi))
    await house.until_waiting(budi)
    waits.pop().cancel()
    async with asyncio.timeout(SOON_S):
        while len(house.bus._waiters[str(siti.account_id)]) == WAITS_OF_ONE_MAX:
            await asyncio.sleep(0.01)
    waits.append(asked(browser, PROGRAM, siti, before))
    await house.until_waiting(siti, WAITS_OF_ONE_MAX)
    async with asyncio.timeout(SOON_S):
        await posted(house, siti)
        await posted(house, budi)
        assert {200} == {answer.status_code for answer in await asyncio.gather(*waits, other)}


async def test_a_process_has_a_bound_too(house: House) -> None:
    """However many accounts they are of."""
    house.news._waits.update({new_id(): 1 for _ in range(WAITS_MAX)})
    with pytest.raises(Refused, match="news_crowded"):
        await house.news.position(new_id(), after="0" * 16, wait_s=30)


async def test_nobody_hears_of_a_history_without_signing_in(browser: httpx.AsyncClient) -> None:
    """A program is refused; a browser is sent to sign in."""
    after = {"after": "0" * 16}
    assert 401 == (await browser.get(PROGRAM, params=after)).status_code
    assert 303 == (await browser.get(BROWSER, params=after)).status_code


async def test_the_page_follows_from_where_it_stands(browser: httpx.AsyncClient, house: House, siti: Person) -> None:
    """By one script of ours that asks nobody else, from the lines that it shows; and it says when that was."""
    await house.ledger.post([credit(siti) for _ in range(LINES_SHOWN + 1)])
    page = await browser.get("/kuota/riwayat", headers=siti.cookie)
    (script,) = re.findall(r"<script[^>]*>", page.text)
    found = re.fullmatch(r'<script src="(/static/follow\.[0-9a-f]{12}\.js)" defer>', script)
    assert found
    assert f'data-position="{await house.position(siti)}"' in page.text
    assert f'data-news="{BROWSER}"' in page.text
    assert re.search(r'Seperti pada <time datetime="[0-9TZ:-]+">', page.text)
    policy = page.headers["content-security-policy"].split("; ")
    assert {"script-src 'self'", "connect-src 'self'", "default-src 'none'", "frame-ancestors 'none'"} <= set(policy)
    sent = await browser.get(found[1])
    assert (200, "text/javascript; charset=utf-8") == (sent.status_code, sent.headers["content-type"])
    assert "immutable" in sent.headers["cache-control"]


async def test_older_pages_and_those_told_to_rest_do_not_follow(
    browser: httpx.AsyncClient, house: House, siti: Person
) -> None:
    """What has moved since is on the first page; and who said no is left alone. Neither lets a script run."""
    await house.ledger.post([credit(siti) for _ in range(LINES_SHOWN + 1)])
    first = await browser.get("/kuota/riwayat", headers=siti.cookie)
    older = re.search(r'href="(/kuota/riwayat\?cursor=[^"]+)"', first.text)
    assert older
    for path in (older[1], "/kuota/riwayat?refresh=0", "/kuota"):
        page = await browser.get(path, headers=siti.cookie)
        assert "<script" not in page.text
        assert "data-news" not in page.text
        assert "content-security-policy" not in page.headers
