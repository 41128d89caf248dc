"""The partner of the last day: a program with a key that has some documents stamped each second, whoever else comes.

It is a process of its own beside the crowd, and times what it asks itself, from the moment at which a request was due:
in the crowd's generator, which is late by tenths of a second at ten times its load, what a partner waited would be the
service's time and the generator's in one.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import httpx
import msgspec

TIMEOUT_S = 30.0
ENDS_WITHIN_S = TIMEOUT_S + 30.0
"""After the last request was due: its answer, and a machine that has other things to do."""


class Errand(msgspec.Struct):
    """What the partner is to do. Times are seconds since 1970; `mark` is where each file gets a text of its own."""

    url: str
    key: str
    ears_url: str
    letter: str
    mark: int
    seed: str
    began_s: float
    ended_s: float
    per_s: float


@contextmanager
def at_work(errand: Errand) -> Iterator[subprocess.Popen[bytes]]:
    """The partner, while the block runs."""
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE)
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(errand))
        process.stdin.close()
        yield process
    finally:
        process.kill()
        process.wait()


async def _work(errand: Errand) -> None:
    """One request after another, each when it is due, however long the others take."""
    paper = Path(errand.letter).read_bytes()
    client = httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=None))
    async with client, asyncio.TaskGroup() as group:
        for number in count():
            due_s = errand.began_s + number / errand.per_s
            if due_s >= errand.ended_s:
                return
            await asyncio.sleep(max(0.0, due_s - time.time()))
            group.create_task(_stamp(client, errand, _own(paper, errand, number), due_s))


def _own(paper: bytes, errand: Errand, number: int) -> bytes:
    text = f"p{number:x}.{errand.seed}"[:16].encode()
    return paper[: errand.mark] + text + paper[errand.mark + len(text) :]


async def _stamp(client: httpx.AsyncClient, errand: Errand, file: bytes, due_s: float) -> None:
    """Ask for one stamp, and tell the bench what came of it; status 0 is no answer."""
    headers = {"Authorization": f"Bearer {errand.key}", "Prefer": "wait=20", "X-Forwarded-For": "198.51.100.7"}
    files = {"file": ("surat.pdf", file, "application/pdf")}
    try:
        answer = await client.post(f"{errand.url}/v1/stamps", headers=headers, files=files)
        status, stamp = answer.status_code, answer.json() if answer.status_code == 201 else {}
    except httpx.HTTPError:
        status, stamp = 0, {}
    took_ms = 1e3 * (time.time() - due_s)
    said = [stamp.get(name) for name in ("id", "state", "serial", "sealed_sha256")]
    event = ["partner", round(1e3 * due_s), round(took_ms), status, *said]
    await client.post(errand.ears_url, json={"events": [event], "counts": {}})


if __name__ == "__main__":
    asyncio.run(_work(msgspec.json.decode(sys.stdin.buffer.read(), type=Errand)))
