"""The pages in Chromium: accessibility judged by axe, no sideways scrolling, large targets, and the policy kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, Route, sync_playwright
from rendering import STATIC, html_of
from sample_values import POSITION
from samples import SAMPLES, Sample

from emeterai.web import paths
from emeterai.web.headers import content_security_policy
from programs import need_program

every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.key)
ORIGIN = "http://emeterai.test"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# axe calls every refresh a violation. Ours can be switched off by a link on the page itself (WCAG 2.2.1, "turn off"),
# which axe cannot see; test_pages.py checks that each page that refreshes has that link.
AXE_OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "rules": {"meta-refresh": {"enabled": False}},
}
LOADED_AXE = Axe("")
"""Axe where it has looked already: half a megabyte of script is in the page."""
SMALL_TARGETS = """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), summary')]
  .map(target => [target.outerHTML.slice(0, 90), (target.closest('label') || target).getBoundingClientRect()])
  .filter(([, box]) => box.bottom > 0 && (box.height < 44 || box.width < 44))
  .map(([html, box]) => `${Math.round(box.width)}x${Math.round(box.height)} ${html}`)"""
REFRESH = re.compile(r'<meta http-equiv="refresh"[^>]*>')
# The pages without their refresh, which would pull the page from under a judge that takes longer than two seconds.
PAGES = {f"{ORIGIN}/{sample.key}": REFRESH.sub("", html_of(sample)) for sample in SAMPLES}


def serve(route: Route) -> None:
    """Answer as the service does, headers included."""
    url = route.request.url
    if url in PAGES:
        policy = content_security_policy(runs_script="<script" in PAGES[url])
        headers = {"content-security-policy": policy}
        route.fulfill(body=PAGES[url], content_type="text/html; charset=utf-8", headers=headers)
    elif url.startswith(f"{ORIGIN}/static/"):
        file = STATIC.response(url.rpartition("/")[2], accepts_gzip=False)
        route.fulfill(body=file.content, content_type=str(file.media_type))
    elif url.startswith(f"{ORIGIN}{paths.HISTORY_NEWS}?after={POSITION}"):
        route.fulfill(json={"position": POSITION})
    else:
        route.abort()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One tab of Chromium that reaches nothing but the samples; skipped when there is no Chromium, a failure in CI."""
    chromium = need_program("chromium", "chromium")
    folder: Path = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(folder, executable_path=chromium, args=ARGUMENTS)
        context.route("**/*", serve)
        yield context.new_page()
        context.close()


def look(page: Page, sample: Sample) -> None:
    """Open the sample on a phone, in light colours."""
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="light")
    page.goto(f"{ORIGIN}/{sample.key}")


def axe_findings(page: Page, axe: Axe, **options: object) -> list[tuple[str, list[str]]]:
    """What axe holds against the page as it is now: violations, and contrasts that it could not judge."""
    response = axe.run(page, options={**options, "resultTypes": ["violations", "incomplete"]}).response
    unsure = [rule for rule in response["incomplete"] if rule["id"] == "color-contrast"]
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in [*response["violations"], *unsure]]


@every_sample
def test_axe_finds_nothing(page: Page, sample: Sample) -> None:
    """WCAG 2.2 AA as far as a machine can judge it, on a phone; in dark colours the contrasts once more."""
    look(page, sample)
    assert axe_findings(page, Axe(), **AXE_OPTIONS) == []
    page.emulate_media(color_scheme="dark")
    assert axe_findings(page, LOADED_AXE, runOnly={"type": "rule", "values": ["color-contrast"]}) == []


@every_sample
def test_it_fits_and_is_easy_to_tap(page: Page, sample: Sample) -> None:
    """Nothing scrolls sideways at 320 pixels (WCAG 1.4.10), targets have 44 by 44, and the browser has no complaint."""
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    page.on("console", complain)
    look(page, sample)
    page.remove_listener("console", complain)
    assert complaints == []
    assert page.evaluate(SMALL_TARGETS) == []
    for width in (1280, 320):
        page.set_viewport_size({"width": width, "height": 740})
        assert width >= page.evaluate("document.documentElement.scrollWidth")


def test_the_keyboard_reaches_the_content_first(page: Page) -> None:
    """The first Tab shows the link past the navigation, and it leads into the content."""
    look(page, next(sample for sample in SAMPLES if sample.key == "quota"))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().top >= 0")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "isi"


def test_errors_have_the_focus_and_lead_to_their_fields(page: Page) -> None:
    """After a mistake the summary has the focus, and its links put the cursor into the field that is wrong."""
    look(page, next(sample for sample in SAMPLES if sample.key == "sign_up_errors"))
    page.wait_for_function("document.activeElement.getAttribute('role') === 'alert'")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "contact"


def test_a_place_is_chosen_by_keyboard(page: Page) -> None:
    """The places are one group of radio buttons: the arrow keys walk through them."""
    look(page, next(sample for sample in SAMPLES if sample.key == "place"))
    page.focus("#place")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.querySelector('[name=place]:checked').value") == "top-left"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.querySelector('[name=place]:checked').value") == "bottom-right"
