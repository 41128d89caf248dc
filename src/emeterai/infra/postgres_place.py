"""Where the embedded PostgreSQL lives and as whom it runs.

PostgreSQL refuses to run as root. Under root it runs as a system user of its own, whose files live in the data folder
when that user can get there, and below /var/lib otherwise; the file `postgres.elsewhere` in the data folder says so.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from emeterai.infra.process import ChildCommand

SERVICE_USER = "emeterai"
SOCKET_RECORD = "socket_folder"
"""The file in `home` that names the folder of the socket, so that every process finds the same one."""
_ELSEWHERE_FILE = "postgres.elsewhere"
_ELSEWHERE_PARENTS = (Path("/var/lib/emeterai"), Path("/srv/emeterai"), Path("/opt/emeterai"))
_SOCKET_PARENTS_ROOT = (Path("/run"), Path("/tmp"))  # noqa: S108 - ownership is checked before use
_SOCKET_PARENTS = (Path("/tmp"),)  # noqa: S108


class PostgresError(Exception):
    """The embedded PostgreSQL cannot be prepared or started; the text says why and what to do, for an operator."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The user that PostgreSQL runs as."""

    user_id: int
    group_id: int

    @property
    def name(self) -> str:
        """The user's name, or its number when it has none."""
        try:
            return pwd.getpwuid(self.user_id).pw_name
        except KeyError:
            return str(self.user_id)


@dataclass(frozen=True, slots=True)
class Place:
    """`home` holds the cluster, its passwords and its lock; it belongs to `owner`, who can run the programs."""

    home: Path
    bin_dir: Path
    owner: Owner


def find_home(data_path: Path) -> Path:
    """The database's folder for this data folder, as the last preparation chose it."""
    inside = data_path / "postgres"
    elsewhere = _elsewhere(data_path)
    return inside if elsewhere is None or inside.is_dir() else elsewhere / "postgres"


def choose_place(data_path: Path, bin_dir: Path) -> Place:
    """Decide where the cluster goes and who runs it, making folders and the system user as needed.

    Raises PostgresError when a cluster exists that this user must not or cannot use.
    """
    data_path.mkdir(parents=True, exist_ok=True)
    home = find_home(data_path)
    if os.geteuid() != 0:
        return _place_as_ordinary_user(home, bin_dir)
    owner = _owner_of(home) or _service_user()
    if not home.parent.is_dir():
        raise PostgresError(
            f"the database of {data_path} was kept in {home.parent}, which is gone; restore it, or `make clean`"
        )
    if not _can_enter(home.parent, owner):
        if home.is_dir():
            raise PostgresError(f"the user {owner.name} cannot enter {home.parent}, where its database is; let it in")
        home = _go_elsewhere(data_path, owner) / "postgres"
    _make_own_folder(home, owner)
    return Place(home, _reachable_binaries(data_path, bin_dir, owner), owner)


def socket_folder(place: Place, data_path: Path) -> Path:
    """A short private folder (mode 0700, below 100 bytes) for the socket; its name comes from the data folder's."""
    parents = _SOCKET_PARENTS_ROOT if os.geteuid() == 0 else _SOCKET_PARENTS
    failure: OSError | None = None
    for parent in parents:
        folder = parent / f"emeterai-{place.owner.user_id}-{_digest(data_path)}"
        try:
            _make_own_folder(folder, place.owner)
        except OSError as error:
            failure = error
        else:
            return folder
    raise PostgresError(f"no folder for the database's socket could be made: {failure}")


def forget_elsewhere(data_path: Path) -> None:
    """Remove what was put outside the data folder (`make clean`): database, copied programs, socket folder.

    The server must be stopped. Does nothing when everything is inside. Raises PostgresError when the record names a
    folder that this program did not make.
    """
    socket_record = find_home(data_path) / SOCKET_RECORD
    if socket_record.exists():
        shutil.rmtree(socket_record.read_text().strip(), ignore_errors=True)
    elsewhere = _elsewhere(data_path)
    if elsewhere is not None:
        if elsewhere.parent not in _ELSEWHERE_PARENTS or not re.fullmatch(r"[0-9a-f]{12}", elsewhere.name):
            raise PostgresError(
                f"{data_path / _ELSEWHERE_FILE} names {elsewhere}, which is not ours; nothing is removed"
            )
        shutil.rmtree(elsewhere, ignore_errors=True)
        (data_path / _ELSEWHERE_FILE).unlink()


def _elsewhere(data_path: Path) -> Path | None:
    try:
        return Path((data_path / _ELSEWHERE_FILE).read_text().strip())
    except FileNotFoundError:
        return None


