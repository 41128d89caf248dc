"""Sealed files as the service hands them out, judged by pyHanko, which shares no code with our sealing."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable

import pytest
from asn1crypto import pem, x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.diff_analysis import ModificationLevel
from pyhanko.sign.validation import EmbeddedPdfSignature, async_validate_pdf_signature
from pyhanko.sign.validation.status import PdfSignatureStatus, SignatureCoverageLevel
from pyhanko_certvalidator import ValidationContext

from papers import letter, letter_in_streams
from running import Person, RunningService

ORIGINALS = {"a classic table": letter, "a cross-reference stream": letter_in_streams}


@pytest.fixture(scope="module")
def root(service: RunningService) -> x509.Certificate:
    """The root of the installation's own test authority."""
    (found,) = (service.data_path / "keys").rglob("root.pem")
    return x509.Certificate.load(pem.unarmor(found.read_bytes())[2])


async def judged(file: bytes, root: x509.Certificate) -> list[tuple[EmbeddedPdfSignature, PdfSignatureStatus]]:
    """Every signature of a file with pyHanko's verdict, trusting one root and fetching nothing."""
    reader = PdfFileReader(io.BytesIO(file))
    verdicts = []
    for signature in reader.embedded_signatures:
        context = ValidationContext(trust_roots=[root], allow_fetching=False)
        verdicts.append((signature, await async_validate_pdf_signature(signature, context)))
    return verdicts


@pytest.mark.parametrize("make", ORIGINALS.values(), ids=ORIGINALS.keys())
async def test_a_sealed_file_is_intact_trusted_and_pades(
    buyer: Person, root: x509.Certificate, make: Callable[[], bytes]
) -> None:
    """The signature covers the whole file, chains to our root, and is what ETSI EN 319 142-1 asks of level B-B."""
    original = make()
    stamp = (await buyer.stamp(original)).json()
    file = (await buyer.api.get(f"/v1/stamps/{stamp['id']}/file")).raise_for_status().content
    ((signature, status),) = await judged(file, root)
    assert status.intact
    assert status.valid
    assert status.trusted
    assert SignatureCoverageLevel.ENTIRE_FILE is status.coverage
    assert ModificationLevel.NONE is status.modification_level
    assert "sha512" == status.md_algorithm
    assert "/ETSI.CAdES.detached" == signature.sig_object["/SubFilter"]
    attributes = {attribute["type"].native for attribute in signature.signer_info["signed_attrs"]}
    assert {"content_type", "message_digest", "signing_certificate_v2"} <= attributes
    assert "signing_time" not in attributes
    assert not signature.docmdp_level
    assert "B-B" == stamp["level"]
    assert stamp["sealed_sha256"] == hashlib.sha256(file).hexdigest()


async def test_both_seals_of_a_file_that_was_stamped_twice_are_valid(buyer: Person, root: x509.Certificate) -> None:
    """The second seal is an update that the first one allows."""
    first = (await buyer.stamp(letter())).json()
    once = (await buyer.api.get(f"/v1/stamps/{first['id']}/file")).content
    second = (await buyer.stamp(once, box="50,50,130,130")).json()
    twice = (await buyer.api.get(f"/v1/stamps/{second['id']}/file")).content
    verdicts = await judged(twice, root)
    assert [(True, True, True)] * 2 == [(status.intact, status.valid, status.trusted) for _, status in verdicts]
    assert [SignatureCoverageLevel.ENTIRE_REVISION, SignatureCoverageLevel.ENTIRE_FILE] == [
        status.coverage for _, status in verdicts
    ]
    assert ModificationLevel.FORM_FILLING >= (verdicts[0][1].modification_level or ModificationLevel.OTHER)


async def test_a_bent_file_is_not_intact(buyer: Person, root: x509.Certificate) -> None:
    """The judge is no rubber stamp: one bit in the original, and it says so."""
    stamp = (await buyer.stamp(letter())).json()
    file = bytearray((await buyer.api.get(f"/v1/stamps/{stamp['id']}/file")).content)
    file[file.index(b"Surat")] ^= 1
    ((_, status),) = await judged(bytes(file), root)
    assert not status.intact
