"""The timestamp authority as a process of its own: `python -m twins.timestamp_process ROOTS_FILE`.

It says where timestamps are asked for; the file gets the root that they lead to.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from socketserver import BaseServer
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from twins.timestamp_authority import TimestampAuthority

_handle_error = BaseServer.handle_error


def main(roots_file: Path) -> None:
    """Be the authority until killed."""
    BaseServer.handle_error = _told_unless_hung_up  # type: ignore[assignment, method-assign]
    authority = TimestampAuthority()
    roots_file.write_bytes(authority.root.certificate.public_bytes(Encoding.PEM))
    print(authority.url, flush=True)
    while True:
        signal.pause()


def _told_unless_hung_up(server: BaseServer, request: Any, client_address: Any) -> None:
    """Whoever asked and waits no more is not worth a word: they did not while this process stood still."""
    if not isinstance(sys.exc_info()[1], ConnectionError):
        _handle_error(server, request, client_address)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
