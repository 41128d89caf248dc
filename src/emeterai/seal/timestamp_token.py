"""What a timestamp token (RFC 3161) proves: that a digest existed at a time that an authority vouches for.

Tokens are read and checked by rfc3161-client.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from rfc3161_client import TimeStampResponse, VerificationError, VerifierBuilder, decode_timestamp_response

from emeterai.seal.cms import OID_SHA512
from emeterai.seal.der import INTEGER, SEQUENCE, tlv

_GRANTED = tlv(SEQUENCE, tlv(INTEGER, b"\x00"))


def checked_token(
    response: TimeStampResponse, digest: bytes, *, roots: Sequence[x509.Certificate], nonce: int | None = None
) -> bytes:
    """The token of an answer, when it was granted for this SHA-512 digest and nonce and leads to one of the roots.

    Raises ValueError.
    """
    try:
        VerifierBuilder(nonce=nonce, roots=list(roots)).build().verify(response, digest)
    except VerificationError as error:
        raise ValueError(str(error)) from error
    _require_digest(response, digest)
    return response.time_stamp_token()


def is_proof(token: bytes, digest: bytes, *, roots: Sequence[x509.Certificate]) -> bool:
    """Whether a token vouches for a SHA-512 digest; False when its authority is none that we know.

    Raises ValueError when it is no token, is over another digest, or claims a known authority that did not make it.
    """
    response = decode_timestamp_response(tlv(SEQUENCE, _GRANTED, token))
    _require_digest(response, digest)
    if not _is_known(response, roots):
        return False
    checked_token(response, digest, roots=roots)
    return True


def certificates_of(token: bytes) -> list[x509.Certificate]:
    """The certificates that a token carries. Raises ValueError."""
    response = decode_timestamp_response(tlv(SEQUENCE, _GRANTED, token))
    return [x509.load_der_x509_certificate(one) for one in sorted(response.signed_data.certificates)]


def _require_digest(response: TimeStampResponse, digest: bytes) -> None:
    imprint = response.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string != OID_SHA512 or imprint.message != digest:
        raise ValueError("the token is over something else")


def _is_known(response: TimeStampResponse, roots: Sequence[x509.Certificate]) -> bool:
    """Whether the token names one of the roots: as one of its certificates or as the issuer of one."""
    known = {root.subject for root in roots}
    carried = (x509.load_der_x509_certificate(one) for one in response.signed_data.certificates)
    return any(certificate.issuer in known or certificate.subject in known for certificate in carried)
