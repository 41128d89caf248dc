"""Outages under a retry storm: each dependency goes away for a while and comes back; nobody helps."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from bisect import bisect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean, median

from figures import TESTS
from lastday_stage import SCRIPTS_EACH, Day, Phase, Stage
from lastday_sums import rates, recovery_s
from lastday_twins import Twins

from emeterai.infra.database import Database

sys.path.insert(0, str(TESTS))

from processes import family_of

BADLY = 0.5
"""Half of all clients repeat within 0.3 s."""
CALLED = 0.2
"""So many of those in line want to be called."""
KEY, TIMESTAMPS, MAIL = "the signing key is away", "the timestamp authority is away", "the mail server is away"
_POSTGRES_KILLED = "PostgreSQL is killed"


@dataclass(frozen=True)
class Rhythm:
    """How long each outage is, and the time before and after it."""

    away_s: float = 60.0
    warm_s: float = 60.0
    back_s: float = 60.0

    @property
    def round_s(self) -> float:
        """One outage with what is around it."""
        return self.warm_s + self.away_s + self.back_s

    def spans_s(self, count: int) -> list[float]:
        """How long each of so many rounds is: the last one is watched for as long as the others, until one would go."""
        return [self.round_s] * (count - 1) + [self.round_s + self.warm_s]


@dataclass(frozen=True)
class Outage:
    """What happened to one dependency. `back_s` None: goodput was not back before the next one began. It is back when
    it is as good as this core could do it then; by `back_even_s` when it is as good as if the core were always alike.
    """

    name: str
    lost_s: float
    """When it went, since the day began."""
    found_s: float
    """When it was back."""
    before_per_s: float
    away_per_s: float | None
    """Goodput while it was away; None when that was but a moment."""
    back_s: float | None
    given_back: int
    """So many were told, until the next one went, that their unit is back."""
    remark: str = ""
    watched_s: float = 0.0
    """So long after it was back goodput was watched: until the next one went, or the day ended."""
    beats_ms: tuple[float, float] = (0.0, 0.0)
    """What a beat of the service's core cost before it went, and while its return was watched."""
    back_even_s: float | None = None


@dataclass(frozen=True)
class Round:
    """One dependency, and how it is lost for some seconds."""

    name: str
    lose: Callable[[float], Awaitable[None]]


async def lose_each(
    stage: Stage, db: Database, rounds: list[Round], rhythm: Rhythm, *, times: float, people_per_s: float
) -> Day:
    """A day on which one dependency after another goes away."""
    come_per_s = people_per_s * times
    phases = [
        Phase(one.name, times, seconds, come_per_s, SCRIPTS_EACH * come_per_s)
        for one, seconds in zip(rounds, rhythm.spans_s(len(rounds)), strict=True)
    ]
    at_s = time.time() + 4.0
    doing = [
        asyncio.create_task(_after(at_s + place * rhythm.round_s + rhythm.warm_s, one, rhythm.away_s))
        for place, one in enumerate(rounds)
    ]
    try:
        return await stage.live(db, phases, partner=False, BADLY=str(BADLY), CALLED=str(CALLED))
    finally:
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)


def rounds_of(stage: Stage, twins: Twins) -> list[Round]:
    """What is lost, in this order: the files that were sealed without a timestamp need time to get theirs."""

    async def postgres_stops(seconds: float) -> None:
        await _stopped(stage.service.pids()["postgres"], seconds)

    async def postgres_is_killed(_: float) -> None:
        stage.service.kill("postgres")

    async def provider_is_away(seconds: float) -> None:
        await _stopped(stage.service.pids()["sandbox"], seconds)

    async def blobs_fail(seconds: float) -> None:
        fault = stage.faults / "blobs"
        fault.write_text("fail")
        try:
            await asyncio.sleep(seconds)
        finally:
            fault.unlink()

    async def key_is_away(seconds: float) -> None:
        assert twins.token is not None
        twins.token.take_away()
        try:
            await asyncio.sleep(seconds)
        finally:
            twins.token.put_back()

    async def timestamps_stop(seconds: float) -> None:
        await _stopped(twins.timestamps.pid, seconds)

    async def mail_stops(seconds: float) -> None:
        await _stopped(twins.mail.pid, seconds)

    return [
        Round("PostgreSQL stops", postgres_stops),
        Round(_POSTGRES_KILLED, postgres_is_killed),
        Round("the blob store fails", blobs_fail),
        Round("the payment provider is away", provider_is_away),
        *([Round(KEY, key_is_away)] if twins.token is not None else []),
        Round(TIMESTAMPS, timestamps_stop),
        Round(MAIL, mail_stops),
    ]


