"""The doors that belong to no capability: home, health, readiness, metrics, and the reference of the API."""

from __future__ import annotations

import re
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

OPENAPI_PATH = "/docs/openapi.json"
AnyRequest = Request[Any, Any, Any]
Viewer = NamedDependency[Any]
"""Whoever is signed in, found out by the application: a page shows it."""
_REFUSAL_CODE = re.compile(r"`([a-z0-9_]+)`: ")
_METHODS = ("get", "post", "put", "patch", "delete", "head")


class FrontServices(Protocol):
    """What these doors find in the application's `state["services"]`."""

    settings: Settings
    db: Database
    pages: Pages


def server_of(settings: Settings) -> Server:
    """Where the API is reached."""
    return Server(url=settings.base_url)


@get(paths.HOME, include_in_schema=False)
async def home(request: AnyRequest, viewer: Viewer) -> Response[bytes]:  # noqa: ARG001 - the page shows who it is
    """What it is, how it goes, and the way in. Answers with the database away, too."""
    services = _services(request)
    settings = services.settings
    return services.pages.render(
        request, "web/home.html", duty_idr=settings.duty_idr, fee_idr=settings.fee_idr, facts=[]
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
    """The operations of the API, for people; made from the OpenAPI document."""
    document = request.app.openapi_schema.to_schema()
    info = document["info"]
    return _services(request).pages.render(
        request,
        "web/api_docs.html",
        title=info["title"],
        version=info["version"],
        document_url=OPENAPI_PATH,
        groups=_groups(document),
    )


@get(paths.REFUSALS, include_in_schema=False)
async def refusals(request: AnyRequest, viewer: Viewer) -> Response[bytes]:  # noqa: ARG001
    """Every refusal by its code."""
    kinds = sorted(refusal_catalogue().values(), key=lambda kind: (kind.status, kind.code))
    return _services(request).pages.render(request, "web/refusals.html", kinds=kinds)


@get(f"{paths.REFUSALS}/{{code:str}}", include_in_schema=False)
async def refusal(request: AnyRequest, viewer: Viewer, code: FromPath[str]) -> Response[bytes]:  # noqa: ARG001
    """One refusal with its sentences: where the `type` of a problem document leads."""
    kind = refusal_catalogue().get(code)
    if kind is None:
        raise NOT_FOUND()
    return _services(request).pages.render(request, "web/refusals.html", kinds=[kind])


def _groups(document: dict[str, Any]) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, item in document["paths"].items():
        for method in _METHODS:
            if method in item:
                tag = (item[method].get("tags") or ["API"])[0]
                groups.setdefault(tag, []).append(_operation(method, path, item[method]))
    return [{"name": name, "operations": operations} for name, operations in sorted(groups.items())]


def _operation(method: str, path: str, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "method": method.upper(),
        "path": path,
        "summary": found.get("summary") or "",
        "description": found.get("description") or "",
        "parameters": [
            {"name": one["name"], "place": one["in"], "required": bool(one.get("required"))}
            for one in found.get("parameters") or []
        ],
        "body": ", ".join((found.get("requestBody") or {}).get("content") or {}),
        "answers": [
            {"status": status, "text": _in_short(answer.get("description") or "")}
            for status, answer in sorted(found["responses"].items())
        ],
    }


def _in_short(description: str) -> str:
    """An answer's description; of refusals only the codes, whose sentences the OpenAPI document holds."""
    return ", ".join(_REFUSAL_CODE.findall(description)) or description


def is_api(path: str) -> bool:
    """Whether programs ask here: then a refusal is a problem document, not a page."""
    return f"{path}/".startswith(("/v1/", "/gate/", f"{OPENAPI_PATH}/"))


def _services(request: AnyRequest) -> FrontServices:
    return cast(FrontServices, request.app.state["services"])


handlers = (home, healthz, readyz, show_metrics, reference, refusals, refusal)
"""What the application mounts."""
