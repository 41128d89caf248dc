"""Keys and certificates: made at first run, checked when loaded, all supported kinds valid for the judges."""

from __future__ import annotations

import asyncio
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from seal_judges import judged_by_pdfsig, judged_by_pyhanko
from seal_orders import SEALED_AT, order_of
from seal_samples import LETTER, classic

from emeterai.core.refusal import Refused
from emeterai.seal.service import SealEngine, Signer, SignerError, load_signer

NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEYS = {
    "rsa 2048": lambda: rsa.generate_private_key(65537, 2048),
    "rsa 3072": lambda: rsa.generate_private_key(65537, 3072),
    "rsa 4096": lambda: rsa.generate_private_key(65537, 4096),
    "p-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
}
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def write_pair(folder: Path, key: Key, *, certified_key: Key | None = None, life_days: int = 30) -> tuple[Path, Path]:
    """A key file and a self-signed certificate file, made for `certified_key` where that differs."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Uji (segel) SPECIMEN")])
    owner = certified_key or key
    certificate = (
        x509.CertificateBuilder(subject, subject, owner.public_key(), x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=60))
        .not_valid_after(NOW + timedelta(days=life_days))
        .add_extension(x509.KeyUsage(True, True, *[False] * 7), critical=True)
        .sign(owner, hashes.SHA512())
    )
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    pem = serialization.Encoding.PEM
    key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    certificate_file.write_bytes(certificate.public_bytes(pem))
    return key_file, certificate_file


@pytest.mark.parametrize("kind", KEYS)
async def test_every_kind_of_key_seals_validly(kind: str, tmp_path: Path) -> None:
    """RSA of three sizes and two curves: sealed, read back, verified, and valid for pdfsig and pyHanko."""
    key_file, certificate_file = write_pair(tmp_path, KEYS[kind]())
    signer = load_signer(folder=tmp_path, key_file=key_file, certificate_file=certificate_file, now=NOW)
    engine = await SealEngine.start(signer=signer, size_bytes_max=1_000_000)
    original, tail, whole = (tmp_path / name for name in ("original.pdf", "tail", "whole.pdf"))
    original.write_bytes(classic(LETTER))
    try:
        for number in range(5):  # the length of an ECDSA signature varies
            sealed = await engine.seal(original, order_of(f"SERIAL{number}"))
            tail.write_bytes(sealed.tail)
            whole.write_bytes(classic(LETTER) + sealed.tail)
            await engine.read_back(original, tail, sealed)
            assert "genuine" == (await engine.verify(whole)).outcome
            assert [True] == [judged.valid for judged in judged_by_pdfsig(whole)]
            statuses = await judged_by_pyhanko(whole.read_bytes(), signer.roots[0])
            assert [True] == [status.bottom_line for status in statuses]
    finally:
        await engine.close()


def test_the_test_authority_is_made_once(tmp_path: Path) -> None:
    """The first run makes it, the second finds it; keys are for the owner's eyes only; the names say SPECIMEN."""
    first, second = load_signer(folder=tmp_path), load_signer(folder=tmp_path)
    assert first.certificate == second.certificate
    keys = list(tmp_path.rglob("*key.pem"))
    assert 2 == len(keys)
    assert [0o600, 0o600] == [stat.S_IMODE(key.stat().st_mode) for key in keys]
    assert "SPECIMEN" in first.name


def test_many_processes_at_first_run_agree_on_one_authority(tmp_path: Path) -> None:
    """Whoever is first has made it; nothing half-made is left behind."""
    with ThreadPoolExecutor(4) as threads:
        signers = list(threads.map(lambda _: load_signer(folder=tmp_path), range(4)))
    assert 1 == len({signer.certificate for signer in signers})
    assert ["test-authority"] == [entry.name for entry in tmp_path.iterdir()]


BAD_PAIRS = {
    "another key": lambda folder: write_pair(folder, KEYS["p-256"](), certified_key=KEYS["p-256"]()),
    "too small a key": lambda folder: write_pair(folder, rsa.generate_private_key(65537, 1024)),  # noqa: S505 - that is the point
    "expired": lambda folder: write_pair(folder, KEYS["p-256"](), life_days=-1),
    "no files": lambda folder: (folder / "no-key", folder / "no-certificate"),
    "nonsense": lambda _folder: (Path(__file__), Path(__file__)),
}


@pytest.mark.parametrize("name", BAD_PAIRS)
def test_a_key_that_cannot_be_used_is_told_at_start(name: str, tmp_path: Path) -> None:
    """The operator learns at start, in one sentence, that key or certificate is wrong."""
    key_file, certificate_file = BAD_PAIRS[name](tmp_path)
    with pytest.raises(SignerError):
        load_signer(folder=tmp_path, key_file=key_file, certificate_file=certificate_file, now=NOW)


async def test_a_signature_larger_than_its_slot_is_refused(signer: Signer, tmp_path: Path) -> None:
    """Slots are computed; should one ever be too small, the stamp ends in a named refusal and not in a broken file."""
    engine = await SealEngine.start(
        signer=replace(signer, cms_size_bytes_max=signer.cms_size_bytes_max - 1), size_bytes_max=1_000_000
    )
    path = tmp_path / "file.pdf"
    path.write_bytes(classic(LETTER))
    try:
        with pytest.raises(Refused) as refused:
            await engine.seal(path, order_of())
        assert "seal_slot_overflow" == refused.value.code
    finally:
        await engine.close()


async def test_read_back_refuses_what_is_not_as_promised(engine: SealEngine, tmp_path: Path) -> None:
    """Any single difference between what was promised and what was stored is found before the stamp counts."""
    original, tail = tmp_path / "original.pdf", tmp_path / "tail"
    original.write_bytes(classic(LETTER))
    sealed = await engine.seal(original, order_of())
    stored = {
        "a flipped byte": sealed.tail[:100] + bytes([sealed.tail[100] ^ 1]) + sealed.tail[101:],
        "a cut tail": sealed.tail[:-1],
        "a flipped signature": sealed.tail.replace(b"/Contents<3082", b"/Contents<3083"),
        "an empty tail": b"",
    }
    for content in stored.values():
        tail.write_bytes(content)
        with pytest.raises(Refused):
            await engine.read_back(original, tail, sealed)
    tail.write_bytes(sealed.tail)
    await engine.read_back(original, tail, sealed)
    original.write_bytes(classic(LETTER).replace(b"Surat", b"surat"))
    with pytest.raises(Refused) as refused:
        await engine.read_back(original, tail, sealed)
    assert "seal_not_valid" == refused.value.code


async def test_sealing_at_once_from_many_tasks_mixes_nothing(engine: SealEngine, tmp_path: Path) -> None:
    """Forty seals in flight: each tail is read back against its own file."""

    async def one(number: int) -> None:
        original, tail = tmp_path / f"{number}.pdf", tmp_path / f"{number}.tail"
        original.write_bytes(classic(LETTER).replace(b"Surat", b"S%04d" % number))
        sealed = await engine.seal(original, order_of(f"N{number}", sealed_at=SEALED_AT + timedelta(seconds=number)))
        tail.write_bytes(sealed.tail)
        await engine.read_back(original, tail, sealed)

    await asyncio.gather(*(one(number) for number in range(40)))
