"""The pulse of the service's core: what one small piece of work costs there, four times a second; and how much of its
time nobody used.

A virtual core is not always equally quick. How much is served in one part of a day and in another can be compared when
it is known what the core could do meanwhile. A beat costs a hundredth of the core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

EVERY_S = 0.25
_STEPS, _DIFFERENT = 20_000, 1_024
Beat = tuple[float, float]
"""When it was, in seconds since 1970, and the milliseconds of processor time that it took."""
_UNUSED = {"idle": 3, "waited for a disk": 4, "was taken away": 7}
"""The places in a core's line of /proc/stat (proc_stat(5)): nothing to do, iowait, and steal, which is what another
guest of the same machine had."""


@contextmanager
def beating(path: Path, on_core: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Write beats to a file while the block runs."""
    with path.open("wb") as written, on_core():
        process = subprocess.Popen([sys.executable, __file__], stdout=written)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def beats_of(path: Path) -> list[Beat]:
    """The beats that were written; the last one may have been cut short."""
    whole = path.read_text().rpartition("\n")[0].splitlines()
    return [(float(at_s), float(took_ms)) for at_s, took_ms in (line.split() for line in whole)]


def beat_ms() -> float:
    """The processor time of one beat."""
    seen: dict[int, int] = {}
    whole, began_s = 0, time.thread_time()
    for step in range(_STEPS):
        whole += 3 * step
        seen[step % _DIFFERENT] = whole
    return 1e3 * (time.thread_time() - began_s)


def unused_s(cores: Collection[int]) -> dict[str, float]:
    """For how long these cores have not been used so far, by why; nothing where the system does not say."""
    found = dict.fromkeys(_UNUSED, 0.0)
    try:
        lines = [line.split() for line in Path("/proc/stat").read_text().splitlines()]
    except OSError:
        return {}
    for name, *ticks in lines:
        if name.removeprefix("cpu").isdecimal() and int(name.removeprefix("cpu")) in cores:
            for why, place in _UNUSED.items():
                found[why] += int(ticks[place]) / os.sysconf("SC_CLK_TCK")
    return found


def main() -> None:
    """Beat until killed."""
    while True:
        print(f"{time.time():.3f} {beat_ms():.4f}", flush=True)
        time.sleep(EVERY_S)


if __name__ == "__main__":
    main()
