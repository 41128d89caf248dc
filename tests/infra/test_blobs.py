"""Blobs: what was put is there, whole and in parts, and is still there after a restart."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emeterai.core.refusal import Refused
from emeterai.infra.blobs import CHUNK_BYTES, BlobMissingError, BlobStore

DATA = bytes(range(256)) * 4_000
"""1,024,000 bytes: three whole pieces and a part of a fourth."""


@pytest.fixture(params=["local", "url"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """A local folder, and the same through a URL as a remote store would be reached."""
    if request.param == "local":
        return BlobStore.local(tmp_path / "blobs")
    (tmp_path / "remote").mkdir()
    return BlobStore.at_url(f"file://{tmp_path}/remote")


async def bytes_of(store: BlobStore, start: int, end: int) -> tuple[bytes, int]:
    """A streamed range, and its longest piece."""
    pieces = [piece async for piece in store.stream("a/b", start, end)]
    return b"".join(pieces), max(map(len, pieces), default=0)


async def test_what_was_put_is_read(store: BlobStore) -> None:
    """All bytes, and their number; an empty blob too."""
    await store.put("a/b", DATA)
    await store.put("a/empty", b"")
    assert DATA == await store.read("a/b")
    assert len(DATA) == await store.size_bytes("a/b")
    assert (b"", 0) == (await store.read("a/empty"), await store.size_bytes("a/empty"))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, len(DATA)),
        (0, 1),
        (len(DATA) - 1, len(DATA)),
        (CHUNK_BYTES - 1, CHUNK_BYTES + 1),
        (CHUNK_BYTES, 2 * CHUNK_BYTES),
        (5, 5),
    ],
)
async def test_a_range_is_streamed_in_bounded_pieces(store: BlobStore, start: int, end: int) -> None:
    """The asked bytes and no others; no piece fills the memory."""
    await store.put("a/b", DATA)
    streamed, longest = await bytes_of(store, start, end)
    assert DATA[start:end] == streamed
    assert longest <= CHUNK_BYTES


async def test_a_blob_is_a_file_for_a_while(store: BlobStore) -> None:
    """A limited process can open it by its path."""
    await store.put("a/b", DATA)
    async with store.as_file("a/b") as path:
        assert DATA == path.read_bytes()


async def test_a_missing_blob_is_told_by_name(store: BlobStore) -> None:
    """Every way to it says so."""
    for look in (store.read, store.size_bytes, lambda key: store.as_file(key).__aenter__()):
        with pytest.raises(BlobMissingError, match="no/such"):
            await look("no/such")


async def test_keys_are_listed_below_a_prefix(store: BlobStore) -> None:
    """Sorted, whole, and only those below."""
    for key in ("tails/2.1", "tails/1.1", "tails/1.2", "originals/1"):
        await store.put(key, b"x")
    assert ["tails/1.1", "tails/1.2", "tails/2.1"] == await store.keys("tails")
    assert [] == await store.keys("parts")


async def test_deleted_blobs_are_gone_and_may_be_deleted_again(store: BlobStore) -> None:
    """One that is missing does not keep the next from being deleted."""
    for key in ("a/b", "a/c"):
        await store.put(key, b"x")
    await store.delete(["a/b", "a/missing", "a/c"])
    await store.delete(["a/b"])
    assert [] == await store.keys("a")


async def test_a_local_store_survives_reopening(tmp_path: Path) -> None:
    """The folder is all there is."""
    await BlobStore.local(tmp_path / "blobs").put("a/b", DATA)
    assert DATA == await BlobStore.local(tmp_path / "blobs").read("a/b")


async def test_a_local_store_is_the_owners_only(tmp_path: Path) -> None:
    """Other users of the machine cannot enter it."""
    BlobStore.local(tmp_path / "blobs")
    assert "0o700" == oct((tmp_path / "blobs").stat().st_mode & 0o777)


async def test_a_put_leaves_no_half_written_file(tmp_path: Path) -> None:
    """Nothing but the blob is in the folder afterwards."""
    await BlobStore.local(tmp_path / "blobs").put("a/b", DATA)
    names = [name for _, _, files in os.walk(tmp_path / "blobs") for name in files]
    assert ["b"] == names


async def test_a_store_that_cannot_write_refuses_politely(tmp_path: Path) -> None:
    """Whatever the disk says, it is no crash: the sender is told to come again. What was there is untouched."""
    store = BlobStore.local(tmp_path / "blobs")
    await store.put("a", DATA)
    with pytest.raises(Refused, match="storage_away"):
        await store.put("a/b", DATA)
    assert DATA == await store.read("a")


async def test_a_store_that_cannot_read_refuses_politely(store: BlobStore) -> None:
    """An error of the store is no missing blob and no crash of ours: who asked is told to come again."""
    await store.put("a", DATA)
    for look in (store.read, store.size_bytes, lambda key: store.delete([key])):
        with pytest.raises(Refused, match="storage_away"):
            await look("a/b")
    assert DATA == await store.read("a")
