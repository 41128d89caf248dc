"""Secrets of this installation, made at its first run and kept in files that only the owner can read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from emeterai.infra.durable_files import sync_folder

SECRET_BYTES = 32


def local_secret(folder: Path, name: str) -> bytes:
    """The secret called `name`, made when absent. Of processes that start together, the first one's secret counts."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / name
    if not path.exists():
        draft = folder / f".{name}.{os.getpid()}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # A link, unlike a rename, never replaces what another process made meanwhile.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
        draft.unlink()
        sync_folder(folder)
    return path.read_bytes()
