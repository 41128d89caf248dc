"""The values that the sample pages are made of. What people type holds hostile text on purpose."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from emeterai.core.ordering import Price
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.returning import ReturnCause, ReturnState
from emeterai.purchase.model import Channel, PaymentCode
from emeterai.purchase.pricing import Quote
from emeterai.purchase.returns_model import Action, Case, CaseKind, Proposal, Return
from emeterai.purchase.returns_words import cause_in_words, state_in_words
from emeterai.status.lines import Line
from emeterai.web.forms import FieldError, Form
from emeterai.web.reference import Group

HOSTILE = '<script>alert("x")</script>\'&.pdf'
AT = datetime(2026, 11, 21, 12, 7, 31, tzinfo=UTC)
LATER = datetime(2026, 11, 22, 12, 7, 31, tzinfo=UTC)
ID = UUID("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b")
SERIAL = "7K2MQ9XRT4VB8WNC3HJ5DZ"
SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
KEY = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5c"
NAME = "Surat lamaran dan pernyataan 5 poin CPNS 2026 (final).pdf"

SAMPLE_REFUSAL = Refused(
    RefusalKind(
        "sample_pdf_locked",
        422,
        "PDF ini terkunci dengan kata sandi; simpan salinannya tanpa kata sandi, lalu unggah lagi.",
        "This PDF is locked with a password; save a copy without the password, then upload it again.",
    )
)
STALLED = Refused(
    RefusalKind(
        "sample_stalled",
        503,
        "Penyegelan tidak selesai dalam 60 detik; silakan coba lagi, berkas Anda masih tersimpan.",
        "Sealing did not finish within 60 seconds; please try again, your file is still here.",
    )
)


def movement(change: int, reason: tuple[str, str], **more: Any) -> dict[str, Any]:
    """One line of the quota history."""
    return {
        "at": AT,
        "change": change,
        "available_after": 12,
        "reason_id": reason[0],
        "reason_en": reason[1],
        "next_id": "",
        "next_en": "",
        "next_url": None,
        **more,
    }


SUMS = {"bought": 1_000_000, "available": 899_990, "held": 10, "used": 99_000, "refunded": 1_000}
LINES = [Line(number=number, at=AT, **SUMS, broken=0, previous=SHA256) for number in range(1_030, 1_000, -1)]
BROKEN_LINES = [Line(number=1, at=AT, **SUMS, broken=2, previous=SHA256)]
MOVEMENTS = [
    movement(
        1,
        (f"Kuota kembali: {HOSTILE} gagal disegel", f"Quota returned: {HOSTILE} could not be sealed"),
        next_id="Coba lagi dengan berkas ini",
        next_en="Try again with this file",
        next_url=f"/dokumen/{ID}",
    ),
    movement(0, (f"Terpakai: meterai {SERIAL}", f"Used: stamp {SERIAL}")),
    movement(
        -1,
        (f"Ditahan untuk {NAME}", f"Held for {NAME}"),
        next_id="Tunggu; dalam hitungan detik terpakai atau kembali",
        next_en="Wait; within seconds it is used or returns",
    ),
    movement(20, ("Dibeli: pesanan 4F7K2", "Bought: order 4F7K2")),
]
POSITION = "0123456789abcdef"
HISTORY = {"movements": [], "made_at": AT, "position": "", "newer_url": None, "older_url": None, "refresh_s": 0}
ORDER = {
    "id": ID,
    "number": "4F7K2",
    "state": "pending",
    "quantity": 20,
    "duty_idr": 200_000,
    "fee_idr": 0,
    "total_idr": 200_000,
    "channel": Channel.QRIS,
    "created_at": AT,
    "expires_at": LATER,
    "settled_at": None,
    "code": None,
    "qr": None,
    "tracking_code": "0417",
    "returns": [],
    "returnable": 0,
    "idempotency_key": KEY,
}
QRIS = PaymentCode(Channel.QRIS, "00020101021226670016ID.CO.CONTOH.WWW0118936005030000089874021452040000530336054062")
RETURN = Return(
    id=ID,
    order_id=ID,
    account_id=ID,
    cause=ReturnCause.AMOUNT_DIFFERS,
    state=ReturnState.UNDECIDED,
    provider="sandbox",
    reference=HOSTILE,
    seen_amount=Decimal(187_500),
    seen_currency="IDR",
    amount_idr=187_500,
    quantity=None,
    duty_idr=0,
    fee_idr=0,
    seen_transfer=ID,
    duty_transfer=ID,
    fee_transfer=ID,
    quota_transfer=ID,
    back_transfer=ID,
    request_digest=None,
    trouble=None,
    proof=None,
    tries=0,
    due_at=LATER,
    created_at=AT,
    asked_at=None,
    ended_at=None,
    changed_at=AT,
)
ENDED_RETURN = msgspec.structs.replace(
    RETURN,
    cause=ReturnCause.QUOTA_RETURNED,
    state=ReturnState.RETURNED,
    quantity=3,
    due_at=None,
    asked_at=AT,
    ended_at=LATER,
)
FOREIGN_RETURN = msgspec.structs.replace(
    RETURN,
    id=UUID(int=ID.int + 1),
    state=ReturnState.NEEDS_CARE,
    amount_idr=None,
    seen_currency="USD",
    trouble="not_whole_rupiah",
    due_at=None,
)
CASE = Case(
    id=UUID(int=ID.int + 2),
    kind=CaseKind.TAKEN_BACK,
    order_id=ID,
    provider="sandbox",
    reference=None,
    amount_idr=200_000,
    quantity=None,
    loss_transfer=ID,
    quota_transfer=ID,
    duty_transfer=ID,
    fee_transfer=ID,
    created_at=AT,
    closed_at=None,
)
PROPOSAL = Proposal(
    id=ID,
    return_id=ID,
    case_id=None,
    action=Action.CREDIT,
    quantity=None,
    note=HOSTILE,
    proposed_by=ID,
    decided_by=None,
    approved=None,
    created_at=AT,
    decided_at=None,
)
SEEN_RETURNS = [
    {"back": back, "why": cause_in_words(back), "where": state_in_words(back)} for back in (RETURN, ENDED_RETURN)
]
MONEY_IN_CARE = {
    "returns": [
        {"back": RETURN, "order": ORDER, "why": cause_in_words(RETURN), "proposal": None},
        {
            "back": FOREIGN_RETURN,
            "order": ORDER,
            "why": cause_in_words(FOREIGN_RETURN),
            "proposal": {"it": PROPOSAL, "is_own": False},
        },
    ],
    "cases": [
        {"case": CASE, "order": ORDER, "takeable": 2, "proposal": None},
        {
            "case": msgspec.structs.replace(CASE, id=UUID(int=ID.int + 3)),
            "order": ORDER,
            "takeable": 0,
            "proposal": {"it": PROPOSAL, "is_own": True},
        },
    ],
}
ACCOUNT = PaymentCode(Channel.VIRTUAL_ACCOUNT, "988722169919500", "BNI")
DOCUMENT = {
    "id": ID,
    "name": NAME,
    "size_bytes": 1_482_113,
    "received_bytes": 1_482_113,
    "digest": SHA256,
    "created_at": AT,
    "state": "ready",
    "pages": 3,
    "wants_password": False,
    "landscape": False,
}
STAMP = {
    "id": ID,
    "document_id": ID,
    "document_name": NAME,
    "state": "held",
    "step": 2,
    "serial": SERIAL,
    "created_at": AT,
    "deadline_at": AT,
    "given_back_at": None,
    "sealed_at": AT,
    "page": 3,
    "digest": SHA256,
    "size_bytes": 1_497_000,
}
QUOTE = {"quantity": 20, "duty_idr": 200_000, "fee_idr": 50_000, "total_idr": 250_000}
WAYS = [
    Quote(channel=Channel.QRIS, price=Price(200_000, 50_000), channel_fee_idr=0, amount_idr_max=10_000_000),
    Quote(channel=Channel.VIRTUAL_ACCOUNT, price=Price(200_000, 50_000), channel_fee_idr=0, amount_idr_max=0),
]
DEAR_WAYS = [
    Quote(channel=Channel.QRIS, price=Price(200_000, 51_750), channel_fee_idr=1_750, amount_idr_max=100_000),
    Quote(channel=Channel.VIRTUAL_ACCOUNT, price=Price(200_000, 54_000), channel_fee_idr=4_000, amount_idr_max=0),
]
BUY = {
    "form": Form(),
    "quote": QUOTE,
    "duty_each_idr": 10_000,
    "fee_each_idr": 2_500,
    "quantity_max": 1_000,
    "ways": WAYS,
    "has_channel_fees": False,
    "open_orders": [],
    "order_life_h": 24,
    "idempotency_key": KEY,
}
PLACE = {
    "document": DOCUMENT,
    "form": Form(),
    "refusal": None,
    "asks_password": False,
    "earlier": None,
    "available": 12,
    "idempotency_key": KEY,
}
READY = {
    "document": DOCUMENT,
    "form": Form(),
    "refusal": None,
    "notes": [],
    "stamps": [],
    "available": 12,
    "refresh_s": 0,
}
PAYMENT = {
    "reference": "SBX-0190A1",
    "merchant": "emeterai",
    "amount_idr": 200_000,
    "state": "pending",
    "expires_at": LATER,
}
OPERATION = {
    "anchor": "stamp",
    "method": "POST",
    "path": "/v1/stamps",
    "summary": "Stamp a document",
    "description": "Holds one unit, seals the document, settles. Any failure gives the unit back.",
    "parameters": [
        {"name": "Idempotency-Key", "place": "header", "required": True},
        {"name": "Prefer", "place": "header", "required": False},
    ],
    "body": "application/json, multipart/form-data",
    "answers": [
        {"status": "201", "text": "Done"},
        {"status": "202", "text": "On its way"},
        {"status": "409", "text": "Refused"},
    ],
}
MISTAKES = Form(
    {"name": HOSTILE, "contact": "siti", "zone": "Asia/Jayapura"},
    (
        FieldError(
            "contact", "Tulis surel atau nomor telepon yang lengkap.", "Write a complete e-mail or phone number."
        ),
        FieldError("password", "Pilih kata sandi yang lebih panjang.", "Choose a longer password."),
    ),
)


def verdict(by: str, name: str, *, known: bool = True, stamps: int = 1) -> dict[str, Any]:
    """The context of verify_result.html for one verdict."""
    by_file = by == "file"
    stamp = {
        "serial": SERIAL,
        "sealed_at": AT if known else None,
        "original_sha256": SHA256 if known else None,
        "level": "B-B" if by_file else "",
        "signer": "emeterai SPECIMEN" if by_file else "",
        "certificate_sha256": SHA256 if by_file else "",
        "proven": name != "changed",
    }
    result = {
        "by": by,
        "verdict": name,
        "file_sha256": SHA256 if by_file else None,
        "stamps": [stamp] * min(stamps, 10),
        "more": max(0, stamps - 10),
    }
    return {"result": result, "checked_at": LATER}


def keys(**more: Any) -> dict[str, Any]:
    """The context of api_keys.html."""
    key = {"id": ID, "label": HOSTILE, "prefix": "emt_4f7k", "created_at": AT, "used_at": LATER, "revoked_at": None}
    unused = {**key, "label": "Server kantor", "used_at": None}
    revoked = {**key, "label": "Laptop lama", "revoked_at": LATER}
    return {"form": Form(), "new_token": None, "keys": [key, unused, revoked], **more}


FACTS = [{"id": "Satu meterai selesai dalam", "en": "One stamp is done in", "value": "0,4 detik"}]
HOME = {"duty_idr": 10_000, "fee_idr": 0, "facts": FACTS, "lanes": []}
LISTED = [
    {
        **DOCUMENT,
        "stamps": [{"id": ID, "serial": SERIAL, "state": state} for state in ("sealed", "given_back", "held")],
    },
    {**DOCUMENT, "name": HOSTILE, "state": "refused", "stamps": []},
    {**DOCUMENT, "name": "Perjanjian sewa.pdf", "stamps": []},
]
API_GROUPS = [
    Group("quota", "Kuota dan riwayatnya", "Quota and its history", []),
    Group("stamps", "Pembubuhan", "Stamping", [{**OPERATION, "anchor": f"stamp_{place}"} for place in range(12)]),
]
QUOTA = {"available": 12, "held": 1, "used": 6, "refunded": 1, "bought": 20}
