"""A person in a browser without JavaScript stamps a file: the real application, PostgreSQL and sealing engine."""

from __future__ import annotations

import asyncio
import hashlib
import html
import re
from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest
from stamping_people import SIZE_BYTES_MAX, Person, Site, Working, pdf, stamp_id_of

from emeterai.core.ledger import Balance, Reason
from emeterai.stamping.documents import INSPECT
from emeterai.stamping.endings import Endings
from emeterai.stamping.page_values import NOTES

HOSTILE = "<script>alert(1)<!--&amp;.pdf"


async def test_from_a_file_to_a_stamped_file(siti: Person, sealer: None) -> None:
    """Upload, inspection, place, stamp, result, download: the file is the original with the seal appended."""
    original = pdf(3)
    await siti.buy(2)
    document = await siti.upload(original)
    inspected = await siti.text(document)
    for part in ("Berkas dapat dibubuhi", f'href="{document}/bubuhkan"', hashlib.sha256(original).hexdigest()):
        assert part in inspected
    answer = await siti.submit(f"{document}/bubuhkan", {"place": "top-left"})
    stamp = await siti.site.services.stamping.get(siti.account_id, stamp_id_of(answer))
    assert (3, 36.0, 806.0) == (stamp.page, stamp.box.x0, stamp.box.y1)
    result = await siti.text(answer.headers["location"])
    file = await siti.browser.get(f"/meterai/{stamp.id}/berkas")
    assert file.content.startswith(original)
    assert len(original) < len(file.content)
    assert 'filename="surat-bermeterai.pdf"' in file.headers["content-disposition"]
    for part in ("Selesai dibubuhi", stamp.serial, hashlib.sha256(file.content).hexdigest(), f"/v/{stamp.serial}"):
        assert part in result
    for page in ("/dokumen", document):
        assert stamp.serial in await siti.text(page)
    assert Balance(bought=2, used=1) == await siti.balance()
    rest = await siti.browser.get(f"/meterai/{stamp.id}/berkas", headers={"range": f"bytes={len(original)}-"})
    assert (206, file.content[len(original) :]) == (rest.status_code, rest.content)


async def test_waiting_is_shown_and_a_unit_that_went_back_says_why(siti: Person, working: Working) -> None:
    """While a stamp is held its page looks again by itself until told not to; given back, it gives the reason."""
    await siti.buy(1)
    async with working(INSPECT):
        document = await siti.upload(pdf())
        answer = await siti.submit(f"{document}/bubuhkan")
    stamp_id, page = stamp_id_of(answer), answer.headers["location"]
    shown = await siti.text(page)
    assert "Langkah 2 dari 4" in shown
    assert '<meta http-equiv="refresh" content="2">' in shown
    assert "http-equiv" not in await siti.text(f"{page}?refresh=0")
    early = await siti.browser.get(f"{page}/berkas")
    assert (409, "text/html; charset=utf-8") == (early.status_code, early.headers["content-type"])
    services = siti.site.services
    endings = Endings(services.db, services.bus, services.ledger, services.serials)
    await endings.give_back({stamp_id: (Reason.EXPIRED, None)})
    ended = await siti.text(page)
    for part in ("Kuota Anda sudah kembali", "Pembubuhan tidak selesai pada waktunya", f'href="{document}"'):
        assert part in ended
    assert "http-equiv" not in ended
    assert "Bubuhkan e-meterai <" in await siti.text(document)
    assert Balance(bought=1) == await siti.balance()


async def test_a_document_on_its_way_says_how_far_it_is(siti: Person) -> None:
    """Being inspected, the page looks again by itself; half uploaded, it says so; neither can be stamped yet."""
    services = siti.site.services
    document_id = await services.documents.receive(siti.account_id, "a.pdf", pdf())
    assert 'http-equiv="refresh"' in await siti.text(f"/dokumen/{document_id}")
    half_id = await services.documents.begin(siti.account_id, "b.pdf", 5_000)
    assert "Baru 0 byte dari 5 kB yang sampai" in await siti.text(f"/dokumen/{half_id}")
    listed = await siti.text("/dokumen")
    assert "Sedang diperiksa" in listed
    assert "Unggahan belum selesai" in listed
    for one in (document_id, half_id):
        answer = await siti.browser.get(f"/dokumen/{one}/bubuhkan")
        assert (303, f"/dokumen/{one}") == (answer.status_code, answer.headers["location"])


async def test_a_form_that_we_did_not_show_changes_nothing(siti: Person, sealer: None) -> None:
    """Without the right hidden field neither a file is kept nor a stamp made."""
    await siti.buy(1)
    for values in ({}, {"csrf": "0" * 64}):
        assert 403 == (await siti.send("/unggah", values, file=("a.pdf", pdf()))).status_code
    document = await siti.upload(pdf())
    values = await siti.form(f"{document}/bubuhkan")
    assert 403 == (await siti.send(f"{document}/bubuhkan", values | {"csrf": "0" * 64})).status_code
    assert 1 == await siti.site.services.db.fetchval("SELECT count(*) FROM stamping.documents")
    assert Balance(bought=1) == await siti.balance()


