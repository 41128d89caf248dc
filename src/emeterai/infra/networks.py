"""Where people come from: an address, and the block of addresses that it is of.

Behind a proxy everybody would have the proxy's address: `gate/forwarded.py` puts the person's there, where the proxy is
one that the settings trust.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import structlog
from litestar.types import HTTPScope

BLOCK_TIMES = 20
"""A whole block of addresses, which costs a program hardly more than one, may take so many times as much as one."""
_REMEMBERED_MAX = 50_000
_FORWARDED_FOR = b"x-forwarded-for"
_FORWARDS = frozenset({_FORWARDED_FOR, b"forwarded", b"x-real-ip", b"via"})
_UNNAMED_PROXY = "a proxy that is not named"
_log = structlog.get_logger(__name__)
Network = tuple[str, int]
"""An address or a block of them, by name; and how many times as much as one address it may take."""


def address_of(scope: HTTPScope) -> str:
    """The address that a request comes from; empty where the server knows none.

    What this machine passes on for others, without being a proxy that the settings trust, comes from no person here:
    all of it counts as one address, and the operator is told once.
    """
    client = scope["client"]
    address = client[0] if client else ""
    if is_of_this_machine(address) and any(name in _FORWARDS for name, _ in scope["headers"]):
        if not _is_for_this_machine(scope):
            tell_of_unnamed_proxy()
        return _UNNAMED_PROXY
    return address


@lru_cache(maxsize=1)
def tell_of_unnamed_proxy() -> None:
    """Tell the operator, once per process, that everybody behind a proxy counts as one address, and what helps."""
    _log.error(
        "proxy_not_named",
        setting="EMETERAI_TRUSTED_PROXIES",
        meaning="a proxy on this machine passes requests on, and all people behind it count as one address: bounds "
        "for one address hold for the whole site. Name the proxy in EMETERAI_TRUSTED_PROXIES and have it send "
        "X-Forwarded-For",
    )


def _is_for_this_machine(scope: HTTPScope) -> bool:
    """Whether a proxy passed on what somebody on this very machine asked: the operator, or a check of health."""
    lines = [value.decode("latin-1") for name, value in scope["headers"] if name == _FORWARDED_FOR]
    return bool(lines) and all(is_of_this_machine(one.strip()) for line in lines for one in line.split(","))


@lru_cache(maxsize=_REMEMBERED_MAX)
def networks_of(address: str) -> tuple[Network, ...]:
    """An address and the block that it is of: an IPv4 address and its /24; an IPv6 /64, which one household or phone
    has to itself, and its /48, which one customer may have. What is no address is what it is.
    """
    found = parsed(address)
    if found is None:
        return ((address, 1),)
    own, block = (64, 48) if isinstance(found, IPv6Address) else (32, 24)
    names = [str(ip_network((found, bits), strict=False)) for bits in (own, block)]
    return (names[0], 1), (names[1], BLOCK_TIMES)


@lru_cache(maxsize=_REMEMBERED_MAX)
def is_of_this_machine(address: str) -> bool:
    """Whether somebody on this very machine asks: whoever runs the service, or a measurement."""
    found = parsed(address)
    return found is not None and found.is_loopback


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """An address as what it is, an IPv4 address in either form; None for what is none."""
    try:
        found = ip_address(address)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found
