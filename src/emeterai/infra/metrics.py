"""Prometheus metrics of all processes of one machine, added up: any process answers `/metrics` for all.

Each process writes its numbers to small shared files in one folder, named by `PROMETHEUS_MULTIPROC_DIR`.
prometheus-client looks for that variable once, when it is first imported, so it must be in the environment before the
process starts: who starts the processes calls `prepare_folder` and hands the variable on. Without it everything works
the same for one process alone. A process that lives for one task only (it would leave a file each time) is started
without the variable. Other modules declare their metrics with the helpers here and import no more than them.
"""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from emeterai.infra.process import is_alive

CONTENT_TYPE = CONTENT_TYPE_LATEST
"""The media type of what `render` gives."""
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets for durations in seconds."""
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_FILE = re.compile(r"(?P<kind>counter|histogram|gauge_[a-z]+)_(?P<pid>[0-9]+)\.db")
_DEAD = "0"  # no process has this number: the sums of the dead are kept under it


def counter(name: str, text: str, labels: Sequence[str] = ()) -> Counter:
    """A number that only grows; its name ends in `_total` when shown."""
    return Counter(name, text, labels)


def histogram(name: str, text: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = SECONDS) -> Histogram:
    """A distribution; by default of durations in seconds, from 1 ms to 10 s."""
    return Histogram(name, text, labels, buckets=buckets)


def gauge(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    """A number that goes up and down; shown as the sum over the processes that live."""
    return Gauge(name, text, labels, multiprocess_mode="livesum")


def gauge_latest(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    """A number of the whole machine that any one process measures; shown as set last. Only `set` it."""
    return Gauge(name, text, labels, multiprocess_mode="livemostrecent")


def gauge_most(name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
    """A number of which each process has its own; shown as that of the process that lives and has most."""
    return Gauge(name, text, labels, multiprocess_mode="livemax")


def gauge_least(name: str, text: str, labels: Sequence[str]) -> Gauge:
    """The same, shown as that of the process that has least. It needs a label: one without has the value 0 in every
    process that only imports it.
    """
    return Gauge(name, text, labels, multiprocess_mode="livemin")


_stage_s = histogram("emeterai_stage_seconds", "Time of each stage of the work, from 1 ms to 10 s", ["stage"])
_done: dict[str, int] = defaultdict(int)
_done_by_lane: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
_batch_size = histogram("emeterai_batch_size", "Things done together, by what they are", ["what"], buckets=_SIZES)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time the block as one stage of the work, however it ends."""
    began = time.perf_counter()
    try:
        yield
    finally:
        stage_took(name, time.perf_counter() - began)


def stage_took(name: str, seconds: float) -> None:
    """A stage whose duration was measured elsewhere, such as a wait that the database knows."""
    _stage(name).observe(seconds)


def batch(name: str, size: int, *, lanes: Mapping[str, int] | None = None) -> None:
    """So many things were done together, in one round trip or one transaction; `lanes`: for whom, where it is known."""
    _done[name] += size
    for lane, count in (lanes or {}).items():
        _done_by_lane[name][lane] += count
    _batch(name).observe(size)


def done(name: str) -> int:
    """How many things called so this process has done in batches since it started."""
    return _done[name]


def done_by_lane(name: str) -> dict[str, int]:
    """The same by the lane for which it was done, as far as that was said."""
    return dict(_done_by_lane[name])


@functools.cache
def _stage(name: str) -> Histogram:
    return _stage_s.labels(name)


@functools.cache
def _batch(name: str) -> Histogram:
    return _batch_size.labels(name)


def prepare_folder(folder: Path) -> None:
    """Empty `folder` before the first process starts, and only then: those that run would write into nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


def environment_of(folder: Path) -> dict[str, str]:
    """The environment that all processes must start with to share their numbers in `folder`."""
    return {FOLDER_VARIABLE: str(folder)}


def is_shared() -> bool:
    """Whether this process adds to the numbers of the whole machine."""
    return FOLDER_VARIABLE in os.environ and values.ValueClass is not values.MutexValue


def render() -> bytes:
    """The text for `/metrics`: of all processes when they share a folder, of this one otherwise."""
    if not is_shared():
        return generate_latest(REGISTRY)
    folder = Path(os.environ[FOLDER_VARIABLE])
    registry = CollectorRegistry()
    with _lock(folder, fcntl.LOCK_SH):
        MultiProcessCollector(registry, str(folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def fold_dead(folder: Path) -> None:
    """Add the numbers of dead processes to one set of files and drop their gauges, so that files never pile up.

    Counters keep their sums: nothing goes backwards when a process is restarted. Call it when a process has died.
    """
    if not folder.is_dir():
        return
    with _lock(folder, fcntl.LOCK_EX):
        for path in folder.glob("*.db"):
            parts = _FILE.fullmatch(path.name)
            if parts is None or parts["pid"] == _DEAD or is_alive(int(parts["pid"])):
                continue
            if not parts["kind"].startswith("gauge"):
                _add_to(folder / f"{parts['kind']}_{_DEAD}.db", path)
            path.unlink()


def _add_to(sums_path: Path, path: Path) -> None:
    sums = MmapedDict(str(sums_path))  # type: ignore[no-untyped-call]
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            before, _ = sums.read_value(key)  # type: ignore[no-untyped-call]
            sums.write_value(key, before + value, timestamp)  # type: ignore[no-untyped-call]
    finally:
        sums.close()  # type: ignore[no-untyped-call]


@contextmanager
def _lock(folder: Path, kind: int) -> Iterator[None]:
    """Readers and the folder of the dead exclude each other, so that no number is seen twice or not at all."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)
