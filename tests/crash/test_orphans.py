"""Blobs that nothing points to go after a while; what a row points to, or may yet point to, stays."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import failing
import pytest

from emeterai.core.ledger import Reason
from emeterai.infra.clock import utc_now
from emeterai.infra.ids import new_id
from emeterai.seal.service import SealEngine
from emeterai.stamping import orphans as module
from emeterai.stamping.documents import Documents
from emeterai.stamping.model import original_key
from emeterai.stamping.orphans import Orphans
from papers import letter
from spine import Died, Spine, some_seal


def steward(spine: Spine, *, age_s: float = 0.0, second_look_s: float = 0.0) -> Orphans:
    """A steward to whom every blob is old and every second look is due, unless something else is said."""

    def later() -> object:
        return utc_now() + timedelta(seconds=1)

    return Orphans(spine.db, spine.blobs, clock=later, age_s=age_s, second_look_s=second_look_s)  # type: ignore[arg-type]


async def swept(steward: Orphans) -> int:
    """A whole pass, and the second look at what it suspected."""
    first = await steward.sweep()
    return first + await steward.sweep()


async def keys(spine: Spine) -> set[str]:
    """Every blob there is."""
    return {key for prefix in module._PREFIXES for key in await spine.blobs.keys(prefix)}


async def test_what_rows_point_to_stays(spine: Spine, engine: SealEngine) -> None:
    """A sealed file, a held stamp with what was made for it, a document, an upload under way."""
    sealed = await spine.held()
    await spine.journey(engine).seal(await spine.claim())
    held = await spine.held()
    await spine.blobs.put(f"tails/{held.id}.1", b"made and not settled yet")
    upload = await spine.documents.begin(new_id(), "surat.pdf", 10)
    await spine.blobs.put(f"parts/{upload}/000000000000.x", b"12345")
    before = await keys(spine)
    assert 0 == await swept(steward(spine))
    await spine._write("DELETE FROM infra.jobs")
    assert 0 == await swept(steward(spine))
    assert before == await keys(spine)
    assert await spine.sealed_file(await spine.now(sealed))


async def test_the_tail_of_a_failed_attempt_goes(spine: Spine, engine: SealEngine) -> None:
    """Of a stamp that was sealed by the second attempt, and of one that was given back."""
    stamp = await spine.held()
    with pytest.raises(Died):
        await spine.journey(failing.DiesBeforeSettle(engine)).seal(await spine.claim())
    await spine.let_leases_run_out()
    await spine.journey(engine).seal(await spine.claim())
    lost = await spine.held()
    await spine.blobs.put(f"tails/{lost.id}.1", b"made and never settled")
    await spine.endings.give_back({lost.id: (Reason.EXPIRED, None)})
    assert 2 == await swept(steward(spine))
    assert {f"tails/{stamp.id}.2"} == {key for key in await keys(spine) if key.startswith("tails/")}
    assert await spine.sealed_file(await spine.now(stamp))


async def test_originals_without_a_record_and_parts_of_ended_uploads_go(spine: Spine) -> None:
    """The process died between the bytes and the row; the upload was abandoned and a late request stored more."""
    upload = await spine.documents.begin(new_id(), "surat.pdf", 10)
    await spine.documents.abandon(upload)
    await spine.blobs.put(f"parts/{upload}/000000000000.x", b"12345")
    await spine.blobs.put(original_key(upload), b"1234567890")
    await spine.blobs.put(original_key(new_id()), b"nobody's")
    assert 3 == await swept(steward(spine))
    assert set() == await keys(spine)


async def test_a_young_blob_is_left_alone(spine: Spine) -> None:
    """Whatever the database says: its row may be on its way."""
    await spine.blobs.put(original_key(new_id()), b"nobody's yet")
    assert 0 == await swept(steward(spine, age_s=3_600))


class Meanwhile(Documents):
    """A sender whose bytes are stored, and whose record comes only after the steward has been there."""

    steward: Orphans

    async def _record_many(self, arrivals: object) -> list[None]:
        assert 0 == await self.steward.sweep()
        return await super()._record_many(arrivals)  # type: ignore[arg-type]


async def test_a_blob_whose_row_comes_between_two_looks_is_not_removed(spine: Spine) -> None:
    """The steward suspects it, the row commits, the second look finds it. Without a second look it would be gone."""
    documents = Meanwhile(spine.db, spine.blobs, spine.bus, spine.passwords, size_bytes_max=1_000_000, upload_life_s=60)
    documents.steward = steward(spine)
    data = letter()
    document_id = await documents.receive(new_id(), "surat.pdf", data)
    assert [original_key(document_id)] == list(documents.steward._suspects)
    assert 0 == await documents.steward.sweep()
    assert data == await spine.blobs.read(original_key(document_id))


async def test_a_suspect_is_looked_at_again_only_later(spine: Spine) -> None:
    """Between the two looks lies time in which whoever was under way has come to an end."""
    await spine.blobs.put(original_key(new_id()), b"nobody's")
    patient = steward(spine, second_look_s=3_600)
    assert 0 == await swept(patient)
    patient._second_look_s = 0
    assert 1 == await patient.sweep()


async def test_what_is_not_understood_is_never_touched(spine: Spine) -> None:
    """The tail of a stamp that the database does not know, other names, other folders."""
    strange = {f"tails/{new_id()}.1", f"repaired/{new_id()}.1", "originals/readme", "keys/old"}
    for key in strange:
        await spine.blobs.put(key, b"x")
    assert 0 == await swept(steward(spine))
    assert strange == await keys(spine) | set(await spine.blobs.keys("keys"))


async def test_a_wrong_database_loses_nothing(spine: Spine) -> None:
    """Where most of the originals have no row, it is the database that is not the right one."""
    for _ in range(module._TOO_MANY):
        await spine.blobs.put(original_key(new_id()), b"x")
    assert 0 == await swept(steward(spine))
    assert module._TOO_MANY == len(await keys(spine))


async def test_many_parts_of_one_ended_upload_go(spine: Spine) -> None:
    """They are many, and the database knows whose they were: it is the right one."""
    upload = await spine.documents.begin(new_id(), "surat.pdf", 10)
    await spine.documents.abandon(upload)
    for start in range(module._TOO_MANY):
        await spine.blobs.put(f"parts/{upload}/{start:012d}.x", b"1")
    assert module._TOO_MANY == await swept(steward(spine))
    assert set() == await keys(spine)


async def test_a_run_is_bounded_and_the_walk_goes_on(spine: Spine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run looks at so many pieces; in the end all were seen, and then the walk rests."""
    monkeypatch.setattr("emeterai.infra.blobs._KEYS_A_PIECE", 2)
    monkeypatch.setattr(module, "_PIECES_A_RUN", 1)
    for _ in range(5):
        await spine.blobs.put(original_key(new_id()), b"x")
    slow = steward(spine)
    assert [0, 2, 2, 1] == [await slow.sweep() for _ in range(4)]
    await spine.blobs.put(original_key(new_id()), b"x")
    assert [0] * 3 == [await slow.sweep() for _ in range(3)]


