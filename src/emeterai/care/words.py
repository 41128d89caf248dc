"""The sentences of an order's life: what happened, what is awaited, and what happens by when."""

from __future__ import annotations

from datetime import datetime

import msgspec

from emeterai.core.ordering import OrderState
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.purchase.tracking import OrderLife, TrackedReturn
from emeterai.web.formats import ZONE_DEFAULT, ZONES, moment


class Step(msgspec.Struct, frozen=True):
    """Something that happened: `at` is when; times in `id` and `en` are WIB."""

    at: datetime
    id: str
    en: str


class Awaited(msgspec.Struct, frozen=True):
    """Something that comes next: `by` is when at the latest, None where nobody can say."""

    by: datetime | None
    id: str
    en: str


_CAUSES = {
    ReturnCause.PAID_AGAIN: ("Pesanan ini dibayar lebih dari sekali", "This order was paid more than once"),
    ReturnCause.AMOUNT_DIFFERS: ("Uang yang masuk berbeda dari tagihan", "The money that came differs from the bill"),
    ReturnCause.NO_QUOTA_IN_TIME: (
        "Uang terlihat tetapi belum menjadi kuota pada waktunya",
        "Money was seen and did not become quota in time",
    ),
    ReturnCause.QUOTA_RETURNED: ("Kuota ditukar kembali menjadi uang", "Quota was handed back for money"),
}


def headline_of(life: OrderLife) -> Step:
    """The one sentence that people came for."""
    seen_at = life.money_seen_at
    match life.state:
        case OrderState.PAID if seen_at is not None and life.paid_at is not None:
            return _step(
                life.paid_at,
                "Uang terlihat {seen}, kuota diberikan {paid}.",
                "Money seen {seen}, quota given {paid}.",
                seen=seen_at,
                paid=life.paid_at,
            )
        case OrderState.QUARANTINED if seen_at is not None:
            return _step(
                seen_at,
                "Uang terlihat {seen}, tetapi berbeda dari tagihan.",
                "Money seen {seen}, but it differs from the bill.",
                seen=seen_at,
            )
        case OrderState.AWAITING_PAYMENT if life.is_told and life.told_at is not None:
            return _step(
                life.told_at,
                "Kabar pembayaran tiba {told}; kuota menyusul.",
                "News of the payment came {told}; the quota follows.",
                told=life.told_at,
            )
        case OrderState.AWAITING_PAYMENT:
            return Step(life.created_at, "Belum ada uang yang terlihat.", "No money has been seen yet.")
        case OrderState.CANCELLED:
            return _step(
                life.changed_at,
                "Pesanan dibatalkan {at}; tidak ada uang yang terlihat.",
                "The order was cancelled {at}; no money was seen.",
                at=life.changed_at,
            )
    return _step(
        life.expires_at,
        "Waktu pesanan lewat {at}; tidak ada uang yang terlihat.",
        "The order\u2019s time was over {at}; no money was seen.",
        at=life.expires_at,
    )


def steps_of(life: OrderLife) -> list[Step]:
    """What happened, in order; each sentence stands beside its time."""
    known = [
        (life.created_at, "Pesanan dibuat", "Order made"),
        (life.told_at, "Kabar pembayaran tiba", "News of the payment came"),
        (life.money_seen_at, "Uang terlihat", "Money seen"),
        (life.paid_at, "Kuota diberikan", "Quota given"),
    ]
    if life.state is OrderState.EXPIRED:
        known.append((life.expires_at, "Waktu pesanan lewat", "The order\u2019s time was over"))
    if life.state is OrderState.CANCELLED:
        known.append((life.changed_at, "Pesanan dibatalkan", "Order cancelled"))
    for back in life.returns:
        known += _steps_back(back)
    return sorted((Step(at, id_, en) for at, id_, en in known if at is not None), key=lambda step: step.at)


def awaited_of(life: OrderLife) -> list[Awaited]:
    """What comes next, and by when."""
    awaited = [_next(back) for back in life.returns if back.ended_at is None]
    if life.state is OrderState.AWAITING_PAYMENT and life.is_told:
        awaited.append(
            Awaited(
                None,
                "Kabar itu sedang dikerjakan, biasanya beberapa detik. Jangan membayar lagi.",
                "The news is being worked on, usually within seconds. Do not pay again.",
            )
        )
    elif life.state is OrderState.AWAITING_PAYMENT:
        awaited.append(
            _by(life.expires_at, "Kami menunggu pembayaran sampai {at}.", "We wait for the payment until {at}.")
        )
    if life.next_check_at is not None and life.money_seen_at is None:
        awaited.append(
            _by(
                life.next_check_at,
                "Kami juga bertanya sendiri kepada penyedia pembayaran, berikutnya {at}. Uang yang terlihat menjadi "
                "kuota, juga bila terlambat.",
                "We also ask the payment provider ourselves, next at {at}. Money that is seen becomes quota, "
                "even late.",
            )
        )
    return awaited


def _steps_back(back: TrackedReturn) -> list[tuple[datetime | None, str, str]]:
    cause_id, cause_en = _CAUSES[back.cause]
    ended = (
        ("Uang menjadi kuota", "The money became quota")
        if back.state is ReturnState.CREDITED
        else ("Uang sudah dikembalikan", "The money has been returned")
    )
    return [
        (back.created_at, cause_id, cause_en),
        (back.asked_at, "Pengembalian uang diminta kepada penyedia", "The provider was asked to return the money"),
        (back.ended_at, *ended),
    ]


def _next(back: TrackedReturn) -> Awaited:
    match back.state:
        case ReturnState.UNDECIDED if back.due_at is not None:
            return _by(
                back.due_at,
                "Petugas memutuskan; tanpa keputusan, pengembalian uang dimulai sendiri {at}.",
                "Staff decide; without a decision the return of the money begins by itself at {at}.",
            )
        case ReturnState.NEEDS_CARE:
            return Awaited(
                None,
                "Petugas mengembalikan uang itu dengan cara lain dan dapat menghubungi Anda.",
                "Staff return the money in another way and may contact you.",
            )
    return Awaited(
        None,
        "Uang sedang dikembalikan oleh penyedia pembayaran; lamanya tergantung bank.",
        "The payment provider is returning the money; how long it takes depends on the bank.",
    )


def _by(at: datetime, indonesian: str, english: str) -> Awaited:
    said = _step(at, indonesian, english, at=at)
    return Awaited(at, said.id, said.en)


def _step(on: datetime, indonesian: str, english: str, **times: datetime) -> Step:
    """A step whose sentences name times: the first one whole, those of the same day by the clock only."""
    return Step(on, indonesian.format(**_told(times, "id")), english.format(**_told(times, "en")))


def _told(times: dict[str, datetime], language: str) -> dict[str, str]:
    zone = ZONES[ZONE_DEFAULT]
    told: dict[str, str] = {}
    for name, at in times.items():
        whole = moment(at, ZONE_DEFAULT, language)
        days = {each.astimezone(zone).date() for each in times.values()}
        told[name] = " ".join(whole.split()[-2:]) if told and len(days) == 1 else whole
    return told
