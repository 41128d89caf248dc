"""A file was received when its last byte was safe: who records or inspects it later changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import msgspec
import pytest

from emeterai.core.stamping import DocumentState
from emeterai.infra.blobs import BlobStore
from emeterai.infra.ids import new_id
from emeterai.seal.service import SealEngine
from emeterai.stamping.documents import INSPECT, PIECE_BYTES, Documents
from emeterai.stamping.model import Document
from papers import PASSWORD, letter, locked
from spine import SIZE_BYTES_MAX, Died, Spine


class DyingStore(BlobStore):
    """A blob store in which nobody lives to keep an original."""

    async def put(self, key: str, data: bytes) -> None:
        """Store a part; die of an original."""
        if key.startswith("originals/"):
            raise Died
        await super().put(key, data)


async def sent(data: bytes) -> AsyncIterator[bytes]:
    """A request's body."""
    yield data


async def as_it_is(spine: Spine, document: Document) -> Document:
    """The document as it is now."""
    return await spine.documents.get(document.account_id, document.id)


async def received(spine: Spine, data: bytes) -> Document:
    """A file of a new person that came in one request, and is not inspected yet."""
    account_id = new_id()
    document_id = await spine.documents.receive(account_id, "surat.pdf", data)
    return await spine.documents.get(account_id, document_id)


async def inspect(spine: Spine, engine: SealEngine) -> None:
    """A sealer comes to it at last."""
    await spine.journey(engine).inspect(await spine.claim(INSPECT))


async def clock(spine: Spine) -> datetime:
    """The database's clock."""
    now: datetime = await spine.db.fetchval("SELECT clock_timestamp()")
    return now


@pytest.mark.parametrize("is_locked", [False, True])
async def test_inspection_does_not_make_a_file_later(spine: Spine, engine: SealEngine, *, is_locked: bool) -> None:
    """Neither that it was inspected after a backlog, nor that it had to be unlocked and inspected again."""
    document = await received(spine, locked(letter()) if is_locked else letter())
    before = document.whole_since
    assert before is not None
    await inspect(spine, engine)
    document = await as_it_is(spine, document)
    assert before == document.whole_since
    if is_locked:
        assert DocumentState.REFUSED is document.state
        assert await spine.documents.unlock(document, PASSWORD)
        assert before == (await as_it_is(spine, document)).whole_since
        await inspect(spine, engine)
    document = await as_it_is(spine, document)
    assert (DocumentState.READY, before) == (document.state, document.whole_since)
    assert document.changed_at > before


async def test_a_file_that_goes_on_record_late_was_here_before(spine: Spine) -> None:
    """As one that waits for its inspection or for the database, a minute here: never earlier than it was, either."""
    before = await clock(spine)
    kept = await spine.documents.keep(new_id(), "surat.pdf", letter())
    await spine.documents.record(msgspec.structs.replace(kept, safe_at_s=kept.safe_at_s - 60))
    late = (await spine.documents.get(kept.account_id, kept.id)).whole_since
    at_once = (await received(spine, letter(text="lain"))).whole_since
    assert late is not None
    assert at_once is not None
    assert before - timedelta(seconds=60) <= late <= await clock(spine) - timedelta(seconds=60)
    assert before <= at_once <= await clock(spine)


async def test_an_upload_in_pieces_is_received_with_its_last_piece(spine: Spine) -> None:
    """Its request dies before the pieces are put together; that the steward does so later changes nothing."""
    account_id, data = new_id(), letter(size_bytes=PIECE_BYTES + 1000)
    document_id = await spine.documents.begin(account_id, "surat.pdf", len(data))
    document = await spine.documents.get(account_id, document_id)
    await spine.documents.append(document, 0, sent(data[:1000]))
    document = await as_it_is(spine, document)
    assert (1000, None) == (document.received_bytes, document.received_at)
    assert spine.blobs._folder is not None
    dying = DyingStore.local(spine.blobs._folder)
    documents = Documents(spine.db, dying, spine.bus, spine.passwords, size_bytes_max=SIZE_BYTES_MAX, upload_life_s=60)
    with pytest.raises(Died):
        await documents.append(document, 1000, sent(data[1000:]))
    between = await clock(spine)
    document = await as_it_is(spine, document)
    assert (DocumentState.RECEIVING, None) == (document.state, document.whole_since)
    last_piece_at = document.changed_at
    await spine.documents.finish(document.id)
    document = await as_it_is(spine, document)
    assert (DocumentState.RECEIVED, document.received_at) == (document.state, document.whole_since)
    assert last_piece_at == document.whole_since
    assert last_piece_at <= between < document.changed_at


async def test_what_is_known_of_a_file_from_before_stays(spine: Spine, engine: SealEngine) -> None:
    """When it was received was not noted: what can be proved is not lost by inspecting it."""
    document = await received(spine, letter())
    async with spine.db.transaction() as tx:
        await tx.execute("UPDATE stamping.documents SET received_at = NULL WHERE id = $1", document.id)
    document = await as_it_is(spine, document)
    assert document.changed_at == document.whole_since
    await inspect(spine, engine)
    assert document.changed_at == (await as_it_is(spine, document)).whole_since
