"""A file on its way to a check: bounded while it arrives, private while it is looked at, gone right after."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from litestar import Request
from litestar.datastructures import FormMultiDict, UploadFile
from litestar.exceptions import InternalServerException

from emeterai.core.refusal import RefusalKind
from emeterai.infra.http import MEDIA_TYPE_UNKNOWN, REQUEST_MALFORMED, sent_form
from emeterai.seal.reader import TAIL_SIZE_BYTES_MAX
from emeterai.seal.refusals import PDF_TOO_LARGE

FILE_MISSING = RefusalKind(
    "file_missing",
    422,
    "Belum ada berkas yang dipilih. Pilih berkas PDF yang ingin diperiksa, lalu kirim lagi.",
    "No file was chosen. Choose the PDF that you want to check, then send it again.",
)

DISCARDED_BYTES_MAX = 33_554_432
"""So much of a body beyond its bound is read and thrown away, so that its sender hears the refusal."""
_FORM_BYTES_MAX = 65_536
_READ_SIZE_BYTES = 131_072
_PREFIX = "emeterai-verify-"
_LEFTOVER_AGE_S = 3600
_RAW_TYPES = frozenset({"application/pdf", "application/octet-stream"})


class FileRequest(Request[Any, Any, Any]):
    """A request that carries a sealed file and little else: its body is bounded whatever its headers say.

    The bound is that of documents plus a seal; app.py's bound for documents alone would refuse the largest sealed ones.
    """

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes in. Raises `pdf_too_large`, and `request_malformed` when the line breaks."""
        file_size_bytes_max = self.app.state["services"].settings.document_size_bytes_max + TAIL_SIZE_BYTES_MAX
        left = file_size_bytes_max + _FORM_BYTES_MAX
        try:
            async for chunk in super().stream():
                left -= len(chunk)
                # Whoever still sends when the answer comes sees a broken line instead of it, so a little more is read.
                if left < -DISCARDED_BYTES_MAX:
                    break
                if left >= 0:
                    yield chunk
        except InternalServerException as error:
            raise REQUEST_MALFORMED(detail="the line broke before its end") from error
        if left < 0:
            raise PDF_TOO_LARGE(size_bytes_max=file_size_bytes_max)


async def sent_file(request: FileRequest) -> AsyncIterator[bytes]:
    """The bytes of the file that a program sends: as the body itself, or in the form's field `file`.

    Raises `media_type_unknown`, `file_missing`, and what `FileRequest.stream` and `sent_form` raise.
    """
    content_type, _ = request.content_type
    if content_type in _RAW_TYPES:
        async for chunk in request.stream():
            yield chunk
    elif content_type == "multipart/form-data":
        async for chunk in file_of(await sent_form(request)):
            yield chunk
    else:
        raise MEDIA_TYPE_UNKNOWN(expected="application/pdf / multipart/form-data")


async def file_of(form: FormMultiDict) -> AsyncIterator[bytes]:
    """The bytes of the form's field `file`. Raises `file_missing`."""
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise FILE_MISSING()
    while chunk := await file.read(_READ_SIZE_BYTES):
        yield chunk


class Arriving:
    """A file while it arrives: its bytes go to the disk, its digest and size are known at the end."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.path = path
        self.size_bytes = 0

    async def take(self, pieces: AsyncIterator[bytes]) -> None:
        """Keep all pieces, in order."""
        async for piece in pieces:
            self._sha256.update(piece)
            self._file.write(piece)
            self.size_bytes += len(piece)
        self._file.flush()

    @property
    def sha256(self) -> str:
        """The digest of what arrived, in hex."""
        return self._sha256.hexdigest()


@contextmanager
def private_file() -> Iterator[Arriving]:
    """A file that only this user can read and that is deleted when the block ends, however it ends."""
    with tempfile.NamedTemporaryFile(prefix=_PREFIX) as file:
        yield Arriving(file, Path(file.name))


def forget_leftovers() -> None:
    """Delete the files of processes that were killed in the middle of a check: ours, and old enough to be nobody's."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            facts = path.lstat()
            if facts.st_uid == os.getuid() and time.time() - facts.st_mtime > _LEFTOVER_AGE_S:
                path.unlink()
