"""The spine without the whole service: journey, endings and ledger on a real database and a real blob store."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from uuid import UUID

from emeterai.core.ledger import Balance, Kind, Reason, Transfer
from emeterai.core.stamping import StampState
from emeterai.infra import jobs
from emeterai.infra.blobs import BlobStore
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.jobs import Claim
from emeterai.ledger.check import check_ledger
from emeterai.ledger.serials import SerialRegister
from emeterai.ledger.service import Ledger
from emeterai.seal.model import Box, Report, SealedTail, SealOrder
from emeterai.stamping.audit import check_all_stamps
from emeterai.stamping.documents import INSPECT, Documents
from emeterai.stamping.endings import Endings
from emeterai.stamping.journey import Engine, Journey
from emeterai.stamping.model import Stamp, StampWanted
from emeterai.stamping.passwords import Passwords
from emeterai.stamping.service import SEAL, Stamping
from emeterai.stamping.store import Sealed
from papers import letter

SIZE_BYTES_MAX = 5_000_000
BOX = Box(430, 40, 530, 140)


class Died(BaseException):
    """A process that ends here: nothing after this line of it happens."""


class _Clerk:
    """Inspects letters without opening them: here it is not inspection that is tried."""

    async def inspect(self, path: Path, *, password: str | None = None) -> Report:
        """One page of A4."""
        return Report(
            pages=1,
            size_bytes=path.stat().st_size,
            pdf_version="1.7",
            signatures=0,
            page_sizes_pt=[(595, 842)],
            notes=[],
        )

    async def repair(self, path: Path, *, password: str | None = None) -> bytes:
        """Never asked."""
        raise NotImplementedError

    async def seal(self, path: Path, order: SealOrder) -> SealedTail:
        """Never asked."""
        raise NotImplementedError

    async def read_back(self, original: Path, tail: Path, expected: SealedTail, *, password: str | None = None) -> None:
        """Never asked."""
        raise NotImplementedError


class Spine:
    """One of each part of the spine, wired as the service wires them. Its bus stays at home."""

    def __init__(self, db: Database, folder: Path) -> None:
        self.db = db
        self.blobs = BlobStore.local(folder)
        self.bus = Bus("")
        self.ledger = Ledger(db)
        self.serials = SerialRegister(db)
        self.endings = Endings(db, self.bus, self.ledger, self.serials)
        self.stamping = Stamping(db, self.bus, self.ledger, self.serials, hold_life_s=60)
        self.passwords = Passwords(db, b"a secret of thirty-two bytes or so")
        self.documents = Documents(
            db, self.blobs, self.bus, self.passwords, size_bytes_max=SIZE_BYTES_MAX, upload_life_s=60
        )

    def journey(
        self, engine: Engine, *, blobs: BlobStore | None = None, endings: Endings | None = None, attempts_max: int = 3
    ) -> Journey:
        """A sealer's journey, with parts that fail where a test wants them to."""
        return Journey(
            self.db,
            blobs or self.blobs,
            self.bus,
            endings or self.endings,
            engine,
            passwords=self.passwords,
            base_url="https://meterai.example",
            attempts_max=attempts_max,
            clock=utc_now,
        )

    async def person(self, quota: int) -> UUID:
        """An account with so much quota."""
        account_id = new_id()
        await self.ledger.post([Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, quota, account=account_id)])
        return account_id

    async def wanted(self, account_id: UUID, data: bytes | None = None, **changes: Any) -> StampWanted:
        """A request for a stamp on an inspected document of that account; `data` None is a letter of its own."""
        content = letter() if data is None else data
        document_id, digest = await self.documents.receive(account_id, "surat.pdf", content), _sha256(content)
        await self.journey(_Clerk()).inspect(await self.claim(INSPECT))
        values = {"additional": False, "idempotency_key": None, "request_digest": digest} | changes
        return StampWanted(account_id=account_id, document_id=document_id, digest=digest, page=1, box=BOX, **values)

    async def held(self, quota: int = 1) -> Stamp:
        """A held stamp of a new person who has bought `quota`."""
        stamp, _ = await self.stamping.ask(await self.wanted(await self.person(quota)))
        return stamp

    async def claim(self, kind: str = SEAL, *, limit: int = 10) -> list[Claim]:
        """Claim jobs as a newly started worker does; one that waits for its next try is ready at once."""
        await self._write("UPDATE infra.jobs SET run_at = now() WHERE worker IS NULL")
        return await jobs.claim(self.db, [kind], worker=new_id(), limit=limit, lease_s=60)

    async def let_leases_run_out(self) -> int:
        """Every lease is over, and the steward has seen it; answers how many jobs were freed."""
        await self._write("UPDATE infra.jobs SET lease_until = now() WHERE worker IS NOT NULL")
        return await jobs.reclaim(self.db, limit=1_000)

    async def let_holds_run_out(self) -> None:
        """Every hold is over; nobody has noticed yet."""
        await self._write("UPDATE ledger.holds SET expires_at = now()")

    async def now(self, stamp: Stamp) -> Stamp:
        """The stamp as it is now."""
        return await self.stamping.get(stamp.account_id, stamp.id)

    async def balance(self, stamp: Stamp) -> Balance:
        """The quota of the stamp's owner."""
        return await self.ledger.balance(stamp.account_id)

    async def sealed_file(self, stamp: Stamp) -> bytes:
        """What the owner downloads."""
        assert stamp.tail_key is not None
        return b"".join([await self.blobs.read(key) for key in (stamp.base_key, *(key for key, _ in stamp.tails))])

    async def assert_sound(self, *stamps: Stamp) -> None:
        """The audit holds, each stamp says what ledger and register say, none has two endings, no job is left over."""
        report = await check_ledger(self.db)
        assert [] == [rule for rule in report.rules if rule.broken]
        assert [] == await disagreements(self.db)
        for stamp in stamps:
            endings = await self.db.fetchval("SELECT count(*) FROM ledger.transfers WHERE hold_id = $1", stamp.hold_id)
            assert (0 if (await self.now(stamp)).state is StampState.HELD else 1) == endings

    async def _write(self, statement: str) -> None:
        async with self.db.transaction() as tx:
            await tx.execute(statement)


async def disagreements(db: Database) -> list[dict[str, Any]]:
    """The rules that some stamp breaks: it is not what the ledger and the register of serials say, or has no job."""
    rules = await check_all_stamps(db)
    return [{"rule": rule.name, "broken": rule.broken, "examples": rule.examples} for rule in rules if rule.broken]


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def some_seal(stamp: Stamp, tail_key: str = "tails/some") -> Sealed:
    """A seal as a worker reports it, for tests of what happens after sealing."""
    return Sealed(stamp.id, tail_key, 10, stamp.base_bytes + 10, b"x" * 32, "B-B", utc_now())
