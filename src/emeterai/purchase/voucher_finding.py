"""From what was typed to the voucher: mistakes are told at once, guesses are counted and then refused for a while.

A mistyped code is found by its check character, without a look into the table; it is not counted, since it tells nobody
anything. A well formed code that leads nowhere is counted, for the account and for the address, and whether it ever
existed, or belongs to somebody else's batch, is not told.
"""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from emeterai.accounts.guesses import guess_key
from emeterai.core.refusal import RefusalKind
from emeterai.core.voucher_code import is_code, tidy_code
from emeterai.infra.database import Database
from emeterai.purchase import voucher_store as store
from emeterai.purchase.voucher_model import Voucher
from emeterai.purchase.voucher_secrets import VoucherSecrets

VOUCHER_MISTYPED = RefusalKind(
    "voucher_mistyped",
    422,
    "Ada huruf atau angka yang keliru. Bandingkan lagi dengan 16 huruf dan angka pada voucer Anda, lalu ketik ulang.",
    "A letter or digit is wrong. Compare it with the 16 letters and digits on your voucher, then type it again.",
)
VOUCHER_UNKNOWN = RefusalKind(
    "voucher_unknown",
    404,
    "Kode ini tidak kami kenal. Tanyakan kepada penjual voucernya, dan belilah hanya dari penjual resmi.",
    "We do not know this code. Ask whoever sold you the voucher, and buy from official sellers only.",
)
VOUCHER_TRIES_OVER = RefusalKind(
    "voucher_tries_over",
    429,
    "Terlalu banyak kode yang tidak dikenal. Tunggu {minutes} menit, lalu coba lagi; voucer Anda tetap berlaku.",
    "Too many codes that we do not know. Wait {minutes} minutes, then try again; your voucher stays good.",
)

TRIES_OF_ACCOUNT_MAX = 10
TRIES_OF_ADDRESS_MAX = 100
"""Many people share one address, at a school or behind a telephone company."""
TRIES_WINDOW_S = 900


async def find_voucher(
    db: Database,
    secrets: VoucherSecrets,
    typed: str,
    *,
    account_id: UUID,
    address: str,
    stocks: Collection[UUID] | None = None,
) -> Voucher:
    """The voucher of a code, of one of `stocks` where they are given.

    Raises `voucher_mistyped`, `voucher_tries_over`, `voucher_unknown`.
    """
    code = tidy_code(typed)
    if not is_code(code):
        raise VOUCHER_MISTYPED()
    limits = _limits(account_id, address)
    async with db.transaction() as tx:
        left_s = await store.pause_left(tx, list(limits), list(limits.values()))
        if left_s:
            raise VOUCHER_TRIES_OVER(retry_after_s=left_s, minutes=-(-left_s // 60))
        voucher = await store.voucher_by_digest(tx, secrets.digest(code))
        if voucher is not None and (stocks is None or voucher.stock_id in stocks):
            return voucher
        await store.count_wrong(tx, list(limits), window_s=TRIES_WINDOW_S)
    raise VOUCHER_UNKNOWN()


def _limits(account_id: UUID, address: str) -> dict[bytes, int]:
    """How many wrong codes each of these may give; in the order in which everybody counts them."""
    limits = {
        guess_key(f"voucher {account_id}", ""): TRIES_OF_ACCOUNT_MAX,
        guess_key("voucher", address): TRIES_OF_ADDRESS_MAX,
    }
    return dict(sorted(limits.items()))
