"""A key is changed without a stop: new seals use the new one, old seals stay genuine, a bad new one changes nothing."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from seal_orders import SEALED_AT, order_of
from seal_samples import LETTER, classic
from test_seal_signer import KEYS, NOW, write_pair

from emeterai.core.refusal import Refused
from emeterai.seal.reader import FileReader
from emeterai.seal.roots import TrustedRoots
from emeterai.seal.rotation import KeyWatch
from emeterai.seal.service import KeyPlace, SealEngine, SignerError, load_signer, load_signer_from


@dataclass
class Desk:
    """An engine at work, its key files, and the watch over them."""

    folder: Path
    place: KeyPlace
    engine: SealEngine
    watch: KeyWatch

    async def sealed(self, serial: str) -> Path:
        """A letter sealed with whatever key is in use."""
        original, whole = self.folder / "original.pdf", self.folder / f"{serial}.pdf"
        original.write_bytes(classic(LETTER))
        made = await self.engine.seal(original, order_of(serial))
        whole.write_bytes(original.read_bytes() + made.tail)
        return whole

    def put_new_pair(self, *, key: bool = True, certificate: bool = True, life_days: int = 30) -> None:
        """Another key, another self-signed certificate, as an operator copies them into place."""
        folder = self.folder / "new"
        folder.mkdir(exist_ok=True)
        key_file, certificate_file = write_pair(folder, KEYS["p-256"](), life_days=life_days)
        assert self.place.key_file is not None
        assert self.place.certificate_file is not None
        if key:
            shutil.copy(key_file, self.place.key_file)
        if certificate:
            shutil.copy(certificate_file, self.place.certificate_file)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk with an RSA key."""
    key_file, certificate_file = write_pair(tmp_path, KEYS["rsa 2048"]())
    place = KeyPlace(tmp_path, key_file, certificate_file)
    signer = load_signer_from(place, now=NOW)
    roots = TrustedRoots(
        folder=tmp_path, certificate_file=certificate_file, trusted_folder=tmp_path / "roots", clock_s=Ticking()
    )
    engine = await SealEngine.start(signer=signer, size_bytes_max=1_000_000, roots=roots)
    yield Desk(tmp_path, place, engine, KeyWatch(place, signer, use=engine.use, clock=lambda: NOW))
    await engine.close()


class Ticking:
    """A clock on which every look is a minute after the one before."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        """Seconds from some moment."""
        self._now_s += 60
        return self._now_s


async def test_a_new_key_is_taken_up_and_old_seals_stay_genuine(desk: Desk) -> None:
    """The old root is kept among the trusted ones; both seals are genuine, by different signers."""
    assert desk.place.certificate_file is not None
    old = await desk.sealed("LAMA")
    before = desk.engine.signer.certificate
    (desk.folder / "roots").mkdir()
    shutil.copy(desk.place.certificate_file, desk.folder / "roots" / "lama.pem")
    desk.put_new_pair()
    await desk.watch.look()
    assert before != desk.engine.signer.certificate
    new = await desk.sealed("BARU")
    assert ["genuine", "genuine"] == [(await desk.engine.verify(path)).outcome for path in (old, new)]


async def test_without_the_old_root_old_seals_are_a_strangers(desk: Desk) -> None:
    """Trust is what the operator says it is: a root that is taken away no longer counts."""
    old = await desk.sealed("LAMA")
    assert "genuine" == (await desk.engine.verify(old)).outcome
    desk.put_new_pair()
    await desk.watch.look()
    assert "not_ours" == (await desk.engine.verify(old)).outcome


async def test_a_seal_on_its_way_during_the_change_is_read_back(desk: Desk) -> None:
    """What the old key made a moment before still counts."""
    original, tail = desk.folder / "o.pdf", desk.folder / "t"
    original.write_bytes(classic(LETTER))
    made = await desk.engine.seal(original, order_of())
    desk.put_new_pair()
    await desk.watch.look()
    tail.write_bytes(made.tail)
    await desk.engine.read_back(original, tail, made)


@pytest.mark.parametrize("bad", ["key only", "certificate only", "expired", "nonsense"])
async def test_a_new_key_that_cannot_be_used_changes_nothing(bad: str, desk: Desk) -> None:
    """The old key goes on; when the files are right the change happens."""
    before = desk.engine.signer
    if bad == "nonsense":
        assert desk.place.key_file is not None
        desk.place.key_file.write_text("bukan kunci")
    else:
        desk.put_new_pair(
            key=bad != "certificate only", certificate=bad != "key only", life_days=-1 if bad == "expired" else 30
        )
    await desk.watch.look()
    assert before is desk.engine.signer
    await desk.sealed("TETAP")
    desk.put_new_pair()
    await desk.watch.look()
    assert before is not desk.engine.signer


async def test_after_expiry_nothing_is_sealed(desk: Desk) -> None:
    """A transient refusal: the stamp is tried again or given back, and the next certificate ends it."""
    original = desk.folder / "o.pdf"
    original.write_bytes(classic(LETTER))
    with pytest.raises(Refused) as refused:
        await desk.engine.seal(original, order_of(sealed_at=SEALED_AT + timedelta(days=31)))
    assert ("sealing_certificate_expired", 503) == (refused.value.code, refused.value.kind.status)


async def test_a_reader_takes_up_new_roots_without_a_restart(desk: Desk) -> None:
    """A web process learns of a new root by the file that appears; an unreadable file harms nothing."""
    sealed = await desk.sealed("AWAL")
    elsewhere, folder = desk.folder / "elsewhere", desk.folder / "trusted"
    folder.mkdir()
    elsewhere.mkdir()
    _, other = write_pair(elsewhere, KEYS["p-256"]())
    roots = TrustedRoots(folder=desk.folder, certificate_file=other, trusted_folder=folder, clock_s=Ticking())
    reader = await FileReader.open(roots, size_bytes_max=1_000_000)
    try:
        assert "not_ours" == (await reader.verify(sealed)).outcome
        assert desk.place.certificate_file is not None
        shutil.copy(desk.place.certificate_file, folder / "segel.pem")
        assert "genuine" == (await reader.verify(sealed)).outcome
        (folder / "rusak.pem").write_text("bukan sertifikat")
        assert "genuine" == (await reader.verify(sealed)).outcome
    finally:
        await reader.close()


def test_an_encrypted_key_opens_with_its_passphrase(tmp_path: Path) -> None:
    """And with nothing else: a wrong or missing passphrase is told at start."""
    key_file, certificate_file = write_pair(tmp_path, KEYS["p-256"]())
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(pem, pkcs8, serialization.BestAvailableEncryption(b"rahasia")))
    right, wrong, empty = (tmp_path / name for name in ("right", "wrong", "empty"))
    right.write_text("rahasia\n")
    wrong.write_text("salah\n")
    empty.write_text("")
    files = {"folder": tmp_path, "key_file": key_file, "certificate_file": certificate_file, "now": NOW}
    signer = load_signer(**files, passphrase_file=right)  # type: ignore[arg-type]
    assert signer.certificate == x509.load_pem_x509_certificate(certificate_file.read_bytes()).public_bytes(
        serialization.Encoding.DER
    )
    for passphrase_file in (wrong, empty, None):
        with pytest.raises(SignerError):
            load_signer(**files, passphrase_file=passphrase_file)  # type: ignore[arg-type]
