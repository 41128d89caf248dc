"""A supervisor whose children die in awkward moments: it ends what it replaces, and gives up only at the beginning."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emeterai.infra.migrate import migrate
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.infra.process import ChildCommand, is_alive
from emeterai.infra.supervise import Backoff, ChildSpec, Supervisor

READY_WITHIN_S = 20


async def lived(lives: Path, count: int, running: asyncio.Task[None]) -> list[int]:
    """The process ids of the child's lives, once there are so many."""
    async with asyncio.timeout(READY_WITHIN_S):
        while not lives.exists() or len(lives.read_text().split()) < count:
            assert not running.done()
            await asyncio.sleep(0.02)
    return [int(pid) for pid in lives.read_text().split()]


async def test_a_child_whose_probe_breaks_is_ended_before_it_is_replaced(tmp_path: Path) -> None:
    """In a later life the probe itself crashes: the child is started again, and there is never one beside it."""
    broke, lives = False, tmp_path / "lives"

    async def is_ready() -> bool:
        nonlocal broke
        count = len(lives.read_text().split()) if lives.exists() else 0
        if count == 2 and not broke:
            broke = True
            raise ZeroDivisionError
        return count > 0

    command = ChildCommand(("sh", "-c", f"echo $$ >> {lives}; exec sleep 600"))
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
        await asyncio.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert 0 == await asyncio.to_thread(process.wait, READY_WITHIN_S)
    finally:
        process.kill()
        process.wait()
        await postgres.stop()
        postgres.remove()
