"""Partners: who sells from a stock of their own, how much is in it and how long it lasts.

Deposits, moves and sales are in files of their own; all of them lock the stock, which is the quota account of the
partner's id, through the ledger's open book, so whatever changes a partner or its stock takes turns.
"""

from __future__ import annotations

from uuid import UUID

import asyncpg
import structlog

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.serial import SerialBlock
from emeterai.gate.lanes import PARTNERS, put_account_into_lane
from emeterai.infra import metrics
from emeterai.infra.database import Connection, Database
from emeterai.infra.ids import new_id
from emeterai.ledger.channels import SerialChannels
from emeterai.ledger.service import Ledger
from emeterai.partners import store
from emeterai.partners.model import (
    Change,
    Partner,
    PartnerKind,
    PartnerState,
    SerialBlockUse,
    Stock,
    stock_of,
)
from emeterai.partners.signatures import checked_reason

__all__ = ["Partner", "PartnerKind", "PartnerState", "Partners", "Stock"]

PARTNERS_A_PAGE_MAX = 500
WARN_BELOW_MAX = 1_000_000_000
_CHANGES_SHOWN = 50
_NAME_LENGTH_MAX = 120
_CONTACT_LENGTH_MAX = 254
_log = structlog.get_logger(__name__)
_low = metrics.gauge_latest(
    "emeterai_partners_low", "Active partners whose stock is under their own limit, or empty within a day"
)
_sold_out = metrics.gauge_latest("emeterai_partners_sold_out", "Active partners with a limit who have nothing left")

PARTNER_ONLY = RefusalKind(
    "partner_only",
    403,
    "Akun ini bukan akun mitra penjual; masuklah dengan akun mitra.",
    "This account is not a selling partner's; sign in with the partner's account.",
)
PARTNER_UNKNOWN = RefusalKind(
    "partner_unknown",
    404,
    "Mitra ini tidak dikenal; lihat daftar mitra.",
    "There is no such partner; look at the list of partners.",
)
PARTNER_EXISTS = RefusalKind(
    "partner_exists",
    409,
    "Akun ini sudah menjadi akun mitra; pakai akun lain untuk mitra lain.",
    "This account is a partner's already; use another account for another partner.",
)
PARTNER_DETAILS_UNUSABLE = RefusalKind(
    "partner_details_unusable",
    422,
    "Isi nama (1-{name_max} karakter) dan kontak umum (1-{contact_max}); hanya pengecer yang punya distributor.",
    "Give a name (1-{name_max} characters) and a public contact (1-{contact_max}); only a retailer has a distributor.",
)
WARNING_INVALID = RefusalKind(
    "warning_invalid",
    422,
    "Batas peringatan harus antara 0 dan {warn_below_max}; ubah lalu simpan lagi.",
    "The warning limit must be from 0 to {warn_below_max}; change it and save again.",
)


