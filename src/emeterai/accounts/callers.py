"""Who calls: the dependencies of every capability's handlers. `/v1` knows only bearer tokens, pages only the cookie.

Routes take `caller` for what needs a person and `optional_caller` for what anyone may see: they declare
`dependencies={"caller": Provide(caller)}` and a parameter `caller: NamedDependency[Caller]`. The application
registers `redirect_to_sign_in` as the handler of `SignInFirst`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Accounts, Caller
from emeterai.core.refusal import Refused
from emeterai.web import paths
from emeterai.web.pages import Viewer, show_as

SESSION_COOKIE = "emeterai_session"
NEXT_LENGTH_MAX = 512

_API = "/v1/"
_BEARER = "bearer"

AnyRequest = Request[Any, Any, Any]


class SignInFirst(HTTPException):
    """A page needs a person: the browser is sent to the sign-in page and comes back afterwards."""

    status_code = 303

    def __init__(self, *, next_path: str, expired: bool) -> None:
        super().__init__(status_code=303)
        query = {"next": next_path} | ({"sesi": "berakhir"} if expired else {})
        self.location = f"{paths.SIGN_IN}?{urlencode(query)}"


def redirect_to_sign_in(_: AnyRequest, error: SignInFirst) -> Response[Any]:
    """The exception handler of `SignInFirst`."""
    return Redirect(error.location, status_code=303, headers={"cache-control": "no-store"})


def accounts_of(request: AnyRequest) -> Accounts:
    """The service that the application put into its state."""
    accounts: Accounts = request.app.state["services"].accounts
    return accounts


async def caller(request: AnyRequest) -> Caller:
    """Who calls. On `/v1` raises `sign_in_needed` or `session_expired`; on pages SignInFirst."""
    if _is_api(request):
        return await accounts_of(request).identify(bearer_token(request) or "")
    try:
        return await _page_caller(request)
    except Refused as refused:
        if refused.kind not in {SIGN_IN_NEEDED, SESSION_EXPIRED}:
            raise
        raise SignInFirst(next_path=_return_path(request), expired=refused.kind is SESSION_EXPIRED) from refused


async def optional_caller(request: AnyRequest) -> Caller | None:
    """Who calls, or None. On `/v1` a token that is shown must be good; on pages a bad cookie is as good as none,
    and a database too busy to say is no reason to hide what anyone may see.
    """
    if _is_api(request):
        token = bearer_token(request)
        return None if token is None else await accounts_of(request).identify(token)
    try:
        return await _page_caller(request)
    except Refused:
        return None


def bearer_token(request: AnyRequest) -> str | None:
    """The token of `Authorization: Bearer` (RFC 6750 section 2.1), or None without that header."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == _BEARER else ""


def client_address(request: AnyRequest) -> str:
    """The address that the connection comes from, or that the front proxy is trusted to have put there."""
    return request.client.host if request.client else ""


def local_path(text: str | None, default: str = paths.HOME) -> str:
    """`text` when it is a path on this site and nothing else, so that it may be redirected to; else `default`."""
    if not text or len(text) > NEXT_LENGTH_MAX or not text.isascii() or not text.isprintable():
        return default
    is_local = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_local else default


async def _page_caller(request: AnyRequest) -> Caller:
    found = await accounts_of(request).identify(request.cookies.get(SESSION_COOKIE, ""))
    show_as(request, Viewer(found.name, found.timezone.value))
    return found


def _is_api(request: AnyRequest) -> bool:
    return request.scope["path"].startswith(_API)


def _return_path(request: AnyRequest) -> str:
    """Where to come back to: this page, or the start page after a form, which cannot be sent again by a redirect."""
    if request.method not in {"GET", "HEAD"}:
        return paths.HOME
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0] or request.scope["path"]
    return local_path(f"{path}?{query}" if query else path)
