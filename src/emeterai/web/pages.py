"""Pages: the templates of every capability, rendered inside one shell.

A capability's routes hold one `Pages`, call `render`, and know nothing of cookies, caching or languages. Templates are
named `capability/page.html`; the comment at the top of each is the contract of its context.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import Request, Response
from litestar.datastructures import Cookie
from markupsafe import Markup

from emeterai.core.refusal import Refused
from emeterai.web import formats, paths
from emeterai.web.csrf import FIELD_NAME, AnyConnection, Csrf
from emeterai.web.static_files import StaticFiles

_PACKAGE = Path(__file__).parent.parent
_VIEWER = "viewer"
AnyRequest = Request[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who is signed in, as far as a page needs to know. `zone` is a key of `formats.ZONES`."""

    name: str
    zone: str = formats.ZONE_DEFAULT
    acting_for: str = ""
    """The group that the person acts for; empty: himself."""


def show_as(connection: AnyConnection, viewer: Viewer) -> None:
    """Remember who is signed in for the rest of this request. The session check calls it; every page then shows it."""
    connection.scope["state"][_VIEWER] = viewer


def viewer_of(connection: AnyConnection) -> Viewer | None:
    """Who is signed in, or None."""
    viewer = connection.scope["state"].get(_VIEWER)
    return viewer if isinstance(viewer, Viewer) else None


class Pages:
    """Renders templates. Make one at start-up and share it: every template is compiled then, and never again.

    `specimen` puts the banner on every page; `status_path` is where the public status lives, empty while there is none.
    """

    def __init__(self, csrf: Csrf, *, specimen: bool, static: StaticFiles, status_path: str = "") -> None:
        self._csrf = csrf
        self._environment = _environment()
        self._environment.globals.update(
            static_url=static.url, specimen=specimen, status_path=status_path, path=paths, zones=formats.ZONES
        )
        self._templates = {name: self._environment.get_template(name) for name in self._environment.list_templates()}

    @property
    def names(self) -> list[str]:
        """The names of all templates, such as `stamping/result.html`."""
        return sorted(self._templates)

    def render(
        self,
        request: AnyRequest,
        name: str,
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        **context: Any,
    ) -> Response[bytes]:
        """The page as an answer. A page for one person, with a form or with an error is never stored by any cache."""
        viewer = viewer_of(request)
        nonce = self._csrf.nonce(request)
        fresh: list[Cookie] = []

        def csrf_field() -> Markup:
            nonlocal nonce
            if nonce is None:
                nonce = self._csrf.new_nonce()
                fresh.append(self._csrf.cookie(nonce))
            private.append(True)
            return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD_NAME, self._csrf.token(nonce))

        private = [viewer is not None or status_code >= 400]
        html = self._templates[name].render(
            context, viewer=viewer, zone=viewer.zone if viewer else formats.ZONE_DEFAULT, csrf_field=csrf_field
        )
        cache = "no-store" if any(private) else "no-cache"
        return Response(
            html.encode(),
            status_code=status_code,
            media_type="text/html",
            headers={"cache-control": cache, "vary": "cookie", **(headers or {})},
            cookies=fresh,
        )

    def refusal(
        self,
        request: AnyRequest,
        refused: Refused,
        *,
        case_number: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response[bytes]:
        """The page of a refusal, with its HTTP status; `case_number` only where somebody has to look into it."""
        return self.render(
            request,
            "web/error.html",
            status_code=refused.kind.status,
            headers=headers,
            refusal=refused,
            case_number=case_number,
        )


def _environment() -> Environment:
    """The templates of all capabilities: the folder's name is the first part of a template's name."""
    folders = {path.parent.name: FileSystemLoader(path) for path in sorted(_PACKAGE.glob("*/templates"))}
    environment = Environment(
        loader=PrefixLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=formats.number, signed=formats.signed, rupiah=formats.rupiah, size=formats.size, moment=_moment
    )
    return environment


@pass_context
def _moment(context: Context, at: Any, language: str = "id") -> Markup:
    """The filter `moment`: a time in the zone of whoever looks at the page."""
    return formats.moment_html(at, context["zone"], language)
