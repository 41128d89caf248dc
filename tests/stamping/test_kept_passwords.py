"""Kept passwords: of use to the sealer, whatever is killed, and to nobody else, for no longer than needed."""

from __future__ import annotations

import asyncio
import io
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pikepdf
import pytest

from emeterai.core.ledger import Reason
from emeterai.core.refusal import Refused
from emeterai.core.stamping import DocumentState, StampState
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.seal.model import Box, SealedTail
from emeterai.seal.service import SealEngine, load_signer
from emeterai.stamping.documents import INSPECT
from emeterai.stamping.model import Document, Stamp, StampWanted
from emeterai.stamping.passwords import TRIES_MAX, Passwords, keep_passwords
from papers import PASSWORD, letter, locked
from spine import SIZE_BYTES_MAX, Died, Spine

BOX = Box(430, 40, 530, 140)


class LockedSpine(Spine):
    """A spine with the real engine, and what the tests here do to documents."""

    engine: SealEngine

    async def document(self, content: bytes, password: str | None = PASSWORD, *, owner: UUID | None = None) -> Document:
        """A document that was sent with a password, inspected."""
        account_id = owner or await self.person(5)
        document_id = await self.documents.receive(account_id, "surat.pdf", content, password=password)
        await self.inspect()
        return await self.documents.get(account_id, document_id)

    async def inspect(self) -> None:
        """A sealer inspects what waits."""
        await self.journey(self.engine).inspect(await self.claim(INSPECT))

    async def seal(self) -> None:
        """A sealer seals what waits."""
        await self.journey(self.engine).seal(await self.claim())

    async def stamp_on(self, document: Document, *, additional: bool = False) -> Stamp:
        """A held stamp, as the desk asks for it."""
        assert document.digest is not None
        kept = (await self.passwords.kept([document.id])).get(document.id)
        stamp, _ = await self.stamping.ask(
            StampWanted(
                account_id=document.account_id,
                document_id=document.id,
                digest=document.digest,
                page=1,
                box=BOX,
                additional=additional,
                idempotency_key=None,
                request_digest=secrets.token_bytes(32),
                enciphered_password=self.passwords.enciphered(document.id, kept) if kept else None,
            )
        )
        return stamp

    async def rows(self) -> list[UUID]:
        """Of which documents there is a password in the table."""
        return [row["document_id"] for row in await self.db.fetch("SELECT document_id FROM stamping.passwords")]

    async def write(self, statement: str) -> None:
        """Meddle with the table."""
        await self._write(statement)


class Dying:
    """A sealer that seals and reads back, and dies before anybody hears of it."""

    def __init__(self, real: SealEngine) -> None:
        self.inspect, self.repair, self.seal = real.inspect, real.repair, real.seal

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """Die."""
        raise Died


@pytest.fixture(scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SealEngine]:
    """A running engine with a local test authority."""
    signer = load_signer(folder=tmp_path_factory.mktemp("authority"))
    engine = await SealEngine.start(signer=signer, size_bytes_max=SIZE_BYTES_MAX)
    yield engine
    await engine.close()


@pytest.fixture
def spine(db: Database, tmp_path: Path, engine: SealEngine) -> LockedSpine:
    """The spine on this test's own database."""
    spine = LockedSpine(db, tmp_path / "blobs")
    spine.engine = engine
    return spine


async def test_the_next_sealer_opens_the_file_too(spine: LockedSpine) -> None:
    """One dies before it settles; the password is still there for the next, and gone with the settlement."""
    document = await spine.document(locked(letter()))
    stamp = await spine.stamp_on(document)
    with pytest.raises(Died):
        await spine.journey(Dying(spine.engine)).seal(await spine.claim())
    assert [document.id] == await spine.rows()
    assert 1 == await spine.let_leases_run_out()
    await spine.seal()
    assert StampState.SEALED is (await spine.now(stamp)).state
    assert [] == await spine.rows()
    await spine.assert_sound(stamp)


async def test_the_next_inspector_opens_the_file_too(spine: LockedSpine) -> None:
    """A claim is lost; the next one finds the password, and a late first one changes nothing."""
    account_id = await spine.person(1)
    document_id = await spine.documents.receive(account_id, "a.pdf", locked(letter()), password=PASSWORD)
    lost = await spine.claim(INSPECT)
    await spine.let_leases_run_out()
    await spine.inspect()
    found = await spine.documents.get(account_id, document_id)
    assert (DocumentState.READY, True) == (found.state, found.locked)
    await spine.journey(spine.engine).inspect(lost)
    assert found == await spine.documents.get(account_id, document_id)
    assert [document_id] == await spine.rows()


