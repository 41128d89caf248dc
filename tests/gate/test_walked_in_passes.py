"""Whoever walked in without a pass is given one: inside at every web process, and for no longer than anybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from rush import PASSWORD, Rush, crowded, send, shown
from served_door import ServedDoor

from emeterai.gate.bearers import SESSIONS_OF_ACCOUNT_MAX
from emeterai.gate.door import KNOWN_S, WALK_IN_PER_S, Door
from emeterai.gate.passes import PASS_LIFE_S, STAY_S, Pass
from emeterai.gate.tickets import Ticket
from emeterai.web import paths

ROOM = "/gate/retail"
CAMPAIGN = "cpns-2026"


@pytest.fixture
async def at_ease(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A service in which no pass is asked for; the time of its door is that of its clock."""
    async with crowded(database_url, tmp_path) as found:
        found.keeper.door.passes_needed = frozenset()
        found.keeper.door._clock = lambda: found.clock.moved_s
        yield found


@pytest.fixture
async def crowded_beside(at_ease: Rush, database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """Another web process of the same service, a moment later: a pass is asked for."""
    async with crowded(database_url, tmp_path) as found:
        yield found


def rush_begins(rush: Rush) -> None:
    """Everybody who comes needs a pass from now on."""
    rush.keeper.door.passes_needed = frozenset({"retail"})


async def signed_in_here(rush: Rush, browser: httpx.AsyncClient) -> UUID:
    """Somebody new who is signed in in a browser."""
    account_id, _ = await rush.person()
    await rush.signed_in(browser, account_id)
    return account_id


async def act(browser: httpx.AsyncClient) -> httpx.Response:
    """Do something inside: it is served."""
    answer = await send(browser, paths.API_KEYS, label="kasir")
    assert 200 == answer.status_code
    return answer


async def is_sent_to_room(browser: httpx.AsyncClient) -> bool:
    """Whether whoever wants to buy has to stand in line."""
    return ROOM == (await browser.post("/beli")).headers.get("location")


def pass_of_walk_in(rush: Rush, account_id: UUID) -> Pass:
    """What somebody is given who walks in now."""
    now_s = int(rush.clock())
    return Pass("retail", 0, rush.reception.passes.holder_of(account_id), now_s, now_s + PASS_LIFE_S)


async def test_who_walked_in_is_inside_at_every_web_process(at_ease: Rush, crowded_beside: Rush) -> None:
    """A rush begins, and the next request goes to a process that has never seen them."""
    async with at_ease.browser() as siti, crowded_beside.browser() as there:
        await signed_in_here(at_ease, siti)
        there.cookies = siti.cookies
        assert await is_sent_to_room(there)
        await act(siti)
        there.cookies = siti.cookies
        assert not await is_sent_to_room(there)
        assert 422 == (await send(there, "/beli", quantity="0")).status_code
        assert 1 == crowded_beside.keeper.door.inside()["retail"]


async def test_an_ordinary_pass_comes_with_the_first_thing_that_is_done(at_ease: Rush) -> None:
    """Bound to the account and the lane, with no number; not with a look, a refusal, or once it is held."""
    async with at_ease.browser() as siti:
        account_id = await signed_in_here(at_ease, siti)
        assert shown(at_ease, await siti.get("/kuota")) is None
        assert shown(at_ease, await send(siti, "/beli", quantity="0")) is None
        assert not at_ease.keeper.door.inside()
        granted = shown(at_ease, await act(siti))
        assert pass_of_walk_in(at_ease, account_id) == granted
        assert shown(at_ease, await act(siti)) is None
        at_ease.clock.minute(6)
        renewed = shown(at_ease, await siti.get("/kuota"))
    assert renewed is not None
    assert (True, granted.entered_s, 16 * 60) == (
        renewed.is_of_walk_in,
        renewed.entered_s,
        renewed.until_s - granted.entered_s,
    )


async def test_who_buys_walks_in_with_a_pass(at_ease: Rush) -> None:
    """What needs one while one is asked for takes a newcomer's place, once; from then on nothing does."""
    async with at_ease.browser() as siti:
        account_id = await signed_in_here(at_ease, siti)
        bought = await send(siti, "/beli", quantity="1")
        assert (303, pass_of_walk_in(at_ease, account_id)) == (bought.status_code, shown(at_ease, bought))
        await send(siti, "/beli", quantity="1")
        at_ease.keeper.door.second()
    assert 1 == at_ease.keeper.door.walked_in["retail"]


async def test_programs_and_strangers_get_none(at_ease: Rush) -> None:
    """Who says with each request who they are asks at the gate; nobody is given one for a session that was invented."""
    async with at_ease.browser() as siti, at_ease.browser() as program, at_ease.browser() as stranger:
        await signed_in_here(at_ease, siti)
        bearer = {"authorization": f"Bearer {siti.cookies['emeterai_session']}"}
        made = await program.post("/v1/api-keys", json={"label": "kasir"}, headers=bearer)
        assert (201, []) == (made.status_code, made.headers.get_list("set-cookie"))
        assert 1 == at_ease.keeper.door.inside()["retail"]
        stranger.cookies.set("emeterai_session", "ems_" + "x" * 43)
        for answer in (await stranger.get(paths.API_KEYS), await stranger.get("/masuk"), await stranger.get("/lacak")):
            assert shown(at_ease, answer) is None


async def test_it_opens_nothing_for_another_account(at_ease: Rush) -> None:
    """The door lets in whoever shows it, and inside it buys for its holder alone."""
    async with at_ease.browser() as siti, at_ease.browser() as budi:
        await signed_in_here(at_ease, siti)
        granted = shown(at_ease, await act(siti))
        assert granted is not None
        await signed_in_here(at_ease, budi)
        rush_begins(at_ease)
        at_ease.hold(budi, granted)
        refused = await send(budi, "/beli", quantity="1")
    assert 403 == refused.status_code
    assert "milik akun lain" in refused.text


async def test_few_sessions_come_with_it(at_ease: Rush) -> None:
    """A copy for a crowd opens nothing."""
    async with at_ease.browser() as siti, at_ease.browser() as crowd:
        await signed_in_here(at_ease, siti)
        granted = shown(at_ease, await act(siti))
        assert granted is not None
        rush_begins(at_ease)
        let_in = 0
        for one in range(20):
            crowd.cookies.clear()
            crowd.cookies.set("emeterai_session", f"ems_{one:043}")
            at_ease.hold(crowd, granted)
            let_in += not await is_sent_to_room(crowd)
    assert SESSIONS_OF_ACCOUNT_MAX == let_in


async def test_who_is_withdrawn_gets_none_and_loses_it(at_ease: Rush) -> None:
    """Before, or afterwards: then it opens nothing in a rush."""
    async with at_ease.browser() as siti:
        account_id = await signed_in_here(at_ease, siti)
        holder = at_ease.reception.passes.holder_of(account_id)
        at_ease.reception.revoked = frozenset({("retail", holder)})
        await act(siti)
        assert "emeterai_pass" not in siti.cookies
        at_ease.reception.revoked = frozenset()
        await act(siti)
        assert "emeterai_pass" in siti.cookies
        at_ease.reception.revoked = frozenset({("retail", holder)})
        at_ease.clock.minute(3)
        rush_begins(at_ease)
        assert await is_sent_to_room(siti)


async def test_whoever_walked_in_stays_for_two_hours(at_ease: Rush) -> None:
    """However often they do something: with a pass, and without one in the process that let them in."""
    async with at_ease.browser() as siti, at_ease.browser() as bare:
        await signed_in_here(at_ease, siti)
        await act(siti)
        rush_begins(at_ease)
        for minutes in [*range(1, 119), 119.5]:
            at_ease.clock.minute(minutes)
            bare.cookies = siti.cookies
            bare.cookies.delete("emeterai_pass")
            for browser in (siti, bare):
                assert not await is_sent_to_room(browser), minutes
                assert 200 == (await browser.get("/kuota")).status_code
        last = at_ease.reception.passes.read(siti.cookies["emeterai_pass"])
        assert last is not None
        assert STAY_S == last.until_s - at_ease.clock.start_s
        at_ease.clock.minute(120.5)
        bare.cookies = siti.cookies
        bare.cookies.delete("emeterai_pass")
        assert await is_sent_to_room(bare)
        assert await is_sent_to_room(siti)


@pytest.mark.parametrize(("is_member", "goes_on"), [(False, False), (True, True)])
def test_nobody_stays_for_ever_by_asking_again(*, is_member: bool, goes_on: bool) -> None:
    """Somebody who has no cookies either; only a program of a lane of its own, which no crowd waits for, goes on."""
    now_s = 0.0
    door = Door(clock=lambda: now_s)
    door.came_in("partners", b"who", is_member=is_member)
    while now_s < STAY_S - KNOWN_S:
        now_s += KNOWN_S - 20
        assert door.knows("partners", b"who")
        door.seen("partners", b"who")
        assert 1 == door.inside()["partners"]
    now_s = STAY_S
    door.seen("partners", b"who")
    assert goes_on is door.knows("partners", b"who")


async def test_who_walked_in_counts_once(at_ease: Rush) -> None:
    """By the pass and by the session, in one tab that has the cookie and in one that was open before."""
    door = at_ease.keeper.door
    async with at_ease.browser() as siti, at_ease.browser() as tab:
        await signed_in_here(at_ease, siti)
        tab.cookies = siti.cookies
        granted = shown(at_ease, await act(siti))
        assert granted is not None
        for minutes in (0, 0.1, 1):
            at_ease.clock.minute(minutes)
            for browser in (siti, tab, siti):
                await browser.get("/kuota")
                assert 1 == door.inside().total()
            tab.cookies.delete("emeterai_pass")
        again = shown(at_ease, await tab.get("/kuota"))
    assert again is not None
    assert granted.entered_s == again.entered_s, "it ends when theirs does"
    assert 1 == door.tally("retail").entered


def test_whoever_is_told_to_come_later_counts_as_nobody_by_either_name() -> None:
    """And is back once, whatever they show then."""
    now_s = 0.0
    door = Door(clock=lambda: now_s)
    door.came_in("retail", b"session")
    door.named("retail", b"session", b"account")
    door.sent_away("retail", b"session")
    assert (0, True) == (door.inside().total(), door.knows("retail", b"session"))
    for who in (b"account", b"session", b"account"):
        door.seen("retail", who)
    assert (1, 1, 1) == (door.inside().total(), door.tally("retail").entered, door.tally("retail").came_back)


@pytest.mark.parametrize("path", ["/masuk", "/keluar"])
async def test_on_a_phone_that_people_share_it_goes_with_the_session(at_ease: Rush, path: str) -> None:
    """The next one walks in as anybody does, and is not told that the pass is somebody else's."""
    budi_id, contact = await at_ease.person()
    async with at_ease.browser() as phone:
        await signed_in_here(at_ease, phone)
        await act(phone)
        assert "emeterai_pass" in phone.cookies
        fields = {"contact": contact, "password": PASSWORD} if path == "/masuk" else {}
        assert 303 == (await send(phone, path, form_at="/masuk", **fields)).status_code
        assert "emeterai_pass" not in phone.cookies
        await send(phone, "/masuk", contact=contact, password=PASSWORD)
        assert 422 == (await send(phone, "/beli", quantity="0")).status_code
        assert pass_of_walk_in(at_ease, budi_id) == shown(at_ease, await act(phone))


async def test_a_pass_that_comes_with_a_session_is_not_taken_away(at_ease: Rush) -> None:
    """Somebody with money under way signs in on the phone of one who walked in: theirs to finish stays."""
    budi_id, contact = await at_ease.person()
    await at_ease.to_pay(budi_id)
    async with at_ease.browser() as phone:
        siti_id = await signed_in_here(at_ease, phone)
        at_ease.hold(phone, pass_of_walk_in(at_ease, siti_id))
        at_ease.clock.minute(11)
        rush_begins(at_ease)
        answer = await send(phone, "/masuk", contact=contact, password=PASSWORD)
    assert 1 == sum(one.startswith("emeterai_pass=") for one in answer.headers.get_list("set-cookie"))
    granted = shown(at_ease, answer)
    assert granted is not None
    assert (True, at_ease.reception.passes.holder_of(budi_id)) == (granted.finish, granted.holder)


async def test_what_says_where_a_turn_may_be_good_still_is_kept(at_ease: Rush) -> None:
    """The pass of a campaign, though it is over."""
    async with at_ease.browser() as siti:
        account_id = await signed_in_here(at_ease, siti)
        ticket = Ticket(CAMPAIGN, 40, 0, at_ease.reception.passes.holder_of(account_id))
        lapsed = at_ease.reception.passes.of_ticket(ticket, int(at_ease.clock()))
        at_ease.hold(siti, lapsed)
        at_ease.clock.minute(13)
        assert shown(at_ease, await act(siti)) is None
        assert lapsed == at_ease.reception.passes.read(siti.cookies["emeterai_pass"])


async def test_what_others_are_shown_as_well_carries_none(at_ease: Rush) -> None:
    """To somebody who is inside and shows no pass: only what is theirs alone does."""
    async with at_ease.browser() as siti:
        await signed_in_here(at_ease, siti)
        await act(siti)
        siti.cookies.delete("emeterai_pass")
        for path in ("/penjual", "/lacak"):
            answer = await siti.get(path)
            assert (200, None) == (answer.status_code, shown(at_ease, answer)), path
        assert shown(at_ease, await siti.get("/kuota")) is not None


async def test_who_is_sent_to_the_line_has_not_come_in(served: ServedDoor, client: httpx.AsyncClient) -> None:
    """In a surge, before passes are asked for: a browser goes to the room, and is no further in when it asks again."""
    for one in range(int(WALK_IN_PER_S)):
        await client.post("/v1/orders", headers={"authorization": f"Bearer ems_{one:043}"})
    browser = {"cookie": f"emeterai_session=ems_{'x' * 43}", "accept": "text/html"}
    for _ in range(2):
        answer = await client.post("/beli", headers=browser, data={})
        assert (303, ROOM) == (answer.status_code, answer.headers["location"])
    assert WALK_IN_PER_S == served.door.inside()["retail"]
