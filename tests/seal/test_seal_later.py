"""What may follow a seal: stamps, signatures and timestamps, each named. A form that is filled in is a change."""

from __future__ import annotations

import io
from pathlib import Path

import pikepdf
import pytest
from asn1crypto import x509
from forgeries import page_of, signed, somebody, updated
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import PdfTimeStamper, fields
from pyhanko.sign.timestamps import DummyTimeStamper
from pyhanko.sign.validation.dss import DocumentSecurityStore
from seal_judges import judged_by_pdfsig, judged_by_pyhanko
from seal_orders import SealBytes, order_of
from seal_samples import LETTER, MUSEUM, classic, objects_of_a_letter, text_field, with_pikepdf

from emeterai.seal.additions import PARTS_MAX
from emeterai.seal.service import SealEngine, Signer
from emeterai.seal.verification import verify_bytes

SIGNED = ("signature", "Somebody else")
Kinds = list[tuple[str, str]]


def kinds_after(content: bytes, signer: Signer) -> Kinds:
    """The kinds and names of what follows the first seal of a file that must be genuine."""
    report = verify_bytes(content, roots=list(signer.roots))
    assert ("genuine", []) == (report.outcome, [change for stamp in report.stamps for change in stamp.changes_after])
    return [(part.kind, part.name) for part in report.later]


async def agreed(content: bytes, signer: Signer, folder: Path, count: int) -> None:
    """Check that pyHanko and pdfsig find every one of `count` signatures sound."""
    statuses = await judged_by_pyhanko(content, signer.roots[0])
    assert [(True, True, True)] * count == [(one.intact, one.valid, one.docmdp_ok) for one in statuses]
    path = folder / "judged.pdf"
    path.write_bytes(content)
    assert [True] * count == [one.valid for one in judged_by_pdfsig(path)]


def with_empty_field(content: bytes) -> bytes:
    """The file with an empty signature field, for somebody to sign in."""
    writer = IncrementalPdfFileWriter(io.BytesIO(content), strict=False)
    fields.append_signature_field(writer, fields.SigFieldSpec("Penandatangan", box=(72, 100, 200, 150)))
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


def with_validation_data(content: bytes, certificate: x509.Certificate) -> bytes:
    """The file with a certificate in its document security store."""
    writer = IncrementalPdfFileWriter(io.BytesIO(content), strict=False)
    DocumentSecurityStore.supply_dss_in_writer(writer, None, certs=[certificate])
    target = io.BytesIO()
    writer.write(target)
    return target.getvalue()


async def timestamped(content: bytes) -> bytes:
    """The file with a document timestamp of an authority of its own."""
    authority = somebody("Some authority", with_rsa=True)
    stamper = DummyTimeStamper(tsa_cert=authority.signing_cert, tsa_key=authority.signing_key)
    writer = IncrementalPdfFileWriter(io.BytesIO(content), strict=False)
    return bytes((await PdfTimeStamper(stamper).async_timestamp_pdf(writer, "sha512", None)).getvalue())


@pytest.mark.parametrize("name", [name for name in MUSEUM if name != "garbage before"])
async def test_a_signature_may_follow(name: str, seal: SealBytes, signer: Signer) -> None:
    """Whatever the file is made of, a signature after the stamp leaves it genuine and is named."""
    sealed, _ = await seal(MUSEUM[name])
    assert [SIGNED] == kinds_after(await signed(sealed), signer)


async def test_stamps_and_signatures_may_take_turns(seal: SealBytes, signer: Signer, tmp_path: Path) -> None:
    """Stamped, signed twice, stamped, signed unseen: five signatures, all sound for all judges."""
    content, _ = await seal(classic(LETTER))
    content = await signed(await signed(content), name="two", box=(220, 100, 300, 150))
    content, _ = await seal(content, "SECOND", place="top-left")
    content = await signed(content, name="three", box=(0, 0, 0, 0))
    assert [SIGNED, SIGNED, ("stamp", "SECOND"), SIGNED] == kinds_after(content, signer)
    await agreed(content, signer, tmp_path, 5)


async def test_an_empty_field_may_be_signed(seal: SealBytes, signer: Signer, tmp_path: Path) -> None:
    """A field that was there before the stamp, or came after it, and is filled by a signature."""
    before, _ = await seal(with_empty_field(classic(LETTER)))
    assert [SIGNED] == kinds_after(await signed(before, box=None), signer)
    content, _ = await seal(classic(LETTER))
    content = with_empty_field(content)
    assert [("signature_field", "")] == kinds_after(content, signer)
    content = await signed(content, box=None)
    assert [("signature_field", ""), SIGNED] == kinds_after(content, signer)
    await agreed(content, signer, tmp_path, 2)


async def test_timestamps_and_validation_data_may_follow(seal: SealBytes, signer: Signer) -> None:
    """What raises a signature's level (ETSI EN 319 142-1): of somebody's signature, and alone; once and again."""
    sealed, _ = await seal(classic(LETTER))
    certificate = somebody().signing_cert
    content = await timestamped(with_validation_data(await signed(sealed), certificate))
    content = with_validation_data(content, x509.Certificate.load(signer.roots[0]))
    assert [
        SIGNED,
        ("validation_data", ""),
        ("document_timestamp", "Some authority"),
        ("validation_data", ""),
    ] == kinds_after(content, signer)


