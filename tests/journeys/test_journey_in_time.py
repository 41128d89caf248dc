"""What the door knows of people: who is in the middle of something comes in, and what they did is proved in time."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from emeterai.gate.kept_refusals import KEPT_S
from papers import letter
from running import Person, RunningService


async def shown(person: Person, **wish: str) -> httpx.Response:
    """Ask for a receipt in time."""
    return await person.api.post("/v1/receipts-in-time", json=wish)


async def entered(person: Person) -> httpx.Response:
    """Ask for a pass without any ticket."""
    return await person.api.post("/gate/retail/passes", json={})


async def test_an_order_that_was_paid_and_a_file_that_was_sent_are_proved(
    service: RunningService, buyer: Person, stranger: Person
) -> None:
    """Anyone can check the receipt; nobody gets one of somebody else's order or file."""
    order = (await buyer.buy(1))["id"]
    sent = await buyer.stamp(letter())
    document = sent.json()["document_id"]
    for what, subject in (("paid", order), ("uploaded", document)):
        answer = await shown(buyer, what=what, id=subject)
        assert 201 == answer.status_code, answer.text
        made: dict[str, Any] = answer.json()
        async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as agency:
            checked = await agency.get(httpx.URL(made["check_url"]).path)
        assert 200 == checked.status_code, checked.text
        moment = {"paid": "provider_told", "uploaded": "file_safe"}[what]
        assert (what, moment) == (made["says"]["what"], made["says"]["moment"])
        assert "receipt_not_possible" == (await shown(stranger, what=what, id=subject)).json()["code"]


async def test_the_pages_of_an_order_and_of_a_file_lead_to_the_proof(
    service: RunningService, buyer: Person, stranger: Person
) -> None:
    """To look at, to copy and to keep; a stranger is told nothing, and whoever is nobody signs in first."""
    order = (await buyer.buy(1))["id"]
    document = (await buyer.stamp(letter())).json()["document_id"]
    for page in (f"/pesanan/{order}", f"/dokumen/{document}"):
        async with browser_of(buyer) as browser:
            proof = f"{page}/tepat-waktu"
            assert f'href="{proof}"' in (await browser.get(page)).text
            shown = await browser.get(proof)
            assert (200, "no-store") == (shown.status_code, shown.headers["cache-control"])
            receipt = shown.text.partition('<code class="copy">')[2].partition("<")[0]
            assert receipt.startswith("r1.")
            checked = await browser.get(f"/v1/receipts-in-time/{receipt}")
            assert 200 == checked.status_code, checked.text
            kept = (await browser.get(f"{proof}.txt")).text
            assert receipt in kept
            assert checked.json()["reference"] in kept
        async with browser_of(stranger) as browser:
            assert 404 == (await browser.get(proof)).status_code
        async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as nobody:
            assert 303 == (await nobody.get(proof)).status_code


def browser_of(person: Person) -> httpx.AsyncClient:
    """A browser in which the person is signed in."""
    token = person.api.headers["authorization"].removeprefix("Bearer ")
    cookies = {"emeterai_session": token}
    return httpx.AsyncClient(base_url=person.service.base_url, trust_env=False, timeout=30, cookies=cookies)


async def test_whoever_has_money_on_its_way_comes_in_without_a_ticket(service: RunningService, person: Person) -> None:
    """An order with its charge opened is enough; nothing at all is not."""
    nobody = await Person.sign_up(service)
    assert 403 == (await entered(nobody)).status_code
    answer = await nobody.api.post("/v1/orders", json={"quantity": 1})
    assert 201 == answer.status_code, answer.text
    async with asyncio.timeout(10 * KEPT_S):  # the no of a moment ago is remembered for so long
        while (let_in := await entered(nobody)).status_code == 403:
            await asyncio.sleep(0.2)
    assert 201 == let_in.status_code, let_in.text
    await nobody.close()


async def test_nobody_buys_or_stamps_with_the_pass_of_another(service: RunningService) -> None:
    """It names its account; its owner goes on with it."""
    owner, thief = await Person.sign_up(service, quota=1), await Person.sign_up(service, quota=1)
    held = {"emeterai-pass": (await entered(owner)).json()["granted"]}
    for path, body in (("/v1/orders", {"quantity": 1}), ("/v1/stamps", {"document_id": str(owner.api.headers)})):
        refused = await thief.api.post(path, json=body, headers=held)
        assert (403, "pass_of_another") == (refused.status_code, refused.json()["code"])
    assert 201 == (await owner.api.post("/v1/orders", json={"quantity": 1}, headers=held)).status_code
    for one in (owner, thief):
        await one.close()


async def test_a_pass_of_nobody_is_of_the_first_account_that_buys_with_it(service: RunningService) -> None:
    """Shown around it opens the way for one person and for nobody else, in every process; its owner goes on with it."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False, timeout=30) as anyone:
        ticket = (await anyone.post("/gate/retail/tickets", json={})).json()["ticket"]
        async with asyncio.timeout(10):
            while (answer := await anyone.post("/gate/retail/passes", json={"ticket": ticket})).status_code != 201:
                await asyncio.sleep(0.2)
    assert not answer.json()["bound"]
    held = {"emeterai-pass": answer.json()["granted"]}
    first, second = await Person.sign_up(service), await Person.sign_up(service)
    for _ in range(2):
        assert 201 == (await first.api.post("/v1/orders", json={"quantity": 1}, headers=held)).status_code
        refused = await second.api.post("/v1/orders", json={"quantity": 1}, headers=held)
        assert (403, "pass_of_another") == (refused.status_code, refused.json()["code"])
    for one in (first, second):
        await one.close()
