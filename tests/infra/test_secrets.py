"""Secrets of an installation: made once, the same for all of its processes, readable by the owner only."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from emeterai.infra.secrets import SECRET_BYTES, local_secret


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """The second asker gets what the first one got."""
    secret = local_secret(tmp_path / "keys", "session")
    assert SECRET_BYTES == len(secret)
    assert secret == local_secret(tmp_path / "keys", "session")


def test_secrets_differ(tmp_path: Path) -> None:
    """By name and by installation."""
    places = [(tmp_path / "one", "a"), (tmp_path / "one", "b"), (tmp_path / "two", "a")]
    assert 3 == len({local_secret(folder, name) for folder, name in places})


def test_only_the_owner_can_read_a_secret(tmp_path: Path) -> None:
    """The folder is closed, the file too, and no draft is left."""
    local_secret(tmp_path / "keys", "session")
    assert "0o700" == oct((tmp_path / "keys").stat().st_mode & 0o777)
    assert "0o600" == oct((tmp_path / "keys" / "session").stat().st_mode & 0o777)
    assert ["session"] == [path.name for path in (tmp_path / "keys").iterdir()]


def test_processes_that_start_together_have_one_secret(tmp_path: Path) -> None:
    """The first one's counts, whoever that is."""
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        waiting = [processes.submit(local_secret, tmp_path / "keys", f"secret-{turn // 4}") for turn in range(40)]
        secrets = [answer.result() for answer in waiting]
    assert 10 == len(set(secrets))
    assert all(1 == len(set(secrets[turn : turn + 4])) for turn in range(0, 40, 4))
    assert 10 == len(list((tmp_path / "keys").iterdir()))


def test_a_draft_that_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """The next start makes the secret."""
    (tmp_path / ".session.1").write_bytes(b"half")
    assert SECRET_BYTES == len(local_secret(tmp_path, "session"))


def test_a_secret_outlives_a_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its content is on the disk before it has its name, and its name before anybody uses it.

    A secret that is made anew signs public lines with another key, and opens no voucher that was sold before.
    """
    sync, synced = os.fsync, list[tuple[int, list[str]]]()

    def noted(descriptor: int) -> None:
        folder = tmp_path / "keys"
        synced.append((os.fstat(descriptor).st_ino, sorted(it.name for it in folder.iterdir() if it.name[0] != ".")))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    local_secret(tmp_path / "keys", "session")
    inodes = (tmp_path / "keys" / "session").stat().st_ino, (tmp_path / "keys").stat().st_ino
    assert [(inodes[0], []), (inodes[1], ["session"])] == synced
