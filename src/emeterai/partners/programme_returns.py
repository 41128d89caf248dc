"""The end of programmes: units come back by themselves, a bounded batch at a time, and every one is accounted for.

What nobody claimed goes back in the transaction that ends the programme. Of what was claimed, each person gives back
min(available, granted - used since the claim); that returns to the programme and from there to the agency.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from emeterai.core.granting import ProgrammeMove, ProgrammeState, Split, after_programme_move, split_of_grant
from emeterai.core.ledger import Balance, Reason
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.ledger.service import Ledger
from emeterai.partners import programme_claim_store as claim_store
from emeterai.partners import programme_store as store
from emeterai.partners.programme_model import Claim, Programme
from emeterai.partners.programmes import end_programme, passing, return_units

_PROGRAMMES_AT_ONCE = 20
_CLAIMS_A_BATCH = 200
_BATCHES_A_SWEEP = 50
_PUT_OFF_S = 60.0
_PATIENCE_S = 3_600.0
"""A stamp that is being made at the end becomes used or comes back within minutes; so long its grant waits for that."""
_log = structlog.get_logger(__name__)


class GrantReturns:
    """What the steward does about programmes whose end has come. Several stewards at once do no harm."""

    def __init__(self, db: Database, ledger: Ledger, *, patience_s: float = _PATIENCE_S) -> None:
        self._db = db
        self._ledger = ledger
        self._patience_s = patience_s

    async def sweep(self) -> int:
        """End every programme that is over and return what is left of it; answers how many grants ended.

        A programme that fails stops no other: what went wrong with the first is raised at the end. One with very many
        grants goes on in the next sweep.
        """
        ended, failed, last = 0, None, None
        while due := await store.to_end(self._db, after=last, limit=_PROGRAMMES_AT_ONCE):
            last = due[-1].id
            for programme in due:
                try:
                    ended += await self._end(programme)
                except Exception as error:  # noqa: BLE001 - raised once the others have had their turn
                    failed = failed or error
        if failed is not None:
            raise failed
        return ended

    async def _end(self, programme: Programme) -> int:
        """One programme, as far as one sweep goes."""
        ended = 0
        if programme.state is ProgrammeState.OPEN:
            await end_programme(self._db, self._ledger, programme, ProgrammeMove.OVERDUE)
        for _ in range(_BATCHES_A_SWEEP):
            claims = await claim_store.open_claims(self._db, programme.id, limit=_CLAIMS_A_BATCH)
            if not claims:
                break
            ended += await self._end_claims(programme, claims)
        await self._settle(programme)
        return ended

    async def _end_claims(self, programme: Programme, claims: Sequence[Claim]) -> int:
        """End grants of a programme: their units go back to its account, as far as they are available."""
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, [programme.id, *(claim.account_id for claim in claims)])
            is_late = await tx.fetchval(
                "SELECT $1::timestamptz + make_interval(secs => $2) < now()", claims[0].ends_at, self._patience_s
            )
            still = await claim_store.still_open(tx, [claim.id for claim in claims])
            splits: dict[UUID, Split] = {}
            waiting: list[UUID] = []
            for claim in claims:
                if claim.id in still:
                    split = _split(claim, book.balance(claim.account_id), is_late=is_late)
                    if split is None:
                        waiting.append(claim.id)
                    else:
                        splits[claim.id] = split
            transfers = [
                transfer
                for claim in claims
                if claim.id in splits and splits[claim.id].returned
                for transfer in passing(
                    Reason.GRANT_RETURNED,
                    splits[claim.id].returned,
                    lines=(claim.account_id, programme.id),
                    subject=claim.id,
                )
            ]
            await book.post_whole(transfers, about=programme.id)
            await claim_store.end_claims(tx, splits)
            await claim_store.put_off(tx, waiting, delay_s=_PUT_OFF_S)
            may_die_at("grant_return.written")
        may_die_at("grant_return.recorded")
        return len(splits)

    async def _settle(self, programme: Programme) -> None:
        """Pass on to the agency what has come back so far; when nothing is left out, the programme has ended."""
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, [programme.id, programme.agency_id], opening=True)
            now = (await store.programmes(tx, [programme.id]))[programme.id]
            after = after_programme_move(now.state, ProgrammeMove.ALL_RETURNED)
            if after is None:
                return
            units = await return_units(tx, book, programme, what="claimed")
            is_over = not await claim_store.has_open_claims(tx, programme.id)
            if is_over:
                await store.write_state(tx, programme.id, after)
            may_die_at("grant_settle.written")
        may_die_at("grant_settle.recorded")
        if units or is_over:
            _log.info("grants_returned", programme=str(programme.id), units=units, ended=is_over)


def _split(claim: Claim, balance: Balance, *, is_late: bool) -> Split | None:
    """What a grant became; None when a stamp that is being made now will decide about a unit of it."""
    split = split_of_grant(claim.units, used_since=balance.used - claim.used_before, available=balance.available)
    if split.kept and balance.held and not is_late:
        return None
    return split
