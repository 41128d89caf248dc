"""Vouchers for counters: a batch is made of stock, activated at the till, redeemed once by any account, or voided.

A batch is a quota account of its own. Its units come from the stock when it is made, go to whoever redeems, and return
to the stock when they are voided; whatever changes a voucher happens under the open book of its batch, in the same
transaction as the units that move. The moves are `core/voucher_code.py`'s table.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from uuid import UUID

import msgspec

from emeterai.accounts.groups_spending import require_passing_on
from emeterai.accounts.model import Caller
from emeterai.core.ledger import Reason
from emeterai.core.refusal import RefusalKind
from emeterai.core.voucher_code import CodeBook, VoucherMove, VoucherState, movable
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import BUSY, Connection, Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger
from emeterai.purchase import voucher_store as store
from emeterai.purchase.units_received import CheckVoucher, any_voucher
from emeterai.purchase.voucher_finding import find_voucher
from emeterai.purchase.voucher_model import (
    LABEL_LENGTH_MAX,
    UNITS_MAX,
    VOUCHERS_MAX,
    Activation,
    Batch,
    NewBatch,
    NewVoiding,
    Redemption,
    Span,
    Stock,
    Voiding,
)
from emeterai.purchase.voucher_redeeming import pass_on, redeem_voucher, redemption_of
from emeterai.purchase.voucher_secrets import VoucherSecrets
from emeterai.purchase.voucher_selling import StocksOf, selling

VOUCHER_BATCH_INVALID = RefusalKind(
    "voucher_batch_invalid",
    422,
    "Sebuah paket berisi 1 sampai {vouchers_max} voucer, masing-masing bernilai 1 sampai {units_max} kuota; ubah lalu "
    "coba lagi.",
    "A batch has 1 to {vouchers_max} vouchers of 1 to {units_max} units each; change it and try again.",
)
VOUCHER_BATCH_UNKNOWN = RefusalKind(
    "voucher_batch_unknown",
    404,
    "Anda tidak memiliki paket voucer ini; lihat daftar paket Anda.",
    "You have no such batch of vouchers; look at the list of your batches.",
)
VOUCHER_RANGE_INVALID = RefusalKind(
    "voucher_range_invalid",
    422,
    "Paket ini berisi voucer nomor 1 sampai {last}; pilih nomor awal dan akhir di antaranya.",
    "This batch has vouchers 1 to {last}; choose a first and a last number among them.",
)
VOUCHER_CODES_GONE = RefusalKind(
    "voucher_codes_gone",
    410,
    "Kode paket ini sudah tidak kami simpan. Pakai lembar yang sudah diunduh; bila hilang, batalkan voucernya dan buat "
    "paket baru.",
    "We no longer keep the codes of this batch. Use the sheet that was downloaded; if it is lost, void the vouchers "
    "and make a new batch.",
)
VOUCHER_ENDED = RefusalKind(
    "voucher_ended",
    409,
    "Voucer nomor {number} sudah ditukarkan atau dibatalkan. Jangan dijual; ambil yang lain.",
    "Voucher {number} is redeemed or void already. Do not sell it; take another one.",
)
VOUCHER_VOIDING_UNCONFIRMED = RefusalKind(
    "voucher_voiding_unconfirmed",
    422,
    "Voucer yang dibatalkan tidak dapat dipakai lagi oleh siapa pun. Nyatakan bahwa Anda memang menghendakinya.",
    "Nobody can use a voucher that is void. Confirm that this is what you want.",
)
BATCHES_A_PAGE_MAX = 100
CODES_LIFE_S = 7 * 86_400.0
"""So long the codes of a batch can be downloaded for the first time."""
CODES_KEPT_S = 86_400.0
"""So long after the first download they can be downloaded again: a line breaks, a printer jams."""
SWEEP_EVERY_S = 60.0
_REDEEMED_AT_ONCE = 4
"""In one process: who waits for a batch that everybody redeems holds a connection, and others need some too."""
_REDEEMING_MAX = 400
"""So many wait for their turn in one process; a further one is told at once that the service is busy."""
_SPANS_MAX = 60
_VOIDINGS_MAX = 20


class Vouchers:
    """The verbs of vouchers. `secret` is the installation's: the same in every web process, never in the database.

    `check` knows who may get how many units by vouchers.
    """

    def __init__(
        self, db: Database, ledger: Ledger, *, secret: bytes, stocks_of: StocksOf, check: CheckVoucher = any_voucher
    ) -> None:
        self._check = check
        self._db = db
        self._ledger = ledger
        self._secrets = VoucherSecrets(secret)
        self._turns = asyncio.Semaphore(_REDEEMED_AT_ONCE)
        self._redeeming = 0
        self._stocks_of = stocks_of

    async def stocks_of(self, caller: Caller) -> Sequence[Stock]:
        """The stocks of which somebody may make vouchers now."""
        return await self._stocks_of(caller, self._db)

    async def make(
        self,
        caller: Caller,
        *,
        vouchers: int,
        units: int,
        stock_id: UUID | None = None,
        label: str = "",
        idempotency_key: str | None = None,
    ) -> Batch:
        """Make `vouchers` of `units` each of a stock; without `stock_id` of the only one that is theirs.

        The same key with the same content gives the same batch. Raises `voucher_batch_invalid`,
        `voucher_stock_unknown`, `voucher_stock_suspended`, `quota_not_enough`, `idempotency_key_reused`, and of a
        group's member `group_not_approved`, `group_not_yours`, `passing_on_limited`.
        """
        if not (1 <= vouchers <= VOUCHERS_MAX and 1 <= units <= UNITS_MAX):
            raise VOUCHER_BATCH_INVALID(vouchers_max=VOUCHERS_MAX, units_max=UNITS_MAX)
        stock = selling(await self.stocks_of(caller), stock_id)
        batch_id, key, label = new_id(), self._secrets.new_key(), _tidy_label(label)
        request = msgspec.json.encode([vouchers, units, stock.id, label])
        new = NewBatch(
            id=batch_id,
            stock_id=stock.id,
            made_by=caller.actor,
            label=label,
            vouchers=vouchers,
            units=units,
            idempotency_key=idempotency_key,
            request_digest=hashlib.sha256(request).digest(),
            enciphered_key=self._secrets.enciphered(batch_id, key),
            codes_life_s=CODES_LIFE_S,
        )
        digests = [self._secrets.digest(code) for code in CodeBook(key, vouchers).codes()]
        return await _made_before(self._db, new) or await self._make(caller, new, digests)

    async def _make(self, caller: Caller, new: NewBatch, digests: Sequence[bytes]) -> Batch:
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, [new.stock_id, new.id], opening=True)
            earlier = await _made_before(tx, new)
            if earlier is not None:
                return earlier
            selling(await self._stocks_of(caller, tx), new.stock_id)
            await require_passing_on(tx, caller)
            await pass_on(
                book,
                Reason.VOUCHERS_MADE,
                new.vouchers * new.units,
                giver=new.stock_id,
                receiver=new.id,
                subject=new.id,
            )
            if not await store.insert_batch(tx, new, [new_id() for _ in digests], digests):
                raise IDEMPOTENCY_KEY_REUSED()
            may_die_at("batch.written")
            batch = await _read(tx, new.id)
        may_die_at("batch.recorded")
        return batch

    async def batch(self, caller: Caller, batch_id: UUID) -> Batch:
        """One batch of a stock of theirs. Raises `voucher_batch_unknown`, for others' too."""
        batch = await store.batch_by_id(self._db, batch_id)
        if batch is None or batch.stock_id not in await self._stock_ids(caller):
            raise VOUCHER_BATCH_UNKNOWN()
        return batch

    async def batches(self, caller: Caller, *, before: UUID | None = None, limit: int = 20) -> list[Batch]:
        """The batches of their stocks, newest first; `before` is the last one already seen."""
        stocks = await self._stock_ids(caller)
        return await store.batches_of(self._db, list(stocks), before=before, limit=min(limit, BATCHES_A_PAGE_MAX + 1))

    async def spans(self, batch_id: UUID) -> list[Span]:
        """The vouchers of a batch as runs of neighbours in one state, the first sixty runs."""
        return await store.spans_of(self._db, batch_id, limit=_SPANS_MAX)

    async def voidings(self, batch_id: UUID) -> list[Voiding]:
        """The newest twenty voidings of a batch."""
        return await store.voidings_of(self._db, batch_id, limit=_VOIDINGS_MAX)

    async def codes(self, caller: Caller, batch_id: UUID) -> tuple[Batch, list[str]]:
        """A batch and its codes, from voucher 1 on, for one download. Raises `voucher_batch_unknown`, `..._codes_gone`.

        The first download starts the day after which they are forgotten.
        """
        await self.batch(caller, batch_id)
        async with self._db.transaction() as tx:
            enciphered = await store.take_key(tx, batch_id, kept_s=CODES_KEPT_S)
        key = self._secrets.deciphered(batch_id, enciphered) if enciphered is not None else None
        if key is None:
            raise VOUCHER_CODES_GONE()
        batch = await self.batch(caller, batch_id)
        return batch, CodeBook(key, batch.vouchers).codes()

    async def forget_codes(self, caller: Caller, batch_id: UUID) -> Batch:
        """Forget the codes now: the sheet is printed. Raises `voucher_batch_unknown`."""
        await self.batch(caller, batch_id)
        async with self._db.transaction() as tx:
            await store.forget_key(tx, batch_id)
        return await self.batch(caller, batch_id)

    async def activate(
        self, caller: Caller, batch_id: UUID, *, first: int | None = None, last: int | None = None
    ) -> Activation:
        """Activate the vouchers `first` to `last`, without them the whole batch. What is active stays so.

        Raises `voucher_batch_unknown`, `voucher_range_invalid`, `voucher_stock_suspended`, `group_not_approved`.
        """
        batch = await self.batch(caller, batch_id)
        first, last = _range(batch, first, last)
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [batch_id, batch.stock_id])
            selling(await self._stocks_of(caller, tx), batch.stock_id)
            states = movable(VoucherMove.ACTIVATE)
            activated = await store.write_active(tx, batch_id, first=first, last=last, states=states)
            may_die_at("activate.written")
        may_die_at("activate.recorded")
        return Activation(batch_id=batch_id, first=first, last=last, activated=activated)

    async def activate_code(self, caller: Caller, typed: str, *, address: str) -> Activation:
        """Activate the voucher of this code, of a stock of theirs; an active one stays so.

        Raises the refusals of `find_voucher`, `voucher_ended` and `voucher_stock_suspended`.
        """
        stocks = await self._stock_ids(caller)
        found = await find_voucher(
            self._db, self._secrets, typed, account_id=caller.actor, address=address, stocks=stocks
        )
        done = await self.activate(caller, found.batch_id, first=found.number, last=found.number)
        now = await store.voucher_by_id(self._db, found.id)
        if not done.activated and now is not None and now.state is not VoucherState.ACTIVE:
            raise VOUCHER_ENDED(number=found.number)
        return done

    async def void(
        self,
        caller: Caller,
        batch_id: UUID,
        *,
        first: int | None = None,
        last: int | None = None,
        confirmed: bool,
        idempotency_key: str | None = None,
    ) -> Voiding:
        """Void the vouchers `first` to `last` that nobody has redeemed; their units are in the stock again.

        Raises `voucher_batch_unknown`, `voucher_range_invalid`, `voucher_voiding_unconfirmed`, and
        `idempotency_key_reused` for a key that voided another range.
        """
        batch = await self.batch(caller, batch_id)
        first, last = _range(batch, first, last)
        if not confirmed:
            raise VOUCHER_VOIDING_UNCONFIRMED()
        states = movable(VoucherMove.VOID)
        async with self._db.transaction() as tx:
            book = await self._ledger.open_book(tx, [batch_id, batch.stock_id])
            earlier = await store.voiding_by_key(tx, caller.actor, idempotency_key) if idempotency_key else None
            if earlier is not None:
                if (earlier.batch_id, earlier.first, earlier.last) != (batch_id, first, last):
                    raise IDEMPOTENCY_KEY_REUSED()
                return earlier
            live = await store.count_in(tx, batch_id, first=first, last=last, states=states)
            units = live * batch.units
            if units:
                await pass_on(
                    book,
                    Reason.VOUCHERS_VOIDED,
                    units,
                    giver=batch_id,
                    receiver=batch.stock_id,
                    subject=batch_id,
                )
            new = NewVoiding(new_id(), batch_id, first, last, live, units, caller.actor, idempotency_key)
            voiding = await store.write_void(tx, new, states=states)
            if voiding is None:
                raise IDEMPOTENCY_KEY_REUSED()
            may_die_at("void.written")
        may_die_at("void.recorded")
        return voiding

    async def redeem(
        self, account_id: UUID, typed: str, *, address: str, idempotency_key: str | None = None
    ) -> Redemption:
        """Redeem the voucher of this code, as `voucher_redeeming.redeem_voucher` promises, and with its refusals.

        Raises `service_busy` too, after which the same code can be sent again.
        """
        if self._redeeming >= _REDEEMING_MAX:
            raise BUSY(retry_after_s=2)
        self._redeeming += 1
        try:
            found = await find_voucher(self._db, self._secrets, typed, account_id=account_id, address=address)
            async with self._turns:
                return await redeem_voucher(
                    self._db, self._ledger, found, account_id=account_id, key=idempotency_key, check=self._check
                )
        finally:
            self._redeeming -= 1

    async def redemption(self, account_id: UUID, voucher_id: UUID) -> Redemption | None:
        """What the account got for a voucher that it has redeemed; None for every other voucher."""
        voucher = await store.voucher_by_id(self._db, voucher_id)
        return redemption_of(voucher) if voucher is not None and voucher.redeemed_by == account_id else None

    async def _stock_ids(self, caller: Caller) -> set[UUID]:
        return {stock.id for stock in await self.stocks_of(caller)}


