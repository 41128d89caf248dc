"""Who really asks, where the service stands behind a proxy: an ASGI wrapper that says it to all that it wraps.

A proxy adds the address that it was asked from at the end of `X-Forwarded-For`. What stands before that anybody may
have written, so only proxies that the settings name are believed, from the last one backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

from emeterai.gate.addresses import parsed
from emeterai.infra.settings import SettingsError

_HEADER = b"x-forwarded-for"
_ADDRESSES_MAX = 32
Proxies = Sequence[IPv4Network | IPv6Network]
"""The networks of proxies that are believed."""


class Forwarded:
    """Wraps an ASGI application: the client that it sees is the person's address, not that of a trusted proxy."""

    def __init__(self, app: ASGIApp, proxies: Proxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == ScopeType.HTTP:
            client = scope["client"]
            address = asked_from(client[0] if client else "", _chain(scope), self._proxies)
            scope["client"] = (address, client[1] if client else 0)
        await self._app(scope, receive, send)


def proxies_of(setting: str) -> Proxies:
    """The proxies that a setting names: addresses and networks, with commas between. Raises SettingsError."""
    try:
        return [ip_network(name.strip()) for name in setting.split(",") if name.strip()]
    except ValueError as error:
        raise SettingsError(f"EMETERAI_TRUSTED_PROXIES: {error}") from error


def asked_from(peer: str, chain: Sequence[str], proxies: Proxies) -> str:
    """The last address on the way to `peer`, itself the last of all, that is no proxy of ours; the first if all are.

    `chain` is what `X-Forwarded-For` says, oldest first. What is no address ends the way: who wrote it is unknown.
    """
    address = peer
    for before in reversed(chain):
        if not _is_one_of(address, proxies) or parsed(before) is None:
            break
        address = before
    return address


def _chain(scope: HTTPScope) -> list[str]:
    lines: Iterable[bytes] = (value for name, value in scope["headers"] if name == _HEADER)
    return [name.strip() for line in lines for name in line.decode("latin-1").split(",")][-_ADDRESSES_MAX:]


def _is_one_of(address: str, proxies: Proxies) -> bool:
    found = parsed(address)
    return found is not None and any(found in network for network in proxies)
