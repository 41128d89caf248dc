"""A history that is open while its quota moves elsewhere: in another process, and on another phone."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.async_api import BrowserContext, Page, Route, async_playwright, expect

from emeterai.web.credentials import SESSION_COOKIE
from papers import letter
from programs import need_program
from running import Person, RunningService

SOON_S = 15
"""Who is told answers by then; who is not waits for 30 s."""
PATIENCE_MS = 30_000
"""Only a test that fails waits as long."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
LINES = "#gerak li"
MANY = 12


async def position(person: Person, after: str = "") -> str:
    """Where a history stands, waited for when `after` is given."""
    asked = {"after": after} if after else {}
    answer = await person.api.get("/v1/quota/history/news", params=asked, headers={"Prefer": "wait=30"})
    return str(answer.raise_for_status().json()["position"])


async def newest(person: Person) -> tuple[str, str]:
    """Kind and reason of the newest line."""
    line = (await person.api.get("/v1/quota/history?limit=1")).raise_for_status().json()["items"][0]
    return line["kind"], line["reason"]


@pytest.fixture
async def siti(service: RunningService) -> AsyncIterator[Person]:
    """Somebody with quota."""
    someone = await Person.sign_up(service, quota=4)
    yield someone
    await someone.close()


async def test_what_a_sealer_does_reaches_whoever_waits(siti: Person) -> None:
    """The hold of one process and the settling of another, each as it comes and none by waiting to the end."""
    stands = await position(siti)
    async with asyncio.timeout(SOON_S):
        waiting = asyncio.create_task(position(siti, stands))
        await siti.stamp(letter(), wait_s=0)
        stands = await waiting
        while ("settle", "sealed") != await newest(siti):
            stands = await position(siti, stands)


async def test_what_was_bought_reaches_whoever_waits(siti: Person) -> None:
    """The order is paid somewhere, and the history moves."""
    waiting = asyncio.create_task(position(siti, await position(siti)))
    await siti.buy(1)
    async with asyncio.timeout(SOON_S):
        await waiting
    assert ("credit", "purchase") == await newest(siti)


