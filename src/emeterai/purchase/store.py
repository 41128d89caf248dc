"""All SQL of buying. Nothing here locks: what must not happen twice at once happens under the buyer's open book."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from emeterai.core.ordering import ChargeState, OrderState, Price, Seen
from emeterai.core.returning import SecondPayment
from emeterai.infra.database import Connection, Database
from emeterai.purchase.model import Channel, Notice, Order, PaymentCode, Source, Wishes

_ORDER = """
    id, account_id, quantity, duty_idr, fee_idr, total_idr, state, provider, provider_reference, pay_url,
    pay_channel, pay_code, pay_bank, second_payment, wanted_channel, paid_provider, paid_reference, closing,
    request_digest, payment_transfer, duty_transfer, fee_transfer, credit_transfer, seen_amount, seen_currency, checks,
    created_at, expires_at, paid_at, changed_at, expires_at <= now() AS overdue
"""


class NewOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is written when an order is made. `transfers`: the ids for payment, duty, fee and credit."""

    id: UUID
    account_id: UUID
    quantity: int
    price: Price
    provider: str
    idempotency_key: str | None
    request_digest: bytes
    transfers: tuple[UUID, UUID, UUID, UUID]
    life_s: float
    first_check_s: float
    wishes: Wishes


class Watch(msgspec.Struct, frozen=True):
    """Whether an order has been watched for long enough that an answer now is the last that is needed; and whether it
    has been for so long that no answer is to be hoped for.
    """

    is_last: bool
    is_hopeless: bool


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How often an order is asked about: `near_s` from `near_before_s` before its deadline to `near_after_s` after it,
    otherwise after `open_s` or, once it is closed, `closed_s`. Each pause is multiplied by `jitter`. Near a deadline a
    check that came late makes the next pause four times as long as it was late, up to `late_s`.
    """

    open_s: float
    closed_s: float
    near_s: float
    near_before_s: float
    near_after_s: float
    late_s: float
    jitter: float


async def insert_order(tx: Connection, new: NewOrder) -> Order | None:
    """Write a new order; None when the account has one with this idempotency key already."""
    row = await tx.fetchrow(
        f"""
        INSERT INTO purchase.orders (id, account_id, quantity, duty_idr, fee_idr, total_idr, provider, idempotency_key,
            request_digest, payment_transfer, duty_transfer, fee_transfer, credit_transfer, expires_at, next_check_at,
            wanted_channel, second_payment)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13,
            now() + make_interval(secs => $14), now() + make_interval(secs => least($14, $15)), $16, $17)
        ON CONFLICT (account_id, idempotency_key) DO NOTHING
        RETURNING {_ORDER}
        """,
        new.id,
        new.account_id,
        new.quantity,
        new.price.duty_idr,
        new.price.fee_idr,
        new.price.total_idr,
        new.provider,
        new.idempotency_key,
        new.request_digest,
        *new.transfers,
        new.life_s,
        new.first_check_s,
        new.wishes.channel.value if new.wishes.channel else None,
        new.wishes.second_payment.value,
    )
    return _order(row) if row is not None else None


async def order_by_key(db: Database, account_id: UUID, idempotency_key: str) -> Order | None:
    """The order that this account made with this idempotency key."""
    row = await db.fetchrow(
        f"SELECT {_ORDER} FROM purchase.orders WHERE account_id = $1 AND idempotency_key = $2",
        account_id,
        idempotency_key,
    )
    return _order(row) if row is not None else None


async def order_by_id(connection: Connection | Database, order_id: UUID) -> Order | None:
    """One order, whoever's it is."""
    row = await connection.fetchrow(f"SELECT {_ORDER} FROM purchase.orders WHERE id = $1", order_id)
    return _order(row) if row is not None else None


async def orders_by_ids(db: Database, order_ids: Sequence[UUID]) -> list[Order]:
    """Some orders, whoever's they are."""
    rows = await db.fetch(f"SELECT {_ORDER} FROM purchase.orders WHERE id = ANY ($1::uuid[])", list(order_ids))
    return [_order(row) for row in rows]


async def known_order(tx: Connection, order_id: UUID) -> Order:
    """One order that is there, as it is now."""
    order = await order_by_id(tx, order_id)
    assert order is not None
    return order


async def orders_of(db: Database, account_id: UUID, *, before: UUID | None, limit: int) -> list[Order]:
    """An account's orders, newest first, after the order `before`."""
    rows = await db.fetch(
        f"""
        SELECT {_ORDER} FROM purchase.orders WHERE account_id = $1 AND id < coalesce($2::uuid, $3::uuid)
        ORDER BY id DESC LIMIT $4
        """,
        account_id,
        before,
        UUID(int=2**128 - 1),
        limit,
    )
    return [_order(row) for row in rows]