async def test_a_form_that_is_filled_in_is_a_change(seal: SealBytes, signer: Signer) -> None:
    """After stamping the document is final, even for its form, and even when the change is signed."""
    sealed, _ = await seal(with_pikepdf(lambda pdf: text_field(pdf, indirect=True)))

    def fill(writer: IncrementalPdfFileWriter) -> None:
        field = page_of(writer)["/Annots"][0]
        field["/V"] = generic.pdf_string("Budi")
        writer.update_container(field)

    report = verify_bytes(await signed(sealed, fill), roots=list(signer.roots))
    assert ("changed", [["form_value_changed"]]) == (report.outcome, [one.changes_after for one in report.stamps])


async def test_a_form_that_readers_draw_anew_may_not_stop_that(seal: SealBytes, signer: Signer) -> None:
    """Its stored drawings could show other values than were seen when it was sealed."""

    def drawn_anew(pdf: pikepdf.Pdf) -> None:
        text_field(pdf, indirect=False)
        pdf.Root.AcroForm.NeedAppearances = True

    sealed, _ = await seal(with_pikepdf(drawn_anew))
    report = verify_bytes(await signed(sealed), roots=list(signer.roots))
    assert ("changed", [["form_changed"]]) == (report.outcome, [one.changes_after for one in report.stamps])


async def test_numbers_may_be_written_otherwise(seal: SealBytes, signer: Signer) -> None:
    """A program that writes the page again for its signature may write 842.000 as 842; 842.1 is another page."""
    sealed, _ = await seal(classic(objects_of_a_letter(page=b"/MediaBox[0 0 595.2760 842.000]")))
    content = await signed(sealed)
    assert [SIGNED] == kinds_after(content, signer)

    def widen(writer: IncrementalPdfFileWriter) -> None:
        page_of(writer)["/MediaBox"][3] = generic.FloatObject("842.1")

    report = verify_bytes(await signed(sealed, widen), roots=list(signer.roots))
    assert ("changed", [["page_geometry_changed"]]) == (report.outcome, [one.changes_after for one in report.stamps])


@pytest.mark.parametrize("place", [b"/ByteRange", b"/Subtype", b"endstream", b"startxref"])
async def test_a_signature_that_does_not_hold_is_a_change(place: bytes, seal: SealBytes, signer: Signer) -> None:
    """One byte changed in what somebody's signature covers: it is no signature, whatever the certificate says."""
    sealed, _ = await seal(classic(LETTER))
    changed = bytearray(await signed(sealed))
    changed[changed.rindex(place) + len(place)] ^= 1
    assert bytes(changed).startswith(sealed)
    assert "changed" == verify_bytes(bytes(changed), roots=list(signer.roots)).outcome


async def test_a_signature_with_another_certificate_is_a_change(seal: SealBytes, signer: Signer) -> None:
    """The name that is shown is the one that the signature is bound to."""
    sealed, _ = await seal(classic(LETTER))
    content = await signed(sealed)
    other = content[: len(sealed)] + _with_hex(content[len(sealed) :], b"Somebody else", b"Somebody nice")
    assert other != content
    report = verify_bytes(other, roots=list(signer.roots))
    assert ("changed", ["later_signature_wrong"]) == (report.outcome, report.later[0].changes)


def _with_hex(content: bytes, old: bytes, new: bytes) -> bytes:
    """The content with one text replaced by another where it stands in hexadecimal."""
    return content.replace(old.hex().upper().encode(), new.hex().upper().encode())


async def test_a_locked_file_keeps_its_secret(engine: SealEngine, signer: Signer, tmp_path: Path) -> None:
    """Without the password nobody can compare what was added, so it counts as a change; the bare seal is genuine."""
    path = tmp_path / "locked.pdf"
    path.write_bytes(with_pikepdf(encryption=pikepdf.Encryption(owner="pemilik", user="rahasia", R=6)))
    sealed = path.read_bytes() + (await engine.seal(path, order_of(password="rahasia"))).tail
    assert [] == kinds_after(sealed, signer)
    report = verify_bytes(await signed(sealed, password="rahasia"), roots=list(signer.roots))
    assert ("changed", ["additions_not_readable"]) == (report.outcome, report.later[0].changes)


async def test_a_restricted_file_may_be_signed(seal: SealBytes, signer: Signer) -> None:
    """Encryption that everybody can read, under an owner's password, hides nothing from the comparison."""
    sealed, _ = await seal(with_pikepdf(encryption=pikepdf.Encryption(owner="pemilik", user="", R=6)))
    assert [SIGNED] == kinds_after(await signed(sealed, password=""), signer)


async def test_updates_without_end_are_not_followed(seal: SealBytes, signer: Signer) -> None:
    """Work is bounded: after so many parts the rest is called too much."""
    content, _ = await seal(classic(LETTER))
    for _ in range(PARTS_MAX + 2):
        content = updated(content, {4: LETTER[4]})
    report = verify_bytes(content, roots=list(signer.roots))
    assert ("changed", PARTS_MAX + 1) == (report.outcome, len(report.later))
    assert "too_much_added" in report.stamps[0].changes_after


async def test_the_sealed_file_can_be_cut_out(seal: SealBytes, signer: Signer) -> None:
    """The report says how many bytes from the start are the file as it was sealed."""
    sealed, _ = await seal(classic(LETTER))
    for content in (sealed, await signed(sealed), sealed + b"more"):
        (stamp,) = verify_bytes(content, roots=list(signer.roots)).stamps
        assert sealed == content[: stamp.sealed_size_bytes]
