"""The supervisor keeps its children alive, stops them in order, and takes them with it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest

from emeterai.infra.postgres import STOP_SIGNAL, EmbeddedPostgres
from emeterai.infra.process import ChildCommand, is_alive
from emeterai.infra.supervise import Backoff, ChildSpec, Supervisor, SupervisorError, read_pids

QUICK = Backoff(first_s=0.05, longest_s=0.2)
SLEEPER = ChildCommand(("sleep", "600"))


def script(text: str) -> ChildCommand:
    """A Python child."""
    return ChildCommand((sys.executable, "-c", text))


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until the condition holds; fails after 20 s."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[asyncio.Task[None]]:
    """Run the supervisor until all are ready, and stop it at the end."""
    run = asyncio.create_task(supervisor.run())
    ready = asyncio.create_task(supervisor.wait_ready())
    await asyncio.wait([run, ready], return_when=asyncio.FIRST_COMPLETED)
    ready.cancel()
    if run.done():
        run.result()
    try:
        yield run
    finally:
        supervisor.stop()
        await run


async def test_a_killed_child_is_started_again_and_pids_tell_where(tmp_path: Path) -> None:
    """After kill -9 there is a new process under the same name; the register follows, and is gone after the stop."""
    deaths: list[str] = []
    supervisor = Supervisor(
        [ChildSpec("one", SLEEPER)], tmp_path, backoff=QUICK, after_death=lambda: deaths.append("one")
    )
    async with running(supervisor):
        first = read_pids(tmp_path)["one"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: read_pids(tmp_path).get("one", first) != first)
        second = read_pids(tmp_path)["one"]
        assert is_alive(second)
        assert os.getpid() == read_pids(tmp_path)["supervisor"]
    assert deaths == ["one"]
    assert not is_alive(second)
    assert read_pids(tmp_path) == {}


async def test_children_start_after_what_they_need_and_stop_before_it(tmp_path: Path) -> None:
    """A dependent starts when the other has been ready and prepared, and is gone before the other is asked to stop."""
    seen: list[str] = []
    text = "import signal, sys; print('{} up', flush=True); signal.sigwait([15]); print('{} down', flush=True)"

    async def is_ready() -> bool:
        seen.append("probed")
        return seen.count("probed") > 2

    async def once_ready() -> None:
        seen.append("prepared")

    output = io.StringIO()
    under = script(f"import signal; signal.pthread_sigmask(0, [15]); {text.format('under', 'under')}")
    upper = script(f"import signal; signal.pthread_sigmask(0, [15]); {text.format('upper', 'upper')}")
    supervisor = Supervisor(
        [
            ChildSpec("under", under, is_ready=is_ready, once_ready=once_ready),
            ChildSpec("upper", upper, needs=("under",)),
        ],
        tmp_path,
        plain=True,
        output=output,
    )
    async with running(supervisor):
        await eventually(lambda: "upper up" in output.getvalue() and "under up" in output.getvalue())
    assert seen == ["probed", "probed", "probed", "prepared"]
    lines = [line.strip() for line in output.getvalue().splitlines()]
    assert lines[-2:] == ["upper | upper down", "under | under down"]


async def test_who_does_not_stop_is_killed_with_its_helpers(tmp_path: Path) -> None:
    """A child that ignores SIGTERM is killed after its time, and so is what it started in its group."""
    helper_file = tmp_path / "helper"
    text = (
        "import pathlib, signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "helper = subprocess.Popen(['sleep', '600']);"
        f"pathlib.Path({str(helper_file)!r}).write_text(str(helper.pid)); time.sleep(600)"
    )
    supervisor = Supervisor([ChildSpec("deaf", script(text), stop_timeout_s=0.3)], tmp_path)
    async with running(supervisor):
        await eventually(lambda: helper_file.exists() and helper_file.read_text())
        child, helper = supervisor.pids()["deaf"], int(helper_file.read_text())
    assert not is_alive(child)
    await eventually(lambda: not is_alive(helper))  # told in the same moment; nobody waits for it


async def test_helpers_of_a_killed_child_do_not_keep_it_from_coming_back(tmp_path: Path) -> None:
    """Helpers that hold the output pipe (or a port) die with the child, and it is started again."""
    supervisor = Supervisor(
        [ChildSpec("manager", ChildCommand(("sh", "-c", "sleep 600 & wait")))], tmp_path, backoff=QUICK
    )
    async with running(supervisor):
        first = supervisor.pids()["manager"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: supervisor.pids().get("manager", first) != first)


async def test_json_lines_pass_and_others_are_named(tmp_path: Path) -> None:
    """For machines a JSON line is passed as it is; for people each line names its child; long lines are cut."""
    output = io.StringIO()
    text = """print('{"event": "hello"}'); print('x' * 200_000); import time; time.sleep(600)"""
    command = ChildCommand((sys.executable, "-u", "-c", text))
    async with running(Supervisor([ChildSpec("talker", command)], tmp_path, output=output)):
        await eventually(lambda: output.getvalue() == '{"event": "hello"}\n')
    output = io.StringIO()
    async with running(Supervisor([ChildSpec("talker", command)], tmp_path, plain=True, output=output)):
        await eventually(lambda: output.getvalue().count("x") == 200_000)
    assert output.getvalue().splitlines()[0] == '    talker | {"event": "hello"}'


async def test_a_character_that_the_output_has_not_costs_its_line_only(tmp_path: Path) -> None:
    """The child is heard further: one that nobody hears stands still when its pipe is full."""
    kept = io.BytesIO()
    output = io.TextIOWrapper(kept, encoding="ascii", write_through=True)
    text = "print('kop\\u00ed'); print('after'); import time; time.sleep(600)"
    command = ChildCommand((sys.executable, "-u", "-X", "utf8", "-c", text))
    async with running(Supervisor([ChildSpec("talker", command)], tmp_path, plain=True, output=output)):
        await eventually(lambda: kept.getvalue() == b"    talker | after\n")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        (ChildSpec("none", ChildCommand(("/no/such/program",))), "none cannot be started"),
        (ChildSpec("wrong", ChildCommand(("sh", "-c", "exit 78"))), "wrong cannot run"),
        (ChildSpec("weak", ChildCommand(("false",)), is_ready=asyncio.Event().wait, ready_timeout_s=3.0), "weak died"),
        (ChildSpec("slow", SLEEPER, is_ready=asyncio.Event().wait, ready_timeout_s=0.1), "slow was not ready"),
    ],
)
async def test_what_cannot_run_the_first_time_ends_everything(tmp_path: Path, spec: ChildSpec, complaint: str) -> None:
    """A start that cannot succeed stops the others too and says which child it was."""
    supervisor = Supervisor([ChildSpec("good", SLEEPER), spec], tmp_path, backoff=QUICK)
    with pytest.raises(SupervisorError, match=complaint):
        await asyncio.wait_for(supervisor.run(), 20)
    assert {"supervisor": os.getpid()} == supervisor.pids()


async def test_one_data_folder_has_one_supervisor(tmp_path: Path) -> None:
    """The second one is refused and told who the first is."""
    async with running(Supervisor([ChildSpec("one", SLEEPER)], tmp_path)):
        with pytest.raises(SupervisorError, match=f"served already, by process {os.getpid()}"):
            await Supervisor([ChildSpec("one", SLEEPER)], tmp_path).run()


def test_needs_are_named_before() -> None:
    """A need that does not exist, or comes later, is a mistake that is told at once."""
    with pytest.raises(SupervisorError, match="web needs database"):
        Supervisor([ChildSpec("web", SLEEPER, needs=("database",))], Path("unused"))


def test_backoff_doubles_up_to_its_bound() -> None:
    """0.2 s, 0.4 s, 0.8 s, and never more than 10 s."""
    assert [Backoff().delay_s(deaths) for deaths in (1, 2, 3, 10, 10_000)] == [0.2, 0.4, 0.8, 10.0, 10.0]


def test_who_lived_for_a_while_comes_back_soon() -> None:
    """The pause bounds how often a child is started: one killed every half minute is no child that dies at once."""
    assert [10.0, 6.0, 0.2, 0.2] == [Backoff().delay_s(10, lived_s=lived_s) for lived_s in (0.0, 4.0, 9.9, 30.0)]


SUPERVISOR_PROCESS = """
import asyncio, sys
from pathlib import Path
from emeterai.infra.process import ChildCommand
from emeterai.infra.supervise import ChildSpec, Supervisor
command = ChildCommand(("sh", "-c", "trap '' INT; exec sleep 600"))
asyncio.run(Supervisor([ChildSpec("one", command), ChildSpec("two", ChildCommand(("sleep", "600")))],
                       Path(sys.argv[1])).run())
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_no_child_outlives_its_supervisor(tmp_path: Path, number: signal.Signals) -> None:
    """Killed, told to end or interrupted: the children are gone with it."""
    command = (sys.executable, "-c", SUPERVISOR_PROCESS, str(tmp_path))
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    await eventually(lambda: {"one", "two"} <= set(read_pids(tmp_path)))
    children = [pid for name, pid in read_pids(tmp_path).items() if name != "supervisor"]
    process.send_signal(number)
    await eventually(lambda: not any(is_alive(pid) for pid in [*children, process.pid]))
    assert (-number if number == signal.SIGKILL else 0) == await process.wait()


