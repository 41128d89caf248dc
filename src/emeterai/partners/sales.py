"""Sales: units leave a partner's stock and are the buyer's, in one transaction with the sales that come meanwhile.

Every partner has queues of its own, and its sales lock its own stock and its buyers. So a partner that sells twenty
thousand a second, or has nothing left, is felt by nobody else; and whoever asks too much of one partner hears
`service_busy` there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

from emeterai.accounts.service import Accounts
from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra.batching import Batcher
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Connection, Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.ledger.service import Ledger, OpenBook
from emeterai.partners import sale_store, store
from emeterai.partners.model import PartnerState, Sale, SaleWanted
from emeterai.purchase.units_received import UnitsLeft, any_number
from emeterai.web import paths

__all__ = ["Sale", "SaleWanted", "Sales"]

QUANTITY_MAX = 1_000_000
REFERENCE_LENGTH_MAX = 80
SALES_A_PAGE_MAX = 100
_BATCH_MAX = 1_000
_QUEUE_MAX = 8_000
_LANES = 2
"""So many batches of one partner are under way at once: one is decided and written while the next one is read."""
_ALTERNATIVES_MAX = 3

SOLD_OUT = RefusalKind(
    "sold_out",
    409,
    "Stok penjual ini habis: tersisa {available}, diminta {quantity}. Layanan tidak terganggu dan uang jangan "
    "diterima; pembeli dapat membeli di {alternatives}.",
    "This seller is sold out: {available} left, {quantity} asked. The service is not down; take no money, "
    "the buyer can buy at {alternatives}.",
)
PARTNER_SUSPENDED = RefusalKind(
    "partner_suspended",
    403,
    "Penjualan mitra ini sedang dihentikan oleh penerbit; stoknya utuh. Hubungi penerbit.",
    "The issuer has stopped this partner's sales for now; its stock is untouched. Contact the issuer.",
)
RECIPIENT_UNKNOWN = RefusalKind(
    "recipient_unknown",
    404,
    "Pembeli ini tidak dikenal: tulis surel atau nomor telepon akunnya, atau nomor mitra pengecer Anda.",
    "This buyer is not known: give the account's e-mail address or phone number, or the partner id of your retailer.",
)
SALE_UNUSABLE = RefusalKind(
    "sale_unusable",
    422,
    "Jumlah harus 1 sampai {quantity_max} dan rujukan paling banyak {reference_max} karakter; perbaiki lalu coba lagi.",
    "Sell 1 to {quantity_max} with a reference of at most {reference_max} characters; put it right and try again.",
)
BUYER_LIMIT_REACHED = RefusalKind(
    "buyer_limit_reached",
    409,
    "Pembeli ini sudah mencapai batas meterai untuk 24 jam; stok Anda utuh dan uang jangan diterima. Jual lebih "
    "sedikit, atau minta ia kembali besok.",
    "This buyer has reached the limit of stamps for 24 hours; your stock is untouched, take no money. Sell fewer, "
    "or ask them to come back tomorrow.",
)


class Buyer(NamedTuple):
    """Who receives the units: a person's account, or the stock of a retailer."""

    account: UUID
    is_partner: bool


@dataclass(slots=True)
class _Decided:
    """What becomes of a batch: an answer for each, and the sales to write with their keys and transfers."""

    answers: list[Sale | Refused] = field(default_factory=list)
    sales: list[Sale] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)


