"""The opener, the only process that opens files from people: `python -m emeterai.seal.opener FD PARENT CPU_SECONDS`.

It has no key, no settings, no network, and bounded memory and time. It answers one request after the other over
a socket and ends when the socket does.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from socket import socket
from typing import BinaryIO

import msgspec

from emeterai.core.refusal import Refused
from emeterai.seal.document import opened, read_bounded, refusing_broken
from emeterai.seal.limits import allow_cpu, confine
from emeterai.seal.messages import (
    LENGTH,
    Answer,
    Inspect,
    Inspected,
    Locate,
    Located,
    Planned,
    ReadBack,
    RefusedAnswer,
    Reopened,
    Request,
    Unreadable,
    Verified,
    Verify,
    frame,
)


def main(descriptor: int, parent_pid: int, cpu_s: int) -> None:
    """Serve requests until the parent hangs up."""
    confine(parent_pid)
    decode = msgspec.msgpack.Decoder[Request](Request).decode
    with socket(fileno=descriptor) as connection, connection.makefile("rb") as requests:
        connection.sendall(LENGTH.pack(0))
        while head := requests.read(LENGTH.size):
            request = decode(requests.read(LENGTH.unpack(head)[0]))
            allow_cpu(cpu_s)
            connection.sendall(frame(answer(request)))


def answer(request: Request) -> Answer:
    """The answer to one request; a refusal is an answer too."""
    try:
        return _answer(request)
    except Refused as refused:
        return RefusedAnswer(refused.code, dict(refused.facts))
    except OSError as error:
        return Unreadable(str(error))


def _answer(request: Request) -> Answer:
    if isinstance(request, ReadBack):
        return _read_back(request)
    with Path(request.path).open("rb") as file:
        if isinstance(request, Verify):
            return _verified(file, request)
        with opened(file, size_bytes_max=request.size_bytes_max) as document:
            if isinstance(request, Inspect):
                return Inspected(document.report())
            if isinstance(request, Locate):
                return Located(*document.locate(request.page))
            return Planned(document.plan(request.page))


def _read_back(request: ReadBack) -> Reopened:
    content = io.BytesIO(Path(request.original).read_bytes() + Path(request.tail).read_bytes())
    with opened(content, size_bytes_max=request.size_bytes_max) as document:
        return document.newest_seal(request.page)


def _verified(file: BinaryIO, request: Verify) -> Verified:
    # Imported when first needed: certificates and CMS take 100 ms to load, and most openers only plan seals.
    from emeterai.seal.verification import verify_bytes  # noqa: PLC0415

    content = read_bounded(file, size_bytes_max=request.size_bytes_max)
    with refusing_broken():
        return Verified(verify_bytes(content, roots=request.roots))


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
