"""A pass that has ended opens nothing, and still says in which lane its holder was: there they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from rush import Rush, crowded, send

from emeterai.gate.carrying import COOKIE_OUTLIVES_S, PASS_HEADER
from emeterai.gate.keeper import Keeper
from emeterai.gate.lanes import Lane, Lanes
from emeterai.gate.passes import Pass
from emeterai.gate.tickets import Ticket
from emeterai.gate.tokens import NOBODY
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database

CAMPAIGN = "cpns-2026"
OTHERS = "p1.cpns-2026.bm90IG91cnM"
"""Like a pass, and not ours."""


@pytest.fixture
async def rush(database_url: str, tmp_path: Path) -> AsyncIterator[Rush]:
    """A crowded service with a campaign."""
    async with crowded(database_url, tmp_path) as found:
        found.publish(CAMPAIGN)
        found.keeper.door.passes_needed = frozenset({"retail", CAMPAIGN})
        found.keeper.side.rooms = frozenset({"retail", CAMPAIGN})
        yield found


def entered(rush: Rush, holder: bytes, *, lane: str = CAMPAIGN) -> Pass:
    """The pass of somebody who comes in now."""
    return rush.reception.passes.of_ticket(Ticket(lane, 40, 0, holder), int(rush.clock()))


def where(answer: httpx.Response) -> tuple[int, str | None]:
    """Where an answer sends a browser."""
    return answer.status_code, answer.headers.get("location")


async def test_who_was_idle_for_too_long_goes_back_to_the_room_of_their_lane(rush: Rush) -> None:
    """By the very cookie that the room gave; a program by the header, told where in the refusal."""
    account_id, _ = await rush.person()
    holder = rush.reception.passes.holder_of(account_id)
    ticket = rush.reception.press.sign(Ticket(CAMPAIGN, 40, int(rush.clock()) * 1000, holder))
    async with rush.browser() as siti:
        await rush.signed_in(siti, account_id)
        taken = await siti.post(f"/gate/{CAMPAIGN}/passes", json={"ticket": ticket})
        assert 201 == taken.status_code, taken.text
        kept_s = {cookie.name: cookie.expires for cookie in siti.cookies.jar}["emeterai_pass"]
        assert kept_s is not None
        assert abs(kept_s - (rush.clock.start_s + 600 + COOKIE_OUTLIVES_S)) < 60
        assert "/gate/" not in str(where(await siti.post("/unggah")))
        rush.clock.minute(11)
        assert (303, f"/gate/{CAMPAIGN}") == where(await siti.post("/unggah"))
        assert (303, f"/gate/{CAMPAIGN}") == where(await siti.post("/beli"))
        refused = await siti.post("/v1/orders", json={"quantity": 1})
        assert (429, "pass_needed") == (refused.status_code, refused.json()["code"])
        assert f"/gate/{CAMPAIGN}" == refused.json()["room"]
        again = await siti.post(f"/gate/{CAMPAIGN}/passes", json={"ticket": ticket})
        assert 201 == again.status_code, again.text
        assert "/gate/" not in str(where(await siti.post("/unggah")))
    async with rush.browser() as program:
        held = {PASS_HEADER.decode(): taken.json()["granted"]}
        refused = await program.post("/v1/orders", json={"quantity": 1}, headers=held)
        assert f"/gate/{CAMPAIGN}" == refused.json()["room"]


async def test_a_pass_that_has_ended_gives_nothing_but_the_way_back(
    rush: Rush, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No place, no budget and no step of its lane: it counts as one of everybody, like one without any pass."""
    lapsed = entered(rush, NOBODY)
    rush.clock.minute(11)
    asked: list[str] = []

    def walks_in(lane: str) -> int:
        asked.append(f"walks in {lane}")
        return 0

    monkeypatch.setattr(rush.keeper.door, "seen", lambda lane, _who: asked.append(f"seen {lane}"))
    monkeypatch.setattr(rush.keeper.door, "walks_in", walks_in)
    async with rush.browser() as siti:
        rush.hold(siti, lapsed)
        assert (303, f"/gate/{CAMPAIGN}") == where(await siti.post("/beli"))
        renewed = await siti.post(f"/gate/{CAMPAIGN}/passes", json={})
        assert "ticket_unknown" == renewed.json()["code"]
        assert [] == renewed.headers.get_list("set-cookie")
    assert ["walks in retail"] == asked


async def test_only_what_is_ours_names_a_lane_and_only_one_that_is_there(rush: Rush) -> None:
    """Somebody else's text, or a lane that was taken back or is closed: the room is everybody's."""
    lapsed = entered(rush, NOBODY)
    rush.clock.minute(11)
    async with rush.browser() as forger, rush.browser() as siti:
        forger.cookies.set("emeterai_pass", OTHERS, domain="meterai.example", path="/")
        assert (303, "/gate/retail") == where(await forger.post("/beli"))
        rush.hold(siti, lapsed)
        rush.keeper.side.rooms = frozenset({"retail"})
        assert (303, "/gate/retail") == where(await siti.post("/beli"))


async def test_the_cookie_of_who_used_this_browser_before_stands_in_nobodys_way(rush: Rush) -> None:
    """In a quiet hour: two minutes after its end a pass of another account is no pass at all, and ties nothing."""
    rush.keeper.door.passes_needed = frozenset()
    (siti_id, _), (budi_id, _) = await rush.person(), await rush.person()
    for holder in (rush.reception.passes.holder_of(siti_id), NOBODY):
        rush.clock.minute(0)
        lapsed = entered(rush, holder)
        async with rush.browser() as budi:
            await rush.signed_in(budi, budi_id)
            rush.hold(budi, lapsed)
            rush.reception.revoked = frozenset({(CAMPAIGN, rush.reception.passes.holder_of(budi_id))})
            rush.clock.minute(11)
            assert 403 == (await send(budi, "/beli", quantity="0")).status_code
            rush.clock.minute(13)
            assert 403 != (await send(budi, "/beli", quantity="0")).status_code
            rush.reception.revoked = frozenset()
            rush.clock.minute(11)
            assert (403 if holder != NOBODY else 422) == (await send(budi, "/beli", quantity="0")).status_code
            rush.clock.minute(13)
            assert 422 == (await send(budi, "/beli", quantity="0")).status_code


async def test_the_door_knows_which_lanes_there_are(db: Database, bus: Bus) -> None:
    """Those of the configuration that are not closed, as they are changed."""
    keeper, lanes, now = Keeper(b"s" * 32), Lanes(db, bus), utc_now()
    for name, closes_at in ((CAMPAIGN, None), ("lama", now - timedelta(hours=1)), ("nanti", now + timedelta(hours=1))):
        await lanes.change(Lane(name=name, title=name, closes_at=closes_at), by="test", seen=0)
    async with keeper.keeping(db, bus):
        async with asyncio.timeout(5):
            while CAMPAIGN not in keeper.side.rooms:
                await asyncio.sleep(0.01)
        assert {"enterprises", "partners", "retail", "staff", CAMPAIGN, "nanti"} == set(keeper.side.rooms)