def _place_as_ordinary_user(home: Path, bin_dir: Path) -> Place:
    me = Owner(os.geteuid(), os.getegid())
    if home.parent.is_dir() and not os.access(home.parent, os.X_OK):
        raise PostgresError(f"the database in {home} belongs to another user; run as that user or as root")
    owner = _owner_of(home)
    if owner is not None and owner.user_id != me.user_id:
        raise PostgresError(f"the database in {home} belongs to the user {owner.name}; run as that user or as root")
    _make_own_folder(home, me)
    return Place(home, bin_dir, me)


def _owner_of(home: Path) -> Owner | None:
    """Whose cluster is there already; None when there is none, or when it is root's, who may not run it."""
    try:
        found = home.stat()
    except FileNotFoundError:
        return None
    return Owner(found.st_uid, found.st_gid) if found.st_uid != 0 else None


def _service_user() -> Owner:
    """The system user of the service, made when missing; `nobody` where users cannot be made."""
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    try:
        pwd.getpwnam(SERVICE_USER)
    except KeyError:
        if useradd is not None:
            account = ("--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin")
            ChildCommand((useradd, *account, SERVICE_USER)).run(timeout_s=30)
    for name in (SERVICE_USER, "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(entry.pw_uid, entry.pw_gid)
    raise PostgresError(f"PostgreSQL does not run as root, and there is no user {SERVICE_USER}; make one with useradd")


def _runs_as(owner: Owner, *argv: str | Path) -> bool:
    command = ChildCommand(tuple(map(str, argv)), folder=Path("/"), user_id=owner.user_id, group_id=owner.group_id)
    try:
        return command.run(timeout_s=30).returncode == 0
    except OSError:
        return False


def _can_enter(folder: Path, owner: Owner) -> bool:
    return _runs_as(owner, "test", "-x", folder)


def _digest(data_path: Path) -> str:
    return hashlib.sha256(os.fsencode(data_path.resolve())).hexdigest()[:12]


def _go_elsewhere(data_path: Path, owner: Owner) -> Path:
    """A folder outside the data folder that `owner` can enter: the recorded one, or a new one, which is recorded."""
    recorded = _elsewhere(data_path)
    if recorded is not None and recorded.is_dir():
        return recorded
    for parent in _ELSEWHERE_PARENTS:
        folder = parent / _digest(data_path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            parent.chmod(0o755)
            folder.chmod(0o755)
        except OSError:
            continue
        if _can_enter(folder, owner):
            (data_path / _ELSEWHERE_FILE).write_text(f"{folder}\n")
            return folder
    raise PostgresError(
        f"the user {owner.name} cannot enter {data_path}, nor could a folder be made in any of "
        + ", ".join(map(str, _ELSEWHERE_PARENTS))
    )


def _reachable_binaries(data_path: Path, bin_dir: Path, owner: Owner) -> Path:
    """`bin_dir` itself, or a copy of the installation around it that `owner` can run."""
    if _runs_as(owner, bin_dir / "postgres", "--version"):
        return bin_dir
    installation = bin_dir.parent
    if not (installation / "share").is_dir() or not (installation / "lib").is_dir():
        raise PostgresError(f"the user {owner.name} cannot run {bin_dir / 'postgres'}; choose programs that it can run")
    program = (bin_dir / "postgres").stat()
    version = hashlib.sha256(f"{bin_dir}|{program.st_size}|{program.st_mtime_ns}".encode()).hexdigest()[:12]
    copy = _go_elsewhere(data_path, owner) / f"programs-{version}"
    if not copy.exists():
        unfinished = copy.with_name(f"{copy.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        for source in (installation, installation.parent.with_suffix(".libs")):  # a wheel keeps shared libraries beside
            if source.is_dir():
                target = unfinished / source.relative_to(installation.parent.parent)
                shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "doc"))
        for folder in (unfinished, *filter(Path.is_dir, unfinished.rglob("*"))):
            folder.chmod(0o755)
        unfinished.rename(copy)
    return copy / bin_dir.relative_to(installation.parent.parent)


def _make_own_folder(folder: Path, owner: Owner) -> None:
    """Make `folder` (mode 0700) for `owner`; raises PermissionError when it is somebody else's or a link."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {owner.user_id, os.geteuid()}:
        raise PermissionError(f"{folder} belongs to somebody else")
    if found.st_uid != owner.user_id:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner.user_id, owner.group_id, follow_symlinks=False)
    folder.chmod(0o700)
