"""Stamps: asking for one, looking at it, fetching the sealed file. The sealing itself is journey.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from emeterai.accounts.groups_spending import Spending, limit_spending, note_spending
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.stamping import DocumentState, EarlierStamp, KnownStamps
from emeterai.infra import jobs
from emeterai.infra.batching import Batcher
from emeterai.infra.bus import Bus
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Connection, Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.infra.metrics import stage
from emeterai.infra.one_fault import apart
from emeterai.infra.waiting import wait_for
from emeterai.ledger.serials import SerialRegister, SerialWanted
from emeterai.ledger.service import Ledger, OpenBook
from emeterai.stamping import document_store, store
from emeterai.stamping.model import Document, Stamp, StampWanted
from emeterai.stamping.passwords import keep_passwords_of
from emeterai.stamping.store import KnownStamp, NewStamp

SEAL = "seal"
"""The kind of job that seals a held stamp."""

STAMP_UNKNOWN = RefusalKind(
    "stamp_unknown",
    404,
    "Meterai ini tidak ditemukan di akun Anda. Periksa alamatnya.",
    "This stamp is not in your account. Check the address.",
)
DOCUMENT_NOT_READY = RefusalKind(
    "document_not_ready",
    409,
    "Dokumen ini belum selesai diterima atau diperiksa. Tunggu sebentar lalu coba lagi; kuota Anda tidak berkurang.",
    "This document has not wholly arrived or is still being inspected. Wait a moment, then try again; "
    "your quota is untouched.",
)
STAMP_NOT_SEALED = RefusalKind(
    "stamp_not_sealed",
    409,
    "Berkas bermeterai belum ada. Lihat keadaan meterai ini lalu coba lagi.",
    "There is no sealed file yet. Look at the state of this stamp, then try again.",
)

Asked = tuple[Stamp, bool]
"""A stamp, and whether it was made by this request."""


class Stamping:
    """Asks for stamps and shows what became of them."""

    def __init__(self, db: Database, bus: Bus, ledger: Ledger, serials: SerialRegister, *, hold_life_s: float) -> None:
        self._db = db
        self._bus = bus
        self._ledger = ledger
        self._serials = serials
        self._hold_life_s = hold_life_s
        self._holds: Batcher[StampWanted, Asked] = Batcher(apart(self._hold), name="hold", window_s=0.005)
        self._looks: Batcher[UUID, Stamp | None] = Batcher(self._find_many, name="look_at_stamp", begins=False)

    async def ask(self, wanted: StampWanted) -> Asked:
        """Hold one unit and take a serial for a stamp, or find the stamp that this request repeats.

        Raises `quota_not_enough`, `idempotency_key_reused`, of a group's member `member_limit_reached` and
        `group_not_yours`. When it returns, the stamp will end sealed or given back.
        """
        with stage("hold"):
            return await self._holds.submit(wanted)

    async def get(self, account_id: UUID, stamp_id: UUID, *, only_by: UUID | None = None) -> Stamp:
        """A stamp of this account, or of one member of a group. Raises `stamp_unknown`, also for others'."""
        stamp = await self._looks.submit(stamp_id)
        if stamp is None or stamp.account_id != account_id or (only_by is not None and stamp.made_by != only_by):
            raise STAMP_UNKNOWN()
        return stamp

    async def ended(self, account_id: UUID, stamp_id: UUID, *, wait_s: float, only_by: UUID | None = None) -> Stamp:
        """The stamp, once it is sealed or given back, or as it is after `wait_s`."""

        async def look() -> Stamp:
            return await self.get(account_id, stamp_id, only_by=only_by)

        return await wait_for(self._bus, stamp_id, look=look, done=lambda it: it.is_final, wait_s=wait_s)

    async def of_account(
        self,
        account_id: UUID,
        *,
        before: tuple[datetime, UUID] | None = None,
        limit: int = 50,
        only_by: UUID | None = None,
    ) -> list[Stamp]:
        """An account's stamps, or those of one member of a group, newest first."""
        return await store.of_account(self._db, account_id, before=before, limit=limit, only_by=only_by)

    async def of_documents(self, documents: Sequence[Document]) -> dict[UUID, list[Stamp]]:
        """The stamps on each of these documents, oldest first."""
        found: dict[UUID, list[Stamp]] = {document.id: [] for document in documents}
        for stamp in await store.of_documents(self._db, list(found)):
            found[stamp.document_id].append(stamp)
        return found

    async def of_same_file(self, document: Document) -> list[Stamp]:
        """The stamps that its owner has on these very bytes, whichever upload brought them, oldest first."""
        if document.digest is None:
            return []
        return await store.of_file(self._db, document.account_id, document.digest)

    async def _find_many(self, ids: Sequence[UUID]) -> list[Stamp | None]:
        found = await store.find_many(self._db, ids)
        return [found.get(one) for one in ids]

    async def _hold(self, batch: Sequence[StampWanted]) -> list[Asked | Refused]:
        """Lock, read, decide, write: one transaction for requests that arrived together, each with its own answer."""
        drawn = await self._serials.draw_for([wanted.account_id for wanted in batch])
        serials = {id(wanted): serial for wanted, serial in zip(batch, drawn, strict=True)}
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, {wanted.account_id for wanted in batch})
            known = _known(await store.earlier(tx, batch))
            decided = [_decide(known, wanted) for wanted in batch]
            plans = [plan for plan, _ in decided]
            # A request that repeats another of its own batch got the same plan, which is written once.
            once = {plan.id: plan for plan in plans if isinstance(plan, NewStamp)}
            await self._record_arrived(tx, batch, plans)
            new = await self._write(tx, book, list(once.values()), serials)
            answers = [new[plan.id] if isinstance(plan, NewStamp) else plan for plan in plans]
            await _keep_keys(tx, batch, answers, [keeps_key for _, keeps_key in decided])
            may_die_at("hold.written")
        may_die_at("hold.recorded")
        if new:
            self._bus.publish([SEAL])
        return answers

    async def _write(
        self, tx: Connection, book: OpenBook, plans: Sequence[NewStamp], serials: Mapping[int, str | Refused]
    ) -> dict[UUID, Asked | Refused]:
        """Hold and record what has a serial, by the request that it was drawn for; no serial, no hold."""
        refused = {plan.id: serial for plan in plans if isinstance(serial := serials[id(plan.wanted)], Refused)}
        of_members = _of_members(plan for plan in plans if plan.id not in refused)
        if of_members:
            refused |= await limit_spending(tx, book, of_members)
        plans = [plan for plan in plans if plan.id not in refused]
        answers = await book.post([self._hold_of(plan) for plan in plans]) if plans else []
        refused |= {plan.id: it for plan, it in zip(plans, answers, strict=True) if isinstance(it, Refused)}
        held = [plan for plan in plans if plan.id not in refused]
        if not held:
            return dict(refused)
        await note_spending(tx, [one for one in of_members if one.stamp_id not in refused])
        taken = [str(serials[id(plan.wanted)]) for plan in held]
        await self._serials.take(tx, taken, [_serial_wanted(one) for one in held])
        made = await store.insert(tx, held, taken)
        await keep_passwords_of(tx, [plan.wanted for plan in held])
        await jobs.enqueue(tx, SEAL, [plan.id for plan in held], lanes=[plan.wanted.lane for plan in held])
        return {**refused, **{stamp.id: (stamp, True) for stamp in made}}

    async def _record_arrived(
        self, tx: Connection, batch: Sequence[StampWanted], plans: Sequence[NewStamp | Asked | Refused]
    ) -> None:
        """Put the files that came with these requests on record: not those of a request that only repeats another."""
        own = [
            wanted.arrived
            for wanted, plan in zip(batch, plans, strict=True)
            if wanted.arrived is not None
            and (isinstance(plan, Refused) or (isinstance(plan, NewStamp) and plan.wanted is wanted))
        ]
        if own:
            await document_store.insert_arrived(tx, own)

    def _hold_of(self, plan: NewStamp) -> Transfer:
        return Transfer(
            plan.hold_id,
            Kind.HOLD,
            Reason.STAMPING,
            1,
            account=plan.wanted.account_id,
            subject=plan.id,
            life_s=self._hold_life_s,
        )


