"""What cannot be sealed is refused by name, with a sentence that tells the person what to do."""

from __future__ import annotations

from pathlib import Path

import pikepdf
import pytest
from seal_orders import order_of
from seal_samples import LETTER, certified, classic, objects_of_a_letter, with_pikepdf

from emeterai.core.refusal import Refused
from emeterai.seal import refusals
from emeterai.seal.service import SealEngine, Signer

_ENCRYPTED = with_pikepdf(encryption=pikepdf.Encryption(owner="o", user="u"))

HARD_FILES = {
    "empty": (b"", "pdf_empty"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(500), "pdf_not_pdf"),
    "a Word file": (b"PK\x03\x04" + bytes(500), "pdf_not_pdf"),
    "text": (b"Surat pernyataan\n", "pdf_not_pdf"),
    "only a header": (b"%PDF-1.7\n", "pdf_broken"),
    "cut before its pages": (classic(LETTER)[:80], "pdf_broken"),
    "no catalog": (classic(LETTER, trailer=b"/Root 9 0 R").replace(b"/Root 1 0 R", b""), "pdf_broken"),
    "password": (_ENCRYPTED, "pdf_encrypted"),
    "locked for a recipient's certificate": (
        classic(LETTER, trailer=b"/Encrypt<</Filter/Adobe.PubSec/V 4/SubFilter/adbe.pkcs7.s5>>/ID[<01><02>]"),
        "pdf_encryption_unknown",
    ),
    "no pages": (classic({1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[]/Count 0>>"}), "pdf_no_pages"),
    "certified, no changes": (certified(1), "pdf_certified_no_changes"),
    "the form is also a page": (
        classic(objects_of_a_letter(catalog=b"/AcroForm 3 0 R")).replace(b"/Type/Page/", b"/Type/Form/"),
        "pdf_broken",
    ),
    "page tree in a ring": (
        classic({1: b"<</Type/Catalog/Pages 2 0 R>>", 2: b"<</Type/Pages/Kids[2 0 R]/Count 1>>"}),
        "pdf_broken",
    ),
}


@pytest.mark.parametrize("name", HARD_FILES)
async def test_a_hard_file_is_refused_by_name_at_inspection_and_at_sealing(
    name: str, engine: SealEngine, tmp_path: Path
) -> None:
    """Inspection refuses what sealing would refuse, so nobody pays for it; the sentences are complete."""
    content, code = HARD_FILES[name]
    path = tmp_path / "file.pdf"
    path.write_bytes(content)
    with pytest.raises(Refused) as inspected:
        await engine.inspect(path)
    with pytest.raises(Refused) as sealed:
        await engine.seal(path, order_of())
    assert (inspected.value.code, sealed.value.code) == (code, code)
    assert "{" not in inspected.value.id + inspected.value.en


async def test_a_file_over_the_bound_is_refused_unopened(signer: Signer, tmp_path: Path) -> None:
    """The bound is in the sentence; a file exactly at the bound is sealed."""
    path = tmp_path / "file.pdf"
    path.write_bytes(classic(LETTER))
    size_bytes = path.stat().st_size
    engine = await SealEngine.start(signer=signer, size_bytes_max=size_bytes)
    try:
        assert (await engine.inspect(path)).size_bytes == size_bytes
        path.write_bytes(classic(LETTER) + b"\n")
        with pytest.raises(Refused) as refused:
            await engine.inspect(path)
        assert "pdf_too_large" == refused.value.code
        assert str(size_bytes) in refused.value.id
    finally:
        await engine.close()


def test_every_refusal_speaks_two_languages() -> None:
    """Each refusal of the engine has a stable code and two different whole sentences."""
    kinds = [value for value in vars(refusals).values() if isinstance(value, refusals.RefusalKind)]
    assert len(kinds) >= 15
    for kind in kinds:
        assert kind.id.endswith(".")
        assert kind.en.endswith(".")
        assert kind.id != kind.en
