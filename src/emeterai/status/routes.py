"""The public lines for programs: `/v1/invariants`, and the key that signs them."""

from __future__ import annotations

from typing import Annotated, Any, Protocol, cast

from litestar import Controller, Request, Response, get
from litestar.params import QueryParameter

from emeterai.infra.http import NOT_FOUND, problems
from emeterai.status.lines import SignedLines, public_pem
from emeterai.status.service import LINES_A_PAGE_MAX, PublicLines
from emeterai.web import paths

_KEPT_BRIEFLY = {"cache-control": "public, max-age=10"}
_NUMBER_MAX = 2**62

Before = Annotated[int | None, QueryParameter(ge=1, le=_NUMBER_MAX, description="`before` of the answer before")]
Limit = Annotated[int, QueryParameter(ge=1, le=LINES_A_PAGE_MAX, description="Lines on a page")]


class HasLines(Protocol):
    """What these routes find in the application's `state["services"]`."""

    lines: PublicLines


class InvariantRoutes(Controller):
    """Do the books add up?"""

    path = "/v1/invariants"
    tags = ("Status",)
    security = [{}]  # noqa: RUF012 - Litestar's own way; the empty requirement is "anyone"

    @get(operation_id="list_invariants", summary="The signed public lines, one a minute", responses=problems())
    async def read(
        self, request: Request[Any, Any, Any], limit: Limit = 60, before: Before = None
    ) -> Response[SignedLines]:
        """Bought = available + held + used + refunded, signed and chained. A minute without a line was not checked."""
        lines, earlier = await lines_of(request).newest(before=before, limit=limit)
        return Response(SignedLines(lines, earlier), headers=_KEPT_BRIEFLY)


@get(paths.INVARIANTS_KEY, include_in_schema=False)
async def public_key(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The public key as `openssl` reads it."""
    key = await lines_of(request).key()
    if key is None:
        raise NOT_FOUND()
    return Response(public_pem(key), media_type="application/x-pem-file", headers=_KEPT_BRIEFLY)


def lines_of(request: Request[Any, Any, Any]) -> PublicLines:
    """The service that the application put into its state."""
    return cast("HasLines", request.app.state["services"]).lines


controllers: tuple[Any, ...] = (InvariantRoutes, public_key)
"""What the application mounts."""
