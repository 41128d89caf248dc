"""A person's quota in words: why each movement happened, what it changed, and what to do next."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from emeterai.core.ledger import Balance, Kind, Reason
from emeterai.ledger.model import Movement
from emeterai.ledger.service import Ledger
from emeterai.web import paths

_READS_MAX = 3


class HasLedger(Protocol):
    """What the handlers of quota find in the application's `state["services"]`."""

    ledger: Ledger


@dataclass(frozen=True, slots=True)
class Words:
    """A movement in words: why it happened, what to do next, and the page of its subject where that is done."""

    why_id: str
    why_en: str
    next_id: str
    next_en: str
    page_of: Callable[[object], str]


@dataclass(frozen=True, slots=True)
class Line:
    """A movement as a person reads it. `change` and `available_after` are about the available quota, in stamps."""

    movement: Movement
    words: Words
    change: int
    available_after: int

    @property
    def next_url(self) -> str | None:
        """Where to go next; None for a movement about nothing in particular."""
        subject = self.movement.subject
        return None if subject is None else self.words.page_of(subject)


def words_of(reason: str, kind: str = "") -> Words:
    """The words of a coded reason; whoever received quota reads others than who gave it.

    Raises ValueError for a reason that the ledger does not know.
    """
    if kind == Kind.RECEIVE:
        return _RECEIVED[Reason(reason)]
    return _WORDS[Reason(reason)]


def change_of(movement: Movement) -> int:
    """What a movement did to the available quota, in stamps: a held unit that is used changes nothing any more."""
    match Kind(movement.kind):
        case Kind.CREDIT | Kind.RELEASE | Kind.RECEIVE:
            return movement.amount
        case Kind.HOLD | Kind.REFUND | Kind.GIVE:
            return -movement.amount
        case Kind.SETTLE | Kind.MONEY:
            return 0


def change_in_words(change: int) -> tuple[str, str]:
    """One sentence on the available quota, in Indonesian and English."""
    if change == 0:
        return "Kuota tersedia tidak berubah.", "The available quota does not change."
    if change > 0:
        return f"Kuota tersedia bertambah {change}.", f"The available quota grows by {change}."
    return f"Kuota tersedia berkurang {-change}.", f"The available quota shrinks by {-change}."


def lines_of(movements: Iterable[Movement], *, available: int) -> list[Line]:
    """Movements, newest first, as lines; `available` is the available quota after the first of them."""
    lines = []
    for movement in movements:
        change = change_of(movement)
        lines.append(Line(movement, words_of(movement.reason, movement.kind), change, available))
        available -= change
    return lines


async def read_statement(ledger: Ledger, account_id: UUID, *, limit: int) -> tuple[Balance, list[Movement]]:
    """The balance and its newest movements, so that they fit together even while stamps are being made.

    They are two reads: when the balance has moved between them they are made again, three times at most.
    """
    balance = await ledger.balance(account_id)
    for _ in range(_READS_MAX):
        movements = await ledger.history(account_id, limit=limit)
        before, balance = balance, await ledger.balance(account_id)
        if before == balance:
            break
    return balance, movements


def _all_orders(_: object) -> str:
    return paths.ORDERS


def _quota(_: object) -> str:
    return paths.QUOTA


def _upload(_: object) -> str:
    return paths.UPLOAD


