"""The level of a sealed file is raised later by appending; the seal keeps all it proved, and nobody else can append."""

from __future__ import annotations

import hashlib
import io
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pikepdf
import pytest
from cryptography import x509
from pyhanko.sign.diff_analysis import ModificationLevel
from seal_authorities import chain_of, client_of, der, later, signer_of
from seal_judges import (
    judged_by_pdfsig,
    judged_by_pyhanko,
    judged_with_its_own_revocation_data,
    rendered,
    timestamps_judged_by_pyhanko,
)
from seal_orders import order_of
from seal_samples import LETTER, MUSEUM, classic, signed_by_somebody

from emeterai.core.refusal import Refused
from emeterai.seal.service import NeverError, NotNowError, RevocationClient, SealEngine, Signer, VerifyReport
from emeterai.seal.verification import verify_bytes
from twins.timestamp_authority import TimestampAuthority


@pytest.fixture(scope="module")
def authority() -> Iterator[TimestampAuthority]:
    """A timestamp authority, which the tests of this module put in order again."""
    twin = TimestampAuthority()
    yield twin
    twin.stop()


@dataclass
class Bench:
    """An engine that reaches every level, and a file on its way through them."""

    engine: SealEngine
    signer: Signer
    authority: TimestampAuthority
    folder: Path
    tails: list[Path] = field(default_factory=list)
    level: str = ""

    @property
    def roots(self) -> tuple[bytes, bytes]:
        """Whom the judges trust: the root of the seals and that of the timestamps."""
        return self.signer.roots[0], self.authority.root.der

    @property
    def content(self) -> bytes:
        """The file as it is now."""
        return b"".join(path.read_bytes() for path in (self.folder / "original.pdf", *self.tails))

    def _keep(self, tail: bytes, level: str) -> None:
        path = self.folder / f"tail-{len(self.tails)}"
        path.write_bytes(tail)
        self.tails.append(path)
        self.level = level

    async def seal(self, original: bytes, *, timestamped: bool) -> None:
        """Begin with a new file."""
        self.tails.clear()
        path = self.folder / "original.pdf"
        path.write_bytes(original)
        self.authority.behaviour = "right" if timestamped else "rejects"
        made = await self.engine.seal(path, order_of(sealed_at=datetime.now(UTC)))
        self.authority.behaviour = "right"
        self._keep(made.tail, made.level)

    async def upgrade(self, *, at: datetime | None = None) -> None:
        """Raise it by one level."""
        before = self.content
        made = await self.engine.upgrade(
            self.folder / "original.pdf", self.tails, level=self.level, at=at or datetime.now(UTC)
        )
        self._keep(made.content, made.level)
        assert len(self.content) == made.sealed_size_bytes
        assert hashlib.sha256(self.content).digest() == made.sealed_sha256
        assert self.content.startswith(before)

    def verified(self, content: bytes | None = None) -> VerifyReport:
        """What our verifier says of the file, or of other bytes."""
        roots = list(self.signer.roots)
        return verify_bytes(content or self.content, roots=roots, timestamp_roots=[self.authority.root.der])


@asynccontextmanager
async def opened(authority: TimestampAuthority, folder: Path, *, tells: str = "crl") -> AsyncIterator[Bench]:
    """A bench whose sealing certificate's revocation is told by a list, by OCSP, or nowhere."""
    authority.behaviour = "right"
    signer, client, revocations = (
        signer_of(chain_of(authority, tells=tells)),
        client_of(authority),
        RevocationClient(timeout_s=2),
    )
    engine = await SealEngine.start(
        signer=signer, size_bytes_max=25_000_000, timestamps=client, revocations=revocations
    )
    try:
        yield Bench(engine, signer, authority, folder)
    finally:
        await engine.close()
        await client.close()
        await revocations.close()