class Partners:
    """The verbs of partners. One per process."""

    def __init__(self, db: Database, ledger: Ledger, serials: SerialChannels) -> None:
        self._db = db
        self._ledger = ledger
        self._serials = serials

    async def register(
        self,
        account_id: UUID,
        *,
        name: str,
        contact: str,
        kind: PartnerKind,
        by: str,
        distributor_id: UUID | None = None,
    ) -> Partner:
        """Let an account sell from a stock of its own. `contact` is public; `by` says who lets it in.

        Raises `partner_exists`, `partner_unknown` for a distributor that is none, `partner_details_unusable`.
        """
        name, contact = " ".join(name.split()), " ".join(contact.split())
        fits = 1 <= len(name) <= _NAME_LENGTH_MAX and 1 <= len(contact) <= _CONTACT_LENGTH_MAX
        if not fits or not (name + contact).isprintable() or (distributor_id and kind is not PartnerKind.RETAILER):
            raise PARTNER_DETAILS_UNUSABLE(name_max=_NAME_LENGTH_MAX, contact_max=_CONTACT_LENGTH_MAX)
        if distributor_id is not None and (await self.get(distributor_id)).kind is not PartnerKind.DISTRIBUTOR:
            raise PARTNER_UNKNOWN()
        async with self._db.transaction() as tx:
            partner = await store.insert(tx, (new_id(), account_id, kind.value, distributor_id, name, contact))
            if partner is None:
                raise PARTNER_EXISTS()
            await store.insert_change(tx, partner.id, change="registered", reason="", done_by=by)
            await put_account_into_lane(tx, account_id, PARTNERS)
        return partner

    async def get(self, partner_id: UUID) -> Partner:
        """One partner. Raises `partner_unknown`."""
        partner = await store.by_id(self._db, partner_id)
        if partner is None:
            raise PARTNER_UNKNOWN()
        return partner

    async def of_account(self, account_id: UUID, *, within: Connection | Database | None = None) -> Partner:
        """The partner that an account acts for, as `within` sees it. Raises `partner_only`."""
        partner = await store.by_account(within or self._db, account_id)
        if partner is None:
            raise PARTNER_ONLY()
        return partner

    async def listed(self, *, after: tuple[str, UUID] | None = None, limit: int = 50) -> list[Partner]:
        """Partners by name, at most 500; `after` is the name and id of the last one already seen."""
        return await store.many(self._db, after=after, limit=min(limit, PARTNERS_A_PAGE_MAX + 1))

    async def names_of(self, ids: set[UUID]) -> dict[UUID, str]:
        """The names of partners by their ids."""
        return await store.names_of(self._db, sorted(ids))

    async def stock(self, partner: Partner) -> Stock:
        """What is in the stock, what was sold, and how long it lasts at the rate of its last sales."""
        balance = await self._ledger.balance(partner.id)
        pace = await store.pace(self._db, partner.id)
        return stock_of(balance.available, pace, warn_below=partner.warn_below)

    async def serial_blocks(self, partner_id: UUID) -> list[SerialBlockUse]:
        """The blocks of serials that were given to this stock in advance: which numbers are its own."""
        return [
            SerialBlockUse(
                prefix=SerialBlock(block.number, bytes(32), block.size).prefix, size=block.size, drawn=block.drawn
            )
            for block in await self._serials.blocks_of(partner_id)
        ]

    async def warn_below(self, partner: Partner, quantity: int) -> None:
        """Set the stock under which the partner is warned. Raises `warning_invalid`."""
        if not 0 <= quantity <= WARN_BELOW_MAX:
            raise WARNING_INVALID(warn_below_max=WARN_BELOW_MAX)
        async with self._db.transaction() as tx:
            await store.write_warn_below(tx, partner.id, quantity)

    async def suspend(self, partner_id: UUID, reason: str, *, by: str) -> None:
        """Stop a partner's sales; when this returns none is under way. Its stock stays. Twice is no error."""
        await self._turn(partner_id, PartnerState.SUSPENDED, checked_reason(reason), by=by)

    async def reinstate(self, partner_id: UUID, reason: str, *, by: str) -> None:
        """Let a suspended partner sell again. Twice is no error."""
        await self._turn(partner_id, PartnerState.ACTIVE, checked_reason(reason), by=by)

    async def changes_of(self, partner_id: UUID) -> list[Change]:
        """Who let a partner in, stopped it and let it go on, and why; newest first, at most 50."""
        return await store.changes_of(self._db, partner_id, limit=_CHANGES_SHOWN)

    async def reserve_serials(self, partner_id: UUID) -> None:
        """Give a stock the serial blocks that it lacks; when none can be made now, the steward does it later."""
        try:
            async with self._db.transaction() as tx:
                await self._serials.reserve(tx, partner_id)
        except (Refused, asyncpg.PostgresError) as error:
            _log.error("serials_not_reserved", partner=str(partner_id), error=type(error).__name__)

    async def sweep(self) -> int:
        """Reserve the serials that stocks lack, and measure who is running out. For the steward; gives how many lacked.

        Several stewards at once do no harm: at worst a stock has more serials than it needs.
        """
        lacking = await self._serials.lacking(await store.all_ids(self._db))
        for partner_id in lacking:
            await self.reserve_serials(partner_id)
        levels = await store.levels(self._db)
        _low.set(sum(level.is_low for level in levels))
        _sold_out.set(sum(level.available == 0 and level.warn_below > 0 for level in levels))
        return len(lacking)

    async def _turn(self, partner_id: UUID, state: PartnerState, reason: str, *, by: str) -> None:
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [partner_id], opening=True)
            partner = await store.by_id(tx, partner_id)
            if partner is None:
                raise PARTNER_UNKNOWN()
            if partner.state is not state:
                await store.write_state(tx, partner_id, state)
                change = "suspended" if state is PartnerState.SUSPENDED else "reinstated"
                await store.insert_change(tx, partner_id, change=change, reason=reason, done_by=by)
