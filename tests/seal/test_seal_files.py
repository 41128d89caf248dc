"""Sound files of every odd kind are sealed, and independent judges call them valid."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pikepdf
import pytest
from seal_judges import judged_by_pdfsig, judged_by_pyhanko, qr_codes, rendered
from seal_orders import SEALED_AT, SERIAL, SealBytes, order_of
from seal_samples import LETTER, MUSEUM, classic, with_pikepdf

from emeterai.seal.service import SealEngine, Signer

URL = f"https://meterai.example/v/{SERIAL}"


@pytest.mark.parametrize("name", MUSEUM)
async def test_every_odd_file_is_sealed_and_valid_for_all_judges(
    name: str, seal: SealBytes, signer: Signer, tmp_path: Path
) -> None:
    """A sealed file keeps the original bytes, is valid for pdfsig and pyHanko, and shows a readable mark."""
    sealed, _ = await seal(MUSEUM[name])
    path = tmp_path / "sealed.pdf"
    path.write_bytes(sealed)

    assert sealed.startswith(MUSEUM[name])
    assert [(True, True)] == [(judged.valid, judged.whole_document) for judged in judged_by_pdfsig(path)]
    if name != "garbage before":  # pyHanko reads no file whose header is not its first byte
        statuses = await judged_by_pyhanko(sealed, signer.roots[0])
        assert [True] == [status.bottom_line for status in statuses]
    last_page = len(pikepdf.open(io.BytesIO(sealed)).pages) - 1
    assert [URL] == [text for text, _ in qr_codes(rendered(sealed, last_page))]


@pytest.mark.parametrize("name", MUSEUM)
async def test_a_tail_gives_qpdf_nothing_to_complain_about(name: str, seal: SealBytes) -> None:
    """What qpdf finds odd in a sealed file it found in the original already."""
    sealed, _ = await seal(MUSEUM[name])
    complaints = []
    for content in (MUSEUM[name], sealed):
        with pikepdf.open(io.BytesIO(content)) as pdf:
            assert len(pdf.pages) > 0
            complaints.append(len(pdf.get_warnings()))
    assert complaints[1] <= complaints[0]


@pytest.mark.parametrize("name", MUSEUM)
async def test_inspection_promises_what_sealing_keeps(name: str, engine: SealEngine, tmp_path: Path) -> None:
    """A file that can be sealed passes inspection with its true size and number of pages."""
    path = tmp_path / "file.pdf"
    path.write_bytes(MUSEUM[name])
    report = await engine.inspect(path)
    assert len(MUSEUM[name]) == report.size_bytes
    assert (300 if name == "300 pages" else 1) == report.pages


async def test_the_digests_are_those_of_the_bytes(seal: SealBytes) -> None:
    """A tail names the digests and the size of the original and of the sealed file."""
    original = classic(LETTER)
    sealed, facts = await seal(original)
    assert hashlib.sha256(original).digest() == facts.original_sha256
    assert hashlib.sha256(sealed).digest() == facts.sealed_sha256
    assert len(sealed) == facts.sealed_size_bytes
    assert "B-B" == facts.level


async def test_the_same_order_makes_the_same_tail(engine: SealEngine, tmp_path: Path) -> None:
    """With an RSA key nothing in a tail is left to chance: sealing twice gives the same bytes."""
    path = tmp_path / "file.pdf"
    path.write_bytes(classic(LETTER))
    first, second = [await engine.seal(path, order_of()) for _ in range(2)]
    assert first == second


async def test_several_stamps_on_one_file_all_stay_valid(seal: SealBytes, signer: Signer, tmp_path: Path) -> None:
    """Three stamps on one file: each signature holds, and each field has its own name."""
    content = classic(LETTER)
    for number, place in enumerate(("top-left", "middle-center", "bottom-right")):
        content, _ = await seal(content, f"STAMP{number}", place=place)
    path = tmp_path / "sealed.pdf"
    path.write_bytes(content)

    judged = judged_by_pdfsig(path)
    assert [True, True, True] == [one.valid for one in judged]
    assert 3 == len({one.field for one in judged})
    statuses = await judged_by_pyhanko(content, signer.roots[0])
    assert [(True, True)] * 3 == [(status.intact and status.valid, status.docmdp_ok) for status in statuses]
    assert {f"https://meterai.example/v/STAMP{n}" for n in range(3)} == {
        text for text, _ in qr_codes(rendered(content))
    }


async def test_the_same_serial_twice_still_makes_two_fields(seal: SealBytes, tmp_path: Path) -> None:
    """Field names are unique even when a caller repeats a serial: names are not the ledger's job."""
    content, _ = await seal(classic(LETTER))
    content, _ = await seal(content, place="top-left")
    pdf = pikepdf.open(io.BytesIO(content))
    fields = [str(field.T) for field in pdf.Root.AcroForm.Fields]
    assert 2 == len(set(fields))