async def test_a_file_that_cannot_be_stamped_is_refused_on_its_page(siti: Person, sealer: None) -> None:
    """What is not a PDF is kept, named with its reason, and cannot be brought to the next step."""
    document = await siti.upload(b"Dengan hormat,", "surat.pdf")
    shown = await siti.text(document)
    for part in ("Berkas ini bukan PDF", "pdf_not_pdf", "Kuota Anda tidak tersentuh"):
        assert part in shown
    answer = await siti.send(f"{document}/bubuhkan", await siti.form("/unggah"))
    assert (303, document) == (answer.status_code, answer.headers["location"])


@pytest.mark.parametrize(
    ("file", "status", "words"),
    [
        (("kosong.pdf", b""), 422, "Berkas kosong"),
        (("", b""), 422, "Belum ada berkas yang dipilih"),
        (("besar.pdf", b"%PDF-" + b"0" * SIZE_BYTES_MAX), 413, "Berkas lebih besar dari batas"),
        (("sangat-besar.pdf", b"%PDF-" + b"0" * 20 * SIZE_BYTES_MAX), 413, "Berkas lebih besar dari batas"),
    ],
)
async def test_an_upload_is_refused_on_its_form(siti: Person, file: tuple[str, bytes], status: int, words: str) -> None:
    """The form comes back with the sentence at its field and the status of the refusal; nothing is kept."""
    answer = await siti.submit("/unggah", file=file)
    assert status == answer.status_code
    assert words in answer.text
    assert 'href="#file"' in answer.text
    assert 0 == await siti.site.services.db.fetchval("SELECT count(*) FROM stamping.documents")


async def test_text_that_is_not_utf_8_is_refused(siti: Person) -> None:
    """A form in some other coding is a mistake of the sender, not ours."""
    body = b'--x\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n\xff\xfe\r\n--x--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    assert 400 == (await siti.browser.post("/unggah", content=body, headers=headers)).status_code


@pytest.mark.parametrize(
    ("values", "field", "words"),
    [
        ({"page": "99"}, "page", "Halaman 99 tidak ada"),
        ({"page": "0"}, "page", "Halaman 0 tidak ada"),
        ({"page": "\N{SUPERSCRIPT TWO}"}, "page", "pilih halaman 1 sampai 2"),
        ({"page": "9" * 5000}, "page", "pilih halaman 1 sampai 2"),
        ({"place": "di-bawah"}, "place", "Letak itu tidak dikenal"),
    ],
)
async def test_a_place_that_is_not_there_is_refused_at_its_field(
    siti: Person, sealer: None, values: dict[str, str], field: str, words: str
) -> None:
    """The form comes back with what was chosen, and no quota is touched."""
    await siti.buy(1)
    document = await siti.upload(pdf(2))
    answer = await siti.submit(f"{document}/bubuhkan", values)
    assert 422 == answer.status_code
    assert words in answer.text
    assert f'href="#{field}"' in answer.text
    assert Balance(bought=1) == await siti.balance()


async def test_the_page_is_chosen_with_the_place_and_drawn_as_it_lies(siti: Person, sealer: None) -> None:
    """No page is proposed but the one in the address; the picture lies on its side when the page does."""
    document = await siti.upload(pdf(2, size_pt=(842, 595)))
    assert "page" not in await siti.form(f"{document}/bubuhkan")
    assert "1" == (await siti.form(f"{document}/bubuhkan?page=1"))["page"]
    assert 'class="page land"' in await siti.text(f"{document}/bubuhkan")
    assert 422 == (await siti.browser.get(f"{document}/bubuhkan?page=3")).status_code


async def test_hiding_what_is_on_the_page_must_be_confirmed(siti: Person, sealer: None) -> None:
    """Where nothing is free the form comes back and asks; ticked, the mark stands at the chosen place."""
    await siti.buy(1)
    document = await siti.upload(pdf(painted=True))
    answer = await siti.submit(f"{document}/bubuhkan", {"place": "top-left"})
    assert (409, Balance(bought=1)) == (answer.status_code, await siti.balance())
    assert 'href="#cover"' in answer.text
    assert 'name="cover" value="1"' not in await siti.text(f"{document}/bubuhkan")
    answer = await siti.submit(f"{document}/bubuhkan", {"place": "top-left", "cover": "1"})
    stamp = await siti.site.services.stamping.get(siti.account_id, stamp_id_of(answer))
    assert (36.0, 806.0) == (stamp.box.x0, stamp.box.y1)


async def test_without_quota_the_form_leads_to_buying(siti: Person, sealer: None) -> None:
    """The refusal is 402, says so in words, and links to the page to buy; the choice is kept."""
    document = await siti.upload(pdf())
    answer = await siti.submit(f"{document}/bubuhkan", {"place": "top-center"})
    assert 402 == answer.status_code
    assert "Kuota Anda tidak cukup" in answer.text
    assert 'href="/beli"' in answer.text
    assert 'value="top-center" checked' in answer.text


