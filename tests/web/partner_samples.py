"""The pages of partners and of the office in every situation: key, template, context."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from msgspec.structs import replace
from sample_values import AT, HOSTILE, ID, KEY, LATER

from emeterai.partners.deposits import NTPN_USED
from emeterai.partners.model import (
    Change,
    Decision,
    Deposit,
    Move,
    Pace,
    Partner,
    PartnerKind,
    PartnerState,
    Sale,
    SerialBlockUse,
    stock_of,
)
from emeterai.partners.moves import STOCK_NOT_ENOUGH
from emeterai.partners.sales import RECIPIENT_UNKNOWN
from emeterai.partners.signatures import REASON_NEEDED
from emeterai.web.forms import FieldError, Form

OTHER = UUID(KEY)
PARTNER = Partner(
    id=ID,
    account_id=ID,
    kind=PartnerKind.DISTRIBUTOR,
    distributor_id=None,
    name="PT Distribusi Meterai Nusantara Sejahtera",
    contact="0800-1-234567",
    state=PartnerState.ACTIVE,
    warn_below=100_000,
    registered_at=AT,
)
SUSPENDED = replace(PARTNER, state=PartnerState.SUSPENDED)
OTHERS = replace(PARTNER, id=OTHER, name=HOSTILE, kind=PartnerKind.RETAILER, distributor_id=ID)
DEPOSIT = Deposit(
    id=ID,
    partner_id=ID,
    ntpn="0123456789ABCDEF",
    amount_idr=12_500_000_000,
    duty_idr=10_000,
    quantity=1_250_000,
    paid_on=date(2026, 11, 20),
    proof_sha256=bytes(32),
    state=Decision.PROPOSED,
    proposed_by=ID,
    proposed_at=AT,
    decided_by=None,
    decided_at=None,
    reason=None,
    money_transfer=ID,
    stock_transfer=OTHER,
)
APPROVED = replace(DEPOSIT, state=Decision.APPROVED, decided_by=OTHER, decided_at=LATER)
REJECTED = replace(APPROVED, state=Decision.REJECTED, reason="Jumlahnya tidak sama dengan bukti setor")
MOVE = Move(
    id=ID,
    giver_id=ID,
    receiver_id=OTHER,
    quantity=250_000,
    why="Loket ramai pada hari terakhir pendaftaran",
    state=Decision.PROPOSED,
    proposed_by=OTHER,
    proposed_at=AT,
    decided_by=None,
    decided_at=None,
    reason=None,
    give_transfer=ID,
    receive_transfer=OTHER,
)
SALES = [
    Sale(id=ID, buyer=ID, to_partner=to_partner, quantity=quantity, reference=reference, sold_at=AT)
    for to_partner, quantity, reference in ((False, 3, "Struk 0012"), (True, 50_000, HOSTILE), (False, 1, ""))
]


def partner_page(**more: Any) -> dict[str, Any]:
    """A partner's page on a good day, changed by `more`."""
    return {
        "form": Form(),
        "partner": PARTNER,
        "stock": stock_of(1_250_000, Pace(20_000, 5_000, 400), warn_below=100_000),
        "state": "well",
        "lasts": ("10 hari", "10 days"),
        "sold": None,
        "serial_blocks": [SerialBlockUse(prefix="7K2MQ", size=1_254_000, drawn=3_000)],
        "sales": SALES,
        "deposits": [DEPOSIT, APPROVED, REJECTED],
        "moves": [MOVE],
        "idempotency_key": KEY,
    } | more


def wrong(field: str, refused: Any) -> Form:
    """A form that was refused."""
    return Form({field: "x"}, (FieldError(field, refused.id, refused.en),))


TREASURY = {
    "deposit_form": Form(),
    "move_form": Form(),
    "partners": [PARTNER, OTHERS],
    "names": {ID: PARTNER.name, OTHER: OTHERS.name},
    "deposits": [DEPOSIT],
    "moves": [MOVE],
    "me": ID,
    "move_id": KEY,
}
ONE_DEPOSIT = {"form": Form(), "deposit": DEPOSIT, "partner": PARTNER, "may_decide": True}
ONE_MOVE = {
    "form": Form(),
    "move": MOVE,
    "giver": PARTNER,
    "receiver": OTHERS,
    "available": 1_250_000,
    "may_decide": True,
}
EMPTY = stock_of(0, Pace(20_000, 5_000, 400), warn_below=100_000)
CHANGES = [
    Change(change=change, reason=HOSTILE if change == "suspended" else "", done_by="console: root", done_at=AT)
    for change in ("reinstated", "suspended", "registered")
]
ONE_PARTNER = {"form": Form(), "partner": PARTNER, "stock": EMPTY, "changes": CHANGES}

PARTNERS: list[tuple[str, str, dict[str, Any]]] = [
    ("partner", "partners/partner.html", partner_page(sold=3)),
    (
        "partner_new",
        "partners/partner.html",
        partner_page(
            stock=stock_of(0, Pace(0, 0, 0), warn_below=100),
            state="sold_out",
            lasts=None,
            serial_blocks=[],
            sales=[],
            deposits=[],
            moves=[],
        ),
    ),
    ("partner_low", "partners/partner.html", partner_page(state="low", lasts=("3 jam", "3 hours"))),
    (
        "partner_sold_out",
        "partners/partner.html",
        partner_page(state="sold_out", stock=EMPTY),
    ),
    (
        "partner_errors",
        "partners/partner.html",
        partner_page(form=wrong("to", RECIPIENT_UNKNOWN())),
    ),
    ("partner_suspended", "partners/partner.html", partner_page(state="suspended", partner=SUSPENDED)),
    (
        "partner_sales",
        "partners/sales.html",
        {"sales": SALES * 7, "newer_url": "/mitra/penjualan", "older_url": "/mitra/penjualan?cursor=abc"},
    ),
    ("partner_sales_none", "partners/sales.html", {"sales": [], "newer_url": None, "older_url": None}),
    ("treasury", "partners/treasury.html", TREASURY),
    ("treasury_none", "partners/treasury.html", {**TREASURY, "deposits": [], "moves": [], "partners": []}),
    ("treasury_errors", "partners/treasury.html", {**TREASURY, "deposit_form": wrong("ntpn", NTPN_USED())}),
    ("deposit", "partners/deposit.html", ONE_DEPOSIT),
    ("deposit_mine", "partners/deposit.html", {**ONE_DEPOSIT, "may_decide": False}),
    (
        "deposit_errors",
        "partners/deposit.html",
        {**ONE_DEPOSIT, "form": wrong("reason", REASON_NEEDED(length_max=500))},
    ),
    ("deposit_approved", "partners/deposit.html", {**ONE_DEPOSIT, "deposit": APPROVED}),
    ("deposit_rejected", "partners/deposit.html", {**ONE_DEPOSIT, "deposit": REJECTED}),
    ("stock_move", "partners/move.html", ONE_MOVE),
    (
        "stock_move_errors",
        "partners/move.html",
        {**ONE_MOVE, "form": wrong("reason", STOCK_NOT_ENOUGH(available=1, needed=2))},
    ),
    ("stock_move_mine", "partners/move.html", {**ONE_MOVE, "may_decide": False}),
    ("office_partners", "partners/office_partners.html", {"partners": [PARTNER, OTHERS, SUSPENDED]}),
    ("office_partners_none", "partners/office_partners.html", {"partners": []}),
    ("office_partner", "partners/office_partner.html", ONE_PARTNER),
    ("office_partner_suspended", "partners/office_partner.html", {**ONE_PARTNER, "partner": SUSPENDED}),
]
