"""A mail server as a process of its own that takes every letter: `python -m twins.mail_server REGISTER_FILE`.

It says its port. Each letter is a line of the register: when it was taken, in seconds since 1970.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

HOST = "127.0.0.1"


class MailServer:
    """Speaks just enough of RFC 5321 for a client that sends one letter and says goodbye."""

    def __init__(self, register: TextIO) -> None:
        self._register = register

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end. A client that has hung up costs nothing."""
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(b"220 here\r\n")
            while line := (await reader.readline()).upper():
                if line.startswith(b"DATA"):
                    writer.write(b"354 go on\r\n")
                    await reader.readuntil(b"\r\n.\r\n")
                    self._register.write(f"{time.time():.3f}\n")
                    self._register.flush()
                writer.write(b"221 bye\r\n" if line.startswith(b"QUIT") else b"250 fine\r\n")
        writer.close()


async def serve(register_file: Path) -> None:
    """Take letters until killed."""
    with register_file.open("a", encoding="ascii") as register:
        server = await asyncio.start_server(MailServer(register).talk, HOST, 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
