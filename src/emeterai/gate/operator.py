"""The operator's room: what an operator sees of every lane, and the levers, each confirmed, on record, and undone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from emeterai.core.brownout import Step
from emeterai.core.refusal import Refused
from emeterai.gate.controller import WHY, Paces
from emeterai.gate.lanes import LANE_UNUSABLE, Change, Lane, LaneKind, Lanes, changed, in_order
from emeterai.gate.now import EstimateError, NowFiles, NowServing
from emeterai.gate.room_page import Words, span_of
from emeterai.infra.clock import utc_now
from emeterai.web.formats import ZONE_DEFAULT

_ZONE = ZoneInfo(ZONE_DEFAULT)
_NUMBERS = {"floor_per_s", "ceiling_per_s"}
_FLAGS = {"paused", "always_room"}
_TIMES = {"opens_at", "closes_at"}
_COUNTS = {"rests_from"}
LEVERS: Mapping[str, tuple[str, str]] = {
    "title": ("Nama yang dibaca orang", "Name that people read"),
    "share": ("Jatah (%)", "Share (%)"),
    "floor_per_s": ("Masuk per detik, paling sedikit", "Let in a second, at least"),
    "ceiling_per_s": ("Masuk per detik, paling banyak (0: tanpa batas)", "Let in a second, at most (0: no limit)"),
    "opens_at": ("Dibuka (WIB)", "Opens (WIB)"),
    "closes_at": ("Ditutup (WIB)", "Closes (WIB)"),
    "rests_from": ("Langkah penghematan, paling sedikit (0-7)", "Brown-out step, at least (0-7)"),
    "colour": ("Warna", "Colour"),
    "paused": ("Dijeda: tidak ada yang masuk", "Paused: nobody is let in"),
    "always_room": ("Selalu lewat ruang tunggu", "Always through the waiting room"),
    "message_id": ("Pesan untuk yang menunggu", "Message to those waiting, in Indonesian"),
    "message_en": ("Pesan dalam bahasa Inggris", "Message in English"),
}
"""The levers of a lane, with their names in both languages."""
NEW_LEVERS = ("title", "opens_at", "closes_at")
"""What a lane is made with: its times from the start, so that it is never open before its draw."""
STEPS: Mapping[Step, tuple[str, str]] = {
    Step.NONE: ("Semua jalan", "Everything works"),
    Step.HISTORY: ("Riwayat beristirahat", "Histories rest"),
    Step.PREVIEWS: ("Riwayat dan pemeriksaan berkas beristirahat", "Histories and checking of files rest"),
    Step.STATISTICS: (
        "Riwayat, pemeriksaan berkas, hitungan umum beristirahat",
        "Histories, checking of files and public sums rest",
    ),
    Step.LOOKING: ("Semua yang hanya melihat beristirahat", "Everything that only looks rests"),
    Step.ENTERING: ("Masuk dan daftar beristirahat", "Signing in and up rests"),
    Step.BUYING: ("Pembelian dan unggahan beristirahat", "Buying and uploading rest"),
    Step.STAMPING: ("Pembubuhan baru beristirahat", "New stamps rest"),
}
"""What each step of the brown-out means."""


@dataclass(frozen=True, slots=True)
class LaneView:
    """One lane as the room shows it. `wait` is what the last in line is told, None when nobody waits or nobody is told;
    `estimates` how good what was told has been; `step_number` what rests in this lane, measured or by its lever;
    `dates` where its dates have it now, paused or not.
    """

    lane: Lane
    dates: Literal["before_opening", "open", "closed"]
    waiting: int
    inside: int
    per_s: float
    admitted: int
    in_flight: int
    queued: int
    refused: Mapping[str, int]
    goodput: float
    wait: Words | None
    estimates: EstimateError | None
    step: Words
    step_number: int
    pass_needed: bool
    why: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class RoomView:
    """All lanes, and what they share: `goodput` is of all of them, the step what the service itself has measured."""

    lanes: Sequence[LaneView]
    goodput: float
    window: float
    step: Words
    step_number: int


def room_view(lanes: Lanes, paces: Paces, files: NowFiles) -> RoomView:
    """The room as it is now, lanes in which people wait first; `files` are what those see who wait."""
    views = [_lane_view(lane, paces, _published(files, lane.name)) for lane in in_order(lanes.now)]
    views.sort(key=lambda view: view.waiting == 0)
    found = [paces.now(name) for name in lanes.now]
    step = Step(max((one.step for one in found), default=0))
    return RoomView(
        views,
        goodput=max((one.settled for one in found), default=0.0),
        window=max((one.window for one in found), default=0.0),
        step=STEPS[step],
        step_number=int(step),
    )


def _published(files: NowFiles, lane: str) -> NowServing | None:
    """What those see who wait; None for a lane that is too young to have its file."""
    try:
        return files.read(lane)
    except Refused:
        return None


def _wait_of_last(now: NowServing | None) -> Words | None:
    """What the last in line is told."""
    if now is None or now.state != "open" or now.last_turn <= now.now_serving:
        return None
    return span_of(*now.wait_of(now.last_turn))


def _lane_view(lane: Lane, paces: Paces, now: NowServing | None) -> LaneView:
    pace = paces.now(lane.name)
    step = Step(max(pace.step, lane.rests_from))
    return LaneView(
        lane,
        dates=_dates(lane, utc_now()),
        waiting=pace.waiting,
        inside=pace.inside,
        per_s=pace.per_s,
        admitted=pace.admitted,
        in_flight=pace.in_flight,
        queued=pace.queued,
        refused=pace.refused,
        goodput=pace.goodput,
        wait=_wait_of_last(now),
        estimates=None if now is None else now.estimate_error,
        step=STEPS[step],
        step_number=int(step),
        pass_needed=pace.pass_needed,
        why=[(reason.id, reason.en) for code, reason in WHY.items() if code in pace.reasons],
    )


def _dates(lane: Lane, at: datetime) -> Literal["before_opening", "open", "closed"]:
    if lane.is_open_at(at):
        return "open"
    return "closed" if lane.closes_at is not None and lane.closes_at <= at else "before_opening"


def fields_of(lane: Lane) -> dict[str, str]:
    """The levers of a lane as a form shows them."""
    return {name: shown(name, getattr(lane, name)) for name in LEVERS}


def shown(name: str, value: object) -> str:
    """One lever's value as text."""
    if value is None or value is False:
        return ""
    if value is True:
        return "ya"
    if name == "share":
        return f"{float(str(value)) * 100:.9g}"
    if isinstance(value, datetime):
        return value.astimezone(_ZONE).strftime("%Y-%m-%dT%H:%M")
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def lane_from(lane: Lane, fields: Mapping[str, str]) -> Lane:
    """The lane that a form asks for. Raises `lane_unusable`, which names what cannot be read."""
    return changed(lane, {name: _read(name, fields.get(name, "").strip()) for name in LEVERS})


