"""The payment providers of this installation: which one an order goes to, and what is believed of what they say."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from emeterai.core.ordering import ChargeState, Seen
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.returning import RefundState
from emeterai.purchase.model import Charge, ChargeRequest, Notice, Order, RefundSeen, Source
from emeterai.purchase.provider import PROVIDER_UNAVAILABLE, RETRY_AFTER_S, PaymentProvider
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
    def preferred(self) -> str:
        """The name of the first provider that is worth asking now, or of the first of all when none is."""
        names = [name for name, provider in self._providers.items() if provider.is_healthy]
        return (names or list(self._providers))[0]

    def named(self, name: str) -> PaymentProvider:
        """The provider of that name. Raises `provider_unknown`."""
        if name not in self._providers:
            raise PROVIDER_UNKNOWN()
        return self._providers[name]

    async def charge(self, order: Order) -> tuple[str, Charge]:
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
                wanted=order.wanted_channel,
            )
            try:
                return provider.name, await provider.create_charge(request)
            except Refused as refused:
                _log.info("charge_refused", order=str(order.id), provider=provider.name, code=refused.code)
        raise PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)

    def can_ask(self, payment: Source) -> bool:
        """Whether there is a transaction, and a provider to ask about it."""
        return payment.reference is not None and payment.provider in self._providers

    async def ask(self, order_id: UUID, payment: Source) -> Seen | None:
        """What is said of a transaction now; None when there is nobody to ask, or no answer."""
        if payment.reference is None or not self.can_ask(payment):
            return None
        try:
            return await self._providers[payment.provider].status(order_id, payment.reference)
        except Refused as refused:
            _log.info("provider_not_asked", order=str(order_id), provider=payment.provider, code=refused.code)
            return None

    async def believed(
        self, sender: str, notice: Notice, order: Order, *, doubtful: bool
    ) -> tuple[Seen | None, Source]:
        """What a notice proves or, when it is doubtful or its sender signs none, what is answered now; and by whom.

        Asked is the sender about the transaction that it names, where that is not the order's own charge; otherwise,
        and when there is no money, the order's own provider. None when there is nobody to ask.
        Raises `provider_unavailable` when no answer comes: the notice can wait.
        """
        provider, told = self._providers.get(sender), Source(sender, notice.reference)
        own = order.charge
        doubtful = doubtful or order.is_more_than_known(notice.seen, told)
        if provider is not None and provider.signs_notifications and not doubtful:
            return notice.seen, told
        if provider is not None and told.reference is not None and told != own:
            seen = await provider.status(order.id, told.reference)
            if seen.state in {ChargeState.SETTLED, ChargeState.REVERSED}:
                return seen, told
        answer = await self.ask(order.id, own)
        if answer is None and self.can_ask(own):
            raise PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)
        return answer, own

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
        provider = self._providers.get(payment.provider)
        if provider is None or payment.reference is None:
            return RefundSeen(RefundState.IMPOSSIBLE, NO_WAY_BACK)
        said = await provider.refund_status(order_id, payment.reference, refund_key=refund_key)
        if said.state is not RefundState.UNKNOWN:
            return said
        return await provider.refund(order_id, payment.reference, amount_idr=amount_idr, refund_key=refund_key)

    async def refund_status(self, order_id: UUID, payment: Source, *, refund_key: str) -> RefundSeen:
        """What is known of a refund; unknown where nobody can be asked or answers."""
        provider = self._providers.get(payment.provider)
        if provider is None or payment.reference is None:
            return RefundSeen(RefundState.UNKNOWN)
        try:
            return await provider.refund_status(order_id, payment.reference, refund_key=refund_key)
        except Refused:
            return RefundSeen(RefundState.UNKNOWN)
