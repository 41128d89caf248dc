"""Who runs is counted beside who should: a role of which nobody lives is a zero."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from emeterai.infra.metrics import FOLDER_VARIABLE, environment_of, fold_dead, prepare_folder

PROGRAM = """
import sys
from emeterai.infra import metrics, roster
roster.here(sys.argv[1])
if sys.argv[1] == "web":
    roster.expect({"web": 1, "room": 1, "sealer": 2})
print("ready", flush=True)
for line in sys.stdin:
    sys.stdout.write(metrics.render().decode() + "END\\n"); sys.stdout.flush()
"""


def begun(role: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A process of that role."""
    kept = {name: value for name, value in os.environ.items() if name != FOLDER_VARIABLE}
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, role],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=kept | environment,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def asked(process: subprocess.Popen[str]) -> dict[str, tuple[float, float]]:
    """How many of each role run and should, by what this process answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    text = "".join(iter(process.stdout.readline, "END\n"))
    found = {
        which: dict(re.findall(rf'^emeterai_processes{which}{{role="(\w+)"}} (\S+)$', text, re.MULTILINE))
        for which in ("", "_wanted")
    }
    return {role: (float(found[""][role]), float(count)) for role, count in found["_wanted"].items()}


def test_a_process_that_has_died_is_missing(tmp_path: Path) -> None:
    """And one that never came, and one of two."""
    prepare_folder(tmp_path / "metrics")
    environment = environment_of(tmp_path / "metrics")
    web, sealer, room = (begun(role, environment) for role in ("web", "sealer", "room"))
    assert {"web": (1, 1), "room": (1, 1), "sealer": (1, 2)} == asked(web)
    room.kill()
    room.communicate()
    fold_dead(tmp_path / "metrics")
    assert {"web": (1, 1), "room": (0, 1), "sealer": (1, 2)} == asked(web)
    for process in (web, sealer):
        process.kill()
        process.communicate()


def test_a_process_alone_cannot_count_others_and_misses_none() -> None:
    """Without shared numbers each sees itself only."""
    web = begun("web", {})
    assert {"web": (1, 0), "room": (0, 0), "sealer": (0, 0)} == asked(web)
    web.kill()
    web.communicate()
