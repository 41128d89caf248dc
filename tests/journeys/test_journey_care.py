"""Buy, pay, receipt, tracker and seller check in Chromium, on a phone: what a person does and what axe says of it."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page, async_playwright

from emeterai.purchase.tracking import tracking_code
from emeterai.web.credentials import SESSION_COOKIE
from programs import need_program
from running import Person, RunningService

PASSWORD = "kopi-hangat-di-teras-rumah"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
AXE_OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"meta-refresh": {"enabled": False}},
}


@pytest.fixture
async def phone(tmp_path: Path, service: RunningService) -> AsyncIterator[Page]:
    """A tab on a phone; skipped where there is no Chromium, a failure in CI."""
    chromium = need_program("chromium", "chromium")
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(
            tmp_path,
            executable_path=chromium,
            args=ARGUMENTS,
            base_url=service.base_url,
            viewport={"width": 360, "height": 740},
            accept_downloads=True,
        )
        page = await context.new_page()
        page.set_default_timeout(20_000)
        yield page
        await context.close()


async def judged(page: Page, name: str) -> None:
    """Axe finds nothing, nothing scrolls sideways; with TEST_PICTURES a picture is kept for people to look at."""
    folder = os.environ.get("TEST_PICTURES")
    if folder:
        await page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)
    findings = (await Axe().run(page, options=AXE_OPTIONS)).response["violations"]
    assert [] == [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in findings], name
    assert 360 >= await page.evaluate("document.documentElement.scrollWidth"), name


async def bought(page: Page) -> str:
    """Sign up with a phone number, order two stamps and pay; gives the phone number."""
    number = f"0812{secrets.randbelow(10**8):08d}"
    await page.goto("/daftar")
    for field, text in (("name", "Siti Rahayu"), ("contact", number), ("password", PASSWORD)):
        await page.fill(f"#{field}", text)
    await page.click("main button")
    await page.goto("/beli?quantity=2")
    await page.click("main form[method=post] button")
    await page.wait_for_url("**/pesanan/*")
    await page.goto(f"{page.url}?refresh=0")
    await judged(page, "order-open")
    await page.click("main form[action$='/bayar'] button")
    await page.click("button[value=pay]")
    await page.wait_for_url("**/pesanan/*")
    async with asyncio.timeout(20):
        while "Pembayaran diterima" not in await page.inner_text("main"):
            await asyncio.sleep(0.2)
            await page.goto(page.url.partition("?")[0])
    await judged(page, "order-paid")
    return number


async def test_a_person_buys_and_keeps_the_proof(phone: Page, tmp_path: Path) -> None:
    """The order leads to its receipt, that to its PDF, and the receipt's code opens the tracker without signing in."""
    number = await bought(phone)
    order_path = phone.url.partition("?")[0]
    await phone.click("main a[href$='/bukti']")
    await judged(phone, "receipt")
    shown = await phone.inner_text("main")
    assert "Terbilang: dua puluh ribu rupiah." in shown
    async with phone.expect_download() as downloading:
        await phone.click("main a[href$='/bukti.pdf']")
    file = tmp_path / "bukti.pdf"
    await (await downloading.value).save_as(file)
    assert file.read_bytes().startswith(b"%PDF")
    await phone.goto(order_path)
    code = await phone.inner_text("dl.facts div:has-text('Kode lacak') dd")
    await phone.click("main a[href^='/lacak']")
    await phone.context.clear_cookies()
    await phone.reload()
    await judged(phone, "track")
    for digits, name in ((code, "tracked-by-code"), (number[-4:], "tracked-by-phone")):
        typed = await phone.input_value("#number")
        await phone.fill("#digits", digits)
        await phone.click("main form button")
        assert "Uang terlihat" in await phone.inner_text("main [role=status]")
        await judged(phone, name)
        await phone.goto(f"/lacak?nomor={typed}")
    wrong = next(text for text in ("0000", "1111", "2222") if text not in {code, number[-4:]})
    await phone.fill("#digits", wrong)
    await phone.click("main form button")
    assert "Tidak ada pesanan" in await phone.inner_text("main [role=alert]")
    await judged(phone, "track-unmatched")


def browser(number: int) -> dict[str, str]:
    """What a browser shows that says it is signed in."""
    return {"cookie": f"{SESSION_COOKIE}=ems_{number:043d}"}


async def test_the_tracker_answers_while_sign_in_is_down(service: RunningService, buyer: Person) -> None:
    """The tables of sessions and keys are locked and thirty people wait for them, who hold every connection."""
    order = (await buyer.api.get("/v1/orders")).raise_for_status().json()["items"][0]
    database = await asyncpg.connect(service.database_url)
    code = tracking_code(
        UUID(order["id"]),
        await database.fetchval("SELECT payment_transfer FROM purchase.orders WHERE id = $1", UUID(order["id"])),
    )
    try:
        async with database.transaction():
            await database.execute("LOCK TABLE accounts.sessions, accounts.api_keys IN ACCESS EXCLUSIVE MODE")
            asking = {"number": order["number"], "digits": code}
            cookies = {SESSION_COOKIE: f"ems_{'x' * 43}"}
            async with httpx.AsyncClient(base_url=service.base_url, cookies=cookies, trust_env=False) as anyone:
                others = httpx.AsyncClient(base_url=service.base_url, trust_env=False)
                crowd = [asyncio.create_task(others.get("/pesanan", headers=browser(one))) for one in range(30)]
                await asyncio.sleep(0.5)
                program = {"track-digits": code}
                tracked = await anyone.get("/v1/track", params={"number": order["number"]}, headers=program)
                form = await anyone.get("/lacak")
                (csrf,) = re.findall(r'name="csrf" value="(\w+)"', form.text)
                page = await anyone.post("/lacak", data={**asking, "csrf": csrf})
                assert not all(task.done() for task in crowd)
                await asyncio.gather(*crowd, return_exceptions=True)
                await others.aclose()
    finally:
        await database.close()
    assert "Money seen" in tracked.raise_for_status().json()["headline"]["en"]
    assert "Uang terlihat" in page.raise_for_status().text


async def test_anyone_checks_a_seller(phone: Page) -> None:
    """From the foot of any page, without signing in."""
    await phone.goto("/")
    await phone.click("footer a[href='/penjual']")
    await judged(phone, "sellers")
    await phone.fill("#penjual", "Meterai Murah Meriah")
    await phone.click("main form button")
    assert "Jangan membeli di sana" in await phone.inner_text("main [role=status]")
    await judged(phone, "sellers-unknown")
