"""Receipts (bukti pembayaran): what a paid order cost, line by line, in figures and in words."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from emeterai.core.refusal import RefusalKind
from emeterai.infra.settings import Settings
from emeterai.purchase.service import Order, OrderState, Purchase
from emeterai.purchase.tracking import tracking_code
from emeterai.web import formats, paths

RECEIPT_NOT_YET = RefusalKind(
    "receipt_not_yet",
    409,
    "Bukti pembayaran ada setelah pesanan ini lunas; lihat keadaannya di halaman pesanan.",
    "There is a receipt once this order is paid; see its state on the order's page.",
)
_ONES = (
    *("nol", "satu", "dua", "tiga", "empat", "lima", "enam", "tujuh", "delapan", "sembilan", "sepuluh", "sebelas"),
)
_SCALES = ((10**12, "triliun"), (10**9, "miliar"), (10**6, "juta"), (10**3, "ribu"), (100, "ratus"))


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A receipt. It names no person: whoever holds it can have it checked with the order number and the code."""

    number: str
    issuer: str
    order_id: UUID
    order_number: str
    paid_at: datetime
    quantity: int
    duty_each_idr: int
    duty_idr: int
    fee_idr: int
    total_idr: int
    total_in_words: str
    """In Indonesian, as receipts want it."""
    channel: str
    provider: str
    tracking_code: str
    verify_url: str


class Receipts:
    """Gives owners the receipts of their paid orders."""

    def __init__(self, purchase: Purchase, settings: Settings) -> None:
        self._purchase = purchase
        self._settings = settings

    async def receipt(self, account_id: UUID, order_id: UUID) -> Receipt:
        """The receipt of this account's order. Raises `order_unknown`, for other people's too, or `receipt_not_yet`."""
        return receipt_of(await self._purchase.order(account_id, order_id), base_url=self._settings.base_url)


def receipt_of(order: Order, *, base_url: str) -> Receipt:
    """The receipt of an order. Raises `receipt_not_yet`."""
    if order.state is not OrderState.PAID or order.paid_at is None:
        raise RECEIPT_NOT_YET()
    paid_on = order.paid_at.astimezone(formats.ZONES[formats.ZONE_DEFAULT])
    bank = f" {order.code.bank}" if order.code and order.code.bank else ""
    return Receipt(
        number=f"BP-{paid_on:%Y%m%d}-{order.number}",
        issuer=f"emeterai, {urlsplit(base_url).netloc}",
        order_id=order.id,
        order_number=order.number,
        paid_at=order.paid_at,
        quantity=order.quantity,
        duty_each_idr=order.duty_idr // order.quantity,
        duty_idr=order.duty_idr,
        fee_idr=order.fee_idr,
        total_idr=order.total_idr,
        total_in_words=f"{in_words(order.total_idr)} rupiah",
        channel=f"{order.code.channel.label}{bank}" if order.code else "Halaman bayar",
        provider=(order.paid_provider or order.provider).capitalize(),
        tracking_code=tracking_code(order.id, order.payment_transfer),
        verify_url=f"{base_url}{paths.TRACK}?nomor={order.number}",
    )


def in_words(number: int) -> str:
    """A whole number of at most fifteen digits in Indonesian words (terbilang): 25500, dua puluh lima ribu lima ratus.

    Raises ValueError for a number below zero or beyond.
    """
    if not 0 <= number < 10**15:
        raise ValueError(f"{number} is not a number to be written in words")
    return " ".join(_words(number)) or _ONES[0]


def _words(number: int) -> list[str]:
    for scale, name in _SCALES:
        if number >= scale:
            count, rest = divmod(number, scale)
            # One thousand and one hundred are said with "se"; one million is not.
            is_short = count == 1 and scale <= 1_000
            return [*([f"se{name}"] if is_short else [*_words(count), name]), *_words(rest)]
    if number >= 20:
        return [_ONES[number // 10], "puluh", *_words(number % 10)]
    if number >= 12:
        return [_ONES[number - 10], "belas"]
    return [_ONES[number]] if number else []
