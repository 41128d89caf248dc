"""Folders for processes that run as other users."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can enter (pytest's own are closed to others)."""
    folder = Path(tempfile.mkdtemp(prefix="emeterai test "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def open_session_folder() -> Iterator[Path]:
    """The same, for what lives as long as the test session."""
    folder = Path(tempfile.mkdtemp(prefix="emeterai test "))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
