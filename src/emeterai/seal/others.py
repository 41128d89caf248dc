"""Signatures and document timestamps by others, added after a seal: do they hold, and whose name do they carry?

Their certificates are not judged: who signed is for the reader to know. A signature that does not even hold is none.
"""

from __future__ import annotations

import hashlib
from typing import Any

from asn1crypto import cms, tsp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from emeterai.seal.cms_check import CERTIFICATE_ERRORS, common_name
from emeterai.seal.der import element_size

_HASHES: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_DETACHED = {b"/adbe.pkcs7.detached", b"/ETSI.CAdES.detached"}
TIMESTAMP = b"/ETSI.RFC3161"


class OtherSignatureError(Exception):
    """The signature does not hold; the text is its name in reports."""


def check_other(content: bytes, entries: dict[bytes, tuple[bytes, ...]], *, slot: tuple[int, int], end: int) -> str:
    """The name in the certificate of a signature dictionary whose `/Contents` stands at `slot`.

    Raises OtherSignatureError unless it covers all bytes up to `end` but the slot, and holds.
    """
    sub_filter = b"".join(entries.get(b"/SubFilter", ()))
    covered = _covered(content, entries, slot=slot, end=end)
    if sub_filter not in _DETACHED | {TIMESTAMP}:
        raise OtherSignatureError("later_signature_not_understood")
    try:
        contents = bytes.fromhex(entries[b"/Contents"][0][1:-1].decode())
        size = element_size(contents)
        if contents[size:].strip(b"\x00"):
            raise OtherSignatureError("later_signature_wrong")
        signed_data = cms.ContentInfo.load(contents[:size])["content"]
        (signer,) = signed_data["signer_infos"]
        certificate = _certificate_of(signed_data, signer)
        content_digest = _digest(covered, _algorithm(signer))
        if sub_filter == TIMESTAMP:
            content_digest = _stamped_digest(signed_data, signer, covered)
        _check_signer(signer, certificate, content_digest)
        return common_name(certificate)
    except InvalidSignature as error:
        raise OtherSignatureError("later_signature_wrong") from error
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, *CERTIFICATE_ERRORS) as error:
        raise OtherSignatureError("later_signature_not_understood") from error


def _covered(
    content: bytes, entries: dict[bytes, tuple[bytes, ...]], *, slot: tuple[int, int], end: int
) -> list[memoryview]:
    """The two signed pieces: everything but the slot."""
    numbers = [int(token) for token in entries.get(b"/ByteRange", ()) if token.isdigit()]
    view = memoryview(content)
    if len(numbers) != 4 or (numbers[0], numbers[1], numbers[2]) != (0, *slot):
        raise OtherSignatureError("later_signature_wrong")
    # White space behind the last line may have been added by whoever appended next.
    if content[numbers[2] + numbers[3] : end].strip() or numbers[2] + numbers[3] > end:
        raise OtherSignatureError("later_signature_wrong")
    return [view[: slot[0]], view[slot[1] : numbers[2] + numbers[3]]]


def _certificate_of(signed_data: Any, signer: Any) -> x509.Certificate:
    wanted = signer["sid"].chosen
    for choice in signed_data["certificates"]:
        certificate = choice.chosen
        if signer["sid"].name == "issuer_and_serial_number":
            same = (certificate.serial_number, certificate.issuer) == (
                wanted["serial_number"].native,
                wanted["issuer"],
            )
        else:
            same = certificate.key_identifier == wanted.native
        if same:
            return x509.load_der_x509_certificate(certificate.dump())
    raise OtherSignatureError("later_signature_not_understood")


def _algorithm(signer: Any) -> str:
    return str(signer["digest_algorithm"]["algorithm"].native)


def _digest(pieces: list[memoryview], algorithm: str) -> bytes:
    if algorithm not in _HASHES:
        raise OtherSignatureError("later_signature_not_understood")
    digest = hashlib.new(algorithm)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _stamped_digest(signed_data: Any, signer: Any, covered: list[memoryview]) -> bytes:
    """The digest that the timestamp's own signature is about, after checking that it stamps these bytes (RFC 3161)."""
    encapsulated = signed_data["encap_content_info"]["content"]
    imprint = tsp.TSTInfo.load(encapsulated.contents)["message_imprint"]
    if _digest(covered, imprint["hash_algorithm"]["algorithm"].native) != imprint["hashed_message"].native:
        raise OtherSignatureError("later_signature_wrong")
    return _digest([memoryview(encapsulated.contents)], _algorithm(signer))


def _check_signer(signer: Any, certificate: x509.Certificate, digest: bytes) -> None:
    """Check the signed attributes and the key's signature over them. Raises InvalidSignature."""
    attributes = {attribute["type"].native: attribute["values"] for attribute in signer["signed_attrs"]}
    if attributes["message_digest"][0].native != digest:
        raise InvalidSignature
    if "signing_certificate_v2" in attributes:
        _check_bound(attributes["signing_certificate_v2"][0]["certs"][0], certificate)
    to_be_signed = b"\x31" + signer["signed_attrs"].dump()[1:]
    signature, algorithm, key = signer["signature"].native, signer["signature_algorithm"], certificate.public_key()
    hashing = _HASHES[_algorithm(signer)]()
    if isinstance(key, rsa.RSAPublicKey) and algorithm.signature_algo == "rsassa_pss":
        salt_size = algorithm["parameters"]["salt_length"].native
        key.verify(signature, to_be_signed, padding.PSS(padding.MGF1(hashing), salt_size), hashing)
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, to_be_signed, padding.PKCS1v15(), hashing)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(signature, to_be_signed, ec.ECDSA(hashing))
    elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        key.verify(signature, to_be_signed)
    else:
        raise OtherSignatureError("later_signature_not_understood")


def _check_bound(certificate_id: Any, certificate: x509.Certificate) -> None:
    """Check that the signature is bound to this very certificate, and so to its name (RFC 5035)."""
    algorithm = str(certificate_id["hash_algorithm"]["algorithm"].native)
    encoded = certificate.public_bytes(Encoding.DER)
    if _digest([memoryview(encoded)], algorithm) != certificate_id["cert_hash"].native:
        raise InvalidSignature
