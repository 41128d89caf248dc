"""What a lot in the draw costs: an account, or one of the few that an address may take without one.

Before the draw the number that a person takes is a lot. Numbers cost nothing, so a program would take thousands of
them from one address; an account costs a sign-up, which has a budget of its own. Counted in the database, the same for
all web processes; while that is away each process counts for itself. Whoever gets no number has taken no lot.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeVar

from emeterai.core.refusal import Refused
from emeterai.gate import lot_store
from emeterai.gate.addresses import networks_of
from emeterai.infra.database import Database
from emeterai.infra.interruption import INTERRUPTIONS

LOTS_MAX = 3
"""So many lots one address may take without an account: a household's. Whoever signs in needs none of them."""
FULL_S = 60.0
"""So long the database is not asked again for a network that has all its lots there: one may have come back since."""
_DIGEST_BYTES = 12
_REMEMBERED_MAX = 50_000
_SETTLED_MAX = 200
"""So many networks get back at a time what they are owed: whoever looks around each second does not wait for more."""
Key = tuple[str, str, bytes]
"""A lane, its draw, and a network."""
Value = TypeVar("Value", int, float)


@dataclass(frozen=True, slots=True)
class Lot:
    """A lot that was taken: from which networks, and for which of them that is on record."""

    networks: tuple[Key, ...]
    written: list[Key] = field(default_factory=list)


class Lots:
    """The lots that addresses took without an account. `secret` is this installation's. What a process remembers is of
    one draw: the next one of the same lane begins anew.
    """

    def __init__(self, db: Database, secret: bytes) -> None:
        self._db = db
        self._key = hmac.digest(secret, b"gate lots", "sha256")
        self._taken: OrderedDict[Key, int] = OrderedDict()
        self._owed: OrderedDict[Key, int] = OrderedDict()
        self._full_until_s: OrderedDict[Key, float] = OrderedDict()

    async def take(self, lane: str, address: str, *, draw: str) -> Lot | None:
        """One more lot in this draw of a lane for this address and the block that it is of; None: they have theirs."""
        asked = {(lane, draw, self._digest(name)): times * LOTS_MAX for name, times in networks_of(address)}
        if any(self._is_full(key, most) for key, most in asked.items()):
            return None
        lot = Lot(tuple(asked))
        for key in asked:
            _count(self._taken, key, 1)
        try:
            for key, most in asked.items():
                if not await self._write(key, most):
                    self.give_back(lot)
                    return None
                lot.written.append(key)
        except (Refused, *INTERRUPTIONS):
            return lot
        except BaseException:
            self.give_back(lot)
            raise
        return lot

    def give_back(self, lot: Lot) -> None:
        """Nothing came of this lot: its networks have it again, those of this process at once, all with `settle`."""
        for key in lot.networks:
            _count(self._taken, key, -1)
        for key in lot.written:
            _count(self._owed, key, 1)

    async def settle(self) -> None:
        """Give back on record what was given back here. What fails is left for the next time."""
        for key in list(self._owed)[:_SETTLED_MAX]:
            count = self._owed.pop(key, 0)
            lane, _, network = key
            try:
                if count:
                    await lot_store.give_lots_back(self._db, lane, network, count)
            except BaseException:
                _count(self._owed, key, count)
                raise

    async def _write(self, key: Key, most: int) -> bool:
        """Whether there is one more lot for a network on record; one that is owed to it is there already."""
        if self._owed.get(key):
            _count(self._owed, key, -1)
            return True
        lane, _, network = key
        if await lot_store.take_lot(self._db, lane, network, most):
            return True
        _keep(self._full_until_s, key, time.monotonic() + FULL_S)
        return False

    def _is_full(self, key: Key, most: int) -> bool:
        return self._taken.get(key, 0) >= most or time.monotonic() < self._full_until_s.get(key, 0.0)

    def _digest(self, name: str) -> bytes:
        return hmac.digest(self._key, name.encode("utf-8", "surrogatepass"), "sha256")[:_DIGEST_BYTES]


def _count(counts: OrderedDict[Key, int], key: Key, more: int) -> None:
    """Count up or down; what comes to nothing is forgotten."""
    count = counts.pop(key, 0) + more
    if count > 0:
        _keep(counts, key, count)


def _keep(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    """Remember, and forget whoever has not come for longest where they are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > _REMEMBERED_MAX:
        kept.popitem(last=False)
