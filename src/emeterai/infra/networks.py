"""Where people come from: an address, and the block of addresses that it is of.

Behind a proxy everybody would have the proxy's address: `gate/forwarded.py` puts the person's there, where the proxy is
one that the settings trust.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from litestar.types import HTTPScope

BLOCK_TIMES = 20
"""A whole block of addresses, which costs a program hardly more than one, may take so many times as much as one."""
_REMEMBERED_MAX = 50_000
_FORWARDS = frozenset({b"x-forwarded-for", b"forwarded"})
_UNNAMED_PROXY = "a proxy that is not named"
Network = tuple[str, int]
"""An address or a block of them, by name; and how many times as much as one address it may take."""


def address_of(scope: HTTPScope) -> str:
    """The address that a request comes from; empty where the server knows none.

    What this machine passes on for others, without being a proxy that the settings trust, comes from no person here:
    all of it counts as one address.
    """
    client = scope["client"]
    address = client[0] if client else ""
    if is_of_this_machine(address) and any(name in _FORWARDS for name, _ in scope["headers"]):
        return _UNNAMED_PROXY
    return address


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
