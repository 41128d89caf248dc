"""A simulated clock, an event queue, and processes that die or sleep between any two steps.

Everything that happens is a generator that yields how long it waits; nothing here knows what it does. All chance comes
from one `random.Random`, and nothing depends on the order of a set or on a hash: the same seed is the same history.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any, TypeVar
from uuid import UUID

Result = TypeVar("Result")


class Signal:
    """Something to wait for. It wakes whoever waits when it rings, and remembers nothing."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[tuple[Task, int]] = []


Wait = float | Signal | tuple[Signal, float]
"""Seconds to sleep, a signal to wait for, or a signal to wait for so many seconds; answers whether it rang."""
Steps = Generator[Wait, bool, Result]


class Reply:
    """What one request is answered, if an answer comes."""

    __slots__ = ("signal", "value")

    def __init__(self) -> None:
        self.signal = Signal()
        self.value: Any = None


class Task:
    """One generator under way. `turn` counts its waits, so that a late wake-up for an earlier one is ignored."""

    __slots__ = ("process", "steps", "turn")

    def __init__(self, steps: Steps[Any], process: Process | None) -> None:
        self.steps: Steps[Any] | None = steps
        self.process = process
        self.turn = 0


class Process:
    """What can be killed or stopped: its tasks die with it. `back_at_s` is when it last was, or will be, fit again."""

    def __init__(self, world: Clock, name: str) -> None:
        self.world = world
        self.name = name
        self.tasks: dict[Task, None] = {}
        self.alive = True
        self.stalled_until_s = 0.0
        self.back_at_s = 0.0
        self.skew_s = 0.0
        """How far its own clock is ahead of the database's."""

    def spawn(self, steps: Steps[Any]) -> None:
        """Begin a task that dies with this process."""
        self.world.spawn(steps, process=self)

    def start(self) -> None:
        """Forget what was in memory and begin the work of this role."""


class Clock:
    """The event queue. `death` and `stall` are the chances of each at every step of every process."""

    def __init__(self, seed: int, *, trace: Callable[[str], None] | None = None) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.random = self.chance.random
        self.now_s = 0.0
        self.events = 0
        self.death = 0.0
        self.stall = 0.0
        self.deaths = 0
        self.stalls = 0
        self._trace = trace
        self._queue: list[tuple[float, int, Task, int, bool]] = []
        self._pushed = 0

    def say(self, who: str, what: str, *things: object) -> None:
        """A line of the trace, when there is one. Ids are shown by their last four digits."""
        if self._trace is not None:
            hours, rest = divmod(self.now_s % 86_400, 3600)
            when = f"day {int(self.now_s // 86_400) + 1} {hours:02.0f}:{rest // 60:02.0f}:{rest % 60:06.3f}"
            self._trace(f"{when}  {who:<10} {what} {' '.join(map(shown, things))}".rstrip())

    def new_id(self) -> UUID:
        """A fresh id."""
        return UUID(int=self.chance.getrandbits(128))

    def pause_s(self) -> float:
        """How long one statement or one message inside the house takes: milliseconds, now and then up to a second."""
        drawn = self.random()
        return drawn * 0.004 if drawn < 0.97 else (drawn - 0.97) * 33

    def spawn(self, steps: Steps[Any], *, process: Process | None = None, after_s: float = 0.0) -> None:
        """Begin a task, in a process or (people, networks, other firms) in none."""
        task = Task(steps, process)
        if process is not None:
            process.tasks[task] = None
        self._push(self.now_s + after_s, task, rang=False)

    def ring(self, signal: Signal, *, after_s: float = 0.0) -> None:
        """Wake everybody who waits for `signal` now."""
        if signal.waiting:
            waiting, signal.waiting = signal.waiting, []
            for task, turn in waiting:
                if task.turn == turn and task.steps is not None:
                    self._push(self.now_s + after_s, task, rang=True)

    def together(self, works: Sequence[Steps[Result]], process: Process) -> Steps[list[Result]]:
        """Do several things at once in one process and give their results in order."""
        if len(works) == 1:
            return [(yield from works[0])]
        done: dict[int, Result] = {}
        all_done = Signal()

        def one(place: int, work: Steps[Result]) -> Steps[None]:
            done[place] = yield from work
            if len(done) == len(works):
                self.ring(all_done)

        for place, work in enumerate(works):
            process.spawn(one(place, work))
        if works:
            yield all_done
        return [done[place] for place in range(len(works))]

    def run_until(self, end_s: float, *, idle: Callable[[], bool] | None = None) -> None:
        """Let everything happen until `end_s`, or until `idle` says that nothing is under way any more."""
        queue = self._queue
        while queue and queue[0][0] <= end_s:
            at_s, _, task, turn, rang = heappop(queue)
            self.now_s = at_s
            if turn == task.turn and task.steps is not None:
                self.events += 1
                self._resume(task, rang)
                if idle is not None and idle():
                    return
        self.now_s = max(self.now_s, end_s) if end_s < inf else self.now_s

    def kill(self, process: Process, *, away_s: float | None = None) -> None:
        """Kill -9, at once: its memory is gone, its open transactions roll back, and it is started again later."""
        if not process.alive:
            return
        self.deaths += 1
        self.say(process.name, "is killed")
        process.alive = False
        tasks, process.tasks = list(process.tasks), {}
        for task in tasks:
            steps, task.steps = task.steps, None
            if steps is not None:
                steps.close()
        pause_s = 0.1 + self.random() * 5 if away_s is None else away_s
        process.back_at_s = max(process.back_at_s, self.now_s + pause_s)
        self.spawn(self._start_again(process), after_s=pause_s)

    def stop(self, process: Process, for_s: float) -> None:
        """SIGSTOP, then SIGCONT: it does not know that it slept."""
        self.stalls += 1
        self.say(process.name, f"sleeps for {for_s:.1f} s")
        process.stalled_until_s = self.now_s + for_s
        process.back_at_s = max(process.back_at_s, process.stalled_until_s)

    def _start_again(self, process: Process) -> Steps[None]:
        process.alive = True
        process.stalled_until_s = 0.0
        self.say(process.name, "is started again")
        process.start()
        yield 0.0

    def _push(self, at_s: float, task: Task, *, rang: bool) -> None:
        self._pushed += 1
        heappush(self._queue, (at_s, self._pushed, task, task.turn, rang))

    def _resume(self, task: Task, rang: bool) -> None:
        process = task.process
        if process is not None:
            if process.stalled_until_s > self.now_s:
                self._push(process.stalled_until_s, task, rang=rang)
                return
            drawn = self.random()
            if drawn < self.death:
                self.kill(process)
                return
            if drawn < self.death + self.stall:
                self.stop(process, 0.2 + self.random() ** 3 * 100)
                self._push(process.stalled_until_s, task, rang=rang)
                return
        task.turn += 1
        steps = task.steps
        assert steps is not None
        try:
            wait = steps.send(rang) if task.turn > 1 else next(steps)
        except StopIteration:
            task.steps = None
            if process is not None:
                process.tasks.pop(task, None)
            return
        if isinstance(wait, Signal):
            wait.waiting.append((task, task.turn))
        elif isinstance(wait, tuple):
            wait[0].waiting.append((task, task.turn))
            self._push(self.now_s + wait[1], task, rang=False)
        else:
            self._push(self.now_s + wait, task, rang=False)


def shown(thing: object) -> str:
    """A thing in a trace."""
    if isinstance(thing, UUID):
        return f"#{thing.int & 0xFFFF:04x}"
    if isinstance(thing, bytes):
        return f"*{thing[:2].hex()}"
    return "-" if thing is None else str(thing)
