"""Who calls: the dependencies of every capability's handlers. `/v1` knows only bearer tokens, pages only the cookie.

Routes take `caller` for what needs a person and `optional_caller` for what anyone may see: they declare
`dependencies={"caller": Provide(caller)}` and a parameter `caller: NamedDependency[Caller]`. The application
registers `redirect_to_sign_in` as the handler of `SignInFirst`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.response import Redirect

from emeterai.accounts.groups import GROUP_NOT_YOURS, Groups, require_overseer
from emeterai.accounts.service import SESSION_EXPIRED, SIGN_IN_NEEDED, Accounts, Caller
from emeterai.core.refusal import Refused
from emeterai.web import paths
from emeterai.web.credentials import bearer_in, headers_of, session_in
from emeterai.web.pages import Viewer, show_as

ACTING_COOKIE = "emeterai_for"
"""On pages: the group that the person acts for. Without it, or when he is no member any more, it is himself."""
ACTING_HEADER = "emeterai-account"
"""On `/v1`: the same. There a group that is not the caller's is refused, and is never read as the caller himself."""
NEXT_LENGTH_MAX = 512

_API = "/v1/"
_MEMBERS_MAY = (
    *("/v1/uploads/", "/v1/documents/", "/v1/stamps/", "/v1/groups/", "/v1/group-invitations/", "/v1/api-keys/"),
    *("/v1/accounts/me/", "/v1/sessions/current/", f"{paths.UPLOAD}/", f"{paths.DOCUMENTS}/", paths.stamp("")),
    *(f"{paths.GROUPS}/", f"{paths.INVITATION}/", f"{paths.API_KEYS}/", f"{paths.ACT_FOR}/"),
)
_MEMBERS_MAY_JUST = ("/v1/quota", paths.QUOTA)
"""What a plain member may do for a group; the rest of what an account can do is for those who oversee it."""

AnyRequest = Request[Any, Any, Any]


class SignInFirst(HTTPException):
    """A page needs a person: the browser is sent to the sign-in page and comes back afterwards."""

    status_code = 303

    def __init__(self, *, next_path: str, expired: bool) -> None:
        super().__init__(status_code=303)
        query = {"next": next_path} | ({"sesi": "berakhir"} if expired else {})
        self.location = f"{paths.SIGN_IN}?{urlencode(query)}"


class ActForSelf(SignInFirst):
    """The group that this browser acts for is not the person's any more: he is asked to go on for himself."""

    def __init__(self, *, next_path: str) -> None:
        super().__init__(next_path=next_path, expired=False)
        self.location = f"{paths.ACT_FOR}?{urlencode({'next': next_path})}"


def redirect_to_sign_in(_: AnyRequest, error: SignInFirst) -> Response[Any]:
    """The exception handler of `SignInFirst`."""
    return Redirect(error.location, status_code=303, headers={"cache-control": "no-store"})


def accounts_of(request: AnyRequest) -> Accounts:
    """The service that the application put into its state."""
    accounts: Accounts = request.app.state["services"].accounts
    return accounts


def groups_of(request: AnyRequest) -> Groups:
    """The service that the application put into its state."""
    groups: Groups = request.app.state["services"].groups
    return groups


async def caller(request: AnyRequest) -> Caller:
    """Who calls, and for which group. On `/v1` raises `sign_in_needed` or `session_expired`; on pages SignInFirst.

    A plain member of a group who goes where only those do who oversee it hears `group_role_needed`.
    """
    found = await _caller(request)
    if found.only_by is not None and not _is_for_members(request.scope["path"]):
        require_overseer(found)
    return found


async def own_caller(request: AnyRequest) -> Caller:
    """Who calls a page, as himself, whichever group the browser acts for. Raises SignInFirst."""
    try:
        return await _page_person(request)
    except Refused as refused:
        raise _sign_in_first(request, refused) from refused


async def _caller(request: AnyRequest) -> Caller:
    if _is_api(request):
        return await _api_caller(request, bearer_token(request) or "")
    try:
        return await _page_caller(request)
    except Refused as refused:
        if refused.kind is GROUP_NOT_YOURS and request.method in {"GET", "HEAD"}:
            raise ActForSelf(next_path=_return_path(request)) from refused
        raise _sign_in_first(request, refused) from refused


def _sign_in_first(request: AnyRequest, refused: Refused) -> Exception:
    """What a page raises when nobody has signed in; every other refusal as it is."""
    if refused.kind not in {SIGN_IN_NEEDED, SESSION_EXPIRED}:
        return refused
    return SignInFirst(next_path=_return_path(request), expired=refused.kind is SESSION_EXPIRED)


async def optional_caller(request: AnyRequest) -> Caller | None:
    """Who calls, or None. On `/v1` a token that is shown must be good; on pages a bad cookie is as good as none,
    and a database too busy to say is no reason to hide what anyone may see.
    """
    if _is_api(request):
        token = bearer_token(request)
        return None if token is None else await _api_caller(request, token)
    try:
        return await _page_caller(request)
    except Refused:
        return None


def bearer_token(request: AnyRequest) -> str | None:
    """The token of `Authorization: Bearer`; None without that header, and on pages, which read none."""
    return bearer_in(headers_of(request.scope))


def client_address(request: AnyRequest) -> str:
    """The address that the connection comes from, or that the front proxy is trusted to have put there."""
    return request.client.host if request.client else ""


def local_path(text: str | None, default: str = paths.HOME) -> str:
    """`text` when it is a path on this site and nothing else, so that it may be redirected to; else `default`."""
    if not text or len(text) > NEXT_LENGTH_MAX or not text.isascii() or not text.isprintable():
        return default
    is_local = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_local else default


async def _api_caller(request: AnyRequest, token: str) -> Caller:
    found = await accounts_of(request).identify(token)
    named = request.headers.get(ACTING_HEADER)
    if named is None:
        return found
    group_id = _uuid(named)
    if group_id is None:
        raise GROUP_NOT_YOURS()
    if found.acting is None and group_id == found.account_id:
        return found
    return await groups_of(request).act(found, group_id)


async def _page_person(request: AnyRequest) -> Caller:
    found = await accounts_of(request).identify(session_in(headers_of(request.scope)))
    show_as(request, Viewer(found.name, found.timezone.value, ""))
    return found


async def _page_caller(request: AnyRequest) -> Caller:
    found = await _page_person(request)
    chosen = request.cookies.get(ACTING_COOKIE)
    group_id = _uuid(chosen) if chosen else None
    if group_id is not None:
        found = await groups_of(request).act(found, group_id)
    show_as(request, Viewer(found.name, found.timezone.value, found.acting.group_name if found.acting else ""))
    return found


def _is_for_members(path: str) -> bool:
    return path.rstrip("/") in _MEMBERS_MAY_JUST or f"{path}/".startswith(_MEMBERS_MAY)


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text.strip())
    except ValueError:
        return None


def _is_api(request: AnyRequest) -> bool:
    return request.scope["path"].startswith(_API)


def _return_path(request: AnyRequest) -> str:
    """Where to come back to: this page, or the start page after a form, which cannot be sent again by a redirect."""
    if request.method not in {"GET", "HEAD"}:
        return paths.HOME
    query = request.scope["query_string"].decode("latin-1")
    path = request.scope.get("raw_path", b"").decode("latin-1").partition("?")[0] or request.scope["path"]
    return local_path(f"{path}?{query}" if query else path)
