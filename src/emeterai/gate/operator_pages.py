"""The operator's room as pages: `/operator`. The application lets in staff with that role, and nobody else."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, cast
from uuid import UUID

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.response import Redirect

from emeterai.core.refusal import Refused
from emeterai.gate.keeper import Kept
from emeterai.gate.lanes import DRAW_TOO_LATE, LANE_UNUSABLE, SHARES_TOO_LARGE, Lane
from emeterai.gate.operator import (
    LEVERS,
    NEW_LEVERS,
    differences,
    fields_of,
    lane_from,
    new_lane,
    room_view,
    would_change,
)
from emeterai.gate.room_routes import gate_of
from emeterai.infra.clock import utc_now
from emeterai.web import paths
from emeterai.web.confirming import Question, ask_first, is_confirmed
from emeterai.web.csrf import Csrf, checked_form, texts_of
from emeterai.web.forms import FieldError, Form
from emeterai.web.pages import Pages

_CHANGES_SHOWN = 30
_REFRESH_S = 1
_DIGITS_MAX = 18
_WHOLE = "levers"
"""The form itself, to whoever looks for what is wrong."""
_FIELD_OF = {SHARES_TOO_LARGE.code: "share", DRAW_TOO_LATE.code: "opens_at"}
_AT_ONCE = (
    "Jalur ini dibuka untuk semua orang dalam sekitar satu detik, tanpa undian; undian tidak bisa menyusul.",
    "This lane is open to everybody within about a second, without a draw; a draw cannot be added later.",
)
_BY_DRAW = (
    "Jalur ini terlihat dalam sekitar satu detik. Sampai dibuka orang mengambil nomor undian; belum ada yang masuk.",
    "This lane is seen within about a second. Until it opens people take numbers for the draw; nobody comes in before.",
)
AnyRequest = Request[Any, Any, Any]


class Member(Protocol):
    """Who is there: a member of staff, found out by the application."""

    @property
    def name(self) -> str:
        """The person's name."""

    @property
    def account_id(self) -> UUID:
        """The person's account."""


Staff = NamedDependency[Any]


class PageServices(Protocol):
    """What these pages find in the application's `state["services"]`."""

    pages: Pages
    csrf: Csrf


class OperatorPages(Controller):
    """See every lane, and change it."""

    path = paths.OPERATOR
    include_in_schema = False

    @get()
    async def room(self, request: AnyRequest, staff: Staff) -> Response[bytes]:  # noqa: ARG002 - the door of staff
        """All lanes, looked at again each second, and the newest changes."""
        kept = _kept(request)
        changes = [(change, differences(change)) for change in await kept.lanes.changes(limit=_CHANGES_SHOWN)]
        return _pages(request).render(
            request,
            "gate/operator.html",
            room=room_view(kept.lanes, kept.paces, gate_of(request).reception.now),
            changes=changes,
            refresh_s=_REFRESH_S if request.query_params.get("refresh") != "0" else 0,
        )

    @get(paths.OPERATOR_NEW)
    async def empty(self, request: AnyRequest, staff: Staff) -> Response[bytes]:  # noqa: ARG002 - the door of staff
        """The form for a new campaign."""
        return _pages(request).render(request, "gate/operator_new.html", form=Form())

    @post(paths.OPERATOR_NEW)
    async def make(self, request: AnyRequest, staff: Staff) -> Response[Any]:
        """Show what lane there would be; with `confirmed` make it, with its times, with no share of its own yet."""
        fields, lanes = await _fields(request), _kept(request).lanes
        try:
            lane = new_lane(fields)
            if lane.name in lanes.now:
                raise LANE_UNUSABLE(detail="there is a lane of this name", field="name")
            if not is_confirmed(fields):
                return ask_first(_pages(request), request, _making(lane))
            await lanes.change(lane, by=_name_of(staff), seen=0)
        except Refused as refused:
            form = _wrong(fields, refused, ("name", *NEW_LEVERS))
            return _pages(request).render(request, "gate/operator_new.html", status_code=refused.kind.status, form=form)
        return _go(paths.operator_lane(lane.name))

    @get("/jalur/{name:str}")
    async def levers(self, request: AnyRequest, staff: Staff, name: FromPath[str]) -> Response[bytes]:  # noqa: ARG002
        """The levers of one lane."""
        lanes = _kept(request).lanes
        lane = lanes.get(name)
        return _levers(request, lane, Form({**fields_of(lane), "seen": str(lanes.number_of(name))}))

    @post("/jalur/{name:str}")
    async def change(self, request: AnyRequest, staff: Staff, name: FromPath[str]) -> Response[Any]:
        """Show what would change; with `confirmed` change it."""
        fields, lanes = await _fields(request), _kept(request).lanes
        lane = lanes.get(name)
        try:
            wanted = lane_from(lane, fields)
            if not is_confirmed(fields):
                return _pages(request).render(
                    request,
                    "gate/operator_confirm.html",
                    lane=lane,
                    differences=would_change(lane, wanted),
                    holding=0,
                    fields={key: fields.get(key, "") for key in (*LEVERS, "seen")},
                    action=paths.operator_lane(name),
                    is_undo=False,
                )
            await lanes.change(wanted, by=_name_of(staff), seen=_seen(fields))
        except Refused as refused:
            return _levers(request, lane, _wrong(fields, refused, LEVERS), status_code=refused.kind.status)
        return _go(paths.OPERATOR)

    @get("/perubahan/{number:int}")
    async def look_back(self, request: AnyRequest, staff: Staff, number: FromPath[int]) -> Response[bytes]:  # noqa: ARG002
        """What undoing a change would do to the lane as it is now, and the button that does it."""
        kept = _kept(request)
        undoing = await kept.lanes.undoing(number)
        return _pages(request).render(
            request,
            "gate/operator_confirm.html",
            lane=undoing.now or undoing.wanted,
            differences=would_change(undoing.now, undoing.wanted),
            holding=kept.paces.now(undoing.change.lane).waiting if undoing.wanted is None else 0,
            fields={"seen": str(undoing.seen)},
            action=paths.operator_change(number),
            is_undo=True,
        )

    @post("/perubahan/{number:int}")
    async def undo(self, request: AnyRequest, staff: Staff, number: FromPath[int]) -> Response[Any]:
        """Undo a change as it was shown: another change."""
        fields = await _fields(request)
        await _kept(request).lanes.undo(number, by=_name_of(staff), seen=_seen(fields))
        return _go(paths.OPERATOR)