async def has_charge_to_pay(db: Database, account_id: UUID) -> bool:
    """Whether one of an account's newest orders awaits its payment."""
    return bool(
        await db.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM (
                    SELECT state, provider_reference, expires_at FROM purchase.orders
                    WHERE account_id = $1 ORDER BY id DESC LIMIT 20
                ) AS newest
                WHERE state = 'awaiting_payment' AND provider_reference IS NOT NULL AND expires_at > now()
            )
            """,
            account_id,
        )
    )


async def write_state(
    tx: Connection, order_id: UUID, *, state: OrderState, seen: Seen | None = None, payment: Source | None = None
) -> None:
    """Write where the order is now. A paid or quarantined one remembers the money and is not asked about again.

    The charge of one that ended without money is to be cancelled at the provider.
    """
    has_money = state in {OrderState.PAID, OrderState.QUARANTINED}
    money, source = (seen, payment) if has_money else (None, None)
    await tx.execute(
        """
        UPDATE purchase.orders SET state = $2, changed_at = now(), seen_amount = $3, seen_currency = $4,
            paid_provider = $5, paid_reference = $6, paid_at = CASE WHEN $2 = 'paid' THEN now() END,
            closing = $3::numeric IS NULL AND provider_reference IS NOT NULL,
            next_check_at = CASE WHEN $3::numeric IS NULL THEN next_check_at END
        WHERE id = $1
        """,
        order_id,
        state.value,
        money.kept if money else None,
        money.currency if money else None,
        source.provider if source else None,
        source.reference if source else None,
    )


async def orders_closing(db: Database, limit: int) -> list[Order]:
    """Orders whose charge is to be cancelled, those that ended first before the others."""
    rows = await db.fetch(f"SELECT {_ORDER} FROM purchase.orders WHERE closing ORDER BY changed_at LIMIT $1", limit)
    return [_order(row) for row in rows]


async def write_next_check(
    tx: Connection, order_id: UUID, *, checks_before: int, pace: Pace, closed_watch_s: float, silence_s: float
) -> Watch | None:
    """Decide when to ask the provider next, should this time bring no answer; None when somebody else has done so.

    An open order is asked about at its deadline at the latest; one with a charge when its deadline comes near, too.
    """
    row = await tx.fetchrow(
        """
        WITH paced AS (
            SELECT id, now() < expires_at AS in_time, greatest(expires_at, now() + interval '2 seconds') AS deadline_at,
                expires_at - make_interval(secs => $6) AS near_from,
                CASE WHEN state = 'awaiting_payment' THEN $3::float8 ELSE $4::float8 END AS pause_s,
                CASE WHEN provider_reference IS NULL OR now() < expires_at - make_interval(secs => $6) THEN 'Infinity'
                    ELSE greatest($5::float8, extract(epoch FROM now() - expires_at)::float8 - $7,
                        least(4 * extract(epoch FROM now() - next_check_at)::float8, $11)) END AS near_pause_s
            FROM purchase.orders WHERE id = $1
        ), timed AS (
            SELECT *, now() + make_interval(secs => $8 * least(pause_s, near_pause_s)) AS after_pause FROM paced
        )
        UPDATE purchase.orders SET checks = checks + 1, next_check_at = least(
                after_pause,
                CASE WHEN state = 'awaiting_payment' AND in_time THEN deadline_at END,
                CASE WHEN provider_reference IS NOT NULL AND now() < near_from THEN near_from END
            )
        FROM timed WHERE orders.id = timed.id AND checks = $2 AND next_check_at IS NOT NULL
        RETURNING state <> 'awaiting_payment' AND now() >= expires_at + make_interval(secs => $9) AS is_last,
            now() >= expires_at + make_interval(secs => $10) AS is_hopeless
        """,
        order_id,
        checks_before,
        pace.open_s,
        pace.closed_s,
        pace.near_s,
        pace.near_before_s,
        pace.near_after_s,
        pace.jitter,
        closed_watch_s,
        silence_s,
        pace.late_s,
    )
    return Watch(**row) if row is not None else None


async def end_checks(tx: Connection, order_id: UUID) -> None:
    """Ask about this order no more."""
    await tx.execute("UPDATE purchase.orders SET next_check_at = NULL WHERE id = $1", order_id)


async def orders_to_check(db: Database, limit: int) -> list[Order]:
    """Orders whose provider should be asked now, those that have waited longest first."""
    rows = await db.fetch(
        f"SELECT {_ORDER} FROM purchase.orders WHERE next_check_at <= now() ORDER BY next_check_at LIMIT $1", limit
    )
    return [_order(row) for row in rows]


async def insert_notification(
    tx: Connection, notification_id: UUID, *, provider: str, notice: Notice, body: bytes
) -> bool:
    """Put a notification on record; False when this event is there already. Its raw words live by the month."""
    return bool(
        await tx.fetchval(
            """
            WITH noted AS (
                INSERT INTO purchase.notifications
                    (id, provider, event_id, order_id, state, amount, currency, reference, back)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $10, $11)
                ON CONFLICT (provider, event_id) DO NOTHING RETURNING id
            )
            INSERT INTO purchase.notification_bodies (notification_id, headers, body)
            SELECT id, $8::jsonb, $9::bytea FROM noted RETURNING true
            """,
            notification_id,
            provider,
            notice.event_id,
            notice.order_id,
            notice.state.value,
            notice.amount,
            notice.currency,
            json.dumps(notice.headers),
            body,
            notice.reference,
            notice.back,
        )
    )


async def unworked_notification_of(db: Database, provider: str, event_id: str) -> UUID | None:
    """The id of this event's notification as long as it has no outcome."""
    found: UUID | None = await db.fetchval(
        "SELECT id FROM purchase.notifications WHERE provider = $1 AND event_id = $2 AND outcome IS NULL",
        provider,
        event_id,
    )
    return found


