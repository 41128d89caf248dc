"""The world of the last day: what tests/crash/faulty can break, and a payment provider that tells late and twice.

Python runs this file at the start of every process of the service under test; the service knows nothing of it.
"""

from __future__ import annotations

import random
import runpy
from datetime import datetime, timedelta
from pathlib import Path

import httpx

from emeterai.purchase.sandbox_charges import Delivery, SandboxCharge, SandboxCharges
from emeterai.purchase.sandbox_delivery import Postman

LATE_S = (0.2, 2.0)
_announce, _deliver = SandboxCharges._announce, Postman._deliver
_chance = random.Random()  # noqa: S311 - how late a notification is

runpy.run_path(str(Path(__file__).parents[2] / "tests" / "crash" / "faulty" / "sitecustomize.py"))


def announced_late(self: SandboxCharges, charge: SandboxCharge, now: datetime) -> None:
    """What is to be told is told later."""
    _announce(self, charge, now + timedelta(seconds=_chance.uniform(*LATE_S)))


async def delivered_twice(self: Postman, http: httpx.AsyncClient, delivery: Delivery) -> None:
    """The same notification, two times."""
    await _deliver(self, http, delivery)
    await _deliver(self, http, delivery)


SandboxCharges._announce = announced_late  # type: ignore[method-assign]
Postman._deliver = delivered_twice  # type: ignore[method-assign]
