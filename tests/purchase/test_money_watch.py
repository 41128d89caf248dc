"""What an operator sees of money: the gauges say what waits, and nothing when nothing does."""

from __future__ import annotations

from returning import write
from shops import Shop

from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.metrics import render
from emeterai.purchase import cases_store
from emeterai.purchase.model import Source
from emeterai.purchase.returns_model import CaseKind
from emeterai.purchase.watch import measure_money


async def gauges(db: Database) -> dict[str, float]:
    """What is shown after a look: open cases by kind, and the age of the oldest notification."""
    await measure_money(db)
    shown = [line.rpartition(" ") for line in render().decode().splitlines() if line.startswith("emeterai_")]
    wanted = ("emeterai_money_cases_open", "emeterai_payment_notification_oldest_seconds")
    return {name: float(value) for name, _, value in shown if name.startswith(wanted)}


async def test_open_cases_are_counted_until_they_are_closed(shop: Shop) -> None:
    """By kind; a kind without any is shown as nought."""
    name = 'emeterai_money_cases_open{kind="%s"}'
    order = await shop.purchase.create_order(new_id(), 2)
    async with shop.db.transaction() as tx:
        case = await cases_store.insert_case(tx, CaseKind.NO_ANSWER, order.id, Source("sandbox"))
    shown = await gauges(shop.db)
    assert {name % "no_answer": 1, name % "taken_back": 0, name % "contradicted": 0}.items() <= shown.items()
    assert case is not None
    async with shop.db.transaction() as tx:
        await cases_store.close_case(tx, case.id)
    assert 0 == (await gauges(shop.db))[name % "no_answer"]


async def test_the_oldest_notification_that_nobody_worked_has_its_age_shown(shop: Shop) -> None:
    """Until it is worked."""
    name = "emeterai_payment_notification_oldest_seconds"
    order = await shop.purchase.create_order(new_id(), 2)
    headers, body = shop.notification(order)
    notification = await shop.purchase.receive_notification("sandbox", headers, body, now=utc_now())
    assert notification is not None
    await write(shop.db, "UPDATE purchase.notifications SET received_at = now() - interval '10 minutes'")
    assert 600 <= (await gauges(shop.db))[name] < 700
    await shop.purchase.work_notification(notification)
    assert 0 == (await gauges(shop.db))[name]
