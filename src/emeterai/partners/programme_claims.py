"""Claiming a grant: once for each identity or code, and once for each account; the units are the person's at once.

Claims that arrive together are decided together, under the locks of their programmes and of the people: a programme
with a million applicants has one balance row, and the rush on it is a few transactions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from uuid import UUID

from emeterai.accounts.guesses import guess_key
from emeterai.accounts.service import Caller
from emeterai.core.granting import ProgrammeState, tidy_identity
from emeterai.core.ledger import Reason
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.voucher_code import is_code, tidy_code
from emeterai.infra.batching import Batcher
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger, OpenBook
from emeterai.partners import programme_claim_store as store
from emeterai.partners import programme_store
from emeterai.partners.programme_model import Claim, ClaimWanted, KnownClaim, Programme
from emeterai.partners.programme_secrets import ProgrammeSecrets
from emeterai.partners.programmes import PROGRAMME_OVER, PROGRAMME_UNKNOWN, passing

__all__ = ["Claim", "Claims"]

TRIES_MAX = 5
TRIES_OF_ADDRESS_MAX = 100
"""Behind one address of a mobile network are many people."""
_TRIES_WINDOW_S = 3_600
_BATCH_MAX = 128
_GRANTS_MAX = 200

IDENTITY_UNUSABLE = RefusalKind(
    "identity_unusable",
    422,
    "Tulis 16 angka NIK seperti pada KTP; kami hanya mencocokkannya dan tidak menyimpannya.",
    "Write the 16 digits of your NIK as on your identity card; we only compare them and keep nothing of them.",
)
CODE_UNUSABLE = RefusalKind(
    "grant_code_unusable",
    422,
    "Periksa kode undangan: 16 huruf dan angka, misalnya 7K2M-Q9XR-T4VB-8WNC. Ada yang salah ketik.",
    "Check the invitation code: 16 letters and digits, such as 7K2M-Q9XR-T4VB-8WNC. Something is mistyped.",
)
NOT_INVITED = RefusalKind(
    "grant_not_invited",
    404,
    "Tidak ada hibah untuk ini di program ini. Periksa ketikan Anda, lalu tanyakan kepada lembaganya.",
    "This programme has no grant for this. Check what you typed, then ask its agency.",
)
CLAIMED_BY_OTHER = RefusalKind(
    "grant_claimed_by_other",
    409,
    "Hibah ini sudah diambil dengan akun lain. Masuk dengan akun itu, atau tanyakan kepada lembaganya.",
    "This grant was claimed with another account. Sign in with that one, or ask the agency.",
)
CLAIMED_BY_YOU = RefusalKind(
    "grant_claimed_by_you",
    409,
    "Akun ini sudah mengambil hibah program ini dengan NIK atau kode lain; satu orang satu kali.",
    "This account has claimed from this programme with another NIK or code; each person claims once.",
)
PROGRAMME_EMPTY = RefusalKind(
    "programme_empty",
    409,
    "Meterai program ini sedang habis; hak Anda tetap ada. Beri tahu {agency}, lalu coba lagi.",
    "This programme has no stamps left for now; yours is still due. Tell {agency}, then try again.",
)
CLAIM_TRIES_OVER = RefusalKind(
    "claim_tries_over",
    429,
    "Terlalu banyak percobaan yang tidak cocok; tunggu {retry_after_s} detik, lalu coba lagi.",
    "Too many tries that did not match; wait {retry_after_s} seconds, then try again.",
)
_GUESSES = frozenset({NOT_INVITED, CLAIMED_BY_OTHER, CLAIMED_BY_YOU})
"""What only a guess may hear often. That a programme is empty or the service busy is not the applicant's mistake."""


