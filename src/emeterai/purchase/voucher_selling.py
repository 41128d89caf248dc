"""Which stock vouchers are made of, and whether its owner may sell: asked before, and again under the stock's lock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from emeterai.accounts.model import Caller
from emeterai.core.refusal import RefusalKind
from emeterai.infra.database import Connection, Database
from emeterai.purchase.voucher_model import Stock

VOUCHER_STOCK_UNKNOWN = RefusalKind(
    "voucher_stock_unknown",
    403,
    "Anda tidak memegang stok ini. Voucer dibuat dari stok mitra atau akun organisasi; mintalah akses kepada "
    "pengelolanya.",
    "You do not keep this stock. Vouchers are made of a partner's stock or an organisation's account; ask its "
    "administrator for access.",
)
VOUCHER_STOCK_SUSPENDED = RefusalKind(
    "voucher_stock_suspended",
    403,
    "Penjualan dari stok ini sedang dihentikan; voucernya tidak dapat dibuat atau diaktifkan. Hubungi penerbit.",
    "Sales from this stock are suspended; its vouchers can be neither made nor activated. Ask the issuer.",
)
GROUP_NOT_APPROVED = RefusalKind(
    "group_not_approved",
    403,
    "Kelompok ini belum disetujui petugas, jadi belum dapat membuat atau mengaktifkan voucer; mintalah pengelola "
    "layanan memeriksa kelompok Anda.",
    "Staff have not approved this group yet, so it can neither make nor activate vouchers; ask whoever runs the "
    "service to look at your group.",
)
SELLING = (VOUCHER_STOCK_UNKNOWN, VOUCHER_STOCK_SUSPENDED, GROUP_NOT_APPROVED)
"""What `selling` raises."""

StocksOf = Callable[[Caller, Connection | Database], Awaitable[Sequence[Stock]]]
"""The stocks of which somebody may make vouchers, as a connection sees them; the application knows whose they are."""


def selling(stocks: Sequence[Stock], stock_id: UUID | None) -> Stock:
    """The stock that is meant. Raises `voucher_stock_unknown`, `voucher_stock_suspended`, `group_not_approved`."""
    meant = [stock for stock in stocks if stock_id in {None, stock.id}]
    if len(meant) != 1:
        raise VOUCHER_STOCK_UNKNOWN()
    if not meant[0].sells:
        raise (GROUP_NOT_APPROVED if meant[0].is_group else VOUCHER_STOCK_SUSPENDED)()
    return meant[0]
