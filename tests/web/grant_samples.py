"""Sample contexts of the pages of groups and of programmes of grants."""

from __future__ import annotations

from typing import Any

from sample_values import AT, HOSTILE, ID, LATER, SAMPLE_REFUSAL

from emeterai.accounts.groups_model import Approval, Group, GroupInOffice, Invitation, Invited, Limits, NewInvitation
from emeterai.accounts.model import GroupRole, Timezone
from emeterai.core.granting import ProgrammeState
from emeterai.partners.programme_model import BadLine, Claim, CodeBatch, Figures, ListReport, Programme
from emeterai.web.forms import FieldError, Form

_OWNER, _MEMBER = ("pemilik", "owner"), ("anggota", "member")
_GROUP = Group(id=ID, name=HOSTILE, timezone=Timezone.WIB, created_at=AT, role=GroupRole.OWNER)
_APPROVED = Group(id=ID, name=HOSTILE, timezone=Timezone.WIB, created_at=AT, role=GroupRole.OWNER, approved=True)
_IN_OFFICE = GroupInOffice(id=ID, name=HOSTILE, approved=False, founder=HOSTILE, members=1200, created_at=AT)
_IN_OFFICE_APPROVED = GroupInOffice(id=ID, name=HOSTILE, approved=True, founder=HOSTILE, members=2, created_at=AT)
_APPROVALS = [Approval(change=one, note=HOSTILE, done_by=HOSTILE, done_at=AT) for one in ("withdrawn", "approved")]
_PLAIN = Group(id=ID, name=HOSTILE, timezone=Timezone.WIB, created_at=AT, role=GroupRole.MEMBER)
_LIMITS = Limits(units_a_day=5, units_in_all=100)
_SEAT = {
    "id": ID,
    "name": HOSTILE,
    "role": _MEMBER,
    "uses": [("hari ini", "today", 1, 5), ("bulan ini", "this month", 9, None), ("seluruhnya", "in all", 9, 100)],
}
_DEEDS = [
    {"at": AT, "who": HOSTILE, "what": ("Meminta satu e-meterai", "Asked for a stamp"), "about": "", "url": "/x"},
    {"at": AT, "who": "Siti", "what": ("Mengeluarkan anggota", "Removed a member"), "about": HOSTILE, "url": None},
]
_ROLES = [("member", _MEMBER), ("owner", _OWNER)]
_INVITATION = Invitation(
    id=ID, contact=HOSTILE, role=GroupRole.MEMBER, limits=_LIMITS, invited_by=HOSTILE, created_at=AT, expires_at=LATER
)
_MADE = NewInvitation(
    id=ID, contact="siti@contoh.id", role=GroupRole.MEMBER, limits=_LIMITS, expires_at=LATER, code="kode"
)
_LIMIT_WRONG = Form(
    {"role": "member", "units_a_day": HOSTILE}, (FieldError("units_a_day", SAMPLE_REFUSAL.id, SAMPLE_REFUSAL.en),)
)
_GROUP_PAGE = {
    "group": _GROUP,
    "role": _OWNER,
    "roles": _ROLES,
    "is_acting": False,
    "available": 1200,
    "members": [_SEAT],
    "more_url": "/kelompok/x?sesudah=y",
    "invitations": [(_INVITATION, _MEMBER)],
    "deeds": _DEEDS,
    "form": Form(),
    "made": None,
    "made_url": None,
}
_PROGRAMME = Programme(
    id=ID,
    agency_id=ID,
    agency_name=HOSTILE,
    name=HOSTILE,
    message=HOSTILE,
    units_each=2,
    salt=bytes(32),
    state=ProgrammeState.OPEN,
    invited=1_000_000,
    claimed=12_345,
    ends_at=LATER,
    created_at=AT,
    ended_at=None,
    overdue=False,
)
_FIGURES = Figures(funded=100, in_programme=50, in_grants=20, used=10, claimed_returned=9, unclaimed_returned=8, kept=3)
_REPORT = ListReport(
    lines=9, added=5, known=1, bad=2, blank=1, bad_lines=[BadLine(3, "bukan sidik", "no hash"), BadLine(4, "x", "y")]
)
_PROGRAMME_PAGE = {
    "programme": _PROGRAMME,
    "state": ("ok", "terbuka", "open"),
    "is_open": True,
    "may_give": True,
    "figures": _FIGURES,
    "batches": [CodeBatch(id=ID, quantity=10, ready=10, created_at=AT)],
    "public_url": "https://meterai.example/program/x",
    "salt": "00" * 32,
    "units_max": 1000,
    "report": None,
    "form": Form(),
    "idempotency_key": str(ID),
}
_CLAIM = Claim(
    id=ID,
    programme_id=ID,
    programme_name=HOSTILE,
    agency_name=HOSTILE,
    account_id=ID,
    units=2,
    used_before=0,
    claimed_at=AT,
    ends_at=LATER,
    ended_at=None,
    used=None,
    returned=None,
    kept=None,
)
_ENDED = Claim(
    **{name: getattr(_CLAIM, name) for name in Claim.__struct_fields__}
    | {"ended_at": LATER, "used": 1, "returned": 1, "kept": 0}
)
_CLAIMING = {
    "programme": _PROGRAMME,
    "is_open": True,
    "claim": None,
    "form": Form(),
    "sign_in_url": "/masuk?next=/program/x",
}
_MISTYPED = Form({}, (FieldError("identity", SAMPLE_REFUSAL.id, SAMPLE_REFUSAL.en),))
_INVITED = Invited(
    group_id=ID,
    group_name=HOSTILE,
    contact=None,
    role=GroupRole.MEMBER,
    limits=_LIMITS,
    invited_by=HOSTILE,
    expires_at=LATER,
)
_NEW = {
    "newer_url": None,
    "older_url": None,
    "may_give": True,
    "units_each_max": 100,
    "idempotency_key": str(ID),
    "form": Form(),
}
_NO_ORGANISATION = Form({}, (FieldError("lembaga", SAMPLE_REFUSAL.id, SAMPLE_REFUSAL.en),))

