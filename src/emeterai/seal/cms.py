"""The CMS signature (RFC 5652) that PAdES B-B asks for, written from parts prepared once per certificate.

ETSI EN 319 142-1, 6.3: signed attributes content-type, message-digest and signing-certificate-v2 (RFC 5035) are
there, signing-time is not: the time of the seal is `/M` of the signature dictionary. A signature timestamp (B-T) is an
unsigned attribute, added or left out without touching what was signed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from emeterai.seal.der import (
    CONTEXT_0,
    CONTEXT_1,
    INTEGER,
    NULL,
    OCTET_STRING,
    SEQUENCE,
    SET,
    content_of,
    integer,
    oid,
    tlv,
)

OID_DATA = "1.2.840.113549.1.7.1"
OID_SIGNED_DATA = "1.2.840.113549.1.7.2"
OID_CONTENT_TYPE = "1.2.840.113549.1.9.3"
OID_MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
OID_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47"
OID_SIGNATURE_TIMESTAMP = "1.2.840.113549.1.9.16.2.14"
OID_SHA512 = "2.16.840.1.101.3.4.2.3"
OID_RSA_SHA512 = "1.2.840.113549.1.1.13"
OID_ECDSA_SHA512 = "1.2.840.10045.4.3.4"

_NULL = tlv(NULL)
_SIGNATURE_TIMESTAMP = oid(OID_SIGNATURE_TIMESTAMP)
_SIGNED_DATA = oid(OID_SIGNED_DATA)
_VERSION_1 = tlv(INTEGER, b"\x01")
_SHA512 = tlv(SEQUENCE, oid(OID_SHA512), _NULL)
_RSA_SHA512 = tlv(SEQUENCE, oid(OID_RSA_SHA512), _NULL)
_ECDSA_SHA512 = tlv(SEQUENCE, oid(OID_ECDSA_SHA512))
_DIGEST_SIZE_BYTES = 64
_PADDING = padding.PKCS1v15()
_HASH = hashes.SHA512()
_ECDSA = ec.ECDSA(_HASH)
_LENGTHS_GROWTH_BYTES = 10
"""Five lengths around an unsigned attribute may each take up to two bytes more because of it."""


@dataclass(frozen=True, slots=True)
class CmsTemplate:
    """Everything of a signature that is the same for every document of one certificate."""

    attributes_head: bytes
    attributes_tail: bytes
    signer_head: bytes
    signer_algorithm: bytes
    signed_data_head: bytes

    @classmethod
    def prepare(cls, certificate: x509.Certificate, chain: Sequence[x509.Certificate]) -> CmsTemplate:
        """Prepare for a certificate and those of its issuers that are to be sent along."""
        encoded = [one.public_bytes(Encoding.DER) for one in (certificate, *chain)]
        certificate_id = tlv(SEQUENCE, _SHA512, tlv(OCTET_STRING, hashlib.sha512(encoded[0]).digest()))
        signing_certificate = tlv(SEQUENCE, tlv(SEQUENCE, certificate_id))
        marker = b"\xa5" * _DIGEST_SIZE_BYTES
        # DER sorts the members of a SET OF; they differ before the digest begins, so it cannot change their order.
        attributes = b"".join(
            sorted(
                (
                    tlv(SEQUENCE, oid(OID_CONTENT_TYPE), tlv(SET, oid(OID_DATA))),
                    tlv(SEQUENCE, oid(OID_MESSAGE_DIGEST), tlv(SET, tlv(OCTET_STRING, marker))),
                    tlv(SEQUENCE, oid(OID_SIGNING_CERTIFICATE_V2), tlv(SET, signing_certificate)),
                )
            )
        )
        head, tail = tlv(SET, attributes).split(marker)
        return cls(
            attributes_head=head,
            attributes_tail=tail,
            signer_head=_VERSION_1 + _issuer_and_serial(certificate) + _SHA512,
            signer_algorithm=_RSA_SHA512 if isinstance(certificate.public_key(), rsa.RSAPublicKey) else _ECDSA_SHA512,
            signed_data_head=_VERSION_1 + tlv(SET, _SHA512) + tlv(SEQUENCE, oid(OID_DATA)) + tlv(CONTEXT_0, *encoded),
        )

    def to_be_signed(self, digest: bytes) -> bytes:
        """The signed attributes as the SET that the key signs, for the SHA-512 digest of the byte range."""
        if len(digest) != _DIGEST_SIZE_BYTES:
            raise ValueError("a SHA-512 digest has 64 bytes")
        return self.attributes_head + digest + self.attributes_tail

    def assemble(self, to_be_signed: bytes, signature: bytes, token: bytes = b"") -> bytes:
        """The finished ContentInfo, with a signature timestamp when there is a token (RFC 3161, appendix A)."""
        attributes = bytes((CONTEXT_0,)) + to_be_signed[1:]
        parts = [self.signer_head, attributes, self.signer_algorithm, tlv(OCTET_STRING, signature)]
        if token:
            parts.append(_unsigned_attributes(token))
        signed_data = tlv(SEQUENCE, self.signed_data_head, tlv(SET, tlv(SEQUENCE, *parts)))
        return tlv(SEQUENCE, _SIGNED_DATA, tlv(CONTEXT_0, signed_data))

    def parts_within(self, cms: bytes, to_be_signed: bytes) -> tuple[bytes, bytes]:
        """The key's signature and the timestamp token, empty when there is none, in a ContentInfo of this template.

        Raises ValueError when anything else differs.
        """
        attributes = bytes((CONTEXT_0,)) + to_be_signed[1:]
        _, found, rest = cms.partition(attributes + self.signer_algorithm)
        signature, rest = content_of(rest, OCTET_STRING)
        token = _token_within(rest) if rest else b""
        if not found or self.assemble(to_be_signed, signature, token) != cms:
            raise ValueError("not a signature of this template")
        return signature, token

    def size_bytes_max(self, signature_size_bytes_max: int) -> int:
        """The size of the finished ContentInfo without a timestamp at most, from which the slot is computed."""
        return len(self.assemble(self.to_be_signed(bytes(64)), bytes(signature_size_bytes_max)))


def token_room_bytes(token_size_bytes: int) -> int:
    """By how much a token of this size lengthens a ContentInfo at most."""
    return len(_unsigned_attributes(bytes(token_size_bytes))) + _LENGTHS_GROWTH_BYTES


def _unsigned_attributes(token: bytes) -> bytes:
    return tlv(CONTEXT_1, tlv(SEQUENCE, _SIGNATURE_TIMESTAMP, tlv(SET, token)))


def _token_within(unsigned_attributes: bytes) -> bytes:
    attribute, _ = content_of(unsigned_attributes, CONTEXT_1)
    content, _ = content_of(attribute, SEQUENCE)
    token, _ = content_of(content.removeprefix(_SIGNATURE_TIMESTAMP), SET)
    return token


def sign(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, to_be_signed: bytes) -> bytes:
    """The key's own signature: RSA PKCS#1 v1.5 or ECDSA, with SHA-512."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(to_be_signed, _PADDING, _HASH)
    return key.sign(to_be_signed, _ECDSA)


def check_signature(key: object, signature: bytes, to_be_signed: bytes) -> None:
    """Raise InvalidSignature unless `sign` with the key of this public key made the signature."""
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, to_be_signed, _PADDING, _HASH)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, to_be_signed, _ECDSA)
    else:
        raise InvalidSignature


def _issuer_and_serial(certificate: x509.Certificate) -> bytes:
    return tlv(SEQUENCE, certificate.issuer.public_bytes(), integer(certificate.serial_number))
