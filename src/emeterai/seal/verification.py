"""Is there a genuine seal in these bytes, and is the file still as it was sealed? Used inside the opener only.

Seals are found in the bytes themselves and everything is checked against bytes: cross-references, which attackers bend
(shadow documents, wrapping, incremental saving), are never asked. Whatever follows a seal and is not another whole
seal of ours counts as a change.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

from emeterai.seal.der import element_size
from emeterai.seal.model import Outcome, StampFacts, VerifyReport
from emeterai.seal.signature import TRACE, SealFound, find_seals

SEALS_MAX = 100
_CHAIN_MAX = 4
_CERTIFICATES_MAX = 20
_SHA512 = hashes.SHA512()


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
        changes.append("bytes_added_after_seal")
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


def _check(content: bytes, found: SealFound, trusted: list[x509.Certificate]) -> _Checked:
    certificate, ours = None, False
    try:
        signer, certificates = _read_cms(found.contents)
        certificate = _signing_certificate(signer, certificates)
        ours = _leads_to(certificate, certificates, trusted, moment=found.facts.sealed_at)
        _check_range(content, found)
        _check_signature(content, found, signer, certificate)
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


def _check_signature(content: bytes, found: SealFound, signer: cms.SignerInfo, certificate: x509.Certificate) -> None:
    start, end, rest = found.byte_range
    view = memoryview(content)
    digest = hashlib.sha512(view[:start])
    digest.update(view[end : end + rest])
    try:
        attributes = {attribute["type"].native: attribute["values"] for attribute in signer["signed_attrs"]}
        if len(attributes) != len(signer["signed_attrs"]) or any(len(values) != 1 for values in attributes.values()):
            raise _SealFaultError("signature_wrong")
        if attributes["message_digest"][0].native != digest.digest():
            raise _SealFaultError("bytes_changed")
        ess = tsp.SigningCertificateV2.load(attributes["signing_certificate_v2"][0].dump())["certs"][0]
        proper = (
            attributes["content_type"][0].native == "data"
            and signer["digest_algorithm"]["algorithm"].native == "sha512"
            and ess["hash_algorithm"]["algorithm"].native == "sha512"
            and ess["cert_hash"].native == certificate.fingerprint(_SHA512)
        )
        if not proper:
            raise _SealFaultError("signature_wrong")
        _check_key(certificate, signer)
    except (ValueError, TypeError, KeyError, AttributeError, InvalidSignature) as error:
        raise _SealFaultError("signature_wrong") from error


def _check_key(certificate: x509.Certificate, signer: cms.SignerInfo) -> None:
    key = certificate.public_key()
    signed, signature = signer["signed_attrs"].untag().dump(), signer["signature"].native
    algorithm = signer["signature_algorithm"]["algorithm"].native
    if isinstance(key, rsa.RSAPublicKey) and algorithm == "sha512_rsa":
        key.verify(signature, signed, padding.PKCS1v15(), _SHA512)
    elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm == "sha512_ecdsa":
        key.verify(signature, signed, ec.ECDSA(_SHA512))
    else:
        raise _SealFaultError("signature_wrong")


def _read_cms(contents: bytes) -> tuple[cms.SignerInfo, list[x509.Certificate]]:
    """The one signer and the certificates of a slot, which must hold one CMS and then zeros only."""
    try:
        size = element_size(contents)
        if contents[size:].strip(b"\x00"):
            raise _SealFaultError("slot_wrong")
        info = cms.ContentInfo.load(contents[:size], strict=True)
        signed_data = info["content"]
        signers = signed_data["signer_infos"]
        if info["content_type"].native != "signed_data" or len(signers) != 1:
            raise _SealFaultError("slot_wrong")
        encoded = [choice.chosen.dump() for choice in signed_data["certificates"]]
        return signers[0], [_read_certificate(certificate) for certificate in encoded[:_CERTIFICATES_MAX]]
    except (ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm) as error:
        raise _SealFaultError("slot_wrong") from error


def _read_certificate(encoded: bytes) -> x509.Certificate:
    certificate = x509.load_der_x509_certificate(encoded)
    # The library parses these parts when they are first asked for; a bent certificate must fail here and not later.
    _common_name(certificate)
    certificate.public_key()
    _ = certificate.issuer, certificate.extensions, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def _signing_certificate(signer: cms.SignerInfo, certificates: list[x509.Certificate]) -> x509.Certificate:
    try:
        number = signer["sid"].chosen["serial_number"].native
        issuer = signer["sid"].chosen["issuer"].dump()
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _SealFaultError("slot_wrong") from error
    for certificate in certificates:
        if certificate.serial_number == number and certificate.issuer.public_bytes() == issuer:
            return certificate
    raise _SealFaultError("slot_wrong")


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
