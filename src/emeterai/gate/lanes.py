"""Lanes: who shares the service with whom, and by what right. Configuration in the database, changed while running.

Every process holds the lanes in memory (`Lanes.now`), hears of a change over the bus and looks by itself every second.
With the database away the lanes stay as they were seen last; without any row they are DEFAULTS.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import msgspec
import structlog

from emeterai.core.admission import fair_shares
from emeterai.core.refusal import RefusalKind, Refused
from emeterai.gate import lane_store
from emeterai.infra.bus import Bus
from emeterai.infra.database import Connection, Database
from emeterai.infra.interruption import INTERRUPTIONS

LANES_CHANGED = "lanes"
"""The key on the bus."""
RETAIL, PARTNERS, ENTERPRISES, STAFF = "retail", "partners", "enterprises", "staff"
_LOOK_AGAIN_S = 1.0
_SHARES_MAX = 1.000_001
"""All of it: fractions that people type as per cent do not add up to it exactly."""
_NUMBER_MAX = 2**63 - 1
_FIELD = re.compile(r"`\$\.([a-z_]+)`")
"""Which field a sentence of msgspec is about."""
_log = structlog.get_logger(__name__)

LANE_UNKNOWN = RefusalKind(
    "lane_unknown", 404, "Tidak ada jalur dengan nama ini; lihat daftar jalur.", "There is no such lane; see the list."
)
LANE_UNUSABLE = RefusalKind(
    "lane_unusable",
    422,
    "Jalur ini tidak dapat dibuat begitu: {detail}. Perbaiki lalu kirim lagi.",
    "A lane cannot be like that: {detail}. Put it right and send it again.",
)
SHARES_TOO_LARGE = RefusalKind(
    "shares_too_large",
    409,
    "Jumlah jatah semua jalur menjadi {percent} %; kurangi jatah sebuah jalur dahulu.",
    "The shares of all lanes would come to {percent} %; lower the share of a lane first.",
)
LANE_CHANGED_MEANWHILE = RefusalKind(
    "lane_changed_meanwhile",
    409,
    "Jalur ini baru saja diubah orang lain; muat ulang dan periksa dahulu.",
    "Somebody else has just changed this lane; reload and look first.",
)
LANE_CHANGED_SINCE = RefusalKind(
    "lane_changed_since",
    409,
    "Jalur ini sudah diubah lagi sesudah itu; urungkan dahulu perubahan yang lebih baru.",
    "This lane has been changed again since then; undo the newer changes first.",
)
LANE_CHANGE_UNKNOWN = RefusalKind(
    "lane_change_unknown",
    404,
    "Tidak ada perubahan jalur dengan nomor ini; lihat perubahan terbaru di ruang operator.",
    "There is no change of a lane with this number; see the latest changes in the operator's room.",
)
DRAW_TOO_LATE = RefusalKind(
    "draw_too_late",
    409,
    "Jalur ini sudah pernah dibuka atau memberi nomor, jadi undian tidak bisa lagi. Buat jalur baru dengan nama "
    "lain dan waktu bukanya; untuk menahan jalur ini, jeda saja.",
    "This lane has been open or has given numbers, so there can be no draw any more. Make a new lane, under another "
    "name, with its opening time; to hold this one back, pause it.",
)


class LaneKind(StrEnum):
    """What a lane is for."""

    RETAIL = "retail"
    CAMPAIGN = "campaign"
    PARTNERS = "partners"
    ENTERPRISES = "enterprises"
    STAFF = "staff"


Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Rate = Annotated[float, msgspec.Meta(ge=0.0, le=1_000_000.0)]
Text = Annotated[str, msgspec.Meta(max_length=400)]


class Lane(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One lane as it is configured."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,39}$")]
    kind: LaneKind = LaneKind.CAMPAIGN
    title: Annotated[str, msgspec.Meta(min_length=1, max_length=80)]
    """As people read it."""
    colour: Annotated[str, msgspec.Meta(pattern=r"^#[0-9a-f]{6}$")] = "#9c1458"
    """Its look: the accent of its pages."""
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    share: Share = 0.0
    """The part of every scarce thing that is kept for it; what it does not use others borrow."""
    floor_per_s: Rate = 0.2
    """People let in a second even when nothing is known or nothing goes."""
    ceiling_per_s: Rate = 0.0
    """People let in a second at most; 0: as many as the service can serve."""
    paused: bool = False
    """Nobody is let in; those inside go on."""
    always_room: bool = False
    """Everybody comes through the waiting room, also when it is quiet."""
    rests_from: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0
    """The brown-out is at this step at least, in this lane (core/brownout.py)."""
    message_id: Text = ""
    message_en: Text = ""
    """What those who wait are told."""

    def is_open_at(self, at: datetime) -> bool:
        """Whether `at` lies within the lane's dates."""
        return (self.opens_at is None or self.opens_at <= at) and (self.closes_at is None or at < self.closes_at)

    def is_held_at(self, at: datetime) -> bool:
        """Whether nobody is let in at `at`: it is paused, or outside its dates."""
        return self.paused or not self.is_open_at(at)


