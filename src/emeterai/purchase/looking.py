"""Looking at one transaction of an order at its provider, and doing what follows from the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from emeterai.core.ordering import Seen
from emeterai.core.refusal import Refused
from emeterai.infra.database import Database
from emeterai.purchase import cases_store, store
from emeterai.purchase.model import Order, Source
from emeterai.purchase.providers import Providers
from emeterai.purchase.returns_model import CaseKind
from emeterai.purchase.settling import UNCHANGED

ApplySeen = Callable[[UUID, Seen, Source], Awaitable[tuple[Order, str]]]


class Looking:
    """Asks about money. `apply_seen` does what follows from an answer, and says what it was."""

    def __init__(self, db: Database, providers: Providers, *, apply_seen: ApplySeen) -> None:
        self._db = db
        self._providers = providers
        self._apply_seen = apply_seen

    async def look_at(self, order_id: UUID, charge: Source) -> str:
        """Ask about one charge of an order, its own or another, and do what follows; `unchanged` with nobody to ask.

        Raises `provider_unavailable`.
        """
        seen = await self._providers.answer(order_id, charge)
        return (await self._apply_seen(order_id, seen, charge))[1] if seen is not None else UNCHANGED

    async def look_at_payments(self, order_id: UUID, provider: str, payments: tuple[str, str]) -> str:
        """Look at a further payment of an order, as a settlement file names it, after the one that a file named first.

        Both are looked at, since either may be the one that is known by its charge. Gives what became of the further
        one. Where nobody answers, or both are of one charge, it is a case: a file is loaded once.
        """
        try:
            first, further = [await self._providers.charge_of(order_id, Source(provider, one)) for one in payments]
            if first is None or further is None:
                return await self._open_case(CaseKind.NO_ANSWER, order_id, Source(provider, payments[1]))
            order = await store.order_by_id(self._db, order_id)
            if first == further or (order is not None and order.payment(first) == order.payment(further)):
                return await self._open_case(CaseKind.CONTRADICTED, order_id, further)
            await self.look_at(order_id, first)
            return await self.look_at(order_id, further)
        except Refused:
            return await self._open_case(CaseKind.NO_ANSWER, order_id, Source(provider, payments[1]))

    async def _open_case(self, kind: CaseKind, order_id: UUID, payment: Source) -> str:
        async with self._db.transaction() as tx:
            await cases_store.insert_case(tx, kind, order_id, payment)
        return kind.value
