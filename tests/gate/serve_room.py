"""Serves the waiting room of the tests as the service does: the server hands out the file, the rest is the application.

Run as `python serve_room.py DATABASE_URL FOLDER PORT`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from granian import Granian
from granian.constants import Interfaces
from litestar import Litestar, get
from room_app import create_room_app
from waiting_people import SECRET

from emeterai.gate.now import CACHE_S, served_files
from emeterai.gate.receipts import Receipts
from emeterai.gate.reception import Reception
from emeterai.gate.room_routes import Gate
from emeterai.infra.database import Database


@get("/beli", media_type="text/html")
async def inside() -> str:
    """Where people come in."""
    return "<!doctype html><html lang=id><title>Beli</title><h1>Di dalam</h1></html>"


def create() -> Litestar:
    """The application of a server's worker."""
    url, folder = os.environ["ROOM_DATABASE_URL"], Path(os.environ["ROOM_FOLDER"])

    @asynccontextmanager
    async def run(app: Litestar) -> AsyncIterator[None]:
        db = await Database.connect(url, connections_max=2, wait_s=1)
        reception = Reception(db, folder, SECRET)
        await reception.start()
        app.state["room"] = Gate(db, reception, Receipts(b"r" * 32, "http://test"), https=False, inside="/beli")
        yield
        await reception.close()
        await db.close()

    return create_room_app(None, extra=[inside], lifespan=[run])


if __name__ == "__main__":
    os.environ["ROOM_DATABASE_URL"], os.environ["ROOM_FOLDER"] = sys.argv[1:3]
    files = served_files(Path(sys.argv[2]))
    Granian(
        "serve_room:create",
        port=int(sys.argv[3]),
        interface=Interfaces.ASGI,
        factory=True,
        websockets=False,
        static_path_route=list(files),
        static_path_mount=list(files.values()),
        static_path_expires=CACHE_S,
    ).serve()
