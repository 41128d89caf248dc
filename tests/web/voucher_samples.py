"""The pages of vouchers in every situation: key, template, context, and whether somebody is signed in."""

from __future__ import annotations

from typing import Any

from sample_values import AT, HOSTILE, ID, KEY, LATER

from emeterai.core.voucher_code import VoucherState
from emeterai.purchase.voucher_finding import VOUCHER_MISTYPED
from emeterai.purchase.voucher_model import Batch, Counts, Redemption, Span, Voiding
from emeterai.purchase.vouchers import VOUCHER_BATCH_INVALID, VOUCHER_VOIDING_UNCONFIRMED
from emeterai.web.forms import FieldError, Form

BATCH = Batch(
    id=ID,
    stock_id=ID,
    label=HOSTILE,
    vouchers=2_400,
    units=1_000,
    counts=Counts(made=1_200, active=600, redeemed=599, void=1),
    codes_until=LATER,
    downloads=2,
    first_downloaded_at=AT,
    created_at=AT,
)
SPANS = [
    Span(1, 600, VoucherState.ACTIVE),
    Span(601, 1_199, VoucherState.REDEEMED),
    Span(1_200, 1_200, VoucherState.VOID),
]
MISTYPED = VOUCHER_MISTYPED()
INVALID = VOUCHER_BATCH_INVALID(vouchers_max=2_400, units_max=1_000)
UNCONFIRMED = VOUCHER_VOIDING_UNCONFIRMED()
WRONG_CODE = Form({"code": "7K2M-Q9XR"}, (FieldError("code", MISTYPED.id, MISTYPED.en),))
REDEEM = {"form": Form(), "sells": False, "idempotency_key": KEY}
ONE = {
    "batch": BATCH,
    "spans": SPANS,
    "voidings": [],
    "form": Form(),
    "activated": None,
    "voided": None,
    "idempotency_key": KEY,
}
STOCK = {"id": ID, "name": HOSTILE, "available": 12_000}
MANY = {
    "form": Form(),
    "stocks": [STOCK],
    "batches": [BATCH],
    "vouchers_max": 2_400,
    "units_max": 1_000,
    "idempotency_key": KEY,
    "newer_url": None,
    "older_url": "/voucher/paket?before=a",
}
DONE = {"number": 17, "batch": BATCH.number, "units": 5, "again": False}

VOUCHERS: list[tuple[str, str, dict[str, Any], bool]] = [
    ("voucher", "purchase/voucher.html", REDEEM, True),
    ("voucher_seller", "purchase/voucher.html", {**REDEEM, "sells": True, "form": WRONG_CODE}, True),
    ("voucher_anyone", "purchase/voucher.html", REDEEM, False),
    (
        "voucher_redeemed",
        "purchase/voucher_redeemed.html",
        {"redemption": Redemption(id=ID, units=5, redeemed_at=AT), "available": 12},
        True,
    ),
    ("voucher_batches", "purchase/voucher_batches.html", MANY, True),
    (
        "voucher_batches_errors",
        "purchase/voucher_batches.html",
        {
            **MANY,
            "batches": [],
            "stocks": [STOCK, {**STOCK, "id": KEY}],
            "form": Form({"vouchers": "9999"}, (FieldError("vouchers", INVALID.id, INVALID.en),)),
        },
        True,
    ),
    ("voucher_batches_none", "purchase/voucher_batches.html", {**MANY, "stocks": [], "batches": []}, True),
    ("voucher_batch", "purchase/voucher_batch.html", {**ONE, "activated": 1_200}, True),
    (
        "voucher_batch_unconfirmed",
        "purchase/voucher_batch.html",
        {**ONE, "form": Form({}, (FieldError("confirm", UNCONFIRMED.id, UNCONFIRMED.en),))},
        True,
    ),
    (
        "voucher_batch_over",
        "purchase/voucher_batch.html",
        {
            **ONE,
            "batch": Batch(
                id=ID,
                stock_id=ID,
                label="",
                vouchers=24,
                units=1,
                counts=Counts(made=0, active=0, redeemed=20, void=4),
                codes_until=None,
                downloads=1,
                first_downloaded_at=AT,
                created_at=AT,
            ),
            "voidings": [Voiding(id=ID, batch_id=ID, first=1, last=24, vouchers=4, units=4, voided_at=AT)],
            "voided": 4,
        },
        True,
    ),
    ("voucher_till", "purchase/voucher_till.html", {"form": Form(), "done": DONE}, True),
    ("voucher_till_again", "purchase/voucher_till.html", {"form": Form(), "done": {**DONE, "again": True}}, True),
    ("voucher_till_wrong", "purchase/voucher_till.html", {"form": WRONG_CODE, "done": None}, True),
]
