"""Odd but sound files are sealed as they are: numbers, versions, forms, structures, certifications, many pages."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pikepdf
import pytest
from pyhanko.sign.fields import FieldMDPAction, FieldMDPSpec, MDPPerm
from seal_judges import judged_by_pdfsig, judged_by_pyhanko, qr_codes, rendered
from seal_odd import FIRST_FREE, SOUND, numbered
from seal_orders import SealBytes, order_of
from seal_samples import LETTER, classic, objects_of_a_letter, signed_by_somebody, with_pikepdf

from emeterai.core.refusal import Refused
from emeterai.seal.service import SealEngine, Signer

NOTES = {"dynamic form": ["form", "xfa"]}
ALL, EXCLUDE, INCLUDE = FieldMDPAction.ALL, FieldMDPAction.EXCLUDE, FieldMDPAction.INCLUDE


@pytest.mark.parametrize("name", SOUND)
async def test_an_odd_file_is_sealed_as_it_is(
    name: str, seal: SealBytes, engine: SealEngine, signer: Signer, tmp_path: Path
) -> None:
    """Not repaired, valid for pdfsig and pyHanko, genuine, and the mark is seen in PDFium."""
    path = tmp_path / "file.pdf"
    path.write_bytes(SOUND[name])
    report = await engine.inspect(path)
    assert (False, NOTES.get(name, [])) == (report.repaired, report.notes)
    sealed, _ = await seal(SOUND[name])
    path.write_bytes(sealed)
    assert sealed.startswith(SOUND[name])
    assert [(True, True)] == [(judged.valid, judged.whole_document) for judged in judged_by_pdfsig(path)]
    assert [True] == [status.bottom_line for status in await judged_by_pyhanko(sealed, signer.roots[0])]
    assert 1 == len(qr_codes(rendered(sealed)))
    assert "genuine" == (await engine.verify(path)).outcome


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("dangling references", FIRST_FREE),
        ("packed dangling references", 8),
        ("dangling references behind a picture", 10),
    ],
)
async def test_references_in_vain_do_not_come_to_mean_the_mark(name: str, first: int, seal: SealBytes) -> None:
    """The new objects take numbers that nothing in the file refers to."""
    sealed, facts = await seal(SOUND[name])
    new = {int(number) for number in re.findall(rb"\n(\d+) 0 obj", facts.tail)} - {1, 3}
    assert not new & set(range(first, first + 3))
    with pikepdf.open(io.BytesIO(sealed)) as pdf:
        assert 1 == len([one for one in pdf.pages[0].Annots if isinstance(one, pikepdf.Dictionary)])


@pytest.mark.parametrize("number", [5_000, 4_000_000])
async def test_a_rewritten_page_keeps_what_has_a_large_number(number: int, seal: SealBytes) -> None:
    """The page still refers to its font, whose number is out of all proportion to the file; /Size does not shrink."""
    sealed, facts = await seal(numbered(number))
    assert b"/F1 %d 0 R" % number in facts.tail
    (size,) = re.findall(rb"/Size (\d+)", facts.tail)
    assert int(size) > number
    assert rendered(sealed).getpixel((150, 250)) is not None


async def test_a_tagged_file_keeps_its_structure(seal: SealBytes) -> None:
    """The structure tree is untouched; the mark has a text of its own for screen readers."""
    sealed, _ = await seal(SOUND["tagged"])
    with pikepdf.open(io.BytesIO(sealed)) as pdf:
        assert "/P" == str(pdf.Root.StructTreeRoot.K[0].S)
        assert "nomor seri" in str(pdf.pages[0].Annots[-1].Contents)


CERTIFIED: dict[str, tuple[dict[str, object], str | None]] = {
    "no changes": ({"certify": True, "docmdp_permissions": MDPPerm.NO_CHANGES}, "pdf_certified_no_changes"),
    "fill and sign": ({"certify": True, "docmdp_permissions": MDPPerm.FILL_FORMS}, None),
    "fill, sign and annotate": ({"certify": True, "docmdp_permissions": MDPPerm.ANNOTATE}, None),
    "all fields locked": ({"locks": FieldMDPSpec(ALL)}, "pdf_fields_locked"),
    "all fields but one locked": ({"locks": FieldMDPSpec(EXCLUDE, ["nama"])}, "pdf_fields_locked"),
    "one field locked": ({"locks": FieldMDPSpec(INCLUDE, ["nama"])}, None),
}


@pytest.mark.parametrize("name", CERTIFIED)
async def test_what_a_signature_forbids_is_not_done(
    name: str, engine: SealEngine, seal: SealBytes, tmp_path: Path
) -> None:
    """A signature that a stamp would end refuses the file by name; every other one stays valid for pdfsig."""
    claims, refusal = CERTIFIED[name]
    content = await signed_by_somebody(classic(LETTER), **claims)  # type: ignore[arg-type]
    path = tmp_path / "certified.pdf"
    path.write_bytes(content)
    if refusal is not None:
        for attempt in (engine.inspect(path), engine.seal(path, order_of())):
            with pytest.raises(Refused) as refused:
                await attempt
            assert refusal == refused.value.code
        return
    assert ("certified" in (await engine.inspect(path)).notes) is ("certify" in claims)
    sealed, _ = await seal(content)
    path.write_bytes(sealed)
    assert [True, True] == [judged.valid for judged in judged_by_pdfsig(path)]


async def test_a_certification_on_a_field_without_a_value_forbids_nothing(seal: SealBytes) -> None:
    """A signature field that nobody has signed yet may carry a lock; it locks when it is signed."""
    field = b"<</Type/Annot/Subtype/Widget/FT/Sig/T(a)/Rect[0 0 0 0]/Lock<</Action/All/P 1>>>>"
    objects = objects_of_a_letter(catalog=b"/AcroForm<</Fields[6 0 R]>>", page=b"/Annots[6 0 R]", extra={6: field})
    sealed, _ = await seal(classic(objects))
    assert sealed


async def test_the_last_and_the_first_of_5000_pages_are_sealed(seal: SealBytes, signer: Signer, tmp_path: Path) -> None:
    """Many pages, with object streams, are no slower road."""
    content = with_pikepdf(pages=5_000, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    for page in (1, 5_000):
        sealed, facts = await seal(content, page=page)
        assert page == facts.page
        path = tmp_path / "many.pdf"
        path.write_bytes(sealed)
        assert [True] == [judged.valid for judged in judged_by_pdfsig(path)]
        assert 1 == len(qr_codes(rendered(sealed, page - 1)))
