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
from emeterai.infra.garbage import collect_seldom
from emeterai.seal.document import Document, opened, read_bounded, refusing_broken
from emeterai.seal.limits import allow_cpu, confine, swollen
from emeterai.seal.messages import (
    LENGTH,
    Answer,
    Depict,
    Depicted,
    FindPlace,
    Found,
    Inspect,
    Inspected,
    Locate,
    Located,
    Planned,
    PlanSeal,
    PlanValidation,
    ReadBack,
    RefusedAnswer,
    Reopened,
    Repair,
    Repaired,
    Request,
    Unreadable,
    Verified,
    Verify,
    frame,
)
from emeterai.seal.model import Placement, Plan, Report
from emeterai.seal.refusals import PDF_BROKEN, PDF_SIGNED_AND_BROKEN, PDF_TOO_COMPLEX
from emeterai.seal.repairing import MENDABLE, rewritten

_REWRITTEN_SIZE_BYTES_MAX = 524_288
"""What a tail may take beyond the bound of files, without the mark, the signature and the cross-reference."""


def main(descriptor: int, parent_pid: int, cpu_s: int) -> None:
    """Serve requests until the parent hangs up, or a file has swollen this process, whose successor is lean again."""
    confine(parent_pid)
    collect_seldom()
    decode = msgspec.msgpack.Decoder[Request](Request).decode
    with socket(fileno=descriptor) as connection, connection.makefile("rb") as requests:
        connection.sendall(LENGTH.pack(0))
        while head := requests.read(LENGTH.size):
            request = decode(requests.read(LENGTH.unpack(head)[0]))
            allow_cpu(cpu_s)
            connection.sendall(frame(answer(request)))
            if swollen():
                return


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
        if isinstance(request, Depict):
            return _depicted(file, request)
        if isinstance(request, Inspect):
            return Inspected(_inspected(file, request))
        if isinstance(request, Repair):
            return Repaired(rewritten(file, size_bytes_max=request.size_bytes_max, password=request.password))
        if isinstance(request, PlanValidation):
            with opened(file, size_bytes_max=request.size_bytes_max) as document:
                return Planned(document.plan_validation(request.certificates, request.crls, request.ocsps))
        with opened(file, size_bytes_max=request.size_bytes_max, password=request.password) as document:
            if isinstance(request, Locate):
                return Located(*document.locate(request.page))
            if isinstance(request, FindPlace):
                return _found(document, request)
            return Planned(_planned(document, file, request, page=request.page))


def _inspected(file: BinaryIO, request: Inspect) -> Report:
    """The report on a file or, when it cannot be sealed as it is, on what repair makes of it."""
    bound, password = request.size_bytes_max, request.password
    try:
        with opened(file, size_bytes_max=bound, password=password) as document:
            report = document.report(_planned(document, file, request, page=None))
            if document.has_made_up_pages and "signed" not in report.notes:
                raise PDF_BROKEN()
            if request.look:
                report.place = _looked(document, request)
            return report
    except Refused as refused:
        if refused.kind not in MENDABLE:
            raise
        as_it_is = refused
    try:
        content = io.BytesIO(rewritten(file, size_bytes_max=bound, password=password))
    except Refused as refused:
        is_sound = as_it_is.kind is not PDF_BROKEN
        raise (as_it_is if is_sound and refused.kind is PDF_SIGNED_AND_BROKEN else refused) from None
    with opened(content, size_bytes_max=bound, password=password) as document:
        report = document.report(_planned(document, content, request, page=None))
    report.repaired = True
    report.notes.append("repaired")
    return report


def _looked(document: Document, request: Inspect) -> Placement | None:
    """Where a mark goes by itself; None when the pages cannot be looked at, or have no room for one."""
    wanted = FindPlace(request.path, request.size_bytes_max, None, None, "auto", request.password)
    try:
        found = _found(document, wanted).placement
    except Refused:
        return None
    return None if found.reason == "unread" else found


def _planned(document: Document, file: BinaryIO, request: Inspect | PlanSeal, *, page: int | None) -> Plan:
    """How to append a seal. It is rehearsed where qpdf found anything wrong, so that nobody pays for one in vain."""
    plan = document.plan(page)
    rewritten_size_bytes = sum(len(rewrite.body) for rewrite in plan.rewrites)
    if plan.size_bytes + rewritten_size_bytes > request.size_bytes_max + _REWRITTEN_SIZE_BYTES_MAX:
        # With its tail the file would be larger than what is read back, and verified.
        raise PDF_TOO_COMPLEX()
    if document.is_doubtful:
        # Imported when first needed: most openers never meet such a file.
        from emeterai.seal.rehearsal import rehearse  # noqa: PLC0415

        rehearse(plan, file, password=request.password)
    return plan


def _read_back(request: ReadBack) -> Reopened:
    content = io.BytesIO(Path(request.original).read_bytes() + Path(request.tail).read_bytes())
    with opened(content, size_bytes_max=request.size_bytes_max, password=request.password) as document:
        return document.newest_seal(request.page)


def _found(document: Document, request: FindPlace) -> Found:
    # Imported when first needed: most openers never look at a page.
    from emeterai.seal.finding import find_place  # noqa: PLC0415

    found = find_place(
        request.path,
        document.locate,
        pages=document.pages,
        page=request.page,
        box=request.box,
        place=request.place,
        password=request.password,
    )
    if found.page != document.pages and document.has_made_up_pages:
        # Inspection has planned for the last page only; what cannot be sealed on this one is refused before it is paid.
        document.plan(found.page)
    return Found(found)


def _verified(file: BinaryIO, request: Verify) -> Verified:
    # Imported when first needed: certificates and CMS take 100 ms to load, and most openers only plan seals.
    from emeterai.seal.verification import verify_bytes  # noqa: PLC0415

    content = read_bounded(file, size_bytes_max=request.size_bytes_max)
    with refusing_broken():
        return Verified(verify_bytes(content, roots=request.roots, timestamp_roots=request.timestamp_roots))


def _depicted(file: BinaryIO, request: Depict) -> Depicted:
    # Imported when first needed: most openers never draw a page.
    from emeterai.seal.pictures import UndrawnError, pictures_of  # noqa: PLC0415

    content = read_bounded(file, size_bytes_max=request.size_bytes_max)
    try:
        return Depicted(pictures_of(content[: request.sealed_size_bytes], content))
    except UndrawnError:
        return Depicted(None)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:4]))
