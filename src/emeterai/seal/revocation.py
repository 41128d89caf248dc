"""Proof that certificates were not revoked: lists (RFC 5280, 5) and OCSP answers (RFC 6960), fetched and checked.

Addresses come from certificates of ours and of timestamp authorities that we trust, never from people's files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import httpx
import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID

from emeterai.infra.tls import trusted

ANSWER_SIZE_BYTES_MAX = 262_144
"""Together with everything else that is appended it must stay below the bound of a tail."""
_CHAIN_MAX = 4
_log = structlog.get_logger(__name__)


class NoRevocationSourceError(Exception):
    """A certificate does not say where its revocation would be told; asking again will not help."""


class RevocationUnknownError(Exception):
    """There is no good answer now: nobody answers, the answer is wrong or out of date, or something is revoked."""


@dataclass(slots=True)
class Evidence:
    """What a document security store takes, all in DER."""

    certificates: list[bytes] = field(default_factory=list)
    crls: list[bytes] = field(default_factory=list)
    ocsps: list[bytes] = field(default_factory=list)

    def add_certificate(self, certificate: x509.Certificate) -> None:
        """One more, unless it is there."""
        encoded = certificate.public_bytes(Encoding.DER)
        if encoded not in self.certificates:
            self.certificates.append(encoded)


class RevocationClient:
    """Fetches and checks. Closed at the end."""

    def __init__(self, *, timeout_s: float) -> None:
        self._http = httpx.AsyncClient(
            trust_env=False, timeout=timeout_s, limits=httpx.Limits(max_connections=4), verify=trusted()
        )

    async def evidence(
        self, leaves: Sequence[x509.Certificate], others: Sequence[x509.Certificate], *, at: datetime
    ) -> Evidence:
        """The chains of `leaves` up to a root among `others`, and proof that nothing in them was revoked by `at`.

        Raises NoRevocationSourceError and RevocationUnknownError.
        """
        found = Evidence()
        for leaf in leaves:
            certificate = leaf
            for _ in range(_CHAIN_MAX):
                if certificate.issuer == certificate.subject:
                    break
                issuer = _issuer_of(certificate, others)
                found.add_certificate(certificate)
                await self._add_proof(found, certificate, issuer, at)
                certificate = issuer
        return found

    async def close(self) -> None:
        """Hang up."""
        await self._http.aclose()

    async def _add_proof(
        self, found: Evidence, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
    ) -> None:
        try:
            if url := _crl_url(certificate):
                crl = _checked_crl(await self._fetch(url, None), certificate, issuer, at)
                if crl not in found.crls:
                    found.crls.append(crl)
            elif url := _ocsp_url(certificate):
                request = ocsp.OCSPRequestBuilder().add_certificate(certificate, issuer, hashes.SHA1())  # noqa: S303
                content = await self._fetch(url, request.build().public_bytes(Encoding.DER))
                responder = _checked_ocsp(content, certificate, issuer, at)
                found.ocsps.append(content)
                if responder is not None:
                    found.add_certificate(responder)
            else:
                raise NoRevocationSourceError(certificate.subject.rfc4514_string())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, InvalidSignature, UnsupportedAlgorithm) as error:
            raise RevocationUnknownError(f"{type(error).__name__} {error}"[:300]) from error

    async def _fetch(self, url: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "application/ocsp-request"} if body else {}
        async with self._http.stream("POST" if body else "GET", url, content=body, headers=headers) as answer:
            answer.raise_for_status()
            content = bytearray()
            async for piece in answer.aiter_bytes():
                content += piece
                if len(content) > ANSWER_SIZE_BYTES_MAX:
                    raise RevocationUnknownError(f"the answer at {url} is too long")
        return bytes(content)


def _issuer_of(certificate: x509.Certificate, others: Sequence[x509.Certificate]) -> x509.Certificate:
    for other in others:
        try:
            certificate.verify_directly_issued_by(other)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            continue
        return other
    raise NoRevocationSourceError(f"the issuer of {certificate.subject.rfc4514_string()} is not known")


def _crl_url(certificate: x509.Certificate) -> str | None:
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return None
    names = (name.value for point in points for name in point.full_name or ())
    return next((name for name in names if isinstance(name, str) and name.startswith("http")), None)


def _ocsp_url(certificate: x509.Certificate) -> str | None:
    try:
        places = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    except x509.ExtensionNotFound:
        return None
    wanted = (place for place in places if place.access_method == AuthorityInformationAccessOID.OCSP)
    return next((str(place.access_location.value) for place in wanted), None)


def _checked_crl(content: bytes, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime) -> bytes:
    is_pem = content.lstrip().startswith(b"-----")
    crl = x509.load_pem_x509_crl(content) if is_pem else x509.load_der_x509_crl(content)
    if crl.issuer != issuer.subject or not crl.is_signature_valid(_public_key(issuer)):
        raise ValueError("the revocation list is not its issuer's")
    if crl.next_update_utc is None or crl.next_update_utc < at:
        raise ValueError("the revocation list is out of date")
    if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        _say_revoked(certificate)
    return crl.public_bytes(Encoding.DER)


def _checked_ocsp(
    content: bytes, certificate: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> x509.Certificate | None:
    """Check an answer; gives the certificate that its issuer let answer in its place, if any."""
    answer = ocsp.load_der_ocsp_response(content)
    if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise ValueError(f"the OCSP responder says {answer.response_status.name}")
    responder = next((one for one in answer.certificates if _may_answer_for(one, issuer)), None)
    _verify(responder or issuer, answer)
    if answer.serial_number != certificate.serial_number:
        raise ValueError("the OCSP answer is about another certificate")
    if answer.next_update_utc is not None and answer.next_update_utc < at:
        raise ValueError("the OCSP answer is out of date")
    if answer.certificate_status is ocsp.OCSPCertStatus.REVOKED:
        _say_revoked(certificate)
    if answer.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise ValueError("the OCSP responder does not know the certificate")
    return responder


def _may_answer_for(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return False
    return ExtendedKeyUsageOID.OCSP_SIGNING in usage


def _verify(responder: x509.Certificate, answer: ocsp.OCSPResponse) -> None:
    key, algorithm = _public_key(responder), answer.signature_hash_algorithm
    if algorithm is None:
        raise ValueError("the OCSP answer has a signature of an unknown kind")
    if isinstance(key, rsa.RSAPublicKey):
        key.verify(answer.signature, answer.tbs_response_bytes, padding.PKCS1v15(), algorithm)
    else:
        key.verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(algorithm))


def _public_key(certificate: x509.Certificate) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise UnsupportedAlgorithm("a certificate has a key of an unknown kind")
    return key


def _say_revoked(certificate: x509.Certificate) -> None:
    _log.error("certificate_revoked", subject=certificate.subject.rfc4514_string())
    raise RevocationUnknownError(f"{certificate.subject.rfc4514_string()} is revoked")
