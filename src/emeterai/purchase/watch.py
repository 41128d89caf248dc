"""What an operator has to see of money without looking for it: cases that wait for people, notifications for us."""

from __future__ import annotations

from emeterai.infra import metrics
from emeterai.infra.database import Database
from emeterai.purchase import cases_store, store
from emeterai.purchase.returns_model import CaseKind

MEASURED_EVERY_S = 15.0
"""How often `measure_money` runs."""
_open_cases = metrics.gauge_latest("emeterai_money_cases_open", "Cases about money that nobody has closed", ["kind"])
_unworked_s = metrics.gauge_latest(
    "emeterai_payment_notification_oldest_seconds", "Age of the oldest notification that has not been worked"
)


async def measure_money(db: Database) -> None:
    """Set the gauges of open cases by kind and of the oldest notification without an outcome, 0 for none."""
    count = await cases_store.count_open_cases(db)
    for kind in CaseKind:
        _open_cases.labels(kind.value).set(count.get(kind, 0))
    _unworked_s.set(await store.oldest_unworked_s(db))