async def test_a_form_keeps_its_fields_and_values(seal: SealBytes) -> None:
    """Sealing a filled form adds one field and changes no other."""
    sealed, _ = await seal(MUSEUM["form with direct parts"])
    pdf = pikepdf.open(io.BytesIO(sealed))
    form = pdf.Root.AcroForm
    assert ["nama", f"EMETERAI_{SERIAL}"] == [str(field.T).rpartition("_")[0] or str(field.T) for field in form.Fields]
    assert "Siti" == str(form.Fields[0].V)
    assert 3 == form.SigFlags


async def test_the_file_id_keeps_its_first_half(seal: SealBytes) -> None:
    """The permanent half of /ID stays, the changing half changes (ISO 32000-2, 14.4)."""
    sealed, _ = await seal(MUSEUM["file id and info"])
    pdf = pikepdf.open(io.BytesIO(sealed))
    trailer = pdf.trailer
    assert b"\x01\x02" == bytes(trailer.ID[0])
    assert b"\x03\x04" != bytes(trailer.ID[1])
    assert "Surat (1)" == str(trailer.Info.Title)


async def test_the_signature_dictionary_is_pades(seal: SealBytes) -> None:
    """Sub-filter, time and range are as ETSI EN 319 142-1, 6.3 wants, and there is no signing-time attribute."""
    sealed, _ = await seal(with_pikepdf())
    pdf = pikepdf.open(io.BytesIO(sealed))
    field = pdf.Root.AcroForm.Fields[0]
    assert "/ETSI.CAdES.detached" == str(field.V.SubFilter)
    assert f"D:{SEALED_AT:%Y%m%d%H%M%S}+00'00'" == str(field.V.M)
    assert SERIAL == str(field.V.EMTR_Serial)
    assert SERIAL in str(field.TU)
    assert "/Cert" not in field.V
    assert bytes.fromhex("2a864886f70d010905") not in bytes(field.V.Contents)


async def test_inspection_notes_what_is_worth_knowing(engine: SealEngine, seal: SealBytes, tmp_path: Path) -> None:
    """A form, earlier signatures and earlier stamps are told before anybody pays."""
    path = tmp_path / "file.pdf"
    path.write_bytes(MUSEUM["form with direct parts"])
    report = await engine.inspect(path)
    assert (["form"], 0) == (report.notes, report.signatures)
    stamped, _ = await seal(classic(LETTER))
    path.write_bytes(stamped)
    report = await engine.inspect(path)
    assert (["signed", "stamped", "form"], 1) == (report.notes, report.signatures)


async def test_a_missing_file_is_the_callers_fault(engine: SealEngine, tmp_path: Path) -> None:
    """A path that cannot be read is no refusal of somebody's document."""
    for verb in (engine.inspect, engine.verify):
        with pytest.raises(OSError, match="No such file"):
            await verb(tmp_path / "missing.pdf")
