"""The sealing key with its certificate, loaded and checked once (70 ms), used for every seal (0.3 ms)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from emeterai.infra.clock import utc_now
from emeterai.seal.authority import ensure_test_authority
from emeterai.seal.cms import CmsTemplate, check_signature, sign
from emeterai.seal.der import element_size

_RSA_BITS = (2048, 3072, 4096)
_EC_BITS = (256, 384)


class SignerError(Exception):
    """The configured key or certificate cannot be used; the text tells the operator what to change."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs the digest of a byte range. Safe to use from several threads."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    certificate: bytes
    roots: tuple[bytes, ...]
    """The certificates (DER) that a stamp must lead to in order to be ours."""
    name: str
    not_after: datetime
    template: CmsTemplate
    cms_size_bytes_max: int

    def sign(self, digest: bytes) -> bytes:
        """The CMS signature (DER) over a SHA-512 digest; never larger than `cms_size_bytes_max`."""
        to_be_signed = self.template.to_be_signed(digest)
        return self.template.assemble(to_be_signed, sign(self.key, to_be_signed))

    def holds(self, contents: bytes, digest: bytes) -> bool:
        """Whether the contents of a slot are exactly this signer's signature over a SHA-512 digest, then zeros."""
        to_be_signed = self.template.to_be_signed(digest)
        try:
            cms = contents[: element_size(contents)]
            check_signature(self.key.public_key(), self.template.signature_within(cms, to_be_signed), to_be_signed)
        except (ValueError, InvalidSignature):
            return False
        return not contents[len(cms) :].strip(b"\x00")


def load_signer(
    *, folder: Path, key_file: Path | None = None, certificate_file: Path | None = None, now: datetime | None = None
) -> Signer:
    """Load the key and its chain (PEM, the sealing certificate first, the root last).

    Without files the local test authority under `folder` is used, and made at first run.
    Raises SignerError when they cannot be read, do not belong together or are out of date.
    """
    moment = now or utc_now()
    if key_file is None or certificate_file is None:
        key_file, certificate_file = ensure_test_authority(folder, now=moment)
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), None)
        chain = x509.load_pem_x509_certificates(certificate_file.read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignerError(f"the sealing key or certificate cannot be read: {error}") from error
    return signer_from(key, chain, now=moment)


def signer_from(key: object, chain: list[x509.Certificate], *, now: datetime) -> Signer:
    """A signer from a loaded key and chain, after checking that they belong together. Raises SignerError."""
    leaf = chain[0]
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or (
        key.key_size not in (_RSA_BITS if isinstance(key, rsa.RSAPrivateKey) else _EC_BITS)
    ):
        raise SignerError("the sealing key must be RSA of 2048, 3072 or 4096 bits, or P-256 or P-384")
    if key.public_key() != leaf.public_key():
        raise SignerError("the sealing key does not belong to the first certificate")
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise SignerError(f"the sealing certificate is valid until {leaf.not_valid_after_utc:%Y-%m-%d} only")
    # The root stays out: who verifies must know it already, and millions of tails are kept for ever.
    template = CmsTemplate.prepare(leaf, [one for one in chain[1:] if one.issuer != one.subject])
    signature_size_bytes_max = (
        key.key_size // 8 if isinstance(key, rsa.RSAPrivateKey) else 2 * (key.key_size // 8 + 3) + 3
    )
    return Signer(
        key=key,
        certificate=leaf.public_bytes(serialization.Encoding.DER),
        roots=(chain[-1].public_bytes(serialization.Encoding.DER),),
        name=_common_name(leaf),
        not_after=leaf.not_valid_after_utc,
        template=template,
        cms_size_bytes_max=template.size_bytes_max(signature_size_bytes_max),
    )


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
