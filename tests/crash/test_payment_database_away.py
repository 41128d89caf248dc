"""The database is away while payment providers report: they hear "later" before their patience ends, and come again.

There is no spool: what is not on record was refused, and the provider keeps it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from flood import request_of, send_all
from paydesk import FIRST_RETRY_S, PATIENCE_S, WAIT_S, PayDesk, open_desk

from emeterai.infra.clock import utc_now
from emeterai.purchase.noting import NOTED_WITHIN_S
from twins.payment_twin import PaymentTwin

BURST = 300


@pytest.fixture(scope="module")
async def desk(short_folder: Path) -> AsyncIterator[PayDesk]:
    """A running service and its providers."""
    async with open_desk(short_folder / "away") as desk:
        yield desk


@pytest.fixture
def twin(desk: PayDesk, provider: str) -> PaymentTwin:
    """The provider now, with an empty post."""
    twin = desk.twins[provider]
    twin.now = utc_now()
    twin.post.clear()
    return twin


def test_a_notification_is_refused_before_its_provider_has_left() -> None:
    """Else it would not hear that it is to come again."""
    assert NOTED_WITHIN_S < min(PATIENCE_S.values())


@pytest.mark.parametrize("away", ["database_hangs", "database_gone"])
@pytest.mark.parametrize("provider", ["midtrans", "xendit"])
async def test_what_was_refused_comes_again_on_the_provider_s_own_schedule(
    desk: PayDesk, twin: PaymentTwin, provider: str, away: str
) -> None:
    """Refused with 503; not sent before its first pause is over; then taken, and credited once."""
    order = await desk.order(provider)
    desk.pay(order)
    with getattr(desk, away)():
        answers = await desk.deliver(provider)
        assert {503} == set(answers)
        first_retry = timedelta(seconds=FIRST_RETRY_S[provider])
        assert {twin.now + first_retry} == {letter.due for letter in twin.post}
        assert len(answers) == len(twin.post)
    await desk.service.wait_ready()
    twin.now += first_retry - timedelta(seconds=1)
    assert [] == await desk.deliver(provider)
    twin.now += timedelta(seconds=1)
    assert {200} == set(await desk.deliver(provider))
    assert [] == twin.post
    await desk.until_paid(order)


@pytest.mark.parametrize("provider", ["midtrans"])
async def test_what_the_retries_never_bring_the_sweep_finds(desk: PayDesk, twin: PaymentTwin, provider: str) -> None:
    """The database is away at each of its five tries, over hours; the provider gives up; the steward asks it."""
    order = await desk.order(provider)
    desk.pay(order)
    with desk.database_hangs():
        tries = 0
        while twin.post:
            answers = await desk.deliver(provider)
            assert answers in ([], [503], [503, 503])
            tries += bool(answers)
            twin.now += timedelta(minutes=1)
        assert 5 == tries
    await desk.until_paid(order)


@pytest.mark.parametrize("provider", ["midtrans"])
async def test_a_rush_that_meets_a_hanging_database_is_refused_to_the_last(
    desk: PayDesk, twin: PaymentTwin, provider: str
) -> None:
    """Every one of them is answered 503, and pages that need no database still come."""
    order = await desk.order(provider)
    desk.pay(order)
    (*_, letter) = twin.post
    request = request_of(desk.address(provider), letter.headers, letter.body)
    with desk.database_hangs():
        answers = await send_all(desk.service.base_url, [request] * BURST, lines=50, patience_s=WAIT_S)
        assert {503} == {answer.status for answer in answers}
        page = await desk.http.get(f"{desk.service.base_url}/healthz", timeout=WAIT_S)
        assert httpx.codes.OK == page.status_code
    assert BURST == len(answers)
    await desk.until_paid(order)
