"""Which pages carry a renewed pass: all that a signed-in person gets for themselves, none that a cache may share."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from rush import Rush, crowded

from emeterai.gate.sorting import Needs, sort_of

FOR_EVERYBODY = {"/penjual"}
"""What is the same for everybody, signed in or not: a cache may keep it."""


@pytest.fixture
async def rush(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service."""
    async with crowded(database_url, tmp_path) as found:
        yield found


def pages_of(app: Any) -> list[str]:
    """Every address at which people look at something and do not merely wait for news, with its parameters."""
    found = {route.path_format for route in app.routes if "GET" in getattr(route, "methods", ())}
    sorts = {page: sort_of("GET", page) for page in found if not page.startswith("/v1/")}
    return sorted(page for page, sort in sorts.items() if sort is not None and sort.needs is Needs.WORK)


def has_pass(cookies: list[str]) -> bool:
    """Whether one of these `Set-Cookie` is of a pass."""
    return any("emeterai_pass" in SimpleCookie(cookie) for cookie in cookies)


async def test_every_page_of_a_signed_in_person_carries_it_and_no_other_does(rush: Rush) -> None:
    """Whoever works on any of them is not sent to the line in the middle of it."""
    account_id, _ = await rush.person()
    await rush.to_pay(account_id)
    (order,) = await rush.services.purchase.orders(account_id)
    rush.clock.minute(-20)
    used = (await rush.reception.enter("retail", account_id=account_id)).granted
    rush.clock.minute(0)
    carried, bare = set[str](), set[str]()
    async with rush.browser() as siti:
        await rush.signed_in(siti, account_id)
        for page in pages_of(rush.app._app):  # type: ignore[attr-defined]
            rush.hold(siti, used)
            answer = await siti.get(re.sub(r"\{order_id[^}]*\}", str(order.id), page))
            if answer.status_code != 200 or not answer.headers["content-type"].startswith("text/html"):
                continue
            said = {word.strip() for word in answer.headers.get("cache-control", "").split(",")}
            is_own = has_pass(answer.headers.get_list("set-cookie"))
            assert is_own is bool(said & {"no-store", "private"}), (page, said)
            (carried if is_own else bare).add(page)
    assert {"/kuota", "/beli", "/unggah", "/dokumen", "/pesanan", "/kuota/riwayat"} <= carried
    assert any("order_id" in page for page in carried)
    assert FOR_EVERYBODY == bare
