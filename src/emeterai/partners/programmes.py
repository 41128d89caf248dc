"""Programmes of grants: an agency makes one, funds it, invites its applicants by a list or by codes.

It sees to the unit what became of it. Claiming is programme_claims.py, the end is programme_returns.py.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog

from emeterai.accounts.groups import require_overseer
from emeterai.accounts.groups_spending import require_passing_on
from emeterai.accounts.service import Caller
from emeterai.core.granting import SALT_BYTES, ProgrammeMove, ProgrammeState, after_programme_move
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.voucher_code import CodeBook
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Connection, Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger, OpenBook
from emeterai.partners import programme_claim_store as claim_store
from emeterai.partners import programme_store as store
from emeterai.partners.organisations import is_organisation, locks_of_organisation, require_organisation
from emeterai.partners.programme_lists import ListReader
from emeterai.partners.programme_model import CodeBatch, Figures, ListReport, Programme
from emeterai.partners.programme_secrets import ProgrammeSecrets

__all__ = ["Figures", "ListReport", "Programme", "ProgrammeState", "Programmes"]

NAME_LENGTH_MAX = 120
MESSAGE_LENGTH_MAX = 1_000
UNITS_EACH_MAX = 100
FUNDING_MAX = 100_000_000
INVITED_MAX = 5_000_000
CODES_MAX = 1_000_000
BATCHES_MAX = 100
_CODES_AT_ONCE = 5_000
_KEPT_OPEN_DAYS_MAX = 3 * 366
_log = structlog.get_logger(__name__)

PROGRAMME_UNKNOWN = RefusalKind(
    "programme_unknown",
    404,
    "Program hibah ini tidak ditemukan. Periksa tautan yang Anda terima dari lembaganya.",
    "There is no such programme of grants. Check the link that you have from the agency.",
)
PROGRAMME_UNUSABLE = RefusalKind(
    "programme_unusable",
    422,
    "Isi nama program, jumlah meterai per pelamar (1 sampai {units_max}), dan tanggal akhir yang belum lewat.",
    "Give the programme a name, stamps for each applicant (1 to {units_max}), and an end that is still to come.",
)
PROGRAMME_OVER = RefusalKind(
    "programme_over",
    409,
    "Program ini sudah berakhir; bertanyalah kepada {agency}.",
    "This programme has ended; ask {agency}.",
)
FUNDING_UNUSABLE = RefusalKind(
    "funding_unusable",
    422,
    "Jumlah dana program harus bilangan bulat dari 1 sampai {units_max} meterai.",
    "A programme is funded with a whole number of stamps, from 1 to {units_max}.",
)
GRANTS_NOT_YOURS_TO_GIVE = RefusalKind(
    "grants_not_yours_to_give",
    409,
    "Dari kuota Anda, {owed} meterai adalah hibah yang kembali ke lembaganya bila tidak Anda pakai; sisihkan "
    "paling banyak {units_max}.",
    "Of your quota, {owed} stamps are grants that go back to their agency unless you use them; set aside "
    "{units_max} at most.",
)
PROGRAMME_FULL = RefusalKind(
    "programme_full",
    409,
    "Program ini sudah memuat {invited_max} undangan, yang terbanyak; buat program lain untuk selebihnya.",
    "This programme holds {invited_max} invitations, which is the most; make another one for the rest.",
)
CODES_UNUSABLE = RefusalKind(
    "codes_unusable",
    422,
    "Jumlah kode harus dari 1 sampai {codes_max}, paling banyak {batches_max} kali untuk satu program.",
    "Ask for 1 to {codes_max} codes, and {batches_max} times at most for one programme.",
)
CODES_UNKNOWN = RefusalKind(
    "codes_unknown",
    404,
    "Program ini tidak punya kumpulan kode itu; lihat daftar kodenya.",
    "This programme has no such batch of codes; look at its list of codes.",
)


class Programmes:
    """The verbs of an agency. To everybody else its programmes have no more than a page on which to claim."""

    def __init__(self, db: Database, ledger: Ledger, keys: ProgrammeSecrets) -> None:
        self._db = db
        self._ledger = ledger
        self._keys = keys

    async def make(
        self, caller: Caller, *, name: str, message: str, units_each: int, ends_at: datetime, key: str | None = None
    ) -> Programme:
        """Make a programme; the same key gives the same programme.

        Raises `organisation_needed`, so that nobody prepares what he cannot fund, and `programme_unusable`.
        """
        require_overseer(caller)
        await require_organisation(self._db, caller.account_id)
        tidy_name, tidy_message = " ".join(name.split()), message.strip()
        is_short = len(tidy_name) <= NAME_LENGTH_MAX and len(tidy_message) <= MESSAGE_LENGTH_MAX
        is_text = tidy_name.isprintable() and "\0" not in tidy_message
        is_right = bool(tidy_name) and is_short and is_text and 1 <= units_each <= UNITS_EACH_MAX
        if not is_right or not await self._is_in_time(ends_at):
            raise PROGRAMME_UNUSABLE(units_max=UNITS_EACH_MAX)
        new = store.NewProgramme(
            id=new_id(),
            agency_id=caller.account_id,
            agency_name=caller.acting.group_name if caller.acting else caller.name,
            made_by=caller.actor,
            name=tidy_name,
            message=tidy_message,
            units_each=units_each,
            salt=secrets.token_bytes(SALT_BYTES),
            ends_at=ends_at,
            idempotency_key=key,
        )
        async with self._db.transaction() as tx:
            await store.insert_programme(tx, new)
        found = await store.by_key(self._db, caller.account_id, key) if key else None
        if found is None:
            return await self.of_agency(caller, new.id)
        if (found.name, found.message, found.units_each, found.ends_at) != (
            new.name,
            new.message,
            new.units_each,
            new.ends_at,
        ):
            raise IDEMPOTENCY_KEY_REUSED()
        return found

    async def may_give(self, caller: Caller) -> bool:
        """Whether the caller's account may make, fund and fill programmes now: an organisation's."""
        return await is_organisation(self._db, caller.account_id)

    async def public(self, programme_id: UUID) -> Programme:
        """A programme, for whoever has its link. Raises `programme_unknown`."""
        found = (await store.programmes(self._db, [programme_id])).get(programme_id)
        if found is None:
            raise PROGRAMME_UNKNOWN()
        return found

    async def of_agency(self, caller: Caller, programme_id: UUID) -> Programme:
        """A programme of the caller's. Raises `programme_unknown`, also for another agency's."""
        require_overseer(caller)
        found = await self.public(programme_id)
        if found.agency_id != caller.account_id:
            raise PROGRAMME_UNKNOWN()
        return found

    async def mine(self, caller: Caller, *, before: UUID | None = None, limit: int) -> list[Programme]:
        """The caller's programmes, newest first."""
        require_overseer(caller)
        return await store.of_agency(self._db, caller.account_id, before=before, limit=limit)

    async def figures(self, caller: Caller, programme_id: UUID) -> Figures:
        """What became of every unit, as of now."""
        await self.of_agency(caller, programme_id)
        return await store.figures(self._db, programme_id)

    async def fund(self, caller: Caller, programme_id: UUID, units: int, *, key: str) -> Figures:
        """Set units of the agency's quota aside for the programme, once for each key.

        This is what passes quota on to strangers, so whoever is no organisation at this very moment is refused with
        `organisation_needed`. Raises `quota_not_enough`, `funding_unusable`, `programme_over`,
        `idempotency_key_reused`, and `grants_not_yours_to_give` for what was granted to the agency itself and goes back
        when it is not used; of a group's member `group_not_yours`, `passing_on_limited`.
        """
        if not 1 <= units <= FUNDING_MAX:
            raise FUNDING_UNUSABLE(units_max=FUNDING_MAX)
        programme = await self.of_agency(caller, programme_id)
        async with self._db.transaction() as tx:
            locks = await locks_of_organisation(tx, programme.agency_id)
            book = await self._ledger.open_book(tx, [programme_id, *locks], opening=True)
            before = await store.funding(tx, programme_id, key)
            if before is None:
                await _open_under_lock(tx, programme)
                await require_passing_on(tx, caller)
                await require_organisation(tx, programme.agency_id)
                await _require_own(tx, book, programme.agency_id, units)
                funding_id = new_id()
                await _pass_all_on(
                    book, Reason.GRANT_FUNDED, units, lines=(programme.agency_id, programme_id), subject=funding_id
                )
                await store.insert_funding(tx, funding_id, programme_id, units=units, made_by=caller.actor, key=key)
            elif before != units:
                raise IDEMPOTENCY_KEY_REUSED()
            may_die_at("fund.written")
        may_die_at("fund.recorded")
        return await store.figures(self._db, programme_id)

    async def end(self, caller: Caller, programme_id: UUID) -> Programme:
        """End a programme before its time; what is not claimed is back when this returns. Ended already is no error."""
        programme = await self.of_agency(caller, programme_id)
        await end_programme(self._db, self._ledger, programme, ProgrammeMove.END_EARLY)
        return await self.of_agency(caller, programme_id)

    async def invite_list(self, caller: Caller, programme_id: UUID, chunks: AsyncIterator[bytes]) -> ListReport:
        """Take in a list of hashed identities as it arrives; sent again it adds nothing.

        Raises `programme_over`, `organisation_needed`, `programme_full`, `list_too_long`; what was taken until then
        stays.
        """
        programme = await self._inviting(caller, programme_id)

        async def add(keys: list[bytes]) -> int:
            return await self._invite(programme, keys)

        return await ListReader(self._keys, programme_id, add).read(chunks)

    async def make_codes(self, caller: Caller, programme_id: UUID, quantity: int) -> CodeBatch:
        """Make invitation codes, which `codes` gives as often as they are asked for.

        Raises `codes_unusable`, `programme_over`, `organisation_needed`, `programme_full`.
        """
        programme = await self._inviting(caller, programme_id)
        made = await store.batches(self._db, programme_id, limit=BATCHES_MAX)
        if not 1 <= quantity <= CODES_MAX or len(made) >= BATCHES_MAX:
            raise CODES_UNUSABLE(codes_max=CODES_MAX, batches_max=BATCHES_MAX)
        if programme.invited + quantity > INVITED_MAX:
            raise PROGRAMME_FULL(invited_max=INVITED_MAX)
        batch_id = new_id()
        async with self._db.transaction() as tx:
            await store.insert_batch(tx, batch_id, programme_id, quantity=quantity, made_by=caller.actor)
        await self._make_ready(programme, batch_id, quantity, ready=0)
        return await self._batch(programme_id, batch_id)

    async def batches(self, caller: Caller, programme_id: UUID) -> list[CodeBatch]:
        """The batches of codes, newest first."""
        await self.of_agency(caller, programme_id)
        return await store.batches(self._db, programme_id, limit=BATCHES_MAX)

    async def codes(self, caller: Caller, programme_id: UUID, batch_id: UUID) -> AsyncIterator[Sequence[str]]:
        """The codes of a batch that open something, some thousands at a time. Raises `codes_unknown`."""
        await self.of_agency(caller, programme_id)
        batch = await self._batch(programme_id, batch_id)
        book = self._keys.codes(batch_id, batch.quantity)

        async def parts() -> AsyncIterator[Sequence[str]]:
            for start in range(1, batch.ready + 1, _CODES_AT_ONCE):
                yield await asyncio.to_thread(_codes, book, range(start, min(start + _CODES_AT_ONCE, batch.ready + 1)))

        return parts()

    async def finish_codes(self, *, limit: int = 10) -> int:
        """Make ready what a request that died left half made, for the steward; answers how many batches.

        One that does not fit into its programme any more stays as it is, and stops no other.
        """
        finished = 0
        for programme_id, batch in await store.unready_batches(self._db, limit=limit):
            try:
                programme = await self.public(programme_id)
                await self._make_ready(programme, batch.id, batch.quantity, ready=batch.ready)
                finished += 1
            except Refused as refused:
                _log.warning("codes_not_finished", batch=str(batch.id), code=refused.code)
        return finished

    async def _inviting(self, caller: Caller, programme_id: UUID) -> Programme:
        programme = await self.of_agency(caller, programme_id)
        _require_open(programme)
        await require_organisation(self._db, programme.agency_id)
        return programme

    async def _make_ready(self, programme: Programme, batch_id: UUID, quantity: int, *, ready: int) -> None:
        book = self._keys.codes(batch_id, quantity)
        for start in range(ready + 1, quantity + 1, _CODES_AT_ONCE):
            last = min(start + _CODES_AT_ONCE - 1, quantity)
            codes = await asyncio.to_thread(_codes, book, range(start, last + 1))
            await self._invite(programme, [self._keys.key_of_code(programme.id, code) for code in codes])
            async with self._db.transaction() as tx:
                await store.write_ready(tx, batch_id, last)

    async def _is_in_time(self, ends_at: datetime) -> bool:
        """Whether a programme may end then, by the database's clock."""
        try:
            moment = ends_at.astimezone(UTC)
        except OverflowError:
            return False
        return bool(
            await self._db.fetchval(
                "SELECT $1::timestamptz > now() AND $1::timestamptz < now() + make_interval(days => $2)",
                moment,
                _KEPT_OPEN_DAYS_MAX,
            )
        )

    async def _batch(self, programme_id: UUID, batch_id: UUID) -> CodeBatch:
        for batch in await store.batches(self._db, programme_id, limit=BATCHES_MAX):
            if batch.id == batch_id:
                return batch
        raise CODES_UNKNOWN()

    async def _invite(self, programme: Programme, keys: Sequence[bytes]) -> int:
        async with self._db.transaction() as tx:
            added = await store.invite(tx, programme.id, keys, invited_max=INVITED_MAX)
            if added is None:
                _require_open(await self.public(programme.id))
                raise PROGRAMME_FULL(invited_max=INVITED_MAX)
        return added