def outages_of(day: Day, rhythm: Rhythm) -> list[Outage]:
    """What became of each. Goodput is back when it is what it is on this day while nothing is away, by what the core
    could do: the seconds before one alone tell that only within some percent, and a virtual core can lose a quarter of
    its speed in half an hour. Each is watched until the next one goes, since a storm swings by itself for longer than a
    short time after can tell from a return that did not last.
    """
    found, per_s, spans = [], rates(day), list(_watched(day, rhythm))
    before = [
        max(1.0, _mean(per_s, at_s + rhythm.warm_s / 3, at_s + rhythm.warm_s))
        for at_s in (began_s - day.began_s for _, began_s, _ in spans)
    ]
    kept = _undisturbed(day, rhythm, before)
    usual_per_s = fmean(before[place] for place in kept)
    usual_beat_ms = fmean(day.beat_ms(spans[place][1], spans[place][1] + rhythm.warm_s) for place in kept)
    for before_per_s, (phase, began_s, until_s) in zip(before, spans, strict=True):
        lost_s, found_s = _away_of(day, rhythm, phase, began_s)
        back_at_s = day.began_s + found_s
        beats_ms = day.beat_ms(began_s, day.began_s + lost_s), day.beat_ms(back_at_s, until_s)
        good_per_s = usual_per_s * usual_beat_ms / beats_ms[1] if usual_beat_ms and beats_ms[1] else usual_per_s
        given_back = sum(
            one[3] == "given_back" and day.began_s + lost_s <= one[0] / 1000 < until_s for one in day.heard.of("stamp")
        )
        found.append(
            Outage(
                name=phase.name,
                lost_s=lost_s,
                found_s=found_s,
                watched_s=until_s - back_at_s,
                before_per_s=before_per_s,
                away_per_s=_mean(per_s, lost_s, found_s) if found_s > lost_s else None,
                back_s=recovery_s(day, back_at_s, good_per_s=good_per_s, until_s=until_s),
                back_even_s=recovery_s(day, back_at_s, good_per_s=usual_per_s, until_s=until_s),
                given_back=given_back,
                beats_ms=beats_ms,
            )
        )
    return found


def _undisturbed(day: Day, rhythm: Rhythm, before: list[float]) -> list[int]:
    """Which of the goodputs before outages say what is usual: not what was measured while the outage before was not
    overcome, which would lower the bar for all. Whether it was is told by the median of all, which a few such do not
    move.
    """
    middle_per_s, kept = median(before), [0]
    for place, (phase, began_s, until_s) in enumerate(list(_watched(day, rhythm))[:-1], start=1):
        _, found_s = _away_of(day, rhythm, phase, began_s)
        if recovery_s(day, day.began_s + found_s, good_per_s=middle_per_s, until_s=until_s) is not None:
            kept.append(place)
    return kept


def _watched(day: Day, rhythm: Rhythm) -> Iterator[tuple[Phase, float, float]]:
    """Each round with its beginning, and until when its return is watched: the next one goes, or the day ends."""
    spans = list(day.spans())
    for phase, began_s, ended_s in spans:
        yield phase, began_s, ended_s + (rhythm.warm_s if phase is not spans[-1][0] else 0.0)


def _away_of(day: Day, rhythm: Rhythm, phase: Phase, began_s: float) -> tuple[float, float]:
    """When something went and when it was back, in seconds since the day began."""
    lost_s = began_s - day.began_s + rhythm.warm_s
    return lost_s, lost_s if phase.name == _POSTGRES_KILLED else lost_s + rhythm.away_s


