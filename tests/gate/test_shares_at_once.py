"""The shares of all lanes are one sum, checked where it is written, and only against what a change itself does."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from emeterai.core.refusal import Refused
from emeterai.gate.lanes import DEFAULTS, RETAIL, Lane, Lanes, changed
from emeterai.infra.bus import Bus
from emeterai.infra.database import Database

CAMPAIGN = Lane(name="cpns-2026", title="CPNS 2026", share=0.1)
WAITING = "SELECT count(*) FROM pg_locks WHERE relation = 'gate.lanes'::regclass AND NOT granted"


@pytest.fixture
async def lanes(db: Database, bus: Bus) -> Lanes:
    """The lanes as one process knows them."""
    found = Lanes(db, bus)
    await found.look()
    return found


async def test_two_who_raise_shares_at_once_do_not_promise_more_than_there_is(
    db: Database, bus: Bus, lanes: Lanes
) -> None:
    """Each of them would fit alone. Both have looked before either has written; the second hears it."""
    others = Lanes(db, bus)
    async with db.transaction() as tx:
        await tx.execute("LOCK TABLE gate.lanes IN SHARE MODE")  # whoever reads goes on, whoever writes waits
        both = asyncio.gather(
            lanes.change(CAMPAIGN, by="Siti", seen=0),
            others.change(changed(DEFAULTS[RETAIL], {"share": 0.5}), by="Budi", seen=0),
            return_exceptions=True,
        )
        async with asyncio.timeout(20):
            while await db.fetchval(WAITING) < 2:
                await asyncio.sleep(0.02)
    refused = [one for one in await both if isinstance(one, Refused)]
    assert [("shares_too_large", 105)] == [(one.code, one.facts["percent"]) for one in refused]
    await lanes.look()
    assert sum(lane.share for lane in lanes.now.values()) <= 1.0
    assert 1 == len(await lanes.changes())


async def test_where_shares_are_too_large_already_every_other_lever_can_be_pulled(db: Database, lanes: Lanes) -> None:
    """Whatever made them so: only what raises them itself is refused."""
    row = msgspec.json.encode(changed(CAMPAIGN, {"share": 0.5})).decode()
    await db.fetch("INSERT INTO gate.lanes (name, lane, change) VALUES ($1, $2::text::jsonb, 7)", CAMPAIGN.name, row)
    paused = await lanes.change(changed(DEFAULTS[RETAIL], {"paused": True}), by="Siti", seen=0)
    with pytest.raises(Refused, match="shares_too_large") as refused:
        await lanes.change(changed(lanes.get(RETAIL), {"share": 0.41}), by="Siti", seen=paused.number)
    assert 136 == refused.value.facts["percent"]
    await lanes.undo(paused.number, by="Siti", seen=paused.number)
    for share in (0.4, 0.1):
        wanted = changed(lanes.get(CAMPAIGN.name), {"share": share})
        await lanes.change(wanted, by="Siti", seen=lanes.number_of(CAMPAIGN.name))
    assert pytest.approx(0.95) == sum(lane.share for lane in lanes.now.values())
