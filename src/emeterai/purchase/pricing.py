"""What an order costs by each channel, and how much one payment may carry: settings, applied when it is placed."""

from __future__ import annotations

import msgspec

from emeterai.core.ordering import Price, channel_fee, order_price
from emeterai.core.refusal import RefusalKind
from emeterai.infra.settings import Settings
from emeterai.purchase.model import Channel, Order

ORDER_CHANNEL_INVALID = RefusalKind(
    "order_channel_invalid",
    422,
    "Jumlah ini terlalu besar untuk {channel} (paling banyak Rp{amount_max}); pilih cara membayar lain, atau pesan "
    "lebih sedikit.",
    "This amount is too large for {channel} (at most Rp{amount_max}); choose another way to pay, or order fewer.",
)


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What an order costs by one channel: `price` is all of it, and its fee holds `channel_fee_idr`.

    `amount_idr_max` is the most that one payment may carry; 0 for no limit.
    """

    channel: Channel
    price: Price
    channel_fee_idr: int
    amount_idr_max: int

    @property
    def fits(self) -> bool:
        """Whether one payment may carry it."""
        return not self.amount_idr_max or self.price.total_idr <= self.amount_idr_max

    def check(self) -> None:
        """Raise `order_channel_invalid` when one payment may not carry it."""
        if not self.fits:
            raise ORDER_CHANNEL_INVALID(channel=self.channel.label, amount_max=self.amount_idr_max)


class Pricing:
    """The prices and limits of an installation. QRIS comes first wherever nobody wishes otherwise."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._limits_idr = {
            Channel.QRIS: settings.qris_amount_idr_max,
            Channel.VIRTUAL_ACCOUNT: settings.virtual_account_amount_idr_max,
        }

    def plain(self, quantity: int) -> Price:
        """What so many stamps cost before a channel adds its fee."""
        return order_price(quantity, duty_idr=self._settings.duty_idr, fee_idr=self._settings.fee_idr)

    def quotes(self, quantity: int, *, has_channels: bool) -> list[Quote]:
        """The price by each channel; where no provider has channels each costs the plain price."""
        plain = self.plain(quantity)
        return [self._quote(channel, plain, has_channels=has_channels) for channel in Channel]

    def quote(self, quantity: int, wanted: Channel | None, *, has_channels: bool) -> Quote:
        """The price by the channel that is wanted; without a wish by the first that carries it.

        Where none does it is that of the channel that carries most: its limit is the one to be told.
        """
        quotes = self.quotes(quantity, has_channels=has_channels)
        if wanted is not None:
            return next(quote for quote in quotes if quote.channel is wanted)
        return next((quote for quote in quotes if quote.fits), max(quotes, key=lambda quote: quote.amount_idr_max))

    def channel_of(self, order: Order) -> Channel:
        """How an order is to be paid. One that was placed with that left open goes by what its amount allows."""
        if order.wanted_channel is not None:
            return order.wanted_channel
        limit_idr = self._limits_idr[Channel.QRIS]
        return Channel.QRIS if not limit_idr or order.total_idr <= limit_idr else Channel.VIRTUAL_ACCOUNT

    def _quote(self, channel: Channel, plain: Price, *, has_channels: bool) -> Quote:
        fee_idr = 0
        if has_channels and channel is Channel.QRIS:
            fee_idr = channel_fee(plain, flat_idr=0, bps=self._settings.qris_fee_bps)
        elif has_channels:
            fee_idr = channel_fee(plain, flat_idr=self._settings.virtual_account_fee_idr, bps=0)
        return Quote(
            channel=channel,
            price=plain.with_fee(fee_idr),
            channel_fee_idr=fee_idr,
            amount_idr_max=self._limits_idr[channel],
        )
