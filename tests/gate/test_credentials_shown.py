"""Whose token a request carries: the door counts whom the application serves, however the token is dressed up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from rush import Rush, crowded, send

from emeterai.gate.office import office_session
from emeterai.gate.passes import Pass
from emeterai.web.credentials import SESSION_COOKIE, bearer_in, headers_of, session_in

TOKEN = "ems_" + "A" * 43
OTHERS = [f"ems_{number:043}" for number in range(10)]


@pytest.fixture
async def quiet(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A service in which no pass is asked for."""
    async with crowded(database_url, tmp_path) as found:
        found.keeper.door.passes_needed = frozenset()
        yield found


async def ordered(quiet: Rush) -> tuple[UUID, str, str]:
    """Somebody with an order: the account, the token of the session, and the order's id."""
    account_id, _ = await quiet.person()
    await quiet.to_pay(account_id)
    (order,) = await quiet.services.purchase.orders(account_id)
    account = await quiet.services.accounts.account(account_id)
    return account_id, (await quiet.services.accounts.open_session(account)).token, str(order.id)


def dressed_up(token: str, number: int) -> list[list[tuple[str, str]]]:
    """Ways to show a session under many names."""
    own, other = f"{SESSION_COOKIE}={token}", f"{SESSION_COOKIE}={OTHERS[number]}"
    last = "".join(f"%{ord(one):02x}" for one in token[-1 - number :])
    return [
        [("cookie", f"{other}; {own}")],
        [("cookie", f"{own}; {other}")],
        [("cookie", f"{SESSION_COOKIE}={token[: -1 - number]}{last}")],
        [("cookie", f'{SESSION_COOKIE}="{token}"; n={number}')],
        [("cookie", own), ("authorization", f"x{number}")],
        [("cookie", own), ("authorization", f"Bearer {OTHERS[number]}")],
        [("cookie", own), ("authorization", f"Bearer emk_{number:043}")],
    ]


async def test_one_account_is_one_person_inside_on_pages(quiet: Rush) -> None:
    """However often it asks for what is its own, and under however many names."""
    _, token, order = await ordered(quiet)
    statuses = set()
    async with quiet.browser() as browser:
        for number in range(len(OTHERS)):
            for headers in dressed_up(token, number):
                statuses.add((await browser.get(f"/pesanan/{order}", headers=headers)).status_code)
    assert {200, 303} == statuses
    assert 1 == quiet.keeper.door.inside()["retail"]


async def test_one_account_is_one_person_inside_as_a_program(quiet: Rush) -> None:
    """White space around a token belongs to it for neither, or for both; of two headers both read the same."""
    _, token, order = await ordered(quiet)
    async with quiet.browser() as program:
        for number in range(len(OTHERS)):
            for header in (f"Bearer {token}" + "\xa0" * number, f"bearer {' ' * number}{token}", "Bearer " + token):
                lines = [("authorization", f"Bearer {OTHERS[number]}"), ("authorization", header)]
                for sent in (lines, lines[::-1], lines[1:]):
                    await program.get(
                        f"/v1/orders/{order}", headers=[(name, value.encode("latin-1")) for name, value in sent]
                    )
    assert 1 == quiet.keeper.door.inside()["retail"]


@pytest.mark.parametrize("header", ["Bearer x", f"Bearer {TOKEN}", "Basic eDp5"])
async def test_nobody_buys_on_a_page_with_the_pass_of_another(quiet: Rush, header: str) -> None:
    """Whatever stands in a header that pages do not read."""
    _, token, _ = await ordered(quiet)
    siti, _ = await quiet.person()
    now_s, passes = int(quiet.clock()), quiet.reception.passes
    async with quiet.browser() as browser:
        browser.cookies.set(SESSION_COOKIE, token)
        quiet.hold(browser, Pass("retail", 3, passes.holder_of(siti), now_s, now_s + 600))
        browser.headers["authorization"] = header
        answer = await bought(browser)
    assert (403, True) == (answer.status_code, "pass_of_another" in answer.text), answer.text[:300]


async def bought(browser: httpx.AsyncClient) -> httpx.Response:
    """The answer to an order on the page."""
    return await send(browser, "/beli", quantity="1")


def test_of_a_cookie_that_comes_twice_the_last_counts() -> None:
    """Also where staff are known by it; another of a longer name is not it."""
    once = {b"cookie": f"a=1; x{SESSION_COOKIE}=y; {SESSION_COOKIE}={TOKEN} ;b=2".encode()}
    twice = {b"cookie": f"{SESSION_COOKIE}=older; {SESSION_COOKIE}={TOKEN}".encode()}
    assert (TOKEN, TOKEN, "") == (session_in(once), session_in(twice), session_in({}))
    assert b"" != office_session(once) == office_session(twice)


def test_the_header_is_read_only_where_programs_ask() -> None:
    """Below `/v1` and in the rooms of the gate."""
    for path, token in (("/v1/orders", TOKEN), ("/gate/retail/tickets", TOKEN), ("/pesanan", None), ("/", None)):
        scope = {"type": "http", "path": path, "headers": [(b"authorization", f"Bearer {TOKEN}".encode())]}
        assert bearer_in(headers_of(scope)) == token  # type: ignore[arg-type]
    assert "" == bearer_in({b"authorization": b"Basic eDp5"})
