"""An upload that anybody dies in the middle of ends whole or abandoned: never with other bytes than were sent."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import failing
import pytest

from emeterai.core.refusal import Refused
from emeterai.core.stamping import DocumentState
from emeterai.infra import jobs
from emeterai.infra.blobs import BlobStore
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id
from emeterai.seal.service import SealEngine
from emeterai.stamping.documents import INSPECT, Documents
from emeterai.stamping.model import Document, original_key
from papers import letter
from spine import SIZE_BYTES_MAX, Died, Spine


class DeafDatabase(Database):
    """A database whose every commit is done and whose answer is lost."""

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Commit, then hear nothing."""
        async with super().transaction() as tx:
            yield tx
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


class DyingStore(BlobStore):
    """A blob store after whose `last` put the process ends."""

    last: str

    async def put(self, key: str, data: bytes) -> None:
        """Store, then die when it was the one."""
        await super().put(key, data)
        if key.startswith(self.last):
            raise Died


async def sent(data: bytes) -> AsyncIterator[bytes]:
    """A request's body."""
    yield data


async def begin(spine: Spine, data: bytes) -> Document:
    """An upload of a new person, of which no byte has come."""
    account_id = new_id()
    document_id = await spine.documents.begin(account_id, "surat.pdf", len(data))
    return await spine.documents.get(account_id, document_id)


def documents_with(spine: Spine, *, db: Database | None = None, blobs: BlobStore | None = None) -> Documents:
    """The same service with another part."""
    return Documents(
        db or spine.db,
        blobs or spine.blobs,
        spine.bus,
        spine.passwords,
        size_bytes_max=SIZE_BYTES_MAX,
        upload_life_s=60,
    )


async def begin_and_die(spine: Spine, data: bytes, *, last: str = "originals/") -> Document:
    """An upload of a new person, whose request dies once its first blob below `last` is stored."""
    document = await begin(spine, data)
    assert spine.blobs._folder is not None
    dying = DyingStore.local(spine.blobs._folder)
    assert isinstance(dying, DyingStore)
    dying.last = last
    with pytest.raises(Died):
        await documents_with(spine, blobs=dying).append(document, 0, sent(data))
    return document


async def sweep_later(spine: Spine, document_id: UUID) -> None:
    """The steward comes by when the upload has been silent for a while."""
    async with spine.db.transaction() as tx:
        await tx.execute(
            "UPDATE stamping.documents SET changed_at = now() - interval '1 minute' WHERE id = $1", document_id
        )
    await spine.documents.sweep()


async def assert_whole(spine: Spine, document: Document, data: bytes) -> None:
    """It is received, its bytes are those that were sent, and one job waits to inspect it."""
    now = await spine.documents.get(document.account_id, document.id)
    assert (DocumentState.RECEIVED, hashlib.sha256(data).digest()) == (now.state, now.digest)
    assert data == await spine.blobs.read(document.original_key)
    assert {INSPECT: 1} == {kind: depth for kind, (depth, _) in (await jobs.queue_depths(spine.db)).items()}
    assert [] == await spine.blobs.keys("parts/")


async def test_who_finishes_second_does_not_touch_the_original(spine: Spine) -> None:
    """A slow request comes to putting the parts together after the steward did: the original stays as it is."""
    data = letter()
    document = await begin(spine, data)
    await spine.documents.append(document, 0, sent(data))
    await spine.documents.finish(document.id)
    await assert_whole(spine, document, data)


async def test_many_may_finish_at_once(spine: Spine) -> None:
    """The request, its repetition and two stewards put the same parts together: nobody sees an error."""
    data = letter(size_bytes=200_000)
    document = await begin_and_die(spine, data)
    await asyncio.gather(*(spine.documents.finish(document.id) for _ in range(4)))
    await assert_whole(spine, document, data)


@pytest.mark.parametrize("last", ["parts/", "originals/"])
async def test_an_upload_whose_request_died_goes_on(spine: Spine, last: str) -> None:
    """A part that was stored and not recorded is sent again; a whole upload that was not finished is finished."""
    data = letter()
    document = await begin_and_die(spine, data, last=last)
    document = await spine.documents.get(document.account_id, document.id)
    if last == "parts/":
        assert 0 == document.received_bytes
        assert len(data) == await spine.documents.append(document, 0, sent(data))
    else:
        assert len(data) == document.received_bytes
        await sweep_later(spine, document.id)
    await assert_whole(spine, document, data)


