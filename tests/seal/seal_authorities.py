"""A sealing chain whose certificates tell where their revocation is told, beside a timestamp authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from emeterai.seal.service import Signer
from emeterai.seal.signer import signer_from
from emeterai.seal.timestamp import TimestampClient, TimestampPlace
from twins.timestamp_authority import Pair, TimestampAuthority, make_leaf, make_root


def chain_of(authority: TimestampAuthority, *, tells: str = "crl") -> list[Pair]:
    """A sealing pair and its root; the revocation is told by a list, by OCSP, or nowhere."""
    root = make_root("Uji root segel SPECIMEN")
    places: dict[str, str] = {}
    leaf: Pair
    if tells == "crl":
        places["crl_url"] = authority.publish_crl("/seal.crl", root)
    elif tells == "ocsp":
        places["ocsp_url"] = authority.publish_ocsp("/seal.ocsp", root, lambda: leaf.certificate)
    leaf = make_leaf("Uji segel SPECIMEN", root, **places)  # type: ignore[arg-type]
    return [leaf, root]


def signer_of(chain: list[Pair], *, at: datetime | None = None) -> Signer:
    """A signer with that chain."""
    return signer_from(chain[0].key, [pair.certificate for pair in chain], now=at or datetime.now(UTC))


def client_of(
    authority: TimestampAuthority, *, timeout_s: float = 2.0, roots: tuple[x509.Certificate, ...] = ()
) -> TimestampClient:
    """A client of that authority, which trusts it unless `roots` are given."""
    return TimestampClient(TimestampPlace(authority.url, roots or (authority.root.certificate,), timeout_s))


def der(certificate: x509.Certificate) -> bytes:
    """The certificate as bytes."""
    return certificate.public_bytes(Encoding.DER)


def later(days: int) -> datetime:
    """So many days from now."""
    return datetime.now(UTC) + timedelta(days=days)
