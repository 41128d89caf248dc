"""`emeterai bench crash`: load, while a seeded killer takes every process and breaks files, store and clock.

People stamp over HTTP, upload in pieces, fetch, look and buy; the killer does everything that tests/crash/killing.py
lists, in an order that the seed decides; all the while somebody looks how long units are held beyond the lives of their
holds. At the end every promise is checked from the outside. Exit code 1 when one was broken. A progress line goes to
stderr every 10 s.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from figures import TESTS, Figures, parser

sys.path.insert(0, str(TESTS / "crash"))  # the crowd, the killer and the verdict are the tests' own

from crash_page import Story, write_page
from crowd import Crowd
from killing import Killer, endless_plan
from overdue import GRACE_S, Overdue
from verdict import Verdict, judge

from emeterai.core.ledger import Kind, Reason, Transfer
from emeterai.infra.database import Database
from emeterai.infra.ids import new_id
from emeterai.infra.settings import Settings
from emeterai.ledger.service import Ledger
from running import Person, RunningService

SECONDS = 900.0
QUIET_S = 10.0
"""How long nobody is killed at the beginning: the rate of these seconds is the yardstick."""
QUOTA_EACH = 1_000_000
SETTLED_WITHIN_S = 180.0
PROGRESS_S = 10.0
SHARES = {"median": 0.5, "p95": 0.95, "max": 1.0}
_LIMITS = {"EMETERAI_PERSON_ORDERS_AN_HOUR_MAX": "1000000", "EMETERAI_PERSON_OPEN_ORDERS_MAX": "1000000"}
"""The few people of the crowd stand for many, and buy as often as they."""


@dataclass(frozen=True)
class Chosen:
    """What was asked for on the command line."""

    seconds: float
    seed: int
    people: int
    verify_max: int
    out: Path


def main() -> None:
    """Run, judge, report; exit 1 when a promise was broken."""
    options = parser(__doc__ or "")
    options.add_argument("--seed", type=int, default=None, help="decides who is killed, and when")
    options.add_argument("--people", type=int, default=6, help="so many use the service at once")
    options.add_argument("--verify", type=int, default=3_000, help="at most so many files are verified in the end")
    options.add_argument("--out", type=Path, default=Path("var/bench"), help="folder of the report")
    asked = options.parse_args()
    seed = secrets.randbelow(2**31) if asked.seed is None else asked.seed
    chosen = Chosen(asked.seconds or SECONDS, seed, asked.people, asked.verify, asked.out)
    folder = Path(tempfile.mkdtemp(prefix="emeterai-crash-"))
    folder.chmod(0o755)
    story, verdict = asyncio.run(run(folder, chosen))
    show(Figures(as_json=asked.json), story, verdict)
    page = write_page(chosen.out / f"crash-{seed}", story, verdict)
    for fault in verdict.faults[:50]:
        say(f"FAULT: {fault}")
    if verdict.faults:
        say(f"{len(verdict.faults)} faults; the report: {page}; what the service left: {folder}")
        sys.exit(1)
    say(f"no fault; the report: {page}")
    shutil.rmtree(folder, ignore_errors=True)


def say(text: str) -> None:
    """A line for people."""
    print(text, file=sys.stderr, flush=True)


async def run(folder: Path, chosen: Chosen) -> tuple[Story, Verdict]:
    """Start the service with its own settings, load it, kill, and judge."""
    say(f"seed {chosen.seed}, {chosen.seconds:g} s")
    rng, faults = random.Random(chosen.seed), folder / "faults"  # noqa: S311 - to be repeated
    faults.mkdir()
    service = RunningService(folder / "service", {"EMETERAI_SEALER_PROCESSES": "2", **_LIMITS})
    killer = Killer(service, sleep_s=Settings().lease_s + 2.0, faults=faults, rng=rng)
    service.environment |= killer.environment
    try:
        await service.start()
        async with Overdue(service.database_url, killer).watching() as overdue:
            story, verdict = await under_fire(service, killer, chosen, overdue)
        if service.process is None or service.process.poll() is not None or await service.stop() != 0:
            verdict.faults.append("the service did not stop cleanly")
        return story, verdict
    finally:
        service.kill_rest()


async def under_fire(
    service: RunningService, killer: Killer, chosen: Chosen, overdue: Overdue
) -> tuple[Story, Verdict]:
    """The load, the deeds, the verdict."""
    crowd = Crowd(await rich_people(service, chosen.people), seed=chosen.seed, pause_s=0.1)
    began_s, broken = time.time(), list[str]()
    living = asyncio.create_task(crowd.go_on())
    telling = asyncio.create_task(tell_progress(crowd, killer, began_s))
    try:
        await asyncio.sleep(QUIET_S)
        await kill_on(killer, living, until_s=began_s + chosen.seconds)
    except (TimeoutError, AssertionError) as error:
        broken.append(f"the service did not come back, or somebody waited in vain: {type(error).__name__} {error}")
    ended_s = time.time()
    crowd.going_home.set()
    [outcome] = await asyncio.gather(living, return_exceptions=True)
    broken += [f"somebody waited in vain: {type(outcome).__name__} {outcome}"] if outcome is not None else []
    telling.cancel()
    try:
        verdict = await judge(
            service,
            crowd,
            credited=QUOTA_EACH,
            patience_s=SETTLED_WITHIN_S,
            verify_max=chosen.verify_max,
            overdue=overdue,
        )
    except Exception as error:  # noqa: BLE001 - a service that cannot even be judged is a fault, and is reported
        verdict = Verdict(faults=[*crowd.lies, f"no verdict: {type(error).__name__} {error}"])
    verdict.faults += broken
    for person in crowd.people:
        await person.close()
    return Story(chosen.seed, began_s, ended_s, QUIET_S, crowd, killer.done, killer.kills), verdict


async def kill_on(killer: Killer, living: asyncio.Task[None], *, until_s: float) -> None:
    """One deed after another until the time is over, or somebody gave up."""
    for deed in endless_plan(killer.rng):
        await asyncio.sleep(killer.rng.uniform(0.5, 4.0))
        if time.time() >= until_s or living.done():
            return
        await killer.do(deed)


async def rich_people(service: RunningService, count: int) -> list[Person]:
    """People with plenty of quota, credited directly; what they buy later comes on top of it."""
    people = [await Person.sign_up(service) for _ in range(count)]
    db = await Database.connect(service.database_url, connections_max=1, wait_s=5)
    try:
        rows = await db.fetch("SELECT id FROM accounts.accounts")
        gifts = [Transfer(new_id(), Kind.CREDIT, Reason.RETURNED, QUOTA_EACH, account=row["id"]) for row in rows]
        await Ledger(db).post(gifts)
    finally:
        await db.close()
    return people


async def tell_progress(crowd: Crowd, killer: Killer, began_s: float) -> None:
    """A line every 10 s."""
    while True:
        await asyncio.sleep(PROGRESS_S)
        now_s = time.time()
        last = [deed for at_s, deed in killer.done if at_s > now_s - PROGRESS_S]
        lately = sum(told_s > now_s - PROGRESS_S for told_s, _ in crowd.sealed)
        say(
            f"{now_s - began_s:5.0f} s  {len(crowd.asked)} stamps asked, {len(crowd.sealed)} sealed"
            f" ({lately / PROGRESS_S:.1f}/s), {crowd.repeats} requests repeated, {len(killer.kills)} kill -9,"
            f" {len(killer.done)} deeds"
            f" ({', '.join(str(deed) for deed in last) or 'none'}), {len(crowd.lies)} faults"
        )


def show(figures: Figures, story: Story, verdict: Verdict) -> None:
    """Every figure beside its yardstick."""
    accepted = sum(verdict.stamps.values())
    for state in ("sealed", "given_back", "held"):
        count = verdict.stamps.get(state, 0)
        figures.say(f"stamps {state}", count, "stamps", yardstick="accepted", yardstick_value=accepted)
    lost = accepted - verdict.stamps.get("sealed", 0) - verdict.stamps.get("given_back", 0) + len(verdict.faults)
    figures.say("lost, doubled, untrue", lost, "faults", yardstick="accepted", yardstick_value=accepted)
    for name, count in (("fetched and compared", verdict.files_fetched), ("verified", verdict.files_verified)):
        sealed = verdict.stamps.get("sealed", 0)
        figures.say(f"sealed files {name}", count, "files", yardstick="sealed", yardstick_value=sealed)
    quiet = story.quiet_rate
    figures.say("sealed a second", story.rate, "stamps/s", yardstick="with nobody killed", yardstick_value=quiet)
    show_kills_and_holds(figures, story, verdict)
    for (kind, target), count in sorted(Counter((deed.kind, deed.target) for _, deed in story.deeds).items()):
        figures.say(f"{kind}: {target}", count, "times", yardstick="all deeds", yardstick_value=len(story.deeds))
    lease_s = Settings().lease_s
    for kind in ("", *sorted({deed.kind for _, deed in story.deeds})):
        took_s = story.recoveries_s(kind)
        for share, part in SHARES.items() if took_s else ():
            name = f"a stamp asked for after {kind or 'any deed'} is sealed, {share}"
            figures.say(name, quantile(took_s, part), "s", yardstick="lease, s", yardstick_value=lease_s)
    if verdict.reasons:
        figures.note(f"given back because: {json.dumps(verdict.reasons)}")


def show_kills_and_holds(figures: Figures, story: Story, verdict: Verdict) -> None:
    """How often kill -9 struck, beside the other deeds; how long a unit was held beyond the life of its hold."""
    deeds, processes = len(story.deeds), sum(story.kills)
    figures.say("kill -9, strokes", len(story.kills), "strokes", yardstick="all deeds", yardstick_value=deeds)
    figures.say("kill -9, processes", processes, "processes", yardstick="strokes", yardstick_value=len(story.kills))
    figures.say("other deeds", story.others.total(), "deeds", yardstick="all deeds", yardstick_value=deeds)
    if verdict.held is not None:
        name = "held beyond its hold's life, worst"
        figures.say(name, verdict.held.worst_s, "s", yardstick="allowed, s", yardstick_value=GRACE_S)


def quantile(values: list[float], part: float) -> float:
    """The value below which that part of all lies."""
    if part == 0.5:
        return statistics.median(values)
    return sorted(values)[min(len(values) - 1, round(part * (len(values) - 1)))]


if __name__ == "__main__":
    main()