async def sweep_vouchers(db: Database, limit: int = 1_000) -> int:
    """Forget codes and counted tries whose time is over; answers of how many batches. For the steward."""
    async with db.transaction() as tx:
        return await store.sweep(tx, limit)


def _tidy_label(typed: str) -> str:
    """A label on one line, as it can be printed on a sheet."""
    printable = "".join(character if character.isprintable() else " " for character in typed)
    return " ".join(printable.split())[:LABEL_LENGTH_MAX]


async def _made_before(connection: Connection | Database, new: NewBatch) -> Batch | None:
    """The batch that the same key made; None for a new key. Raises `idempotency_key_reused`."""
    if new.idempotency_key is None:
        return None
    found = await store.batch_by_key(connection, new.made_by, new.idempotency_key)
    if found is None:
        return None
    if found[1] != new.request_digest:
        raise IDEMPOTENCY_KEY_REUSED()
    return found[0]


async def _read(tx: Connection, batch_id: UUID) -> Batch:
    batch = await store.batch_by_id(tx, batch_id)
    assert batch is not None
    return batch


def _range(batch: Batch, first: int | None, last: int | None) -> tuple[int, int]:
    """The numbers meant; the whole batch without any, one voucher with one. Raises `voucher_range_invalid`."""
    start = 1 if first is None else first
    end = last if last is not None else batch.vouchers if first is None else first
    if not 1 <= start <= end <= batch.vouchers:
        raise VOUCHER_RANGE_INVALID(last=batch.vouchers)
    return start, end
