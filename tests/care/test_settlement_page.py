"""Settlement files on a page: for the treasury, bounded, looked at first, and once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from litestar import Litestar

from emeterai.accounts.staff import Role
from emeterai.app import Services, create_app, open_services
from emeterai.care.settlement_pages import FILE_SIZE_BYTES_MAX, result_shown
from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.purchase.checking import watch_charge
from emeterai.purchase.provider import Charge
from emeterai.purchase.service import Order
from emeterai.purchase.settlement_files import LineOutcome, LoadReport, NotedLine, Total
from emeterai.purchase.settlement_formats import WIB
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles

PAGE = "/petugas/setelmen"
HEADER = "order_id,charge_id,state,amount,currency,settled_at"


@pytest.fixture
async def services(database_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    """Everything that the application works with."""
    settings = Settings(data_dir=str(tmp_path), database_url=database_url)
    csrf = Csrf(b"x" * 32, https=False)
    async with open_services(settings, Pages(csrf, specimen=True, static=StaticFiles()), csrf) as found:
        yield found


@pytest.fixture
def app(services: Services) -> Litestar:
    """The application."""
    made = create_app(services.settings)
    made.state["services"] = services
    return made


async def visitor(app: Litestar, services: Services, role: Role | None) -> httpx.AsyncClient:
    """Somebody at a browser who has signed in."""
    email = f"{new_id().hex}@surat.example"
    account = await services.accounts.register(name="Ratna", password="kopi-hangat-di-teras", email=email)
    if role is not None:
        await services.staff.grant(email, role, by="test")
    browser = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://meterai.example")
    browser.cookies.set("emeterai_session", (await services.accounts.open_session(account)).token)
    return browser


async def hand_in(browser: httpx.AsyncClient, content: bytes | None, **fields: str) -> httpx.Response:
    """Fill in the form and send it with a file."""
    token = re.search(r'name="csrf" value="([0-9a-f]+)"', (await browser.get(PAGE)).text)
    assert token is not None
    files = {"file": ("laporan 2026.csv", content, "text/csv")} if content is not None else {"x": ("", b"")}
    return await browser.post(PAGE, data={"csrf": token[1], "provider": "sandbox", **fields}, files=files)


async def ordered(services: Services, quantity: int) -> Order:
    """An order with a charge of the sandbox."""
    order = await services.purchase.place_order(new_id(), quantity)
    async with services.db.transaction() as tx:
        await watch_charge(tx, order.id, Charge(f"ch-{order.id.hex}", "http://bayar.example"), provider="sandbox")
    return await services.purchase.order(order.account_id, order.id)


def file_of(*lines: str) -> bytes:
    """A file of the sandbox."""
    return "\n".join([HEADER, *lines, ""]).encode()


def line_of(order: Order, amount_idr: int | None = None) -> str:
    """An order's line."""
    at = utc_now().astimezone(WIB).isoformat()
    return f"{order.id},{order.provider_reference},settlement,{amount_idr or order.total_idr},IDR,{at}"


def figures(text: str) -> dict[str, str]:
    """The sums at the top of the result by their Indonesian names."""
    found = re.findall(r"<dt>([^<]+?) <small.*?</dt><dd>([^<]+)</dd>", text.partition("</dl>")[0])
    return {name.strip(): value for name, value in found}


async def test_the_treasury_looks_first_and_then_loads(app: Litestar, services: Services) -> None:
    """Lines seen, credited, differing, unknown; twice changes nothing."""
    browser = await visitor(app, services, Role.TREASURY)
    good, wrong = await ordered(services, 3), await ordered(services, 2)
    content = file_of(
        line_of(good), line_of(wrong, 1), f"{new_id()},ch-x,settlement,5000,IDR,2026-11-21T10:00:00+07:00"
    )
    looked = await hand_in(browser, content)
    assert (200, True) == (looked.status_code, "tidak ada yang berubah" in looked.text), looked.text
    assert 0 == await services.purchase.available(good.account_id)
    assert "1" == figures(looked.text)["Akan menjadi kuota"]
    loaded = figures((await hand_in(browser, content, what="load")).text)
    names = ("Baris dibaca", "Menjadi kuota", "Berbeda, perlu dilihat", "Tidak dikenal atau tidak terbaca")
    assert ["3", "1", "1", "1"] == [loaded[name] for name in names]
    assert [3, 0] == [await services.purchase.available(it.account_id) for it in (good, wrong)]
    assert "sudah pernah dimuat" in (await hand_in(browser, content, what="load")).text
    assert 3 == await services.purchase.available(good.account_id)


def test_the_page_says_how_many_lines_it_does_not_show() -> None:
    """All of them, though a report names a thousand at most."""
    noted = [NotedLine(line, LineOutcome.UNKNOWN_ORDER, "", f"c-{line}", "") for line in range(2, 1_002)]
    report = LoadReport(
        digest="00",
        provider="sandbox",
        dry_run=False,
        again=False,
        lines=2_110,
        totals=[Total("known", 10, Decimal(0)), Total("unknown_order", 2_100, Decimal(0))],
        noted=noted,
        first_day=None,
        last_day=None,
        missing_count=0,
        missing=[],
    )
    shown = result_shown(report)
    assert 2_100 == len(shown["noted"]) + shown["noted_more"]


async def test_what_is_no_settlement_file_is_refused_at_its_field(app: Litestar, services: Services) -> None:
    """No file, another file, a provider that there is not, a file that is too large."""
    browser = await visitor(app, services, Role.TREASURY)
    for content, fields, status in (
        (None, {}, 422),
        (b"hello", {}, 422),
        (file_of(), {"provider": "bank"}, 422),
        (b"x" * (FILE_SIZE_BYTES_MAX + 1), {}, 413),
    ):
        answer = await hand_in(browser, content, **fields)
        assert (status, True) == (answer.status_code, 'class="wrong"' in answer.text), answer.text
    far_too_large = await hand_in(browser, b"x" * (FILE_SIZE_BYTES_MAX + 200_000))
    assert 413 == far_too_large.status_code


async def test_the_page_is_the_treasurys_and_its_form_is_protected(app: Litestar, services: Services) -> None:
    """Nobody else opens it; a form from elsewhere loads nothing."""
    for role in (None, Role.CARE, Role.OPERATOR):
        assert 403 == (await (await visitor(app, services, role)).get(PAGE)).status_code
    browser = await visitor(app, services, Role.TREASURY)
    forged = await browser.post(
        PAGE, data={"provider": "sandbox", "what": "load"}, files={"file": ("a.csv", file_of())}
    )
    assert 403 == forged.status_code
    assert 0 == await services.db.fetchval("SELECT count(*) FROM purchase.settlement_files")
