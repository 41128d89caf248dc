"""How much one account may order: limits for people's safety, decided in the transaction that places the order.

Whoever holds a stolen account, or buys for resale, is slowed down; whoever stamps an application is not. Limits are
settings, for people and for organisations. An organisation is whom the issuer knows: a group that staff have approved,
or a partner. An API key changes nothing: anybody makes one for himself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from emeterai.accounts.groups_buying import sharing_of
from emeterai.core.refusal import RefusalKind
from emeterai.infra.database import Connection
from emeterai.infra.settings import Settings
from emeterai.web.formats import moment

UNITS_A_DAY_REACHED = RefusalKind(
    "units_a_day_reached",
    429,
    "Dalam 24 jam satu akun dapat memesan sampai {units_max} meterai, dan Anda sudah memesan {units_ordered}; "
    "pesan lebih sedikit, atau coba lagi setelah {again_at}.",
    "In 24 hours one account can order up to {units_max} stamps, and you have ordered {units_ordered}; "
    "order fewer, or try again after {again_at}.",
)
ORDERS_AN_HOUR_REACHED = RefusalKind(
    "orders_an_hour_reached",
    429,
    "Anda sudah membuat {orders_max} pesanan dalam satu jam; coba lagi setelah {again_at}.",
    "You have made {orders_max} orders within an hour; try again after {again_at}.",
)
OPEN_ORDERS_REACHED = RefusalKind(
    "open_orders_reached",
    429,
    "Ada {orders_max} pesanan Anda yang menunggu pembayaran; bayar atau batalkan salah satunya, "
    "atau coba lagi setelah {again_at}.",
    "{orders_max} of your orders are awaiting payment; pay or cancel one of them, or try again after {again_at}.",
)


LIMITS_REACHED = (UNITS_A_DAY_REACHED, ORDERS_AN_HOUR_REACHED, OPEN_ORDERS_REACHED)
"""What `check_limits` raises."""


IsPartner = Callable[[Connection, UUID], Awaitable[bool]]
"""Whether an account sells for the issuer at this moment: what the application knows of partners."""


async def no_partner(_tx: Connection, _account_id: UUID, /) -> bool:
    """For whoever places no orders."""
    return False


@dataclass(frozen=True, slots=True)
class BuyingLimits:
    """The most that one account may order."""

    units_a_day: int
    orders_an_hour: int
    open_orders: int
    order_life_s: int
    """How long an order can be open."""

    @classmethod
    def of(cls, settings: Settings, *, is_organisation: bool) -> BuyingLimits:
        """The limits that the settings give to organisations, or to people."""
        units_a_day, orders_an_hour, open_orders = (
            (
                settings.organisation_units_a_day_max,
                settings.organisation_orders_an_hour_max,
                settings.organisation_open_orders_max,
            )
            if is_organisation
            else (settings.person_units_a_day_max, settings.person_orders_an_hour_max, settings.person_open_orders_max)
        )
        return cls(units_a_day, orders_an_hour, open_orders, settings.order_life_s)


async def check_limits(
    tx: Connection, account_id: UUID, quantity: int, *, settings: Settings, is_partner: IsPartner
) -> None:
    """Decide whether the order of `quantity` that `tx` has just written may stay, with the buyer's balances locked.

    The locks (`locks_of_buyer`) make the orders that count together come one after another, so that this count knows
    them all. A group has the limits of organisations once it is approved; before, it shares a person's with the person
    who founded it. A partner's own account has those of organisations as long as it may sell. An order that ended
    without money takes no units of the day, but was one of the hour. Raises `orders_an_hour_reached`,
    `open_orders_reached` or `units_a_day_reached`, which say when the next order fits.
    """
    sharing = await sharing_of(tx, account_id)
    is_its_own = account_id == sharing.accounts[0]
    is_organisation = sharing.is_organisation or (is_its_own and await is_partner(tx, account_id))
    limits = BuyingLimits.of(settings, is_organisation=is_organisation)
    row = await tx.fetchrow(
        _COUNTED, sharing.accounts, limits.units_a_day, limits.orders_an_hour, limits.open_orders, limits.order_life_s
    )
    if row["orders_an_hour"] > limits.orders_an_hour:
        raise ORDERS_AN_HOUR_REACHED(orders_max=limits.orders_an_hour, **_again(row, "hour"))
    if row["open_orders"] > limits.open_orders:
        raise OPEN_ORDERS_REACHED(orders_max=limits.open_orders, **_again(row, "open"))
    if row["units_a_day"] > limits.units_a_day:
        raise UNITS_A_DAY_REACHED(
            units_max=limits.units_a_day,
            units_ordered=row["units_a_day"] - quantity,
            **_again(row, "day"),
        )


def _again(row: Mapping[str, Any], limit: str) -> dict[str, str | int]:
    """When the next order fits: for programs in seconds, for people by the clock."""
    return {"retry_after_s": row[f"{limit}_over_s"], "again_at": moment(row[f"{limit}_over_at"])}


_COUNTED = """
    WITH lately AS (
        SELECT id, quantity, created_at, expires_at, created_at > now() - interval '1 hour' AS is_of_hour,
            state = 'awaiting_payment' AND expires_at > now() AS is_open,
            CASE WHEN created_at > now() - interval '24 hours' AND state NOT IN ('cancelled', 'expired')
                AND (state <> 'awaiting_payment' OR expires_at > now()) THEN quantity ELSE 0 END AS units
        FROM purchase.orders
        WHERE account_id = ANY($1::uuid[]) AND created_at > now() - make_interval(secs => greatest(86400, $5::int))
    ), ranked AS (
        SELECT *, sum(units) OVER newest_first AS units_since,
            count(*) FILTER (WHERE is_of_hour) OVER newest_first AS hour_rank,
            row_number() OVER (PARTITION BY is_open ORDER BY expires_at DESC, id DESC) AS open_rank
        FROM lately WINDOW newest_first AS (ORDER BY created_at DESC, id DESC)
    ), counted AS (
        SELECT count(*) FILTER (WHERE is_of_hour) AS orders_an_hour, count(*) FILTER (WHERE is_open) AS open_orders,
            sum(units)::bigint AS units_a_day,
            max(created_at) FILTER (WHERE is_of_hour AND hour_rank > $3::int) + interval '1 hour' AS hour_over_at,
            max(expires_at) FILTER (WHERE is_open AND open_rank > $4::int) AS open_over_at,
            max(created_at) FILTER (WHERE units > 0 AND units_since > $2::bigint) + interval '24 hours' AS day_over_at
        FROM ranked
    )
    SELECT *,
        greatest(1, ceil(extract(epoch FROM hour_over_at - now())))::int AS hour_over_s,
        greatest(1, ceil(extract(epoch FROM open_over_at - now())))::int AS open_over_s,
        greatest(1, ceil(extract(epoch FROM day_over_at - now())))::int AS day_over_s
    FROM counted
"""
