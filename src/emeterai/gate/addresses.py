"""How many numbers one address may take without signing in: a bucket each, in memory, bounded."""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

NUMBERS_AT_ONCE = 200
"""A whole school or a mobile carrier's gateway stands behind one address: the bound is for programs."""
NUMBERS_PER_S = 5.0
_ADDRESSES_MAX = 50_000
_OURS = tuple(
    ip_network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
"""This machine and private networks: a proxy of ours, behind which everybody comes."""


class Addresses:
    """The buckets of this process. Times are of a monotonic clock."""

    def __init__(self, *, at_once: int = NUMBERS_AT_ONCE, per_s: float = NUMBERS_PER_S) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, now_s: float) -> float:
        """Take one; answers 0, or after how many seconds there is one again. Our own have no bound."""
        name = network_of(address)
        if name is None:
            return 0.0
        level, at_s = self._buckets.get(name, (float(self._at_once), now_s))
        level = min(self._at_once, level + (now_s - at_s) * self._per_s)
        left = level - 1 if level >= 1 else level
        self._buckets[name] = left, now_s
        self._buckets.move_to_end(name)
        if len(self._buckets) > _ADDRESSES_MAX:
            self._buckets.popitem(last=False)
        return 0.0 if level >= 1 else (1 - level) / self._per_s


class CallBounds:
    """How many calls may be asked for from one network, and to one e-mail address: nobody is buried in letters."""

    def __init__(self) -> None:
        self._networks = Addresses(at_once=20, per_s=1.0)
        self._emails = Addresses(at_once=3, per_s=1 / 3600)

    def take(self, address: str, email: str, now_s: float) -> float:
        """Take one; answers 0, or after how many seconds there is one again."""
        return self._networks.take(address, now_s) or self._emails.take(email.casefold(), now_s)


def network_of(address: str) -> str | None:
    """An IPv4 address as it is; of an IPv6 address the /64, which one household has to itself. None for our own."""
    try:
        found: IPv4Address | IPv6Address = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address):
        found = found.ipv4_mapped or found
    if any(found in network for network in _OURS):
        return None
    return str(int(found) >> 64) if isinstance(found, IPv6Address) else str(found)
