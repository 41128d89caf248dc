"""What anyone learns from a serial, and what nobody does."""

from __future__ import annotations

import httpx
import pytest
from litestar import Litestar
from verify_desk import Desk, application, letter

from emeterai.accounts.service import Accounts
from emeterai.core.serial import SerialBlock, is_serial
from emeterai.infra.database import Database
from emeterai.ledger.serials import SerialRegister
from emeterai.seal.reader import FileReader
from emeterai.verify.service import Verification

NEVER_ISSUED = SerialBlock(7, b"k" * 32, 10).serial(3)
MISTYPED = [
    NEVER_ISSUED[:-1],
    NEVER_ISSUED + "A",
    NEVER_ISSUED[:4] + NEVER_ISSUED[5] + NEVER_ISSUED[4] + NEVER_ISSUED[6:],
    "x",
    "-",
    "%20",
    "%00" * 22,
    "É" * 22,
    "<script>alert(1)",
    "9" * 3000,
]


async def test_an_affixed_serial_is_genuine(client: httpx.AsyncClient, desk: Desk) -> None:
    """It says when it was affixed and to which digest, and nothing else; caches may keep it."""
    stamped = await desk.stamp(letter())
    answer = await client.get(f"/v1/verify/{stamped.serial}")
    facts = answer.json()
    assert facts["sealed_at"] == facts["ended_at"]
    assert {
        "serial": stamped.serial,
        "state": "genuine",
        "sealed_at": facts["sealed_at"],
        "ended_at": facts["ended_at"],
        "original_sha256": stamped.original_sha256,
    } == facts
    assert answer.headers["cache-control"].startswith("public")


async def test_a_voided_serial_is_named(client: httpx.AsyncClient, desk: Desk) -> None:
    """It is on no document, so no digest is told."""
    stamped = await desk.stamp(letter(), ending="void")
    facts = (await client.get(f"/v1/verify/{stamped.serial}")).json()
    assert ("voided", None, None) == (facts["state"], facts["sealed_at"], facts["original_sha256"])
    assert facts["ended_at"] is not None
    page = await client.get(f"/v/{stamped.serial}")
    assert 200 == page.status_code
    assert "Nomor ini sudah ditarik" in page.text
    assert stamped.original_sha256 not in page.text


async def test_a_serial_under_way_is_not_genuine_yet(client: httpx.AsyncClient, desk: Desk) -> None:
    """No cache keeps an answer that changes within seconds."""
    stamped = await desk.stamp(letter(), ending="taken")
    answer = await client.get(f"/v1/verify/{stamped.serial}")
    assert {
        "serial": stamped.serial,
        "state": "in_progress",
        "sealed_at": None,
        "ended_at": None,
        "original_sha256": None,
    } == answer.json()
    assert "no-store" == answer.headers["cache-control"]
    assert "Sedang dibubuhkan" in (await client.get(f"/v/{stamped.serial}")).text


async def test_what_people_type_is_forgiven(client: httpx.AsyncClient, desk: Desk) -> None:
    """Small letters, blanks and hyphens do not matter."""
    serial = (await desk.stamp(letter())).serial
    typed = f" {serial[:6].lower()}-{serial[6:12]} {serial[12:].lower()} "
    assert serial == (await client.get(f"/v1/verify/{typed}")).json()["serial"]
    assert serial in (await client.get(f"/v/{typed}")).text
    answer = await client.get("/verifikasi", params={"serial": typed})
    assert (303, f"/v/{serial}") == (answer.status_code, answer.headers["location"])


@pytest.mark.parametrize("typed", MISTYPED)
async def test_a_mistyped_serial_is_told_from_an_unknown_one(client: httpx.AsyncClient, typed: str) -> None:
    """The check character says so before anything is looked up; the page shows the form again."""
    answer = await client.get(f"/v1/verify/{typed}")
    assert (422, "serial_mistyped") == (answer.status_code, answer.json()["code"])
    for address in (f"/v/{typed}", f"/verifikasi?serial={typed}"):
        page = await client.get(address)
        assert 422 == page.status_code
        assert 'href="#serial"' in page.text
        assert "<script>" not in page.text
        assert len(page.content) < 10_000


async def test_an_unknown_serial_is_not_found(client: httpx.AsyncClient) -> None:
    """A number that is well formed but was never issued is a 404, for programs and for people."""
    assert is_serial(NEVER_ISSUED)
    answer = await client.get(f"/v1/verify/{NEVER_ISSUED}")
    assert (404, "serial_unknown") == (answer.status_code, answer.json()["code"])
    page = await client.get(f"/v/{NEVER_ISSUED}")
    assert (404, "no-store") == (page.status_code, page.headers["cache-control"])
    assert "Nomor tidak dikenal" in page.text


async def test_the_form_is_there_for_anyone(client: httpx.AsyncClient) -> None:
    """Without an account, and without a serial in the address."""
    page = await client.get("/verifikasi")
    assert 200 == page.status_code
    assert 'action="/verifikasi/berkas"' in page.text


async def test_a_database_that_is_away_is_told_politely(
    database_url: str, reader: FileReader, temporary_folder: object
) -> None:
    """The answer is "busy, try again", never "unknown"."""
    away = await Database.connect(database_url, connections_max=1, wait_s=0.05)
    app: Litestar = application(Accounts(away, session_life_s=60), Verification(reader, SerialRegister(away)))
    async with away.connection(), httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        for address in (f"/v1/verify/{NEVER_ISSUED}", f"/v/{NEVER_ISSUED}"):
            answer = await client.get(address)
            assert (503, "service_busy") == (answer.status_code, answer.json()["code"])
            assert "retry-after" in answer.headers
    await away.close()