async def test_a_unit_that_goes_back_takes_the_password_with_it(spine: LockedSpine) -> None:
    """Unless another stamp on the same document is still held: then that one's end does."""
    alone = await spine.stamp_on(await spine.document(locked(letter())))
    await spine.endings.give_back({alone.id: (Reason.EXPIRED, None)})
    assert [] == await spine.rows()
    document = await spine.document(locked(letter()))
    first, second = await spine.stamp_on(document), await spine.stamp_on(document, additional=True)
    await spine.endings.give_back({first.id: (Reason.EXPIRED, None)})
    assert [document.id] == await spine.rows()
    await spine.seal()
    assert StampState.SEALED is (await spine.now(second)).state
    assert [] == await spine.rows()
    await spine.assert_sound(alone, first, second)


@pytest.mark.parametrize(
    "meddle",
    [
        "UPDATE stamping.passwords SET enciphered = set_byte(enciphered, 20, get_byte(enciphered, 20) # 1)",
        "UPDATE stamping.passwords SET enciphered = set_byte(enciphered, 0, get_byte(enciphered, 0) # 1)",
        "UPDATE stamping.passwords SET enciphered = substr(enciphered, 1, length(enciphered) - 1)",
        "DELETE FROM stamping.passwords",
    ],
    ids=["content", "nonce", "cut", "gone"],
)
async def test_an_altered_password_is_no_password(spine: LockedSpine, meddle: str) -> None:
    """While the stamp is held: its unit goes back, by name. Before inspection: the document says what it wants."""
    stamp = await spine.stamp_on(await spine.document(locked(letter())))
    await spine.write(meddle)
    await spine.seal()
    now = await spine.now(stamp)
    assert (StampState.GIVEN_BACK, "pdf_encrypted") == (now.state, now.refusal_code)
    assert (5, 0) == ((await spine.balance(stamp)).available, (await spine.balance(stamp)).held)
    await spine.assert_sound(stamp)

    document_id = await spine.documents.receive(stamp.account_id, "a.pdf", locked(letter()), password=PASSWORD)
    await spine.write(meddle)
    await spine.inspect()
    document = await spine.documents.get(stamp.account_id, document_id)
    assert ("pdf_encrypted", True, False) == (document.refusal_code, document.wants_password, document.locked)
    assert await spine.documents.unlock(document, PASSWORD)
    assert not await spine.documents.unlock(document, PASSWORD)
    await spine.inspect()
    assert DocumentState.READY is (await spine.documents.get(stamp.account_id, document_id)).state


async def test_a_password_is_bound_to_its_document_and_to_this_installation(spine: LockedSpine, db: Database) -> None:
    """A row copied to another document, or read with another secret, opens nothing; equal ones do not look equal."""
    one = await spine.document(locked(letter()))
    other = await spine.document(locked(letter()), owner=one.account_id)
    assert {one.id: PASSWORD, other.id: PASSWORD} == await spine.passwords.kept([one.id, other.id])
    assert spine.passwords.enciphered(one.id, PASSWORD) != spine.passwords.enciphered(one.id, PASSWORD)
    assert {} == await Passwords(db, b"another secret of thirty-two bytes").kept([one.id, other.id])
    await spine.write(
        f"UPDATE stamping.passwords SET enciphered = (SELECT enciphered FROM stamping.passwords"
        f" WHERE document_id = '{other.id}') WHERE document_id = '{one.id}'"
    )
    assert {other.id: PASSWORD} == await spine.passwords.kept([one.id, other.id])


async def test_a_password_lives_an_hour_or_as_long_as_a_stamp_is_held(spine: LockedSpine) -> None:
    """By the database's clock; over, it opens nothing, and the steward removes it."""
    left, held = await spine.document(locked(letter())), await spine.document(locked(letter()))
    stamp = await spine.stamp_on(held)
    life = await spine.db.fetch("SELECT expires_at - now() AS left FROM stamping.passwords")
    assert [True, True] == [3_500 < row["left"].total_seconds() <= 3_600 for row in life]
    assert 0 == await spine.passwords.sweep()
    await spine.write("UPDATE stamping.passwords SET expires_at = now()")
    assert {held.id: PASSWORD} == await spine.passwords.kept([left.id, held.id])
    assert 1 == await spine.passwords.sweep()
    assert [held.id] == await spine.rows()
    await spine.seal()
    assert StampState.SEALED is (await spine.now(stamp)).state
    assert [] == await spine.rows()


