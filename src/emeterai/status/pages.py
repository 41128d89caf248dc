"""The public lines for people."""

from __future__ import annotations

from typing import Any, Protocol, cast

import msgspec
from litestar import Controller, Request, Response, get
from litestar.di import NamedDependency, Provide

from emeterai.accounts.callers import optional_caller
from emeterai.accounts.service import Caller
from emeterai.infra.clock import utc_now
from emeterai.status.lines import Line, is_late
from emeterai.status.routes import HasLines, lines_of
from emeterai.web import paths
from emeterai.web.pages import Pages

_LINES_SHOWN = 30


class PageServices(HasLines, Protocol):
    """What this page finds in the application's `state["services"]`."""

    pages: Pages


class InvariantPages(Controller):
    """Anyone may see it."""

    include_in_schema = False
    dependencies = {"viewer": Provide(optional_caller)}  # noqa: RUF012 - Litestar's own way

    @get(paths.INVARIANTS)
    async def page(
        self,
        request: Request[Any, Any, Any],
        viewer: NamedDependency[Caller | None],  # noqa: ARG002 - the page shows who it is
    ) -> Response[bytes]:
        """The newest lines, newest first."""
        signed, _ = await lines_of(request).newest(limit=_LINES_SHOWN)
        lines = [msgspec.json.decode(one.line, type=Line) for one in reversed(signed)]
        services = cast("PageServices", request.app.state["services"])
        return services.pages.render(
            request,
            "status/invariants.html",
            lines=lines,
            late=bool(lines) and is_late(lines[0], utc_now()),
            key=signed[-1].key if signed else None,
        )


controllers: tuple[type[Any], ...] = (InvariantPages,)
"""What the application mounts."""
