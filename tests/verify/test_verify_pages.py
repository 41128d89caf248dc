"""Verification in a browser without JavaScript."""

from __future__ import annotations

import httpx
import pytest
from verify_desk import SEALED_AT, Desk, letter

from emeterai.web.formats import moment


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ("affixed", "Asli dan tidak berubah"),
        ("void", "Nomor ini sudah ditarik"),
        ("taken", "Sedang dibubuhkan"),
        ("none", "Nomor tidak tercatat"),
    ],
)
async def test_a_person_checks_a_file(client: httpx.AsyncClient, desk: Desk, ending: str, words: str) -> None:
    """One form, one answer in words, with the facts below it; no cache keeps it."""
    stamped = await desk.stamp(letter(), ending=ending)
    page = await _submit(client, stamped.content)
    assert (200, "no-store") == (page.status_code, page.headers["cache-control"])
    for text in (words, stamped.serial, stamped.original_sha256, moment(SEALED_AT)):
        assert text in page.text


async def test_a_changed_file_is_not_believed(client: httpx.AsyncClient, desk: Desk) -> None:
    """What a broken seal says is shown as a claim."""
    stamped = await desk.stamp(letter())
    page = await _submit(client, stamped.content.replace(b"595", b"596", 1))
    assert "Berubah sesudah disegel" in page.text
    assert "tidak terbukti" in page.text


async def test_a_forged_file_is_called_so(client: httpx.AsyncClient, desk: Desk) -> None:
    """A number that belongs to another document is no mere change."""
    stamped = await desk.stamp(letter(), on_record_for=b"another document")
    assert "Nomor meterai milik dokumen lain" in (await _submit(client, stamped.content)).text


async def test_a_plain_pdf_is_not_ours(client: httpx.AsyncClient) -> None:
    """A picture of a stamp is not a stamp."""
    assert "Bukan meterai dari kami" in (await _submit(client, letter())).text


async def test_the_qr_code_leads_to_the_facts(client: httpx.AsyncClient, desk: Desk) -> None:
    """The page says that the number is on record, and how to be sure of the content."""
    stamped = await desk.stamp(letter())
    page = await client.get(f"/v/{stamped.serial}")
    assert 200 == page.status_code
    for text in ("Meterai ini tercatat", stamped.serial, stamped.original_sha256, 'href="/verifikasi"'):
        assert text in page.text


async def test_a_form_that_we_did_not_show_is_refused(client: httpx.AsyncClient) -> None:
    """The file is not looked at, whoever sent it."""
    for address in ("/verifikasi", None):
        if address:
            await client.get(address)
        answer = await client.post("/verifikasi/berkas", files={"file": ("surat.pdf", b"")}, data={"csrf": "0" * 64})
        assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])


async def test_a_form_without_a_file_is_shown_again(client: httpx.AsyncClient) -> None:
    """The reason stands at the field."""
    page = await client.get("/verifikasi")
    answer = await client.post("/verifikasi/berkas", data={"csrf": _token(page)}, files={"other": ("a.pdf", b"x")})
    assert 422 == answer.status_code
    assert "Belum ada berkas yang dipilih" in answer.text


def _token(page: httpx.Response) -> str:
    return page.text.partition('name="csrf" value="')[2].partition('"')[0]


async def _submit(client: httpx.AsyncClient, content: bytes) -> httpx.Response:
    page = await client.get("/verifikasi")
    return await client.post("/verifikasi/berkas", data={"csrf": _token(page)}, files={"file": ("surat.pdf", content)})