_TRY_AGAIN = ("Coba lagi; berkas Anda masih tersimpan", "Try again; your file is still here")
_SEE_ORDER = ("Lihat pesanannya", "See the order")
_SEE_QUOTA = ("Lihat kuota Anda", "See your quota")
_USE_IT = ("Bubuhkan e-meterai pada dokumen Anda", "Affix a stamp to your document")
_WORDS = {
    Reason.PURCHASE: Words(
        "Dibeli: pembayaran Anda sudah kami terima", "Bought: your payment has arrived", *_SEE_ORDER, paths.order
    ),
    Reason.STAMPING: Words(
        "Ditahan untuk membubuhkan satu e-meterai; terpakai atau kembali dalam hitungan detik",
        "Held to affix a stamp; it is used or returns within seconds",
        "Lihat hasilnya",
        "See what became of it",
        paths.stamp,
    ),
    Reason.SEALED: Words(
        "Terpakai: e-meterai sudah ada pada dokumen Anda",
        "Used: the stamp is on your document",
        "Unduh dokumennya",
        "Download the document",
        paths.stamp,
    ),
    Reason.EXPIRED: Words(
        "Kuota Anda sudah kembali: pembubuhan tidak selesai pada waktunya",
        "Your quota is back: the stamping did not finish in time",
        *_TRY_AGAIN,
        paths.stamp,
    ),
    Reason.FILE_REFUSED: Words(
        "Kuota Anda sudah kembali: berkas itu tidak dapat dibubuhi e-meterai",
        "Your quota is back: that file cannot be stamped",
        "Lihat sebabnya, lalu perbaiki berkasnya",
        "See why, then put the file right",
        paths.stamp,
    ),
    Reason.SEALING_FAILED: Words(
        "Kuota Anda sudah kembali: pembubuhan gagal di pihak kami",
        "Your quota is back: the stamping failed on our side",
        *_TRY_AGAIN,
        paths.stamp,
    ),
    Reason.CANCELLED: Words(
        "Kuota Anda sudah kembali: pembubuhan dibatalkan",
        "Your quota is back: the stamping was cancelled",
        "Bubuhkan lagi bila masih diperlukan",
        "Stamp again if you still need it",
        paths.stamp,
    ),
    Reason.RETURNED: Words(
        "Dikembalikan: kuota ini Anda tukar kembali menjadi uang",
        "Handed back: this quota became your money again",
        "Lihat pesanan Anda",
        "See your orders",
        _all_orders,
    ),
    Reason.PAYMENT_SEEN: Words("Pembayaran Anda kami terima", "Your payment has arrived", *_SEE_ORDER, paths.order),
    Reason.DUTY: Words(
        "Bea meterai diteruskan ke kas negara", "The stamp duty goes to the treasury", *_SEE_ORDER, paths.order
    ),
    Reason.FEE: Words("Biaya layanan", "The service fee", *_SEE_ORDER, paths.order),
    Reason.MONEY_BACK: Words(
        "Uang dikembalikan melalui cara bayar Anda semula",
        "Money returned the way you paid",
        *_SEE_ORDER,
        paths.order,
    ),
    Reason.DEPOSIT: Words(
        "Stok bertambah: setoran bea meterai ke kas negara sudah disetujui",
        "Stock grew: a deposit of stamp duty with the treasury was approved",
        "Jual dari stok ini",
        "Sell from this stock",
        _quota,
    ),
    Reason.SOLD: Words("Terjual dari stok ini kepada pembeli", "Sold from this stock to a buyer", *_SEE_QUOTA, _quota),
    Reason.STOCK_MOVED: Words(
        "Stok dipindahkan ke mitra lain oleh penerbit",
        "Stock was moved to another partner by the issuer",
        *_SEE_QUOTA,
        _quota,
    ),
    Reason.VOUCHERS_MADE: Words("Dijadikan voucer untuk dijual", "Made into vouchers to be sold", *_SEE_QUOTA, _quota),
    Reason.VOUCHER_REDEEMED: Words(
        "Voucer ditukar oleh pemegangnya", "A voucher was redeemed by its holder", *_SEE_QUOTA, _quota
    ),
    Reason.VOUCHERS_VOIDED: Words(
        "Voucer dibatalkan: kuotanya kembali ke stok",
        "Vouchers were voided: their quota went back to stock",
        *_SEE_QUOTA,
        _quota,
    ),
    Reason.GRANT_FUNDED: Words(
        "Disisihkan untuk program hibah kepada pelamar",
        "Set aside for a programme of grants to applicants",
        *_SEE_QUOTA,
        _quota,
    ),
    Reason.GRANTED: Words("Dihibahkan kepada seorang pelamar", "Granted to an applicant", *_SEE_QUOTA, _quota),
    Reason.GRANT_RETURNED: Words(
        "Hibah yang tidak dipakai kembali ke lembaga pada tanggal akhirnya",
        "Grants that were not used went back to the agency on their end date",
        *_SEE_QUOTA,
        _quota,
    ),
    Reason.PAID_AGAIN: Words(
        "Pembayaran kedua untuk pesanan yang sama kami terima",
        "A second payment for the same order has arrived",
        *_SEE_ORDER,
        _all_orders,
    ),
    Reason.PAID_OTHER: Words(
        "Pembayaran dengan jumlah lain dari tagihan kami terima",
        "A payment of another sum than was asked has arrived",
        *_SEE_ORDER,
        _all_orders,
    ),
    Reason.DUTY_BACK: Words(
        "Bea meterai ditarik kembali dari kas negara untuk Anda",
        "The stamp duty was taken back from the treasury for you",
        *_SEE_ORDER,
        _all_orders,
    ),
    Reason.FEE_BACK: Words(
        "Biaya layanan dikembalikan untuk Anda", "The service fee was taken back for you", *_SEE_ORDER, _all_orders
    ),
    Reason.TAKEN_BACK: Words(
        "Penyedia pembayaran menarik kembali uang pesanan ini",
        "The payment provider took the money of this order back",
        *_SEE_ORDER,
        _all_orders,
    ),
    Reason.DEPOSIT_PAID: Words(
        "Setoran bea meterai ke kas negara dicatat",
        "A deposit of stamp duty with the treasury was recorded",
        *_SEE_QUOTA,
        _quota,
    ),
}
_RECEIVED = {
    Reason.SOLD: Words("Diterima dari penjual resmi", "Received from an official seller", *_USE_IT, _upload),
    Reason.STOCK_MOVED: Words(
        "Stok dipindahkan kepada Anda oleh penerbit", "Stock was moved to you by the issuer", *_SEE_QUOTA, _quota
    ),
    Reason.VOUCHERS_MADE: Words("Voucer dibuat dari stok", "Vouchers were made of stock", *_SEE_QUOTA, _quota),
    Reason.VOUCHER_REDEEMED: Words("Diterima dari voucer Anda", "Received from your voucher", *_USE_IT, _upload),
    Reason.VOUCHERS_VOIDED: Words(
        "Kembali ke stok dari voucer yang dibatalkan",
        "Back in stock from vouchers that were voided",
        *_SEE_QUOTA,
        _quota,
    ),
    Reason.GRANT_FUNDED: Words(
        "Dana program hibah bertambah", "The programme of grants was funded", *_SEE_QUOTA, _quota
    ),
    Reason.GRANTED: Words(
        "Diterima sebagai hibah dari lembaga", "Received as a grant from an agency", *_USE_IT, _upload
    ),
    Reason.GRANT_RETURNED: Words(
        "Hibah yang tidak dipakai kembali kepada Anda",
        "Grants that were not used came back to you",
        *_SEE_QUOTA,
        _quota,
    ),
}
"""What passes between accounts, as whoever received it reads it."""
