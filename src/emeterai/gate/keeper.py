"""The keeper of one web process's door: tells it each second what was decided, and everybody else what it measured."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from uuid import UUID

from litestar.types import ASGIApp

from emeterai.core.brownout import Step
from emeterai.core.refusal import Refused
from emeterai.gate import lane_store
from emeterai.gate.bearers import Sharers
from emeterai.gate.carrying import pass_text
from emeterai.gate.connections import ConnectionTurns
from emeterai.gate.controller import Paces, every_second, report
from emeterai.gate.door import Door
from emeterai.gate.lanes import Lanes
from emeterai.gate.passes import Pass, Passes, opens_nothing
from emeterai.gate.renewing import RenewedByUse
from emeterai.gate.request import PassOf
from emeterai.gate.room_crowd import Numbers
from emeterai.gate.shedding import Shedding
from emeterai.gate.side_entrance import SideEntrance
from emeterai.gate.sorting import session_of
from emeterai.gate.turning_away import Answers
from emeterai.gate.welcoming import Welcome
from emeterai.infra import metrics
from emeterai.infra.bus import Bus
from emeterai.infra.clock import utc_now
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.interruption import INTERRUPTIONS

LOTS_BEFORE = timedelta(days=1)
"""So long before a lane opens whoever signs in to have a lot there needs no pass."""
_KEYS_MAX = 10_000
_KEYS_EVERY_S = 2
FIRST_LOOKS_S = 1.0
"""A process that begins waits no longer than this for what is decided and whose the keys are."""
_in_flight = metrics.gauge("emeterai_door_in_flight", "Requests that hold a slot", ["lane"])
_queued = metrics.gauge("emeterai_door_queued", "Requests that wait for a slot", ["lane"])
_connections = metrics.gauge("emeterai_door_connections", "Database connections that requests hold", ["lane"])
_limit = metrics.gauge_least(
    "emeterai_door_limit", "Requests that one process of this role may work on at once, where fewest", ["role"]
)
_pressure = metrics.gauge_most("emeterai_door_pressure", "How long the most urgent waits, against how long it may")

Revoked = Collection[tuple[str, bytes]]
KeysOf = Callable[[Sequence[UUID]], Awaitable[Iterable[tuple[bytes, UUID]]]]
"""The digests of the API keys in use of some accounts, each with its account."""


async def no_keys(_accounts: Sequence[UUID]) -> Iterable[tuple[bytes, UUID]]:
    """No account has a key: where accounts are not known."""
    return ()


@dataclass(frozen=True, slots=True)
class Kept:
    """What handlers find in `app.state["gate"]`."""

    lanes: Lanes
    paces: Paces


class Keeper:
    """Makes the door, wraps the application in it, and keeps it for as long as the application runs."""

    def __init__(
        self,
        secret: bytes,
        *,
        clock_s: Callable[[], float] = time.time,
        link_bytes_per_s: float = inf,
        role: str = "web",
    ) -> None:
        self._role = role
        self.door = Door(clock=time.monotonic, link_bytes_per_s=link_bytes_per_s, role=role)
        self.revoked: Callable[[], Revoked] = frozenset
        """What passes are withdrawn; the waiting room's reception knows."""
        self.numbers = Numbers()
        self.headers: Sequence[tuple[bytes, bytes]] = ()
        passes = Passes(secret)
        self.by_use = RenewedByUse(passes, now_s=clock_s)
        self.welcome, self.side = Welcome(passes), SideEntrance(passes=passes)
        self._pass_of = pass_reader(passes, self._revoked, clock_s=clock_s)
        self._lanes_of_keys: Mapping[bytes, str] = {}

    def wrapped(self, app: ASGIApp, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> ASGIApp:
        """The application behind its door. `headers` go with everything that the door says itself."""
        self.headers = headers
        return Shedding(
            app,
            self.door,
            pass_of=self._pass_of,
            lane_of_key=self._lane_of_key,
            answers=Answers(headers),
            numbers=self.numbers,
            lengthen=self.by_use.watched,
            welcome=self.welcome,
            side=self.side,
        )

    @contextlib.asynccontextmanager
    async def keeping(self, db: Database, bus: Bus, *, keys_of: KeysOf = no_keys) -> AsyncIterator[Kept]:
        """Keep the door inside the block; answers the lanes and their paces.

        Whoever comes first meets a door like those of all other processes: one that is begun anew in a rush asks for
        passes at once, and knows the keys of members, who need none.
        """
        lanes = Lanes(db, bus)
        await lanes.start()
        paces = Paces(db, lanes)
        connections = ConnectionTurns.of(db)
        self._share(lanes, connections)
        looks = [asyncio.create_task(look) for look in (paces.look(), self._look_at_keys(db, keys_of))]
        tasks = [
            asyncio.create_task(work)
            for work in (
                paces.run(),
                report(db, new_id(), self._reading),
                every_second(lambda: self._second(lanes, paces, connections)),
                self._go_on_looking_at_keys(db, keys_of),
            )
        ]
        try:
            await asyncio.wait(looks, timeout=FIRST_LOOKS_S)  # one that has failed, or is late, comes again by itself
            await self._second(lanes, paces, connections)
            yield Kept(lanes, paces)
        finally:
            for task in (*looks, *tasks):
                task.cancel()
            await asyncio.gather(*looks, *tasks, return_exceptions=True)
            await lanes.close()

    def _revoked(self) -> Revoked:
        return self.revoked()

    def _lane_of_key(self, digest: bytes) -> str | None:
        return self._lanes_of_keys.get(digest)

    def _share(self, lanes: Lanes, connections: ConnectionTurns) -> None:
        shares = lanes.shares()
        self.door.share(shares)
        connections.share(shares)

    async def _second(self, lanes: Lanes, paces: Paces, connections: ConnectionTurns) -> None:
        door = self.door
        self._share(lanes, connections)
        door.passes_needed = frozenset(name for name in lanes.now if paces.now(name).pass_needed)
        now = utc_now()
        opens_later = {name: lane.opens_at for name, lane in lanes.now.items() if lane.opens_at and now < lane.opens_at}
        door.before_opening = frozenset(opens_later)
        door.lots_are_given = any(opens_at - now <= LOTS_BEFORE for opens_at in opens_later.values())
        self.side.rooms = frozenset(
            name for name, lane in lanes.now.items() if lane.closes_at is None or now < lane.closes_at
        )
        door.lane_steps = {name: Step(lane.rests_from) for name, lane in lanes.now.items()}
        door.second()
        for name in lanes.now:
            _in_flight.labels(name).set(door.in_flight(name))
            _queued.labels(name).set(door.queued(name))
            _connections.labels(name).set(connections.used_by(name))
        _limit.labels(self._role).set(door.work.slots.limit)
        _pressure.set(door.pressure)

    def _reading(self) -> dict[str, object]:
        return self.door.reading()

    async def _look_at_keys(self, db: Database, keys_of: KeysOf) -> None:
        lanes = dict(await lane_store.read_accounts(db, limit=_KEYS_MAX))
        found = await keys_of(sorted(lanes)) if lanes else ()
        self._lanes_of_keys = {digest: lanes[account] for digest, account in found}

    async def _go_on_looking_at_keys(self, db: Database, keys_of: KeysOf) -> None:
        while True:
            await asyncio.sleep(_KEYS_EVERY_S)
            with contextlib.suppress(Refused, *INTERRUPTIONS):
                await self._look_at_keys(db, keys_of)


def pass_reader(passes: Passes, revoked: Callable[[], Revoked], *, clock_s: Callable[[], float] = time.time) -> PassOf:
    """What reads the pass of a request: signed by us, not over, not withdrawn unless it is one to finish; of one that
    names no account not one of many copies. Whose it is, and what it may buy, the application checks.
    """
    sharers = Sharers()

    def pass_of(headers: Mapping[bytes, bytes]) -> Pass | None:
        text = pass_text(headers)
        found = passes.read(text) if text else None
        if found is None or clock_s() >= found.until_s or opens_nothing(found, revoked()):
            return None
        return found if sharers.may_use(found, session_of(headers)) else None

    return pass_of
