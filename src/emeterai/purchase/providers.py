"""The payment providers of this installation: which one an order goes to, and what is believed of what they say."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from emeterai.core.ordering import Seen
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.purchase.model import Charge, ChargeRequest, Notice, Order
from emeterai.purchase.provider import PROVIDER_UNAVAILABLE, RETRY_AFTER_S, PaymentProvider
from emeterai.web import paths

PROVIDER_UNKNOWN = RefusalKind(
    "provider_unknown",
    404,
    "Penyedia pembayaran ini tidak dikenal; periksa alamatnya.",
    "This payment provider is not known; check the address.",
)
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
            )
            try:
                return provider.name, await provider.create_charge(request)
            except Refused as refused:
                _log.info("charge_refused", order=str(order.id), provider=provider.name, code=refused.code)
        raise PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)

    def can_ask(self, order: Order) -> bool:
        """Whether there is a charge, and a provider to ask about it."""
        return order.provider_reference is not None and order.provider in self._providers

    async def ask(self, order: Order) -> Seen | None:
        """What the order's provider says now; None when there is nobody to ask, or no answer."""
        if order.provider_reference is None or not self.can_ask(order):
            return None
        try:
            return await self._providers[order.provider].status(order.id, order.provider_reference)
        except Refused as refused:
            _log.info("provider_not_asked", order=str(order.id), provider=order.provider, code=refused.code)
            return None

    async def believed(self, sender: str, notice: Notice, order: Order, *, doubtful: bool) -> Seen | None:
        """What a notice proves or, when it is doubtful or its sender signs none, what the order's provider answers now.

        None when there is nobody to ask. Raises `provider_unavailable` when no answer comes: the notice can wait.
        """
        provider = self._providers.get(sender)
        if provider is not None and provider.signs_notifications and not doubtful:
            return notice.seen
        seen = await self.ask(order)
        if seen is None and self.can_ask(order):
            raise PROVIDER_UNAVAILABLE(retry_after_s=RETRY_AFTER_S)
        return seen
