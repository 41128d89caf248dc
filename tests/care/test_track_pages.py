"""The tracker over HTTP: `/lacak` and `/v1/track`, without a session."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest
from litestar import Litestar, Request, Response
from tracking_people import Counter, code_of

from emeterai.care import pages, routes
from emeterai.care.service import Tracker
from emeterai.infra.database import Database
from emeterai.infra.http import problem_response, refusal_of
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles


@dataclass
class Desk:
    """What the handlers find in the application's state: no sessions among it."""

    tracker: Tracker
    pages: Pages
    csrf: Csrf


@pytest.fixture
def counter(db: Database) -> Counter:
    """A shop with its tracker."""
    return Counter.on(db)


def refuse(_: Request[object, object, object], error: Exception) -> Response[bytes]:
    """A refusal, as the application tells it."""
    refused = refusal_of(error)
    if refused is None:
        raise error
    return problem_response(refused)


@pytest.fixture
async def client(counter: Counter) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody's browser or program."""
    csrf = Csrf(b"x" * 32, https=False)
    app = Litestar([*routes.controllers, *pages.controllers], exception_handlers={Exception: refuse})  # type: ignore[dict-item]
    app.state["services"] = Desk(counter.tracker, Pages(csrf, specimen=True, static=StaticFiles()), csrf)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as http:
        yield http


async def looked(client: httpx.AsyncClient, number: str, digits: str) -> httpx.Response:
    """Fill in the form and send it."""
    form = (await client.get("/lacak")).text
    (csrf,) = re.findall(r'name="csrf" value="(\w+)"', form)
    return await client.post("/lacak", data={"csrf": csrf, "number": number, "digits": digits})


def digits(text: str) -> dict[str, str]:
    """How a program tells the four digits."""
    return {"track-digits": text}


async def test_a_person_sees_what_became_of_an_order(counter: Counter, client: httpx.AsyncClient) -> None:
    """In sentences, in both languages, and no cache keeps it."""
    order = await counter.purchase.place_order(await counter.buyer(), 2)
    await counter.pay(order)
    page = await looked(client, order.number.lower(), "7890")
    assert 200 == page.status_code
    assert "Uang terlihat" in page.text
    assert "kuota diberikan" in page.text
    assert "no-store" == page.headers["cache-control"]
    assert "7890" not in page.text
    assert "Siti" not in page.text


async def test_a_receipts_code_fills_in_the_number(client: httpx.AsyncClient) -> None:
    """And nothing else: the digits are never in an address."""
    page = await client.get("/lacak", params={"nomor": "4F7K-2M9Q", "digits": "0417"})
    assert 'value="4F7K-2M9Q"' in page.text
    assert "0417" not in page.text


async def test_what_is_wrong_is_said_beside_its_field(counter: Counter, client: httpx.AsyncClient) -> None:
    """Mistyped, unmatched or paused: the form comes back with its status, and the digits have to be typed again."""
    order = await counter.purchase.place_order(await counter.buyer(), 2)
    for number, digits, status, field in (
        ("x", "1234", 422, "number"),
        (order.number, "12", 422, "digits"),
        ("0000-0000", "1234", 404, "number"),
    ):
        page = await looked(client, number, digits)
        assert (status, True) == (page.status_code, f'id="{field}-error"' in page.text)
        assert f'value="{digits}"' not in page.text
    for _ in range(10):
        paused = await looked(client, "0000-0000", "1234")
    assert (429, True) == (paused.status_code, int(paused.headers["retry-after"]) > 3_000)


async def test_forms_of_others_are_refused(client: httpx.AsyncClient) -> None:
    """No other site makes people's browsers guess."""
    answer = await client.post("/lacak", data={"number": "4F7K-2M9Q", "digits": "1234"})
    assert (403, "csrf_failed") == (answer.status_code, answer.json()["code"])


async def test_a_program_sees_it_too(counter: Counter, client: httpx.AsyncClient) -> None:
    """`GET /v1/track`, with every step and its time; the digits in a header, and never in an address."""
    order = await counter.purchase.place_order(await counter.buyer(), 2)
    await counter.pay(order)
    answer = await client.get("/v1/track", params={"number": order.number}, headers=digits(code_of(order)))
    assert (200, "no-store") == (answer.status_code, answer.headers["cache-control"])
    tracked = answer.json()
    assert ("paid", order.number, []) == (tracked["state"], tracked["number"], tracked["awaited"])
    assert ["Order made", "Money seen", "Quota given"] == [step["en"] for step in tracked["steps"]]
    wrong = await client.get("/v1/track", params={"number": order.number}, headers=digits("0000"))
    nobody = await client.get("/v1/track", params={"number": "0000-0000"}, headers=digits("0000"))
    assert (404, wrong.json()) == (wrong.status_code, nobody.json())
    in_address = {"number": order.number, "digits": code_of(order)}
    assert 400 == (await client.get("/v1/track", params=in_address)).status_code


async def test_a_bad_session_changes_nothing(counter: Counter, client: httpx.AsyncClient) -> None:
    """Neither page nor API looks at cookies and keys: there is nothing in the state that could."""
    order = await counter.purchase.place_order(await counter.buyer(), 1)
    client.cookies.set("emeterai_session", "ems_nonsense")
    headers = {"authorization": "Bearer nonsense", **digits("7890")}
    params = {"number": order.number}
    assert 200 == (await looked(client, order.number, "7890")).status_code
    assert 200 == (await client.get("/v1/track", params=params, headers=headers)).status_code
