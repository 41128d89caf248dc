"""The pages of the tracker, of receipts and of the official-seller check: key, template, context, signed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from sample_values import AT, HOSTILE, ID, LATER

from emeterai.care.service import TRACK_UNMATCHED, Tracked
from emeterai.care.settlement_pages import result_shown
from emeterai.care.words import awaited_of, headline_of, steps_of
from emeterai.core.ordering import OrderState
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.purchase.qr_picture import qr_of
from emeterai.purchase.receipts import Receipt, in_words
from emeterai.purchase.settlement_files import LineOutcome, LoadReport, MissingOrder, NotedLine, Total
from emeterai.purchase.tracking import OrderLife, TrackedReturn
from emeterai.verify.sellers import SELLER_MISTYPED, Seller, SellerAnswer
from emeterai.web.forms import FieldError, Form

UNMATCHED, MISTYPED = TRACK_UNMATCHED(), SELLER_MISTYPED(length_max=120)
RECEIPT = Receipt(
    number="BP-20261121-4F7K-2M9Q",
    issuer="emeterai, meterai.example",
    order_id=ID,
    order_number="4F7K-2M9Q",
    paid_at=AT,
    quantity=20,
    duty_each_idr=10_000,
    duty_idr=200_000,
    fee_idr=50_000,
    total_idr=250_000,
    total_in_words=f"{in_words(250_000)} rupiah",
    channel="Virtual account BNI",
    provider="Midtrans",
    tracking_code="0417",
    verify_url="https://meterai.example/lacak?nomor=4F7K-2M9Q",
)
SELLER = Seller(id=ID, name="Kantor Pos Gambir", contact="0812-3456-7890, pos.example", is_official=True, since=AT)
STOPPED = Seller(id=ID, name=f"Toko {HOSTILE}", contact=HOSTILE, is_official=False, since=AT)
NOTED = [
    NotedLine(line, outcome, "4F7K-2M9Q", HOSTILE, HOSTILE)
    for line, outcome in enumerate((LineOutcome.QUARANTINED, LineOutcome.UNKNOWN_ORDER, LineOutcome.UNREADABLE), 2)
]
REPORT = LoadReport(
    digest="00" * 32,
    provider="midtrans",
    dry_run=True,
    again=False,
    lines=1_204,
    totals=[Total(outcome, 100, Decimal("1040000.00")) for outcome in LineOutcome],
    noted=NOTED * 80,
    first_day=date(2026, 11, 21),
    last_day=date(2026, 11, 21),
    missing_count=60,
    missing=[MissingOrder(ID, 52_000, AT, None)] * 60,
)
SETTLING: dict[str, Any] = {
    "form": Form(),
    "providers": [("midtrans", "Midtrans"), ("xendit", "Xendit")],
    "size_mb_max": 8,
    "result": None,
}
CHECK: dict[str, Any] = {"form": Form({"penjual": HOSTILE}), "answer": None, "length_max": 120, "checked_at": AT}


@dataclass(frozen=True)
class Life:
    """An order in one situation, as the tracker shows it."""

    state: OrderState
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def context(self) -> dict[str, Any]:
        """What the page gets."""
        known = {"told_at": None, "is_told": False, "paid_at": None, "next_check_at": None, **self.facts}
        life = OrderLife(state=self.state, created_at=AT, expires_at=LATER, changed_at=AT, **known)
        told = {"headline": headline_of(life), "steps": steps_of(life), "awaited": awaited_of(life)}
        return {"tracked": Tracked(number="4F7K-2M9Q", state=life.state, **told)}


def back(state: ReturnState, **times: Any) -> TrackedReturn:
    """Money on its way back."""
    known = {"due_at": None, "created_at": AT, "asked_at": None, "ended_at": None}
    return TrackedReturn(cause=ReturnCause.AMOUNT_DIFFERS, state=state, **{**known, **times})


SOON = AT + timedelta(minutes=3)
PAID = Life(OrderState.PAID, {"told_at": AT, "paid_at": SOON})
OPEN = Life(OrderState.AWAITING_PAYMENT, {"next_check_at": SOON})
TOLD = Life(OrderState.AWAITING_PAYMENT, {"told_at": AT, "is_told": True, "next_check_at": SOON})
EXPIRED = Life(OrderState.EXPIRED, {"next_check_at": SOON})
DIFFERS = Life(OrderState.QUARANTINED, {"returns": [back(ReturnState.UNDECIDED, due_at=LATER)]})
RETURNED = Life(
    OrderState.QUARANTINED,
    {"returns": [back(ReturnState.RETURNED, asked_at=AT, ended_at=SOON), back(ReturnState.NEEDS_CARE)]},
)

CARE: list[tuple[str, str, dict[str, Any], bool]] = [
    ("track", "care/track.html", {"form": Form({"number": "4F7K-2M9Q"})}, False),
    (
        "track_unmatched",
        "care/track.html",
        {"form": Form({"number": HOSTILE}, (FieldError("number", UNMATCHED.id, UNMATCHED.en),))},
        False,
    ),
    ("tracked_paid", "care/tracked.html", PAID.context, False),
    ("tracked_open", "care/tracked.html", OPEN.context, False),
    ("tracked_told", "care/tracked.html", TOLD.context, False),
    ("tracked_expired", "care/tracked.html", EXPIRED.context, False),
    ("tracked_cancelled", "care/tracked.html", Life(OrderState.CANCELLED).context, False),
    ("tracked_differs", "care/tracked.html", DIFFERS.context, False),
    ("tracked_returned", "care/tracked.html", RETURNED.context, False),
    ("receipt", "purchase/receipt.html", {"receipt": RECEIPT}, True),
    ("settlements", "care/settlements.html", SETTLING, True),
    (
        "settlements_none",
        "care/settlements.html",
        {**SETTLING, "form": Form({}, (FieldError("file", MISTYPED.id, MISTYPED.en),))},
        True,
    ),
    ("settlements_looked_at", "care/settlements.html", {**SETTLING, "result": result_shown(REPORT)}, True),
    (
        "settlements_loaded",
        "care/settlements.html",
        {**SETTLING, "result": result_shown(msgspec.structs.replace(REPORT, dry_run=False))},
        True,
    ),
    ("sellers", "verify/sellers.html", {**CHECK, "form": Form()}, False),
    (
        "sellers_mistyped",
        "verify/sellers.html",
        {**CHECK, "form": Form({"penjual": "x"}, (FieldError("penjual", MISTYPED.id, MISTYPED.en),))},
        False,
    ),
    (
        "sellers_official",
        "verify/sellers.html",
        {**CHECK, "answer": SellerAnswer(asked="x", sellers=[SELLER], similar=[])},
        False,
    ),
    (
        "sellers_similar",
        "verify/sellers.html",
        {**CHECK, "answer": SellerAnswer(asked="x", sellers=[], similar=[SELLER, STOPPED])},
        False,
    ),
    (
        "sellers_stopped",
        "verify/sellers.html",
        {**CHECK, "answer": SellerAnswer(asked="x", sellers=[STOPPED], similar=[])},
        False,
    ),
    (
        "seller",
        "verify/seller.html",
        {"seller": SELLER, "qr": qr_of("https://meterai.example/penjual/1"), "address": "x", "checked_at": AT},
        False,
    ),
    (
        "seller_stopped",
        "verify/seller.html",
        {"seller": STOPPED, "qr": qr_of("https://meterai.example/penjual/2"), "address": "x", "checked_at": AT},
        False,
    ),
]
