"""Lines of phones: a relay by which some of the last day send their file at 20 to 60 KB/s, and which breaks a few.

It is a process of its own beside the crowd. To the service each line is one that comes from its person's own address,
slowly; a line that breaks midway ends there, or says nothing more, as one does whose phone is in a tunnel.
"""

from __future__ import annotations

import asyncio
import random
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
PHONES = 0.33
"""Of those with a slow line, who are three in ten, so many send by one of these: every tenth document."""
PACE_BYTES_PER_S = (20_000.0, 60_000.0)
BREAKS, FALLS_SILENT = 0.15, 0.5
"""So many lines break, and so many of those tell the service nothing of it."""
_STEP_S = 0.1
_BACKLOG = 1_024
_BLOCK_BYTES = 65_536


@dataclass(frozen=True)
class Line:
    """What becomes of one connection. `breaks_after` None: it holds."""

    bytes_per_s: float
    breaks_after: int | None = None
    falls_silent: bool = False


@dataclass(frozen=True)
class Carried:
    """One body on its way, from its first byte to its last: seconds since 1970."""

    began_s: float
    ended_s: float
    size_bytes: int
    broke: bool


class Relay:
    """Passes on to a port what comes in, each connection by a line of its own, and what is answered at once."""

    def __init__(
        self,
        port: int,
        lines: Iterator[Line],
        write: Callable[[Carried], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._port, self._lines, self._write, self._sleep = port, lines, write, sleep
        # The loop itself keeps no task alive, and of a line that has fallen silent nobody else knows any more.
        self._carrying: set[asyncio.Task[None]] = set()

    async def serve(self, listening: socket.socket) -> asyncio.Server:
        """Begin to."""
        return await asyncio.start_server(self._take, sock=listening)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._carrying.add(task)
        task.add_done_callback(self._carrying.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("peername")[0]
        try:
            back, onward = await asyncio.open_connection(HOST, self._port, local_addr=(address, 0))
        except OSError:
            writer.transport.abort()
            return
        answering = asyncio.create_task(_answer(back, writer))
        line = next(self._lines)
        try:
            broke = await self._pass_on(reader, onward, line)
            writer.transport.abort()
            if broke and line.falls_silent:
                await answering
        except OSError:
            pass
        finally:
            answering.cancel()
            writer.transport.abort()
            onward.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, onward: asyncio.StreamWriter, line: Line) -> bool:
        """Until its sender has gone, or the line breaks: then True. What was carried is written down in any case."""
        step_bytes = max(1, int(line.bytes_per_s * _STEP_S))
        left = line.breaks_after
        began_s, ended_s, carried = 0.0, 0.0, 0
        try:
            while left is None or left > 0:
                piece = await reader.read(step_bytes if left is None else min(step_bytes, left))
                if not piece:
                    return False
                began_s = began_s or time.time()
                onward.write(piece)
                await onward.drain()
                await self._sleep(len(piece) / line.bytes_per_s)
                carried, ended_s = carried + len(piece), time.time()
                left = None if left is None else left - len(piece)
            return True
        finally:
            if carried:
                self._write(Carried(began_s, ended_s, carried, left == 0))


async def _answer(back: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What the service says, at once; when it hangs up, so does the line."""
    with suppress(OSError):
        while piece := await back.read(_BLOCK_BYTES):
            writer.write(piece)
        writer.close()


def lines(chance: random.Random, size_bytes: int) -> Iterator[Line]:
    """One phone after another. One that breaks does so within `size_bytes`: what is less may get through before."""
    while True:
        breaks = chance.random() < BREAKS
        yield Line(
            chance.uniform(*PACE_BYTES_PER_S),
            chance.randrange(1, size_bytes) if breaks else None,
            breaks and chance.random() < FALLS_SILENT,
        )


@contextmanager
def relayed(path: Path, port: int, *, size_bytes: int) -> Iterator[str]:
    """Where the relay listens while the block runs, for bodies of that size. What it carries, it writes to a file."""
    with path.open("wb") as written, socket.create_server((HOST, 0), backlog=_BACKLOG) as listening:
        command = [sys.executable, __file__, str(listening.fileno()), str(port), str(size_bytes)]
        process = subprocess.Popen(command, stdout=written, pass_fds=[listening.fileno()])
        try:
            yield f"http://{HOST}:{listening.getsockname()[1]}"
        finally:
            process.kill()
            process.wait()


def carried_in(path: Path) -> list[Carried]:
    """The bodies that were written down; the last one may have been cut short."""
    whole = path.read_text().rpartition("\n")[0].splitlines()
    parts = (line.split() for line in whole)
    return [
        Carried(float(began_s), float(ended_s), int(size_bytes), broke == "1")
        for began_s, ended_s, size_bytes, broke in parts
    ]


def _written(one: Carried) -> None:
    print(f"{one.began_s:.3f} {one.ended_s:.3f} {one.size_bytes} {int(one.broke)}", flush=True)


async def main() -> None:
    """Relay until killed."""
    number, port, size_bytes = map(int, sys.argv[1:])
    relay = Relay(port, lines(random.Random(), size_bytes), _written)  # noqa: S311 - whose line is how slow
    server = await relay.serve(socket.socket(fileno=number))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
