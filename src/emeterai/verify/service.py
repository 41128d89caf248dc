"""Is this stamp genuine? By serial: what is on record. By file: what the seal proves, and whether the record agrees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from emeterai.core.refusal import RefusalKind, Refused
from emeterai.core.serial import is_serial, tidy_serial
from emeterai.infra.database import BUSY
from emeterai.ledger.serials import SerialRegister
from emeterai.seal.model import Pictures, StampFacts, VerifyReport
from emeterai.seal.reader import FileReader
from emeterai.seal.refusals import SEALER_BUSY
from emeterai.verify.intake import Arriving, forget_leftovers, private_file
from emeterai.verify.model import FileVerdict, LaterFound, Outcome, SerialFacts, SerialState, StampProof, Standing

__all__ = ["FileVerdict", "LaterFound", "SerialFacts", "StampProof", "Verification"]

FILES_AT_ONCE_MAX = 64
ARRIVAL_S_MAX = 300.0
_OPENED_AT_ONCE = 2
_OPENING_WAIT_S = 5.0
_RETRY_AFTER_S = 5

SERIAL_MISTYPED = RefusalKind(
    "serial_mistyped",
    422,
    "Ada yang salah ketik: nomor seri terdiri dari 22 huruf dan angka. Cocokkan lagi dengan meterainya; "
    "yang sering tertukar ialah 0 dan O, 1 dan I, 5 dan S, 8 dan B.",
    "Something is mistyped: a serial has 22 letters and digits. Compare it with the stamp again; "
    "0 and O, 1 and I, 5 and S, 8 and B are easily confused.",
)
SERIAL_UNKNOWN = RefusalKind(
    "serial_unknown",
    404,
    "Tidak ada meterai dengan nomor ini. Bila nomornya sama dengan yang pada dokumen, meterai itu bukan dari kami.",
    "There is no stamp with this number. If it is the number on the document, that stamp is not ours.",
)
FILE_TOO_SLOW = RefusalKind(
    "file_too_slow",
    408,
    "Berkas ini terlalu lama tiba. Coba lagi dengan sambungan yang lebih baik.",
    "This file took too long to arrive. Try again over a better connection.",
)

_SERIAL_STATES: Mapping[str, SerialState] = {"taken": "in_progress", "affixed": "genuine", "void": "voided"}
_STANDINGS: Mapping[str, Standing] = {"taken": "in_progress", "affixed": "agrees", "void": "voided"}
_WORST_FIRST: Sequence[tuple[Standing, Outcome]] = (
    ("other_document", "forged"),
    ("voided", "voided"),
    ("unknown", "unknown"),
    ("in_progress", "in_progress"),
)


class Verification:
    """Checks stamps for anyone. Keeps nothing of what it is shown."""

    def __init__(self, reader: FileReader, serials: SerialRegister) -> None:
        self._reader = reader
        self._serials = serials
        self._files = 0
        self._openings = asyncio.Semaphore(_OPENED_AT_ONCE)
        forget_leftovers()

    async def check_serial(self, typed: str) -> SerialFacts:
        """What is on record for a serial, as typed. Raises `serial_mistyped` and `serial_unknown`."""
        serial = tidy_serial(typed)
        if not is_serial(serial):
            raise SERIAL_MISTYPED()
        record = await self._serials.find(serial)
        if record is None:
            raise SERIAL_UNKNOWN()
        state = _SERIAL_STATES[record.state]
        affixed = state == "genuine"
        return SerialFacts(
            serial=serial,
            state=state,
            sealed_at=record.ended_at if affixed else None,
            ended_at=record.ended_at,
            original_sha256=record.digest.hex() if affixed else None,
        )

    async def check_file(self, pieces: AsyncIterator[bytes]) -> FileVerdict:
        """Whether a file is genuine, unchanged and on record. Whoever makes `pieces` bounds how many bytes come.

        Raises `service_busy`, `file_too_slow`, the reader's refusals (empty, too large, not a PDF, too complex) and
        whatever `pieces` raises.
        """
        async with self._arrived(pieces) as file:
            return await self._verdict(file)

    async def show_file(self, pieces: AsyncIterator[bytes]) -> tuple[FileVerdict, Pictures | None]:
        """The same; and of a changed file whose seal holds, one page as it was sealed and as it is now."""
        async with self._arrived(pieces) as file:
            verdict = await self._verdict(file)
            sealed = [stamp.sealed_size_bytes for stamp in verdict.stamps if stamp.intact]
            if verdict.outcome != "changed" or not sealed:
                return verdict, None
            async with self._opening():
                return verdict, await self._reader.depict(file.path, sealed_size_bytes=sealed[0])

    @asynccontextmanager
    async def _arrived(self, pieces: AsyncIterator[bytes]) -> AsyncIterator[Arriving]:
        with self._one_more_file(), private_file() as file:
            try:
                async with asyncio.timeout(ARRIVAL_S_MAX):
                    await file.take(pieces)
            except TimeoutError as error:
                raise FILE_TOO_SLOW() from error
            yield file

    async def _verdict(self, file: Arriving) -> FileVerdict:
        report = await self._read(file)
        stamps = await self._compare(report)
        return FileVerdict(
            outcome=_outcome(report, stamps),
            sha256=file.sha256,
            size_bytes=file.size_bytes,
            stamps=stamps,
            later=[LaterFound(kind=part.kind, name=part.name, changes=part.changes) for part in report.later],
        )

    @contextmanager
    def _one_more_file(self) -> Iterator[None]:
        if self._files >= FILES_AT_ONCE_MAX:
            raise BUSY(retry_after_s=_RETRY_AFTER_S)
        self._files += 1
        try:
            yield
        finally:
            self._files -= 1

    async def _read(self, file: Arriving) -> VerifyReport:
        async with self._opening():
            try:
                return await self._reader.verify(file.path)
            except Refused as refused:
                if refused.kind is SEALER_BUSY:
                    raise BUSY(retry_after_s=_RETRY_AFTER_S) from refused
                raise

    @asynccontextmanager
    async def _opening(self) -> AsyncIterator[None]:
        """A turn at the reader. It serves the people who place their marks too, so checks never take all its time."""
        try:
            async with asyncio.timeout(_OPENING_WAIT_S):
                await self._openings.acquire()
        except TimeoutError as error:
            raise BUSY(retry_after_s=_RETRY_AFTER_S) from error
        try:
            yield
        finally:
            self._openings.release()

    async def _compare(self, report: VerifyReport) -> list[StampProof]:
        """The seals beside the register. Only seals that hold are looked up: others may claim any number."""
        return [_proof(stamp, await self._standing(stamp)) for stamp in report.stamps]

    async def _standing(self, stamp: StampFacts) -> Standing:
        if not stamp.intact:
            return "not_asked"
        record = await self._serials.find(stamp.serial)
        if record is None:
            return "unknown"
        if record.digest.hex() != stamp.original_sha256:
            return "other_document"
        return _STANDINGS[record.state]


def _proof(stamp: StampFacts, standing: Standing) -> StampProof:
    return StampProof(
        serial=stamp.serial,
        sealed_at=stamp.sealed_at,
        level=stamp.level,
        signer=stamp.signer,
        certificate_sha256=stamp.certificate_sha256,
        original_sha256=stamp.original_sha256,
        intact=stamp.intact,
        covers_whole_file=stamp.covers_whole_file,
        changes=stamp.changes_after,
        sealed_size_bytes=stamp.sealed_size_bytes,
        register=standing,
    )


def _outcome(report: VerifyReport, stamps: Sequence[StampProof]) -> Outcome:
    """What the bytes say, unless they are in order and the register knows better."""
    if report.outcome != "genuine":
        return report.outcome
    standings = {stamp.register for stamp in stamps}
    return next((outcome for standing, outcome in _WORST_FIRST if standing in standings), "genuine")
