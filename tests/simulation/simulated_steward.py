"""The steward: sweeps, each at its own pace (worker.py, stamping/jobs.py, purchase/jobs.py).

A sweep that has nothing to find is not simulated: the steward sleeps until something may be due, in whole periods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil, inf

from simulated_database import GoneError
from simulated_endings import Endings
from simulated_guards import Guard
from simulated_house import House
from simulated_shop import UNWORKED_AGE_S, Shop
from simulated_time import Process, Steps

SWEEP_EVERY_S = 1.0
ORDERS_EVERY_S = 5.0


class Steward(Process):
    """Frees leases that are over, gives back units whose hold is over, finishes what buying left."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(house, name)
        self.house = house
        self.start()

    def start(self) -> None:
        """Every sweep begins at once."""
        shop, endings = Shop(self.house, self), Endings(self.house, self)
        if self.house.has(Guard.RECLAIM):
            self.spawn(self._repeat("jobs", SWEEP_EVERY_S, self._reclaim, self._leases_due))
        if self.house.has(Guard.EXPIRY_SWEEP):
            self.spawn(self._repeat("holds", SWEEP_EVERY_S, endings.sweep, self._holds_due))
        self.spawn(self._repeat("orders", ORDERS_EVERY_S, shop.sweep, self._orders_due))

    def _repeat(
        self, table: str, every_s: float, sweep: Callable[[], Steps[None]], due: Callable[[], Iterable[float]]
    ) -> Steps[None]:
        stirred = self.house.store.stirred[table]
        while True:
            try:
                yield from sweep()
            except GoneError:
                self.house.say(self.name, "is interrupted")
            yield every_s
            while (first_s := min(due(), default=inf)) > self.house.now_s:
                if first_s == inf:
                    yield stirred
                elif table == "orders":
                    yield stirred, ceil((first_s - self.house.now_s) / every_s) * every_s
                else:
                    # All holds live equally long, and all leases: none that begins now ends before the first one does.
                    yield ceil((first_s - self.house.now_s) / every_s) * every_s

    def _reclaim(self) -> Steps[None]:
        store = self.house.store
        with store.transaction(self) as tx:
            for job in list(store.jobs.values()):
                if job.worker is not None and job.lease_until_s <= self.house.now_s and job.id not in store.locked_jobs:
                    self.house.say(self.name, "frees", job.kind, job.id)
                    tx.put("jobs", job.id, job._replace(worker=None, lease_until_s=0.0))
        yield from store.answer()

    def _leases_due(self) -> Iterable[float]:
        return (it.lease_until_s for it in self.house.store.jobs.values() if it.worker is not None)

    def _holds_due(self) -> Iterable[float]:
        ahead_s = 0.0 if self.house.has(Guard.DATABASE_CLOCK) else self.skew_s
        return (it.expires_at_s - ahead_s for it in self.house.store.holds.values())

    def _orders_due(self) -> Iterable[float]:
        store = self.house.store
        for notice in store.notices.values():
            yield notice.received_at_s + UNWORKED_AGE_S
        for order_id in store.watched:
            yield store.orders[order_id].next_check_s or 0.0
