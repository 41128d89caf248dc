"""How much one account may order: limits for people's safety, decided in the transaction that places the order.

Whoever holds a stolen account, or buys for resale, is slowed down; whoever stamps an application is not. Limits are
settings, for people and for organisations. An organisation is whom the issuer knows: a group that staff have approved,
or a partner. An API key changes nothing: anybody makes one for himself. Nor does the way: the units of a day are those
that were ordered and those that came from tills and vouchers (`units_received.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
    "Dalam 24 jam satu akun dapat memperoleh sampai {units_max} meterai, dan Anda sudah memesan atau menerima "
    "{units_ordered}; pesan lebih sedikit, atau coba lagi setelah {again_at}.",
    "In 24 hours one account can get up to {units_max} stamps, and you have ordered or received {units_ordered}; "
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
    limits, accounts = await limits_of(tx, account_id, settings=settings, is_partner=is_partner)
    row = await count_lately(tx, accounts, limits, units_max=limits.units_a_day)
    if row["orders_an_hour"] > limits.orders_an_hour:
        raise ORDERS_AN_HOUR_REACHED(orders_max=limits.orders_an_hour, **again(row, "hour"))
    if row["open_orders"] > limits.open_orders:
        raise OPEN_ORDERS_REACHED(orders_max=limits.open_orders, **again(row, "open"))
    if row["units_a_day"] > limits.units_a_day:
        raise UNITS_A_DAY_REACHED(
            units_max=limits.units_a_day,
            units_ordered=row["units_a_day"] - quantity,
            **again(row, "day"),
        )


async def limits_of(
    tx: Connection, account_id: UUID, *, settings: Settings, is_partner: IsPartner
) -> tuple[BuyingLimits, list[UUID]]:
    """The limits of an account, and the accounts that share them, with its balances locked."""
    sharing = await sharing_of(tx, account_id)
    is_its_own = account_id == sharing.accounts[0]
    is_organisation = sharing.is_organisation or (is_its_own and await is_partner(tx, account_id))
    return BuyingLimits.of(settings, is_organisation=is_organisation), sharing.accounts


async def count_lately(
    tx: Connection, accounts: Sequence[UUID], limits: BuyingLimits, *, units_max: int, arriving: int = 0
) -> Mapping[str, Any]:
    """What these accounts ordered and received lately, so many `arriving` now included; and when there is room again.

    The units of a day are counted against `units_max`.
    """
    row: Mapping[str, Any] = await tx.fetchrow(
        _COUNTED, accounts, units_max, limits.orders_an_hour, limits.open_orders, limits.order_life_s, arriving
    )
    return row


def again(row: Mapping[str, Any], limit: str) -> dict[str, str | int]:
    """When the next order fits: for programs in seconds, for people by the clock."""
    return {"retry_after_s": row[f"{limit}_over_s"], "again_at": moment(row[f"{limit}_over_at"])}


UNITS_OF_ORDER = """
    CASE WHEN created_at > now() - interval '24 hours' AND state NOT IN ('cancelled', 'expired')
        AND (state <> 'awaiting_payment' OR expires_at > now()) THEN quantity ELSE 0 END
"""
"""The units of the day that a row of `purchase.orders` takes: none when it ended without money."""
RECEIVED = """
    kind = 'receive' AND reason IN ('sold', 'voucher_redeemed') AND posted_at > now() - interval '24 hours'
        AND id BETWEEN infra.first_id_of(now() - interval '25 hours') AND infra.first_id_of(now() + interval '1 hour')
"""
"""Which rows of `ledger.transfers` are units of the day from a till or a voucher; the id leaves other months out."""
_COUNTED = f"""
    WITH lately AS (
        SELECT id, created_at, expires_at, created_at > now() - interval '1 hour' AS is_of_hour,
            state = 'awaiting_payment' AND expires_at > now() AS is_open, {UNITS_OF_ORDER} AS units
        FROM purchase.orders
        WHERE account_id = ANY($1::uuid[]) AND created_at > now() - make_interval(secs => greatest(86400, $5::int))
        UNION ALL
        SELECT id, posted_at, NULL, false, false, amount FROM ledger.transfers
        WHERE credit = ANY($1::uuid[]) AND {RECEIVED}
        UNION ALL
        SELECT NULL, now(), NULL, false, false, $6::bigint WHERE $6::bigint > 0
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
