"""The operator's forms: a new lane with its times, and an undo that is done as it was shown or not at all."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from operator_app import create_operator_app

from emeterai.gate import room_store
from emeterai.gate.lanes import RETAIL, Lanes, changed
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
OPENS_AT = "2099-01-31T09:00"


class FormDesk:
    """An operator at the pages, whose forms are sent with the hidden fields that they hold."""

    def __init__(self, browser: httpx.AsyncClient, lanes: Lanes) -> None:
        self.browser, self.lanes = browser, lanes

    async def look(self, path: str) -> httpx.Response:
        """See a page."""
        return await self.browser.get(f"/operator{path}")

    async def send(self, page: httpx.Response, **typed: str) -> httpx.Response:
        """Send the form of a page to where the page came from."""
        return await self.browser.post(page.url.path, data={**dict(HIDDEN.findall(page.text)), **typed})

    async def pull(self, **levers: object) -> int:
        """Change some levers of everybody's lane; answers the number of the change."""
        lane = changed(self.lanes.get(RETAIL), levers)
        return (await self.lanes.change(lane, by="Siti", seen=self.lanes.number_of(RETAIL))).number


@pytest.fixture
async def desk(db: Database, bus: Bus) -> AsyncIterator[FormDesk]:
    """An operator's desk."""
    lanes = Lanes(db, bus)
    await lanes.look()
    transport = httpx.ASGITransport(create_operator_app(db, lanes))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as browser:
        yield FormDesk(browser, lanes)


async def test_an_undo_is_shown_as_it_will_be(desk: FormDesk) -> None:
    """Only what that change changed; what came later is neither shown nor undone."""
    older = await desk.pull(ceiling_per_s=5.0)
    await desk.pull(message_id="Sebentar lagi.")
    shown = await desk.look(f"/perubahan/{older}")
    assert "5 → 0" in shown.text
    assert "Sebentar lagi." not in shown.text
    assert "Undo it" in shown.text
    assert 303 == (await desk.send(shown)).status_code
    assert (0.0, "Sebentar lagi.") == (desk.lanes.get(RETAIL).ceiling_per_s, desk.lanes.get(RETAIL).message_id)


async def test_what_was_changed_after_the_look_is_not_undone_over(desk: FormDesk) -> None:
    """The page says what the lane was; so does a form that says nothing, or what cannot be."""
    older = await desk.pull(ceiling_per_s=5.0)
    shown = await desk.look(f"/perubahan/{older}")
    await desk.pull(ceiling_per_s=7.0)
    answers = [await desk.send(shown)]
    answers += [await desk.send(shown, seen=seen) for seen in ("", "²", "-1", "9" * 30)]
    assert {(409, "lane_changed_meanwhile")} == {(one.status_code, one.json()["code"]) for one in answers}
    assert 7.0 == desk.lanes.get(RETAIL).ceiling_per_s


async def test_a_lane_that_was_made_stays_while_newer_changes_stand(desk: FormDesk) -> None:
    """The page that would undo it says so."""
    page = await desk.look("/jalur-baru")
    await desk.send(await desk.send(page, name="cpns-2026", title="CPNS"))
    made = desk.lanes.number_of("cpns-2026")
    assert "CPNS → –" in (await desk.look(f"/perubahan/{made}")).text
    lane = changed(desk.lanes.get("cpns-2026"), {"paused": True})
    await desk.lanes.change(lane, by="Siti", seen=made)
    refused = await desk.look(f"/perubahan/{made}")
    assert (409, "lane_changed_since") == (refused.status_code, refused.json()["code"])


async def test_a_lane_is_made_with_its_draw_in_one_step(desk: FormDesk) -> None:
    """It is shown that nobody comes in before; then it is there with its times, as typed in Jakarta's time."""
    page = await desk.look("/jalur-baru")
    typed = {"name": "cpns-2026", "title": "CPNS", "opens_at": OPENS_AT, "closes_at": "2099-02-28T16:00"}
    shown = await desk.send(page, **typed)
    assert "nobody comes in before" in shown.text
    assert "cpns-2026" not in desk.lanes.now
    made = await desk.send(shown)
    assert (303, "/operator/jalur/cpns-2026") == (made.status_code, made.headers["location"])
    lane = desk.lanes.get("cpns-2026")
    assert ("2099-01-31T02:00:00+00:00", "2099-02-28T09:00:00+00:00") == (
        lane.opens_at and lane.opens_at.isoformat(),
        lane.closes_at and lane.closes_at.isoformat(),
    )
    assert 1 == len(await desk.lanes.changes())


@pytest.mark.parametrize("opens_at", ["", "2020-01-31T09:00"])
async def test_a_lane_that_opens_at_once_says_so(desk: FormDesk, opens_at: str) -> None:
    """Without a time, or with one that has come already."""
    page = await desk.look("/jalur-baru")
    shown = await desk.send(page, name="cpns-2026", title="CPNS", opens_at=opens_at)
    assert "open to everybody within about a second, without a draw" in shown.text


async def test_a_draw_that_is_too_late_is_said_at_the_form(db: Database, desk: FormDesk) -> None:
    """With what to do instead, and what was typed still there."""
    await room_store.lease(db, RETAIL, 512, new_id())
    page = await desk.look("/jalur/retail")
    shown = await desk.send(page, title="Umum", share="40", opens_at=OPENS_AT, colour="#9c1458")
    refused = await desk.send(shown)
    assert 409 == refused.status_code
    assert "Make a new lane, under another name, with its opening time" in refused.text
    assert OPENS_AT in refused.text
