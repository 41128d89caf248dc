"""Many small POSTs over few lines, written by hand: the sender costs less than what is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

NOT_ANSWERED = 0


@dataclass(frozen=True, slots=True)
class Answered:
    """The status of one answer (0: none came) and the seconds since the request should have been sent."""

    status: int
    took_s: float


def request_of(url: str, headers: Mapping[str, str], body: bytes, *, method: str = "POST") -> bytes:
    """One request, as it goes over the wire."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode() + body


async def send_all(
    url: str, requests: Sequence[bytes], *, lines: int, rate: float | None = None, patience_s: float = 60.0
) -> list[Answered]:
    """Send every request over so many lines, `rate` a second or as fast as they are answered; answers in this order.

    With a rate, a request that has to wait for a free line waits on its own account.
    """
    answers: list[Answered | None] = [None] * len(requests)
    numbers, began_s = iter(range(len(requests))), time.perf_counter()
    parts = urlsplit(url)

    async def line() -> None:
        reader, writer = None, None
        for number in numbers:
            due_s = began_s + number / rate if rate else time.perf_counter()
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            try:
                async with asyncio.timeout(patience_s):
                    if reader is None or writer is None:
                        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                    writer.write(requests[number])
                    status = await _status(reader)
            except (OSError, EOFError, TimeoutError):
                status, reader = NOT_ANSWERED, None
                if writer is not None:
                    writer.close()
            answers[number] = Answered(status, time.perf_counter() - due_s)
        if writer is not None:
            writer.close()

    await asyncio.gather(*(line() for _ in range(lines)))
    return [answer for answer in answers if answer is not None]


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end; its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    size = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(size.partition(b":")[2]))
    return int(head.split(b" ", 2)[1])
