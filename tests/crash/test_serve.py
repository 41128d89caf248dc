"""`emeterai serve` where people really start it: twice, after a kill, on a taken port, in odd places, as odd users."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import emeterai
from emeterai.infra.postgres import EmbeddedPostgres
from emeterai.infra.settings import Settings
from emeterai.infra.supervise import SupervisorError
from emeterai.serve import serve
from papers import letter
from processes import alive, family_of, kill_all
from running import Person, RunningService, free_port

OPERATOR_MUST_MEND = 78
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")
STARTS_WITHIN_S = 90


def environment_of(settings: Mapping[str, str]) -> dict[str, str]:
    """Our environment with these settings and no others."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMETERAI_")}
    return {**kept, "EMETERAI_LOG_FORMAT": "json", **settings}


async def refused_start(settings: Mapping[str, str]) -> str:
    """Start a service that cannot start; answers its last words."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "emeterai", "serve"), env=environment_of(settings), stderr=subprocess.PIPE
    )
    _, said = await asyncio.wait_for(process.communicate(), STARTS_WITHIN_S)
    assert OPERATOR_MUST_MEND == process.returncode, said
    return said.decode()


async def sealed_by(person: Person) -> str:
    """The id of a new stamp of this person, sealed."""
    answer = await person.stamp(letter())
    assert 201 == answer.status_code, answer.text
    assert "sealed" == answer.json()["state"]
    return str(answer.json()["id"])


async def assert_genuine(person: Person, stamp_id: str) -> None:
    """The sealed file is there and verifies."""
    file = (await person.api.get(f"/v1/stamps/{stamp_id}/file")).raise_for_status().content
    verdict = await person.api.post("/v1/verify", files={"file": file})
    assert "genuine" == verdict.raise_for_status().json()["outcome"]


@pytest.fixture
async def sheltered(tmp_path: Path) -> AsyncIterator[RunningService]:
    """A service whose path has spaces, below a folder (0700) that no other user can enter."""
    closed = tmp_path / "a closed home"
    closed.mkdir(mode=0o700)
    service = RunningService(closed / "a folder with spaces")
    await service.start()
    yield service
    await service.stop()
    settings = {"EMETERAI_DATA_DIR": str(service.data_path)}
    subprocess.run([sys.executable, "-m", "emeterai", "forget"], env=environment_of(settings), check=True)


async def test_data_outlive_ctrl_c_and_kill_9_of_everything(sheltered: RunningService) -> None:
    """Ctrl-C leaves no process behind; neither it nor kill -9 of every process, PostgreSQL's too, loses anything."""
    person = await Person.sign_up(sheltered, quota=3)
    first = await sealed_by(person)
    assert sheltered.process is not None
    family = family_of(sheltered.process.pid)
    assert len(family) > 10
    assert 0 == await sheltered.stop()
    assert [] == alive(family)

    await sheltered.start()
    await assert_genuine(person, first)
    second = await sealed_by(person)
    assert sheltered.process is not None
    family = family_of(sheltered.process.pid)
    kill_all(family)
    await asyncio.to_thread(sheltered.process.wait)
    await sheltered.start()
    assert [] == alive(family)
    await assert_genuine(person, second)
    await sealed_by(person)
    assert {"bought": 3, "available": 0, "held": 0, "used": 3, "refunded": 0} == await person.quota()
    await person.close()


async def test_a_taken_port_is_named_with_the_way_out(service: RunningService, tmp_path: Path) -> None:
    """Web or sandbox: the sentence says which port, and which variable chooses another."""
    taken = {"EMETERAI_DATA_DIR": str(tmp_path / "var"), "EMETERAI_PORT": str(service.port)}
    said = await refused_start(taken)
    assert f"port {service.port} " in said
    assert "make run PORT=N" in said
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        said = await refused_start({**taken, "EMETERAI_PORT": str(free_port()), "EMETERAI_SANDBOX_PORT": str(port)})
    assert f"port {port} " in said
    assert "make run SANDBOX_PORT=N" in said


def settings_without_database(folder: Path, **others: Any) -> Settings:
    """A start with these fails at the latest at the database, with an OSError: nobody answers there."""
    return Settings(data_dir=str(folder / "var"), database_url="postgresql://nobody@127.0.0.1:1/none", **others)


async def test_equal_ports_are_named_before_anything_starts(tmp_path: Path) -> None:
    """Both variables, also where the sandbox's port is the one after the web's only because nobody chose another."""
    port = free_port()
    for ports, names in (
        ({"room_port": port + 3, "counter_port": port + 3}, "EMETERAI_ROOM_PORT and EMETERAI_COUNTER_PORT"),
        ({"counter_port": port + 1}, "EMETERAI_SANDBOX_PORT and EMETERAI_COUNTER_PORT"),
        ({"room_port": port}, "EMETERAI_PORT and EMETERAI_ROOM_PORT"),
    ):
        with pytest.raises(SupervisorError, match=f"{names} are both {max(ports.values())} "):
            await serve(settings_without_database(tmp_path, port=port, **ports))