class Sales:
    """The verbs of selling. One per process; people can always buy at the service's own shop below `base_url`.

    `left` knows how many units people may get.
    """

    def __init__(
        self, db: Database, ledger: Ledger, accounts: Accounts, *, base_url: str, left: UnitsLeft = any_number
    ) -> None:
        self._left = left
        self._db = db
        self._ledger = ledger
        self._accounts = accounts
        self._shop_url = f"{base_url}{paths.BUY}"
        self._lanes: dict[tuple[UUID, int], Batcher[SaleWanted, Sale]] = {}

    async def sell(self, partner_id: UUID, wanted: SaleWanted) -> Sale:
        """Sell from a partner's stock. The same key with the same content is the same sale.

        Raises `sold_out`, `partner_suspended`, `recipient_unknown`, `buyer_limit_reached`, `sale_unusable`,
        `idempotency_key_reused`; and `service_busy`, after which the same key finds out whether it was sold.
        """
        _require_usable(wanted)
        lane = (partner_id, hash(wanted.idempotency_key) % _LANES)
        if lane not in self._lanes:
            work = partial(self._sell, partner_id)
            self._lanes[lane] = Batcher(work, name="sale", batch_max=_BATCH_MAX, queue_max=_QUEUE_MAX)
        return await self._lanes[lane].submit(wanted)

    async def left_after(self, partner_id: UUID, wanted: SaleWanted) -> int:
        """What the stock would have left after this sale now; sells nothing. Raises as `sell` does.

        For the page that asks before it sells: by then the answer may be another one.
        """
        _require_usable(wanted)
        buyers, available = await self._buyers(partner_id, [wanted]), (await self._ledger.balance(partner_id)).available
        async with self._db.connection() as connection:
            state, at = await sale_store.state_and_time(connection, partner_id)
            known = await sale_store.by_keys(connection, partner_id, [wanted.idempotency_key])
            left = await self._left_of(connection, buyers, [wanted])
        may_sell = state is PartnerState.ACTIVE
        decided = _decide([wanted], buyers, known, left=left, may_sell=may_sell, available=available, at=at)
        (answer,) = await self._with_alternatives(partner_id, decided.answers)
        if isinstance(answer, Exception):
            raise answer
        return available - sum(sale.quantity for sale in decided.sales)

    async def of_partner(
        self, partner_id: UUID, *, before: tuple[datetime, UUID] | None = None, limit: int = 50
    ) -> list[Sale]:
        """A partner's sales, newest first, at most 100; `before` is (sold_at, id) of the last one already seen."""
        limit = min(limit, SALES_A_PAGE_MAX + 1)
        return await sale_store.of_partner(self._db, partner_id, before=before, limit=limit)

    async def _sell(self, partner_id: UUID, batch: Sequence[SaleWanted]) -> list[Sale | Exception]:
        """Lock, read, decide, write: one transaction for sales that arrived together, each with its own answer."""
        if (await self._ledger.balance(partner_id)).available == 0:
            return await self._answer_empty(partner_id, batch)
        buyers = await self._buyers(partner_id, batch)
        async with self._db.transaction() as tx:
            accounts = {buyer.account for buyer in buyers.values()}
            book = await self._ledger.open_book(tx, {partner_id, *accounts}, opening=True)
            state, at = await sale_store.state_and_time(tx, partner_id)
            known = await sale_store.by_keys(tx, partner_id, [wanted.idempotency_key for wanted in batch])
            available, may_sell = book.balance(partner_id).available, state is PartnerState.ACTIVE
            left = await self._left_of(tx, buyers, batch)
            decided = _decide(batch, buyers, known, left=left, may_sell=may_sell, available=available, at=at)
            if decided.sales:
                bundle = new_id()
                await _post(book, partner_id, bundle, decided.sales)
                await sale_store.insert(tx, partner_id, bundle, decided.sales, keys=decided.keys)
            may_die_at("sale.written")
        may_die_at("sale.recorded")
        return await self._with_alternatives(partner_id, decided.answers)

    async def _answer_empty(self, partner_id: UUID, batch: Sequence[SaleWanted]) -> list[Sale | Exception]:
        """What a batch hears when there is nothing to sell: a rush on an empty stock locks nothing."""
        async with self._db.connection() as connection:
            state, at = await sale_store.state_and_time(connection, partner_id)
            known = await sale_store.by_keys(connection, partner_id, [wanted.idempotency_key for wanted in batch])
        repeated = [wanted for wanted in batch if wanted.idempotency_key in known]
        buyers = await self._buyers(partner_id, repeated) if repeated else {}
        decided = _decide(batch, buyers, known, left={}, may_sell=state is PartnerState.ACTIVE, available=0, at=at)
        return await self._with_alternatives(partner_id, decided.answers)

    async def _buyers(self, partner_id: UUID, batch: Sequence[SaleWanted]) -> dict[str, Buyer]:
        """Who is meant by each `to` of a batch; of one that is nobody, nothing."""
        ids = {wanted.to: partner for wanted in batch if (partner := _partner_id(wanted.to)) is not None}
        contacts = {wanted.to for wanted in batch} - ids.keys()
        buyers: dict[str, Buyer] = {}
        if ids:
            retailers = await sale_store.retailers_of(self._db, partner_id, list(ids.values()))
            buyers = {to: Buyer(found, is_partner=True) for to, found in ids.items() if found in retailers}
        if contacts:
            found = await self._accounts.find(list(contacts))
            buyers.update({to: Buyer(account, is_partner=False) for to, account in found.items()})
        return buyers

    async def _left_of(
        self, connection: Connection, buyers: Mapping[str, Buyer], batch: Sequence[SaleWanted]
    ) -> Mapping[UUID, int]:
        """How many units the people of a batch may get; retailers may get any number for their stock."""
        asked: dict[UUID, int] = {}
        for wanted in batch:
            buyer = buyers.get(wanted.to)
            if buyer is not None and not buyer.is_partner:
                asked[buyer.account] = asked.get(buyer.account, 0) + wanted.quantity
        return await self._left(connection, asked) if asked else {}

    async def _with_alternatives(self, partner_id: UUID, answers: Sequence[Sale | Refused]) -> list[Sale | Exception]:
        """The answers; where the stock was too small they name others who sell, read once for all of them."""
        if not any(isinstance(it, Refused) and it.kind is SOLD_OUT for it in answers):
            return list(answers)
        names = await store.sellers_with_stock(self._db, without=partner_id, limit=_ALTERNATIVES_MAX)
        alternatives = ", ".join([self._shop_url, *names])
        return [
            SOLD_OUT(**{**it.facts, "alternatives": alternatives})
            if isinstance(it, Refused) and it.kind is SOLD_OUT
            else it
            for it in answers
        ]


