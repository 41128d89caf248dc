"""Accounts for people: the pages to sign up, sign in and out, and to manage API keys. No JavaScript is needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time, tzinfo
from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from litestar.response import Redirect

from emeterai.accounts.callers import (
    ACTING_COOKIE,
    AnyRequest,
    accounts_of,
    caller,
    client_address,
    local_path,
    optional_caller,
)
from emeterai.accounts.details import clean_contact
from emeterai.accounts.passwords import PASSWORD_LENGTH_MIN
from emeterai.accounts.service import ApiKey, Caller, SignedIn, Timezone
from emeterai.core.refusal import Refused
from emeterai.infra.networks import address_of
from emeterai.infra.settings import Settings
from emeterai.web import paths
from emeterai.web.credentials import SESSION_COOKIE, headers_of, session_in
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.formats import ZONES
from emeterai.web.forms import FieldError, Form
from emeterai.web.pages import Pages

_NO_STORE = {"cache-control": "no-store"}
_FIELD_OF = {
    "name_unusable": "name",
    "name_is_number": "name",
    "timezone_unknown": "zone",
    "password_unusable": "password",
    "password_guessable": "password",
    "label_unusable": "label",
    "api_keys_too_many": "label",
}
_SECRET_FIELDS = frozenset({"password", "csrf"})


class PageServices(Protocol):
    """What the pages find in the application's `state["services"]`, besides `accounts`."""

    pages: Pages
    csrf: Csrf
    settings: Settings


class SignPages(Controller):
    """The pages to sign up, sign in and sign out."""

    include_in_schema = False
    dependencies = {"viewer": Provide(optional_caller)}  # noqa: RUF012 - Litestar's own way

    @get(paths.SIGN_UP)
    async def sign_up_page(self, request: AnyRequest, viewer: NamedDependency[Caller | None]) -> Response[bytes]:  # noqa: ARG002
        """The empty form to make an account."""
        return _sign_up(request, Form())

    @post(paths.SIGN_UP)
    async def sign_up(self, request: AnyRequest) -> Response[Any]:
        """Make an account and sign in, or show the form again with what is wrong."""
        fields = await _checked_form(request)
        accounts = accounts_of(request)
        try:
            contact = clean_contact(fields.get("contact", ""))
            account = await accounts.register(
                name=fields.get("name", ""),
                password=fields.get("password", ""),
                timezone=fields.get("zone", Timezone.WIB),
                address=address_of(request.scope),
                **{"email" if "@" in contact else "phone": contact},
            )
            return _enter(request, await accounts.open_session(account), paths.QUOTA)
        except Refused as refused:
            return _sign_up(request, _again(fields, refused, "contact"), refused)

    @get(paths.SIGN_IN)
    async def sign_in_page(self, request: AnyRequest, viewer: NamedDependency[Caller | None]) -> Response[bytes]:  # noqa: ARG002
        """The form to sign in; `next` is the local path to go to afterwards."""
        next_path = local_path(request.query_params.get("next"), "")
        ended = request.query_params.get("sesi") == "berakhir"
        return _sign_in(request, Form({"next": next_path}), session_ended=ended)

    @post(paths.SIGN_IN)
    async def sign_in(self, request: AnyRequest) -> Response[Any]:
        """Sign in and go on, or show the form again with what is wrong."""
        fields = await _checked_form(request)
        try:
            signed_in = await accounts_of(request).sign_in(
                contact=fields.get("contact", ""),
                password=fields.get("password", ""),
                address=client_address(request),
            )
        except Refused as refused:
            fields["next"] = local_path(fields.get("next"), "")
            return _sign_in(request, _again(fields, refused, "contact"), refused)
        return _enter(request, signed_in, local_path(fields.get("next"), paths.QUOTA))

    @post(paths.SIGN_OUT)
    async def sign_out(self, request: AnyRequest) -> Response[Any]:
        """End the session of this browser."""
        await _checked_form(request)
        await accounts_of(request).sign_out(session_in(headers_of(request.scope)))
        return _go(paths.HOME, _session_cookie(request, "", 0), acting_cookie(request, ""))