def _kept(request: AnyRequest) -> Kept:
    return cast("Kept", request.app.state["gate"])


def _pages(request: AnyRequest) -> Pages:
    return cast("PageServices", request.app.state["services"]).pages


async def _fields(request: AnyRequest) -> dict[str, str]:
    """The texts of a form that one of our pages showed. Raises `csrf_failed`, `request_malformed`."""
    return texts_of(await checked_form(request, cast("PageServices", request.app.state["services"]).csrf))


def _seen(fields: Mapping[str, str]) -> int:
    """The change that whoever sent a form had looked at; one that there is not where the form does not say it."""
    text = fields.get("seen", "")
    return int(text) if text.isdecimal() and len(text) <= _DIGITS_MAX else -1


def _wrong(fields: Mapping[str, str], refused: Refused, names: Collection[str]) -> Form:
    """A form as it was typed, with what is wrong at the field where it is put right; else at the form as a whole."""
    at = str(refused.facts.get("field", _FIELD_OF.get(refused.code, "")))
    return Form(fields, (FieldError(at if at in names else _WHOLE, refused.id, refused.en),))


def _making(lane: Lane) -> Question:
    """What is asked before there is a new lane."""
    shown_fields = fields_of(lane)
    fields = {name: shown_fields[name] for name in NEW_LEVERS}
    return Question(
        title=("Periksa dahulu", "Look first"),
        sentences=(
            _AT_ONCE if lane.opens_at is None or lane.opens_at <= utc_now() else _BY_DRAW,
            (
                "Nama Anda ada dalam catatan. Jatah dan batasnya diatur sesudah itu.",
                "Your name is on record. Its share and its limits are set after that.",
            ),
        ),
        button=("Buat jalur", "Make the lane"),
        action=f"{paths.OPERATOR}{paths.OPERATOR_NEW}",
        back_url=paths.OPERATOR,
        facts=(
            (("Nama di alamat", "Name in the address"), lane.name),
            *((LEVERS[name], text) for name, text in fields.items() if text),
        ),
        fields={"name": lane.name, **fields},
    )


def _levers(request: AnyRequest, lane: Lane, form: Form, *, status_code: int = 200) -> Response[bytes]:
    return _pages(request).render(
        request, "gate/operator_lane.html", status_code=status_code, lane=lane, form=form, levers=LEVERS
    )


def _name_of(staff: Member) -> str:
    return f"{staff.name} ({staff.account_id})"


def _go(path: str) -> Response[Any]:
    return Redirect(path, status_code=303, headers={"cache-control": "no-store"})


controllers: tuple[type[Any], ...] = (OperatorPages,)
"""What the application mounts, behind a dependency `staff`."""
