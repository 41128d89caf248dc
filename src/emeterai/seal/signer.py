"""The sealing key with its certificate, loaded and checked once (70 ms), used for every seal (0.3 ms)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
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
from emeterai.seal.token_key import TokenKey, TokenPlace

_RSA_BITS = (2048, 3072, 4096)
_EC_BITS = (256, 384)
_PROBE = b"emeterai: does this key belong to this certificate?"
SealingKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | TokenKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class SignerError(Exception):
    """The configured key or certificate cannot be used; the text tells the operator what to change."""


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where the sealing key and its chain are. Without files or token it is the local test authority in `folder`."""

    folder: Path
    key_file: Path | None = None
    certificate_file: Path | None = None
    passphrase_file: Path | None = None
    """Holds the passphrase of an encrypted key file, on its first line."""
    token: TokenPlace | None = None
    """The key is in a PKCS#11 token; then only `certificate_file` is read beside it."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The files whose change means another key or certificate."""
        pin_file = self.token.pin_file if self.token else None
        wanted = (self.key_file, self.certificate_file, self.passphrase_file, pin_file)
        return tuple(file for file in wanted if file is not None)


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature that is made, and the CMS around it."""

    template: CmsTemplate
    to_be_signed: bytes
    signature: bytes

    def cms(self, token: bytes = b"") -> bytes:
        """The CMS signature (DER), with a timestamp token over `signature` where there is one."""
        return self.template.assemble(self.to_be_signed, self.signature, token)


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs the digest of a byte range. Safe to use from several tasks and threads."""

    key: SealingKey
    public_key: PublicKey
    certificate: bytes
    roots: tuple[bytes, ...]
    """The certificates (DER) that a stamp must lead to in order to be ours."""
    chain: tuple[x509.Certificate, ...]
    """The sealing certificate first, the root last."""
    name: str
    not_after: datetime
    template: CmsTemplate
    cms_size_bytes_max: int
    """The size of a CMS signature without a timestamp at most."""

    async def sign(self, digest: bytes) -> Signed:
        """Sign a SHA-512 digest. Raises the refusal `sealing_key_away` when the key's token does not answer."""
        to_be_signed = self.template.to_be_signed(digest)
        if isinstance(self.key, TokenKey):
            signature = await self.key.sign(to_be_signed)
        else:
            signature = sign(self.key, to_be_signed)
        return Signed(self.template, to_be_signed, signature)

    def holds(self, contents: bytes, digest: bytes) -> bool:
        """Whether the contents of a slot are exactly this signer's signature over a SHA-512 digest, then zeros.

        A timestamp token in it is left to those who know its authority.
        """
        to_be_signed = self.template.to_be_signed(digest)
        try:
            cms = contents[: element_size(contents)]
            signature, _ = self.template.parts_within(cms, to_be_signed)
            check_signature(self.public_key, signature, to_be_signed)
        except (ValueError, InvalidSignature):
            return False
        return not contents[len(cms) :].strip(b"\x00")

    def close(self) -> None:
        """Let go of the token, where the key is in one."""
        if isinstance(self.key, TokenKey):
            self.key.close()


def load_signer(
    *,
    folder: Path,
    key_file: Path | None = None,
    certificate_file: Path | None = None,
    passphrase_file: Path | None = None,
    token: TokenPlace | None = None,
    now: datetime | None = None,
) -> Signer:
    """Load the key and its chain (PEM, the sealing certificate first, the root last).

    Without files the local test authority under `folder` is used, and made at first run.
    Raises SignerError when they cannot be read, do not belong together or are out of date.
    """
    return load_signer_from(KeyPlace(folder, key_file, certificate_file, passphrase_file, token), now=now)


def load_signer_from(place: KeyPlace, *, now: datetime | None = None) -> Signer:
    """What `load_signer` does, for a place that can be kept and read again."""
    moment = now or utc_now()
    key_file, certificate_file = place.key_file, place.certificate_file
    if certificate_file is None or (key_file is None and place.token is None):
        key_file, certificate_file = ensure_test_authority(place.folder, now=moment)
        return signer_from(_local_key(key_file, None), _chain(certificate_file), now=moment)
    chain = _chain(certificate_file)
    if place.token is None:
        assert key_file is not None
        return signer_from(_local_key(key_file, place.passphrase_file), chain, now=moment)
    try:
        key = TokenKey.open(place.token)
    except (OSError, ValueError) as error:
        raise SignerError(f"the sealing key's token cannot be used: {error}") from error
    try:
        return signer_from(key, chain, now=moment)
    except SignerError:
        key.close()
        raise


def _local_key(key_file: Path, passphrase_file: Path | None) -> object:
    try:
        passphrase = passphrase_file.read_bytes().splitlines()[0] if passphrase_file else None
        return serialization.load_pem_private_key(key_file.read_bytes(), passphrase)
    except (OSError, ValueError, TypeError, IndexError, UnsupportedAlgorithm) as error:
        raise SignerError(f"the sealing key cannot be read: {error}") from error


def _chain(certificate_file: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(certificate_file.read_bytes())
    except (OSError, ValueError) as error:
        raise SignerError(f"the sealing certificate cannot be read: {error}") from error


def signer_from(key: object, chain: list[x509.Certificate], *, now: datetime) -> Signer:
    """A signer from a loaded key and chain, after checking that they belong together. Raises SignerError."""
    leaf = chain[0]
    public_key = leaf.public_key()
    if not isinstance(public_key, PublicKey) or (
        public_key.key_size not in (_RSA_BITS if isinstance(public_key, rsa.RSAPublicKey) else _EC_BITS)
    ):
        raise SignerError("the sealing key must be RSA of 2048, 3072 or 4096 bits, or P-256 or P-384")
    if not isinstance(key, SealingKey) or not _belong_together(key, public_key):
        raise SignerError("the sealing key does not belong to the first certificate")
    if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
        raise SignerError(f"the sealing certificate is valid until {leaf.not_valid_after_utc:%Y-%m-%d} only")
    # The root stays out: who verifies must know it already, and millions of tails are kept for ever.
    template = CmsTemplate.prepare(leaf, [one for one in chain[1:] if one.issuer != one.subject])
    bits = public_key.key_size
    signature_size_bytes_max = bits // 8 if isinstance(public_key, rsa.RSAPublicKey) else 2 * (bits // 8 + 3) + 3
    return Signer(
        key=key,
        public_key=public_key,
        certificate=leaf.public_bytes(serialization.Encoding.DER),
        roots=(chain[-1].public_bytes(serialization.Encoding.DER),),
        chain=tuple(chain),
        name=_common_name(leaf),
        not_after=leaf.not_valid_after_utc.astimezone(UTC),
        template=template,
        cms_size_bytes_max=template.size_bytes_max(signature_size_bytes_max),
    )


def _belong_together(key: SealingKey, public_key: PublicKey) -> bool:
    if not isinstance(key, TokenKey):
        return key.public_key() == public_key
    try:
        check_signature(public_key, key.sign_now(_PROBE), _PROBE)
    except (OSError, ValueError, InvalidSignature):
        return False
    return True


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
