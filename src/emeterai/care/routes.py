"""The tracker for programs: `GET /v1/track`. Public: no sign-in, and nothing about people in the answers.

The four digits come in a header: addresses end up in the logs of whatever stands in between.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast

from litestar import Controller, Request, Response, get
from litestar.params import HeaderParameter, QueryParameter

from emeterai.accounts.callers import client_address
from emeterai.care.service import (
    TRACK_DIGITS_MISTYPED,
    TRACK_NUMBER_MISTYPED,
    TRACK_UNMATCHED,
    TRACKING_PAUSED,
    Tracked,
    Tracker,
)
from emeterai.infra.http import problems

_NO_STORE = {"cache-control": "no-store"}


class HasTracker(Protocol):
    """What these routes find in the application's `state["services"]`."""

    tracker: Tracker


class TrackRoutes(Controller):
    """What became of an order?"""

    path = "/v1/track"
    tags = ("Orders",)
    security = [{}]  # noqa: RUF012 - Litestar's own way; the empty requirement is "anyone"

    @get(
        operation_id="track_order",
        summary="What became of an order, without signing in",
        responses=problems(TRACK_NUMBER_MISTYPED, TRACK_DIGITS_MISTYPED, TRACK_UNMATCHED, TRACKING_PAUSED),
    )
    async def read(
        self,
        request: Request[Any, Any, Any],
        number: Annotated[str, QueryParameter(description="The order's number, such as 4F7K-2M9Q.")],
        digits: Annotated[
            str,
            HeaderParameter(
                name="Track-Digits",
                description="The last four digits of the account's phone, or the tracking code.",
                schema_extra={"pattern": "^[0-9]{4}$", "examples": ["0417"]},
            ),
        ],
    ) -> Response[Tracked]:
        """What happened and when, and what comes next. At most ten wrong tries an hour at one number."""
        tracked = await tracker_of(request).look(number, digits, address=client_address(request))
        return Response(tracked, headers=_NO_STORE)


def tracker_of(request: Request[Any, Any, Any]) -> Tracker:
    """The service that the application put into its state."""
    return cast("HasTracker", request.app.state["services"]).tracker


controllers: tuple[type[Any], ...] = (TrackRoutes,)
"""What the application mounts."""
