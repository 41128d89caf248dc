"""The operator's forms: a new lane with its times, and an undo that is done as it was shown or not at all."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import msgspec
import pytest
from operator_app import create_operator_app

from emeterai.gate import pace_store, room_store
from emeterai.gate.controller import LanePace, Paces
from emeterai.gate.lanes import DEFAULTS, RETAIL, Lane, Lanes, changed
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id

HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
OPENS_AT = "2099-01-31T09:00"


class FormDesk:
    """An operator at the pages, whose forms are sent with the hidden fields that they hold."""

    def __init__(self, browser: httpx.AsyncClient, lanes: Lanes, paces: Paces) -> None:
        self.browser, self.lanes, self.paces = browser, lanes, paces

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
async def desk(db: Database, bus: Bus, tmp_path: Path) -> AsyncIterator[FormDesk]:
    """An operator's desk."""
    lanes = Lanes(db, bus)
    paces = Paces(db, lanes)
    await lanes.look()
    transport = httpx.ASGITransport(create_operator_app(db, lanes, paces, tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as browser:
        yield FormDesk(browser, lanes, paces)


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


def marked(page: httpx.Response) -> tuple[list[str], list[str]]:
    """Where the list of what is wrong leads, and the fields that are marked; each place is on the page."""
    led = re.findall(r'<li><a href="#([^"]+)">', page.text)
    assert all(f'id="{place}"' in page.text for place in led)
    return led, re.findall(r'<p class="wrong" id="([^"]+)-error">', page.text)


TYPED = {"title": "Umum", "share": "40", "floor_per_s": "0.2", "ceiling_per_s": "0", "colour": "#9c1458"}


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"share": "500"}, "share"),
        ({"share": "banyak"}, "share"),
        ({"title": ""}, "title"),
        ({"colour": "merah"}, "colour"),
        ({"rests_from": "8"}, "rests_from"),
        ({"closes_at": "besok"}, "closes_at"),
        ({"message_en": "\0"}, "message_en"),
        ({"opens_at": OPENS_AT, "closes_at": OPENS_AT}, "closes_at"),
        ({"floor_per_s": "5", "ceiling_per_s": "1"}, "ceiling_per_s"),
    ],
)
async def test_what_is_wrong_is_said_where_it_is_put_right(desk: FormDesk, typed: dict[str, str], field: str) -> None:
    """At its own field, and in the list at the top, which leads there."""
    refused = await desk.send(await desk.look("/jalur/retail"), **{**TYPED, **typed})
    assert 422 == refused.status_code
    assert ([field], [field]) == marked(refused)


async def test_what_only_the_change_itself_finds_is_said_at_its_field_too(db: Database, desk: FormDesk) -> None:
    """Too large shares at the share, a draw that is too late at the opening; what is of no field at the top alone."""
    await room_store.lease(db, RETAIL, 512, new_id())
    page, confirmed = await desk.look("/jalur/retail"), {"confirmed": "ya"}
    refused = await desk.send(page, **{**TYPED, **confirmed, "share": "90"})
    assert (409, (["share"], ["share"])) == (refused.status_code, marked(refused))
    refused = await desk.send(page, **{**TYPED, **confirmed, "opens_at": OPENS_AT})
    assert (409, (["opens_at"], ["opens_at"])) == (refused.status_code, marked(refused))
    await desk.pull(paused=True)
    refused = await desk.send(page, **{**TYPED, **confirmed, "share": "30"})
    assert (409, (["levers"], [])) == (refused.status_code, marked(refused))
    assert "Somebody else has just changed this lane" in refused.text


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"name": "CPNS"}, "name"),
        ({"name": RETAIL}, "name"),
        ({"name": RETAIL, "confirmed": "ya"}, "name"),
        ({"title": "W" * 81}, "title"),
        ({"opens_at": "besok"}, "opens_at"),
        ({"opens_at": OPENS_AT, "closes_at": OPENS_AT}, "closes_at"),
    ],
)
async def test_a_new_lane_that_cannot_be_is_told_where(desk: FormDesk, typed: dict[str, str], field: str) -> None:
    """Nor is one made in place of another that there is: that one would be a campaign's from then on."""
    page = await desk.look("/jalur-baru")
    refused = await desk.send(page, **{"name": "cpns-2026", "title": "CPNS", **typed})
    assert (422, ([field], [field])) == (refused.status_code, marked(refused))
    await desk.lanes.look()
    assert DEFAULTS == desk.lanes.now


async def test_whoever_takes_a_lane_away_is_told_how_many_wait_there(db: Database, desk: FormDesk) -> None:
    """Their numbers would open nothing any more. Whatever else is undone, nobody loses a place."""
    name = "cpns-2026"
    made = (await desk.lanes.change(Lane(name=name, title="CPNS"), by="Siti", seen=0)).number
    pulled = await desk.pull(paused=True)
    waiting = msgspec.json.encode(LanePace(per_s=1.0, waiting=31_305)).decode()
    await pace_store.put_paces(db, [(name, waiting), (RETAIL, waiting)])
    await desk.paces.look()
    shown = (await desk.look(f"/perubahan/{made}")).text
    assert "31.305 orang memegang nomor" in shown
    assert "31,305 people hold a number" in shown
    assert "orang memegang nomor" not in (await desk.look(f"/perubahan/{pulled}")).text


async def test_a_card_shows_when_its_lane_opens_and_what_holds_its_people(desk: FormDesk) -> None:
    """A lane that is not open yet, or no more, is no lane with a waiting room like all others."""
    at = datetime(2020, 1, 31, 2, tzinfo=UTC)
    lanes = [
        Lane(name="later", title="Nanti", opens_at=at.replace(year=2099), message_id="Sabar. " * 50),
        Lane(name="over", title="Lalu", opens_at=at, closes_at=at.replace(month=3), ceiling_per_s=2.5),
    ]
    for lane in lanes:
        await desk.lanes.change(lane, by="Siti", seen=0)
    text = (await desk.look("")).text
    cards = {lane.name: next(it for it in text.split("<section") if f"{lane.name} ·" in it) for lane in lanes}
    assert "Belum dibuka" in cards["later"]
    assert "31 Jan 2099 09.00 WIB</time>; –" in cards["later"]
    assert cards["later"].count("Sabar.") in range(1, 20)
    for words in ("Ditutup", "31 Jan 2020 09.00 WIB", "31 Mar 2020 09.00 WIB", "At most a second</small></dt><dd>2,5<"):
        assert words in cards["over"], words
    for card in cards.values():
        assert "Lewat ruang tunggu" not in card
        assert "dijeda" not in card
