"""A waiting room over HTTP and a browser in it, for tests of what its page does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from waiting_people import OPEN, changed, publish

from emeterai.gate.now import NowServing
from emeterai.infra.clock import utc_now
from programs import need_program
from running import free_port

PATIENCE_MS = 30_000
"""Only a test that fails waits as long."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]


class ServedRoom:
    """A waiting room over HTTP, whose state the test publishes."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def stand(self, **values: object) -> NowServing:
        """The retail lane in this state, now."""
        now = changed(OPEN, **{"updated_at": utc_now(), "grace_from": 1, **values})
        publish(self.folder, now)
        return now


@contextmanager
def serving_room(database_url: str, folder: Path) -> Iterator[ServedRoom]:
    """A room of its own, on a database of its own."""
    port = free_port()
    served = ServedRoom(f"http://localhost:{port}", folder)
    served.stand()
    script = Path(__file__).with_name("serve_room.py")
    environment = {**os.environ, "PYTHONPATH": f"{script.parent}:{script.parents[1]}"}
    command = [sys.executable, str(script), database_url, str(folder), str(port)]
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        try:
            httpx.get(f"{served.url}/gate/retail", trust_env=False).raise_for_status()
            break
        except httpx.HTTPError:
            assert server.poll() is None, (folder / "server.log").read_text()
            time.sleep(0.1)
    yield served
    server.terminate()
    server.wait(20)


@contextmanager
def chromium_browser() -> Iterator[Browser]:
    """Chromium; skipped when there is none, a failure in CI. Begin it last: its loop would stop a database's."""
    expect.set_options(timeout=PATIENCE_MS)
    path = need_program("chromium", "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def opened(room: ServedRoom, phone: BrowserContext, lane: str = "retail") -> Page:
    """The page of a lane, once it has its number; the browser has no complaint about it."""
    page = phone.new_page()
    complaints: list[str] = []

    def complain(message: ConsoleMessage) -> None:
        complaints.append(message.text)

    page.on("console", complain)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{room.url}/gate/{lane}")
    expect(page.locator("#n")).not_to_have_text("–")
    assert [] == complaints
    return page


def look(page: Page) -> None:
    """Let the page look again, once no cache may answer with the state before."""
    time.sleep(1.1)
    page.evaluate("look()")
