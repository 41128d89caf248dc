"""What the tests of the waiting room share: a lane's published state, and a room on a real database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec

from emeterai.core.draw import commitment_of
from emeterai.gate import lane_store
from emeterai.gate.conductor import Admission, Conductor
from emeterai.gate.lanes import Lane
from emeterai.gate.now import DrawState, NowFiles, NowServing, Turns
from emeterai.gate.reception import InFlight, Reception, nothing_in_flight
from emeterai.infra.database import Database

SECRET = b"g" * 32
SEED = bytes(range(32))
AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
OPEN = NowServing(
    lane="retail",
    title="Umum",
    colour="#9c1458",
    state="open",
    pass_needed=True,
    now_serving=100,
    last_number=500,
    grace_from=11,
    turns_per_s=Turns(8.0, 10.0, 12.0),
    draw=None,
    opens_at=None,
    closes_at=None,
    message=None,
    why=None,
    brown_out=0,
    estimate_error=None,
    calls=True,
    updated_at=AT,
)
State = TypeVar("State", NowServing, DrawState)
DRAWN = DrawState(commitment_of(SEED), SEED.hex(), 50)
NOT_DRAWN = DrawState(commitment_of(SEED))


def changed(now: State, **values: object) -> State:
    """A lane or its draw in another state."""
    return msgspec.structs.replace(now, **values)


def publish(folder: Path, now: NowServing) -> None:
    """What the steward does each second."""
    NowFiles(folder / "now").write(now.lane, msgspec.json.encode(now))


class Room:
    """One machine's waiting room: its reception and its conductor, moved by hand."""

    def __init__(self, db: Database, folder: Path, *, in_flight: InFlight = nothing_in_flight) -> None:
        self.folder = folder
        self.lanes: dict[str, Lane] = {"retail": Lane(name="retail", title="Umum", share=0.4)}
        self.per_s = 10.0
        self.reception = Reception(db, folder, SECRET, in_flight=in_flight)
        self.conductor = Conductor(
            db,
            NowFiles(folder / "now"),
            lanes=self._lanes,
            controller=self._controller,
            secret=SECRET,
            calls_offered=lambda _: ("email",),
        )

    async def _lanes(self) -> Mapping[str, Lane]:
        return self.lanes

    async def _controller(self) -> Mapping[str, Admission]:
        return {name: Admission(self.per_s, pass_needed=True) for name in self.lanes}

    @property
    def now(self) -> NowServing:
        """What everybody sees of the retail lane, without the quarter of a second for which it is remembered."""
        return NowFiles(self.folder / "now").read("retail")

    async def number(self, account_id: UUID | None = None) -> int:
        """Come and take a number."""
        return (await self.reception.ticket("retail", account_id=account_id)).ticket.number


async def make_lane(db: Database, lane: Lane) -> int:
    """Make a lane as an operator does; answers the number of the change."""
    async with lane_store.changing(db) as (tx, _):
        text = msgspec.json.encode(lane).decode()
        number, _ = await lane_store.write_change(tx, lane.name, None, text, by="operator", undoes=None)
    return number


async def take_lane_back(db: Database, name: str, made: int) -> None:
    """Undo the change that made a lane."""
    async with lane_store.changing(db) as (tx, lanes):
        (before,) = (text for one, text, _ in lanes if one == name)
        await lane_store.write_change(tx, name, before, None, by="operator", undoes=made)
