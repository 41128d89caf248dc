"""A killer who takes a process at a time, and breaks the world around: files, blob store, clock. All by a seed."""

from __future__ import annotations

import asyncio
import itertools
import math
import os
import random
import resource
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from processes import alive, children_of, family_of, kill_all, words_of
from running import RunningService

WHOLE_WITHIN_S = 120.0
FAULT_S = 3.0
JUMP_S = 3_600
FILE_BYTES = 4_096
"""Files beyond this cannot be written; shorter ones can, so this is less than a full disk."""
EVERY_CHILD = {"postgres", "sandbox", "web", "sealer-1", "sealer-2", "steward"}
TARGETS: dict[str, list[str]] = {
    "kill -9": [
        *("web", "web worker", "sealer-1", "sealer-2", "sealers", "opener", "steward", "postgres", "sandbox"),
        *("postgres and steward", "web and sealers", "supervisor", "everything"),
    ],
    "kill -9 twice": ["postgres", "web", "sealer-1", "sealers", "steward", "everything"],
    "SIGSTOP": ["sealer-1", "sealers"],
    "files end at 4 KB": ["web and sealers", "postgres", "everything"],
    "blob store": ["fail", "lose", "alter", "halve"],
    "clock": ["+1 h", "-1 h"],
}
"""What can be done, to whom."""
_OF_SWEEPS = {"postgres", "steward", "supervisor", "everything"}


@dataclass(frozen=True)
class Deed:
    """One thing to do. `kind` and `target` are of `TARGETS`."""

    kind: str
    target: str

    def __str__(self) -> str:
        return f"{self.kind} {self.target}"

    @property
    def stops_sweeps(self) -> bool:
        """Whether it takes the steward or the database, or stops who may keep an account locked in its sleep."""
        return self.kind == "SIGSTOP" or not _OF_SWEEPS.isdisjoint(self.target.split(" and "))


