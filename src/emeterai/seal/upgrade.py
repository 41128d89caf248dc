"""Raising the level of a sealed file by appending (ETSI EN 319 142-1, 5.5): a document timestamp, then validation data.

What was sealed stays as it is to the byte, so a seal keeps all it proved. Each addendum is signed, see addendum.py.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from emeterai.seal.addendum import HEAD, tokens_within
from emeterai.seal.addendum_layout import Draft, document_timestamp, validation_data
from emeterai.seal.cms_check import SealFaultError, read_cms, token_within
from emeterai.seal.digests import feed
from emeterai.seal.messages import Locate, Planned, PlanSeal, PlanValidation
from emeterai.seal.model import Plan
from emeterai.seal.pool import OpenerPool
from emeterai.seal.reader import TAIL_SIZE_BYTES_MAX, FileReader, path_text
from emeterai.seal.refusals import SEAL_NOT_VALID
from emeterai.seal.revocation import NoRevocationSourceError, RevocationClient, RevocationUnknownError
from emeterai.seal.signature import find_seals
from emeterai.seal.signer import Signer
from emeterai.seal.tail import SlotOverflowError
from emeterai.seal.timestamp import TimestampClient, TimestampFailedError
from emeterai.seal.timestamp_token import certificates_of


class NotNowError(Exception):
    """The level cannot be raised at the moment; the text says why."""


class NeverError(Exception):
    """The level of this file cannot be raised, now or later; the text says why."""


class MadeAddendum(msgspec.Struct, frozen=True):
    """The bytes to append to a sealed file, and the facts of the file with them."""

    content: bytes
    level: str
    sealed_size_bytes: int
    sealed_sha256: bytes


class Upgrades:
    """Raises levels. `timestamps` and `revocations` are closed by the caller."""

    def __init__(
        self,
        pool: OpenerPool,
        reader: FileReader,
        *,
        timestamps: TimestampClient,
        revocations: RevocationClient,
        size_bytes_max: int,
    ) -> None:
        self._pool = pool
        self._reader = reader
        self._timestamps = timestamps
        self._revocations = revocations
        self._size_bytes_max = size_bytes_max + TAIL_SIZE_BYTES_MAX

    async def next(
        self, original: Path, tails: Sequence[Path], *, level: str, signer: Signer, at: datetime
    ) -> MadeAddendum:
        """The addendum that raises a sealed file, its original and its tails, from `level` by one level.

        It is read back before it is handed out. Raises NotNowError, NeverError, and Refused: the sealing key is away,
        the opener is busy or refuses the file.
        """
        with tempfile.NamedTemporaryFile(prefix="emeterai-upgrade-") as file:
            whole = Path(file.name)
            await asyncio.to_thread(_join, [original, *tails], whole)
            try:
                if level == "B-B":
                    made = await self._timestamped(whole, signer, at)
                elif level == "B-T":
                    made = await self._with_validation_data(whole, tails, signer, at)
                else:
                    raise NeverError(f"there is no level above {level}")
            except (TimestampFailedError, RevocationUnknownError, SlotOverflowError) as error:
                raise NotNowError(str(error)) from error
            except NoRevocationSourceError as error:
                raise NeverError(str(error)) from error
            await self._read_back(whole, made)
        return made

    async def _timestamped(self, whole: Path, signer: Signer, at: datetime) -> MadeAddendum:
        plan = await self._plan(PlanSeal(path_text(whole), self._size_bytes_max, None))
        read = await asyncio.to_thread(_Read, whole)
        draft = document_timestamp(
            plan,
            previous_sha256=read.sha256.digest(),
            at=at,
            token_size_bytes=self._timestamps.token_size_bytes,
            cms_size_bytes=signer.cms_size_bytes_max,
        )
        draft = await _signed(draft, read, signer)
        for part in draft.parts(draft.addendum.timestamped_spans):
            read.plain.update(part)
        token = await self._timestamps.token(read.plain.digest())
        return _made(draft.filled(b"", token), read)

    async def _with_validation_data(
        self, whole: Path, tails: Sequence[Path], signer: Signer, at: datetime
    ) -> MadeAddendum:
        leaves, others = _certificates_within([await asyncio.to_thread(tail.read_bytes) for tail in tails])
        roots = [*self._timestamps.roots, *map(x509.load_der_x509_certificate, self._reader.roots)]
        evidence = await self._revocations.evidence(leaves, [*others, *roots], at=at)
        counts = (len(evidence.certificates), len(evidence.crls), len(evidence.ocsps))
        plan = await self._plan(PlanValidation(path_text(whole), self._size_bytes_max, *counts))
        read = await asyncio.to_thread(_Read, whole)
        draft = validation_data(
            plan, evidence, previous_sha256=read.sha256.digest(), at=at, cms_size_bytes=signer.cms_size_bytes_max
        )
        return _made(await _signed(draft, read, signer), read)

    async def _plan(self, request: PlanSeal | PlanValidation) -> Plan:
        answer = await self._pool.ask(request)
        assert isinstance(answer, Planned)
        return answer.plan

    async def _read_back(self, whole: Path, made: MadeAddendum) -> None:
        """The file with its addendum opens, is genuine, and has the level. Raises Refused."""
        await asyncio.to_thread(_append, whole, made.content)
        await self._pool.ask(Locate(path_text(whole), self._size_bytes_max, None))
        report = await self._reader.verify(whole)
        if report.outcome != "genuine" or made.level not in {stamp.level for stamp in report.stamps}:
            raise SEAL_NOT_VALID()


class _Read:
    """The digests of a whole file, ready to take more: SHA-512 for the timestamp and for our signature, SHA-256."""

    def __init__(self, whole: Path) -> None:
        self.plain, self.headed, self.sha256 = hashlib.sha512(), hashlib.sha512(HEAD), hashlib.sha256()
        self.size_bytes = feed(whole, self.plain, self.headed, self.sha256)


async def _signed(draft: Draft, read: _Read, signer: Signer) -> Draft:
    if read.size_bytes != draft.addendum.previous_size_bytes:
        raise RuntimeError("the file changed while it was being read")
    for part in draft.parts(draft.addendum.signed_spans):
        read.headed.update(part)
    return draft.filled((await signer.sign(read.headed.digest())).cms())


def _made(draft: Draft, read: _Read) -> MadeAddendum:
    read.sha256.update(draft.content)
    return MadeAddendum(draft.content, draft.addendum.level, draft.addendum.end, read.sha256.digest())


def _certificates_within(tails: Sequence[bytes]) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    """Who sealed and who gave timestamps in our own tails, and the certificates they sent along."""
    leaves: list[x509.Certificate] = []
    others: list[x509.Certificate] = []
    tokens: list[bytes] = []
    try:
        for seal in (seal for tail in tails for seal in find_seals(tail)):
            cms, certificates = read_cms(seal.contents)
            leaves.append(certificates[0])
            others += certificates[1:]
            tokens.append(token_within(cms))
        tokens += [token for tail in tails for token in tokens_within(tail)]
        for certificate in (one for token in filter(None, tokens) for one in certificates_of(token)):
            (leaves if _gives_timestamps(certificate) else others).append(certificate)
    except (SealFaultError, ValueError) as error:
        raise NeverError(f"a tail of ours cannot be read: {error}") from error
    return leaves, others


def _gives_timestamps(certificate: x509.Certificate) -> bool:
    try:
        usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return False
    return ExtendedKeyUsageOID.TIME_STAMPING in usage


def _join(parts: Sequence[Path], whole: Path) -> None:
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target)


def _append(whole: Path, content: bytes) -> None:
    with whole.open("ab") as target:
        target.write(content)
