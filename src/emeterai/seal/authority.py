"""The local two-level test authority: a root and a sealing certificate, both plainly named as a specimen.

It exists so that a fresh machine seals at once. Nobody else trusts it; a lawful issuer configures a key of its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

ROOT_NAME = "emeterai test root SPECIMEN"
SEAL_NAME = "emeterai test seal SPECIMEN"
KEY_FILE = "seal-key.pem"
CERTIFICATE_FILE = "seal.pem"
_ORGANISATION = "emeterai TEST - not an issuer of the state"
_ROOT_LIFE = timedelta(days=3650)
_SEAL_LIFE = timedelta(days=1095)
_CLOCK_SKEW = timedelta(days=1)


def ensure_test_authority(folder: Path, *, now: datetime) -> tuple[Path, Path]:
    """Make the authority under `folder` unless it is there; return its key file (0600) and certificate chain file.

    Several processes may call this at once: whoever renames its finished folder into place first has made it.
    """
    home = folder / "test-authority"
    if not home.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        workshop = folder / f".test-authority-{os.getpid()}-{secrets.token_hex(4)}"
        workshop.mkdir(mode=0o700)
        try:
            _make(workshop, now)
            workshop.rename(home)
        except OSError:
            if not home.is_dir():
                raise
        finally:
            shutil.rmtree(workshop, ignore_errors=True)
    return home / KEY_FILE, home / CERTIFICATE_FILE


def _make(workshop: Path, now: datetime) -> None:
    root_key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    seal_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    root_name, seal_name = _name(ROOT_NAME), _name(SEAL_NAME)
    root = (
        _builder(root_name, root_name, root_key.public_key(), now=now, life=_ROOT_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .sign(root_key, hashes.SHA512())
    )
    seal = (
        _builder(seal_name, root_name, seal_key.public_key(), now=now, life=_SEAL_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA512())
    )
    _write(workshop / "root-key.pem", _private_pem(root_key), mode=0o600)
    _write(workshop / KEY_FILE, _private_pem(seal_key), mode=0o600)
    _write(workshop / "root.pem", _public_pem(root), mode=0o644)
    _write(workshop / CERTIFICATE_FILE, _public_pem(seal) + _public_pem(root), mode=0o644)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "ID"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey, *, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=not certificates,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _public_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