def _of_members(plans: Iterable[NewStamp]) -> list[Spending]:
    """What members of groups ask for among these; nothing of people for themselves."""
    return [
        Spending(plan.id, plan.wanted.account_id, plan.wanted.made_by)
        for plan in plans
        if plan.wanted.made_by is not None
    ]


def _known(found: Sequence[KnownStamp]) -> KnownStamps[NewStamp | Asked]:
    """The stamps that a batch may repeat; those that it is about to make itself will be known by their plans."""
    return KnownStamps(
        (
            it.stamp.account_id,
            EarlierStamp(it.stamp.digest, it.stamp.copy, it.stamp.state, it.idempotency_key, it.request_digest),
            (it.stamp, False),
        )
        for it in found
    )


def _decide(known: KnownStamps[NewStamp | Asked], wanted: StampWanted) -> tuple[NewStamp | Asked | Refused, bool]:
    """What a request becomes: a new stamp, one that is there, or a refusal; and whether its key must be kept."""
    decision, answer = known.decide(
        wanted.account_id,
        digest=wanted.digest,
        key=wanted.idempotency_key,
        request_digest=wanted.request_digest,
        additional=wanted.additional,
        make=lambda copy: NewStamp(wanted, new_id(), new_id(), new_id(), copy),
    )
    return IDEMPOTENCY_KEY_REUSED() if answer is None else answer, decision.keeps_key


async def _keep_keys(
    tx: Connection, batch: Sequence[StampWanted], answers: Sequence[Asked | Refused], keeps_key: Sequence[bool]
) -> None:
    """Remember the keys of requests whose file, and not their key, found the stamp that answers them."""
    answered = [
        (wanted, answer[0].id)
        for wanted, answer, is_kept in zip(batch, answers, keeps_key, strict=True)
        if is_kept and not isinstance(answer, Refused)
    ]
    if answered:
        await store.keep_keys(tx, answered)


def _serial_wanted(plan: NewStamp) -> SerialWanted:
    """The register knows a stamp by the bytes below its seal, which anybody who has the sealed file can digest."""
    return SerialWanted(plan.wanted.repaired_digest or plan.wanted.digest, plan.hold_id, plan.id)


def require_ready(document: Document) -> bytes:
    """The digest of a document that can be stamped. Raises the reason why it cannot, before any quota is touched."""
    if document.refusal is not None:
        raise document.refusal
    if document.state is not DocumentState.READY or document.digest is None:
        raise DOCUMENT_NOT_READY(retry_after_s=1)
    return document.digest
