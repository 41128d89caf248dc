"""A sealer: it claims jobs under a lease and walks them to their end, as worker_loop.py and journey.py do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from simulated_database import GoneError
from simulated_endings import Endings, Sealed
from simulated_guards import Guard
from simulated_house import House
from simulated_rows import Claim, DocumentRow, FileKind, StampRow
from simulated_time import Process, Steps

from emeterai.core.ledger import Reason
from emeterai.core.stamping import DocumentState, Move, StampState, after_move

BATCH_MAX = 16
LOOK_AGAIN_S = 1.0
RETRY_S = 0.5
Outcome = TypeVar("Outcome")


class Sealer(Process):
    """Seals and inspects. It may sleep past its lease, die at any step, and make bad seals."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(house, name)
        self.house = house
        self.start()

    def start(self) -> None:
        """A new worker id, nothing under way, one loop for each kind of job."""
        self.worker = self.house.new_id()
        self.under_way: dict[UUID, None] = {}
        self.renewing = False
        self.endings = Endings(self.house, self)
        self.spawn(self._loop("inspect", self._inspect))
        self.spawn(self._loop("seal", self._seal))

    def _loop(self, kind: str, work: Callable[[Sequence[Claim]], Steps[None]]) -> Steps[None]:
        store = self.house.store
        while True:
            try:
                claims = yield from self._claim(kind)
                if claims:
                    yield from self._do(claims, work)
                    continue
            except GoneError:
                self.house.say(self.name, "is interrupted")
            if any(job.kind == kind and job.worker is None for job in store.jobs.values()):
                yield store.work[kind], LOOK_AGAIN_S
            else:
                yield store.work[kind]

    def _claim(self, kind: str) -> Steps[list[Claim]]:
        store, now_s = self.house.store, self.house.now_s
        until_s = now_s + self.house.settings.lease_s
        ready = [it for it in store.jobs.values() if it.kind == kind and it.worker is None and it.run_at_s <= now_s]
        if not ready:
            return []
        claims = []
        with store.transaction(self) as tx:
            for job in sorted(ready, key=lambda it: it.run_at_s)[:BATCH_MAX]:
                if job.id in store.locked_jobs:
                    continue
                attempts = job.attempts + 1
                tx.put("jobs", job.id, job._replace(worker=self.worker, lease_until_s=until_s, attempts=attempts))
                claims.append(Claim(job.id, kind, attempts, self.worker))
        yield from store.answer()
        return claims

    def _do(self, claims: Sequence[Claim], work: Callable[[Sequence[Claim]], Steps[None]]) -> Steps[None]:
        for claim in claims:
            self.under_way[claim.id] = None
        if not self.renewing:
            self.renewing = True
            self.spawn(self._renew())
        try:
            yield from work(claims)
        finally:
            for claim in claims:
                self.under_way.pop(claim.id, None)

    def _renew(self) -> Steps[None]:
        store, lease_s = self.house.store, self.house.settings.lease_s
        while True:
            yield lease_s / 3
            if not self.under_way:
                break
            with store.transaction(self) as tx:
                for job_id in self.under_way:
                    job = store.jobs.get(job_id)
                    if job is not None and job.worker == self.worker and job_id not in store.locked_jobs:
                        tx.put("jobs", job_id, job._replace(lease_until_s=self.house.now_s + lease_s))
        self.renewing = False

    def _inspect(self, claims: Sequence[Claim]) -> Steps[None]:
        store = self.house.store
        documents = {claim.id: store.documents[claim.id] for claim in claims}
        received = {key: it for key, it in documents.items() if it.state is DocumentState.RECEIVED}
        yield self.house.pause_s()
        found = yield from self._try_all(claims, received, self._inspect_one, last_word=False)
        with store.transaction(self) as tx:
            ours = tx.finish([claim for claim in claims if claim.id in found or claim.id not in received])
            yield from tx.statement()
            for document_id in ours:
                document = store.documents[document_id]
                if document_id in found and document.state is DocumentState.RECEIVED:
                    after = after_move(document.state, Move.ACCEPT if found[document_id] else Move.REFUSE)
                    assert isinstance(after, DocumentState)
                    tx.put("documents", document_id, document._replace(state=after))
        yield from store.answer()
        store.publish(ours)

    def _seal(self, claims: Sequence[Claim]) -> Steps[None]:
        store = self.house.store
        stamps = {claim.id: store.stamps[claim.id] for claim in claims if claim.id in store.stamps}
        held = {key: it for key, it in stamps.items() if it.state is StampState.HELD}
        yield self.house.pause_s()
        last_word: Sealed | Reason = Reason.SEALING_FAILED
        found = yield from self._try_all(claims, held, self._seal_one, last_word=last_word)
        sealed = {key: it for key, it in found.items() if isinstance(it, Sealed)}
        refused = {key: it for key, it in found.items() if isinstance(it, Reason)}
        yield from self.endings.settle([claim for claim in claims if claim.id in sealed], held, sealed)
        yield from self.endings.give_back(refused, claims=[claim for claim in claims if claim.id in refused])

    def _inspect_one(self, document: DocumentRow, claim: Claim) -> Steps[bool | None]:
        if document.file.kind is FileKind.KILLS_INSPECTION and self.house.random() < 0.9:
            yield from self._be_killed()
        yield self._work_s()
        return None if self.house.random() < 0.02 else document.file.kind is not FileKind.REFUSED

    def _seal_one(self, stamp: StampRow, claim: Claim) -> Steps[Sealed | Reason | None]:
        """Seal, make the tail safe, read it back from where it is kept, and only then call it sealed."""
        house = self.house
        kind = house.store.documents[stamp.document].file.kind
        if kind is FileKind.KILLS_SEALING and house.random() < 0.8:
            yield from self._be_killed()
        yield self._work_s() + max(0.0, house.key_away_until_s - house.now_s)
        hold = house.store.holds.get(stamp.hold)
        if hold is not None and house.random() < 0.03:
            yield max(0.0, hold.expires_at_s - house.now_s) + house.random()  # just when the steward gives it back
        if kind is FileKind.NOT_SEALABLE:
            return Reason.FILE_REFUSED
        if house.random() < 0.03:
            return None
        content = b"good " + stamp.serial.encode() + b" " + house.chance.randbytes(4)
        made = b"bad" if house.random() < 0.02 else content
        tail_key = f"tails/{stamp.id}"
        if house.has(Guard.TAIL_PER_ATTEMPT):
            tail_key += f".{claim.attempt}"
        kept = b"torn" if house.random() < 0.005 else made
        yield house.pause_s()
        house.store.blobs[tail_key] = kept
        house.promises.stored(tail_key)
        yield house.pause_s()
        if house.has(Guard.READ_BACK) and house.store.blobs[tail_key] != content:
            house.say(self.name, "reads back a bad seal of", stamp.id)
            return None
        return Sealed(tail_key, content)

    def _try_all(
        self,
        claims: Sequence[Claim],
        things: dict[UUID, DocumentRow] | dict[UUID, StampRow],
        work: Callable[..., Steps[Outcome | None]],
        *,
        last_word: Outcome,
    ) -> Steps[dict[UUID, Outcome]]:
        """The outcome of each claim whose thing is there; those to be tried again are handed back and left out."""
        mine = [claim for claim in claims if claim.id in things]
        tries = [self._try(claim, things[claim.id], work, last_word) for claim in mine]
        outcomes = yield from self.house.together(tries, self)
        again = [claim for claim, outcome in zip(mine, outcomes, strict=True) if outcome is None]
        if again:
            yield from self._hand_back(again)
        return {claim.id: it for claim, it in zip(mine, outcomes, strict=True) if it is not None}

    def _try(
        self,
        claim: Claim,
        thing: DocumentRow | StampRow,
        work: Callable[..., Steps[Outcome | None]],
        last_word: Outcome,
    ) -> Steps[Outcome | None]:
        attempts_max = self.house.settings.attempts_max
        if claim.attempt > attempts_max:
            return last_word
        outcome = yield from work(thing, claim)
        return last_word if outcome is None and claim.attempt == attempts_max else outcome

    def _hand_back(self, claims: Sequence[Claim]) -> Steps[None]:
        store = self.house.store
        with store.transaction(self) as tx:
            for claim in claims:
                job = store.jobs.get(claim.id)
                if job is not None and (job.worker, job.attempts) == (claim.worker, claim.attempt):
                    later_s = self.house.now_s + RETRY_S
                    tx.put("jobs", claim.id, job._replace(worker=None, lease_until_s=0.0, run_at_s=later_s))
        yield from store.answer()

    def _work_s(self) -> float:
        """How long the sealing or the inspection takes: seldom longer than a lease, more seldom than a hold lives."""
        drawn = self.house.random()
        if drawn < 0.96:
            return 0.01 + drawn * 0.3
        return 2 + 20 * self.house.random() if drawn < 0.995 else 60 * self.house.random() + 20

    def _be_killed(self) -> Steps[None]:
        def killer() -> Steps[None]:
            self.house.kill(self)
            yield 0.0

        self.house.spawn(killer())
        yield 1e9
