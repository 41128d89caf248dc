"""Limits of buying: decided in the transaction that places the order, so that nobody gets past them by hurrying."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import httpx
import msgspec
import pytest
from shops import Shop, token_of

from emeterai.core.refusal import Refused
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from emeterai.purchase import service
from emeterai.purchase.service import Purchase


def limited(shop: Shop, **limits: int) -> Purchase:
    """The same shop with other limits."""
    settings = msgspec.structs.replace(shop.settings, **limits)
    return Purchase(shop.db, shop.ledger, settings, providers=[shop.provider])


async def let_pass(shop: Shop, seconds: int) -> None:
    """Let all orders be so much older."""
    async with shop.db.transaction() as tx:
        await tx.execute(
            """
            UPDATE purchase.orders SET created_at = created_at - make_interval(secs => $1),
                expires_at = expires_at - make_interval(secs => $1)
            """,
            seconds,
        )


async def test_orders_an_hour(shop: Shop) -> None:
    """The fourth within an hour is refused and says when it fits; then it does. Given up ones count too."""
    purchase, account = limited(shop, person_orders_an_hour_max=3), new_id()
    for _ in range(3):
        order = await purchase.place_order(account, 1)
        await purchase.cancel(account, order.id)
        await let_pass(shop, 600)
    with pytest.raises(Refused, match="orders_an_hour_reached") as refused:
        await purchase.place_order(account, 1)
    assert 3 == refused.value.facts["orders_max"]
    wait_s = int(refused.value.facts["retry_after_s"])
    assert 1_790 < wait_s <= 1_800
    assert str(refused.value.facts["again_at"]) in refused.value.id
    await purchase.place_order(new_id(), 1)
    await let_pass(shop, wait_s)
    await purchase.place_order(account, 1)


async def test_open_orders(shop: Shop) -> None:
    """Paying or giving up one makes room for the next; so does time."""
    purchase, account = limited(shop, person_open_orders_max=2), new_id()
    first, second = [await purchase.place_order(account, 1) for _ in range(2)]
    with pytest.raises(Refused, match="open_orders_reached") as refused:
        await purchase.place_order(account, 1)
    assert shop.settings.order_life_s - 5 < int(refused.value.facts["retry_after_s"]) <= shop.settings.order_life_s
    await purchase.cancel(account, first.id)
    await purchase.place_order(account, 1)
    with pytest.raises(Refused, match="open_orders_reached"):
        await purchase.place_order(account, 1)
    await shop.end_time(second)
    await purchase.place_order(account, 1)


async def test_units_a_day(shop: Shop) -> None:
    """Fewer units may still fit; what ended without money takes none; after a day there is room again."""
    purchase, account = limited(shop, person_units_a_day_max=10), new_id()
    given_up = await purchase.place_order(account, 9)
    await purchase.cancel(account, given_up.id)
    bought = await purchase.create_order(account, 6)
    await shop.notify(bought)
    with pytest.raises(Refused, match="units_a_day_reached") as refused:
        await purchase.place_order(account, 5)
    assert (10, 6) == (refused.value.facts["units_max"], refused.value.facts["units_ordered"])
    assert 86_000 < int(refused.value.facts["retry_after_s"]) <= 86_400
    await purchase.place_order(account, 4)
    await let_pass(shop, 86_400)
    await purchase.place_order(account, 10)


async def test_a_refused_order_leaves_nothing(shop: Shop) -> None:
    """Its row is rolled back, so that it does not count against the next one."""
    purchase, account = limited(shop, person_orders_an_hour_max=1), new_id()
    await purchase.place_order(account, 1)
    for _ in range(3):
        with pytest.raises(Refused, match="orders_an_hour_reached"):
            await purchase.place_order(account, 1, idempotency_key="k")
    assert 1 == await shop.db.fetchval("SELECT count(*) FROM purchase.orders")


async def test_an_order_sent_again_is_not_counted_again(shop: Shop) -> None:
    """The same key gives the same order, also at the limit."""
    purchase, account = limited(shop, person_orders_an_hour_max=1), new_id()
    order = await purchase.place_order(account, 1, idempotency_key="k")
    assert order.id == (await purchase.place_order(account, 1, idempotency_key="k")).id


async def test_an_api_key_has_the_limits_of_its_person(shop: Shop) -> None:
    """Anybody makes himself a key: what it orders counts with what its holder orders, and no limit is higher."""
    purchase = limited(shop, person_orders_an_hour_max=2, organisation_orders_an_hour_max=100)
    token = await token_of(shop, "siti@surat.example")
    holder = await shop.accounts.identify(token)
    key = (await shop.accounts.create_api_key(holder, "kasir")).token
    answers = []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(replace(shop, purchase=purchase).app()), base_url="http://meterai.example"
    ) as program:
        for used in (key, token, key, token):
            headers = {"authorization": f"Bearer {used}"}
            answers.append(await program.post("/v1/orders", json={"quantity": 1}, headers=headers))
    assert [201, 201, 429, 429] == [answer.status_code for answer in answers]
    assert ["orders_an_hour_reached"] * 2 == [answer.json()["code"] for answer in answers[2:]]


async def test_whom_the_issuer_knows_has_higher_limits(shop: Shop) -> None:
    """A partner's account, as long as it is one; the order after that is a person's again."""
    settings = msgspec.structs.replace(shop.settings, person_orders_an_hour_max=1, organisation_orders_an_hour_max=3)
    partners: set[UUID] = set()

    async def is_partner(_: object, account_id: UUID) -> bool:
        return account_id in partners

    purchase = Purchase(shop.db, shop.ledger, settings, providers=[shop.provider], is_partner=is_partner)
    partner, person = new_id(), new_id()
    for account in (partner, person):
        await purchase.place_order(account, 1)
    partners.add(partner)
    await purchase.place_order(partner, 1)
    with pytest.raises(Refused, match="orders_an_hour_reached"):
        await purchase.place_order(person, 1)
    partners.clear()
    with pytest.raises(Refused, match="orders_an_hour_reached") as refused:
        await purchase.place_order(partner, 1)
    assert 1 == refused.value.facts["orders_max"]


async def placed_at_once(purchase: Purchase) -> list[object]:
    """What became of eight orders that one account sends at one moment."""
    account = new_id()
    return list(await asyncio.gather(*(purchase.place_order(account, 1) for _ in range(8)), return_exceptions=True))


async def test_nobody_passes_a_limit_by_hurrying(shop: Shop) -> None:
    """Eight at one moment where three fit: three."""
    answers = await placed_at_once(limited(shop, person_open_orders_max=3))
    refused = [answer.code for answer in answers if isinstance(answer, Refused)]
    assert ["open_orders_reached"] * 5 == refused


async def test_without_the_lock_they_would_pass(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard removed: each counts only itself and what was committed before."""
    meeting, count = asyncio.Barrier(8), service.check_limits

    async def unlocked(ledger: Ledger, *arguments: object, **more: object) -> None:
        await meeting.wait()

    async def count_together(*arguments: object, **more: object) -> None:
        await count(*arguments, **more)  # type: ignore[arg-type]
        await meeting.wait()

    monkeypatch.setattr(Ledger, "open_book", unlocked)
    monkeypatch.setattr(service, "check_limits", count_together)
    answers = await placed_at_once(limited(shop, person_open_orders_max=3))
    assert [] == [answer for answer in answers if isinstance(answer, BaseException)]


def test_one_order_fits_its_day() -> None:
    """The largest order that may be made is within a person's day, by default."""
    settings = Settings()
    assert settings.order_quantity_max <= settings.person_units_a_day_max