@pytest.fixture
async def chromium() -> AsyncIterator[Any]:
    """Chromium; skipped when there is none, a failure in CI."""
    expect.set_options(timeout=PATIENCE_MS)
    path = need_program("chromium", "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        await browser.close()


async def phone(chromium: Any, person: Person, **more: Any) -> BrowserContext:
    """A small phone on which this person has signed in."""
    context: BrowserContext = await chromium.new_context(viewport={"width": 360, "height": 500}, **more)
    token = person.api.headers["Authorization"].removeprefix("Bearer ")
    cookie = {"name": SESSION_COOKIE, "value": token, "url": person.service.base_url}
    await context.add_cookies([cookie])  # type: ignore[list-item]
    return context


async def opened(context: BrowserContext, person: Person) -> tuple[Page, list[str]]:
    """The history, and what the browser will have to complain about."""
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{person.service.base_url}/kuota/riwayat")
    return page, complaints


async def test_an_open_history_shows_it_and_keeps_the_place(chromium: Any, siti: Person) -> None:
    """Lines come in above what is being read, which stays where it is on the screen and keeps the focus."""
    for _ in range(MANY):
        await siti.buy(1)
    context = await phone(chromium, siti)
    page, complaints = await opened(context, siti)
    await expect(page.locator("#ikut")).to_be_visible()
    # As in browsers that do not keep the place by themselves.
    await page.evaluate("document.documentElement.style.overflowAnchor = document.body.style.overflowAnchor = 'none'")
    count = await page.locator(LINES).count()
    link = page.locator(LINES).nth(MANY // 2).locator("a")
    await link.focus()
    await page.evaluate("document.activeElement.closest('li').scrollIntoView()")
    before = await link.bounding_box()
    await siti.buy(1)
    await expect(page.locator(LINES)).to_have_count(count + 1)
    assert before
    assert await link.count() == 1
    focused = await page.evaluate("document.activeElement.getBoundingClientRect().top")
    assert before["y"] == pytest.approx(focused, abs=2)
    await expect(page.locator("#ada")).to_have_text(re.compile("Riwayat diperbarui"))
    await siti.buy(1)
    await expect(page.locator(LINES)).to_have_count(count + 2)
    assert [] == complaints
    await context.close()


async def test_the_first_line_appears_on_an_empty_history(chromium: Any, service: RunningService) -> None:
    """Where there was no list before."""
    nobody = await Person.sign_up(service)
    context = await phone(chromium, nobody)
    page, complaints = await opened(context, nobody)
    await expect(page.locator("#gerak")).to_contain_text("Belum ada gerak")
    await nobody.buy(1)
    await expect(page.locator(LINES)).to_have_count(1)
    assert [] == complaints
    await context.close()
    await nobody.close()


async def test_without_a_script_the_page_says_when_it_was(chromium: Any, siti: Person) -> None:
    """And nothing that only a script can promise."""
    context = await phone(chromium, siti, java_script_enabled=False)
    page, _ = await opened(context, siti)
    await expect(page.locator("#dibuat")).to_be_visible()
    for hidden in ("#ikut", "#ada", "#tertunda", "#berhenti"):
        await expect(page.locator(hidden)).to_be_hidden()
    await context.close()


class Refusing:
    """The front door, refusing those who wait; and how often it was asked."""

    def __init__(self, status: int, **headers: str) -> None:
        self.asked: list[str] = []
        self._status, self._headers = status, headers

    async def answer(self, route: Route) -> None:
        """No."""
        self.asked.append(parse_qs(urlsplit(route.request.url).query)["after"][0])
        await route.fulfill(status=self._status, headers=self._headers, body="")


async def opened_before(door: Refusing, context: BrowserContext, person: Person) -> Page:
    """The history, on a clock that the test moves, whose every question for news comes to this door."""
    page = await context.new_page()
    await page.route("**/kabar?*", door.answer)
    await page.clock.install()
    await page.goto(f"{person.service.base_url}/kuota/riwayat")
    return page


@pytest.mark.parametrize("status", [429, 503])
async def test_who_is_sent_away_comes_back_when_told(chromium: Any, siti: Person, status: int) -> None:
    """Not before `Retry-After` is over, by the page's own clock; and says that news are late."""
    context = await phone(chromium, siti)
    door = Refusing(status, **{"Retry-After": "100"})
    page = await opened_before(door, context, siti)
    await page.clock.run_for(2_000)
    await expect(page.locator("#tertunda")).to_be_visible()
    for _ in range(60):
        await page.clock.run_for(1_000)
    assert 1 == len(door.asked)
    async with page.expect_response("**/kabar?*"):
        await page.clock.run_for(90_000)
    assert 2 == len(door.asked)
    assert len(set(door.asked)) == 1
    await context.close()


async def test_who_is_not_told_comes_back_later_each_time(chromium: Any, siti: Person) -> None:
    """A line that breaks is tried again after some seconds, then after twice as many."""
    context = await phone(chromium, siti)
    door = Refusing(502)
    page = await opened_before(door, context, siti)
    for _ in range(120):
        await page.clock.run_for(1_000)
        await page.evaluate("0")
    assert 4 <= len(door.asked) <= 7
    await context.close()


async def test_who_is_signed_out_is_told_that_it_follows_no_more(chromium: Any, siti: Person) -> None:
    """It asks nothing any more, and offers to load the page again."""
    context = await phone(chromium, siti)
    page, _ = await opened(context, siti)
    await expect(page.locator("#ikut")).to_be_visible()
    await context.clear_cookies()
    await siti.buy(1)
    await expect(page.locator("#berhenti")).to_be_visible()
    await expect(page.locator("#ikut")).to_be_hidden()
    await context.close()


async def test_a_page_that_nobody_sees_asks_for_nothing(chromium: Any, siti: Person) -> None:
    """From the end of its wait until it is looked at again."""
    context = await phone(chromium, siti)
    await context.add_init_script("Object.defineProperty(document, 'hidden', { get: () => !window.seen })")
    door = Refusing(503)
    page = await opened_before(door, context, siti)
    await page.clock.run_for(600_000)
    assert [] == door.asked
    await page.evaluate("window.seen = true; document.dispatchEvent(new Event('visibilitychange'))")
    await expect(page.locator("#tertunda")).to_be_visible()
    assert 1 == len(door.asked)
    await context.close()


async def test_an_answer_that_is_not_of_ours_ends_it(siti: Person) -> None:
    """A position that we did not give out is refused in words, by the whole service, for programs and for pages."""
    answer = await siti.api.get("/v1/quota/history/news?after=x")
    assert (400, "position_bad") == (answer.status_code, answer.json()["code"])
    token = siti.api.headers["Authorization"].removeprefix("Bearer ")
    async with httpx.AsyncClient(base_url=siti.service.base_url, trust_env=False) as browser:
        shown = await browser.get("/kuota/riwayat/kabar?after=x", headers={"cookie": f"{SESSION_COOKIE}={token}"})
    assert 400 == shown.status_code
    assert "Posisi riwayat ini bukan dari kami. Muat ulang riwayat Anda." in shown.text
