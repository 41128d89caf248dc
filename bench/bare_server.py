"""The server of the service with an application that does nothing: what no refusal over HTTP can cost less than.

`python bare_server.py PORT`. It reads a body away, waits for the `wait_s` of its query and answers 503 with its `code`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs

from granian import Granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.log import LogLevels
from litestar.types import ASGIApp, Receive, Scope, Send

_READY_S = 20.0


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """The whole application."""
    if scope["type"] != "http":
        return
    query = parse_qs(scope["query_string"].decode())
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    if "wait_s" in query:
        await asyncio.sleep(float(query["wait_s"][0]))
    body = b'{"code":"%b"}' % query["code"][0].encode()
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def made() -> ASGIApp:
    """For the server's workers."""
    return refuse


@asynccontextmanager
async def bare_server() -> AsyncIterator[tuple[int, int]]:
    """A bare server in a process of its own; answers its port and its process."""
    from running import free_port  # noqa: PLC0415 - of the tests, which the server itself does not know

    port = free_port()
    process = subprocess.Popen([sys.executable, __file__, str(port)], start_new_session=True)
    try:
        async with asyncio.timeout(_READY_S):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                if process.poll() is not None:
                    raise RuntimeError("the bare server has ended")
                await asyncio.sleep(0.1)
        yield port, process.pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def main() -> None:
    """Serve as the service's web process does, until told to stop."""
    Granian(
        "bare_server:made",
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.ASGI,
        workers=1,
        loop=Loops.uvloop,
        factory=True,
        http=HTTPModes.http1,
        websockets=False,
        backlog=4096,
        backpressure=4096,
        log_level=LogLevels.error,
    ).serve()


if __name__ == "__main__":
    main()