def _require_usable(wanted: SaleWanted) -> None:
    fits = 1 <= wanted.quantity <= QUANTITY_MAX and len(wanted.reference) <= REFERENCE_LENGTH_MAX
    if not fits or not wanted.reference.isprintable():
        raise SALE_UNUSABLE(quantity_max=QUANTITY_MAX, reference_max=REFERENCE_LENGTH_MAX)


def _decide(
    batch: Sequence[SaleWanted],
    buyers: Mapping[str, Buyer],
    earlier: Mapping[str, Sale],
    *,
    left: Mapping[UUID, int],
    may_sell: bool,
    available: int,
    at: datetime,
) -> _Decided:
    """Answer each in order as if they had come one by one; `earlier` are the sales whose keys are repeated.

    `left` is how many units a buyer may still get; who is not in it may get any number.
    """
    known, still, decided = dict(earlier), dict(left), _Decided()
    for wanted in batch:
        buyer, before = buyers.get(wanted.to), known.get(wanted.idempotency_key)
        if before is not None:
            decided.answers.append(before if _is_same(before, wanted, buyer) else IDEMPOTENCY_KEY_REUSED())
        elif not may_sell:
            decided.answers.append(PARTNER_SUSPENDED())
        elif available < wanted.quantity:
            decided.answers.append(SOLD_OUT(available=available, quantity=wanted.quantity, alternatives=""))
        elif buyer is None:
            decided.answers.append(RECIPIENT_UNKNOWN())
        elif still.get(buyer.account, wanted.quantity) < wanted.quantity:
            decided.answers.append(BUYER_LIMIT_REACHED())
        else:
            sale = _new_sale(wanted, buyer, at)
            available -= wanted.quantity
            if buyer.account in still:
                still[buyer.account] -= wanted.quantity
            known[wanted.idempotency_key] = sale
            decided.answers.append(sale)
            decided.sales.append(sale)
            decided.keys.append(wanted.idempotency_key)
    return decided


async def _post(book: OpenBook, partner_id: UUID, bundle: UUID, sales: Sequence[Sale]) -> None:
    """The stock gives the sum of the sales at once; each buyer receives its own."""
    units, reason = sum(sale.quantity for sale in sales), Reason.SOLD
    transfers = [Transfer(new_id(), Kind.GIVE, reason, units, account=partner_id, subject=bundle)]
    transfers += [
        Transfer(new_id(), Kind.RECEIVE, reason, sale.quantity, account=sale.buyer, subject=bundle) for sale in sales
    ]
    await book.post_whole(transfers, about=partner_id)


def _new_sale(wanted: SaleWanted, buyer: Buyer, at: datetime) -> Sale:
    return Sale(
        id=new_id(),
        buyer=buyer.account,
        to_partner=buyer.is_partner,
        quantity=wanted.quantity,
        reference=wanted.reference,
        sold_at=at,
    )


def _is_same(sale: Sale, wanted: SaleWanted, buyer: Buyer | None) -> bool:
    asked = (buyer and buyer.account, wanted.quantity, wanted.reference)
    return asked == (sale.buyer, sale.quantity, sale.reference)


def _partner_id(text: str) -> UUID | None:
    """The id that is meant when somebody names a partner; e-mail addresses and phone numbers are none."""
    try:
        return UUID(text) if len(text) == 36 else None
    except ValueError:
        return None