@dataclass
class Killer:
    """Does deeds, and waits until the service is whole again. It restarts nothing but the whole tree."""

    service: RunningService
    sleep_s: float
    """How long a stopped process sleeps: longer than a lease and the sweep that notices its end."""
    faults: Path
    rng: random.Random
    done: list[tuple[float, Deed]] = field(default_factory=list)
    """When each began, in seconds since 1970."""
    kills: list[int] = field(default_factory=list)
    """For each stroke of kill -9 how many processes it took, in one moment; one that found nobody is none."""
    calm_since_s: float = field(default_factory=time.monotonic)
    """Since when nothing keeps the steward's sweeps from work, by `time.monotonic`; infinite while something does."""

    @property
    def environment(self) -> dict[str, str]:
        """What the service is started with, so that its clock and its blob store can be broken."""
        return {"PYTHONPATH": str(Path(__file__).with_name("faulty")), "FAULTS_FOLDER": str(self.faults)}

    @property
    def calm_s(self) -> float:
        """For how long nothing has kept the steward's sweeps from their work."""
        return max(0.0, time.monotonic() - self.calm_since_s)

    async def do(self, deed: Deed) -> None:
        """One deed, to its end."""
        self.done.append((time.time(), deed))
        if deed.stops_sweeps:
            self.calm_since_s = math.inf
        match deed.kind:
            case "kill -9":
                await self._kill(deed.target)
            case "kill -9 twice":
                before = set(self._victims(deed.target))
                await self._kill(deed.target)
                await self._until_recovering(deed.target, before)
                await self._kill(deed.target)
            case "SIGSTOP":
                await self._stop_for_a_while(self._victims(deed.target))
            case "files end at 4 KB":
                with self._short_files(deed.target):
                    await asyncio.sleep(FAULT_S)
            case "blob store":
                await self._break_for_a_while("blobs", deed.target)
            case "clock":
                await self._break_for_a_while("clock", str(JUMP_S if deed.target == "+1 h" else -JUMP_S))
        await self._whole_again()
        if deed.stops_sweeps:
            self.calm_since_s = time.monotonic()

    async def _kill(self, target: str) -> None:
        if target not in {"supervisor", "everything"}:
            self._strike(self._victims(target))
            return
        process = self.service.process
        assert process is not None
        self._strike(family_of(process.pid) if target == "everything" else [process.pid])
        await asyncio.to_thread(process.wait)
        # As an init system would, at once.
        self.service.spawn()

    def _strike(self, pids: list[int]) -> None:
        count = len(alive(pids))
        kill_all(pids)
        self.kills += [count] if count else []

    def _victims(self, target: str) -> list[int]:
        pids = self.service.pids()
        known = {name: [pid] for name, pid in pids.items()}
        if "web" in pids:
            known["web worker"] = children_of(pids["web"])
        if "sealer-1" in pids:
            openers = [pid for pid in family_of(pids["sealer-1"]) if "seal.opener" in words_of(pid)]
            known["opener"] = openers
        known["sealers"] = [pid for name, pid in pids.items() if name.startswith("sealer-")]
        return [pid for name in target.split(" and ") for pid in known.get(name, [])]

    async def _until_recovering(self, target: str, before: set[int]) -> None:
        """Wait until what was killed is there again, none of `before`, and a random moment longer: often not ready."""
        if target == "everything":
            await asyncio.sleep(self.rng.uniform(0.3, 4.0))
            return
        async with asyncio.timeout(WHOLE_WITHIN_S):
            while not (now := set(self._victims(target))) or now & before:
                await asyncio.sleep(0.01)
        await asyncio.sleep(self.rng.uniform(0.0, 0.8))

    async def _stop_for_a_while(self, pids: list[int]) -> None:
        for number, pause_s in ((signal.SIGSTOP, self.sleep_s), (signal.SIGCONT, 0.0)):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            await asyncio.sleep(pause_s)

    @contextmanager
    def _short_files(self, target: str) -> Iterator[None]:
        """These processes and their children cannot write files beyond 4 KB: EFBIG, as a full disk would say ENOSPC."""
        process = self.service.process
        assert process is not None
        roots = [process.pid] if target == "everything" else self._victims(target)
        try:
            self._limit_files(roots, FILE_BYTES)
            yield
        finally:
            self._limit_files([process.pid], resource.RLIM_INFINITY)

    def _limit_files(self, roots: list[int], size_bytes: int) -> None:
        for pid in itertools.chain.from_iterable(family_of(root) for root in roots):
            # Openers let nobody in, and may not write at all.
            with suppress(ProcessLookupError, PermissionError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))

    async def _break_for_a_while(self, name: str, word: str) -> None:
        unfinished = self.faults / f"{name}.unfinished"
        unfinished.write_text(word)
        unfinished.replace(self.faults / name)
        await asyncio.sleep(FAULT_S)
        (self.faults / name).unlink()

    async def _whole_again(self) -> None:
        """Wait until every child is there again and the web answers."""
        await asyncio.sleep(0.2)
        await self.service.wait_ready(WHOLE_WITHIN_S)
        async with asyncio.timeout(WHOLE_WITHIN_S):
            while not set(self.service.pids()) >= EVERY_CHILD:
                await asyncio.sleep(0.05)


def every_deed() -> list[Deed]:
    """Everything that can be done, once."""
    return [Deed(kind, target) for kind, targets in TARGETS.items() for target in targets]


def endless_plan(rng: random.Random) -> Iterator[Deed]:
    """Every deed once in the order of the seed, then again in another order, without end."""
    while True:
        deeds = every_deed()
        rng.shuffle(deeds)
        yield from deeds


def seed_of_this_run() -> int:
    """EMETERAI_TEST_SEED, or a fresh one."""
    return int(os.environ.get("EMETERAI_TEST_SEED") or secrets.randbelow(2**31))
