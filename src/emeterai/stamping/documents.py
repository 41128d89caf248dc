"""Documents: bytes come in, whole or in pieces, and are safe before the request ends. The rest is a job."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from uuid import UUID

import structlog

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.stamping import DocumentState
from emeterai.infra import jobs
from emeterai.infra.batching import Batcher
from emeterai.infra.blobs import BlobMissingError, BlobStore
from emeterai.infra.bus import Bus
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.lane import lift_deadline
from emeterai.infra.metrics import stage
from emeterai.infra.one_fault import apart
from emeterai.infra.waiting import wait_for
from emeterai.stamping import document_store as store
from emeterai.stamping.document_store import Part
from emeterai.stamping.model import Arrived, Document, original_key, parts_prefix
from emeterai.stamping.passwords import Passwords, keep_passwords

INSPECT = "inspect"
"""The kind of job that opens a received document."""
PIECE_BYTES = 1024 * 1024
"""An upload under way is made safe in pieces of this size, so a broken line loses less than one."""
_NAME_LENGTH_MAX = 200
_ASSEMBLIES_AT_ONCE = 4
_HASHED_AT_ONCE_BYTES = 262_144
_log = structlog.get_logger(__name__)

DOCUMENT_UNKNOWN = RefusalKind(
    "document_unknown",
    404,
    "Dokumen ini tidak ditemukan di akun Anda. Periksa alamatnya atau unggah lagi.",
    "This document is not in your account. Check the address or upload it again.",
)
DOCUMENT_TOO_LARGE = RefusalKind(
    "document_too_large",
    413,
    "Berkas lebih besar dari batas {size_bytes_max} bita. Perkecil gambar di dalamnya lalu unggah lagi.",
    "The file is over the limit of {size_bytes_max} bytes. Make its pictures smaller, then upload it again.",
)
DOCUMENT_EMPTY = RefusalKind(
    "document_empty",
    422,
    "Berkas kosong. Pilih berkas PDF yang berisi, lalu unggah lagi.",
    "The file is empty. Choose a PDF that has content, then upload it again.",
)
UPLOAD_OFFSET_WRONG = RefusalKind(
    "upload_offset_wrong",
    409,
    "Unggahan ini sudah sampai bita {offset}; lanjutkan dari sana.",
    "This upload has reached byte {offset}; go on from there.",
)
UPLOAD_ENDED = RefusalKind(
    "upload_ended",
    410,
    "Unggahan ini sudah berakhir. Mulai unggahan baru.",
    "This upload has ended. Start a new one.",
)
UPLOAD_TOO_LONG = RefusalKind(
    "upload_too_long",
    413,
    "Isi kiriman melebihi panjang berkas yang dinyatakan ({size_bytes} bita). Mulai unggahan baru.",
    "More bytes came than the declared length of the file ({size_bytes} bytes). Start a new upload.",
)
UPLOAD_CHECKSUM_WRONG = RefusalKind(
    "upload_checksum_wrong",
    460,
    "Potongan berkas rusak di perjalanan dan tidak disimpan. Kirim ulang potongan itu.",
    "A piece of the file was damaged on its way and was not kept. Send that piece again.",
)


class SenderGoneError(Exception):
    """The line broke in the middle of an upload. What arrived is kept; there is nobody to answer."""


class Documents:
    """What people send. A document belongs to one account; to every other it does not exist."""

    def __init__(
        self,
        db: Database,
        blobs: BlobStore,
        bus: Bus,
        passwords: Passwords,
        *,
        size_bytes_max: int,
        upload_life_s: float,
    ) -> None:
        self._db = db
        self._blobs = blobs
        self._bus = bus
        self._passwords = passwords
        self.size_bytes_max = size_bytes_max
        self._upload_life_s = upload_life_s
        self._assembling = asyncio.Semaphore(_ASSEMBLIES_AT_ONCE)
        self._arrivals: Batcher[Arrived, None] = Batcher(apart(self._record_many), name="receive", window_s=0.005)
        self._looks: Batcher[UUID, Document | None] = Batcher(
            self._find_many, name="look_at_document", window_s=0.003, begins=False
        )

    async def receive(
        self, account_id: UUID, name: str, data: bytes, *, password: str | None = None, made_by: UUID | None = None
    ) -> UUID:
        """Keep a file that came in one request; answers its id. When this returns it is safe and will be inspected.

        With the `password` that opens it, when it is locked. Raises `password_tries_over`.
        """
        arrived = await self.keep(account_id, name, data, password=password, made_by=made_by)
        await self.record(arrived)
        return arrived.id

    async def keep(
        self, account_id: UUID, name: str, data: bytes, *, password: str | None = None, made_by: UUID | None = None
    ) -> Arrived:
        """Make the bytes of a whole file safe. It belongs to nobody until it goes on record.

        `made_by` is the member who sends it, when the account is a group's.
        Raises `document_empty`, `document_too_large`, `password_tries_over`.
        """
        self.check_size(len(data))
        document_id = new_id()
        with stage("receive"):
            digest = _sha256(data) if len(data) <= _HASHED_AT_ONCE_BYTES else await asyncio.to_thread(_sha256, data)
            kept = None
            if password is not None:
                await self._passwords.take_try(account_id, digest)
                kept = self._passwords.enciphered(document_id, password)
            await self._blobs.put(original_key(document_id), data)
        safe_at_s = time.monotonic()
        may_die_at("upload.stored")
        return Arrived(document_id, account_id, tidy_name(name), len(data), digest, safe_at_s, kept, made_by=made_by)

    async def record(self, arrived: Arrived) -> None:
        """Put a kept file on record; when it is not inspected yet, it will be."""
        await self._arrivals.submit(arrived)

    async def unlock(self, document: Document, password: str) -> bool:
        """Send a document that wants a password to inspection again; False when another request has just done so.

        Raises `password_tries_over`.
        """
        assert document.digest is not None
        await self._passwords.take_try(document.account_id, document.digest)
        async with self._db.transaction() as tx:
            unlocked = await store.unlock(tx, document.id)
            if unlocked:
                await keep_passwords(tx, {document.id: self._passwords.enciphered(document.id, password)})
                await jobs.enqueue(tx, INSPECT, [document.id])
        if unlocked:
            self._bus.publish([INSPECT])
        return unlocked

    async def begin(self, account_id: UUID, name: str, size_bytes: int, *, made_by: UUID | None = None) -> UUID:
        """Begin an upload in pieces of a file of `size_bytes`; answers its id."""
        self.check_size(size_bytes)
        document_id = new_id()
        await store.insert_receiving(
            self._db,
            document_id,
            account_id,
            name=tidy_name(name),
            size_bytes=size_bytes,
            life_s=self._upload_life_s,
            made_by=made_by,
        )
        return document_id

    async def append(
        self,
        document: Document,
        offset: int,
        pieces: AsyncIterator[bytes],
        *,
        is_intact: Callable[[], bool] | None = None,
    ) -> int:
        """Add bytes at `offset`; answers the new offset. What arrived before a line broke is kept and can be resumed.

        With `is_intact`, asked when all have arrived, nothing is kept unless it says yes (tus 1.0, checksum extension).
        """
        self._refuse_unless_receiving(document, offset)
        lift_deadline()  # what comes is kept, whoever has gone
        pending: list[Part] = []
        """Stored parts that are certainly not on record yet."""
        reached = offset
        try:
            async for piece in _pieces_of(pieces, PIECE_BYTES):
                if reached + len(piece) > document.size_bytes:
                    raise UPLOAD_TOO_LONG(size_bytes=document.size_bytes)
                part = Part(reached, len(piece), f"{parts_prefix(document.id)}/{reached:012d}.{new_id()}")
                await self._blobs.put(part.key, piece)
                may_die_at("piece.stored")
                pending.append(part)
                reached += len(piece)
                if is_intact is None:
                    await self._keep(document.id, pending)
            if is_intact is not None:
                if not is_intact():
                    raise UPLOAD_CHECKSUM_WRONG()
                await self._keep(document.id, pending)
        finally:
            await self._blobs.delete([part.key for part in pending])
        if reached == document.size_bytes:
            await self.finish(document.id)
        return reached

    async def _keep(self, document_id: UUID, parts: list[Part]) -> None:
        """Put stored parts on record and empty the list; whoever came second at the same offset keeps nothing."""
        if not parts:
            return
        # Out of the list first: when the commit's answer is lost they may be on record, and must not be deleted.
        mine = parts.copy()
        parts.clear()
        async with self._db.transaction() as tx:
            kept = await store.add_parts(tx, document_id, mine, offset=mine[0].start, life_s=self._upload_life_s)
            may_die_at("piece.written")
        may_die_at("piece.recorded")
        if not kept:
            await self._blobs.delete([part.key for part in mine])
            raise UPLOAD_OFFSET_WRONG(offset=(await self._get(document_id)).received_bytes)

    async def finish(self, document_id: UUID) -> None:
        """Put the parts of a whole upload together and send it to inspection; it may be sent there already.

        Safe to repeat after any death, and to do twice at once. Raises `upload_ended` when the store has lost a part.
        """
        async with self._assembling:
            data = await self._joined(document_id)
            if data is None:
                return
            digest = await asyncio.to_thread(_sha256, data)
            await self._blobs.put(original_key(document_id), data)
        may_die_at("upload.joined")
        async with self._db.transaction() as tx:
            finished = await store.finish_receiving(tx, document_id, digest)
            if finished:
                await jobs.enqueue(tx, INSPECT, [document_id])
            may_die_at("join.written")
        may_die_at("join.recorded")
        if finished:
            self._bus.publish([INSPECT])
            await self._forget_parts(document_id)

    async def _joined(self, document_id: UUID) -> bytes | None:
        """The bytes of a whole upload; None when somebody else has ended it, whose original must not be replaced."""
        parts = await store.parts_of(self._db, document_id)
        if not parts:
            return None
        try:
            pieces = [await self._blobs.read(part.key) for part in parts]
        except BlobMissingError:
            pieces = []
        if [part.size_bytes for part in parts] == [len(piece) for piece in pieces]:
            return b"".join(pieces)
        if (await self._get(document_id)).state is not DocumentState.RECEIVING:
            return None
        _log.error("upload_part_lost", document=str(document_id))
        await self.abandon(document_id)
        raise UPLOAD_ENDED()

    async def _forget_parts(self, document_id: UUID) -> None:
        """Remove the stored parts of an ended upload, also those that a dying request left unrecorded."""
        await self._blobs.delete(await self._blobs.keys(parts_prefix(document_id)))

    async def abandon(self, document_id: UUID) -> bool:
        """End an upload that is under way and forget its bytes; False when it was not under way any more."""
        async with self._db.transaction() as tx:
            abandoned = await store.abandon(tx, document_id)
        if abandoned:
            await self._forget_parts(document_id)
        return abandoned

    async def sweep(self, limit: int = 100) -> int:
        """Finish uploads whose last request died, and abandon those whose life is over; answers how many.

        One whose parts the store has lost is ended; that, and one that it cannot read now, keeps no other waiting.
        """
        overdue = await store.overdue(self._db, limit)
        for document_id, whole in overdue:
            with contextlib.suppress(Refused):
                await (self.finish(document_id) if whole else self.abandon(document_id))
        return len(overdue)

    async def get(self, account_id: UUID, document_id: UUID, *, only_by: UUID | None = None) -> Document:
        """A document of this account, or of one member of a group. Raises `document_unknown`, also for others'."""
        document = await self._looks.submit(document_id)
        if document is None or document.account_id != account_id or document.state is DocumentState.ABANDONED:
            raise DOCUMENT_UNKNOWN()
        if only_by is not None and document.made_by != only_by:
            raise DOCUMENT_UNKNOWN()
        return document

    async def inspected(
        self, account_id: UUID, document_id: UUID, *, wait_s: float, only_by: UUID | None = None
    ) -> Document:
        """The document, once it is inspected, or as it is after `wait_s`."""

        async def look() -> Document:
            return await self.get(account_id, document_id, only_by=only_by)

        return await wait_for(
            self._bus, document_id, look=look, done=lambda it: it.state is not DocumentState.RECEIVED, wait_s=wait_s
        )

    async def of_account(
        self,
        account_id: UUID,
        *,
        before: tuple[datetime, UUID] | None = None,
        limit: int = 50,
        only_by: UUID | None = None,
    ) -> list[Document]:
        """An account's documents, or those of one member of a group, newest first."""
        return await store.of_account(self._db, account_id, before=before, limit=limit, only_by=only_by)

    def check_size(self, size_bytes: int) -> None:
        """Refuse a length that can never be accepted, before a byte is read."""
        if size_bytes == 0:
            raise DOCUMENT_EMPTY()
        if size_bytes > self.size_bytes_max:
            raise DOCUMENT_TOO_LARGE(size_bytes_max=self.size_bytes_max)

    def _refuse_unless_receiving(self, document: Document, offset: int) -> None:
        if document.state is not DocumentState.RECEIVING:
            raise UPLOAD_ENDED()
        if document.received_bytes != offset:
            raise UPLOAD_OFFSET_WRONG(offset=document.received_bytes)

    async def _get(self, document_id: UUID) -> Document:
        document = await store.find(self._db, document_id)
        if document is None:
            raise DOCUMENT_UNKNOWN()
        return document

    async def _find_many(self, ids: Sequence[UUID]) -> list[Document | None]:
        found = await store.find_many(self._db, ids)
        return [found.get(one) for one in ids]

    async def _record_many(self, arrivals: Sequence[Arrived]) -> list[None]:
        async with self._db.transaction() as tx:
            await store.insert_arrived(tx, arrivals)
            if kept := {one.id: one.enciphered_password for one in arrivals if one.enciphered_password}:
                await keep_passwords(tx, kept)
            left = [one for one in arrivals if one.state is DocumentState.RECEIVED]
            await jobs.enqueue(tx, INSPECT, [one.id for one in left], lanes=[one.lane for one in left])
            may_die_at("upload.written")
        may_die_at("upload.recorded")
        self._bus.publish([INSPECT])
        return [None] * len(arrivals)


def tidy_name(name: str) -> str:
    """A file name fit to show and to download again: no folders, no control characters, at most 200 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(character for character in last if character.isprintable()).strip()
    return printable[-_NAME_LENGTH_MAX:] or "dokumen.pdf"


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


async def _pieces_of(chunks: AsyncIterator[bytes], piece_bytes: int) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `piece_bytes`; when the sender goes away, what came so far is the last piece."""
    buffer = bytearray()
    try:
        async for chunk in chunks:
            buffer += chunk
            while len(buffer) >= piece_bytes:
                yield bytes(buffer[:piece_bytes])
                del buffer[:piece_bytes]
    except SenderGoneError:
        pass
    if buffer:
        yield bytes(buffer)
