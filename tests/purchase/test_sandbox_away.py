"""The sandbox provider stands still (SIGSTOP): buyers are told at once, and buying goes on by itself afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from shops import SandboxProcess, Shop, make_shop, until

from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.purchase.provider_http import Chance, Patience
from emeterai.purchase.service import Order
from running import free_port

PATIENCE = Patience(answer_s=2.0, failures_max=3)


@pytest.fixture
def own_sandbox(tmp_path: Path) -> Iterator[SandboxProcess]:
    """A sandbox provider of the test's own, which may stand still."""
    sandbox = SandboxProcess(tmp_path)
    sandbox.start()
    yield sandbox
    sandbox.kill()


def counted(outcome: str) -> float:
    """So many requests to the sandbox came to this, in this process."""
    return (
        REGISTRY.get_sample_value("emeterai_provider_requests_total", {"provider": "sandbox", "outcome": outcome})
        or 0.0
    )


async def refused(shop: Shop, orders: int) -> list[str]:
    """So many people order at once, and none gets a charge; gives what each was told."""
    buying = (shop.purchase.create_order(new_id(), 1) for _ in range(orders))
    told = await asyncio.gather(*buying, return_exceptions=True)
    return [one.code if isinstance(one, Refused) else repr(one) for one in told]


async def test_who_orders_while_the_provider_stands_still_hears_so_at_once_and_buys_when_it_is_back(
    db: Database, own_sandbox: SandboxProcess
) -> None:
    """A few wait and find out. For those after them nothing is asked; each rest lets one find out again. Back, the
    next order is a sale, and nobody had to do anything.
    """
    now_s = 0.0
    chance = Chance(clock=lambda: now_s)
    settings = Settings(public_url=f"http://127.0.0.1:{free_port()}")
    shop = await make_shop(db, own_sandbox, settings, patience=PATIENCE, chance=chance)
    own_sandbox.stand_still()
    assert ["provider_unavailable"] * 5 == await refused(shop, 5)
    assert not shop.provider.is_healthy
    failed, spared = counted("failed"), counted("spared")
    assert ["provider_unavailable"] * 20 == await refused(shop, 20)
    assert (failed, spared + 20) == (counted("failed"), counted("spared"))
    now_s += PATIENCE.rest_s
    assert ["provider_unavailable"] * 20 == await refused(shop, 20)
    assert failed + 1 == counted("failed")
    own_sandbox.go_on()

    async def order() -> Order | None:
        nonlocal now_s
        now_s += PATIENCE.rest_s
        try:
            return await shop.purchase.create_order(new_id(), 1)
        except Refused:
            return None

    sold = await until(order, lambda one: one is not None)
    assert sold is not None
    assert sold.pay_url is not None
    assert shop.provider.is_healthy
    await shop.provider.close()
