"""Ten thousand notifications as fast as they can be sent: each is on record or sent again, and memory stays bounded."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from flood import request_of, send_all
from paydesk import WAIT_S, PayDesk, news_of, open_desk

from emeterai.ledger.check import check_ledger
from processes import children_of
from twins.midtrans_twin import MidtransTwin

ORDERS, EACH, LINES = 50, 200, 256
NEWS = 100
"""So many different ones about each order; the others are repetitions."""
MEMORY_BYTES_MAX = 96 * 2**20


@pytest.fixture
async def desk(short_folder: Path) -> AsyncIterator[PayDesk]:
    """A running service and its providers."""
    async with open_desk(short_folder / "flood") as desk:
        yield desk


def peak_bytes(pid: int) -> int:
    """The most memory that a process ever had."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


async def test_a_flood_of_notifications_loses_none_and_fills_no_memory(desk: PayDesk) -> None:
    """Those that are refused are sent again, as a provider does; at the end all are on record and worked, and every
    order is credited once.
    """
    twin = desk.twins["midtrans"]
    assert isinstance(twin, MidtransTwin)
    orders = [await desk.order("midtrans") for _ in range(ORDERS)]
    for order in orders:
        desk.pay(order)
    news = [body for order in orders for body in news_of(twin, order, count=NEWS)]
    waiting = [
        request_of(desk.address("midtrans"), {"content-type": "application/json"}, body)
        for body in news * (EACH // NEWS)
    ]
    assert 10_000 == len(waiting)
    random.Random(7).shuffle(waiting)
    (web,) = children_of(desk.service.pids()["web"])
    before = peak_bytes(web)
    while waiting:
        answers = await send_all(desk.service.base_url, waiting, lines=LINES, patience_s=WAIT_S)
        assert {answer.status for answer in answers} <= {200, 503}
        waiting = [request for request, answer in zip(waiting, answers, strict=True) if answer.status != 200]
    for order in orders:
        await desk.until_paid(order)
    assert len(news) == await desk.db.fetchval("SELECT count(*) FROM purchase.notifications")
    assert peak_bytes(web) - before < MEMORY_BYTES_MAX
    assert (await check_ledger(desk.db)).holds_true