@pytest.fixture
async def bench(authority: TimestampAuthority, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench whose sealing certificate's revocation is told by a list."""
    async with opened(authority, tmp_path) as made:
        yield made


@pytest.mark.parametrize("tells", ["crl", "ocsp"])
async def test_a_file_sealed_without_a_timestamp_rises_to_b_lt(
    tells: str, authority: TimestampAuthority, tmp_path: Path
) -> None:
    """A document timestamp, then revocation data: pyHanko finds seal and timestamp whole, and needs nothing fetched."""
    async with opened(authority, tmp_path, tells=tells) as bench:
        await bench.seal(classic(LETTER), timestamped=False)
        levels = [bench.level]
        for _ in range(2):
            await bench.upgrade()
            levels.append(bench.level)
            report = bench.verified()
            assert ("genuine", [bench.level]) == (report.outcome, [stamp.level for stamp in report.stamps])
    assert ["B-B", "B-T", "B-LT"] == levels
    assert [[]] == [stamp.changes_after for stamp in report.stamps]
    (timestamp,) = await timestamps_judged_by_pyhanko(bench.content, *bench.roots)
    assert (True, True, True) == (timestamp.intact, timestamp.valid, timestamp.trusted)
    (status,) = await judged_by_pyhanko(bench.content, *bench.roots)
    assert (True, ModificationLevel.LTA_UPDATES) == (status.bottom_line, status.modification_level)
    assert [True] == [one.bottom_line for one in await judged_with_its_own_revocation_data(bench.content, *bench.roots)]


@pytest.mark.parametrize("name", MUSEUM)
async def test_every_kind_of_file_rises(name: str, bench: Bench) -> None:
    """From B-B to B-LT for every file of the museum: genuine at each step, valid for pdfsig; it looks as it did."""
    await bench.seal(MUSEUM[name], timestamped=False)
    looks = rendered(bench.content).tobytes()
    for _ in range(2):
        await bench.upgrade()
        assert "genuine" == bench.verified().outcome
    path = bench.folder / "whole.pdf"
    path.write_bytes(bench.content)
    assert judged_by_pdfsig(path)[0].valid
    with pikepdf.open(path, attempt_recovery=False) as pdf:
        assert [] == pdf.check_pdf_syntax()
    assert looks == rendered(bench.content).tobytes()


async def test_a_stamp_on_a_raised_file_leaves_all_genuine(bench: Bench) -> None:
    """Addenda and stamps may follow each other in any order."""
    await bench.seal(classic(LETTER), timestamped=False)
    await bench.upgrade()
    await bench.seal(bench.content, timestamped=True)
    await bench.upgrade()
    report = bench.verified()
    assert ("genuine", ["B-LT", "B-LT"]) == (report.outcome, [stamp.level for stamp in report.stamps])


async def test_an_earlier_signature_of_somebody_else_stays_valid(bench: Bench) -> None:
    """Raising a file changes nothing that somebody signed before it was stamped."""
    await bench.seal(await signed_by_somebody(classic(LETTER)), timestamped=False)
    await bench.upgrade()
    await bench.upgrade()
    assert "genuine" == bench.verified().outcome
    statuses = await judged_by_pyhanko(bench.content, *bench.roots)
    assert [(True, True, True)] * 2 == [(one.intact, one.valid, one.docmdp_ok) for one in statuses]


async def test_with_the_authority_down_nothing_is_appended(bench: Bench) -> None:
    """The file stays as it is, genuine at its level, and rises when the authority is back."""
    await bench.seal(classic(LETTER), timestamped=False)
    bench.authority.behaviour = "garbage"
    with pytest.raises(NotNowError):
        await bench.upgrade()
    bench.authority.behaviour = "right"
    await bench.upgrade()
    assert "B-T" == bench.level


async def test_a_certificate_that_tells_nothing_never_gets_validation_data(
    authority: TimestampAuthority, tmp_path: Path
) -> None:
    """Where revocation is told nowhere B-T is the end, and asking again is of no use."""
    async with opened(authority, tmp_path, tells="nowhere") as bench:
        await bench.seal(classic(LETTER), timestamped=True)
        with pytest.raises(NeverError):
            await bench.upgrade()


async def test_a_revoked_certificate_gets_no_validation_data(bench: Bench, authority: TimestampAuthority) -> None:
    """A list that names the certificate is no proof in its favour."""
    chain = chain_of(authority)
    bench.engine.use(signer_of(chain))
    await bench.seal(classic(LETTER), timestamped=True)
    authority.publish_crl("/seal.crl", chain[1], revoked=(chain[0].certificate,))
    with pytest.raises(NotNowError, match="revoked"):
        await bench.upgrade()


async def test_a_list_that_is_out_of_date_is_no_proof(bench: Bench) -> None:
    """Nor is one that was to be renewed before now."""
    await bench.seal(classic(LETTER), timestamped=True)
    with pytest.raises(NotNowError):
        await bench.upgrade(at=later(30))


async def test_an_expired_sealing_certificate_raises_nothing(bench: Bench) -> None:
    """An addendum is signed as a seal is, and not by an expired certificate."""
    await bench.seal(classic(LETTER), timestamped=False)
    with pytest.raises(Refused) as refused:
        await bench.upgrade(at=later(400))
    assert "sealing_certificate_expired" == refused.value.code


def _forged(content: bytes) -> dict[str, bytes]:
    """What somebody may try with a raised file."""
    line = content.index(b"\n%EMTR_Addendum")
    tail_start = content.index(b"%%EOF\n", content.index(b"/EMTR_OriginalSize")) + 6
    catalog = content.index(b" 0 obj", tail_start)
    return {
        "another level": content.replace(b"%EMTR_Addendum B-T ", b"%EMTR_Addendum B-LT"),
        "another moment": content[: line + 20] + b"9" + content[line + 21 :],
        "a byte of its objects": content[: catalog + 9] + bytes([content[catalog + 9] ^ 1]) + content[catalog + 10 :],
        "a byte of its cross-reference": content[:-30] + bytes([content[-30] ^ 1]) + content[-29:],
        "the same addendum twice": content + content[tail_start:],
        "an update after it": content + b"\n4 0 obj\n<</Length 0>>stream\n\nendstream\nendobj\n",
        "an update before it": content[:tail_start] + b"%\n" + content[tail_start:],
        "its signature emptied": content[: line + 125] + b"0" * 200 + content[line + 325 :],
        "its timestamp emptied": _emptied_timestamp(content, tail_start),
    }


def _emptied_timestamp(content: bytes, tail_start: int) -> bytes:
    at = content.index(b"/Contents<", tail_start) + 10
    return content[:at] + b"0" * 400 + content[at + 400 :]


async def test_a_forged_addendum_is_a_change(bench: Bench) -> None:
    """Only our signature over the whole file makes an update ours: anything else that follows a seal is a change."""
    await bench.seal(classic(LETTER), timestamped=False)
    await bench.upgrade()
    assert "genuine" == bench.verified().outcome
    for name, content in _forged(bench.content).items():
        assert content != bench.content, name
        assert "changed" == bench.verified(content).outcome, name


async def test_no_flipped_byte_of_a_raised_file_is_genuine(bench: Bench) -> None:
    """Not in the original, the seal, its slot, the addenda or their slots."""
    chance = random.Random(20261121)
    for timestamped in (True, False):
        await bench.seal(classic(LETTER), timestamped=timestamped)
        while bench.level != "B-LT":
            await bench.upgrade()
        content = bench.content
        for at in chance.sample(range(len(content)), 300):
            bent = content[:at] + bytes([content[at] ^ chance.randrange(1, 256)]) + content[at + 1 :]
            assert "genuine" != bench.verified(bent).outcome, at


async def test_a_file_with_restrictions_rises_and_stays_encrypted(bench: Bench) -> None:
    """What opens without a password can be raised; what is enciphered in it stays so, names and streams included."""
    for revision in (4, 6):
        target = io.BytesIO()
        with pikepdf.open(io.BytesIO(classic(LETTER))) as pdf:
            pdf.save(target, encryption=pikepdf.Encryption(owner="pemilik", user="", R=revision))
        await bench.seal(target.getvalue(), timestamped=False)
        await bench.upgrade()
        await bench.upgrade()
        assert "genuine" == bench.verified().outcome
        with pikepdf.open(io.BytesIO(bench.content), attempt_recovery=False) as pdf:
            assert pdf.is_encrypted
            assert str(pdf.Root.AcroForm.Fields[-1].T).startswith("EMETERAI_TIMESTAMP")
            certificates = [x509.load_der_x509_certificate(one.read_bytes()) for one in pdf.Root.DSS.Certs]
        assert bench.signer.certificate in [der(certificate) for certificate in certificates]


async def test_an_addendum_of_another_authority_is_a_change(
    bench: Bench, authority: TimestampAuthority, tmp_path: Path
) -> None:
    """A stranger with a key of his own, and the same public timestamp authority, raises nothing of ours."""
    await bench.seal(classic(LETTER), timestamped=False)
    ours = bench.engine.signer
    bench.engine.use(signer_of(chain_of(authority)))
    made = bench.engine.upgrade(bench.folder / "original.pdf", bench.tails, level="B-B", at=datetime.now(UTC))
    content = bench.content + (await made).content
    report = verify_bytes(content, roots=list(ours.roots), timestamp_roots=[authority.root.der])
    assert "changed" == report.outcome


async def test_without_an_authority_there_is_nothing_to_raise(engine: SealEngine, tmp_path: Path) -> None:
    """An installation without a timestamp authority seals at B-B and says so."""
    with pytest.raises(NeverError):
        await engine.upgrade(tmp_path, [], level="B-B", at=datetime.now(UTC))
