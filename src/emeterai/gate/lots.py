"""What a lot in the draw costs: an account, or one of the few that an address may take without one.

Before the draw the number that a person takes is a lot. Numbers cost nothing, so a program would take thousands of
them from one address; an account costs a sign-up, which has a budget of its own. Counted in the database, the same for
all web processes; while that is away each process counts for itself.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict

from emeterai.core.refusal import Refused
from emeterai.gate import lot_store
from emeterai.gate.addresses import networks_of
from emeterai.infra.database import Database
from emeterai.infra.interruption import INTERRUPTIONS

LOTS_MAX = 3
"""So many lots one address may take without an account: a household's. Whoever signs in needs none of them."""
_DIGEST_BYTES = 12
_REMEMBERED_MAX = 50_000


class Lots:
    """The lots that addresses took without an account. `secret` is this installation's. What a process remembers is of
    one draw: the next one of the same lane begins anew.
    """

    def __init__(self, db: Database, secret: bytes) -> None:
        self._db = db
        self._key = hmac.digest(secret, b"gate lots", "sha256")
        self._taken: OrderedDict[tuple[str, str, bytes], int] = OrderedDict()

    async def take(self, lane: str, address: str, *, draw: str) -> bool:
        """Whether one more lot in this draw of a lane may go to this address, and to the block that it is of."""
        asked = [(self._digest(name), times * LOTS_MAX) for name, times in networks_of(address)]
        if any(self._taken.get((lane, draw, network), 0) >= most for network, most in asked):
            return False
        for network, _ in asked:
            self._count((lane, draw, network), 1)
        try:
            full = await lot_store.take_lot(self._db, lane, asked)
        except (Refused, *INTERRUPTIONS):
            return True
        if full is None:
            return True
        self._count((lane, draw, full), dict(asked)[full])  # nobody need ask the database for it again
        return False

    def _digest(self, name: str) -> bytes:
        return hmac.digest(self._key, name.encode("utf-8", "surrogatepass"), "sha256")[:_DIGEST_BYTES]

    def _count(self, key: tuple[str, str, bytes], more: int) -> None:
        self._taken[key] = self._taken.get(key, 0) + more
        self._taken.move_to_end(key)
        if len(self._taken) > _REMEMBERED_MAX:
            self._taken.popitem(last=False)
