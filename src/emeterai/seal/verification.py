"""Is there a genuine seal in these bytes, and is the file still as it was sealed? Used inside the opener only.

Seals are found in the bytes themselves and everything is checked against bytes: cross-references, which attackers bend
(shadow documents, wrapping, incremental saving), are never asked. Whatever follows a seal and is not another whole
seal of ours counts as a change.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from emeterai.seal.cms import CmsTemplate, check_signature
from emeterai.seal.der import element_size
from emeterai.seal.model import Outcome, StampFacts, VerifyReport
from emeterai.seal.signature import TRACE, SealFound, find_seals

SEALS_MAX = 100
_BYTE_RANGE = re.compile(rb"/ByteRange\s*\[\s*0\s+(\d{1,10})\s+(\d{1,10})\s+(\d{1,10})\s*\]")
_CHAIN_MAX = 4
_CERTIFICATES_MAX = 20


@dataclass(frozen=True, slots=True)
class _Checked:
    """A seal after its checks: no `faults` when the signature holds, `ours` when its certificate leads to our root."""

    found: SealFound
    certificate: x509.Certificate | None
    ours: bool
    faults: list[str]

    @property
    def end(self) -> int:
        return self.found.byte_range[1] + self.found.byte_range[2]

    @property
    def holds(self) -> bool:
        return self.ours and not self.faults


class _SealFaultError(Exception):
    """One check failed; the text is its name in reports."""


def verify_bytes(content: bytes, *, roots: list[bytes]) -> VerifyReport:
    """Check every seal in `content` against root certificates (DER)."""
    trusted = [x509.load_der_x509_certificate(root) for root in roots]
    seals = [_check(content, found, trusted) for found in find_seals(content)[:SEALS_MAX]]
    stamps = [_facts(content, seal, seals) for seal in seals]
    return VerifyReport(_outcome(content, seals, stamps), stamps)


def _outcome(content: bytes, seals: list[_Checked], stamps: list[StampFacts]) -> Outcome:
    if any(seal.holds for seal in seals):
        whole = all(stamp.intact and not stamp.changes_after for stamp in stamps)
        return "genuine" if whole and content.count(TRACE) == len(seals) else "changed"
    # A seal of another issuer is whole but not ours; one that cannot even be read was ours before somebody bent it.
    bent = any(seal.ours or seal.certificate is None for seal in seals)
    return "changed" if bent or (not seals and TRACE in content) else "not_ours"


def _facts(content: bytes, seal: _Checked, seals: list[_Checked]) -> StampFacts:
    position, chained = seal.end, True
    while chained:
        following = [other.end for other in seals if other.holds and other.found.facts.original_size_bytes == position]
        chained = bool(following)
        position = following[0] if following else position
    changes = list(seal.faults)
    if not seal.ours and seal.certificate is not None:
        changes.append("certificate_not_ours")
    if position != len(content):
        changes.append(_kind_of_addition(content, position, seals))
    facts = seal.found.facts
    return StampFacts(
        serial=facts.serial,
        sealed_at=facts.sealed_at,
        original_sha256=hashlib.sha256(memoryview(content)[: facts.original_size_bytes]).hexdigest(),
        covers_whole_file=seal.holds and seal.end == len(content),
        signer=_common_name(seal.certificate),
        certificate_sha256=seal.certificate.fingerprint(hashes.SHA256()).hex() if seal.certificate else "",
        level="B-B",
        intact=seal.holds,
        changes_after=changes,
    )


def _kind_of_addition(content: bytes, position: int, seals: list[_Checked]) -> str:
    """What was appended at `position`: `signature_added_after_seal` when another's signature covers all of it."""
    ours = {seal.found.byte_range for seal in seals}
    ranges = {(int(start), int(end), int(rest)) for start, end, rest in _BYTE_RANGE.findall(content, position)} - ours
    covers = any(end + rest == len(content) for _, end, rest in ranges)
    return "signature_added_after_seal" if covers else "bytes_added_after_seal"


def _check(content: bytes, found: SealFound, trusted: list[x509.Certificate]) -> _Checked:
    certificate, ours = None, False
    try:
        signature, certificates = _read_cms(found.contents)
        certificate = certificates[0]
        ours = _leads_to(certificate, certificates[1:], trusted, moment=found.facts.sealed_at)
        _check_range(content, found)
        _check_signature(content, found, signature, certificates)
    except _SealFaultError as fault:
        return _Checked(found, certificate, ours, [str(fault)])
    return _Checked(found, certificate, ours, [])


def _check_range(content: bytes, found: SealFound) -> None:
    """The byte range is everything but the slot, and the tail begins where the dictionary says."""
    start, end, rest = found.byte_range
    original_size = found.facts.original_size_bytes
    if (start, end) != (found.slot_start, found.slot_end) or end + rest > len(content):
        raise _SealFaultError("byte_range_wrong")
    if not 0 < original_size < start or content[original_size : original_size + 1] != b"\n":
        raise _SealFaultError("byte_range_wrong")


def _check_signature(content: bytes, found: SealFound, signature: bytes, certificates: list[x509.Certificate]) -> None:
    """The slot holds, to the byte, what our template makes of the digest, and the key made the signature in it.

    Comparing with the template instead of reading the parts leaves no field that a forger could bend unseen.
    """
    start, end, rest = found.byte_range
    view = memoryview(content)
    digest = hashlib.sha512(view[:start])
    digest.update(view[end : end + rest])
    if digest.digest() not in signature:
        raise _SealFaultError("bytes_changed")
    try:
        template = CmsTemplate.prepare(certificates[0], certificates[1:])
        to_be_signed = template.to_be_signed(digest.digest())
        made, _ = template.parts_within(signature, to_be_signed)
        check_signature(certificates[0].public_key(), made, to_be_signed)
    except (ValueError, InvalidSignature) as error:
        raise _SealFaultError("signature_wrong") from error


def _read_cms(contents: bytes) -> tuple[bytes, list[x509.Certificate]]:
    """The CMS of a slot, which must be followed by zeros only, and its certificates, the signer's first."""
    try:
        size = element_size(contents)
        signed_data = cms.ContentInfo.load(contents[:size], strict=True)["content"]
        encoded = [choice.chosen.dump() for choice in signed_data["certificates"]]
        certificates = [_read_certificate(certificate) for certificate in encoded[:_CERTIFICATES_MAX]]
    except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        raise _SealFaultError("slot_wrong") from error
    if not certificates or contents[size:].strip(b"\x00"):
        raise _SealFaultError("slot_wrong")
    return contents[:size], certificates


def _read_certificate(encoded: bytes) -> x509.Certificate:
    certificate = x509.load_der_x509_certificate(encoded)
    # The library parses these parts when they are first asked for; a bent certificate must fail here and not later.
    _common_name(certificate)
    certificate.public_key()
    _ = certificate.issuer, certificate.extensions, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def _leads_to(
    leaf: x509.Certificate, others: list[x509.Certificate], trusted: list[x509.Certificate], *, moment: datetime
) -> bool:
    """Whether the certificate was good at `moment` and leads to a trusted root in a few steps (RFC 5280, 6.1)."""
    current = leaf
    for _ in range(_CHAIN_MAX):
        if not current.not_valid_before_utc <= moment <= current.not_valid_after_utc:
            return False
        if current in trusted:
            return True
        issuer = next((other for other in [*trusted, *others] if _issued(other, current)), None)
        if issuer is None or issuer == current:
            return False
        current = issuer
    return current in trusted


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        return issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False


def _common_name(certificate: x509.Certificate | None) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if certificate else []
    return str(names[0].value) if names else ""