async def test_parts_on_record_are_kept_when_the_answer_of_the_commit_is_lost(spine: Spine, database_url: str) -> None:
    """The database commits and dies before it says so: the parts that it has on record are still there."""
    data = letter()
    document = await begin(spine, data)
    deaf = await DeafDatabase.connect(database_url, connections_max=2, wait_s=5)
    with pytest.raises(asyncpg.ConnectionDoesNotExistError):
        await documents_with(spine, db=deaf).append(document, 0, sent(data))
    await deaf.close()
    assert len(data) == (await spine.documents.get(document.account_id, document.id)).received_bytes
    await sweep_later(spine, document.id)
    await assert_whole(spine, document, data)


async def test_an_upload_that_the_store_cannot_read_keeps_nobody_else_waiting(spine: Spine) -> None:
    """The disk fails under one upload: it stays for the next sweep, and the one behind it is finished."""
    broken, sound = await begin_and_die(spine, letter()), await begin_and_die(spine, letter())
    assert spine.blobs._folder is not None
    parts = spine.blobs._folder / "parts" / str(broken.id)
    parts.rename(parts.with_name("away"))
    parts.write_bytes(b"no folder")
    async with spine.db.transaction() as tx:
        await tx.execute("UPDATE stamping.documents SET changed_at = now() - interval '1 minute'")
    assert 2 == await spine.documents.sweep()
    assert DocumentState.RECEIVED is (await spine.documents.get(sound.account_id, sound.id)).state
    assert DocumentState.RECEIVING is (await spine.documents.get(broken.account_id, broken.id)).state
    parts.unlink()
    parts.with_name("away").rename(parts)
    await sweep_later(spine, broken.id)
    assert DocumentState.RECEIVED is (await spine.documents.get(broken.account_id, broken.id)).state


async def test_an_upload_whose_bytes_are_lost_is_ended_and_keeps_nobody_else_waiting(spine: Spine) -> None:
    """A blob store that lost a part ends that upload, for its owner to begin again; the next one is finished."""
    data = letter()
    broken, sound = await begin_and_die(spine, letter()), await begin_and_die(spine, data)
    await spine.blobs.delete(await spine.blobs.keys(f"parts/{broken.id}"))
    await sweep_later(spine, broken.id)
    await sweep_later(spine, sound.id)
    await assert_whole(spine, sound, data)
    with pytest.raises(Refused, match="document_unknown"):
        await spine.documents.get(broken.account_id, broken.id)


@pytest.mark.parametrize("lost", [False, True])
async def test_a_document_whose_inspection_died_is_inspected_again(
    spine: Spine, engine: SealEngine, lost: bool
) -> None:
    """A worker dies with a document in its hand, or its file is gone: it ends ready, or refused by name."""
    account_id = new_id()
    document_id = await spine.documents.receive(account_id, "surat.pdf", letter())
    if lost:
        await spine.blobs.delete([original_key(document_id)])
    await jobs.claim(spine.db, [INSPECT], worker=new_id(), limit=1, lease_s=60)
    for _ in range(3):
        await spine.let_leases_run_out()
        await spine.journey(engine).inspect(await spine.claim(INSPECT))
    document = await spine.documents.get(account_id, document_id)
    assert (DocumentState.REFUSED if lost else DocumentState.READY) is document.state
    assert ("file_not_opened" if lost else None) == document.refusal_code
    assert {} == await jobs.queue_depths(spine.db)


async def test_a_late_inspection_does_not_change_what_was_found(spine: Spine, engine: SealEngine) -> None:
    """A worker that slept past its lease brings its report too late: the first one stands."""
    account_id = new_id()
    document_id = await spine.documents.receive(account_id, "surat.pdf", letter())
    late = await jobs.claim(spine.db, [INSPECT], worker=new_id(), limit=1, lease_s=60)
    await spine.let_leases_run_out()
    claims = await jobs.claim(spine.db, [INSPECT], worker=new_id(), limit=1, lease_s=60)
    await spine.journey(engine).inspect(claims)
    found = await spine.documents.get(account_id, document_id)
    await spine.journey(failing.Engine(engine)).inspect(late)
    assert found == await spine.documents.get(account_id, document_id)
