"""Checking a CMS signature of ours and the chain of certificates behind it. Used inside the opener only."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import cms
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from emeterai.seal.cms import CmsTemplate, check_signature
from emeterai.seal.der import element_size
from emeterai.seal.timestamp_token import is_proof

CERTIFICATE_ERRORS = (
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
"""What the library says of bent certificates besides ValueError."""
_CHAIN_MAX = 4
_CERTIFICATES_MAX = 20


class SealFaultError(Exception):
    """One check failed; the text is its name in reports."""


@dataclass(frozen=True, slots=True)
class Trusted:
    """The roots that seals, and timestamps, must lead to. Old ones stay: old seals lead to them."""

    seals: list[x509.Certificate]
    timestamps: list[x509.Certificate]

    @classmethod
    def of(cls, seals: Sequence[bytes], timestamps: Sequence[bytes]) -> Trusted:
        """From certificates in DER."""
        return cls(*([x509.load_der_x509_certificate(one) for one in some] for some in (seals, timestamps)))


def digest_of(content: bytes, *spans: tuple[int, int], head: bytes = b"") -> bytes:
    """The SHA-512 digest of `head` and some spans of a file, each from its start up to its end."""
    digest = hashlib.sha512(head)
    view = memoryview(content)
    for start, end in spans:
        digest.update(view[start:end])
    return digest.digest()


def check_cms(
    signature: bytes,
    certificates: Sequence[x509.Certificate],
    digest: bytes,
    *,
    timestamp_roots: Sequence[x509.Certificate] = (),
) -> str:
    """Check that a CMS is, to the byte, what our template makes of the digest, and that the key made the signature.

    Comparing with the template instead of reading the parts leaves no field that a forger could bend unseen. Answers
    the level: `B-T` with a timestamp of an authority that we know, else `B-B`. Raises SealFaultError.
    """
    if digest not in signature:
        raise SealFaultError("bytes_changed")
    try:
        template = CmsTemplate.prepare(certificates[0], certificates[1:])
        to_be_signed = template.to_be_signed(digest)
        made, token = template.parts_within(signature, to_be_signed)
        check_signature(certificates[0].public_key(), made, to_be_signed)
    except (ValueError, InvalidSignature) as error:
        raise SealFaultError("signature_wrong") from error
    try:
        timed = bool(token) and is_proof(token, hashlib.sha512(made).digest(), roots=timestamp_roots)
    except ValueError as error:
        raise SealFaultError("timestamp_wrong") from error
    return "B-T" if timed else "B-B"


def read_cms(contents: bytes) -> tuple[bytes, list[x509.Certificate]]:
    """The CMS of a slot, which must be followed by zeros only, and its certificates, the signer's first."""
    try:
        size = element_size(contents)
        signed_data = cms.ContentInfo.load(contents[:size], strict=True)["content"]
        encoded = [choice.chosen.dump() for choice in signed_data["certificates"]]
        certificates = [_read_certificate(certificate) for certificate in encoded[:_CERTIFICATES_MAX]]
    except (ValueError, TypeError, KeyError, AttributeError, *CERTIFICATE_ERRORS) as error:
        raise SealFaultError("slot_wrong") from error
    if not certificates or contents[size:].strip(b"\x00"):
        raise SealFaultError("slot_wrong")
    return contents[:size], certificates


def token_within(signature: bytes) -> bytes:
    """The signature timestamp in a CMS of ours; empty when there is none. Raises SealFaultError."""
    try:
        signer = cms.ContentInfo.load(signature, strict=True)["content"]["signer_infos"][0]
        return b"".join(value.dump() for attribute in signer["unsigned_attrs"] for value in attribute["values"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SealFaultError("slot_wrong") from error


def _read_certificate(encoded: bytes) -> x509.Certificate:
    certificate = x509.load_der_x509_certificate(encoded)
    # The library parses these parts when they are first asked for; a bent certificate must fail here and not later.
    common_name(certificate)
    certificate.public_key()
    _ = certificate.issuer, certificate.extensions, certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return certificate


def leads_to(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], *, moment: datetime
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


def common_name(certificate: x509.Certificate | None) -> str:
    """The common name of its owner; empty when there is none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME) if certificate else []
    return str(names[0].value) if names else ""