DEFAULTS: Mapping[str, Lane] = {
    lane.name: lane
    for lane in (
        Lane(name=RETAIL, kind=LaneKind.RETAIL, title="Umum", share=0.40),
        Lane(name=PARTNERS, kind=LaneKind.PARTNERS, title="Mitra", share=0.25),
        Lane(name=ENTERPRISES, kind=LaneKind.ENTERPRISES, title="Perusahaan", share=0.15),
        Lane(name=STAFF, kind=LaneKind.STAFF, title="Petugas", share=0.05),
    )
}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a lane, on record for ever. `before` None: it was as by default; `after` None: it is again."""

    number: int
    at: datetime
    by: str
    lane: str
    before: Lane | None
    after: Lane | None
    undoes: int | None

    def differences(self) -> list[tuple[str, object, object]]:
        """What differs: the field, and its value before and after."""
        before, after = self.before or DEFAULTS.get(self.lane), self.after or DEFAULTS.get(self.lane)
        names = Lane.__struct_fields__
        pairs = [(name, getattr(before, name, None), getattr(after, name, None)) for name in names]
        return [(name, old, new) for name, old, new in pairs if old != new]

    def undone(self, now: Lane | None) -> Lane | None:
        """The lane `now` without this change: what it changed is as before, all else stays. None: there is none.

        A change that made or removed a lane touches all of it: only as long as the lane is as it left it. Raises
        `lane_changed_since`, `lane_unknown`, `lane_unusable`.
        """
        if self.lane not in DEFAULTS and (self.before is None or self.after is None):
            if now != self.after:
                raise LANE_CHANGED_SINCE()
            return self.before
        if now is None:
            raise LANE_UNKNOWN()
        return changed(now, {name: old for name, old, _ in self.differences()})


class Undoing(msgspec.Struct, frozen=True, kw_only=True):
    """What undoing a change would do: make the lane `wanted` of what it is `now`, by change number `seen`."""

    change: Change
    now: Lane | None
    wanted: Lane | None
    seen: int


class Lanes:
    """The lanes as this process knows them, and the only way to change them."""

    def __init__(self, db: Database, bus: Bus) -> None:
        self._db = db
        self._bus = bus
        self._now: Mapping[str, Lane] = DEFAULTS
        self._numbers: Mapping[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def now(self) -> Mapping[str, Lane]:
        """Every lane by its name."""
        return self._now

    def get(self, name: str) -> Lane:
        """One lane. Raises `lane_unknown`."""
        lane = self._now.get(name)
        if lane is None:
            raise LANE_UNKNOWN()
        return lane

    def shares(self) -> dict[str, float]:
        """The guaranteed fraction of every lane."""
        return fair_shares({name: lane.share for name, lane in self._now.items()})

    def number_of(self, name: str) -> int:
        """The number of the change that made the lane what it is; 0 as by default."""
        return self._numbers.get(name, 0)

    async def start(self) -> None:
        """Look once, if the database answers, and go on looking until `close`."""
        with contextlib.suppress(Refused, *INTERRUPTIONS):
            await self.look()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def look(self) -> None:
        """Read the lanes. Raises what the database raises; the lanes then stay as they were."""
        self._know(await lane_store.read_lanes(self._db))

    def _know(self, rows: lane_store.OnRecord) -> None:
        found = {name: _lane_of(text) for name, text, _ in rows}
        self._now = {**DEFAULTS, **found}
        self._numbers = {name: number for name, _, number in rows}

    async def change(self, lane: Lane, *, by: str, seen: int) -> Change:
        """Make a lane, or make it what `lane` says; `by` names who does it.

        `seen` is the number of the change that the person looked at. Raises `lane_unusable`, `shares_too_large`,
        `lane_changed_meanwhile`, `draw_too_late`.
        """
        return await self._write(lane.name, _checked(lane), by=by, seen=seen)

    async def undoing(self, number: int) -> Undoing:
        """What undoing a change would do now. Raises `lane_change_unknown`, `lane_unknown`, `lane_changed_since`,
        `lane_unusable`.
        """
        row = await lane_store.read_change(self._db, number) if 0 < number <= _NUMBER_MAX else None
        if row is None:
            raise LANE_CHANGE_UNKNOWN()
        change = _change_of(row)
        await self.look()
        now = self._now.get(change.lane)
        return Undoing(change=change, now=now, wanted=change.undone(now), seen=self.number_of(change.lane))

    async def undo(self, number: int, *, by: str, seen: int) -> Change:
        """Take back what one change changed, and nothing that came later: itself a change.

        `seen` is the number of the change that made the lane what the person looked at. Raises what `undoing` and
        `change` do.
        """
        undoing = await self.undoing(number)
        if undoing.seen != seen:
            raise LANE_CHANGED_MEANWHILE()
        name = undoing.change.lane
        after = undoing.wanted if undoing.wanted != DEFAULTS.get(name) else None
        return await self._write(name, after, by=by, seen=seen, undoes=number)

    async def changes(self, *, limit: int = 50) -> list[Change]:
        """The newest changes of all lanes, newest first."""
        return [_change_of(row) for row in await lane_store.read_changes(self._db, limit=limit)]

    async def _write(self, name: str, after: Lane | None, *, by: str, seen: int, undoes: int | None = None) -> Change:
        """Put a change on record. What it is checked against nobody else changes before it is written."""
        async with lane_store.changing(self._db) as (tx, rows):
            self._know(rows)
            before = self._now.get(name) if self.number_of(name) else None
            texts = [msgspec.json.encode(one).decode() if one is not None else None for one in (before, after)]
            if texts[0] == texts[1]:
                raise LANE_UNUSABLE(detail="nothing would change")
            if seen != self.number_of(name):
                raise LANE_CHANGED_MEANWHILE()
            self._check_shares(name, after)
            if after is not None and after.opens_at and after.opens_at != (before.opens_at if before else None):
                is_new = before is None and undoes is None
                try:
                    await lane_store.await_draw(tx, name, after.opens_at, is_new=is_new)
                except lane_store.OpenedError as error:
                    raise DRAW_TOO_LATE() from error
            number, at = await lane_store.write_change(tx, name, texts[0], texts[1], by=by, undoes=undoes)
        _log.info("lane_changed", lane=name, by=by, change=number, undoes=undoes)
        await self.look()
        self._bus.publish([LANES_CHANGED])
        return Change(number=number, at=at, by=by, lane=name, before=before, after=after, undoes=undoes)

    def _check_shares(self, name: str, after: Lane | None) -> None:
        """Raises `shares_too_large` for a change that itself makes them so: where they are already, whatever does not
        raise them is done, or no lever could be pulled until somebody had found out which lane to lower.
        """
        was, will_be = (lane.share if lane else 0.0 for lane in (self._now.get(name), after or DEFAULTS.get(name)))
        total = sum(lane.share for lane in self._now.values()) - was + will_be
        if will_be > was and total > _SHARES_MAX:
            raise SHARES_TOO_LARGE(percent=round(total * 100))

    async def _run(self) -> None:
        with self._bus.listening(LANES_CHANGED) as news:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_AGAIN_S):
                        await news.wait()
                news.clear()
                try:
                    await self.look()
                except (Refused, *INTERRUPTIONS) as error:
                    _log.warning("lanes_not_seen", error=type(error).__name__)
                except Exception:  # noqa: BLE001 - lanes as they were are better than none that are looked at again
                    _log.exception("lanes_not_read")


async def require_lane(db: Database, name: str) -> None:
    """For whoever keeps no lanes in memory. Raises `lane_unknown`."""
    if name not in DEFAULTS and name not in {known for known, _, _ in await lane_store.read_lanes(db)}:
        raise LANE_UNKNOWN()


async def put_account_into_lane(tx: Connection, account_id: UUID, lane: str) -> None:
    """The API keys that act for an account belong to this lane from now on, in every process within some seconds.

    For whoever makes or approves the account, in that transaction. RETAIL is the ordinary lane.
    """
    await lane_store.put_account(tx, account_id, lane)


def changed(lane: Lane, fields: Mapping[str, object]) -> Lane:
    """A lane with other values. Raises `lane_unusable` for values that a lane cannot have."""
    return _checked(msgspec.structs.replace(lane, **fields))


def in_order(lanes: Mapping[str, Lane]) -> Sequence[Lane]:
    """The lanes as people list them: those that are always there, everybody's first, then campaigns by name."""
    kinds = list(LaneKind)
    return sorted(lanes.values(), key=lambda lane: (lane.kind is LaneKind.CAMPAIGN, kinds.index(lane.kind), lane.name))


def _lane_of(text: str) -> Lane:
    return msgspec.json.decode(text, type=Lane)


def _change_of(row: Any) -> Change:
    return Change(
        number=row["number"],
        at=row["at"],
        by=row["by"],
        lane=row["lane"],
        before=_lane_of(row["before"]) if row["before"] else None,
        after=_lane_of(row["after"]) if row["after"] else None,
        undoes=row["undoes"],
    )


def _checked(lane: Lane) -> Lane:
    try:
        read = msgspec.convert(msgspec.to_builtins(lane), Lane)
    except msgspec.ValidationError as error:
        said = str(error)[:200]
        found = _FIELD.search(said)
        raise LANE_UNUSABLE(detail=said, field=found[1] if found else "") from error
    if read.opens_at and read.closes_at and read.closes_at <= read.opens_at:
        raise LANE_UNUSABLE(detail="it closes before it opens", field="closes_at")
    if read.ceiling_per_s and read.ceiling_per_s < read.floor_per_s:
        raise LANE_UNUSABLE(detail="its ceiling is below its floor", field="ceiling_per_s")
    return read
