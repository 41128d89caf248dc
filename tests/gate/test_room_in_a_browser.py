"""The waiting room in Chromium, served as the service serves it: with its script, without one, and judged by axe."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from room_browser import ServedRoom, chromium_browser, look, opened, serving_room
from waiting_people import DRAWN, NOT_DRAWN, SEED

from emeterai.core.draw import key_of, turn_of
from emeterai.core.turns import Rate, look_again_s, wait_of
from emeterai.gate.lanes import LANE_UNKNOWN
from emeterai.gate.lots import LOTS_MAX
from emeterai.gate.now import NowFiles, Reason
from emeterai.gate.room_page import span_of
from emeterai.infra.clock import utc_now

AXE_OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # Ours can be switched off by a link on the page itself (WCAG 2.2.1), which axe cannot see.
    "rules": {"meta-refresh": {"enabled": False}},
}
BELLS = """
window.bells = [];
window.AudioContext = class {
  constructor() { this.currentTime = 2; this.destination = 'loudspeaker' }
  createOscillator() {
    const bell = { starts: 0, connect(to) { bell.to = to }, start() { bell.starts++ }, stop(at) { bell.end = at } };
    bells.push(bell);
    return bell;
  }
};
"""
"""Says to a test what would have been heard."""
PICTURES = os.environ.get("ROOM_PICTURES", "")
"""A folder for pictures of what people see; empty: none are taken."""


@pytest.fixture
def room(database_url: str, tmp_path: Path) -> Iterator[ServedRoom]:
    """A room of its own, on a database of its own."""
    with serving_room(database_url, tmp_path) as served:
        yield served


@pytest.fixture
def chromium(room: ServedRoom) -> Iterator[Browser]:  # the room first: a browser's loop would stop its database's
    """Chromium."""
    with chromium_browser() as browser:
        yield browser


@pytest.fixture
def phone(chromium: Browser) -> Iterator[BrowserContext]:
    """A phone with scripts."""
    context = chromium.new_context(viewport={"width": 360, "height": 740}, locale="id-ID")
    yield context
    context.close()


@pytest.fixture
def plain_phone(chromium: Browser) -> Iterator[BrowserContext]:
    """A phone without scripts."""
    context = chromium.new_context(viewport={"width": 360, "height": 740}, java_script_enabled=False)
    yield context
    context.close()


def picture(page: Page, name: str) -> None:
    """Take a picture, when pictures are wanted."""
    if PICTURES:
        page.screenshot(path=f"{PICTURES}/{name}.png", full_page=True)


def judged(page: Page) -> list[Any]:
    """What axe holds against the page, in light and in dark colours, all of it unfolded."""
    page.evaluate("document.querySelectorAll('details').forEach(it => { it.open = true })")
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        response = Axe().run(page, options=AXE_OPTIONS).response
        found += [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in response["violations"]]
    page.emulate_media(color_scheme="light")
    return found


def test_a_person_waits_and_comes_in(room: ServedRoom, phone: BrowserContext) -> None:
    """The number, the turn, those ahead and the wait; the turn in the title and for screen readers; then inside."""
    room.stand(now_serving=0, last_number=90_000)
    phone.request.post(f"{room.url}/gate/retail/tickets", data={})
    page = opened(room, phone)
    assert "1" == page.text_content("#n")
    room.stand(now_serving=0)
    look(page)
    expect(page.locator("#h")).to_contain_text("kurang dari 1 menit")
    assert "Tunggu kurang dari 1 menit / Wait less than a minute" == page.text_content("#live")
    assert not page.is_visible("#in")
    picture(page, "waiting")
    assert [] == judged(page)
    picture(page, "waiting-unfolded")
    room.stand(now_serving=3)
    look(page)
    page.wait_for_selector("#in:visible")
    assert page.title().startswith("★ Giliran Anda!")
    assert "Giliran Anda! / It is your turn!" == page.text_content("#live")
    picture(page, "turn")
    assert [] == judged(page)
    page.click("#in")
    page.wait_for_url("**/beli")
    assert "emeterai_pass" in {cookie["name"] for cookie in phone.cookies()}


def test_a_bell_rings_once_for_who_has_asked_for_it(room: ServedRoom, phone: BrowserContext) -> None:
    """When the turn comes; not for who never ticked it, nor for who has thought better of it."""
    phone.add_init_script(BELLS)
    room.stand(now_serving=0)
    pages = [opened(room, phone) for _ in range(3)]
    for ticks, page in enumerate(pages):
        page.click("summary")
        for _ in range(ticks):
            page.click("#sound")
        assert (ticks == 1) == page.is_checked("#sound")
        look(page)
        assert [] == page.evaluate("bells")
    room.stand(now_serving=3)
    for ticks, page in enumerate(pages):
        for _ in range(2):
            look(page)
        page.wait_for_selector("#in:visible")
        assert not page.is_visible("#err")
        heard = page.evaluate("bells.map(it => [it.to, it.starts, it.end > 2 && it.end < 5])")
        assert ([["loudspeaker", 1, True]] if ticks == 1 else []) == heard


def test_the_place_stays_when_the_page_is_opened_again(room: ServedRoom, phone: BrowserContext) -> None:
    """In another tab, and from another phone by the recovery code; leaving gives it up."""
    room.stand(now_serving=0)
    first = opened(room, phone)
    code, number = first.text_content("#c"), first.text_content("#n")
    assert number == opened(room, phone).text_content("#n")
    other = phone.browser.new_context()  # type: ignore[union-attr]
    second = opened(room, other)
    assert number != second.text_content("#n")
    second.click("summary")
    second.fill("#kode", (code or "").lower())
    second.click("#find button")
    expect(second.locator("#n")).to_have_text(number or "")
    other.close()
    first.click("summary")
    with first.expect_navigation():
        first.click("#leave button")
    assert number != opened(room, phone).text_content("#n")


def test_what_everybody_is_told_is_shown(room: ServedRoom, phone: BrowserContext) -> None:
    """A message, why it takes longer, an old file, a pause, a lane that opens later, and a turn long ago."""
    room.stand(now_serving=0)
    page = opened(room, phone)
    why = Reason("sealing_slow", "Penyegelan sedang lambat.", "Sealing is slow.")
    message = {"id": "<b>Sabar</b> ya", "en": "Please be patient"}
    late = utc_now() - timedelta(seconds=40)
    room.stand(now_serving=0, message=message, why=why, state="paused", updated_at=late)
    look(page)
    page.wait_for_selector("#why:visible")
    shown = page.inner_text("main")
    for text in ("<b>Sabar</b> ya", "Penyegelan sedang lambat.", "Dihentikan sementara.", "Kabar ini sudah 4"):
        assert text in shown
    assert [] == judged(page)
    picture(page, "told")
    room.stand(now_serving=50, grace_from=2)
    look(page)
    page.wait_for_selector("#new:visible")
    assert not page.is_visible("#why")
    page.click("#new")
    expect(page.locator("#new")).to_be_hidden()


@pytest.mark.parametrize("lane", ["cpns-2026", "retail"], ids=["made while the server runs", "known to the server"])
def test_whoever_waits_in_a_lane_that_is_taken_away_hears_so(
    room: ServedRoom, phone: BrowserContext, lane: str
) -> None:
    """In the refusal's own words, on a page that asks no more; also where the server answers for the file by itself."""
    room.stand(lane=lane, now_serving=0)
    page = opened(room, phone, lane)
    NowFiles(room.folder / "now").remove(lane)
    page.wait_for_url(f"**/gate/{lane}/giliran")
    for words in (LANE_UNKNOWN.id, LANE_UNKNOWN.en):
        assert words in page.inner_text("main")
    assert 0 == page.locator("script, meta[http-equiv=refresh]").count()


