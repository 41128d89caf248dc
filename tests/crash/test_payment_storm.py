"""A storm of payments in half a minute: what providers took is quota once, or went back, to the rupiah.

This is the short form of `emeterai bench payments`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from killing import Deed, Killer, seed_of_this_run
from storm import PaymentStorm, Shops, storm_environment
from storm_books import Reckoning, faults_of_books, reckon
from storm_twins import TwinProcess

from running import RunningService

ORDERS, RATE = 300, 40.0
QUOTA_DUE_S = 8.0
PATIENCE_S = 90.0
DEEDS = [Deed("kill -9", target) for target in ("web", "postgres", "steward")]


@pytest.fixture
async def storm(short_folder: Path) -> AsyncIterator[PaymentStorm]:
    """A running service between two providers on a bad day, and buyers who have not begun."""
    seed, folder = seed_of_this_run(), short_folder / "storm"
    print(f"\nEMETERAI_TEST_SEED={seed}")
    service = RunningService(folder)
    twins = {name: TwinProcess(name, service.base_url, seed=seed) for name in ("midtrans", "xendit")}
    service.environment |= storm_environment(short_folder / "secrets", list(twins.values()), quota_due_s=QUOTA_DUE_S)
    try:
        await service.start()
        shops = await Shops.open(service, list(twins.values()))
        yield PaymentStorm(service, shops, twins, seed=seed, orders=ORDERS, rate=RATE)
        await shops.close()
        assert 0 == await service.stop(), service.last_words()
    finally:
        service.kill_rest()
        for twin in twins.values():
            twin.kill()


@pytest.mark.timeout(400)
async def test_after_a_storm_every_rupiah_is_quota_once_or_went_back(storm: PaymentStorm, tmp_path: Path) -> None:
    """Three of ten notifications are lost and three doubled, all come late and in disorder, one of twenty payments is
    another amount, one provider refuses to answer for a while, and web, database and steward are killed meanwhile.
    """
    killer = Killer(storm.service, sleep_s=0.0, faults=tmp_path, rng=random.Random(storm.seed))
    staff, buying = asyncio.create_task(storm.staff()), asyncio.create_task(storm.go_on())
    for deed in DEEDS:
        await asyncio.sleep(killer.rng.uniform(0.2, 2.0))
        await storm.order("xendit", "refuse", {"requests": 10**6})
        await killer.do(deed)
        await storm.order("xendit", "refuse", {"requests": 0})
    await buying
    found = await reckon(storm, patience_s=PATIENCE_S)
    storm.ended.set()
    await staff
    print(f"{dict(found.orders)}, {dict(found.returns)}, {dict(found.outcomes)}, repeated: {dict(storm.repeats)}")
    assert [] == found.faults, storm.service.last_words()
    assert ORDERS == len(storm.bought)
    assert found.settled_idr == found.quota_idr + found.returned_idr
    await assert_not_blind(storm)


async def assert_not_blind(storm: PaymentStorm) -> None:
    """A charge that nobody credited, one that is gone, one rupiah more, and one that went back are each found."""
    books = await storm.books()
    orders = await storm.shops.db.fetch("SELECT * FROM purchase.orders")
    returns = await storm.shops.db.fetch("SELECT * FROM purchase.returns")
    (line, *others) = books["midtrans"]
    for lines, words in (
        ([replace(line, reference="x"), line, *others], "our books know of Rp0"),
        (others, "that no provider has"),
        ([replace(line, amount=line.amount + 1), *others], f"took Rp{line.amount + 1}"),
        ([replace(line, back=line.back + 1), *others], f"returned Rp{line.back + 1}"),
    ):
        faults = faults_of_books({**books, "midtrans": lines}, orders, returns, Reckoning())
        assert any(words in fault for fault in faults), (words, faults)
