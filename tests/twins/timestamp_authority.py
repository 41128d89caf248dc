"""A small RFC 3161 timestamp authority over real HTTP, with a key of its own. It can also be slow, wrong or dead.

It publishes revocation lists too, its own and those of other authorities that a test hands it.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

from asn1crypto import algos, cms, core, tsp
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

Behaviour = Literal[
    "right",
    "slow",
    "hangs up",
    "server error",
    "rejects",
    "garbage",
    "endless",
    "other nonce",
    "other digest",
    "bad signature",
    "unknown authority",
    "huge token",
]
WRONG: tuple[Behaviour, ...] = (
    "hangs up",
    "server error",
    "rejects",
    "garbage",
    "endless",
    "other nonce",
    "other digest",
    "bad signature",
    "unknown authority",
)
"""Every way in which it is of no use at once."""
SLOW_S = 30.0
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        """The certificate as bytes."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


def make_root(name: str) -> Pair:
    """A self-signed authority, valid for ten years."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(name, name, key.public_key(), days=3650)
    builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True).add_extension(
        x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def make_leaf(
    name: str,
    root: Pair,
    *,
    key: Key | None = None,
    timestamps: bool = False,
    crl_url: str | None = None,
    ocsp_url: str | None = None,
    days: int = 365,
) -> Pair:
    """A certificate under `root`, for signatures or for timestamps, that names where its revocation is told."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    issuer = root.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value
    builder = _builder(name, str(issuer), key.public_key(), days=days)
    builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
    builder = builder.add_extension(x509.KeyUsage(True, True, *[False] * 7), critical=True)
    if timestamps:
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    if crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(crl_url)], None, None, None)
        builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
    if ocsp_url:
        place = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_url))
        builder = builder.add_extension(x509.AuthorityInformationAccess([place]), critical=False)
    return Pair(builder.sign(root.key, hashes.SHA256()), key)


def _builder(name: str, issuer: str, key: object, *, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    subject, authority = (x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one)]) for one in (name, issuer))
    return x509.CertificateBuilder(
        authority,
        subject,
        key,
        x509.random_serial_number(),
        now - timedelta(days=60),
        now + timedelta(days=days),  # type: ignore[arg-type]
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)  # type: ignore[arg-type]


