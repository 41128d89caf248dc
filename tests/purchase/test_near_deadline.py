"""When an order is asked about again: walked through by the database's own times, without waiting for any of them."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

import pytest
from shops import Shop

from emeterai.infra.database import Connection
from emeterai.infra.ids import new_id
from emeterai.purchase import store
from emeterai.purchase.checking import FIRST_CHECK_S, claim_check, watch_charge
from emeterai.purchase.model import Charge

LIFE_S = 86_400.0
NEAR_S, AFTER_S = LIFE_S - 300, LIFE_S + 3600
SILENCE_S = 7 * 86_400.0
CHECKS_MAX = 290
BREATH_S = 2.1
"""Whoever was asked a moment before the deadline is left alone for two seconds first."""
ROUNDED_S = 0.01
"""Times of the database are whole microseconds."""


class Check(NamedTuple):
    """How old the order was, and how long after that it is asked about again."""

    age_s: float
    pause_s: float


async def check_at(tx: Connection, order_id: UUID, age_s: float) -> tuple[Check, bool]:
    """Claim the check of an order of this age; whether it was the last. Within one transaction time stands still."""
    await tx.execute(
        """
        UPDATE purchase.orders SET expires_at = now() + make_interval(secs => $2), next_check_at = now(),
            state = CASE WHEN $2::float8 > 0 THEN 'awaiting_payment' ELSE 'expired' END WHERE id = $1
        """,
        order_id,
        LIFE_S - age_s,
    )
    watch = await claim_check(tx, await store.known_order(tx, order_id), silence_s=SILENCE_S)
    assert watch is not None
    pause_s = await tx.fetchval("SELECT extract(epoch FROM next_check_at - now())::float8 FROM purchase.orders")
    return Check(age_s, pause_s), watch.is_last


async def life_of(shop: Shop, order_id: UUID) -> list[Check]:
    """Every check of an order that is never paid, to the last one."""
    checks, age_s, is_last = list[Check](), FIRST_CHECK_S, False
    async with shop.db.transaction() as tx:
        while not is_last:
            check, is_last = await check_at(tx, order_id, age_s)
            checks.append(check)
            age_s += check.pause_s
    return checks


async def test_an_order_with_a_charge_is_asked_about_often_around_its_deadline(shop: Shop) -> None:
    """A minute at most from five minutes before to an hour after, and at the deadline itself; then ever more rarely."""
    order = await shop.purchase.create_order(new_id(), 1)
    checks = await life_of(shop, order.id)
    assert CHECKS_MAX >= len(checks)
    for age_s, pause_s in checks:
        if age_s < NEAR_S - ROUNDED_S:
            assert NEAR_S + ROUNDED_S >= age_s + pause_s
        elif age_s < AFTER_S:
            assert 60 >= pause_s
        else:
            assert max(60.0, 1.25 * (age_s - AFTER_S) + ROUNDED_S) >= pause_s
        assert 6 * 3600 * 1.25 >= pause_s > 0
    assert any(-ROUNDED_S < age_s - LIFE_S < BREATH_S for age_s, _ in checks)
    late = [pause_s for age_s, pause_s in checks if age_s > AFTER_S + 600]
    assert all(after >= before * 0.6 for before, after in pairwise(late))
    assert 4 * 3600 <= max(late)


async def test_an_order_without_a_charge_is_not_asked_about_more_often(shop: Shop) -> None:
    """There is nobody to ask: it is looked at when its time is over, to end it."""
    order = await shop.purchase.place_order(new_id(), 1)
    checks = await life_of(shop, order.id)
    assert CHECKS_MAX / 1.5 >= len(checks)
    assert any(-ROUNDED_S < age_s - LIFE_S < BREATH_S for age_s, _ in checks)


@pytest.mark.parametrize("state", ["expired", "cancelled"])
async def test_an_order_that_ended_here_is_asked_about_within_a_minute_of_its_deadline(shop: Shop, state: str) -> None:
    """However many checks there were: who paid in the last second waits a minute for a late provider, not hours."""
    order = await shop.purchase.create_order(new_id(), 1)
    async with shop.db.transaction() as tx:
        await tx.execute(
            """
            UPDATE purchase.orders SET state = $1, checks = 200, next_check_at = now(),
                expires_at = now() - interval '1 second'
            """,
            state,
        )
        assert await claim_check(tx, await store.known_order(tx, order.id), silence_s=SILENCE_S)
        soon = "SELECT next_check_at > now(), next_check_at < now() + interval '1 minute' FROM purchase.orders"
        row = await tx.fetchrow(soon)
    assert (True, True) == tuple(row or ())


async def test_a_cancelled_order_far_from_its_deadline_is_looked_at_again_when_it_is_near(shop: Shop) -> None:
    """The pause of hours does not lead past it."""
    order = await shop.purchase.create_order(new_id(), 1)
    async with shop.db.transaction() as tx:
        await tx.execute(
            """
            UPDATE purchase.orders SET state = 'cancelled', checks = 200, next_check_at = now(),
                expires_at = now() + interval '10 minutes'
            """
        )
        assert await claim_check(tx, await store.known_order(tx, order.id), silence_s=SILENCE_S)
        is_near = "SELECT next_check_at = expires_at - interval '5 minutes' FROM purchase.orders"
        assert await tx.fetchval(is_near)


@pytest.mark.parametrize(
    ("late", "least_s", "most_s"), [("5 seconds", 30, 60), ("2 minutes", 360, 600), ("1 hour", 675, 1_125)]
)
async def test_a_sweep_that_is_late_asks_less_often(shop: Shop, late: str, least_s: float, most_s: float) -> None:
    """More orders than can be asked about in a minute do not keep the others waiting: a quarter of an hour at most."""
    order = await shop.purchase.create_order(new_id(), 1)
    async with shop.db.transaction() as tx:
        await tx.execute(
            f"""
            UPDATE purchase.orders SET state = 'expired', checks = 200, expires_at = now() - interval '1 second',
                next_check_at = now() - interval '{late}'
            """
        )
        assert await claim_check(tx, await store.known_order(tx, order.id), silence_s=SILENCE_S)
        pause_s = await tx.fetchval("SELECT extract(epoch FROM next_check_at - now())::float8 FROM purchase.orders")
    assert least_s <= pause_s <= most_s


async def watched_from(shop: Shop, left: str, state: str = "awaiting_payment") -> tuple[float, float]:
    """An order that was long without a charge gets one so long before its deadline: when it is asked about, in seconds
    from now, and how long before its deadline that is.
    """
    order = await shop.purchase.place_order(new_id(), 1)
    async with shop.db.transaction() as tx:
        await tx.execute(
            f"""
            UPDATE purchase.orders SET state = $1, checks = 100, expires_at = now() + interval '{left}',
                next_check_at = now() + interval '{left}'
            """,
            state,
        )
        await watch_charge(tx, order.id, Charge(f"ch-{order.id.hex}", "http://bayar.example"), provider="sandbox")
        row = await tx.fetchrow(
            """
            SELECT extract(epoch FROM next_check_at - now())::float8,
                extract(epoch FROM expires_at - next_check_at)::float8 FROM purchase.orders
            """
        )
    return row[0], row[1]


@pytest.mark.parametrize("state", ["awaiting_payment", "cancelled"])
async def test_a_charge_opened_in_the_last_minutes_is_watched_at_once(shop: Shop, state: str) -> None:
    """As a new order is, and not at the deadline only: it can be paid within the minute."""
    assert (FIRST_CHECK_S, 240 - FIRST_CHECK_S) == await watched_from(shop, "4 minutes", state)


async def test_a_charge_opened_in_the_last_seconds_is_watched_at_the_deadline(shop: Shop) -> None:
    """That is sooner."""
    assert (10, 0) == await watched_from(shop, "10 seconds")


async def test_a_charge_opened_before_the_last_minutes_is_watched_from_then_on(shop: Shop) -> None:
    """The long pause of an order that nobody could be asked about does not lead past them."""
    assert (300, 300) == await watched_from(shop, "10 minutes")


async def test_a_new_charge_makes_no_check_later_and_begins_none_that_ended(shop: Shop) -> None:
    """The order that is charged as it is placed keeps its first check; one whose watch is over has none."""
    placed = await shop.purchase.place_order(new_id(), 1)
    before = await shop.db.fetchval("SELECT next_check_at FROM purchase.orders")
    await shop.purchase.open_charge(placed.account_id, placed.id)
    assert before == await shop.db.fetchval("SELECT next_check_at FROM purchase.orders")
    over = await shop.purchase.place_order(new_id(), 1)
    async with shop.db.transaction() as tx:
        await store.end_checks(tx, over.id)
        await watch_charge(tx, over.id, Charge("ch-over", "http://bayar.example"), provider="sandbox")
        assert None is await tx.fetchval("SELECT next_check_at FROM purchase.orders WHERE id = $1", over.id)
