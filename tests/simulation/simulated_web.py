"""A web process: documents, stamps, quota. What it does in which order is stamping/service.py and ledger/service.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from simulated_database import GoneError, Transaction
from simulated_guards import Guard
from simulated_house import House
from simulated_rows import AskedKeyRow, DocumentRow, File, JobRow, SerialRow, StampRow
from simulated_shop import Shop
from simulated_time import Process, Reply, Steps

from emeterai.core.ledger import Answer, Kind, Reason, Transfer
from emeterai.core.refusal import Refused
from emeterai.core.serial import SerialBlock
from emeterai.core.stamping import DocumentState, EarlierStamp, KnownStamps, StampState

BUSY = "service_busy"
DOCUMENT_NOT_READY = "document_not_ready"
DOCUMENT_REFUSED = "document_refused"
IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
BATCH_MAX = 256
WINDOW_S = 0.001
INSPECTION_WAIT_S = 15.0
LOOK_AGAIN_S = 1.0
SERIAL_LEASE = 25
BLOCK_SIZE = 100_000


class Wanted(NamedTuple):
    """A request for a stamp, resolved (stamping/model.py)."""

    account: UUID
    document: UUID
    digest: bytes
    key: UUID | None
    request: bytes
    additional: bool


Asked = StampRow | Refused | str


class Web(Process):
    """Takes requests. `shop` sells."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(house, name)
        self.house = house
        self.start()

    def start(self) -> None:
        """No serials leased, nobody waiting."""
        self.serials: deque[str] = deque()
        self.waiting: list[tuple[Wanted, Reply]] = []
        self.collecting = False
        self.shop = Shop(self.house, self)

    def serve(self, reply: Reply, work: Steps[Any]) -> Steps[None]:
        """Answer one request; the answer may be lost on its way."""
        try:
            value = yield from work
        except GoneError:
            value = BUSY
        yield self.house.pause_s()
        if self.house.random() > 0.03:
            reply.value = value
            self.house.ring(reply.signal)

    def receive(self, account: UUID, file: File) -> Steps[DocumentRow]:
        """Put a file on record and have it inspected."""
        store = self.house.store
        row = DocumentRow(self.house.new_id(), account, file, DocumentState.RECEIVED)
        with store.transaction(self) as tx:
            tx.put("documents", row.id, row)
            tx.put("jobs", row.id, JobRow(row.id, "inspect", self.house.now_s))
            yield from tx.statement()
        yield from store.answer()
        return row

    def ask(self, account: UUID, document_id: UUID, page: int, key: UUID | None, additional: bool) -> Steps[Asked]:
        """Check the document, then hold one unit together with the requests that come at the same moment."""
        store = self.house.store
        over_s = self.house.now_s + INSPECTION_WAIT_S
        while (document := store.documents[document_id]).state is DocumentState.RECEIVED and self.house.now_s < over_s:
            yield store.hear(document_id, LOOK_AGAIN_S)
        if self.house.has(Guard.READY_FIRST):
            if document.state is DocumentState.REFUSED:
                return DOCUMENT_REFUSED
            if document.state is not DocumentState.READY:
                return DOCUMENT_NOT_READY
        digest = document.file.digest
        request = stamp_request(digest, page, additional)
        reply = Reply()
        self.waiting.append((Wanted(account, document_id, digest, key, request, additional), reply))
        if not self.collecting:
            self.collecting = True
            self.spawn(self._collect())
        yield reply.signal
        answer: Asked = reply.value
        return answer

    def look(self, stamp_id: UUID, wait_s: float) -> Steps[StampRow]:
        """The stamp, once it is sealed or given back, or as it is after `wait_s`."""
        store = self.house.store
        over_s = self.house.now_s + wait_s
        while store.stamps[stamp_id].state is StampState.HELD and self.house.now_s < over_s:
            yield store.hear(stamp_id, LOOK_AGAIN_S)
        return store.stamps[stamp_id]

    def return_units(self, account: UUID, transfer_id: UUID, amount: int) -> Steps[Answer]:
        """Take unused units back; safe to repeat with the same id."""
        with self.house.store.transaction(self) as tx:
            yield from tx.open_book([account])
            [answer] = tx.post([Transfer(transfer_id, Kind.REFUND, Reason.RETURNED, amount, account=account)])
            yield from tx.statement()
        yield from self.house.store.answer()
        return answer

    def _collect(self) -> Steps[None]:
        """The batcher: requests that wait go to the database together, and each gets its own answer."""
        while self.waiting:
            yield WINDOW_S
            batch, self.waiting = self.waiting[:BATCH_MAX], self.waiting[BATCH_MAX:]
            answers: Sequence[Asked]
            try:
                answers = yield from self._hold(batch)
            except GoneError:
                answers = [BUSY] * len(batch)
            self._give(batch, answers)
        self.collecting = False

    def _give(self, batch: Sequence[tuple[Wanted, Reply]], answers: Sequence[Asked]) -> None:
        for (_, reply), answer in zip(batch, answers, strict=True):
            reply.value = answer
            self.house.ring(reply.signal)

    def _hold(self, asked: Sequence[tuple[Wanted, Reply]]) -> Steps[list[Asked]]:
        """Lock, read, decide, write."""
        store, batch = self.house.store, [wanted for wanted, _ in asked]
        serials = yield from self._draw(len(batch))
        with store.transaction(self) as tx:
            yield from tx.open_book(wanted.account for wanted in batch)
            known = self._known(batch)
            yield from tx.statement()
            decided = [self._decide(known, wanted) for wanted in batch]
            plans = [plan for plan, _ in decided]
            once = {plan.id: plan for plan in plans if isinstance(plan, StampRow) and plan.id not in store.stamps}
            refused = self._write_holds(tx, list(once.values()))
            new = [plan for plan in once.values() if plan.id not in refused]
            if not self.house.has(Guard.ANSWER_LAST):
                self._give(asked, [refused.get(it.id, it) if isinstance(it, StampRow) else it for it in plans])
            yield from tx.statement()
            if self.house.has(Guard.ONE_COMMIT):
                self._write_stamps(tx, new, serials)
            answered = [(it, plan) for it, (plan, keeps_key) in zip(batch, decided, strict=True) if keeps_key]
            self._keep_keys(tx, answered, refused)
        if not self.house.has(Guard.ONE_COMMIT):
            yield from store.answer()
            with store.transaction(self) as tx:
                yield from tx.statement()
                self._write_stamps(tx, new, serials)
        for stamp in new:
            self.house.say(self.name, "holds a unit for", stamp.id, "file", stamp.digest, "key", stamp.key)
        yield from store.answer()
        return [self._answer(plan, refused) for plan in plans]

    def _answer(self, plan: Asked, refused: dict[UUID, Refused]) -> Asked:
        if not isinstance(plan, StampRow):
            return plan
        return refused.get(plan.id) or self.house.store.stamps[plan.id]

    def _write_holds(self, tx: Transaction, plans: list[StampRow]) -> dict[UUID, Refused]:
        life_s = self.house.settings.hold_life_s
        holds = [
            Transfer(it.hold, Kind.HOLD, Reason.STAMPING, 1, account=it.account, subject=it.id, life_s=life_s)
            for it in plans
        ]
        answers = tx.post(holds)
        return {it.id: answer for it, answer in zip(plans, answers, strict=True) if isinstance(answer, Refused)}

    def _write_stamps(self, tx: Transaction, stamps: Sequence[StampRow], serials: Sequence[str]) -> None:
        for stamp, serial in zip(stamps, serials, strict=False):
            tx.put("serials", serial, SerialRow(serial, "taken", stamp.digest, stamp.hold, stamp.id))
            tx.put("stamps", stamp.id, stamp._replace(serial=serial))
            tx.put("jobs", stamp.id, JobRow(stamp.id, "seal", self.house.now_s))

    def _keep_keys(
        self, tx: Transaction, answered: Sequence[tuple[Wanted, Asked]], refused: dict[UUID, Refused]
    ) -> None:
        """Remember the keys of requests whose file, and not their key, found the stamp that answers them."""
        for wanted, stamp in answered:
            if isinstance(stamp, StampRow) and stamp.id not in refused and wanted.key is not None:
                row = AskedKeyRow(wanted.account, wanted.key, stamp.id, wanted.request)
                tx.put("asked_keys", (row.account, row.key), row)

    def _known(self, batch: Sequence[Wanted]) -> KnownStamps[StampRow]:
        """The stamps that a batch may repeat: the same file and not given back, or the same key."""
        store, found = self.house.store, dict[UUID, StampRow]()
        asked: dict[tuple[UUID, UUID], AskedKeyRow] = {}
        for wanted in batch:
            if self.house.has(Guard.FILE_MEMORY):
                for stamp_id in store.stamps_by.get((wanted.account, wanted.digest), ()):
                    if store.stamps[stamp_id].state is not StampState.GIVEN_BACK:
                        found[stamp_id] = store.stamps[stamp_id]
            if wanted.key is None:
                continue
            if self.house.has(Guard.KEY_MEMORY):
                for stamp_id in store.stamps_by.get((wanted.account, wanted.key), ()):
                    found[stamp_id] = store.stamps[stamp_id]
            if self.house.has(Guard.ASKED_KEYS) and (wanted.account, wanted.key) in store.asked_keys:
                asked[wanted.account, wanted.key] = store.asked_keys[wanted.account, wanted.key]
        known = [(stamp, stamp.key, stamp.request) for stamp in found.values()]
        known += [(store.stamps[row.stamp], row.key, row.request) for row in asked.values()]
        return KnownStamps((stamp.account, _earlier(stamp, key, request), stamp) for stamp, key, request in known)

    def _decide(self, known: KnownStamps[StampRow], wanted: Wanted) -> tuple[Asked, bool]:
        """What core/stamping.py says, and whether the key must be kept."""
        decision, answer = known.decide(
            wanted.account,
            digest=wanted.digest,
            key=None if wanted.key is None else str(wanted.key),
            request_digest=wanted.request,
            additional=wanted.additional,
            make=lambda copy: self._plan(wanted, copy),
        )
        return answer or IDEMPOTENCY_KEY_REUSED, decision.keeps_key

    def _plan(self, wanted: Wanted, copy: int) -> StampRow:
        new = self.house.new_id
        return StampRow(
            new(),
            wanted.account,
            wanted.document,
            wanted.digest,
            copy,
            StampState.HELD,
            "",
            new(),
            new(),
            wanted.key,
            wanted.request,
        )

    def _draw(self, count: int) -> Steps[list[str]]:
        """Serials from memory; a further range of places is leased when they run out (ledger/serials.py)."""
        store = self.house.store
        while len(self.serials) < count:
            blocks = store.tables["blocks"]
            block, following = blocks.get("retail", (None, 0))
            if block is None or following + SERIAL_LEASE > BLOCK_SIZE:
                block, following = SerialBlock(self.house.chance.randrange(36**5), self._secret(), BLOCK_SIZE), 0
            with store.transaction(self) as tx:
                if self.house.has(Guard.SERIAL_LEASE) or following == 0:
                    tx.put("blocks", "retail", (block, following + SERIAL_LEASE))
            yield from store.answer()
            self.serials.extend(block.serial(place) for place in range(following, following + SERIAL_LEASE))
        return [self.serials.popleft() for _ in range(count)]

    def _secret(self) -> bytes:
        return self.house.chance.randbytes(32)


def stamp_request(digest: bytes, page: int, additional: bool) -> bytes:
    """What must be the same when a key comes again (stamping/asking.py)."""
    return digest + bytes((page, additional))


def _earlier(stamp: StampRow, key: UUID | None, request: bytes) -> EarlierStamp:
    return EarlierStamp(stamp.digest, stamp.copy, stamp.state, None if key is None else str(key), request)
