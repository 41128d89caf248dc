"""The front page shows the lanes to which people are sent there: campaigns for everybody that are open or open soon."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from litestar import Litestar, Router
from litestar.di import Provide

from emeterai.gate.controller import Paces
from emeterai.gate.keeper import Kept
from emeterai.gate.lanes import DEFAULTS, Lane, LaneKind, Lanes
from emeterai.gate.public_lanes import SHOWN_MAX, SOON, lanes_shown, public_lanes
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings
from emeterai.web import front
from emeterai.web.csrf import Csrf
from emeterai.web.pages import Pages
from emeterai.web.static_files import StaticFiles

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def campaign(name: str, **values: Any) -> Lane:
    """A lane of a campaign."""
    return Lane(name=name, kind=LaneKind.CAMPAIGN, title=name.upper(), **values)


def test_campaigns_are_shown_while_they_matter() -> None:
    """From some weeks before they open until they close; those of members and the ordinary one never."""
    lanes = [
        campaign("open", opens_at=AT - DAY, closes_at=AT + DAY),
        campaign("paused", paused=True),
        campaign("soon", opens_at=AT + DAY),
        campaign("later", opens_at=AT + SOON + DAY),
        campaign("over", closes_at=AT),
    ]
    shown = public_lanes({**DEFAULTS, **{lane.name: lane for lane in lanes}}, AT)
    assert [("OPEN", "open"), ("PAUSED", "paused"), ("SOON", "before_opening")] == [
        (lane.title, lane.state) for lane in shown
    ]
    assert "/gate/soon" == shown[-1].path
    many = {f"lane-{number}": campaign(f"lane-{number}") for number in range(SHOWN_MAX + 5)}
    assert SHOWN_MAX == len(public_lanes(many, AT))


@dataclass(frozen=True)
class Services:
    """What the front page needs of the application's services."""

    settings: Settings
    pages: Pages


@pytest.fixture
async def lanes(db: Database, bus: Bus) -> Lanes:
    """The lanes as this process knows them."""
    return Lanes(db, bus)


@pytest.fixture
async def browser(db: Database, lanes: Lanes) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who looks at the front page."""

    async def nobody() -> None:
        return None

    dependencies = {"viewer": Provide(nobody), "lanes": Provide(lanes_shown)}
    app = Litestar([Router("/", route_handlers=[front.home], dependencies=dependencies)])
    pages = Pages(Csrf(b"c" * 32, https=False), specimen=True, static=StaticFiles())
    app.state["services"] = Services(Settings(), pages)
    app.state["gate"] = Kept(lanes, Paces(db, lanes))
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="https://meterai.example") as client:
        yield client


async def test_the_front_page_leads_to_them(db: Database, lanes: Lanes, browser: httpx.AsyncClient) -> None:
    """As soon as this process knows of one, with the database away too; without any nothing is said of lanes."""
    assert "Jalur khusus" not in (await browser.get("/")).text
    await lanes.change(campaign("cpns-2026", opens_at=utc_now() + DAY, share=0.1), by="Siti", seen=0)
    await db.close()
    page = await browser.get("/")
    assert 200 == page.status_code
    assert '<a class="name" href="/gate/cpns-2026">CPNS-2026</a>' in page.text
    assert "Segera dibuka" in page.text
