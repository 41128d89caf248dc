"""A mail server and a gateway to telephones of somebody else, and the steward's desk that calls people through them."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from emeterai.gate.callers import callers_of
from emeterai.gate.calls import Calls
from emeterai.gate.now import NowFiles
from emeterai.infra.database import Database
from emeterai.infra.settings import Settings

KEY = bytes(range(32))
"""What the gateway checks signatures with."""


@dataclass
class PostOffice:
    """A mail server and a gateway of somebody else. `down`: the next letters are not taken. `meet_at`: it greets
    nobody before so many have come. `answers`: what the gateway says; None: it takes what it is told and says nothing.
    """

    letters: list[bytes] = field(default_factory=list)
    hooks: list[dict[str, object]] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    down: bool = False
    answers: bytes | None = b"204 No Content"
    meet_at: asyncio.Barrier | None = None

    async def smtp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Speak just enough of RFC 5321; the goodbye (4.1.1.10) is answered wrongly, as if it were any other word."""
        if self.meet_at is not None:
            await self.meet_at.wait()
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).upper():
            if line.startswith(b"RCPT") and self.down:
                writer.write(b"451 later\r\n")
            elif line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                self.letters.append(await reader.readuntil(b"\r\n.\r\n"))
                writer.write(b"250 taken\r\n")
            else:
                writer.write(b"250 fine\r\n")
        writer.close()

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one POST of JSON."""
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        head = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(int(head["content-length"])))
        self.hooks.append(msgspec.json.decode(self.bodies[-1]))
        if self.answers is None:
            await reader.read()
        else:
            writer.write(b"HTTP/1.1 %s\r\nconnection: close\r\n\r\n" % self.answers)
        writer.close()


@asynccontextmanager
async def open_office(folder: Path) -> AsyncIterator[tuple[PostOffice, Settings]]:
    """A post office for as long as the block lasts, and settings that name it."""
    post, secret = PostOffice(), folder / "webhook secret"
    secret.write_text(f"whsec_{base64.b64encode(KEY).decode()}\n")
    smtp = await asyncio.start_server(post.smtp, "127.0.0.1", 0)
    http = await asyncio.start_server(post.http, "127.0.0.1", 0)
    ports = [server.sockets[0].getsockname()[1] for server in (smtp, http)]
    settings = Settings(
        public_url="https://meterai.example",
        smtp_url=f"smtp://127.0.0.1:{ports[0]}",
        call_webhook_url=f"http://127.0.0.1:{ports[1]}/call",
        call_webhook_secret_file=str(secret),
        call_webhook_channels="whatsapp, sms",
    )
    yield post, settings
    smtp.close()
    http.close()


async def desk(db: Database, folder: Path, settings: Settings) -> Calls:
    """What the steward has."""
    return Calls(db, NowFiles(folder / "now"), callers_of(settings))
