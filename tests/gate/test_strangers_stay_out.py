"""An invented session brings nobody in: what anybody may ask says nothing of the session that is shown with it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from litestar.routes import HTTPRoute
from rush import Rush, crowded

from emeterai.gate.sorting import session_of
from emeterai.infra.ids import new_id

INVENTED = "0123456789abcdef" * 2
PUBLIC = ("/lacak", "/v1/receipts-in-time/key.pem")


@pytest.fixture
async def calm(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A service in which no pass is asked for."""
    async with crowded(database_url, tmp_path) as found:
        found.keeper.door.passes_needed = frozenset()
        yield found


@pytest.fixture
async def stranger(calm: Rush) -> AsyncIterator[httpx.AsyncClient]:
    """A browser with a session that nobody opened."""
    async with calm.browser() as found:
        found.cookies.set("emeterai_session", INVENTED)
        yield found


def is_inside(calm: Rush) -> bool:
    """Whether the door counts anybody, or knows the invented session."""
    door, who = calm.keeper.door, session_of({b"cookie": f"emeterai_session={INVENTED}".encode()})
    return door.inside().total() > 0 or door.knows("retail", who)


def addresses(calm: Rush) -> list[tuple[str, str]]:
    """Each method and address of the application, with something in place of what they name."""
    return sorted(
        (method, re.sub(r"\{[^}:]*:uuid\}", str(new_id()), re.sub(r"\{[^}]*:(?!uuid)[^}]*\}", "x", route.path)))
        for route in calm.routes
        if isinstance(route, HTTPRoute)
        for method in route.route_handler_map
        if method != "OPTIONS"
    )


async def form_token(browser: httpx.AsyncClient) -> str:
    """What the forms of this browser carry."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', (await browser.get("/masuk")).text)
    assert found is not None
    return found[1]


async def test_nobody_comes_in_by_what_anybody_may_ask(calm: Rush, stranger: httpx.AsyncClient) -> None:
    """They are served, and are nowhere: neither counted nor known."""
    for path in PUBLIC:
        assert 200 == (await stranger.get(path)).status_code
        assert not is_inside(calm), path


async def test_nobody_comes_in_by_signing_out(calm: Rush, stranger: httpx.AsyncClient) -> None:
    """Which works with any session, open or not."""
    answer = await stranger.post("/keluar", data={"csrf": await form_token(stranger)})
    assert (303, "/") == (answer.status_code, answer.headers["location"])
    assert not is_inside(calm)


async def test_no_address_at_all_brings_an_invented_session_in(calm: Rush, stranger: httpx.AsyncClient) -> None:
    """Whatever is asked for, as a page and as a program, with the token of a form."""
    token, asked = await form_token(stranger), addresses(calm)
    assert len(asked) > 150
    for method, path in asked:
        for headers in ({}, {"authorization": f"Bearer {INVENTED}"}):
            form = {"csrf": token} if method in {"POST", "PUT", "PATCH"} else None
            await stranger.request(method, path, headers=headers, data=form)
            stranger.cookies.clear()
            stranger.cookies.set("emeterai_session", INVENTED)
            assert not is_inside(calm), (method, path)


async def test_who_is_signed_in_comes_in_by_what_is_theirs(calm: Rush) -> None:
    """A session that is open, and something that is done with it."""
    account_id, _ = await calm.person()
    async with calm.browser() as browser:
        await calm.signed_in(browser, account_id)
        for path in PUBLIC:
            await browser.get(path)
        assert 0 == calm.keeper.door.inside()["retail"]
        await calm.to_pay(account_id)
        (order,) = await calm.services.purchase.orders(account_id)
        assert 200 == (await browser.get(f"/pesanan/{order.id}")).status_code
        assert 1 == calm.keeper.door.inside()["retail"]
