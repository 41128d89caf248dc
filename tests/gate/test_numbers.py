"""No number is given twice, whatever is killed; and they are given in order."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from math import inf
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emeterai.core.refusal import Refused
from emeterai.gate import giver as giver_of_numbers
from emeterai.gate import numbers, room_store
from emeterai.gate.giver import NumberGiver
from emeterai.gate.numbers import LEASE_MIN_ALONE, NumberFile
from emeterai.infra.database import Database
from emeterai.infra.lane import work_for
from emeterai.infra.postgres import EmbeddedPostgres

TAKER = """
import sys
from pathlib import Path
from emeterai.gate.numbers import NumberFile
file = NumberFile(Path(sys.argv[1]))
while (taken := file.take()).number is not None:
    print(taken.number, flush=True)
"""


@given(st.lists(st.tuples(st.sampled_from(["take", "fill", "drop", "back"]), st.integers(1, 40)), max_size=60))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_come_in_order_and_once(tmp_path: Path, acts: list[tuple[str, int]]) -> None:
    """Whatever is filled, dropped and given back in between."""
    path = tmp_path / "retail"
    path.unlink(missing_ok=True)
    file, next_first, given_out = NumberFile(path), 1, list[int]()
    for act, size in acts:
        if act == "fill":
            file.fill(next_first, size)
            next_first += size
        elif act == "back":
            first, end = file.give_back()
            next_first = first if first < end == next_first else next_first
        else:
            above = given_out[-1] + size if act == "drop" and given_out else 0
            number = file.take(above=above).number
            given_out += [] if number is None else [number]
            assert number is None or number > above
    file.close()
    assert given_out == sorted(set(given_out))


def test_takers_that_are_killed_give_no_number_twice(tmp_path: Path) -> None:
    """Kill -9 in the middle of it, again and again, three takers at once."""
    path, heard = tmp_path / "retail", list[int]()
    file = NumberFile(path)
    file.fill(1, 600_000)
    for _ in range(4):
        takers = [
            subprocess.Popen([sys.executable, "-c", TAKER, str(path)], stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        first = [taker.stdout.readline() for taker in takers if taker.stdout]
        time.sleep(0.3)
        for taker, line in zip(takers, first, strict=True):
            os.kill(taker.pid, signal.SIGKILL)
            words = (line + taker.communicate()[0]).split("\n")
            heard += [int(word) for word in words[:-1]]
    assert len(heard) > 100
    assert len(heard) == len(set(heard))
    assert file.take().number not in heard


def test_a_file_of_another_start_of_the_machine_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash of the machine the disk may hold an older file than what people have heard."""
    file = NumberFile(tmp_path / "retail")
    file.fill(1, 100)
    assert 1 == file.take().number
    monkeypatch.setattr(numbers, "boot_id", lambda: UUID(int=5))
    assert NumberFile(tmp_path / "retail").take().number is None


def test_beside_other_machines_a_lease_grows_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers would overtake those that others have given meanwhile."""
    file = NumberFile(tmp_path / "retail")
    file.fill(1, 100)
    assert 1 == file.take(together=True).number
    clock_s = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: clock_s + 1)
    assert file.take(together=True).number is None


def test_beside_other_machines_a_lease_grows_to_what_is_given_out_in_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By doubling; and it shrinks to that. What nobody asks for is not fetched."""
    file, clock_s, first = NumberFile(tmp_path / "retail"), time.monotonic(), 1
    monkeypatch.setattr(time, "monotonic", lambda: clock_s)
    sizes: list[int] = [file.take(together=True).wanted]
    for lasted_s in (0.001, 0.002, 0.01, 0.05, 0.1, 0.05, 0.2, 0.2, 0.02):
        file.fill(first, sizes[-1])
        clock_s += lasted_s
        given_out = [file.take(together=True) for _ in range(sizes[-1])]
        assert [(first + place, 0) for place in range(sizes[-1])] == [(one.number, one.wanted) for one in given_out]
        first += sizes[-1]
        sizes.append(file.take(together=True).wanted)
    assert [1, 2, 4, 8, 8, 4, 4, 1, 1, 2] == sizes


Heard = list[tuple[int, int, int]]


def take_many(path: str, count: int, heard: multiprocessing.Queue[Heard]) -> None:
    """Take numbers; note each with the moments before and after it was taken."""
    file = NumberFile(Path(path))
    taken: Heard = []
    for _ in range(count):
        before = time.monotonic_ns()
        number = file.take().number or 0
        taken.append((number, before, time.monotonic_ns()))
    heard.put(taken)


def test_processes_of_one_machine_keep_the_order(tmp_path: Path) -> None:
    """Whoever asks after another has been answered has the higher number."""
    file = NumberFile(tmp_path / "retail")
    file.fill(1, 4_000)
    heard: multiprocessing.Queue[Heard] = multiprocessing.Queue()
    takers = [
        multiprocessing.Process(target=take_many, args=(str(tmp_path / "retail"), 1_000, heard)) for _ in range(3)
    ]
    for taker in takers:
        taker.start()
    taken = sorted(one for _ in takers for one in heard.get())
    for taker in takers:
        taker.join()
    assert list(range(1, 3_001)) == [number for number, _, _ in taken]
    latest_asked = 0
    for number, before, after in taken:
        assert after > latest_asked, f"{number} was answered before a lower number was asked for"
        latest_asked = max(latest_asked, before)


