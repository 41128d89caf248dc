"""A supervisor whose children die in awkward moments: it ends what it replaces, and gives up only at the beginning."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emeterai.infra.migrate import migrate
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.infra.process import ChildCommand, is_alive
from emeterai.infra.supervise import Backoff, ChildSpec, Supervisor, read_pids
from processes import alive, children_of

READY_WITHIN_S = 90


async def lived(lives: Path, count: int, running: asyncio.Task[None]) -> list[int]:
    """The process ids of the child's lives, once there are so many."""
    async with asyncio.timeout(READY_WITHIN_S):
        while not lives.exists() or len(lives.read_text().split()) < count:
            assert not running.done()
            await asyncio.sleep(0.02)
    return [int(pid) for pid in lives.read_text().split()]


async def test_a_child_whose_probe_breaks_is_ended_before_it_is_replaced(tmp_path: Path) -> None:
    """In a later life the probe itself crashes: the child is started again, and there is never one beside it."""
    starts, broke, lives = 0, False, tmp_path / "lives"

    def command() -> ChildCommand:
        nonlocal starts
        starts += 1
        return ChildCommand(("sh", "-c", f"echo $$ >> {lives}; exec sleep 600"))

    async def is_ready() -> bool:
        nonlocal broke
        # A probe that took the record of an earlier life for this one's would never come to its crash.
        if not lives.exists() or len(lives.read_text().split()) < starts:
            return False
        if starts == 2 and not broke:
            broke = True
            raise ZeroDivisionError
        return True

    supervisor = Supervisor([ChildSpec("one", command, is_ready=is_ready)], tmp_path, backoff=Backoff(first_s=0.05))
    running = asyncio.create_task(supervisor.run())
    await supervisor.wait_ready()
    [first] = await lived(lives, 1, running)
    os.kill(first, signal.SIGKILL)
    assert [False, False, True] == [is_alive(pid) for pid in await lived(lives, 3, running)]
    supervisor.stop()
    await running


async def test_a_child_that_was_stable_once_is_never_given_up(tmp_path: Path) -> None:
    """Exit code 78 in a later life (a disk that is full for a while) stops neither the others nor its own return."""
    lives = tmp_path / "lives"
    command = ChildCommand(("sh", "-c", f"echo $$ >> {lives}; test $(wc -l < {lives}) = 2 && exit 78; exec sleep 600"))
    backoff = Backoff(first_s=0.05, stable_s=0.1)
    supervisor = Supervisor([ChildSpec("one", command)], tmp_path, backoff=backoff)
    running = asyncio.create_task(supervisor.run())
    [first] = await lived(lives, 1, running)
    await asyncio.sleep(0.3)
    os.kill(first, signal.SIGKILL)
    await lived(lives, 3, running)
    supervisor.stop()
    await running


ON_A_FULL_DISK = """
import asyncio, sys
from pathlib import Path
from emeterai.infra.logs import configure_logging
from emeterai.infra.process import ChildCommand
from emeterai.infra.supervise import Backoff, ChildSpec, Supervisor
folder = Path(sys.argv[1])
configure_logging("json")
count = f"i=0; while :; do i=$((i+1)); printf '%0800d\\n' $i; mkdir -p {folder}/at/$$.$i; sleep 0.002; done"
def unable(): raise OSError("No space left on device")
asyncio.run(Supervisor([ChildSpec("talker", ChildCommand(("sh", "-c", count)))], folder,
                       plain=True, backoff=Backoff(first_s=0.05), after_death=unable).run())
"""


async def test_a_full_disk_costs_lines_and_the_register_but_no_child(tmp_path: Path) -> None:
    """Where not a byte can be written, a killed child is replaced by one, not by more, and none stands still for its
    lines; when there is room again, the register is true.
    """
    at = tmp_path / "at"

    async def spoken(more: int) -> set[int]:
        """The children that have spoken since, once one of them has said `more` lines."""
        before = set(at.iterdir()) if at.exists() else set()
        async with asyncio.timeout(READY_WITHIN_S):
            while len(now := set(at.iterdir() if at.exists() else ()) - before) < more:
                await asyncio.sleep(0.05)
        return {int(path.name.partition(".")[0]) for path in now}

    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-c", ON_A_FULL_DISK, str(tmp_path)], stdout=log, stderr=log)
    try:
        [first] = await spoken(5)
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))
        await spoken(500)
        os.kill(first, signal.SIGKILL)
        await spoken(20)
        [second] = await spoken(100)
        assert [second] == children_of(process.pid)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        os.kill(second, signal.SIGKILL)
        await spoken(20)
        [third] = await spoken(20)
        assert {"supervisor": process.pid, "talker": third} == read_pids(tmp_path)
        process.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.to_thread(process.wait, READY_WITHIN_S)
        assert [] == alive([first, second, third])
    finally:
        process.kill()
        process.wait()


def listens_to_sigterm(pid: int) -> bool:
    """Whether a process has said what SIGTERM means to it (proc_pid_status(5), SigCgt)."""
    caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()[0]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("role", ["steward", "sealer"])
async def test_a_role_that_starts_before_its_database_waits_for_it(short_folder: Path, role: str) -> None:
    """Killed together with PostgreSQL, a role comes back first: it waits, and does not end everything with code 78."""
    data = short_folder / f"early-{role}"
    postgres = EmbeddedPostgres(data, durable=False)
    await asyncio.to_thread(postgres.prepare)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMETERAI_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "emeterai", role],
        env={**kept, "EMETERAI_DATA_DIR": str(data), "EMETERAI_LOG_FORMAT": "json"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        said = (await asyncio.to_thread(process.stdout.readline)).decode()
        assert "database_away" in said
        await postgres.start()
        await migrate(postgres.url())
        async with asyncio.timeout(READY_WITHIN_S):
            while not listens_to_sigterm(process.pid):
                await asyncio.sleep(0.05)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.to_thread(process.wait, READY_WITHIN_S)
    finally:
        process.kill()
        process.wait()
        await postgres.stop()
        postgres.remove()