class ApiKeyPages(Controller):
    """The page of API keys."""

    include_in_schema = False
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way

    @get(paths.API_KEYS)
    async def page(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
        """The keys, and the form to make one."""
        return await _api_keys(request, caller, Form())

    @post(paths.API_KEYS)
    async def create(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[bytes]:
        """Make a key and show its token this once."""
        fields = await _checked_form(request)
        try:
            key = await accounts_of(request).create_api_key(caller, fields.get("label", ""))
        except Refused as refused:
            return await _api_keys(request, caller, _again(fields, refused, "label"), refused=refused)
        return await _api_keys(request, caller, Form(), new_token=key.token)

    @post(f"{paths.API_KEYS}/{{key_id:uuid}}/cabut")
    async def revoke(
        self, request: AnyRequest, caller: NamedDependency[Caller], key_id: FromPath[UUID]
    ) -> Response[Any]:
        """Revoke a key and show the keys again."""
        await _checked_form(request)
        await accounts_of(request).revoke_api_key(caller, key_id)
        return _go(paths.API_KEYS)


def _services(request: AnyRequest) -> PageServices:
    return cast("PageServices", request.app.state["services"])


async def _checked_form(request: AnyRequest) -> dict[str, str]:
    """The texts of a form that one of our pages showed. Raises `csrf_failed`, `request_malformed`."""
    return texts_of(await checked_form(request, _services(request).csrf))


def _again(fields: Mapping[str, str], refused: Refused, field: str) -> Form:
    """The form with what was typed, save secrets, and the refusal at its field (`field` where none is its own)."""
    kept = {name: value for name, value in fields.items() if name not in _SECRET_FIELDS}
    return Form(kept, (FieldError(_FIELD_OF.get(refused.code, field), refused.id, refused.en),))


def _answer(refused: Refused | None) -> dict[str, Any]:
    """The status and headers of a form that is shown for the first time, or again because of a refusal."""
    if refused is None:
        return {"status_code": 200}
    retry_after_s = refused.facts.get("retry_after_s")
    headers = {} if retry_after_s is None else {"retry-after": str(retry_after_s)}
    return {"status_code": refused.kind.status, "headers": headers}


def _sign_up(request: AnyRequest, form: Form, refused: Refused | None = None) -> Response[bytes]:
    return _services(request).pages.render(
        request, "accounts/sign_up.html", form=form, password_length_min=PASSWORD_LENGTH_MIN, **_answer(refused)
    )


def _sign_in(
    request: AnyRequest, form: Form, refused: Refused | None = None, *, session_ended: bool = False
) -> Response[bytes]:
    return _services(request).pages.render(
        request, "accounts/sign_in.html", form=form, session_ended=session_ended, **_answer(refused)
    )


async def _api_keys(
    request: AnyRequest, caller: Caller, form: Form, *, new_token: str | None = None, refused: Refused | None = None
) -> Response[bytes]:
    zone = ZONES[caller.timezone]
    keys = [_shown(key, zone) for key in await accounts_of(request).list_api_keys(caller)]
    return _services(request).pages.render(
        request, "accounts/api_keys.html", form=form, keys=keys, new_token=new_token, **_answer(refused)
    )


def _shown(key: ApiKey, zone: tzinfo) -> dict[str, Any]:
    """A key as the page shows it."""
    used_at = datetime.combine(key.last_used_on, time(), zone) if key.last_used_on else None
    return {
        "id": key.id,
        "label": key.label,
        "prefix": key.prefix,
        "created_at": key.created_at,
        "used_at": used_at,
        "revoked_at": key.revoked_at,
    }


def _enter(request: AnyRequest, signed_in: SignedIn, path: str) -> Response[Any]:
    session = _session_cookie(request, signed_in.token, accounts_of(request).session_life_s)
    return _go(path, session, acting_cookie(request, ""))


def _session_cookie(request: AnyRequest, token: str, life_s: int) -> Cookie:
    """The cookie that holds a session's token; no script sees it, and over https nothing but https carries it."""
    https = _services(request).settings.base_url.startswith("https:")
    return Cookie(key=SESSION_COOKIE, value=token, max_age=life_s, httponly=True, samesite="lax", secure=https)


def acting_cookie(request: AnyRequest, group_id: str) -> Cookie:
    """The cookie that says for which group this browser acts; empty, it is forgotten."""
    https = _services(request).settings.base_url.startswith("https:")
    life_s = accounts_of(request).session_life_s if group_id else 0
    return Cookie(key=ACTING_COOKIE, value=group_id, max_age=life_s, httponly=True, samesite="lax", secure=https)


def _go(path: str, *cookies: Cookie) -> Response[Any]:
    return Redirect(path, status_code=303, headers=_NO_STORE, cookies=list(cookies))


controllers: tuple[type[Any], ...] = (SignPages, ApiKeyPages)
"""What the application mounts."""
