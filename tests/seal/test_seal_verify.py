"""Verification says genuine only of a file that is, byte for byte, what was sealed."""

from __future__ import annotations

import hashlib
import io
import zlib
from pathlib import Path

import pikepdf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pikepdf import Name
from seal_judges import judged_by_pdfsig, judged_by_pyhanko
from seal_orders import SEALED_AT, SERIAL, SealBytes, order_of
from seal_samples import LETTER, MUSEUM, classic, signed_by_somebody, with_pikepdf

from emeterai.core.refusal import Refused
from emeterai.seal.service import SealEngine, Signer, VerifyReport, load_signer
from emeterai.seal.verification import verify_bytes


async def verified(engine: SealEngine, folder: Path, content: bytes) -> VerifyReport:
    """The report on some bytes."""
    path = folder / "to-verify.pdf"
    path.write_bytes(content)
    return await engine.verify(path)


@pytest.mark.parametrize("name", MUSEUM)
async def test_a_sealed_file_is_genuine(name: str, seal: SealBytes, engine: SealEngine, tmp_path: Path) -> None:
    """Every fact that the seal proves comes out of the file itself."""
    original = MUSEUM[name]
    sealed, _ = await seal(original)
    report = await verified(engine, tmp_path, sealed)
    assert "genuine" == report.outcome
    (stamp,) = report.stamps
    assert (SERIAL, SEALED_AT, "B-B") == (stamp.serial, stamp.sealed_at, stamp.level)
    assert stamp.original_sha256 == hashlib.sha256(original).hexdigest()
    assert (True, True, []) == (stamp.intact, stamp.covers_whole_file, stamp.changes_after)
    assert "SPECIMEN" in stamp.signer


async def test_two_stamps_are_both_genuine(seal: SealBytes, engine: SealEngine, tmp_path: Path) -> None:
    """Another stamp of ours is no change; only the newest covers the whole file."""
    content, _ = await seal(classic(LETTER), "FIRST")
    content, _ = await seal(content, "SECOND", place="top-left")
    report = await verified(engine, tmp_path, content)
    assert "genuine" == report.outcome
    assert [("FIRST", False), ("SECOND", True)] == [(stamp.serial, stamp.covers_whole_file) for stamp in report.stamps]


async def test_an_unsealed_file_is_not_ours(engine: SealEngine, tmp_path: Path) -> None:
    """A file that never was here has no stamps."""
    assert VerifyReport("not_ours", []) == await verified(engine, tmp_path, classic(LETTER))


async def test_a_seal_of_another_authority_is_not_ours(seal: SealBytes, tmp_path: Path) -> None:
    """A whole seal whose certificate does not lead to our root is not ours, however much it looks like it."""
    sealed, _ = await seal(classic(LETTER))
    stranger = load_signer(folder=tmp_path)
    report = verify_bytes(sealed, roots=list(stranger.roots))
    assert "not_ours" == report.outcome
    assert ["certificate_not_ours"] == report.stamps[0].changes_after


@pytest.mark.parametrize("content", [b"", b"GIF89a", bytes(2_000)], ids=["empty", "picture", "zeros"])
async def test_what_is_no_pdf_is_refused(content: bytes, engine: SealEngine, tmp_path: Path) -> None:
    """Verification refuses by name what cannot carry a stamp."""
    with pytest.raises(Refused):
        await verified(engine, tmp_path, content)


def _incremental(content: bytes) -> bytes:
    """Append an update that moves the page away, as an editor that saves incrementally would."""
    previous = content.rpartition(b"startxref\n")[2].split()[0]
    start = len(content)
    update = b"4 0 obj\n<</Length 0>>stream\n\nendstream\nendobj\n"
    table = b"xref\n4 1\n%010d 00000 n \ntrailer\n<</Size 20/Root 1 0 R/Prev %s>>\n" % (start, previous)
    return content + update + table + b"startxref\n%d\n%%%%EOF\n" % (start + len(update))


def _resaved(content: bytes) -> bytes:
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        pdf.save(target)
    return target.getvalue()


def _without_range(content: bytes) -> bytes:
    """Universal signature forgery: take away what a verifier needs and hope that it shrugs."""
    return content.replace(b"/ByteRange[", b"/ByteRang_[")


def _wrapped(content: bytes) -> bytes:
    """Signature wrapping: put other content where the signed tail was, the signed bytes further back."""
    at = content.index(b"/Contents<")
    return content[:at] + b"/Contents<00>/Nothing<" + content[at + 10 :]


def _hidden(content: bytes) -> bytes:
    """Append an update whose form has no fields, so that viewers show no signature."""
    previous = content.rpartition(b"startxref\n")[2].split()[0]
    start = len(content)
    update = b"1 0 obj\n<</Type/Catalog/Pages 2 0 R>>\nendobj\n"
    table = b"xref\n1 1\n%010d 00000 n \ntrailer\n<</Size 20/Root 1 0 R/Prev %s>>\n" % (start, previous)
    return content + update + table + b"startxref\n%d\n%%%%EOF\n" % (start + len(update))


