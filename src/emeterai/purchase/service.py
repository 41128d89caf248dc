"""Buying quota: an order is made, its money is seen, and in the same moment it is quota.

Whoever sees the money first settles the order: a notification, our own question to the provider, or a line of its
settlement file. All go through `settling.py`, under the buyer's open book, and post transfers whose ids were made with
the order: so there is one credit. Money that does not become quota goes back (`returns.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import structlog

from emeterai.accounts.groups_buying import locks_of_buyer, note_order
from emeterai.accounts.groups_seats import Seat
from emeterai.core.ordering import OrderMove, OrderState, Seen, after_order_move
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.infra import metrics
from emeterai.infra.crash_points import may_die_at
from emeterai.infra.database import Database
from emeterai.infra.http import IDEMPOTENCY_KEY_REUSED
from emeterai.infra.ids import new_id
from emeterai.infra.lane import lift_deadline
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase import cases_store, charge_store, money_in_flight, store
from emeterai.purchase.cases import Cases
from emeterai.purchase.checking import FIRST_CHECK_S, claim_check, watch_charge
from emeterai.purchase.limits import IsPartner, check_limits, no_partner
from emeterai.purchase.looking import Looking
from emeterai.purchase.model import NO_WISHES, Channel, Order, Source, Wishes
from emeterai.purchase.noting import Noting
from emeterai.purchase.pricing import Pricing, Quote
from emeterai.purchase.provider import PROVIDER_UNAVAILABLE, PaymentProvider
from emeterai.purchase.providers import PROVIDER_UNKNOWN, Providers
from emeterai.purchase.returns import Owed, Returns, nothing_owed
from emeterai.purchase.returns_model import CaseKind
from emeterai.purchase.settling import Settling
from emeterai.purchase.together import finish_all

__all__ = ["PROVIDER_UNAVAILABLE", "PROVIDER_UNKNOWN", "Channel", "Order", "OrderState", "Purchase", "Source", "Wishes"]

ORDER_QUANTITY_INVALID = RefusalKind(
    "order_quantity_invalid",
    422,
    "Jumlah meterai harus antara 1 dan {quantity_max}; ubah lalu coba lagi.",
    "The number of stamps must be from 1 to {quantity_max}; change it and try again.",
)
ORDER_UNKNOWN = RefusalKind(
    "order_unknown",
    404,
    "Anda tidak memiliki pesanan ini; lihat daftar pesanan Anda.",
    "You have no such order; look at the list of your orders.",
)
ORDER_NOT_OPEN = RefusalKind(
    "order_not_open",
    409,
    "Pesanan ini tidak lagi menunggu pembayaran; lihat keadaannya di halaman pesanan.",
    "This order is no longer awaiting payment; see its state on the order's page.",
)

ORDERS_A_PAGE_MAX = 100
_CHECKS_AT_ONCE = 4
_WORKED_AT_ONCE = 4
_WAITING_MAX = 200
_UNWORKED_AGE_S = 5.0
_log = structlog.get_logger(__name__)
_notifications = metrics.counter("emeterai_payment_notifications", "Payment notifications by outcome", ["outcome"])


class Purchase:
    """The verbs of buying. One per process; `providers` are asked in their order of preference.

    `returns` has the verbs of the money's way back, `cases` those of staff, `looking` asks about single transactions.
    """

    def __init__(
        self,
        db: Database,
        ledger: Ledger,
        settings: Settings,
        *,
        providers: Sequence[PaymentProvider],
        owed: Owed = nothing_owed,
        is_partner: IsPartner = no_partner,
    ) -> None:
        self._db = db
        self._ledger = ledger
        self._settings = settings
        self._is_partner = is_partner
        self._pricing = Pricing(settings)
        self._providers = Providers(providers, base_url=settings.base_url)
        self._settling = Settling(ledger, quota_due_s=settings.quota_due_s)
        self.returns = Returns(db, ledger, self._providers, silence_s=settings.provider_silence_s, owed=owed)
        self.looking = Looking(db, self._providers, apply_seen=self.apply_seen)
        self.cases = Cases(db, ledger, self._providers, look_at=self.looking.look_at, owed=owed)
        self._noting = Noting(db)
        self._turns = asyncio.Semaphore(_WORKED_AT_ONCE)
        self._waiting = 0
        self._swept_to: tuple[datetime, UUID] | None = None

    async def create_order(
        self,
        account_id: UUID,
        quantity: int,
        *,
        idempotency_key: str | None = None,
        wishes: Wishes = NO_WISHES,
        made_by: UUID | None = None,
    ) -> Order:
        """Make an order and open its charge. The same key with the same wishes gives the same order.

        Raises `order_quantity_invalid`, `order_channel_invalid`, `idempotency_key_reused` or `provider_unavailable`:
        then nothing is owed, and the same key (or `open_charge`) continues with the same order.
        """
        order = await self.place_order(
            account_id, quantity, idempotency_key=idempotency_key, wishes=wishes, made_by=made_by
        )
        return await self.open_charge(account_id, order.id) if order.is_payable else order

    async def place_order(
        self,
        account_id: UUID,
        quantity: int,
        *,
        idempotency_key: str | None = None,
        wishes: Wishes = NO_WISHES,
        made_by: UUID | None = None,
    ) -> Order:
        """Make an order without asking a provider yet. Raises as `create_order` does, save `provider_unavailable`.

        Price and channel are fixed with it; without a wish it is the channel that suits the amount. An order that is
        there by its key keeps both, whatever the settings are now.
        `made_by` is the member who orders for a group. Beyond the account's limits it raises `units_a_day_reached`,
        `orders_an_hour_reached` or `open_orders_reached`.
        """
        self._check_quantity(quantity)
        provider = self._providers.preferred.name
        quote = self._pricing.quote(quantity, wishes.channel, has_channels=self._providers.has_channels)
        new = self._new_order(account_id, quantity, idempotency_key, wishes=wishes, quote=quote, provider=provider)
        async with self._db.transaction() as tx:
            order = await store.insert_order(tx, new)
            if order is not None:
                quote.check()
                await self._ledger.open_book(tx, await locks_of_buyer(tx, account_id), opening=True)
                await check_limits(tx, account_id, quantity, settings=self._settings, is_partner=self._is_partner)
                await note_order(tx, account_id, order.id, member_id=made_by)
        may_die_at("order.placed")
        if order is not None:
            return order
        assert idempotency_key is not None
        order = await store.order_by_key(self._db, account_id, idempotency_key)
        if order is None or order.request_digest != new.request_digest:
            raise IDEMPOTENCY_KEY_REUSED()
        return order

    async def open_charge(self, account_id: UUID, order_id: UUID) -> Order:
        """Open the charge of an order that has none, so that it has a page to pay at; otherwise the order as it is.

        Raises `order_unknown`, `order_not_open` or `provider_unavailable`.
        """
        order = await self.order(account_id, order_id)
        if not order.is_payable:
            raise ORDER_NOT_OPEN()
        if order.pay_url is None:
            lift_deadline()  # the provider begins something here, which must be written down
            provider, charge = await self._providers.charge(order, channel=self._pricing.channel_of(order))
            may_die_at("charge.opened")
            async with self._db.transaction() as tx:
                await watch_charge(tx, order.id, charge, provider=provider)
            may_die_at("charge.recorded")
        return await self.order(account_id, order_id)

    def quotes(self, quantity: int) -> list[Quote]:
        """What an order of `quantity` costs now by each channel. Raises `order_quantity_invalid`."""
        self._check_quantity(quantity)
        return self._pricing.quotes(quantity, has_channels=self._providers.has_channels)

    async def available(self, account_id: UUID) -> int:
        """How many stamps the account may use now."""
        return (await self._ledger.balance(account_id)).available

    async def order(self, account_id: UUID, order_id: UUID) -> Order:
        """One order of this account. Raises `order_unknown`, for other people's too."""
        order = await store.order_by_id(self._db, order_id)
        if order is None or order.account_id != account_id:
            raise ORDER_UNKNOWN()
        return order

    async def orders(self, account_id: UUID, *, before: UUID | None = None, limit: int = 20) -> list[Order]:
        """The account's orders, newest first, at most 100; `before` is the last order already seen."""
        return await store.orders_of(self._db, account_id, before=before, limit=min(limit, ORDERS_A_PAGE_MAX + 1))

    async def has_charge_to_pay(self, account_id: UUID) -> bool:
        """Whether one of the account's newest orders has a charge that can be paid."""
        return await store.has_charge_to_pay(self._db, account_id)

    async def has_money_in_flight(self, person: UUID, *, paid_within_s: float, seats: Sequence[Seat] = ()) -> bool:
        """Whether money of a person, or of his groups, is or lately was on its way to quota (money_in_flight.py)."""
        return await money_in_flight.has_money_in_flight(self._db, person, paid_within_s=paid_within_s, seats=seats)

    async def cancel(self, account_id: UUID, order_id: UUID) -> Order:
        """Give up an order that awaits payment; cancelled already is no error. Money that comes still becomes quota.

        Raises `order_unknown` or `order_not_open`.
        """
        await self.order(account_id, order_id)
        async with self._db.transaction() as tx:
            await self._ledger.open_book(tx, [account_id], opening=True)
            order = await store.known_order(tx, order_id)
            after = after_order_move(order.state, OrderMove.CANCEL)
            if after is not None:
                await store.write_state(tx, order_id, state=after)
            elif order.state is not OrderState.CANCELLED:
                raise ORDER_NOT_OPEN()
            return await store.known_order(tx, order_id)

    async def apply_seen(self, order_id: UUID, seen: Seen, source: Source) -> tuple[Order, str]:
        """Do what follows from what is known of an order's money, whoever tells: the entry for settlement files.

        `source` is the provider and its id of the transaction (None: the order's own charge). Gives the order as it is
        then, and what this was: the state it moved to, `unchanged`, `paid_again`, `contradicted`, `reversed` or
        `returned`. Safe to repeat. Raises `order_unknown`.
        """
        order = await store.order_by_id(self._db, order_id)
        if order is None:
            raise ORDER_UNKNOWN()
        async with self._db.transaction() as tx:
            return await self._settling.apply(tx, order, seen, source)

    async def receive_notification(
        self, provider_name: str, headers: Mapping[str, str], body: bytes, *, now: datetime
    ) -> UUID | None:
        """Check a notification and put it on record; gives the id to hand to `work_notification`, None for a known one.

        `body` is what came over the wire, byte by byte. Raises `provider_unknown` and the refusals of
        `PaymentProvider.parse_notification`; then nothing was changed. `service_busy` makes the provider send it again.
        """
        provider = self._providers.named(provider_name)
        try:
            notice = provider.parse_notification(headers, body, now=now)
        except Refused as refused:
            _notifications.labels(refused.code).inc()
            raise
        return await self._noting.note(provider.name, notice, body)

    async def work_notification(self, notification_id: UUID) -> None:
        """Do what a stored notification says. Safe to repeat. When too many wait, it is left to the sweep."""
        if self._waiting >= _WAITING_MAX:
            return
        self._waiting += 1
        try:
            async with self._turns:
                await self._work(notification_id)
        except Refused as refused:
            _log.info("notification_left_to_sweep", notification=str(notification_id), code=refused.code)
        finally:
            self._waiting -= 1

    async def work_unworked(self, limit: int = 100) -> int:
        """Work notifications whose worker died or was too busy; gives how many there were. For the steward.

        Each call goes on after the last one: those about which a provider is silent keep nobody else waiting.
        """
        left = await store.unworked_notifications(
            self._db, older_than_s=_UNWORKED_AGE_S, after=self._swept_to, limit=limit
        )
        self._swept_to = left[-1] if len(left) == limit else None
        await finish_all(self.work_notification(notification_id) for _, notification_id in left)
        return len(left)

    async def check_orders(self, limit: int = 50) -> int:
        """Ask the providers about orders that are due, at most `limit`, and end those whose time is over.

        Gives how many were due. For the steward: a lost notification costs time, never money.
        """
        due = await store.orders_to_check(self._db, limit)
        turns = asyncio.Semaphore(_CHECKS_AT_ONCE)

        async def check(order: Order) -> None:
            async with turns:
                watch = await self._claim_check(order)
                if watch is not None:
                    await self.settle_from_status(order, watch=watch)

        await finish_all(check(order) for order in due)
        return len(due)

    async def settle_from_status(self, order: Order, *, watch: store.Watch | None = None) -> OrderState:
        """Ask the provider about one order and do what follows; when it is down, only the deadline counts.

        With `watch` the watch over the order may end, but never without an answer as long as there is one to be hoped
        for; where there is none, it is a case for staff.
        """
        seen = await self._providers.ask(order.id, order.charge)
        can_ask = self._providers.can_ask(order.charge)
        async with self._db.transaction() as tx:
            after, _ = await self._settling.apply(tx, order, seen, order.charge)
            if watch is not None and not after.has_money:
                if watch.is_hopeless and seen is None and can_ask:
                    await cases_store.insert_case(tx, CaseKind.NO_ANSWER, order.id, Source(order.provider))
                if (watch.is_last and (seen is not None or not can_ask)) or (watch.is_hopeless and seen is None):
                    await store.end_checks(tx, order.id)
            may_die_at("check.written")
        may_die_at("check.recorded")
        return after.state

    async def close_charges(self, limit: int = 50) -> int:
        """Cancel the charges of orders that ended without money, at most `limit`; gives how many there were.

        A kindness to the buyer, who then cannot pay by mistake; a provider that does not answer is asked only once.
        """
        closing = await store.orders_closing(self._db, limit)
        turns = asyncio.Semaphore(_CHECKS_AT_ONCE)

        async def close(order: Order) -> None:
            async with turns:
                async with self._db.transaction() as tx:
                    await charge_store.write_closed(tx, order.id)
                await self._providers.cancel(order)

        await finish_all(close(order) for order in closing)
        return len(closing)

    async def _claim_check(self, order: Order) -> store.Watch | None:
        async with self._db.transaction() as tx:
            return await claim_check(tx, order, silence_s=self._settings.provider_silence_s)

    async def _work(self, notification_id: UUID) -> None:
        found = await store.unworked_notice(self._db, notification_id, silence_s=self._settings.provider_silence_s)
        if found is None:
            return
        notice, is_silent = found.notice, False
        order = await store.order_by_id(self._db, notice.order_id) if notice.order_id is not None else None
        seen, source = None, Source(found.sender, notice.reference)
        if order is not None:
            try:
                seen, source = await self._providers.believed(found, order)
            except Refused:
                if not found.is_hopeless:
                    raise
                is_silent = True
        async with self._db.transaction() as tx:
            if order is None:
                heard = notice.order_id is not None and await self.returns.hear(tx, notice.order_id)
                outcome = "return_heard" if heard else "unknown_order"
            else:
                _, outcome = await self._settling.apply(tx, order, seen, source)
            if order is not None and is_silent:
                await cases_store.insert_case(tx, CaseKind.NO_ANSWER, order.id, source)
                outcome = CaseKind.NO_ANSWER.value
            await store.write_outcome(tx, notification_id, outcome)
            may_die_at("payment.written")
        may_die_at("payment.recorded")
        _notifications.labels(outcome).inc()
        _log.info("notification_worked", notification=str(notification_id), outcome=outcome)

    def _check_quantity(self, quantity: int) -> None:
        if not 1 <= quantity <= self._settings.order_quantity_max:
            raise ORDER_QUANTITY_INVALID(quantity_max=self._settings.order_quantity_max)

    def _new_order(
        self,
        account_id: UUID,
        quantity: int,
        idempotency_key: str | None,
        *,
        wishes: Wishes,
        quote: Quote,
        provider: str,
    ) -> store.NewOrder:
        # What was always so is left out, so that a key of an earlier version still fits.
        asked: dict[str, object] = {"quantity": quantity}
        asked |= {} if wishes == NO_WISHES else {"wishes": wishes}
        request = msgspec.json.encode(asked)
        return store.NewOrder(
            id=new_id(),
            account_id=account_id,
            quantity=quantity,
            price=quote.price,
            provider=provider,
            idempotency_key=idempotency_key,
            request_digest=hashlib.sha256(request).digest(),
            transfers=(new_id(), new_id(), new_id(), new_id()),
            life_s=self._settings.order_life_s,
            first_check_s=FIRST_CHECK_S,
            wishes=msgspec.structs.replace(wishes, channel=quote.channel),
        )
