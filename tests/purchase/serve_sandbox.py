"""The sandbox provider in a process of its own: `serve_sandbox.py FOLDER PORT`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from granian.constants import Interfaces
from granian.server.embed import Server

from emeterai.purchase.sandbox_server import create_sandbox_app


def main() -> None:
    """Serve until killed."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    app = create_sandbox_app(folder, public_url=f"http://127.0.0.1:{port}")
    server = Server(app, address="127.0.0.1", port=port, interface=Interfaces.ASGI, log_enabled=False)
    asyncio.run(server.serve())


if __name__ == "__main__":
    main()