async def end_programme(db: Database, ledger: Ledger, programme: Programme, move: ProgrammeMove) -> bool:
    """Stop the claims of a programme and give back what nobody claimed, in one transaction; False: it had ended."""
    async with db.transaction() as tx:
        book = await ledger.open_book(tx, [programme.id, programme.agency_id], opening=True)
        now = (await store.programmes(tx, [programme.id]))[programme.id]
        after = after_programme_move(now.state, move)
        if after is None:
            return False
        await return_units(tx, book, programme, what="unclaimed")
        await store.write_state(tx, programme.id, after)
        may_die_at("programme_end.written")
    may_die_at("programme_end.recorded")
    return True


async def return_units(tx: Connection, book: OpenBook, programme: Programme, *, what: str) -> int:
    """Give everything that the programme's account holds back to its agency, both locked; answers how many units."""
    units = book.balance(programme.id).available
    if units:
        return_id = new_id()
        lines = (programme.id, programme.agency_id)
        await _pass_all_on(book, Reason.GRANT_RETURNED, units, lines=lines, subject=return_id)
        await store.insert_return(tx, return_id, programme.id, what=what, units=units)
    return units


def passing(reason: Reason, units: int, *, lines: tuple[UUID, UUID], subject: UUID) -> list[Transfer]:
    """Both sides of units that pass from the first account to the second."""
    giver, receiver = lines
    return [
        Transfer(new_id(), Kind.GIVE, reason, units, account=giver, subject=subject),
        Transfer(new_id(), Kind.RECEIVE, reason, units, account=receiver, subject=subject),
    ]


