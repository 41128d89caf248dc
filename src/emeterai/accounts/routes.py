"""Accounts for programs: `/v1/accounts`, `/v1/sessions`, `/v1/api-keys`. Bearer tokens only, never cookies."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, post
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody

from emeterai.accounts import details, guesses, passwords, service, sign_ups
from emeterai.accounts.callers import AnyRequest, accounts_of, bearer_token, caller, client_address
from emeterai.accounts.service import Account, ApiKey, Caller, NewApiKey, SignedIn
from emeterai.infra.http import problems
from emeterai.infra.networks import address_of

_NO_STORE = {"cache-control": "no-store"}


def _text(description: str, length_max: int, example: str) -> msgspec.Meta:
    """A described text. Its bound is documented here and enforced by the service, whose refusals are sentences."""
    return msgspec.Meta(
        description=description, examples=[example], extra_json_schema={"extra": {"maxLength": length_max}}
    )


class Registration(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What it takes to open an account: a name, a password, and an e-mail address or a phone number or both."""

    name: Annotated[str, _text("The person's name; never an identity number.", 120, "Siti Rahayu")]
    password: Annotated[str, _text("10 to 200 characters, not a common one.", 200, "kopi-hangat-di-teras")]
    email: Annotated[str | None, _text("An e-mail address.", 254, "siti@contoh.id")] = None
    phone: Annotated[str | None, _text("A phone number; 08... is read as +628....", 32, "081234567890")] = None
    timezone: Annotated[str, _text("WIB, WITA, WIT, or the IANA name.", 32, "WIB")] = "WIB"


class Credentials(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What it takes to sign in."""

    contact: Annotated[str, _text("The e-mail address or phone number.", 254, "siti@contoh.id")]
    password: Annotated[str, _text("The password.", 200, "kopi-hangat-di-teras")]


class ApiKeyRequest(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What it takes to make an API key."""

    label: Annotated[str, _text("A name by which you know the key again.", 80, "Server penggajian")]


class ApiKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The API keys in use, the newest first, then the last revoked ones."""

    items: list[ApiKey]


_SIGNED_IN = (service.SIGN_IN_NEEDED, service.SESSION_EXPIRED)
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]
_ANYONE: list[dict[str, list[str]]] = [{}]


class AccountsController(Controller):
    """Open an account, and see one's own."""

    path = "/v1/accounts"
    tags = ("Accounts",)

    @post(
        operation_id="register",
        summary="Open an account",
        security=_ANYONE,
        responses=problems(
            service.ACCOUNT_EXISTS,
            details.NAME_UNUSABLE,
            details.NAME_IS_NUMBER,
            details.CONTACT_NEEDED,
            details.EMAIL_UNUSABLE,
            details.PHONE_UNUSABLE,
            details.TIMEZONE_UNKNOWN,
            passwords.PASSWORD_UNUSABLE,
            passwords.PASSWORD_GUESSABLE,
            passwords.SIGN_IN_BUSY,
            sign_ups.SIGN_UPS_PAUSED,
        ),
    )
    async def register(self, request: AnyRequest, data: JSONBody[Registration]) -> Response[Account]:
        """Open an account; sign in next, with `POST /v1/sessions`."""
        address = address_of(request.scope)
        account = await accounts_of(request).register(**msgspec.structs.asdict(data), address=address)
        return Response(account, status_code=201, headers=_NO_STORE)

    @get(
        "/me",
        operation_id="me",
        summary="The account of whoever asks",
        dependencies={"caller": Provide(caller)},
        responses=problems(*_SIGNED_IN),
        security=_SECURITY,
    )
    async def me(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[Account]:
        """Your own account."""
        return Response(await accounts_of(request).account(caller.actor), headers=_NO_STORE)


class SessionsController(Controller):
    """Sign in and out."""

    path = "/v1/sessions"
    tags = ("Accounts",)

    @post(
        operation_id="sign_in",
        summary="Sign in",
        security=_ANYONE,
        responses=problems(service.SIGN_IN_WRONG, guesses.SIGN_IN_PAUSED, passwords.SIGN_IN_BUSY),
    )
    async def sign_in(self, request: AnyRequest, data: JSONBody[Credentials]) -> Response[SignedIn]:
        """Open a session. Send its token as `Authorization: Bearer TOKEN`."""
        signed_in = await accounts_of(request).sign_in(
            contact=data.contact, password=data.password, address=client_address(request)
        )
        return Response(signed_in, status_code=201, headers=_NO_STORE)

    @delete(
        "/current",
        operation_id="sign_out",
        summary="Sign out",
        dependencies={"caller": Provide(caller)},
        responses=problems(*_SIGNED_IN, service.SESSION_NEEDED),
        security=_SECURITY,
    )
    async def sign_out(self, request: AnyRequest, caller: NamedDependency[Caller]) -> None:
        """End the session whose token the request carries."""
        service.require_session(caller)
        await accounts_of(request).sign_out(bearer_token(request) or "")


class ApiKeysController(Controller):
    """Keys for programs."""

    path = "/v1/api-keys"
    tags = ("Accounts",)
    dependencies = {"caller": Provide(caller)}  # noqa: RUF012 - Litestar's own way
    security = _SECURITY

    @post(
        operation_id="create_api_key",
        summary="Make an API key",
        responses=problems(*_SIGNED_IN, service.SESSION_NEEDED, service.API_KEYS_TOO_MANY, details.LABEL_UNUSABLE),
    )
    async def create(
        self, request: AnyRequest, caller: NamedDependency[Caller], data: JSONBody[ApiKeyRequest]
    ) -> Response[NewApiKey]:
        """Make a key for a program. Its token is in this answer and is never shown again."""
        key = await accounts_of(request).create_api_key(caller, data.label)
        return Response(key, status_code=201, headers=_NO_STORE)

    @get(operation_id="list_api_keys", summary="Your API keys", responses=problems(*_SIGNED_IN))
    async def list(self, request: AnyRequest, caller: NamedDependency[Caller]) -> Response[ApiKeys]:
        """Your API keys without their tokens: those in use, the newest first, then the last revoked ones."""
        return Response(ApiKeys(items=await accounts_of(request).list_api_keys(caller)), headers=_NO_STORE)

    @delete(
        "/{key_id:uuid}",
        operation_id="revoke_api_key",
        summary="Revoke an API key",
        responses=problems(*_SIGNED_IN, service.SESSION_NEEDED, service.API_KEY_UNKNOWN),
    )
    async def revoke(self, request: AnyRequest, caller: NamedDependency[Caller], key_id: FromPath[UUID]) -> None:
        """Revoke a key: whoever holds it is refused from now on."""
        await accounts_of(request).revoke_api_key(caller, key_id)


controllers: tuple[type[Any], ...] = (AccountsController, SessionsController, ApiKeysController)
"""What the application mounts."""
