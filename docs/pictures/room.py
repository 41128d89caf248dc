"""Makes the pictures of the waiting room: the service with a campaign that two thousand people wait for, in Chromium.

`python docs/pictures/room.py` - it takes about a minute; it needs Chromium, and nothing is left of it afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import io
import itertools
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "tests"))

from emeterai.accounts.staff import Role, Staff
from emeterai.gate.lanes import Lane, Lanes
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from running import Person, RunningService

LANE = Lane(name="cpns-2026", title="CPNS 2026", share=0.15, floor_per_s=4, ceiling_per_s=4, always_room=True)
ROOM = f"/gate/{LANE.name}"
WAITING, STAMPING = 2_000, 6
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1_280, "height": 800}
OFFICE = {"width": 1_280, "height": 1_300}
COLOURS, SIZE_BYTES_MAX = 64, 120_000
SETTINGS = {
    # Nobody's turn comes so soon that anything would be sent there.
    "EMETERAI_SMTP_URL": "smtp://127.0.0.1:9",
    "EMETERAI_CALL_WEBHOOK_URL": "http://127.0.0.1:9/",
}


async def main() -> None:
    """The room as those see it who wait and whose turn has come, and the operator's room meanwhile."""
    with tempfile.TemporaryDirectory(prefix="em") as name:
        secret = Path(name) / "secret"
        secret.write_text(f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")
        service = RunningService(Path(name), {**SETTINGS, "EMETERAI_CALL_WEBHOOK_SECRET_FILE": str(secret)})
        await service.start()
        try:
            operator = await prepared(service)
            async with browser() as chromium, rush(service):
                await draw(chromium, service.base_url, operator)
        finally:
            await service.stop()


async def prepared(service: RunningService) -> Person:
    """The campaign's lane, and an operator."""
    db = await Database.connect(service.database_url, connections_max=2, wait_s=5)
    operator = await Person.sign_up(service)
    await Staff(db).grant(operator.contact, Role.OPERATOR, by="pictures")
    bus = Bus(service.database_url)
    await bus.start()
    await Lanes(db, bus).change(LANE, by="pictures", seen=0)
    await bus.close()
    await db.close()
    # The steward sees a new lane within a second.
    await asyncio.sleep(5)
    return operator


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Chromium."""
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("chromium is not installed (Debian package chromium)")
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        await chromium.close()


@asynccontextmanager
async def rush(service: RunningService) -> AsyncIterator[None]:
    """People inside stamp one file after another for as long as the block lasts."""
    people = [await Person.sign_up(service, quota=900) for _ in range(STAMPING)]
    letter = (HERE.parents[1] / "samples" / "surat-pernyataan.pdf").read_bytes()

    async def stamps(person: Person) -> None:
        for number in itertools.count():
            await person.stamp(letter + b"\n%% %d" % number, wait_s=5)

    tasks = [asyncio.create_task(stamps(person)) for person in people]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for person in people:
        await person.close()


async def draw(chromium: Browser, base_url: str, operator: Person) -> None:
    """Every picture, in the order in which things happen."""
    first = await opened(chromium, f"{base_url}{ROOM}", PHONE)
    await crowd(base_url, WAITING)
    phone = await opened(chromium, f"{base_url}{ROOM}", PHONE)
    desktop = await opened(chromium, f"{base_url}{ROOM}", DESKTOP)
    await first.wait_for_selector("#in:visible", timeout=60_000)
    # By now it is known how fast the line moves.
    await asyncio.sleep(20)
    for page in (phone, desktop):
        await page.evaluate("look()")
    await desktop.click("summary")
    await keep(first, "room-turn-phone")
    await keep(phone, "room-waiting-phone")
    await keep(desktop, "room-waiting-desktop")
    room = await opened(chromium, f"{base_url}/operator?refresh=0", OFFICE)
    await room.fill("[name=contact]", operator.contact)
    await room.fill("[name=password]", operator.password)
    await room.click("main form button")
    await room.goto(f"{base_url}/operator?refresh=0")
    await keep(room, "room-operator")


async def opened(chromium: Browser, url: str, viewport: dict[str, int]) -> Page:
    """A page in a browser of its own, once it has all that it asks for."""
    context = await chromium.new_context(
        viewport=viewport,  # type: ignore[arg-type]
        locale="id-ID",
        device_scale_factor=2 if viewport is PHONE else 1,
    )
    page = await context.new_page()
    await page.goto(url, wait_until="networkidle")
    return page


async def crowd(base_url: str, size: int) -> None:
    """So many people take a number."""
    limits = asyncio.Semaphore(20)
    async with httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=30) as client:

        async def one() -> None:
            async with limits:
                answer = await client.post(f"{ROOM}/tickets", json={}, headers={"cookie": ""})
                answer.raise_for_status()

        await asyncio.gather(*(one() for _ in range(size)))


async def keep(page: Page, name: str) -> None:
    """What is to be seen of a page, in few colours."""
    image, target = Image.open(io.BytesIO(await page.screenshot())), HERE / f"{name}.png"
    image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)
    if target.stat().st_size > SIZE_BYTES_MAX:
        raise SystemExit(f"{target.name} has {target.stat().st_size} bytes")


if __name__ == "__main__":
    asyncio.run(main())
