"""What the page shows of a changed file: what is wrong in words, and the sealed page beside the one of now."""

from __future__ import annotations

import ast
import io
import re
from base64 import b64decode
from pathlib import Path

import httpx
from PIL import Image
from verify_desk import Desk

from emeterai import seal
from emeterai.seal.pictures import PICTURE_SIZE_BYTES_MAX
from emeterai.verify.words import CHANGES, KINDS
from papers import letter

PDF = {"content-type": "application/pdf"}
_CODE = re.compile(
    r"[a-z]+(?:_[a-z]+)*_(?:changed|added|removed|replaced|wrong|understood|readable|objects|update|malformed|page|covered|ours|seal)"
)
_NAMED_MODULES = ("updates", "others", "comparison", "touched", "additions", "pictures", "verification", "cms_check")


def with_other_text(content: bytes) -> bytes:
    """The file with an update that replaces the text of its page, as an editor that saves incrementally would."""
    number = int(re.findall(rb"/Contents (\d+) 0 R", content)[-1])
    text = b"BT /F1 30 Tf 72 500 Td (Utang Rp 9.000.000) Tj ET"
    start = len(content)
    update = b"%d 0 obj\n<</Length %d>>stream\n%b\nendstream\nendobj\n" % (number, len(text), text)
    previous = content.rpartition(b"startxref\n")[2].split()[0]
    root = re.findall(rb"/Root (\d+) 0 R", content)[-1]
    table = b"xref\n%d 1\n%010d 00000 n \ntrailer\n<</Size 200/Root %b 0 R/Prev %b>>\n" % (
        number,
        start,
        root,
        previous,
    )
    return content + update + table + b"startxref\n%d\n%%%%EOF\n" % (start + len(update))


async def test_the_sealed_page_is_shown_beside_the_one_of_now(client: httpx.AsyncClient, desk: Desk) -> None:
    """Two small pictures within the page itself, which differ, and what was done in words."""
    stamped = await desk.stamp(letter())
    page = await _submit(client, with_other_text(stamped.content))
    assert "Berubah sesudah disegel" in page.text
    assert CHANGES["page_content_changed"][0] in page.text
    sealed, now = (b64decode(found) for found in re.findall(r'src="data:image/png;base64,([^"]+)"', page.text))
    assert sealed != now
    for picture in (sealed, now):
        assert len(picture) <= PICTURE_SIZE_BYTES_MAX
        with Image.open(io.BytesIO(picture)) as image:
            assert ("PNG", "RGB", 360) == (image.format, image.mode, image.width)
            image.load()


async def test_the_page_that_differs_is_shown(client: httpx.AsyncClient, desk: Desk) -> None:
    """Not the first page but the one that was changed."""
    stamped = await desk.stamp(letter(pages=3))
    page = await _submit(client, with_other_text(stamped.content))
    assert re.search(r"Halaman [23]: saat disegel dan sekarang", page.text)


async def test_a_broken_seal_shows_no_pictures(client: httpx.AsyncClient, desk: Desk) -> None:
    """What was sealed cannot be shown from a file whose sealed bytes were changed, and the page says so."""
    stamped = await desk.stamp(letter(text="Surat Perjanjian"))
    page = await _submit(client, stamped.content.replace(b"Surat Perjanjian", b"Surat Perjamuan."))
    assert "data:image/png" not in page.text
    assert "tidak dapat ditunjukkan" in page.text


async def test_what_cannot_be_drawn_is_said(client: httpx.AsyncClient, desk: Desk) -> None:
    """PDFium opens nothing that is encrypted in an unknown way; the verdict stands without pictures."""
    stamped = await desk.stamp(letter())
    changed = with_other_text(stamped.content).replace(b"/Size 200/Root", b"/Size 200/Encrypt<</Filter/None>>/Root")
    page = await _submit(client, changed)
    assert "Berubah sesudah disegel" in page.text
    assert "data:image/png" not in page.text
    assert "tidak dapat digambar" in page.text


async def test_programs_can_cut_out_what_was_sealed(client: httpx.AsyncClient, desk: Desk) -> None:
    """The verdict says how many bytes from the start are the sealed file, and what the addition did."""
    stamped = await desk.stamp(letter())
    changed = with_other_text(stamped.content)
    verdict = (await client.post("/v1/verify", content=changed, headers=PDF)).json()
    assert stamped.content == changed[: verdict["stamps"][0]["sealed_size_bytes"]]
    assert [{"kind": "unknown", "name": "", "changes": ["page_content_changed"]}] == verdict["later"]


async def test_another_stamp_is_listed_as_added(client: httpx.AsyncClient, desk: Desk) -> None:
    """A genuine file with two stamps says that the second came after the first."""
    first = await desk.stamp(letter())
    second = await desk.stamp(first.content)
    page = await _submit(client, second.content)
    assert "Asli dan tidak berubah" in page.text
    assert KINDS["stamp"][0] in page.text


def test_every_code_has_words() -> None:
    """Whatever a check can find wrong, the page can say."""
    folder = Path(str(seal.__file__)).parent
    codes = {
        node.value
        for name in _NAMED_MODULES
        for node in ast.walk(ast.parse((folder / f"{name}.py").read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _CODE.fullmatch(node.value)
    }
    assert set() == codes - CHANGES.keys() - {"not_ours"}
    assert len(codes) > 30


async def _submit(client: httpx.AsyncClient, content: bytes) -> httpx.Response:
    page = await client.get("/verifikasi")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    return await client.post("/verifikasi/berkas", data={"csrf": token}, files={"file": ("surat.pdf", content)})