class Unworked(msgspec.Struct, frozen=True):
    """A notification that has no outcome yet, and the provider that sent it.

    Settled money is doubtful when its order has a reversal on record: which of the two came later, the provider knows.
    After a cancellation it is so where states are not signed: the signature of the one fits the words of the other.
    A notification is hopeless when it has waited for so long that no answer about it is to be hoped for.
    """

    sender: str
    notice: Notice
    is_doubtful: bool
    was_cancelled: bool
    is_hopeless: bool


async def unworked_notice(db: Database, notification_id: UUID, *, silence_s: float) -> Unworked | None:
    """A notification as long as it has no outcome; after `silence_s` it is hopeless."""
    row = await db.fetchrow(
        """
        SELECT provider, event_id, order_id, state, amount, currency, reference, back, ARRAY (
            SELECT taken.state FROM purchase.notifications AS taken
            WHERE taken.order_id = told.order_id AND taken.state IN ('reversed', 'cancelled')
        ) AS ends, received_at <= now() - make_interval(secs => $2) AS hopeless
        FROM purchase.notifications AS told WHERE id = $1 AND outcome IS NULL
        """,
        notification_id,
        silence_s,
    )
    if row is None:
        return None
    values = dict(row)
    sender, ends, hopeless = values.pop("provider"), set(values.pop("ends")), values.pop("hopeless")
    notice = Notice(**{**values, "state": ChargeState(values["state"])})
    return Unworked(sender, notice, "reversed" in ends, "cancelled" in ends, hopeless)


async def unworked_notifications(
    db: Database, *, older_than_s: float, after: tuple[datetime, UUID] | None, limit: int
) -> list[tuple[datetime, UUID]]:
    """Notifications without an outcome, oldest first, those after `after`: their worker died, or was too busy."""
    rows = await db.fetch(
        """
        SELECT received_at, id FROM purchase.notifications
        WHERE outcome IS NULL AND received_at <= now() - make_interval(secs => $1)
            AND ($3::timestamptz IS NULL OR received_at >= $3 AND (received_at, id) > ($3, $4::uuid))
        ORDER BY received_at, id LIMIT $2
        """,
        older_than_s,
        limit,
        *(after or (None, None)),
    )
    return [(row["received_at"], row["id"]) for row in rows]


async def oldest_unworked_s(db: Database) -> float:
    """How long ago the oldest notification without an outcome came, by the database's clock; 0 for none."""
    waited = "SELECT extract(epoch FROM now() - min(received_at)) FROM purchase.notifications WHERE outcome IS NULL"
    return max(0.0, float(await db.fetchval(waited) or 0))


async def write_outcome(tx: Connection, notification_id: UUID, outcome: str) -> None:
    """Write what became of a notification; the first outcome stays."""
    await tx.execute(
        "UPDATE purchase.notifications SET outcome = $2, worked_at = now() WHERE id = $1 AND outcome IS NULL",
        notification_id,
        outcome,
    )


def _order(row: asyncpg.Record) -> Order:
    values: dict[str, Any] = dict(row)
    channel, text, bank = (values.pop(name) for name in ("pay_channel", "pay_code", "pay_bank"))
    code = PaymentCode(Channel(channel), text, bank) if channel is not None else None
    wanted = values.pop("wanted_channel")
    return Order(
        **{
            **values,
            "state": OrderState(values["state"]),
            "code": code,
            "second_payment": SecondPayment(values["second_payment"]),
            "wanted_channel": Channel(wanted) if wanted is not None else None,
        }
    )
