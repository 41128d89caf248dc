"""Is this an official seller? Exactly those on record are, and a name that merely looks alike is said to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import httpx
import pytest
from litestar import Litestar, Request, Response

from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.http import problem_response, refusal_of
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.service import Ledger
from emeterai.partners.service import Partners
from emeterai.verify import seller_pages, sellers
from emeterai.verify.sellers import Sellers
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles

SINCE = datetime(2026, 11, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Partner:
    """A partner as the record shows it."""

    id: UUID
    name: str
    contact: str
    state: str = "active"
    registered_at: datetime = SINCE


class Record:
    """A record of partners that counts how often it is read."""

    def __init__(self, *partners: Partner) -> None:
        self.partners = sorted(partners, key=lambda one: (one.name, one.id))
        self.reads = 0

    async def listed(self, *, after: tuple[str, UUID] | None = None, limit: int = 50) -> Sequence[Partner]:
        """A page of it."""
        self.reads += 1
        return [one for one in self.partners if after is None or (one.name, one.id) > after][:limit]


POST = Partner(new_id(), "Kantor Pos Gambir", "0812-3456-7890, https://www.pos-gambir.example/kontak")
SHOP = Partner(new_id(), "Toko Meterai Jaya", "halo@meterai-jaya.example")
GONE = Partner(new_id(), "Meterai Murah", "0899 1111 2222", state="suspended")


@pytest.mark.parametrize(
    "typed",
    [
        "Kantor Pos Gambir",
        "kantor  pos gambir",
        "KANTOR-POS GAMBIR",
        "+62 812 3456 7890",
        "081234567890",
        "pos-gambir.example",
        "http://www.pos-gambir.example/lain?x=1",
    ],
)
async def test_a_seller_is_found_however_it_is_written(typed: str) -> None:
    """Case, blanks and punctuation of a name; any way to write a phone number; any page of its site."""
    answer = await Sellers(Record(POST, SHOP, GONE)).find(typed)
    assert [(POST.id, True)] == [(it.id, it.is_official) for it in answer.sellers]


@pytest.mark.parametrize(
    "typed", ["Kantor Pos Gambiir", "Kantor Pos", "Kantor Pos Gambir Resmi", "evil-pos-gambir.example", "0812345678901"]
)
async def test_what_looks_alike_is_not_it(typed: str) -> None:
    """It is never an answer of its own; a name that looks alike is shown as such."""
    answer = await Sellers(Record(POST, SHOP, GONE)).find(typed)
    assert [] == answer.sellers


async def test_a_similar_name_is_shown_beside_the_answer() -> None:
    """So that people compare letter by letter."""
    assert [POST.id] == [it.id for it in (await Sellers(Record(POST, SHOP)).find("Kantor Pos Gambiir")).similar]
    assert [] == (await Sellers(Record(POST, SHOP)).find("Warung Bu Ani")).similar


async def test_one_that_was_stopped_is_told_to_be() -> None:
    """It is found, and is not official."""
    (found,) = (await Sellers(Record(POST, GONE)).find("08991111 2222")).sellers
    assert not found.is_official


@pytest.mark.parametrize("typed", ["", "ab", "  - . ", "x" * 121])
async def test_what_cannot_be_a_seller_is_refused(typed: str) -> None:
    """Too short or too long to be looked for."""
    with pytest.raises(Refused, match="seller_mistyped"):
        await Sellers(Record(POST)).find(typed)


async def test_the_record_is_read_page_by_page_and_not_for_every_question() -> None:
    """A rush of questions reads it once in fifteen seconds."""
    record = Record(*(Partner(new_id(), f"Toko {number:03d}", "x") for number in range(250)))
    desk = Sellers(record)
    for number in (0, 100, 249):
        assert 1 == len((await desk.find(f"Toko {number:03d}")).sellers)
    assert 3 == record.reads
    assert len((await desk.find("Toko 00")).similar) <= sellers._SHOWN_MAX


async def test_it_reads_the_partners_own_record(db: Database) -> None:
    """What partners/ has on record is what people see."""
    ledger = Ledger(db)
    assert [] == (await Sellers(Partners(db, ledger, SerialChannels(db))).find("Kantor Pos Gambir")).sellers


@dataclass
class Desk:
    """What the pages find in the application's state."""

    sellers: Sellers
    pages: Pages
    settings: Settings


def refuse(_: Request[object, object, object], error: Exception) -> Response[bytes]:
    """A refusal, as the application tells it."""
    refused = refusal_of(error)
    if refused is None:
        raise error
    return problem_response(refused)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Somebody's browser."""
    pages = Pages(Csrf(b"x" * 32, https=False), specimen=True, static=StaticFiles())
    app = Litestar([*seller_pages.controllers], exception_handlers={Exception: refuse})  # type: ignore[dict-item]
    settings = Settings(public_url="https://meterai.example")
    app.state["services"] = Desk(Sellers(Record(POST, SHOP, GONE)), pages, settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:
        yield http


@pytest.mark.parametrize(
    ("typed", "status", "shown"),
    [
        ("Toko Meterai Jaya", 200, "Ada dalam daftar penjual resmi"),
        ("Meterai Murah", 200, "dihentikan. Jangan membeli"),
        ("Meterai Palsu", 200, "Tidak ada dalam daftar penjual resmi"),
        ("Toko Meterai Jayaa", 200, "Mirip, tetapi bukan itu"),
        ("x", 422, "Tulis nama"),
        ("<script>alert(1)</script>", 200, "Tidak ada dalam daftar"),
    ],
)
async def test_the_page_answers_in_one_sentence(client: httpx.AsyncClient, typed: str, status: int, shown: str) -> None:
    """And says when it was checked."""
    page = await client.get("/penjual", params={"penjual": typed})
    assert (status, True) == (page.status_code, shown in page.text)
    assert "<script>" not in page.text


async def test_a_signs_code_leads_to_the_sellers_own_page(client: httpx.AsyncClient) -> None:
    """With its name, contact and state; a number that nobody has is nowhere."""
    page = await client.get(f"/penjual/{POST.id}")
    assert "Kantor Pos Gambir" in page.text
    assert f"https://meterai.example/penjual/{POST.id}" in page.text
    assert "Jangan membeli" in (await client.get(f"/penjual/{GONE.id}")).text
    assert 404 == (await client.get(f"/penjual/{new_id()}")).status_code


async def test_programs_may_ask_too(client: httpx.AsyncClient) -> None:
    """`GET /v1/sellers`."""
    answer = await client.get("/v1/sellers", params={"asked": "081234567890"})
    assert [("Kantor Pos Gambir", True)] == [(it["name"], it["is_official"]) for it in answer.json()["sellers"]]
    assert 422 == (await client.get("/v1/sellers", params={"asked": "x"})).status_code
