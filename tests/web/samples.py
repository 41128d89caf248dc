"""One or more sample contexts for every page: what the routes hand over, and what the tests and pictures show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from care_samples import CARE
from grant_samples import GRANTS
from in_time_samples import IN_TIME, LANES
from operator_samples import OPERATOR
from partner_samples import PARTNERS
from sample_values import (
    ACCOUNT,
    API_GROUPS,
    AT,
    BROKEN_LINES,
    BUY,
    DEAR_WAYS,
    DOCUMENT,
    HISTORY,
    HOME,
    HOSTILE,
    ID,
    LINES,
    LISTED,
    MISTAKES,
    MONEY_IN_CARE,
    MOVEMENTS,
    ORDER,
    PAYMENT,
    PLACE,
    POSITION,
    QRIS,
    QUOTA,
    READY,
    SAMPLE_REFUSAL,
    SEEN_RETURNS,
    SERIAL,
    SHA256,
    STALLED,
    STAMP,
    keys,
    verdict,
)
from voucher_samples import VOUCHERS

from emeterai.purchase.provider import PROVIDER_UNAVAILABLE
from emeterai.purchase.qr_picture import qr_picture
from emeterai.seal.refusals import PDF_PASSWORD_WRONG
from emeterai.stamping.placing import BOX_COVERS_TEXT
from emeterai.web.forms import FieldError, Form
from emeterai.web.pages import Viewer

SITI = Viewer("Siti <b>Rahma</b>", "Asia/Makassar")


@dataclass(frozen=True)
class Sample:
    """One page in one situation."""

    key: str
    template: str
    context: dict[str, Any] = field(default_factory=dict)
    signed_in: bool = True
    specimen: bool = True
    viewer: Viewer = SITI


SAMPLES = [
    Sample("home", "web/home.html", HOME, signed_in=False),
    Sample("home_signed_in", "web/home.html", {**HOME, "fee_idr": 2_500}, specimen=False),
    Sample("home_lanes", "web/home.html", {**HOME, "lanes": LANES}, signed_in=False),
    Sample("error", "web/error.html", {"refusal": SAMPLE_REFUSAL, "case_number": None}),
    Sample("error_case", "web/error.html", {"refusal": STALLED, "case_number": "K-7F3Q-29"}, signed_in=False),
    Sample(
        "api_docs",
        "web/api_docs.html",
        {"version": "0.1.0", "document_url": "/docs/openapi.json", "groups": API_GROUPS},
        signed_in=False,
    ),
    Sample("api_group", "web/api_group.html", {"group": API_GROUPS[1]}, signed_in=False),
    Sample("refusals", "web/refusals.html", {"statuses": [(402, 1), (409, 49)]}, signed_in=False),
    Sample("refusals_of_a_status", "web/refusal.html", {"kinds": [SAMPLE_REFUSAL.kind, STALLED.kind]}, signed_in=False),
    Sample("refusal", "web/refusal.html", {"kinds": [SAMPLE_REFUSAL.kind]}, signed_in=False),
    Sample("sign_up", "accounts/sign_up.html", {"form": Form(), "password_length_min": 10}, signed_in=False),
    Sample("sign_up_errors", "accounts/sign_up.html", {"form": MISTAKES, "password_length_min": 10}, signed_in=False),
    Sample(
        "sign_in", "accounts/sign_in.html", {"form": Form({"next": "/kuota"}), "session_ended": True}, signed_in=False
    ),
    Sample("quota", "accounts/quota.html", {"quota": QUOTA, "movements": MOVEMENTS, "refresh_s": 1}),
    Sample("quota_empty", "accounts/quota.html", {"quota": dict.fromkeys(QUOTA, 0), "movements": [], "refresh_s": 0}),
    Sample(
        "history",
        "accounts/history.html",
        {
            **HISTORY,
            "movements": MOVEMENTS * 5,
            "position": POSITION,
            "older_url": "/kuota/riwayat?cursor=abc",
            "refresh_s": 1,
        },
    ),
    Sample(
        "history_empty",
        "accounts/history.html",
        {**HISTORY, "position": POSITION},
    ),
    Sample(
        "history_older",
        "accounts/history.html",
        {**HISTORY, "movements": MOVEMENTS, "newer_url": "/kuota/riwayat"},
    ),
    Sample("api_keys", "accounts/api_keys.html", keys(new_token="emt_4f7k2m9q7xw3n5v8b1c6d0f2g4h6j8k0")),
    Sample("api_keys_empty", "accounts/api_keys.html", keys(keys=[])),
    Sample("buy", "purchase/buy.html", BUY),
    Sample("buy_once_more", "purchase/buy.html", {**BUY, "open_orders": [ORDER] * 4}),
    Sample("buy_by_channel", "purchase/buy.html", {**BUY, "ways": DEAR_WAYS, "has_channel_fees": True}),
    Sample("buy_too_much", "purchase/buy.html", {**BUY, "ways": DEAR_WAYS[:1], "has_channel_fees": True}),
    Sample(
        "buy_errors",
        "purchase/buy.html",
        {
            **BUY,
            "form": Form(
                {"quantity": "5000"}, (FieldError("quantity", "Pilih 1 sampai 1.000.", "Choose 1 to 1,000."),)
            ),
        },
    ),
    Sample(
        "order_pending",
        "purchase/order.html",
        {"order": ORDER, "returned": False, "refused": None, "refresh_s": 10, "available": 0},
    ),
    Sample(
        "order_returned",
        "purchase/order.html",
        {"order": ORDER, "returned": True, "refused": None, "refresh_s": 5, "available": 0},
    ),
    Sample(
        "order_unpayable",
        "purchase/order.html",
        {"order": ORDER, "returned": False, "refused": PROVIDER_UNAVAILABLE(), "refresh_s": 0, "available": 0},
    ),
    Sample(
        "order_qris",
        "purchase/order.html",
        {
            "order": {**ORDER, "code": QRIS, "qr": qr_picture(QRIS)},
            "returned": False,
            "refused": None,
            "refresh_s": 10,
            "available": 0,
        },
    ),
    Sample(
        "order_account",
        "purchase/order.html",
        {"order": {**ORDER, "code": ACCOUNT}, "returned": False, "refused": None, "refresh_s": 10, "available": 0},
    ),
    Sample(
        "order_paid",
        "purchase/order.html",
        {
            "order": {**ORDER, "state": "paid", "settled_at": AT},
            "returned": False,
            "refused": None,
            "refresh_s": 0,
            "available": 20,
        },
    ),
    Sample(
        "order_returns",
        "purchase/order.html",
        {
            "order": {**ORDER, "state": "paid", "settled_at": AT, "returns": SEEN_RETURNS, "returnable": 17},
            "returned": False,
            "refused": None,
            "refresh_s": 0,
            "available": 20,
        },
    ),
    Sample(
        "cases",
        "purchase/cases.html",
        {**MONEY_IN_CARE, "first_url": "/petugas/uang", "following_url": "/petugas/uang?perkara=x"},
    ),
    Sample("cases_none", "purchase/cases.html", {"returns": [], "cases": [], "first_url": None, "following_url": None}),
    Sample(
        "order_expired",
        "purchase/order.html",
        {"order": {**ORDER, "state": "expired"}, "returned": False, "refused": None, "refresh_s": 0, "available": 0},
    ),
    Sample(
        "order_cancelled",
        "purchase/order.html",
        {"order": {**ORDER, "state": "cancelled"}, "returned": False, "refused": None, "refresh_s": 0, "available": 0},
    ),
    Sample(
        "order_quarantined",
        "purchase/order.html",
        {
            "order": {**ORDER, "state": "quarantined", "settled_at": None},
            "returned": False,
            "refused": None,
            "refresh_s": 0,
            "available": 0,
        },
    ),
    Sample(
        "orders",
        "purchase/orders.html",
        {
            "orders": [
                {**ORDER, "state": state} for state in ("pending", "paid", "expired", "cancelled", "quarantined")
            ],
            "newer_url": "/pesanan?before=a",
            "older_url": "/pesanan?after=b",
        },
    ),
    Sample("orders_empty", "purchase/orders.html", {"orders": [], "newer_url": None, "older_url": None}),
    Sample(
        "sandbox_pay",
        "purchase/sandbox_pay.html",
        {"payment": PAYMENT, "action_url": "/pay/SBX-0190A1", "return_url": "http://127.0.0.1:8080/pesanan/1"},
        signed_in=False,
    ),
    Sample(
        "sandbox_paid",
        "purchase/sandbox_pay.html",
        {
            "payment": {**PAYMENT, "state": "paid"},
            "action_url": "/pay/SBX-0190A1",
            "return_url": "http://127.0.0.1:8080/pesanan/1",
        },
        signed_in=False,
    ),
    Sample("upload", "stamping/upload.html", {"form": Form(), "size_bytes_max": 25_000_000, "available": 12}),
    Sample(
        "upload_errors",
        "stamping/upload.html",
        {
            "form": Form(
                {},
                (
                    FieldError(
                        "file",
                        "Berkas ini kosong; pilih PDF yang berisi.",
                        "This file is empty; choose a PDF with content.",
                    ),
                ),
            ),
            "size_bytes_max": 25_000_000,
            "available": 0,
        },
    ),
    Sample(
        "document_ready",
        "stamping/document.html",
        {
            **READY,
            "notes": [
                {
                    "id": "Berkas ini sudah ditandatangani satu kali; tanda tangannya tetap sah.",
                    "en": "This file has one signature already; it stays valid.",
                }
            ],
        },
    ),
    Sample("document_stamped", "stamping/document.html", {**READY, "stamps": [STAMP | {"state": "sealed"}]}),
    Sample("document_no_quota", "stamping/document.html", {**READY, "available": 0}),
    Sample(
        "document_received",
        "stamping/document.html",
        {**READY, "document": {**DOCUMENT, "state": "received", "pages": 0}, "refresh_s": 2},
    ),
    Sample(
        "document_refused",
        "stamping/document.html",
        {**READY, "document": {**DOCUMENT, "name": HOSTILE, "state": "refused", "pages": 0}, "refusal": SAMPLE_REFUSAL},
    ),
    Sample(
        "document_locked",
        "stamping/document.html",
        {
            **READY,
            "document": {**DOCUMENT, "state": "refused", "pages": 0, "wants_password": True},
            "form": Form({}, (FieldError("password", PDF_PASSWORD_WRONG().id, PDF_PASSWORD_WRONG().en),)),
            "refusal": PDF_PASSWORD_WRONG(),
        },
    ),
    Sample(
        "document_receiving",
        "stamping/document.html",
        {
            **READY,
            "document": {**DOCUMENT, "state": "receiving", "received_bytes": 1_048_576, "digest": "", "pages": 0},
        },
    ),
    Sample("place", "stamping/place.html", PLACE),
    Sample("place_no_quota", "stamping/place.html", {**PLACE, "available": 0}),
    Sample(
        "place_covers",
        "stamping/place.html",
        {
            **PLACE,
            "form": Form(
                {"place": "top-left"},
                (FieldError("cover", BOX_COVERS_TEXT(page=1).id, BOX_COVERS_TEXT(page=1).en),),
            ),
        },
    ),
    Sample("place_locked", "stamping/place.html", {**PLACE, "asks_password": True}),
    Sample("place_refused", "stamping/place.html", {**PLACE, "refusal": SAMPLE_REFUSAL}),
    Sample(
        "place_again",
        "stamping/place.html",
        {
            **PLACE,
            "document": {**DOCUMENT, "landscape": True},
            "earlier": ID,
            "form": Form(
                {"place": "bottom-right", "page": "99"},
                (
                    FieldError(
                        "page",
                        "Berkas ini mempunyai 3 halaman; pilih 1 sampai 3.",
                        "This file has 3 pages; choose 1 to 3.",
                    ),
                ),
            ),
        },
    ),
    Sample("stamp_held", "stamping/stamp.html", {"stamp": STAMP, "refusal": None, "available": 11, "refresh_s": 2}),
    Sample(
        "stamp_given_back",
        "stamping/stamp.html",
        {
            "stamp": {**STAMP, "state": "given_back", "step": 1, "given_back_at": AT, "document_name": HOSTILE},
            "refusal": STALLED,
            "available": 12,
            "refresh_s": 0,
        },
    ),
    Sample("result", "stamping/result.html", {"stamp": STAMP, "verify_url": f"https://meterai.example/v/{SERIAL}"}),
    Sample(
        "documents",
        "stamping/documents.html",
        {"documents": LISTED, "newer_url": None, "older_url": "/dokumen?cursor=abc"},
    ),
    Sample("documents_empty", "stamping/documents.html", {"documents": [], "newer_url": None, "older_url": None}),
    Sample("invariants", "status/invariants.html", {"lines": LINES, "late": False, "key": SHA256}, signed_in=False),
    Sample("invariants_late", "status/invariants.html", {"lines": LINES, "late": True, "key": SHA256}),
    Sample("invariants_broken", "status/invariants.html", {"lines": BROKEN_LINES, "late": False, "key": SHA256}),
    Sample("invariants_none", "status/invariants.html", {"lines": [], "late": False, "key": None}, signed_in=False),
    Sample("verify", "verify/verify.html", {"form": Form(), "size_bytes_max": 25_000_000}, signed_in=False),
    Sample(
        "verify_errors",
        "verify/verify.html",
        {
            "form": Form(
                {"serial": HOSTILE},
                (
                    FieldError(
                        "serial",
                        "Nomor seri terdiri dari 22 huruf dan angka.",
                        "A serial number has 22 letters and digits.",
                    ),
                ),
            ),
            "size_bytes_max": 25_000_000,
        },
        signed_in=False,
    ),
    Sample("verify_genuine", "verify/verify_result.html", verdict("file", "genuine"), signed_in=False),
    Sample("verify_serial", "verify/verify_result.html", verdict("serial", "genuine"), signed_in=False),
    Sample("verify_changed", "verify/verify_result.html", verdict("file", "changed"), signed_in=False),
    Sample("verify_not_ours", "verify/verify_result.html", verdict("file", "not_ours", stamps=0), signed_in=False),
    Sample("verify_many", "verify/verify_result.html", verdict("file", "genuine", stamps=100), signed_in=False),
    Sample("verify_forged", "verify/verify_result.html", verdict("file", "forged"), signed_in=False),
    Sample("verify_file_voided", "verify/verify_result.html", verdict("file", "voided"), signed_in=False),
    Sample("verify_file_unknown", "verify/verify_result.html", verdict("file", "unknown"), signed_in=False),
    Sample(
        "verify_in_progress",
        "verify/verify_result.html",
        verdict("serial", "in_progress", known=False),
        signed_in=False,
    ),
    Sample("verify_voided", "verify/verify_result.html", verdict("serial", "voided", known=False), signed_in=False),
    Sample("verify_unknown", "verify/verify_result.html", verdict("serial", "unknown", known=False), signed_in=False),
    *(Sample(key, template, context, signed_in=signed_in) for key, template, context, signed_in in VOUCHERS),
    *(Sample(key, template, context, signed_in=signed_in) for key, template, context, signed_in in CARE),
    *(Sample(key, template, context) for key, template, context in OPERATOR),
    *(Sample(key, "gate/in_time.html", context, signed_in=signed_in) for key, context, signed_in in IN_TIME),
    *(Sample(key, template, context) for key, template, context in PARTNERS),
    *(Sample(key, template, context, signed_in=signed_in) for key, template, context, signed_in in GRANTS),
    Sample("acting", "partners/grants.html", {"grants": []}, viewer=Viewer("Siti", "Asia/Makassar", HOSTILE)),
]
