"""Crash points: nothing without the setting; with it, one death for each arming."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

COMES_BY = "from emeterai.infra.crash_points import may_die_at; may_die_at('here'); may_die_at('there'); print('lives')"


def come_by(**settings: str) -> subprocess.CompletedProcess[str]:
    """A process that comes to two points and lives on, or not."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("EMETERAI_")}
    return subprocess.run(
        [sys.executable, "-c", COMES_BY], env={**kept, **settings}, capture_output=True, text=True, check=False
    )


def test_an_armed_point_kills_once(tmp_path: Path) -> None:
    """The first who comes dies by SIGKILL before the next line; the second finds the point disarmed."""
    (tmp_path / "there").touch()
    assert "lives\n" == come_by().stdout
    first = come_by(EMETERAI_CRASH_FOLDER=str(tmp_path))
    assert (-signal.SIGKILL, "") == (first.returncode, first.stdout)
    assert [] == list(tmp_path.iterdir())
    assert "lives\n" == come_by(EMETERAI_CRASH_FOLDER=str(tmp_path)).stdout