async def _pass_all_on(book: OpenBook, reason: Reason, units: int, *, lines: tuple[UUID, UUID], subject: UUID) -> None:
    """Pass units on. Raises the refusal of a giver that has not so many."""
    for answer in await book.post(passing(reason, units, lines=lines, subject=subject)):
        if isinstance(answer, Refused):
            raise answer


def _codes(book: CodeBook, numbers: range) -> list[str]:
    """Some thousands of codes: tens of milliseconds of work, which nobody else should wait for."""
    return [book.code(number) for number in numbers]


async def _require_own(tx: Connection, book: OpenBook, account_id: UUID, units: int) -> None:
    """Refuse to pass on what was granted to the account and is still to be used or returned."""
    balance = book.balance(account_id)
    owed = await claim_store.owed_back(tx, account_id, used=balance.used)
    if owed and balance.available - owed < units <= balance.available:
        raise GRANTS_NOT_YOURS_TO_GIVE(owed=owed, units_max=max(0, balance.available - owed))


async def _open_under_lock(tx: Connection, programme: Programme) -> None:
    _require_open((await store.programmes(tx, [programme.id]))[programme.id])


def _require_open(programme: Programme) -> None:
    if programme.state is not ProgrammeState.OPEN or programme.overdue:
        raise PROGRAMME_OVER(agency=programme.agency_name)