def test_the_draw_in_the_browser_is_the_draw(room: ServedRoom, phone: BrowserContext) -> None:
    """Before opening no turn; afterwards the one that anybody computes; for large pools as well."""
    opens_at = datetime(2026, 11, 30, 2, 5, tzinfo=UTC)
    room.stand(now_serving=0, state="before_opening", draw=NOT_DRAWN, opens_at=opens_at)
    page = opened(room, phone)
    expect(page.locator("#open")).to_have_text("Dibuka 30 November 2026 pukul 09.05 WIB")
    number = int(page.text_content("#n") or 0)
    assert "–" == page.text_content("#t")
    assert "ikut undian" in page.inner_text("#h")
    picture(page, "draw")
    room.stand(now_serving=0, draw=DRAWN)
    look(page)
    expected = turn_of(number, key=key_of(SEED, lane="retail", count=50), count=50)
    expect(page.locator("#t")).to_have_text(str(expected))
    for count in (1, 2, 1_000, 1_000_000):
        key = key_of(SEED, lane="retail", count=count)
        for one in {1, (count + 1) // 2, count}:
            draw = {"seed": SEED.hex(), "count": count}
            assert turn_of(one, key=key, count=count) == page.evaluate(f"drawn({one}, {draw}, 'retail')")
    page.goto(f"{room.url}/gate/retail/undian?nomor={number}")
    assert f"mendapat giliran {expected}" in page.inner_text("main")
    assert [] == judged(page)


def test_a_turn_that_was_told_before_the_draw_is_none_after_it(room: ServedRoom, phone: BrowserContext) -> None:
    """The lane was open when the number was taken. Whether a page looked in between, slept, or is opened anew."""
    room.stand(now_serving=0)
    asleep, awake = opened(room, phone), opened(room, phone)
    number = int(asleep.text_content("#n") or 0)
    expect(awake.locator("#t")).to_have_text(str(number))
    asleep.evaluate("look().then(() => clearTimeout(timer))")
    expected = turn_of(number, key=key_of(SEED, lane="retail", count=50), count=50)
    assert expected != number
    room.stand(now_serving=number, grace_from=number + 1, state="before_opening", draw=NOT_DRAWN)
    look(awake)
    expect(awake.locator("#t")).to_have_text("–")
    assert not awake.is_visible("#new")
    room.stand(now_serving=0, draw=DRAWN)
    for page in (awake, asleep):
        look(page)
        expect(page.locator("#t")).to_have_text(str(expected))
    expect(opened(room, phone).locator("#t")).to_have_text(str(expected))


def test_a_browser_that_lost_its_ticket_gets_it_back_by_its_code(room: ServedRoom, phone: BrowserContext) -> None:
    """Only when nobody knows the code either the place is forgotten; not when it could not be asked for."""
    room.stand(now_serving=0)
    page = opened(room, phone)
    number = int(page.text_content("#n") or 0)
    room.stand(now_serving=number)
    look(page)
    phone.clear_cookies()
    page.route("**/tickets", lambda route: route.abort())
    page.click("#in")
    expect(page.locator("#err")).to_contain_text("Sambungan terputus. Tempat Anda tetap.")
    page.unroute("**/tickets")
    page.click("#in")
    page.wait_for_url("**/beli")
    page = opened(room, phone)
    assert str(number) == page.text_content("#n")
    phone.clear_cookies()
    page.evaluate("mine.c = '0'.repeat(20)")
    page.click("#in")
    expect(page.locator("#err")).to_contain_text("bukan dari kami")
    assert page.evaluate("mine") is None
    look(page)
    expect(page.locator("#n")).not_to_have_text(str(number))


def test_whoever_leaves_before_the_draw_is_called_on_the_phone(room: ServedRoom, phone: BrowserContext) -> None:
    """One field for an address or a number; what cannot be used is said, and then what was done about the other."""
    room.stand(now_serving=0, state="before_opening", draw=NOT_DRAWN, call_by=("email", "whatsapp"))
    page = opened(room, phone)
    page.click("summary")
    assert "dipanggil lewat surel atau WhatsApp" in page.inner_text("#call")
    page.fill("#to", "021 555 1234")
    page.click("#call button")
    expect(page.locator("#err")).to_contain_text("Nomor ponsel ini tidak dapat dipakai")
    for contact, sent in (("0812-3456-7890", "phone"), ("siti@contoh.id", "email")):
        page.fill("#to", contact)
        with page.expect_request("**/calls") as asked:
            page.click("#call button")
        assert {sent: contact} == asked.value.post_data_json
        expect(page.locator("#called")).to_contain_text("akan kami panggil")
    assert [] == judged(page)
    picture(page, "called")


def test_whoever_has_no_lot_is_told_to_sign_in(room: ServedRoom, phone: BrowserContext) -> None:
    """One sentence and a way there; once there is a number, neither."""
    room.stand(now_serving=0, state="before_opening", draw=NOT_DRAWN)
    for _ in range(LOTS_MAX):
        httpx.post(f"{room.url}/gate/retail/tickets", json={}, trust_env=False).raise_for_status()
    page = phone.new_page()
    page.goto(f"{room.url}/gate/retail")
    page.wait_for_selector("#acc:visible")
    assert "masuk dengan akun Anda di /masuk untuk ikut" in page.inner_text("#err")
    assert page.get_attribute("#acc", "href") == "/masuk"
    picture(page, "no-lot")
    assert [] == judged(page)
    room.stand(now_serving=0, draw=DRAWN)
    look(page)
    expect(page.locator("#n")).not_to_have_text("–")
    assert not page.is_visible("#acc")


def test_the_script_computes_as_the_service_does(room: ServedRoom, phone: BrowserContext) -> None:
    """The wait, its words, and after how long the page looks again."""
    page = opened(room, phone)
    for ahead, low, high in ((0, 1, 2), (500, 8, 12), (70_000, 3.5, 9), (9, 0, 0), (1_000_000, 20, 25)):
        expected = list(wait_of(ahead, Rate(low, (low + high) / 2, high)))
        assert expected == page.evaluate(f"wait({ahead}, {{low: {low}, high: {high}}})")
        assert list(span_of(expected[0] or 0, expected[1])) == page.evaluate("w => span(...w)", expected)
        for chance in (0.0, 0.5, 0.99):
            asked = page.evaluate("([s, c]) => lookAgain(s, c)", [expected[0], chance])
            assert look_again_s(expected[0], chance) == pytest.approx(asked)


def test_without_a_script_everything_works(room: ServedRoom, plain_phone: BrowserContext) -> None:
    """The page leads to the one that refreshes itself; number, turn, coming in by buttons; judged by axe."""
    room.stand(now_serving=0)
    page = plain_phone.new_page()
    page.goto(f"{room.url}/gate/retail")
    page.wait_for_url("**/giliran")
    page.click("button:has-text('Ambil nomor')")
    assert "Nomor Anda" in page.inner_text("dl")
    assert "kurang dari 1 menit" in page.inner_text("#h")
    picture(page, "without-script")
    room.stand(now_serving=5)
    time.sleep(0.3)
    page.goto(f"{room.url}/gate/retail/giliran")
    assert "Giliran Anda!" in page.inner_text("#h")
    page.click("button:has-text('Masuk sekarang')")
    assert page.url.endswith("/beli")


def test_axe_likes_the_page_without_a_script_too(room: ServedRoom, phone: BrowserContext) -> None:
    """Judged in a browser that runs axe's script, on the same page; and nothing scrolls sideways at 320 pixels."""
    room.stand(now_serving=0)
    page = phone.new_page()
    page.goto(f"{room.url}/gate/retail/giliran?refresh=0")
    page.click("button:has-text('Ambil nomor')")
    page.goto(f"{room.url}/gate/retail/giliran?refresh=0")
    assert [] == judged(page)
    for address in ("/gate/retail/giliran?refresh=0", "/gate/retail", "/gate/retail/undian"):
        page.set_viewport_size({"width": 320, "height": 740})
        page.goto(f"{room.url}{address}")
        assert 320 >= page.evaluate("document.documentElement.scrollWidth")
