"""Who is signed out in a rush: those who have something under way and staff come in, strangers stay in the line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from rush import PASSWORD, Rush, crowded, send

from emeterai.accounts.staff import Role
from emeterai.core.brownout import Step
from emeterai.gate.lanes import PARTNERS
from emeterai.gate.side_entrance import ENTRIES_PER_S, TRIES_AT_ONCE, SmallRate


@pytest.fixture
async def rush(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service."""
    async with crowded(database_url, tmp_path) as found:
        yield found


async def sign_in(browser: httpx.AsyncClient, contact: str) -> httpx.Response:
    """Sign in by the page's form."""
    return await send(browser, "/masuk", contact=contact, password=PASSWORD)


def place(answer: httpx.Response) -> tuple[int, str]:
    """Where an answer leads."""
    return answer.status_code, answer.headers.get("location", "")


async def test_who_is_to_pay_comes_in_from_another_phone(rush: Rush) -> None:
    """The pass to finish comes with the session; then everything inside is open."""
    account_id, contact = await rush.person()
    await rush.to_pay(account_id)
    async with rush.browser() as phone:
        answer = await sign_in(phone, contact)
        assert (303, "/kuota") == place(answer)
        granted = rush.reception.passes.read(phone.cookies["emeterai_pass"])
        assert granted is not None
        assert (True, rush.reception.passes.holder_of(account_id)) == (granted.finish, granted.holder)
        cookie = next(it for it in answer.headers.get_list("set-cookie") if it.startswith("emeterai_pass"))
        assert {"httponly", "samesite"} <= {part.strip().partition("=")[0].lower() for part in cookie.split(";")}
        assert "/gate/retail" != place(await send(phone, "/beli", quantity="0"))[1]


async def test_a_program_that_is_to_pay_comes_in_by_the_room(rush: Rush) -> None:
    """It signs in, and asks there for its pass."""
    account_id, contact = await rush.person()
    await rush.to_pay(account_id)
    async with rush.browser() as program:
        session = await program.post("/v1/sessions", json={"contact": contact, "password": PASSWORD})
        program.headers["authorization"] = f"Bearer {session.raise_for_status().json()['token']}"
        assert "pass_needed" == (await program.post("/v1/orders", json={"quantity": 0})).json()["code"]
        granted = (await program.post("/gate/retail/passes", json={})).raise_for_status().json()
        assert granted["finish"]
        program.headers["emeterai-pass"] = granted["granted"]
        assert "pass_needed" != (await program.post("/v1/orders", json={"quantity": 0})).json()["code"]


async def test_an_operator_and_a_member_of_another_lane_do_not_queue_in_retail(rush: Rush) -> None:
    """The operator's room is open to the one; the other gets a number in the lane that is kept for them."""
    (_, operator), (partner_id, partner) = await rush.person(), await rush.person()
    await rush.services.staff.grant(operator, Role.OPERATOR, by="test")
    await rush.services.db.fetch(
        "INSERT INTO gate.lane_accounts (account_id, lane) VALUES ($1, $2)", partner_id, PARTNERS
    )
    rush.publish(PARTNERS)
    async with rush.browser() as browser:
        assert 303 == (await sign_in(browser, operator)).status_code
        assert 200 == (await browser.get("/operator")).status_code
    async with rush.browser() as browser:
        assert 303 == (await sign_in(browser, partner)).status_code
        taken = await browser.post(f"/gate/{PARTNERS}/tickets", json={})
        assert 201 == taken.status_code, taken.text


async def test_a_stranger_who_signs_in_is_where_he_was(rush: Rush) -> None:
    """Signed in, and in the line: no pass, and nothing that needs one; nor does anybody sign up by this way."""
    _, contact = await rush.person()
    async with rush.browser() as stranger:
        assert (303, "/kuota") == place(await sign_in(stranger, contact))
        assert "emeterai_pass" not in stranger.cookies
        for path in ("/beli", "/unggah", "/daftar"):
            assert (303, "/gate/retail") == place(await stranger.post(path)), path
        token = {"authorization": f"Bearer {stranger.cookies['emeterai_session']}"}
        for path in ("/v1/orders", "/v1/uploads", "/v1/accounts"):
            assert "pass_needed" == (await stranger.post(path, headers=token)).json()["code"], path
    assert 0 == sum(rush.keeper.door.inside().values())


async def test_who_is_signed_in_and_has_to_finish_sends_a_form_once_only(rush: Rush) -> None:
    """A browser whose pass is over gets one to finish and sends the same again by itself; a stranger is sent away."""
    (payer_id, _), (stranger_id, _) = await rush.person(), await rush.person()
    await rush.to_pay(payer_id)
    async with rush.browser() as payer, rush.browser("198.51.100.1") as stranger:
        await rush.signed_in(payer, payer_id)
        await rush.signed_in(stranger, stranger_id)
        again = await payer.post("/beli?x=1", data={"quantity": "0"})
        assert (307, "/beli?x=1") == place(again)
        assert "/gate/retail" != place(await payer.post("/beli", data={"quantity": "0"}))[1]
        assert (303, "/gate/retail") == place(await stranger.post("/beli", data={"quantity": "0"}))


async def test_an_account_whose_passes_are_withdrawn_gets_none(rush: Rush) -> None:
    """It is signed in, and goes round in no circle. Who has something under way: test_withdrawn.py."""
    account_id, contact = await rush.person()
    rush.reception.revoked = frozenset({("retail", rush.reception.passes.holder_of(account_id))})
    async with rush.browser() as browser:
        await sign_in(browser, contact)
        assert "emeterai_pass" not in browser.cookies
        assert (303, "/gate/retail") == place(await browser.post("/beli"))


async def test_of_a_hundred_strangers_few_have_their_password_looked_at(rush: Rush) -> None:
    """The others hear at once what everybody without a pass hears: where the line is."""
    looked_at = await asyncio.gather(*(rush.has_password_looked_at(f"10.{one}.0.1") for one in range(100)))
    assert 1 <= sum(looked_at) <= 4 * ENTRIES_PER_S
    assert not looked_at[-1]


async def test_while_signing_in_rests_nobody_signs_in_by_the_side(rush: Rush) -> None:
    """Then a password costs what those inside need."""
    rush.keeper.door.lane_steps = {"retail": Step.ENTERING}
    assert not await rush.has_password_looked_at("10.0.0.1")


def test_one_address_has_few_tries_and_takes_none_of_others() -> None:
    """A block of addresses has some more; what is left is for everybody else, and it all comes again."""
    now_s = [0.0]
    rate = SmallRate(50.0, clock=lambda: now_s[0])
    assert TRIES_AT_ONCE == sum(rate.take("198.51.100.7") for _ in range(20))
    assert 4 * TRIES_AT_ONCE == TRIES_AT_ONCE + sum(rate.take(f"198.51.100.{one}") for one in range(100, 200))
    assert TRIES_AT_ONCE == sum(rate.take(f"2001:db8::{one}") for one in range(20))
    assert rate.take("203.0.113.9")
    now_s[0] = 5.0
    assert [True, False] == [rate.take("198.51.100.7") for _ in range(2)]


def test_who_came_too_late_may_try_again_at_once() -> None:
    """When nothing is left nobody loses a try of their own."""
    now_s = [0.0]
    rate = SmallRate(1.0, clock=lambda: now_s[0])
    assert [True, True, False] == [rate.take(f"203.0.{one}.1") for one in range(3)]
    assert not any(rate.take("198.51.100.7") for _ in range(50))
    for second in range(1, 1 + TRIES_AT_ONCE):
        now_s[0] = float(second)
        assert rate.take("198.51.100.7")