async def test_the_port_of_a_sandbox_that_is_not_served_may_be_taken(tmp_path: Path) -> None:
    """By anybody: without the sandbox among the payment providers nothing of ours listens there."""
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        ports = {"port": free_port(), "sandbox_port": busy.getsockname()[1]}
        with pytest.raises(SupervisorError, match="SANDBOX_PORT=N"):
            await serve(settings_without_database(tmp_path, **ports))
        with pytest.raises(OSError, match="Connect call failed"):
            await serve(settings_without_database(tmp_path, payment_providers="xendit", **ports))


async def test_a_second_service_on_the_same_data_is_refused(service: RunningService) -> None:
    """It is told who serves there already, and the first does not notice: neither its children nor its numbers."""
    before, numbers = service.pids(), sorted((service.data_path / "metrics").iterdir())
    assert numbers
    said = await refused_start({"EMETERAI_DATA_DIR": str(service.data_path), "EMETERAI_PORT": str(free_port())})
    assert f"served already, by process {before['supervisor']}" in said
    assert before == service.pids()
    assert set(numbers) <= set((service.data_path / "metrics").iterdir())
    await service.wait_ready()


@pytest.fixture
def ordinary_user() -> tuple[int, int]:
    """The user and group ids of somebody who is not root: ourselves, or `nobody` when we are."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


@pytest.fixture
def home_of_ordinary(ordinary_user: tuple[int, int], short_folder: Path) -> Iterator[Path]:
    """A folder of that user's own, with a virtual environment in it that the user can run."""
    home = short_folder / "ordinary"
    home.mkdir(mode=0o700)
    os.chown(home, *ordinary_user)
    yield home
    shutil.rmtree(home, ignore_errors=True)


def python_for(user: tuple[int, int], home: Path) -> Path:
    """A Python of ours that this user can run (root's own may lie in root's home); skips when there is none."""
    for base in (sys.executable, "/usr/bin/python3"):
        venv = home / "venv"
        shutil.rmtree(venv, ignore_errors=True)
        try:
            made = subprocess.run(
                [base, "-m", "venv", "--without-pip", str(venv)],
                **as_user(user, home),
                capture_output=True,
                check=False,
            )
        except OSError:
            continue
        packages = venv / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        if made.returncode == 0 and packages.is_dir():
            source = Path(emeterai.__file__).parents[1]
            (packages / "all.pth").write_text(f"{sysconfig.get_path('purelib')}\n{source}\n")
            python = venv / "bin" / "python"
            tried = subprocess.run([python, "-c", "import emeterai.cli"], **as_user(user, home), check=False)
            if tried.returncode == 0:
                return python
    pytest.skip("no Python of this version that an ordinary user can run")


def as_user(user: tuple[int, int], home: Path) -> dict[str, object]:
    """Options of subprocess for running as that user."""
    options: dict[str, object] = {"cwd": home, "env": environment_of({"HOME": str(home)})}
    if os.geteuid() != 0:
        return options
    return options | {"user": user[0], "group": user[1], "extra_groups": []}


async def test_an_ordinary_user_runs_the_whole_line(ordinary_user: tuple[int, int], home_of_ordinary: Path) -> None:
    """What `make run ONCE=1` does, as somebody with no rights but to a home: exit code 0 and a genuine file."""
    home = home_of_ordinary
    python = python_for(ordinary_user, home)
    (home / "surat.pdf").write_bytes(letter())
    options = as_user(ordinary_user, home)
    settings = {"EMETERAI_DATA_DIR": str(home / "var"), "EMETERAI_PORT": str(free_port()), "HOME": str(home)}
    done = await asyncio.to_thread(
        subprocess.run,
        [python, "-m", "emeterai", "serve", "--walk", "surat.pdf", "--once"],
        **(options | {"env": environment_of(settings)}),
        capture_output=True,
        text=True,
        timeout=STARTS_WITHIN_S,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "downloaded and verified: genuine" in done.stdout
    assert ordinary_user[0] == (home / "var" / "postgres").stat().st_uid


@pytest.fixture
async def postgres_15(short_folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A running PostgreSQL 15 that is somebody else's business; skipped without one, and failed in CI."""
    if not DEBIAN_15.is_dir():
        message = "PostgreSQL 15 is not installed (Debian package postgresql-15)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    server = EmbeddedPostgres(short_folder / "fifteen", bin_dir=DEBIAN_15, durable=False)
    await server.start()
    yield server
    await server.stop()
    server.remove()


async def test_the_whole_line_works_on_a_server_of_ones_own(postgres_15: EmbeddedPostgres, short_folder: Path) -> None:
    """With EMETERAI_DATABASE_URL no database is started; PostgreSQL 15 does, and may be killed and come back."""
    service = RunningService(short_folder / "guest", {"EMETERAI_DATABASE_URL": postgres_15.url()})
    await service.start()
    assert "postgres" not in service.pids()
    person = await Person.sign_up(service, quota=2)
    first = await sealed_by(person)
    assert postgres_15.pid is not None
    kill_all([postgres_15.pid])
    await postgres_15.stop()
    await asyncio.sleep(1)
    await postgres_15.start()
    await service.wait_ready()
    await assert_genuine(person, first)
    await sealed_by(person)
    assert {"bought": 2, "available": 0, "held": 0, "used": 2, "refunded": 0} == await person.quota()
    await person.close()
    assert 0 == await service.stop(), service.last_words()