class Claims:
    """The verbs of people who claim. A grant always goes to the person, whomever he acts for."""

    def __init__(self, db: Database, ledger: Ledger, keys: ProgrammeSecrets) -> None:
        self._db = db
        self._ledger = ledger
        self._keys = keys
        self._claims: Batcher[ClaimWanted, bool] = Batcher(self._claim_many, name="claim", batch_max=_BATCH_MAX)

    async def claim(
        self,
        caller: Caller,
        programme_id: UUID,
        *,
        identity: str | None = None,
        code: str | None = None,
        address: str = "",
    ) -> tuple[Claim, bool]:
        """Claim by an identity number or a code; answers the grant and whether it is new. Sent again it is the same.

        The number is hashed, compared and forgotten. Raises `programme_over`, `programme_empty`,
        `grant_not_invited`, `grant_claimed_by_other`, `grant_claimed_by_you`, `claim_tries_over` and what says that
        the number or the code was mistyped.
        """
        programme = (await programme_store.programmes(self._db, [programme_id])).get(programme_id)
        if programme is None:
            raise PROGRAMME_UNKNOWN()
        tidy = _tidy(identity, code)
        tries = _try_keys(programme_id, caller.actor, address)
        await self._take_try(tries)
        try:
            key = (
                self._keys.key_of_code(programme_id, tidy)
                if code
                else await self._keys.key_of_identity(programme_id, tidy, programme.salt)
            )
            is_new = await self._claims.submit(ClaimWanted(programme_id, caller.actor, key))
        except Refused as refused:
            if refused.kind not in _GUESSES:
                await self._forget_try(tries)
            raise
        await self._forget_try(tries)
        claim = await store.claim_of(self._db, programme_id, caller.actor)
        assert claim is not None
        return claim, is_new

    async def mine(self, account_id: UUID, programme_id: UUID) -> Claim | None:
        """What an account has claimed of a programme, or None."""
        return await store.claim_of(self._db, programme_id, account_id)

    async def grants(self, account_id: UUID, *, only_open: bool = False) -> list[Claim]:
        """The grants that an account claimed, newest first; the last two hundred."""
        return await store.claims_of_account(self._db, account_id, only_open=only_open, limit=_GRANTS_MAX)

    async def sweep(self, *, limit: int = 1_000) -> int:
        """Forget old windows of tries, for the steward; answers how many."""
        async with self._db.transaction() as tx:
            return await store.forget_old_tries(tx, limit=limit)

    async def _take_try(self, tries: Sequence[bytes]) -> None:
        """Count a try before it is made, so that tries at the same moment count too."""
        async with self._db.transaction() as tx:
            counted = await store.count_tries(tx, tries, window_s=_TRIES_WINDOW_S)
        for key, limit in zip(tries, (TRIES_MAX, TRIES_OF_ADDRESS_MAX), strict=False):
            count, left_s = counted[key]
            if count > limit:
                raise CLAIM_TRIES_OVER(retry_after_s=max(1, left_s))

    async def _forget_try(self, tries: Sequence[bytes]) -> None:
        async with self._db.transaction() as tx:
            await store.forget_try(tx, tries)

    async def _claim_many(self, batch: Sequence[ClaimWanted]) -> list[bool | Refused]:
        """Lock, read, decide, write: one transaction for claims that arrived together, each with its own answer."""
        async with self._db.transaction() as tx:
            accounts = {one.programme_id for one in batch} | {one.account_id for one in batch}
            book = await self._ledger.open_book(tx, accounts, opening=True)
            programmes = await programme_store.programmes(tx, {one.programme_id for one in batch})
            invited = await store.are_invited(tx, batch)
            desk = _Desk(programmes, invited, await store.known_claims(tx, batch), book)
            answers = [desk.decide(one) for one in batch]
            if desk.granted:
                transfers = [
                    transfer
                    for claim_id, one, units, _ in desk.granted
                    for transfer in passing(
                        Reason.GRANTED, units, lines=(one.programme_id, one.account_id), subject=claim_id
                    )
                ]
                await book.post_whole(transfers, about="the claims of a batch")
                await store.insert_claims(tx, desk.granted)
            may_die_at("claim.written")
        may_die_at("claim.recorded")
        return answers


class _Desk:
    """What was read under the locks, and what is decided upon it, one claim after another."""

    def __init__(
        self,
        programmes: dict[UUID, Programme],
        invited: set[tuple[UUID, bytes]],
        known: Sequence[KnownClaim],
        book: OpenBook,
    ) -> None:
        self.granted: list[tuple[UUID, ClaimWanted, int, int]] = []
        self._programmes = programmes
        self._invited = invited
        self._by_key = {(it.programme_id, it.key): it.account_id for it in known}
        self._by_account = {(it.programme_id, it.account_id) for it in known}
        self._left = {it: book.balance(it).available for it in programmes}
        self._book = book

    def decide(self, wanted: ClaimWanted) -> bool | Refused:
        """True: granted; False: this very claim was granted before; or why not."""
        programme, units = self._programmes[wanted.programme_id], self._programmes[wanted.programme_id].units_each
        place, seat = (wanted.programme_id, wanted.key), (wanted.programme_id, wanted.account_id)
        claimed_by = self._by_key.get(place)
        if claimed_by is not None:
            return False if claimed_by == wanted.account_id else CLAIMED_BY_OTHER()
        if place not in self._invited:
            return NOT_INVITED()
        if seat in self._by_account:
            return CLAIMED_BY_YOU()
        if programme.state is not ProgrammeState.OPEN or programme.overdue:
            return PROGRAMME_OVER(agency=programme.agency_name)
        if self._left[programme.id] < units:
            return PROGRAMME_EMPTY(agency=programme.agency_name)
        self._left[programme.id] -= units
        self._by_key[place] = wanted.account_id
        self._by_account.add(seat)
        self.granted.append((new_id(), wanted, units, self._book.balance(wanted.account_id).used))
        return True


def _tidy(identity: str | None, code: str | None) -> str:
    if code:
        tidy = tidy_code(code[:200])
        if not is_code(tidy):
            raise CODE_UNUSABLE()
        return tidy
    number = tidy_identity(identity or "")
    if number is None:
        raise IDENTITY_UNUSABLE()
    return number


def _try_keys(programme_id: UUID, account_id: UUID, address: str) -> list[bytes]:
    keys = [hashlib.sha256(programme_id.bytes + account_id.bytes).digest()]
    return [*keys, guess_key(f"programme {programme_id}", address)] if address else keys


async def owed_to_agencies(tx: Connection, account_id: UUID, *, used: int) -> int:
    """How many units of open grants an account that has used so many still has to use, or to give back to agencies."""
    return await store.owed_back(tx, account_id, used=used)