def new_lane(fields: Mapping[str, str]) -> Lane:
    """A new campaign's lane, with its name and its times, and all else as by default. Raises `lane_unusable`."""
    wanted = {name: _read(name, fields.get(name, "").strip()) for name in NEW_LEVERS}
    name = fields.get("name", "").strip()
    return changed(Lane(name="campaign", kind=LaneKind.CAMPAIGN, title="-"), {"name": name, **wanted})


def _read(name: str, text: str) -> object:
    if "\0" in text:
        raise LANE_UNUSABLE(detail=f"{name}: {text[:40]!r}", field=name)
    try:
        if name in _FLAGS:
            return text == "ya"
        if name == "share":
            return round(float(text or "0") / 100, 9)
        if name in _NUMBERS:
            return float(text or "0")
        if name in _COUNTS:
            return int(text or "0")
        if name in _TIMES:
            return datetime.fromisoformat(text).replace(tzinfo=_ZONE).astimezone(UTC) if text else None
    except (ValueError, OverflowError) as error:
        raise LANE_UNUSABLE(detail=f"{name}: {text[:40]!r}", field=name) from error
    return text


def differences(change: Change) -> list[tuple[tuple[str, str], str, str]]:
    """What a change changed: the lever's names, before, after."""
    pairs = [(name, shown(name, before), shown(name, after)) for name, before, after in change.differences()]
    return [(LEVERS.get(name, (name, name)), before, after) for name, before, after in pairs if before or after]


def would_change(lane: Lane | None, wanted: Lane | None) -> list[tuple[tuple[str, str], str, str]]:
    """What would change: the lever's names, before, after. None: there is no such lane, before or after."""
    values = [(name, getattr(lane, name, None), getattr(wanted, name, None)) for name in LEVERS]
    pairs = [(name, shown(name, before), shown(name, after)) for name, before, after in values if before != after]
    return [(LEVERS[name], before, after) for name, before, after in pairs if before or after]
