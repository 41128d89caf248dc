"""How many numbers one address may take without signing in: a bucket each, in memory.

What an address is, and a block of them, says `infra/networks.py`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from emeterai.infra.networks import BLOCK_TIMES, Network, address_of, is_of_this_machine, networks_of, parsed

__all__ = [
    "BLOCK_TIMES",
    "Addresses",
    "CallBounds",
    "Network",
    "address_of",
    "is_of_this_machine",
    "networks_of",
    "parsed",
]

NUMBERS_AT_ONCE = 200
"""A whole school or a mobile carrier's gateway stands behind one address: the bound is for programs."""
NUMBERS_PER_S = 5.0
CALLS_OF_ONE = 3
"""A family may share a telephone; a stranger's rings no more often than that at once."""
_ADDRESSES_MAX = 50_000


class Addresses:
    """The buckets of this process. Times are of a monotonic clock."""

    def __init__(self, *, at_once: int = NUMBERS_AT_ONCE, per_s: float = NUMBERS_PER_S) -> None:
        self._at_once = at_once
        self._per_s = per_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, networks: Sequence[Network], now_s: float) -> float:
        """Take one from each; answers 0, or after how many seconds each has one again, and takes none: whom a block
        refuses has used up nothing of the address's own.
        """
        if wait_s := self.wait_s(networks, now_s):
            return wait_s
        for name, times in networks:
            self._keep(name, self._level(name, times, now_s) - 1, now_s)
        return 0.0

    def wait_s(self, networks: Sequence[Network], now_s: float) -> float:
        """After how many seconds each has one; 0: now."""
        return max((self._missing_s(name, times, now_s) for name, times in networks), default=0.0)

    def give_back(self, networks: Sequence[Network]) -> None:
        """One for each, of what was taken: nothing came of it."""
        for name, _ in networks:
            if (bucket := self._buckets.get(name)) is not None:
                self._buckets[name] = bucket[0] + 1, bucket[1]

    def _level(self, name: str, times: int, now_s: float) -> float:
        """How many there are."""
        most = float(self._at_once * times)
        level, at_s = self._buckets.get(name, (most, now_s))
        return min(most, level + (now_s - at_s) * self._per_s * times)

    def _missing_s(self, name: str, times: int, now_s: float) -> float:
        """After how many seconds there is one."""
        return max(0.0, 1 - self._level(name, times, now_s)) / (self._per_s * times)

    def _keep(self, name: str, level: float, now_s: float) -> None:
        self._buckets[name] = level, now_s
        self._buckets.move_to_end(name)
        if len(self._buckets) > _ADDRESSES_MAX:
            self._buckets.popitem(last=False)


class CallBounds:
    """How many calls may be asked for from one network, and to one e-mail address or phone number: nobody is buried in
    messages.
    """

    def __init__(self) -> None:
        self._networks = Addresses(at_once=20, per_s=1.0)
        self._contacts = Addresses(at_once=CALLS_OF_ONE, per_s=1 / 3600)

    def take(self, address: str, contact: str, now_s: float) -> float:
        """Take one; answers 0, or after how many seconds there is one again."""
        networks = () if is_of_this_machine(address) else networks_of(address)
        return self._networks.take(networks, now_s) or self._contacts.take([(contact.casefold(), 1)], now_s)