def _mean(per_s: list[float], from_s: float, until_s: float) -> float:
    return fmean(per_s[int(from_s) : int(until_s)] or [0.0])


async def with_remarks(outages: list[Outage], day: Day, twins: Twins, db: Database) -> list[Outage]:
    """The same, with what else is to be said of some, once all is quiet."""
    remarks: dict[str, Callable[[Outage], Awaitable[str]]] = {
        KEY: lambda _: _said_of_key(db),
        TIMESTAMPS: lambda one: _said_of_timestamps(one, day, db),
        MAIL: lambda one: _said_of_mail(one, day, twins.letters(), db),
    }
    return [replace(one, remark=await remarks[one.name](one)) if one.name in remarks else one for one in outages]


async def _said_of_key(db: Database) -> str:
    refused = await db.fetchval("SELECT count(*) FROM stamping.stamps WHERE refusal_code = 'sealing_key_away'")
    return f"{refused:,} units went back because of it, each with that reason"


async def _said_of_timestamps(one: Outage, day: Day, db: Database) -> str:
    (row,) = await db.fetch(
        """
        SELECT count(*) FILTER (WHERE away) AS sealed, count(*) FILTER (WHERE away AND late) AS late,
            count(*) FILTER (WHERE away AND raised) AS raised, count(*) FILTER (WHERE NOT away) AS else_sealed,
            count(*) FILTER (WHERE NOT away AND late) AS else_late,
            extract(epoch FROM min(sealed_at) FILTER (WHERE sealed_at > $2 AND NOT late) - $2)::float8 AS again_s
        FROM (
            SELECT sealed_at, sealed_at BETWEEN $1 AND $2 AS away, addendum_keys <> '{}' AS raised,
                level = 'B-B' OR addendum_keys <> '{}' AS late
            FROM stamping.stamps WHERE state = 'sealed'
        ) AS seals
        """,
        *(datetime.fromtimestamp(day.began_s + at_s, UTC) for at_s in (one.lost_s, one.found_s)),
    )
    again = "none with one since" if row["again_s"] is None else f"the first with one {row['again_s']:.1f} s after"
    return (
        f"{row['late']:,} of {row['sealed']:,} files were sealed without a timestamp, and {row['raised']:,} of those"
        f" have theirs now; {again}; at all other times {row['else_late']:,} of {row['else_sealed']:,} without"
    )


async def _said_of_mail(one: Outage, day: Day, letters: list[float], db: Database) -> str:
    rows = await db.fetch("SELECT state, count(*) AS count FROM gate.calls GROUP BY state")
    if not rows:
        return "nobody asked to be called"
    sent, span_s = sorted(letters), one.found_s - one.lost_s
    edges = [bisect(sent, day.began_s + one.lost_s + part * span_s) for part in (-1, 0, 1, 2)]
    before, away, after = (until - at for at, until in pairwise(edges))
    first = f"{sent[edges[2]] - day.began_s - one.found_s:.1f} s after" if edges[2] < len(sent) else "not seen again"
    states = {row["state"]: row["count"] for row in rows}
    return (
        f"letters in as long a time before, meanwhile and after: {before:,}, {away:,}, {after:,}; the first {first}; of"
        f" {sum(states.values()):,} who asked {states.get('called', 0):,} were called, {states.get('failed', 0):,} not"
        f" before their turn, {states.get('waiting', 0):,} are not near yet"
    )


async def _after(at_s: float, one: Round, seconds: float) -> None:
    await asyncio.sleep(at_s - time.time())
    await one.lose(seconds)


async def _stopped(pid: int, seconds: float) -> None:
    """A process and all that it has started stand still."""
    family = family_of(pid)
    try:
        _tell(family, signal.SIGSTOP)
        await asyncio.sleep(seconds)
    finally:
        _tell(family, signal.SIGCONT)


def _tell(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