async def test_a_stamp_is_never_held_without_its_password(spine: LockedSpine) -> None:
    """Forgotten between the look at the file and the hold, it is there again with the hold."""
    document = await spine.document(locked(letter()))
    first = await spine.stamp_on(document)
    second = StampWanted(
        account_id=document.account_id,
        document_id=document.id,
        digest=first.digest,
        page=1,
        box=BOX,
        additional=True,
        idempotency_key=None,
        request_digest=bytes(32),
        enciphered_password=spine.passwords.enciphered(document.id, PASSWORD),
    )
    await spine.seal()
    assert [] == await spine.rows()
    stamp, _ = await spine.stamping.ask(second)
    await spine.seal()
    assert StampState.SEALED is (await spine.now(stamp)).state


async def test_a_hold_on_its_way_keeps_its_password(spine: LockedSpine) -> None:
    """Who forgets while another request's hold is being written waits for it, and then sees that it is held."""
    document = await spine.document(locked(letter()))
    stamp = await spine.stamp_on(document)
    kept = {document.id: spine.passwords.enciphered(document.id, PASSWORD)}
    other = await spine.document(letter(), None)
    move = "UPDATE stamping.stamps SET document_id = $1 WHERE id = $2"
    async with spine.db.transaction() as tx:
        await tx.execute(move, other.id, stamp.id)
    async with spine.db.transaction() as hold:
        await keep_passwords(hold, kept)
        forgetting = asyncio.create_task(spine.passwords.forget_unless_held(document.id))
        await asyncio.sleep(0.3)
        await hold.execute(move, document.id, stamp.id)
    await forgetting
    assert {document.id: PASSWORD} == await spine.passwords.kept([document.id])


async def test_files_without_a_password_never_ask_for_one(spine: LockedSpine, database_url: str) -> None:
    """Not one statement: with passwords out of reach they are sent, inspected and sealed all the same."""
    away = await Database.connect(database_url, connections_max=1, wait_s=1)
    await away.close()
    spine.passwords = Passwords(away, bytes(32))
    document = await spine.document(letter(), None)
    stamp = await spine.stamping.ask(
        StampWanted(
            account_id=document.account_id,
            document_id=document.id,
            digest=document.digest or b"",
            page=1,
            box=BOX,
            additional=False,
            idempotency_key=None,
            request_digest=bytes(32),
        )
    )
    await spine.seal()
    assert StampState.SEALED is (await spine.now(stamp[0])).state


async def test_what_is_damaged_and_locked_is_repaired_with_the_password(spine: LockedSpine) -> None:
    """The repaired file is locked in the same way, and the seal goes on that."""
    damaged = locked(letter()).replace(b"startxref", b"startxxxx")
    document = await spine.document(damaged)
    assert (DocumentState.READY, True) == (document.state, document.locked)
    assert document.repaired_key is not None
    stamp = await spine.stamp_on(document)
    await spine.seal()
    now = await spine.now(stamp)
    assert StampState.SEALED is now.state
    content = await spine.sealed_file(now)
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(io.BytesIO(content))
    with pikepdf.open(io.BytesIO(content), password=PASSWORD) as pdf:
        assert 1 == len(pdf.Root.AcroForm.Fields)


async def refused(trying: Callable[[], Awaitable[object]]) -> str | None:
    """The code of the refusal, if any."""
    try:
        await trying()
    except Refused as refusal:
        return refusal.code
    return None


async def test_tries_are_counted_by_account_and_file(spine: LockedSpine) -> None:
    """Ten, then no more; another file, another account, or another hour is another count; old counts are swept."""
    me, other, file, another = new_id(), new_id(), bytes(32), b"x" * 32
    for _ in range(TRIES_MAX):
        assert None is await refused(lambda: spine.passwords.take_try(me, file))
    assert "password_tries_over" == await refused(lambda: spine.passwords.take_try(me, file))
    assert None is await refused(lambda: spine.passwords.take_try(me, another))
    assert None is await refused(lambda: spine.passwords.take_try(other, file))
    await spine.write("UPDATE stamping.password_tries SET ends_at = now() WHERE tries > 1")
    assert None is await refused(lambda: spine.passwords.take_try(me, file))
    await spine.write("UPDATE stamping.password_tries SET ends_at = now()")
    await spine.passwords.sweep()
    assert 0 == await spine.db.fetchval("SELECT count(*) FROM stamping.password_tries")


def test_a_short_secret_enciphers_nothing(spine: LockedSpine) -> None:
    """It would be a fault of the installation."""
    with pytest.raises(ValueError, match="32 bytes"):
        Passwords(spine.db, b"short")