async def test_leavings_of_a_dead_process_go(spine: Spine, tmp_path: Path) -> None:
    """An empty folder of an upload and a half-written file, when they are old; nothing else."""
    folder = tmp_path / "blobs"
    await spine.blobs.put("parts/kept/1", b"x")
    (folder / "parts" / "empty").mkdir()
    (folder / "parts" / "young").mkdir()
    (folder / "originals").mkdir()
    (folder / "originals" / "half#1").write_bytes(b"x")
    (folder / "originals" / "half#2").write_bytes(b"x")
    long_ago = time.time() - 90_000
    for name in ("parts/empty", "parts/kept", "originals/half#1"):
        os.utime(folder / name, (long_ago, long_ago))
    assert 2 == await spine.blobs.drop_leavings(older_than_s=module.AGE_S)
    left = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    assert {"parts", "parts/kept", "parts/kept/1", "parts/young", "originals", "originals/half#2"} == left


async def test_an_addendum_stays_and_so_does_one_whose_job_is_under_way(spine: Spine) -> None:
    """What raised a sealed file belongs to it; what may raise it is not judged yet."""
    stamp = await spine.held()
    await spine.endings.settle(
        await spine.claim(), {stamp.id: stamp}, {stamp.id: some_seal(stamp, f"tails/{stamp.id}.1")}
    )
    made = [f"tails/{stamp.id}.1", f"tails/{stamp.id}.addendum-1.1", f"tails/{stamp.id}.addendum-1.2"]
    for key in made:
        await spine.blobs.put(key, b"x")
    async with spine.db.transaction() as tx:
        await tx.execute("INSERT INTO infra.jobs (id, kind) VALUES ($1, 'upgrade')", stamp.id)
    assert 0 == await swept(steward(spine))
    async with spine.db.transaction() as tx:
        await tx.execute("DELETE FROM infra.jobs")
        await tx.execute(
            "UPDATE stamping.stamps SET addendum_keys = ARRAY[$2], addendum_bytes = ARRAY[1] WHERE id = $1",
            stamp.id,
            made[1],
        )
    assert 1 == await swept(steward(spine))
    assert set(made[:2]) == {key for key in await keys(spine) if key.startswith("tails/")}
