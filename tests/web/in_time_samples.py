"""What the pages of receipts in time, and the lanes of the front page, are shown with in tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sample_values import HOSTILE, ID, SHA256

from emeterai.gate.public_lanes import PublicLane
from emeterai.gate.receipt_pages import MOMENTS, said
from emeterai.gate.receipt_routes import ReceiptView
from emeterai.gate.receipts import InTime, Moment, Receipt
from emeterai.web import paths

AT = datetime(2026, 11, 21, 16, 59, 58, tzinfo=UTC)
ISSUER = "https://meterai.example"
LANES = [
    PublicLane("CPNS 2026", "/gate/cpns-2026", "open", AT, AT + timedelta(days=20)),
    PublicLane(HOSTILE, "/gate/beasiswa", "paused", None, None),
    PublicLane("PPPK tahap kedua", "/gate/pppk", "before_opening", AT + timedelta(days=3), None),
]


def shown(what: InTime, reference: str, moment: Moment, *, lane: str = "", back: str, file: str) -> dict[str, Any]:
    """The context of in_time.html."""
    text = f"r1.{'eyJ3aGF0Ijoi' * 22}.{'c2lnbmF0dXJl' * 7}"
    says = Receipt(what, AT, lane, reference, ISSUER, moment)
    check = f"{ISSUER}/v1/receipts-in-time"
    view = ReceiptView(receipt=text, says=says, check_url=f"{check}/{text}", key_url=f"{check}/key.pem")
    return {"view": view, "proved": said(says), "moment": MOMENTS[moment], "back": back, "file": file}


def _of(own: UUID) -> list[tuple[str, dict[str, Any], bool]]:
    room, order, document = "/gate/cpns-2026", paths.order(own), paths.document(own)
    in_line = shown(InTime.IN_LINE, "501", Moment.NUMBER_TAKEN, lane="cpns-2026", back=room, file=f"{room}/bukti.txt")
    paid = shown(InTime.PAID, "7F3Q-29XK", Moment.PROVIDER_TOLD, back=order, file=paths.order_in_time_file(own))
    credited = shown(InTime.PAID, "7F3Q-29XK", Moment.CREDITED, back=order, file=paths.order_in_time_file(own))
    uploaded = shown(InTime.UPLOADED, SHA256, Moment.FILE_SAFE, back=document, file=paths.document_in_time_file(own))
    return [
        ("in_time_line", in_line, False),
        ("in_time_paid", paid, True),
        ("in_time_credited", credited, True),
        ("in_time_uploaded", uploaded, True),
    ]


IN_TIME = _of(ID)
"""Key, context, and whether somebody is signed in."""