class TimestampAuthority:
    """Answers on a port of its own from `start` to `stop`; `behaviour` may be changed at any moment."""

    def __init__(self, behaviour: Behaviour = "right") -> None:
        self.behaviour = behaviour
        self.asked = 0
        self.root = make_root("Uji root TSA SPECIMEN")
        self._pages: dict[str, Callable[[bytes], bytes]] = {}
        self._released = threading.Event()
        self._start_server(0)
        self.publish_crl("/tsa.crl", self.root)
        self._leaf = make_leaf("Uji TSA SPECIMEN", self.root, timestamps=True, crl_url=f"{self.base_url}/tsa.crl")
        stranger = make_root("Orang lain SPECIMEN")
        self._stranger = make_leaf("TSA orang lain SPECIMEN", stranger, timestamps=True)

    def _start_server(self, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def base_url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """Where timestamps are asked for."""
        return f"{self.base_url}/tsa"

    def stop(self) -> None:
        """Be dead: nothing listens on the port any more."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def start_again(self) -> None:
        """Come back on the same port."""
        self._released.clear()
        self._start_server(self.port)

    def publish_crl(self, path: str, issuer: Pair, *, revoked: tuple[x509.Certificate, ...] = ()) -> str:
        """Tell at `path` which certificates of `issuer` are revoked; answers the URL."""
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(
            issuer.certificate.subject, now - timedelta(hours=1), now + timedelta(days=7)
        )
        for certificate in revoked:
            entry = x509.RevokedCertificateBuilder(certificate.serial_number, now - timedelta(minutes=30)).build()
            builder = builder.add_revoked_certificate(entry)
        encoded = builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        self._pages[path] = lambda _: encoded
        return self.base_url + path

    def publish_ocsp(self, path: str, issuer: Pair, certificate: Callable[[], x509.Certificate]) -> str:
        """Answer OCSP requests about one certificate of `issuer` at `path`: it is good; answers the URL."""

        def answer(_: bytes) -> bytes:
            now = datetime.now(UTC)
            builder = ocsp.OCSPResponseBuilder().add_response(
                certificate(), issuer.certificate, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD,  # noqa: S303
                now - timedelta(minutes=1), now + timedelta(days=1), None, None,
            ).responder_id(ocsp.OCSPResponderEncoding.HASH, issuer.certificate)  # fmt: skip
            return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)

        self._pages[path] = answer
        return self.base_url + path

    def page(self, path: str, body: bytes) -> bytes | None:
        """What stands at `path`; None when it hangs up without a word."""
        if path != "/tsa":
            return self._pages[path](body)
        self.asked += 1
        if self.behaviour == "slow":
            self._released.wait(SLOW_S)
        if self.behaviour == "garbage":
            return b"\x30\x82not a timestamp"
        return None if self.behaviour == "hangs up" else self._answer(tsp.TimeStampReq.load(body))

    def _answer(self, request: tsp.TimeStampReq) -> bytes:
        if self.behaviour == "rejects":
            status = tsp.PKIStatusInfo({"status": "rejection", "status_string": ["Tidak hari ini"]}).dump()
            return b"\x30" + bytes([len(status)]) + status
        imprint = request["message_imprint"]
        if self.behaviour == "other digest":
            imprint = tsp.MessageImprint({"hash_algorithm": imprint["hash_algorithm"], "hashed_message": bytes(64)})
        info = tsp.TSTInfo(
            {
                "version": "v1",
                "policy": "1.2.3.4.1",
                "message_imprint": imprint,
                "serial_number": time.time_ns(),
                "gen_time": datetime.now(UTC),
                "nonce": request["nonce"].native + (self.behaviour == "other nonce"),
            }
        )
        token = self._token(info)
        return bytes(tsp.TimeStampResp({"status": {"status": "granted"}, "time_stamp_token": token}).dump())

    def _token(self, info: tsp.TSTInfo) -> cms.ContentInfo:
        pair = self._stranger if self.behaviour == "unknown authority" else self._leaf
        certificate = asn1_x509.Certificate.load(pair.der)
        attributes = _signed_attributes(info, pair)
        to_be_signed = attributes.untag().dump()
        signature = bytearray(_sign(pair.key, to_be_signed))
        if self.behaviour == "bad signature":
            signature[-1] ^= 1
        signer = cms.SignerInfo(
            {
                "version": "v1",
                "sid": {"issuer_and_serial_number": {
                    "issuer": certificate.issuer, "serial_number": certificate.serial_number,
                }},
                "digest_algorithm": {"algorithm": "sha256"},
                "signed_attrs": attributes,
                "signature_algorithm": {"algorithm": "sha256_ecdsa"},
                "signature": bytes(signature),
            }
        )  # fmt: skip
        ballast = [certificate] * (60 if self.behaviour == "huge token" else 1)
        signed = cms.SignedData(
            {
                "version": "v3",
                "digest_algorithms": [{"algorithm": "sha256"}],
                "encap_content_info": {"content_type": "tst_info", "content": core.ParsableOctetString(info.dump())},
                "certificates": ballast,
                "signer_infos": [signer],
            }
        )
        return cms.ContentInfo({"content_type": "signed_data", "content": signed})


def _signed_attributes(info: tsp.TSTInfo, pair: Pair) -> cms.CMSAttributes:
    digest = hashlib.sha256(pair.der).digest()
    certificate_id = tsp.ESSCertIDv2(
        {"hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}), "cert_hash": digest}
    )
    return cms.CMSAttributes(
        [
            {"type": "content_type", "values": ["tst_info"]},
            {"type": "message_digest", "values": [hashlib.sha256(info.dump()).digest()]},
            {"type": "signing_certificate_v2", "values": [{"certs": [certificate_id]}]},
        ]
    )


def _sign(key: Key, to_be_signed: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(to_be_signed, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(to_be_signed, ec.ECDSA(hashes.SHA256()))


def _handler(authority: TimestampAuthority) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if authority.behaviour == "server error" and self.path == "/tsa":
                self.send_error(503)
                return
            if authority.behaviour == "endless" and self.path == "/tsa":
                self._endless()
                return
            content = authority.page(self.path, body)
            if content is None:
                self.close_connection = True
                return
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 - the base class calls it so

        def _endless(self) -> None:
            self.send_response(200)
            self.end_headers()
            piece = b"\x00" * 65_536
            try:
                for _ in range(1_000):
                    self.wfile.write(piece)
            except OSError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            """Say nothing: tests read what was answered."""

    return Handler