CHANGES = {
    "one letter of the text": lambda content: content.replace(b"(Surat Pernyataan)", b"(Surat Pengakuan!)"),
    "a byte after the end": lambda content: content + b"\n",
    "an incremental update": _incremental,
    "an update that hides the stamp": _hidden,
    "saved again by another program": _resaved,
    "the byte range taken away": _without_range,
    "the signature wrapped": _wrapped,
    "another serial": lambda content: content.replace(b"EMTR_Serial(K7Q0", b"EMTR_Serial(K7Q1"),
    "another original size": lambda content: content.replace(b"/EMTR_OriginalSize ", b"/EMTR_OriginalSize 1"),
    "an emptied slot": lambda content: (
        content[: content.index(b"/Contents<30") + 10]
        + b"0" * (content.index(b">>>", content.index(b"/Contents<30")) - content.index(b"/Contents<30") - 10)
        + content[content.index(b">>>", content.index(b"/Contents<30")) :]
    ),
    "the end cut off": lambda content: content[:-7],
    "bytes in front": lambda content: b"\n" + content,
    "the mark's picture": lambda content: content.replace(b"/BBox[0 0 80 80]", b"/BBox[0 0 90 80]"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_a_changed_file_is_called_changed(name: str, seal: SealBytes, engine: SealEngine, tmp_path: Path) -> None:
    """Whatever was done to a sealed file, it is no longer genuine, and it is not called a stranger's either."""
    sealed, _ = await seal(classic(LETTER))
    changed = CHANGES[name](sealed)
    assert changed != sealed
    assert "changed" == (await verified(engine, tmp_path, changed)).outcome


async def test_a_stamp_cannot_launder_changes_made_before_it(
    seal: SealBytes, engine: SealEngine, tmp_path: Path
) -> None:
    """Sealed, changed, sealed again: the second seal is whole, but what lies between the two is a change."""
    first, _ = await seal(classic(LETTER), "FIRST")
    second, _ = await seal(_incremental(first), "SECOND")
    report = await verified(engine, tmp_path, second)
    assert "changed" == report.outcome
    assert [["page_content_changed"], []] == [stamp.changes_after for stamp in report.stamps]


async def test_a_stamp_copied_into_another_file_is_not_genuine(
    seal: SealBytes, engine: SealEngine, tmp_path: Path
) -> None:
    """The tail of one document behind another proves nothing."""
    sealed, facts = await seal(classic(LETTER))
    other = with_pikepdf(pages=2)
    assert sealed.endswith(facts.tail)
    assert "changed" == (await verified(engine, tmp_path, other + facts.tail)).outcome


async def test_a_sealed_file_inside_another_is_not_genuine(seal: SealBytes, engine: SealEngine, tmp_path: Path) -> None:
    """A stamped document attached to another does not stamp that one; packed, it is not even seen."""
    sealed, _ = await seal(classic(LETTER))

    def attach(pdf: pikepdf.Pdf) -> None:
        pdf.Root.Attachment = pdf.make_stream(sealed)

    def attach_packed(pdf: pikepdf.Pdf) -> None:
        pdf.Root.Attachment = pikepdf.Stream(pdf, zlib.compress(sealed), Filter=Name.FlateDecode)

    assert "changed" == (await verified(engine, tmp_path, with_pikepdf(attach, compress_streams=False))).outcome
    assert "not_ours" == (await verified(engine, tmp_path, with_pikepdf(attach_packed))).outcome


@pytest.fixture(scope="module")
async def sealed_letter(engine: SealEngine, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """One sealed file for many mutations."""
    path = tmp_path_factory.mktemp("letter") / "letter.pdf"
    path.write_bytes(classic(LETTER))
    return classic(LETTER) + (await engine.seal(path, order_of())).tail


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(1, 255))
def test_no_flipped_byte_stays_unnoticed(sealed_letter: bytes, signer: Signer, place: float, value: int) -> None:
    """Any byte of a sealed file changed in any way: the file is not genuine."""
    at = int(place * len(sealed_letter))
    changed = bytearray(sealed_letter)
    changed[at] ^= value
    assert "genuine" != verify_bytes(bytes(changed), roots=list(signer.roots)).outcome


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0, 1, exclude_max=True))
def test_no_cut_file_is_genuine(sealed_letter: bytes, signer: Signer, cut: float) -> None:
    """However much is missing at the end, the file is not genuine."""
    content = sealed_letter[: int(cut * len(sealed_letter))]
    assert "genuine" != verify_bytes(content, roots=list(signer.roots)).outcome


async def test_a_file_that_somebody_signed_before_can_be_stamped(
    seal: SealBytes, engine: SealEngine, signer: Signer, tmp_path: Path
) -> None:
    """An earlier signature stays valid under the stamp, for pyHanko and for pdfsig, and the stamp is genuine."""
    sealed, _ = await seal(await signed_by_somebody(classic(LETTER)))
    report = await verified(engine, tmp_path, sealed)
    assert "genuine" == report.outcome
    statuses = await judged_by_pyhanko(sealed, signer.roots[0])
    assert [(True, True, True)] * 2 == [(one.intact, one.valid, one.docmdp_ok) for one in statuses]
    assert [True, True] == [one.valid for one in judged_by_pdfsig(tmp_path / "to-verify.pdf")]
