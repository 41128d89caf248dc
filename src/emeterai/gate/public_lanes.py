"""The lanes that the front page shows: campaigns for everybody that are open, or open soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
from litestar import Request

from emeterai.gate.keeper import Kept
from emeterai.gate.lanes import Lane, LaneKind
from emeterai.gate.passes import room_path
from emeterai.infra.clock import utc_now

SOON = timedelta(days=30)
"""Lanes that open later than this are not shown yet."""
SHOWN_MAX = 12


class PublicLane(msgspec.Struct, frozen=True):
    """A lane as the front page shows it. `path` is its waiting room."""

    title: str
    path: str
    state: Literal["before_opening", "open", "paused"]
    opens_at: datetime | None
    closes_at: datetime | None


def public_lanes(lanes: Mapping[str, Lane], at: datetime) -> list[PublicLane]:
    """Those of `lanes` that are worth showing at `at`, the first to open first, at most `SHOWN_MAX`."""
    shown = [
        PublicLane(lane.title, room_path(lane.name), _state(lane, at), lane.opens_at, lane.closes_at)
        for lane in sorted(lanes.values(), key=lambda lane: (lane.opens_at or at, lane.name))
        if lane.kind is LaneKind.CAMPAIGN
        and (lane.closes_at is None or at < lane.closes_at)
        and (lane.opens_at is None or lane.opens_at <= at + SOON)
    ]
    return shown[:SHOWN_MAX]


async def lanes_shown(request: Request[Any, Any, Any]) -> Sequence[PublicLane]:
    """The same for a page, from what this process has in memory; none where there is no gate."""
    kept: Kept | None = request.app.state.get("gate")
    return public_lanes(kept.lanes.now, utc_now()) if kept is not None else ()


def _state(lane: Lane, at: datetime) -> Literal["before_opening", "open", "paused"]:
    if lane.opens_at is not None and at < lane.opens_at:
        return "before_opening"
    return "paused" if lane.paused else "open"
