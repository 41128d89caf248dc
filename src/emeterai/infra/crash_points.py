"""Named crash points: places between two steps at which a test kills the process, to see that nothing is lost there.

Off by default. With `EMETERAI_CRASH_FOLDER`, a file in that folder that is named like a point arms it: the first
process that comes to the point takes the file away and kills itself with SIGKILL. So each arming is one death, and what
starts afterwards goes on. docs/journey.md says where the points are and what follows.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from emeterai.infra.settings import PREFIX

_FOLDER = os.environ.get(f"{PREFIX}CRASH_FOLDER", "")


def may_die_at(point: str) -> None:
    """Kill this process when a test has armed `point`; otherwise, and always in production, do nothing."""
    if not _FOLDER:
        return
    try:
        Path(_FOLDER, point).unlink()
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