async def test_to_others_nothing_of_mine_exists(
    people: Callable[[], Awaitable[Person]], siti: Person, sealer: None
) -> None:
    """Every address of somebody else's document and stamp answers 404 with a page."""
    await siti.buy(1)
    document = await siti.upload(pdf())
    stamp = (await siti.submit(f"{document}/bubuhkan")).headers["location"]
    budi = await people()
    hidden = {"csrf": (await budi.form("/unggah"))["csrf"]}
    answers = [await budi.browser.get(one) for one in (document, f"{document}/bubuhkan", stamp, f"{stamp}/berkas")]
    answers.append(await budi.send(f"{document}/bubuhkan", hidden))
    assert [404] * 5 == [answer.status_code for answer in answers]
    assert {"text/html; charset=utf-8"} == {answer.headers["content-type"] for answer in answers}
    assert "Belum ada dokumen" in await budi.text("/dokumen")


async def test_a_form_sent_twice_is_one_stamp(siti: Person, sealer: None) -> None:
    """A double click, and sending again later, lead to the same stamp and spend one unit."""
    await siti.buy(3)
    place = f"{await siti.upload(pdf())}/bubuhkan"
    values = await siti.form(place)
    twice = await asyncio.gather(siti.send(place, values), siti.send(place, values))
    later = await siti.send(place, values)
    assert 1 == len({stamp_id_of(answer) for answer in (*twice, later)})
    assert Balance(bought=3, used=1) == await siti.balance()
    changed = await siti.send(place, values | {"place": "top-left"})
    assert 409 == changed.status_code
    assert "sudah pernah dikirim dengan pilihan lain" in changed.text


async def test_a_second_stamp_on_one_file_is_asked_for_explicitly(siti: Person, sealer: None) -> None:
    """A new form for a stamped file, or for the same file uploaded again, spends nothing until the box is ticked."""
    await siti.buy(3)
    file = pdf()
    first = await siti.upload(file)
    stamp = (await siti.submit(f"{first}/bubuhkan")).headers["location"]
    assert 'name="again"' in await siti.text(f"{first}/bubuhkan")
    copy = await siti.upload(file)
    for document in (first, copy):
        answer = await siti.submit(f"{document}/bubuhkan")
        assert 409 == answer.status_code
        assert 'name="again"' in answer.text
        assert f'href="{stamp}"' in answer.text
    assert Balance(bought=3, used=1) == await siti.balance()
    another = await siti.submit(f"{copy}/bubuhkan", {"again": "1"})
    assert stamp != another.headers["location"]
    assert Balance(bought=3, used=2) == await siti.balance()


async def test_a_hostile_name_stays_text(siti: Person, sealer: None) -> None:
    """A file name is shown as it is and never becomes part of a page, nor of a header."""
    await siti.buy(1)
    document = await siti.upload(pdf(), HOSTILE)
    stamp = (await siti.submit(f"{document}/bubuhkan")).headers["location"]
    for page in ("/dokumen", document, f"{document}/bubuhkan", stamp):
        shown = await siti.text(page)
        assert "<script" not in shown
        assert html.escape(HOSTILE) in shown
    header = (await siti.browser.get(f"{stamp}/berkas")).headers["content-disposition"]
    assert "<" not in header


async def test_what_is_worth_knowing_is_said_in_words(siti: Person, sealer: None) -> None:
    """Every code of the inspection has its sentences, and they are on the page."""
    document = await siti.upload(pdf(form=True))
    assert NOTES["form"][0] in await siti.text(document)
    assert {"signed", "stamped", "certified", "form", "xfa", "encrypted", "repaired"} == set(NOTES)


async def test_documents_are_listed_page_by_page(siti: Person) -> None:
    """Twenty to a page, newest first, with links both ways."""
    for number in range(21):
        await siti.site.services.documents.receive(siti.account_id, f"surat-{number}.pdf", b"x")
    first = await siti.text("/dokumen")
    (older,) = re.findall(r'href="(/dokumen\?cursor=[^"]+)"', first)
    second = await siti.text(older)
    assert "surat-20.pdf" in first
    assert "surat-0.pdf" not in first
    assert "surat-0.pdf" in second
    assert "Lebih baru" in second
    assert 400 == (await siti.browser.get("/dokumen?cursor=bukan")).status_code


@pytest.mark.parametrize(
    "address", ["/unggah", "/dokumen", f"/dokumen/{UUID(int=1)}", f"/meterai/{UUID(int=1)}/berkas"]
)
async def test_a_visitor_signs_in_first(site: Site, address: str) -> None:
    """Whoever is not signed in is led to the sign-in page and back."""
    async with site.browser() as browser:
        answer = await browser.get(address)
    assert (303, "/masuk") == (answer.status_code, answer.headers["location"].partition("?")[0])