GRANTS: list[tuple[str, str, dict[str, Any], bool]] = [
    ("groups", "accounts/groups.html", {"groups": [(_GROUP, _OWNER)], "acting_for": None, "form": Form()}, True),
    ("groups_in_use", "accounts/groups.html", {"groups": [(_GROUP, _OWNER)], "acting_for": ID, "form": Form()}, True),
    ("groups_none", "accounts/groups.html", {"groups": [], "acting_for": None, "form": Form()}, True),
    ("group", "accounts/group.html", _GROUP_PAGE, True),
    ("group_invited", "accounts/group.html", {**_GROUP_PAGE, "made": _MADE, "made_url": "https://m/undangan/k"}, True),
    ("group_mistake", "accounts/group.html", {**_GROUP_PAGE, "is_acting": True, "form": _LIMIT_WRONG}, True),
    ("group_approved", "accounts/group.html", {**_GROUP_PAGE, "group": _APPROVED}, True),
    (
        "office_groups",
        "accounts/office_groups.html",
        {"groups": [_IN_OFFICE], "approved": False, "newer_url": None, "older_url": "/x"},
        True,
    ),
    (
        "office_groups_approved",
        "accounts/office_groups.html",
        {"groups": [], "approved": True, "newer_url": None, "older_url": None},
        True,
    ),
    ("office_group", "accounts/office_group.html", {"group": _IN_OFFICE, "changes": [], "form": Form()}, True),
    (
        "office_group_approved",
        "accounts/office_group.html",
        {
            "group": _IN_OFFICE_APPROVED,
            "changes": _APPROVALS,
            "form": Form({"note": HOSTILE}, (FieldError("note", SAMPLE_REFUSAL.id, SAMPLE_REFUSAL.en),)),
        },
        True,
    ),
    ("act_for_self", "accounts/act_for_self.html", {"next": "/unggah"}, True),
    (
        "confirm",
        "web/confirm.html",
        {
            "title": ("Akhiri program sekarang?", "End the programme now?"),
            "sentences": [("Tidak dapat dibuka kembali.", "It cannot be opened again.")],
            "facts": [(("Program", "Programme"), HOSTILE), (("Kembali sekarang", "Returned now"), "1.200")],
            "fields": {"reference": HOSTILE},
            "action": "/program/x/akhiri",
            "button": ("Ya, akhiri program", "Yes, end the programme"),
            "back_url": "/program/x/kelola",
        },
        True,
    ),
    ("group_plain", "accounts/group.html", {**_GROUP_PAGE, "group": _PLAIN, "is_acting": True, "role": _MEMBER}, True),
    (
        "group_history",
        "accounts/group_history.html",
        {"group": _PLAIN, "deeds": _DEEDS, "newer_url": "/x", "older_url": "/y"},
        True,
    ),
    (
        "group_member",
        "accounts/group_member.html",
        {
            "group": _GROUP,
            "seat": _SEAT,
            "roles": _ROLES,
            "is_self": False,
            "may_change": True,
            "form": Form({"role": "member"}),
        },
        True,
    ),
    ("invitation", "accounts/invitation.html", {"invited": _INVITED, "role": _MEMBER, "code": "kode"}, True),
    (
        "programmes",
        "partners/programmes.html",
        {**_NEW, "programmes": [(_PROGRAMME, ("ok", "terbuka", "open"))], "older_url": "/x"},
        True,
    ),
    (
        "programmes_mistake",
        "partners/programmes.html",
        {
            **_NEW,
            "programmes": [],
            "form": Form({"message": HOSTILE}, (FieldError("name", SAMPLE_REFUSAL.id, SAMPLE_REFUSAL.en),)),
        },
        True,
    ),
    ("programmes_none", "partners/programmes.html", {**_NEW, "programmes": [], "may_give": False}, True),
    (
        "programmes_refused",
        "partners/programmes.html",
        {
            **_NEW,
            "programmes": [(_PROGRAMME, ("ok", "terbuka", "open"))],
            "may_give": False,
            "form": _NO_ORGANISATION,
        },
        True,
    ),
    ("programme", "partners/programme.html", _PROGRAMME_PAGE, True),
    (
        "programme_stopped",
        "partners/programme.html",
        {**_PROGRAMME_PAGE, "may_give": False, "form": _NO_ORGANISATION},
        True,
    ),
    ("programme_list", "partners/programme.html", {**_PROGRAMME_PAGE, "report": _REPORT}, True),
    (
        "programme_ended",
        "partners/programme.html",
        {**_PROGRAMME_PAGE, "is_open": False, "state": ("info", "berakhir", "ended")},
        True,
    ),
    ("claim", "partners/claim.html", _CLAIMING, True),
    ("claim_stranger", "partners/claim.html", _CLAIMING, False),
    ("claim_mistake", "partners/claim.html", {**_CLAIMING, "form": _MISTYPED}, True),
    ("claim_over", "partners/claim.html", {**_CLAIMING, "is_open": False}, True),
    ("claimed", "partners/claim.html", {**_CLAIMING, "claim": _CLAIM}, True),
    ("claim_ended", "partners/claim.html", {**_CLAIMING, "claim": _ENDED, "is_open": False}, True),
    ("grants", "partners/grants.html", {"grants": [_CLAIM, _ENDED]}, True),
    ("grants_none", "partners/grants.html", {"grants": []}, True),
]
"""A key, a template, what the routes hand over, and whether somebody is signed in."""
