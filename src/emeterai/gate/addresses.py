"""Where people come from, and how many numbers one address may take without signing in: a bucket each, in memory.

Behind a proxy everybody would have the proxy's address: `forwarded.py` puts the person's there, where the proxy is
one that the settings trust.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from litestar.types import HTTPScope

NUMBERS_AT_ONCE = 200
"""A whole school or a mobile carrier's gateway stands behind one address: the bound is for programs."""
NUMBERS_PER_S = 5.0
BLOCK_TIMES = 20
"""A whole block of addresses, which costs a program hardly more than one, may take so many times as much as one."""
_ADDRESSES_MAX = 50_000
_FORWARDS = frozenset({b"x-forwarded-for", b"forwarded"})
_UNNAMED_PROXY = "a proxy that is not named"
Network = tuple[str, int]
"""An address or a block of them, by name; and how many times as much as one address it may take."""


class Addresses:
    """The buckets of this process. Times are of a monotonic clock."""

    def __init__(self, *, at_once: int = NUMBERS_AT_ONCE, per_s: float = NUMBERS_PER_S) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, networks: Sequence[Network], now_s: float) -> float:
        """Take one from each; answers 0, or after how many seconds there is one again."""
        for name, times in networks:
            most, per_s = self._at_once * times, self._per_s * times
            level, at_s = self._buckets.get(name, (float(most), now_s))
            level = min(most, level + (now_s - at_s) * per_s)
            if level < 1:
                return (1 - level) / per_s
            self._keep(name, level - 1, now_s)
        return 0.0

    def _keep(self, name: str, level: float, now_s: float) -> None:
        self._buckets[name] = level, now_s
        self._buckets.move_to_end(name)
        if len(self._buckets) > _ADDRESSES_MAX:
            self._buckets.popitem(last=False)


class CallBounds:
    """How many calls may be asked for from one network, and to one e-mail address: nobody is buried in letters."""

    def __init__(self) -> None:
        self._networks = Addresses(at_once=20, per_s=1.0)
        self._emails = Addresses(at_once=3, per_s=1 / 3600)

    def take(self, address: str, email: str, now_s: float) -> float:
        """Take one; answers 0, or after how many seconds there is one again."""
        networks = () if is_of_this_machine(address) else networks_of(address)
        return self._networks.take(networks, now_s) or self._emails.take([(email.casefold(), 1)], now_s)


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


@lru_cache(maxsize=_ADDRESSES_MAX)
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


@lru_cache(maxsize=_ADDRESSES_MAX)
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
