"""Encrypted files are sealed when they can be opened, and stay encrypted in the way they were."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from asn1crypto import x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext
from seal_judges import qr_codes
from seal_odd import KINDS_OF_ENCRYPTION, PASSWORD, encrypted
from seal_orders import SEALED_AT, SERIAL, order_of

from emeterai.core.refusal import Refused
from emeterai.seal.encryption import FileCipher
from emeterai.seal.service import SealEngine, Signer
from programs import need_program

PASSWORDS = {"owner only": "", "with a password": PASSWORD}


async def sealed_with(engine: SealEngine, folder: Path, content: bytes, password: str | None) -> bytes:
    """The sealed file, inspected before and read back after."""
    original, tail = folder / "original.pdf", folder / "tail"
    original.write_bytes(content)
    assert ["form", "encrypted"] == (await engine.inspect(original, password=password)).notes
    sealed = await engine.seal(original, order_of(password=password))
    tail.write_bytes(sealed.tail)
    await engine.read_back(original, tail, sealed, password=password)
    return content + sealed.tail


def pdfsig_calls_valid(path: Path, password: str) -> bool:
    """Whether pdfsig, given the password, finds one valid signature over the whole document."""
    pdfsig = need_program("pdfsig", "poppler-utils")
    text = subprocess.run([pdfsig, "-upw", password, str(path)], capture_output=True, check=False).stdout.decode()
    return text.count("Signature is Valid.") == 1 and "- Total document signed" in text


@pytest.mark.parametrize("password", PASSWORDS.values(), ids=PASSWORDS)
@pytest.mark.parametrize("kind", KINDS_OF_ENCRYPTION)
async def test_an_encrypted_file_is_sealed_and_stays_encrypted(
    kind: str, password: str, engine: SealEngine, signer: Signer, tmp_path: Path
) -> None:
    """Valid for pdfsig and pyHanko, marked in PDFium, genuine without the password; old and new strings are read."""
    content = encrypted(user=password, **KINDS_OF_ENCRYPTION[kind])  # type: ignore[arg-type]
    sealed = await sealed_with(engine, tmp_path, content, password or None)
    path = tmp_path / "sealed.pdf"
    path.write_bytes(sealed)
    assert "genuine" == (await engine.verify(path)).outcome
    assert pdfsig_calls_valid(path, password)

    reader = PdfFileReader(io.BytesIO(sealed))
    reader.decrypt(password)
    (signature,) = reader.embedded_signatures
    trusted = ValidationContext(trust_roots=[x509.Certificate.load(signer.roots[0])], allow_fetching=False)
    assert (await async_validate_pdf_signature(signature, trusted)).bottom_line

    with pypdfium2.PdfDocument(sealed, password=password) as document:
        document.init_forms()
        assert 1 == len(qr_codes(document[0].render(scale=2).to_pil()))

    with pikepdf.open(io.BytesIO(sealed), password=password) as pdf:
        old, new = pdf.Root.AcroForm.Fields
        assert pdf.is_encrypted
        assert ("Siti", "id") == (str(old.V), str(pdf.Root.Lang))
        assert SERIAL in str(new.T)
        assert SERIAL in str(new.V.Reason)
        assert f"D:{SEALED_AT:%Y%m%d%H%M%S}+00'00'" == str(new.V.M)


async def test_an_encrypted_file_can_be_stamped_twice(engine: SealEngine, tmp_path: Path) -> None:
    """The second tail finds the first one's strings enciphered and leaves them so."""
    content = await sealed_with(engine, tmp_path, encrypted(6, user=PASSWORD), PASSWORD)
    path, tail = tmp_path / "again.pdf", tmp_path / "tail"
    path.write_bytes(content)
    assert "stamped" in (await engine.inspect(path, password=PASSWORD)).notes
    sealed = await engine.seal(path, order_of("SECOND", password=PASSWORD, place="top-left"))
    tail.write_bytes(sealed.tail)
    await engine.read_back(path, tail, sealed, password=PASSWORD)
    path.write_bytes(content + sealed.tail)
    report = await engine.verify(path)
    assert ("genuine", [SERIAL, "SECOND"]) == (report.outcome, [stamp.serial for stamp in report.stamps])


@pytest.mark.parametrize("revision", [3, 4])
async def test_an_old_file_takes_a_password_that_is_not_ascii(
    revision: int, engine: SealEngine, tmp_path: Path
) -> None:
    """Old files spell passwords in PDFDocEncoding, new ones in UTF-8; people type the same."""
    content = encrypted(revision, user="sandi é", aes=revision == 4, metadata=revision == 4)
    assert await sealed_with(engine, tmp_path, content, "sandi é")


async def test_without_the_password_or_with_a_wrong_one_the_file_is_refused(engine: SealEngine, tmp_path: Path) -> None:
    """Each has its own sentence; nothing is guessed."""
    path = tmp_path / "locked.pdf"
    path.write_bytes(encrypted(6, user=PASSWORD))
    for password, code in ((None, "pdf_encrypted"), ("", "pdf_encrypted"), ("salah", "pdf_password_wrong")):
        with pytest.raises(Refused) as refused:
            await engine.inspect(path, password=password)
        assert code == refused.value.code


async def test_a_password_that_is_not_needed_does_no_harm(engine: SealEngine, tmp_path: Path) -> None:
    """A file that opens without one is opened without one."""
    assert await sealed_with(engine, tmp_path, encrypted(6), "apa saja")


def test_what_is_not_encrypted_by_the_file_stays_in_the_clear() -> None:
    """The crypt filter Identity leaves strings or streams as they are (ISO 32000-2, 7.6.6)."""
    cipher = FileCipher(bytes(16), "none", "aesv2")
    assert b"<6162>" == cipher.string(b"ab", 7)
    assert b"ab" not in cipher.stream(b"ab", 7)


def test_the_same_content_is_enciphered_otherwise_in_another_object() -> None:
    """Equal strings do not show that they are equal, and the same order makes the same bytes."""
    cipher = FileCipher(bytes(32), "aesv3", "aesv3")
    assert cipher.string(b"ab", 7) != cipher.string(b"ab", 8)
    assert cipher.string(b"ab", 7) == cipher.string(b"ab", 7)