async def test_a_killed_postgresql_comes_back_by_itself(open_folder: Path, tmp_path: Path) -> None:
    """Under the supervisor the database returns after kill -9 with every committed row, and stops cleanly."""
    postgres = EmbeddedPostgres(open_folder / "data", durable=False)
    postgres.prepare()
    spec = ChildSpec(
        "postgres", postgres.command, is_ready=postgres.is_ready, stop_signal=STOP_SIGNAL, death_signal=STOP_SIGNAL
    )
    async with running(Supervisor([spec], tmp_path, backoff=QUICK, output=io.StringIO())):
        connection = await asyncpg.connect(postgres.url())
        await connection.execute("create table kept as select 42 as number")
        first = read_pids(tmp_path)["postgres"]
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: read_pids(tmp_path).get("postgres", first) != first)
        connection.terminate()
        await postgres.wait_ready()
        connection = await asyncpg.connect(postgres.url())
        assert await connection.fetchval("select number from kept") == 42
        await connection.close()
    assert not (open_folder / "data" / "postgres" / "cluster" / "postmaster.pid").exists()
    postgres.remove()


def test_the_register_is_json(tmp_path: Path) -> None:
    """Anybody can read it."""
    (tmp_path / "pids.json").write_text(json.dumps({"web": 17}))
    assert read_pids(tmp_path) == {"web": 17}
