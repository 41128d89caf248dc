"""The payment providers of this installation: which one an order goes to, and what is believed of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from emeterai.core.ordering import ChargeState, Seen
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.returning import RefundState
from emeterai.purchase.model import Channel, Charge, ChargeRequest, Order, RefundSeen, Source
from emeterai.purchase.provider import (
    PROVIDER_UNAVAILABLE,
    RETRY_AFTER_S,
    NamesPayments,
    PaymentProvider,
    is_reference,
)
from emeterai.purchase.store import Unworked
from emeterai.web import paths

PROVIDER_UNKNOWN = RefusalKind(
    "provider_unknown",
    404,
    "Penyedia pembayaran ini tidak dikenal; periksa alamatnya.",
    "This payment provider is not known; check the address.",
)
NO_WAY_BACK = "no_way_back"
"""The trouble of a return whose provider is not there any more, or never named the transaction."""
_log = structlog.get_logger(__name__)


class Providers:
    """Several providers in their order of preference; `base_url` is where they and the buyers reach us."""

    def __init__(self, providers: Sequence[PaymentProvider], *, base_url: str) -> None:
        self._providers = {provider.name: provider for provider in providers}
        self._base_url = base_url

    @property
    def preferred(self) -> PaymentProvider:
        """The first provider that is worth asking now, or the first of all when none is."""
        providers = list(self._providers.values())
        return next((provider for provider in providers if provider.is_healthy), providers[0])

    @property
    def has_channels(self) -> bool:
        """Whether one of them collects by channel: then every order has a channel's price, whoever opens its charge."""
        return any(provider.has_channels for provider in self._providers.values())

    def named(self, name: str) -> PaymentProvider:
        """The provider of that name. Raises `provider_unknown`."""
        if name not in self._providers:
            raise PROVIDER_UNKNOWN()
        return self._providers[name]

    async def charge(self, order: Order, *, channel: Channel) -> tuple[str, Charge]:
        """A charge by the order's provider or, when it gives none, by another: nobody has seen a code to pay by yet.

        Raises `provider_unavailable` when none of them gives one.
        """
        providers = sorted(self._providers.values(), key=lambda one: (one.name != order.provider, not one.is_healthy))
        for provider in providers:
            request = ChargeRequest(
                order_id=order.id,
                amount_idr=order.total_idr,
                expires_at=order.expires_at,
                notify_url=f"{self._base_url}/v1/payments/{provider.name}/notifications",
                return_url=f"{self._base_url}{paths.order(order.id)}?kembali=1",
                channel=channel,
            )
            try:
                return provider.name, await provider.create_charge(request)
            except Refused as refused:
                _log.info("charge_refused", order=str(order.id), provider=provider.name, code=refused.code)
        raise PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)

    def can_ask(self, payment: Source) -> bool:
        """Whether there is a transaction, and a provider to ask about it."""
        return self._line_to(payment) is not None

    async def answer(self, order_id: UUID, payment: Source) -> Seen | None:
        """What is said of a transaction now; None when there is nobody to ask. Raises `provider_unavailable`."""
        line = self._line_to(payment)
        return await line[0].status(order_id, line[1]) if line is not None else None

    async def ask(self, order_id: UUID, payment: Source) -> Seen | None:
        """What is said of a transaction now; None when there is nobody to ask, or no answer."""
        try:
            return await self.answer(order_id, payment)
        except Refused as refused:
            _log.info("provider_not_asked", order=str(order_id), provider=payment.provider, code=refused.code)
            return None

    async def believed(self, found: Unworked, order: Order) -> tuple[Seen | None, Source]:
        """What a notice proves or, when it is doubtful or its sender signs too little, what is answered now; by whom.

        Asked is the sender about the transaction that it names, where that is not the order's own charge; otherwise,
        and when there is no money, the order's own provider. None when there is nobody to ask.
        Raises `provider_unavailable` when no answer comes: the notice can wait.
        """
        notice, own = found.notice, order.charge
        provider, told = self._providers.get(found.sender), Source(found.sender, notice.reference)
        is_own = told in {Source(found.sender), own}
        is_more = order.is_more_than_known(notice.seen, told)
        if provider is not None and not is_more and _is_proof(provider, found, is_own=is_own):
            return notice.seen, told
        if provider is not None and told.reference is not None and told != own:
            seen = await provider.status(order.id, told.reference)
            if seen.state in {ChargeState.SETTLED, ChargeState.REVERSED}:
                return seen, told
        return await self.answer(order.id, own), own

    async def charge_of(self, order_id: UUID, payment: Source) -> Source | None:
        """The charge that a payment in a settlement file belongs to; None when there is none, or nobody to ask.

        Raises `provider_unavailable`.
        """
        line = self._line_to(payment)
        if line is None or not isinstance(line[0], NamesPayments):
            return None
        reference = await line[0].charge_of(order_id, line[1])
        return Source(payment.provider, reference) if reference is not None else None

    async def cancel(self, order: Order) -> None:
        """Cancel the charge of an order that ended, if that can be done now."""
        if order.provider_reference is None or order.provider not in self._providers:
            return
        try:
            await self._providers[order.provider].cancel(order.id, order.provider_reference)
        except Refused as refused:
            _log.info("charge_not_cancelled", order=str(order.id), provider=order.provider, code=refused.code)

    async def refund(self, order_id: UUID, payment: Source, *, amount_idr: int, refund_key: str) -> RefundSeen:
        """Have money returned the way it came; asked again with the same key it is returned once.

        Raises `provider_unavailable`; whether it was returned is then unknown.
        """
        line = self._line_to(payment)
        if line is None:
            return RefundSeen(RefundState.IMPOSSIBLE, NO_WAY_BACK)
        provider, reference = line
        said = await provider.refund_status(order_id, reference, refund_key=refund_key)
        if said.state is not RefundState.UNKNOWN:
            return said
        return await provider.refund(order_id, reference, amount_idr=amount_idr, refund_key=refund_key)

    async def refund_status(self, order_id: UUID, payment: Source, *, refund_key: str) -> RefundSeen:
        """What became of a refund; unknown where there is nobody to ask. Raises `provider_unavailable`."""
        line = self._line_to(payment)
        if line is None:
            return RefundSeen(RefundState.UNKNOWN)
        return await line[0].refund_status(order_id, line[1], refund_key=refund_key)

    def _line_to(self, payment: Source) -> tuple[PaymentProvider, str] | None:
        """The provider of a transaction and the transaction's name, which goes into addresses; None for none."""
        provider, reference = self._providers.get(payment.provider), payment.reference
        return (provider, reference) if provider is not None and reference and is_reference(reference) else None


def _is_proof(provider: PaymentProvider, found: Unworked, *, is_own: bool) -> bool:
    """Whether a notice proves what it says: one whose state is not signed only proves money of the order's own charge.

    What ends an order, takes money back or names another transaction is asked about then.
    """
    state = found.notice.state
    is_doubtful = state is ChargeState.SETTLED and found.is_doubtful
    if is_doubtful or not provider.signs_notifications:
        return False
    is_money = state is ChargeState.SETTLED and is_own and not found.was_cancelled
    return provider.signs_states or is_money or state is ChargeState.PENDING
