"""An agency grants stamps on a phone once it is approved: an applicant claims and stamps, the rest comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright

from emeterai.core.granting import identity_hash
from emeterai.infra.database import Database
from emeterai.partners.programme_audit import check_all_programmes
from papers import letter
from programs import need_program
from running import Person, RunningService

IDENTITY = "3201015203900001"
ENDS_WITHIN_S = 30
AXE_OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"meta-refresh": {"enabled": False}},
}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Chromium; skipped when there is none, a failure in CI."""
    chromium = need_program("chromium", "chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        await browser.close()


class Phone:
    """A person's phone: 360 pixels wide, without scripts of ours, judged by axe on every page."""

    def __init__(self, page: Page, service: RunningService, person: Person) -> None:
        self.page = page
        self.service = service
        self.person = person

    @classmethod
    async def of(cls, browser: Browser, service: RunningService, person: Person) -> Phone:
        """A phone that has never been here."""
        page = await browser.new_page(viewport={"width": 360, "height": 740})
        return cls(page, service, person)

    async def open(self, path: str) -> None:
        """Open a page and look at it."""
        await self.page.goto(self.service.base_url + path)
        await self.look()

    async def press(self, name: str) -> None:
        """Press a button or a link of the content by the start of its name, and look at what comes."""
        content = self.page.locator("main")
        target = content.get_by_role("button", name=name).or_(content.get_by_role("link", name=name)).first
        await target.click()
        await self.page.wait_for_load_state()
        await self.look()

    async def sign_in(self) -> None:
        """Fill in the form of the page that is open."""
        await self.page.fill("#contact", self.person.contact)
        await self.page.fill("#password", self.person.password)
        await self.press("Masuk")

    async def look(self) -> None:
        """Axe finds nothing, and nothing scrolls sideways."""
        response = (await Axe().run(self.page, options=AXE_OPTIONS)).response
        found = [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in response["violations"]]
        assert [] == found, self.page.url
        assert 360 >= await self.page.evaluate("document.documentElement.scrollWidth"), self.page.url

    async def text(self) -> str:
        """What the page says."""
        return " ".join((await self.page.locator("main").inner_text()).split())


async def make_programme(phone: Phone) -> UUID:
    """A programme of two stamps for each applicant, six of them set aside; answers its id.

    For herself she is told why she cannot make one; she acts for her agency, which is approved, and can.
    """
    await phone.open("/masuk?next=/program")
    await phone.sign_in()
    assert "Akun ini belum dapat membuat program" in await phone.text()
    await phone.press("Kelompok saya")
    await phone.press("Bertindak untuk Badan Kepegawaian")
    await phone.open("/program")
    await phone.page.fill("#name", "Seleksi Pegawai 2026")
    await phone.page.fill("#ends_on", f"{datetime.now(UTC) + timedelta(days=30):%Y-%m-%d}")
    await phone.page.fill("#message", "Dua meterai untuk surat lamaran Anda.")
    await phone.press("Buat program")
    await phone.page.fill("#units", "6")
    await phone.press("Sisihkan")
    assert "Didanai Funded 6" in await phone.text()
    return UUID(phone.page.url.split("/")[-2])


async def invite(phone: Phone, folder: Path) -> None:
    """A list of one applicant, hashed as the page says, and one line that is wrong."""
    salt = bytes.fromhex(await phone.page.locator("#daftar ~ p code").inner_text())
    file = folder / "daftar.csv"
    file.write_text(f"hash,nama\n{identity_hash(IDENTITY, salt).hex()},Siti\nbukan sidik,Budi\n")
    await phone.page.set_input_files("#file", file)
    await phone.press("Kirim daftar")
    said = await phone.text()
    assert "1 undangan baru dari 3 baris" in said
    assert "Baris 3" in said


async def claim_and_stamp(phone: Phone, programme: UUID, folder: Path) -> None:
    """Follow the link, sign in, claim by the number on the card, put one stamp on a letter."""
    await phone.open(f"/program/{programme}")
    await phone.press("Masuk")
    await phone.sign_in()
    await phone.page.fill("#identity", "3201015203900002")
    await phone.press("Ambil hibah")
    assert "Tidak ada hibah untuk ini" in await phone.text()
    assert "" == await phone.page.input_value("#identity")
    await phone.page.fill("#identity", IDENTITY)
    await phone.press("Ambil hibah")
    said = await phone.text()
    assert "Hibah ini sudah Anda ambil: 2 meterai" in said
    assert "yang tidak dipakai kembali sendiri ke pemberi" in said
    file = folder / "lamaran.pdf"
    file.write_bytes(letter())
    await phone.press("Bubuhkan e-meterai")
    await phone.page.set_input_files("#file", file)
    await phone.press("Unggah")
    await phone.press("Bubuhkan e-meterai")
    await phone.press("Bubuhkan dengan")
    async with asyncio.timeout(ENDS_WITHIN_S):
        while not await phone.page.locator("a[href$='/berkas']").count():
            await asyncio.sleep(0.2)
    await phone.open("/kuota")
    assert "Hibah dari" in await phone.text()


async def test_an_agency_grants_and_has_its_units_back(
    service: RunningService, browser: Browser, tmp_path: Path
) -> None:
    """One of six is used; after the end date the agency has five, and its page says where each unit is."""
    agency, applicant = await Person.sign_up(service), await Person.sign_up(service)
    await agency.act_for_organisation("Badan Kepegawaian")
    await agency.buy(6)
    office, phone = await Phone.of(browser, service, agency), await Phone.of(browser, service, applicant)
    programme = await make_programme(office)
    await invite(office, tmp_path)
    await claim_and_stamp(phone, programme, tmp_path)
    assert 0 == (await agency.quota())["available"]

    db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
    async with db.transaction() as tx:
        await tx.execute("UPDATE partners.programmes SET ends_at = now() WHERE id = $1", programme)
    async with asyncio.timeout(ENDS_WITHIN_S):
        while (await agency.quota())["available"] != 5:
            await asyncio.sleep(0.2)
    await office.open(f"/program/{programme}/kelola")
    said = await office.text()
    for line in (
        "Diambil dan dipakai Claimed and used 1",
        "Diambil, tidak dipakai, kembali Claimed, not used, returned 1",
        "Tidak diambil, kembali Not claimed, returned 4",
    ):
        assert line in said, said
    await phone.open("/hibah")
    assert "dipakai 1, kembali 1" in await phone.text()
    assert 0 == (await applicant.quota())["available"]
    assert [] == [rule.name for rule in await check_all_programmes(db) if rule.broken]
    await db.close()
    for person in (agency, applicant):
        await person.close()
