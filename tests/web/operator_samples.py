"""What the operator's pages are shown with in tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from emeterai.core.brownout import Step
from emeterai.gate.lanes import DEFAULTS, Change, Lane, LaneKind
from emeterai.gate.now import EstimateError
from emeterai.gate.operator import LEVERS, STEPS, LaneView, RoomView, differences, fields_of, would_change
from emeterai.gate.room_page import span_of
from emeterai.web.forms import FieldError, Form

CAMPAIGN = Lane(
    name="cpns-2026",
    title="CPNS 2026",
    share=0.1,
    message_id="Kami di sini.",
    message_en="We are here.",
    opens_at=datetime(2026, 12, 1, 2, tzinfo=UTC),
    closes_at=datetime(2026, 12, 31, 16, 59, tzinfo=UTC),
)
BEFORE = DEFAULTS["retail"]
AFTER = Lane(name="retail", kind=LaneKind.RETAIL, title="Umum", share=0.3, paused=True, ceiling_per_s=5.0)
CHANGE = Change(
    number=7,
    at=datetime(2026, 11, 22, 9, 30, tzinfo=UTC),
    by="Siti Rahayu (01a2)",
    lane="retail",
    before=BEFORE,
    after=AFTER,
    undoes=6,
)


def view(lane: Lane, *, waiting: int = 0) -> LaneView:
    """A lane with so many waiting."""
    return LaneView(
        lane,
        dates="before_opening" if lane.opens_at else "open",
        waiting=waiting,
        inside=612,
        per_s=23.4,
        admitted=310,
        in_flight=31,
        queued=12,
        refused={"browse": 2_104, "buy": 12},
        goodput=21.0 if waiting else 0.0,
        wait=span_of(waiting / 27, waiting / 19) if waiting else None,
        estimates=EstimateError(4_120, 0.9312, -12.4) if waiting else None,
        step=STEPS[Step(lane.rests_from)],
        step_number=lane.rests_from,
        pass_needed=waiting > 0,
        why=[("Pembubuhan sedang penuh.", "Stamping is at its limit.")] if waiting else [],
    )


BUSY = RoomView(
    [view(BEFORE, waiting=31_305), view(AFTER), view(CAMPAIGN, waiting=1)],
    goodput=59.7,
    window=687.0,
    step=STEPS[Step.STATISTICS],
    step_number=3,
)
CALM = RoomView([view(BEFORE)], goodput=0.0, window=300.0, step=STEPS[Step.NONE], step_number=0)
TYPED = Form({**fields_of(AFTER), "seen": "7"})
WRONG = Form({**fields_of(AFTER), "share": "200"}, (FieldError("share", "Terlalu besar.", "Too large."),))
STALE = Form({**fields_of(AFTER), "seen": "3"}, (FieldError("levers", "Muat ulang.", "Reload."),))
CONFIRM = {"lane": BEFORE, "action": "/operator/jalur/retail", "is_undo": False, "holding": 0}
TAKEN_AWAY = {"lane": CAMPAIGN, "action": "/operator/perubahan/3", "is_undo": True, "holding": 31_305}
OPERATOR: list[tuple[str, str, dict[str, Any]]] = [
    ("operator", "gate/operator.html", {"room": BUSY, "refresh_s": 1, "changes": [(CHANGE, differences(CHANGE))]}),
    ("operator_calm", "gate/operator.html", {"room": CALM, "refresh_s": 0, "changes": []}),
    ("operator_lane", "gate/operator_lane.html", {"lane": AFTER, "form": TYPED, "levers": LEVERS}),
    ("operator_lane_wrong", "gate/operator_lane.html", {"lane": AFTER, "form": WRONG, "levers": LEVERS}),
    ("operator_lane_stale", "gate/operator_lane.html", {"lane": AFTER, "form": STALE, "levers": LEVERS}),
    (
        "operator_confirm",
        "gate/operator_confirm.html",
        {**CONFIRM, "differences": would_change(BEFORE, AFTER), "fields": {"share": "30", "seen": "0"}},
    ),
    (
        "operator_confirm_undo",
        "gate/operator_confirm.html",
        {**CONFIRM, "differences": would_change(AFTER, BEFORE), "fields": {"seen": "7"}, "is_undo": True},
    ),
    (
        "operator_confirm_taken_away",
        "gate/operator_confirm.html",
        {**TAKEN_AWAY, "differences": would_change(CAMPAIGN, None), "fields": {"seen": "3"}},
    ),
    ("operator_confirm_nothing", "gate/operator_confirm.html", {**CONFIRM, "differences": [], "fields": {}}),
    ("operator_new", "gate/operator_new.html", {"form": Form()}),
]
"""Every page: a name, its template and its context."""
