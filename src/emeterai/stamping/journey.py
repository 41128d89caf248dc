"""The journey of a document and of a stamp, as the sealer walks it. Read it top to bottom; docs/journey.md draws it.

Every step can be killed at any line: the job's lease runs out and the step is done again with the same ids. What a
step writes it writes in one transaction at its end; no transaction is open while bytes move or a seal is made.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import UUID

import msgspec
import structlog

from emeterai.core.ledger import Reason
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.stamping import DocumentState, StampState
from emeterai.infra import jobs
from emeterai.infra.blobs import BlobMissingError, BlobStore
from emeterai.infra.bus import Bus
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.jobs import Claim
from emeterai.infra.metrics import stage
from emeterai.infra.one_fault import together_or_alone
from emeterai.seal.model import Report, SealedTail, SealOrder
from emeterai.seal.refusals import PDF_ENCRYPTED
from emeterai.stamping import document_store, store
from emeterai.stamping.endings import Endings
from emeterai.stamping.model import Document, RepairedFile, Stamp
from emeterai.stamping.passwords import Passwords, drop_useless_passwords
from emeterai.stamping.store import Sealed

FILE_NOT_OPENED = RefusalKind(
    "file_not_opened",
    422,
    "Berkas ini tidak berhasil dibuka meski sudah dicoba {attempts} kali. Simpan ulang sebagai PDF lalu unggah lagi.",
    "This file could not be opened although it was tried {attempts} times. Save it as a PDF again, then upload it.",
)
SEALING_FAILED = RefusalKind(
    "sealing_failed",
    503,
    "Pembubuhan meterai gagal {attempts} kali di pihak kami. Kuota Anda sudah kembali; silakan coba lagi.",
    "Sealing failed {attempts} times on our side. Your quota is back; please try again.",
)
ORIGINAL_DAMAGED = RefusalKind(
    "original_damaged",
    503,
    "Berkas Anda rusak di tempat penyimpanan kami, jadi tidak dibubuhi meterai. Kuota Anda kembali; unggah lagi.",
    "Your file was damaged where we keep it, so it was not stamped. Your quota comes back; please upload it again.",
)
_RETRY_S = 0.5
_OUR_FAULT = 500
_log = structlog.get_logger(__name__)
Result = TypeVar("Result")


class _Accepted(msgspec.Struct, frozen=True):
    """A document that can be stamped, as it was sent or as it was repaired."""

    report: Report
    repaired: RepairedFile | None = None
    locked: bool = False
    """It opened with its password only."""


class Engine(Protocol):
    """What the journey needs of the sealing engine (seal.service.SealEngine)."""

    async def inspect(self, path: Path, *, password: str | None = None) -> Report:
        """What the file is. Raises a refusal when it cannot be sealed."""

    async def repair(self, path: Path, *, password: str | None = None) -> bytes:
        """The file written anew, when its report says that only this can be sealed. Raises a refusal."""

    async def seal(self, path: Path, order: SealOrder) -> SealedTail:
        """The bytes to append. Raises a refusal."""

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """Raises unless original and tail together are the sealed file that was meant."""


class Journey:
    """Walks claimed jobs to their end. `base_url` is what the QR code leads to."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        bus: Bus,
        endings: Endings,
        engine: Engine,
        *,
        passwords: Passwords,
        base_url: str,
        attempts_max: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._bus = bus
        self._endings = endings
        self._engine = engine
        self._passwords = passwords
        self._base_url = base_url
        self._attempts_max = attempts_max
        self._clock = clock

    async def inspect(self, claims: Sequence[Claim]) -> None:
        """Received documents become ready, or refused before any quota is touched."""
        may_die_at("inspect.claimed")
        documents = await document_store.find_many(self._db, [claim.id for claim in claims])
        received = {key: it for key, it in documents.items() if it.state is DocumentState.RECEIVED}
        passwords = await self._passwords_of([it.id for it in received.values() if it.locked])
        inspect_one = functools.partial(self._inspect_one, passwords)
        found = await self._try_all(claims, received, inspect_one, FILE_NOT_OPENED)
        may_die_at("inspect.found")
        ours = await together_or_alone(claims, lambda some: self._record(some, received, found))
        may_die_at("inspect.recorded")
        self._bus.publish(ours)

    async def _record(
        self, claims: Sequence[Claim], received: Mapping[UUID, Document], found: Mapping[UUID, _Accepted | Refused]
    ) -> set[UUID]:
        """Put what was found on record, and end its jobs; answers those that were still ours."""
        async with self._db.transaction() as tx:
            ours = await jobs.finish(tx, [claim for claim in claims if claim.id in found or claim.id not in received])
            accepted = {key: it for key, it in found.items() if key in ours and isinstance(it, _Accepted)}
            refusals = {key: it for key, it in found.items() if key in ours and isinstance(it, Refused)}
            await document_store.accept(
                tx,
                {key: it.report for key, it in accepted.items()},
                {key: it.repaired for key, it in accepted.items() if it.repaired},
            )
            await document_store.refuse(tx, {key: (it.code, it.facts) for key, it in refusals.items()})
            opened = {key for key, it in accepted.items() if it.locked}
            await drop_useless_passwords(tx, [received[key] for key in {*accepted, *refusals} - opened])
            may_die_at("inspect.written")
        return ours

    async def seal(self, claims: Sequence[Claim]) -> None:
        """Held stamps become sealed and settled, or their units go back with the reason."""
        may_die_at("seal.claimed")
        stamps = await store.find_many(self._db, [claim.id for claim in claims])
        held = {key: it for key, it in stamps.items() if it.state is StampState.HELD}
        plans = await document_store.plans_of(self._db, [stamp.document_id for stamp in held.values()])
        passwords = await self._passwords_of([stamp.document_id for stamp in held.values() if stamp.locked])
        seal_one = functools.partial(self._seal_one, plans, passwords)
        found = await self._try_all(claims, held, seal_one, SEALING_FAILED)
        sealed = {key: it for key, it in found.items() if isinstance(it, Sealed)}
        refused = {key: it for key, it in found.items() if isinstance(it, Refused)}
        await self._endings.settle([claim for claim in claims if claim.id in sealed], held, sealed)
        await self._endings.give_back(
            {key: (_reason_of(it), it) for key, it in refused.items()},
            claims=[claim for claim in claims if claim.id in refused],
        )

    async def _passwords_of(self, document_ids: Sequence[UUID]) -> dict[UUID, str]:
        """What opens these locked documents; nothing is asked when there are none."""
        return await self._passwords.kept(document_ids) if document_ids else {}

    async def _inspect_one(self, passwords: Mapping[UUID, str], document: Document, claim: Claim) -> _Accepted:
        """Inspect; a file that only repair makes sealable is repaired now, and the repaired file made safe."""
        async with self._blobs.as_file(document.original_key) as path:
            try:
                with stage("inspect"):
                    report, password = await self._opened(path, passwords.get(document.id))
            except Refused:
                await _require_as_sent(document, path)
                raise
            locked = password is not None
            if not report.repaired:
                return _Accepted(report, locked=locked)
            await _require_as_sent(document, path)
            content = await self._engine.repair(path, password=password)
        # Attempts begin anew when a document is unlocked, so for locked ones they alone do not make a key that is new.
        key = f"repaired/{document.id}.{claim.attempt}" + (f".{new_id()}" if locked else "")
        await self._blobs.put(key, content)
        may_die_at("repair.stored")
        return _Accepted(report, RepairedFile(key, len(content), await asyncio.to_thread(_sha256, content)), locked)

    async def _opened(self, path: Path, password: str | None) -> tuple[Report, str | None]:
        """What the file is, and the password if it does not open without."""
        try:
            return await self._engine.inspect(path), None
        except Refused as refused:
            if password is None or refused.kind is not PDF_ENCRYPTED:
                raise
        return await self._engine.inspect(path, password=password), password

    async def _seal_one(
        self, plans: Mapping[UUID, bytes], passwords: Mapping[UUID, str], stamp: Stamp, claim: Claim
    ) -> Sealed:
        """Seal, make the tail safe, read it back from where it is kept, and only then call it sealed."""
        sealed_at, password = self._clock(), passwords.get(stamp.document_id)
        order = SealOrder(
            serial=stamp.serial,
            verify_url=f"{self._base_url}/v/{stamp.serial}",
            sealed_at=sealed_at,
            page=stamp.page,
            box=stamp.box,
            password=password,
            plan=plans.get(stamp.document_id, b""),
        )
        tail_key = f"tails/{stamp.id}.{claim.attempt}"
        async with self._blobs.as_file(stamp.base_key) as original:
            with stage("seal"):
                made = await self._engine.seal(original, order)
            may_die_at("seal.made")
            if made.original_sha256 != stamp.base_digest:
                raise ORIGINAL_DAMAGED()
            await self._blobs.put(tail_key, made.tail)
            may_die_at("seal.stored")
            async with self._blobs.as_file(tail_key) as tail:
                with stage("read_back"):
                    await self._engine.read_back(original, tail, made, password=password)
        may_die_at("seal.read_back")
        return Sealed(
            stamp_id=stamp.id,
            tail_key=tail_key,
            tail_bytes=len(made.tail),
            sealed_size_bytes=made.sealed_size_bytes,
            sealed_digest=made.sealed_sha256,
            level=made.level,
            sealed_at=sealed_at,
        )

    async def _try_all(
        self,
        claims: Sequence[Claim],
        things: Mapping[UUID, Document] | Mapping[UUID, Stamp],
        work: Callable[..., Awaitable[Result]],
        last_word: RefusalKind,
    ) -> dict[UUID, Result | Refused]:
        """The outcome of each claim whose thing is there; those to be tried again are handed back and left out."""
        mine = [claim for claim in claims if claim.id in things]
        outcomes = await asyncio.gather(*(self._try(claim, things[claim.id], work, last_word) for claim in mine))
        again = [claim for claim, outcome in zip(mine, outcomes, strict=True) if outcome is None]
        if again:
            await jobs.hand_back(self._db, again, delay_s=_RETRY_S)
        return {claim.id: it for claim, it in zip(mine, outcomes, strict=True) if it is not None}

    async def _try(
        self, claim: Claim, thing: Document | Stamp, work: Callable[..., Awaitable[Result]], last_word: RefusalKind
    ) -> Result | Refused | None:
        if claim.attempt > self._attempts_max:
            # Each attempt before this one died without a word: this file, or this machine, kills workers.
            return last_word(attempts=self._attempts_max)
        try:
            return await work(thing, claim)
        except Refused as refused:
            if refused.kind.status < _OUR_FAULT:
                return refused
            if claim.attempt < self._attempts_max:
                return None
            # "Try again in a moment" is no reason to refuse a document for good; a stamp keeps why it was given back.
            return last_word(attempts=claim.attempt) if isinstance(thing, Document) else refused
        except Exception:  # noqa: BLE001 - a bug in one step must cost that stamp only, and gives its unit back
            _log.exception("step_failed", job=str(claim.id), kind=claim.kind, attempt=claim.attempt)
            return None if claim.attempt < self._attempts_max else last_word(attempts=claim.attempt)


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


async def _require_as_sent(document: Document, path: Path) -> None:
    """Raises BlobMissingError when the store has lost or altered the file.

    Sealing looks for itself. A file that is refused must be the sender's own, and so must one that is repaired:
    what repair makes of half a file has a digest that sealing takes for right.
    """
    if await asyncio.to_thread(lambda: _sha256(path.read_bytes())) != document.digest:
        raise BlobMissingError(document.original_key)


def _reason_of(refused: Refused) -> Reason:
    return Reason.SEALING_FAILED if refused.kind.status >= _OUR_FAULT else Reason.FILE_REFUSED