async def test_a_giver_takes_leases_and_asks_seldom(db: Database, tmp_path: Path) -> None:
    """Five thousand numbers, all different, in a handful of round trips."""
    giver = NumberGiver(db, tmp_path)
    found = [await giver.take("retail") for _ in range(5_000)]
    assert list(range(1, 5_001)) == found
    next_number = await db.fetchval("SELECT next_number FROM gate.rooms WHERE lane = 'retail'")
    assert 5_000 < next_number < 200_000
    await giver.close()


async def test_many_ask_at_once_before_there_is_any_lease(db: Database, tmp_path: Path) -> None:
    """One round trip serves them all."""
    giver = NumberGiver(db, tmp_path)
    found = await asyncio.gather(*(giver.take("retail") for _ in range(300)))
    assert list(range(1, 301)) == sorted(found)
    assert 20_000 > await db.fetchval("SELECT next_number FROM gate.rooms WHERE lane = 'retail'")
    await giver.close()


async def test_numbers_are_fetched_for_all_however_little_time_the_first_has(db: Database, tmp_path: Path) -> None:
    """Who finds none makes the machine fetch some, for those, too, who wait with it."""
    giver = NumberGiver(db, tmp_path)

    async def asks(until_s: float) -> int:
        work_for("retail", 0, until_s=until_s)
        return await giver.take("retail")

    hurried = asyncio.create_task(asks(time.monotonic()))
    assert [1, 2] == await asyncio.gather(hurried, asyncio.create_task(asks(inf)))
    await giver.close()


async def test_two_machines_share_a_lane_without_a_number_in_common(db: Database, tmp_path: Path) -> None:
    """And overtake each other by a few places only, once they know of each other."""
    first, second = NumberGiver(db, tmp_path / "a"), NumberGiver(db, tmp_path / "b")
    alone = [await first.take("retail") for _ in range(100)]
    await second.look_around(joining=True)
    await first.look_around()
    await second.look_around()
    found = list[int]()
    for _ in range(60):
        found += [await first.take("retail"), await second.take("retail")]
    assert len({*alone, *found}) == len(alone) + len(found)
    assert max(alone) < min(found) < max(alone) + 20, "what the first held is handed back when the second joins"
    overtaken = [max(found[:place], default=0) - number for place, number in enumerate(found)]
    assert max(overtaken) < 60, "at most what is leased for some hundredths of a second"
    await first.close()
    await second.close()


async def test_a_crowd_on_each_of_two_machines_takes_few_leases(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number is no round trip: the row of the lane is one for all machines."""
    first, second = NumberGiver(db, tmp_path / "a"), NumberGiver(db, tmp_path / "b")
    monkeypatch.setattr(giver_of_numbers, "JOIN_S", 0.0)
    await first.look_around(joining=True)
    await second.look_around(joining=True)
    await first.look_around()
    leased: list[int] = []
    lease = room_store.lease

    async def counted(db: Database, lane: str, size: int, machine: UUID) -> tuple[int, bool]:
        leased.append(size)
        return await lease(db, lane, size, machine)

    monkeypatch.setattr(room_store, "lease", counted)
    found = await asyncio.gather(*(giver.take("retail") for _ in range(300) for giver in (first, second)))
    assert 600 == len(set(found))
    assert len(leased) <= 40, leased
    assert sum(leased) < 3 * len(found), "what is not given out overtakes nobody, but is a gap"
    await first.close()
    await second.close()


async def test_with_the_database_away_the_lease_goes_on(
    postgres: EmbeddedPostgres, db: Database, tmp_path: Path
) -> None:
    """And then nobody gets a number; it says so politely."""
    giver = NumberGiver(db, tmp_path)
    assert 1 == await giver.take("retail")
    await db.close()
    left = [await giver.take("retail") for _ in range(LEASE_MIN_ALONE - 1)]
    assert list(range(2, LEASE_MIN_ALONE + 1)) == left
    with pytest.raises(Refused) as said:
        await giver.take("retail")
    assert "numbers_paused" == said.value.code
    await giver.close()


async def test_a_range_is_taken_back_only_while_it_is_the_last(db: Database) -> None:
    """Otherwise two would have one number."""
    machine = UUID(int=1)
    assert (1, False) == await room_store.lease(db, "retail", 10, machine)
    assert (11, False) == await room_store.lease(db, "retail", 10, machine)
    assert not await room_store.give_back(db, "retail", 5, 11)
    assert await room_store.give_back(db, "retail", 15, 21)
    assert (15, True) == await room_store.lease(db, "retail", 10, UUID(int=2))
