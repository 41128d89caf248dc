"""The doors that belong to no capability: home, health, readiness, metrics, and the reference of the API."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import Any, Protocol, cast

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.openapi.spec import Server
from litestar.params import FromPath

from emeterai.core.refusal import Refused, refusal_catalogue
from emeterai.infra import metrics
from emeterai.infra.database import Database
from emeterai.infra.http import NOT_FOUND
from emeterai.infra.settings import Settings
from emeterai.web import paths
from emeterai.web.pages import Pages
from emeterai.web.reference import groups_of

OPENAPI_PATH = "/docs/openapi.json"
AnyRequest = Request[Any, Any, Any]
Viewer = NamedDependency[Any]
"""Whoever is signed in, found out by the application: a page shows it."""
Lanes = NamedDependency[Any]
"""The lanes that are open or open soon, told by the application from memory: this page is what a crowd looks at."""


class FrontServices(Protocol):
    """What these doors find in the application's `state["services"]`."""

    settings: Settings
    db: Database
    pages: Pages


def server_of(settings: Settings) -> Server:
    """Where the API is reached."""
    return Server(url=settings.base_url)


@get(paths.HOME, include_in_schema=False)
async def home(request: AnyRequest, viewer: Viewer, lanes: Lanes) -> Response[bytes]:  # noqa: ARG001 - the page shows who
    """What it is, how it goes, and the way in. Answers with the database away, too."""
    services = _services(request)
    settings = services.settings
    return services.pages.render(
        request, "web/home.html", duty_idr=settings.duty_idr, fee_idr=settings.fee_idr, facts=[], lanes=lanes
    )


@get("/healthz", include_in_schema=False, sync_to_thread=False)
def healthz() -> dict[str, str]:
    """This process answers. Says nothing of what it depends on."""
    return {"status": "ok"}


@get("/readyz", include_in_schema=False)
async def readyz(request: AnyRequest) -> Response[dict[str, str]]:
    """This process can do its work: the database answers now."""
    try:
        await _services(request).db.fetchval("SELECT 1")
    except Refused as refused:
        return Response({"status": "not ready", "code": refused.code}, status_code=503, headers={"retry-after": "2"})
    return Response({"status": "ok"})


@get("/metrics", include_in_schema=False, sync_to_thread=True)
def show_metrics() -> Response[bytes]:
    """The numbers of all processes of this machine, for Prometheus."""
    return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)


@get(paths.API_DOCS, include_in_schema=False)
async def reference(request: AnyRequest, viewer: Viewer) -> Response[bytes]:  # noqa: ARG001 - the page shows who it is
    """The API for people: what a program needs to begin, and the groups of its operations."""
    document = request.app.openapi_schema.to_schema()
    return _services(request).pages.render(
        request,
        "web/api_docs.html",
        version=document["info"]["version"],
        document_url=OPENAPI_PATH,
        groups=list(groups_of(document).values()),
    )


@get(f"{paths.API_DOCS}/{{slug:str}}", include_in_schema=False)
async def reference_group(request: AnyRequest, viewer: Viewer, slug: FromPath[str]) -> Response[bytes]:  # noqa: ARG001
    """The operations of one group."""
    group = groups_of(request.app.openapi_schema.to_schema()).get(slug)
    if group is None:
        raise NOT_FOUND()
    return _services(request).pages.render(request, "web/api_group.html", group=group)


@get(paths.REFUSALS, include_in_schema=False)
async def refusals(request: AnyRequest, viewer: Viewer) -> Response[bytes]:  # noqa: ARG001
    """The HTTP statuses of refusals: where the list of all of them begins."""
    statuses = Counter(kind.status for kind in refusal_catalogue().values())
    return _services(request).pages.render(request, "web/refusals.html", statuses=sorted(statuses.items()))


@get(f"{paths.REFUSALS}/{{which:str}}", include_in_schema=False)
async def refusal(request: AnyRequest, viewer: Viewer, which: FromPath[str]) -> Response[bytes]:  # noqa: ARG001
    """One refusal with its sentences, where the `type` of a problem document leads; or all of one HTTP status."""
    found = [kind for kind in refusal_catalogue().values() if which in {kind.code, str(kind.status)}]
    if not found:
        raise NOT_FOUND()
    kinds = sorted(found, key=attrgetter("code"))
    return _services(request).pages.render(request, "web/refusal.html", kinds=kinds)


def is_api(path: str) -> bool:
    """Whether programs ask here: then a refusal is a problem document, not a page."""
    return f"{path}/".startswith(("/v1/", "/gate/", f"{OPENAPI_PATH}/"))


def _services(request: AnyRequest) -> FrontServices:
    return cast(FrontServices, request.app.state["services"])


handlers = (home, healthz, readyz, show_metrics, reference, reference_group, refusals, refusal)
"""What the application mounts."""
