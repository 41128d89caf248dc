"""A shop with one real kind of provider, whose other end is a twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any, Generic, TypeVar
from uuid import UUID

from emeterai.core.refusal import Refused
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase.jobs import sweep_orders
from emeterai.purchase.midtrans import MidtransProvider
from emeterai.purchase.model import Channel, ChargeRequest, Order, Wishes
from emeterai.purchase.provider import PaymentProvider
from emeterai.purchase.provider_http import Chance, Patience
from emeterai.purchase.service import Purchase
from emeterai.purchase.xendit import XenditProvider
from twins.midtrans_twin import MidtransTwin
from twins.payment_twin import Headers, PaymentTwin
from twins.xendit_twin import XenditTwin

_Twin = TypeVar("_Twin", bound=PaymentTwin)
FAST = Patience(answer_s=0.2, failures_max=3)


def hurrying() -> Callable[[], float]:
    """A clock that is a hundred seconds later at each look: no circuit stays open."""
    looks = count(step=100)
    return lambda: float(next(looks))


async def no_pause(_: float) -> None:
    """Go on at once."""


def midtrans(twin: MidtransTwin, *, clock: Callable[[], float] | None = None) -> MidtransProvider:
    """Our side of the line to a Midtrans twin."""
    return MidtransProvider(
        "https://api.midtrans.example",
        twin.key,
        transport=twin.transport(),
        patience=FAST,
        chance=Chance(clock=clock or hurrying(), sleep=no_pause),
        now=lambda: twin.now,
    )


def xendit(twin: XenditTwin, *, clock: Callable[[], float] | None = None) -> XenditProvider:
    """Our side of the line to a Xendit twin."""
    return XenditProvider(
        "https://api.xendit.example",
        twin.key,
        callback_token=twin.token,
        transport=twin.transport(),
        patience=FAST,
        chance=Chance(clock=clock or hurrying(), sleep=no_pause),
    )


def asked(
    twin: PaymentTwin,
    *,
    amount_idr: int = 25_000,
    life: timedelta = timedelta(hours=1),
    channel: Channel = Channel.QRIS,
) -> ChargeRequest:
    """A charge to be asked for."""
    order_id = new_id()
    return ChargeRequest(
        order_id=order_id,
        amount_idr=amount_idr,
        expires_at=twin.now + life,
        notify_url="https://shop.example/v1/payments/x/notifications",
        return_url=f"https://shop.example/pesanan/{order_id}?kembali=1",
        channel=channel,
    )


@dataclass
class Till(Generic[_Twin]):
    """A shop on a database of its own, and the twin of its first provider."""

    db: Database
    ledger: Ledger
    purchase: Purchase
    twin: _Twin
    name: str

    async def order(self, quantity: int = 2, **wishes: Any) -> Order:
        """An order with its charge."""
        return await self.purchase.create_order(new_id(), quantity, wishes=Wishes(**wishes))

    async def hear(self, headers: Headers, body: bytes) -> int:
        """Take a notification as the web role does, and work it; gives the HTTP status."""
        try:
            notification_id = await self.purchase.receive_notification(self.name, headers, body, now=utc_now())
        except Refused as refused:
            return refused.kind.status
        if notification_id is not None:
            await self.purchase.work_notification(notification_id)
        return 200

    async def state_of(self, order: Order) -> tuple[str, int]:
        """Where the order is, and how many stamps its buyer was ever credited."""
        state = (await self.purchase.order(order.account_id, order.id)).state.value
        return state, (await self.ledger.balance(order.account_id)).bought

    async def sweep(self, order: Order) -> None:
        """Let the order be due, and sweep."""
        async with self.db.transaction() as tx:
            await tx.execute(
                "UPDATE purchase.orders SET next_check_at = now() WHERE id = $1 AND next_check_at IS NOT NULL", order.id
            )
            await tx.execute("UPDATE purchase.notifications SET received_at = now() - interval '1 minute'")
        await sweep_orders(self.purchase)

    async def end_time(self, order: Order) -> None:
        """Let the order's time be over here."""
        async with self.db.transaction() as tx:
            await tx.execute(
                "UPDATE purchase.orders SET expires_at = now() - interval '1 second' WHERE id = $1", order.id
            )

    async def outcomes(self, order_id: UUID) -> list[str | None]:
        """What became of the notifications about an order, in the order in which they came."""
        rows = await self.db.fetch(
            "SELECT outcome FROM purchase.notifications WHERE order_id = $1 ORDER BY id", order_id
        )
        return [row["outcome"] for row in rows]


def till(
    db: Database, twin: _Twin, providers: list[PaymentProvider], *, settings: Settings | None = None
) -> Till[_Twin]:
    """A shop that sells through `providers`; the twin's time is ours."""
    twin.now = utc_now()
    ledger = Ledger(db)
    settings = settings or Settings(fee_idr=2_500, public_url="https://shop.example")
    return Till(db, ledger, Purchase(db, ledger, settings, providers=providers), twin, providers[0].name)
