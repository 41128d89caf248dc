"""One answer to /metrics counts all processes of the machine, the dead ones too."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from emeterai.infra.metrics import FOLDER_VARIABLE, environment_of, fold_dead, prepare_folder

PROGRAM = """
import sys
from emeterai.infra import metrics
done = metrics.counter("done", "Things done", ["lane"])
busy = metrics.gauge("busy", "Things going on")
took = metrics.histogram("took_seconds", "How long things took")
done.labels("a").inc(2); busy.inc(3); took.observe(0.003)
"""
DOOR = """
import sys
from emeterai.gate import keeper
from emeterai.infra import metrics
keeper._pressure.set({pressure}); keeper._limit.labels("web").set({limit})
"""
NO_DOOR = "from emeterai.gate import keeper\nimport sys\nfrom emeterai.infra import metrics\n"
ANSWERING = """
print("ready", flush=True)
for line in sys.stdin:
    sys.stdout.write(metrics.render().decode() + "END\\n"); sys.stdout.flush()
"""


class Worker:
    """A process that has counted a little and answers what it sees."""

    def __init__(self, environment: dict[str, str], program: str = PROGRAM) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program + ANSWERING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != FOLDER_VARIABLE} | environment,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics by their name with labels."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        text = "".join(iter(self.process.stdout.readline, "END\n"))
        return {name: float(value) for name, value in re.findall(r"^([a-z_]\S*) (\S+)$", text, re.MULTILINE)}

    def end(self) -> None:
        """Kill it and wait."""
        self.process.kill()
        self.process.communicate()


def test_every_process_answers_for_all_of_them(tmp_path: Path) -> None:
    """Counters, gauges and histograms of two processes are added up; leftovers of an earlier run are not."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_999.db").write_bytes(b"left over")
    prepare_folder(folder)
    environment = environment_of(folder)
    workers = [Worker(environment), Worker(environment)]
    seen = workers[0].metrics()
    assert (seen['done_total{lane="a"}'], seen["busy"]) == (4.0, 6.0)
    assert (
        seen['took_seconds_bucket{le="0.0025"}'],
        seen['took_seconds_bucket{le="0.005"}'],
        seen["took_seconds_count"],
    ) == (0.0, 2.0, 2.0)
    for worker in workers:
        worker.end()


def test_the_fullest_door_is_shown_whoever_told_last(tmp_path: Path) -> None:
    """Of those that live: its pressure, and the limit of the one that has the lowest; a process without a door, which
    imports the same, has none.
    """
    folder = tmp_path / "metrics"
    prepare_folder(folder)
    doors = [(0.0, 1), (4.0, 32), (0.0, 4), (9.0, 2)]
    workers = [Worker(environment_of(folder), DOOR.format(pressure=pressure, limit=limit)) for pressure, limit in doors]
    for number in (3, 0):
        workers.pop(number).end()
    fold_dead(folder)
    workers.append(Worker(environment_of(folder), NO_DOOR))
    seen = workers[0].metrics()
    assert (4.0, 4.0) == (seen["emeterai_door_pressure"], seen['emeterai_door_limit{role="web"}'])
    for worker in workers:
        worker.end()


def test_the_dead_keep_their_counts_and_lose_their_gauges(tmp_path: Path) -> None:
    """However often processes are replaced: totals never go back, gauges of the dead are gone, files are few."""
    prepare_folder(tmp_path / "metrics")
    environment = environment_of(tmp_path / "metrics")
    survivor = Worker(environment)
    for _ in range(3):
        Worker(environment).end()
        fold_dead(tmp_path / "metrics")
    seen = survivor.metrics()
    assert (seen['done_total{lane="a"}'], seen["busy"], seen["took_seconds_count"]) == (8.0, 3.0, 4.0)
    pid = survivor.process.pid
    assert {f"{kind}_{owner}.db" for kind in ("counter", "histogram") for owner in (0, pid)} | {
        f"gauge_livesum_{pid}.db"
    } == {path.name for path in (tmp_path / "metrics").iterdir()}
    survivor.end()


def test_one_process_alone_needs_no_folder() -> None:
    """Without the variable a process answers for itself."""
    worker = Worker({})
    assert worker.metrics()['done_total{lane="a"}'] == 2.0
    worker.end()
