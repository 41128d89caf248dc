"""Workers of one data folder are told apart: alive, asleep, dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from emeterai.infra.ids import new_id
from emeterai.infra.predecessors import dead_workers, living_worker

WORKER = """
import sys, time, uuid, pathlib
from emeterai.infra.predecessors import living_worker
with living_worker(pathlib.Path(sys.argv[1]), uuid.UUID(sys.argv[2])):
    print("alive", flush=True)
    time.sleep(600)
"""


@contextmanager
def process(folder: Path, worker: UUID) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process of its own, until it is killed."""
    command = [sys.executable, "-c", WORKER, str(folder), str(worker)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert "alive\n" == running.stdout.readline()
        try:
            yield running
        finally:
            running.kill()


def dead(folder: Path) -> list[UUID]:
    """Who is dead, without taking over from them."""
    found: list[UUID] = []
    with suppress(InterruptedError), dead_workers(folder) as workers:
        found = workers
        raise InterruptedError
    return found


def test_who_is_killed_is_found_until_somebody_has_taken_over(tmp_path: Path) -> None:
    """A successor that fails leaves it to the next; one that succeeds is the last to hear of it."""
    worker = new_id()
    with process(tmp_path, worker) as running:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert [worker] == dead(tmp_path)
        with dead_workers(tmp_path) as found:
            assert [worker] == found
        assert [] == dead(tmp_path)


def test_who_lives_or_sleeps_is_not_dead(tmp_path: Path) -> None:
    """A stopped process may wake up and go on."""
    with process(tmp_path, new_id()) as running:
        assert [] == dead(tmp_path)
        os.kill(running.pid, signal.SIGSTOP)
        assert [] == dead(tmp_path)


def test_who_ended_well_leaves_nothing(tmp_path: Path) -> None:
    """It has handed its work back itself."""
    with living_worker(tmp_path, new_id()):
        assert [] == dead(tmp_path)
    assert [] == list(tmp_path.iterdir())


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    """Also those of a worker that is just beginning."""
    (tmp_path / "readme").touch()
    (tmp_path / f"{new_id()}.new").touch()
    with dead_workers(tmp_path) as found:
        assert [] == found
    assert 2 == len(list(tmp_path.iterdir()))
