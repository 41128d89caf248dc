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


def words_of(reason: str) -> Words:
    """The words of a coded reason. Raises ValueError for one that the ledger does not know."""
    return _WORDS[Reason(reason)]


def change_of(movement: Movement) -> int:
    """What a movement did to the available quota, in stamps: a held unit that is used changes nothing any more."""
    match Kind(movement.kind):
        case Kind.CREDIT | Kind.RELEASE:
            return movement.amount
        case Kind.HOLD | Kind.REFUND:
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
        lines.append(Line(movement, words_of(movement.reason), change, available))
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


_TRY_AGAIN = ("Coba lagi; berkas Anda masih tersimpan", "Try again; your file is still here")
_SEE_ORDER = ("Lihat pesanannya", "See the order")
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
}
