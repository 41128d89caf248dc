"""Reading a file from a person with qpdf, inside the opener only: is it sealable, what is on it, how to append."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, BinaryIO

import msgspec
import pikepdf
from pikepdf import Array, Dictionary, Object, Pdf

from emeterai.core.refusal import Refused
from emeterai.seal.certification import certification, refuse_forbidden
from emeterai.seal.colours import wants_calibrated
from emeterai.seal.encryption import FileCipher, Method
from emeterai.seal.free_numbers import FOR_A_SEAL, declared_numbers, first_free_number
from emeterai.seal.geometry import page_geometry
from emeterai.seal.large_numbers import is_doubted, with_room
from emeterai.seal.limits import swollen
from emeterai.seal.messages import Reopened
from emeterai.seal.model import Geometry, NewNumbers, Plan, Report
from emeterai.seal.refusals import (
    PAGE_NOT_IN_DOCUMENT,
    PDF_BROKEN,
    PDF_EMPTY,
    PDF_ENCRYPTED,
    PDF_ENCRYPTION_UNKNOWN,
    PDF_NO_PAGES,
    PDF_NOT_PDF,
    PDF_PASSWORD_WRONG,
    PDF_TOO_COMPLEX,
    PDF_TOO_LARGE,
)
from emeterai.seal.rewriting import Rewrites, reference_to
from emeterai.seal.validation_store import add_to_store

_HEADER_WINDOW = 1024
_TRAILER_WINDOW = 1100
_FIELDS_MAX = 20_000
_SIZES_SHOWN = 50
_HEADER = re.compile(rb"%PDF-(\d\.\d)")
_STARTXREF = re.compile(rb"startxref\s+(\d{1,12})")
_OBJECT = re.compile(rb"\s*\d+\s+\d+\s+obj")
_CRYPT_FILTERS_SINCE = 4  # ISO 32000-2, table 20: before V 4 everything is RC4
_APPEND_ONLY = 3  # ISO 32000-2, table 225: SignaturesExist and AppendOnly
_GUESSED = ("(trailer", "trailer, offset", "supposed object stream")
"""How qpdf's warnings name the places where its guess decides what the document is."""
_METHODS: Mapping[str, Method] = {"none": "none", "rc4": "rc4", "aes": "aesv2", "aesv3": "aesv3"}
"""What qpdf calls the ways to encrypt."""


_PLAN_SIZE_BYTES_MAX = 8_192


@contextmanager
def opened(source: BinaryIO, *, size_bytes_max: int, password: str | None = None) -> Iterator[Document]:
    """Open a file for as long as the block runs. Refused: empty, too large, not a PDF, locked, broken."""
    size_bytes, head = _sized(source, size_bytes_max=size_bytes_max)
    source.seek(max(0, size_bytes - _TRAILER_WINDOW))
    foot = source.read()
    with refusing_broken(), _opened_whole(source, size_bytes, password=password) as pdf:
        yield Document(pdf, size_bytes=size_bytes, head=head, foot=foot, file=source)


def read_bounded(source: BinaryIO, *, size_bytes_max: int) -> bytes:
    """All bytes of a file that calls itself a PDF. Refused: empty, too large, not a PDF."""
    _sized(source, size_bytes_max=size_bytes_max)
    source.seek(0)
    return source.read(size_bytes_max)


def _kept(plan: Plan) -> bytes:
    """A plan to be kept with the report; none that is large, nor one that holds the key of an encrypted file."""
    packed = msgspec.msgpack.encode(plan)
    return packed if plan.cipher is None and len(packed) <= _PLAN_SIZE_BYTES_MAX else b""


def _sized(source: BinaryIO, *, size_bytes_max: int) -> tuple[int, bytes]:
    size_bytes = source.seek(0, os.SEEK_END)
    if size_bytes == 0:
        raise PDF_EMPTY()
    if size_bytes > size_bytes_max:
        raise PDF_TOO_LARGE(size_bytes_max=size_bytes_max)
    source.seek(0)
    head = source.read(_HEADER_WINDOW)
    if b"%PDF-" not in head:
        raise PDF_NOT_PDF()
    return size_bytes, head


def open_with_qpdf(source: BinaryIO, *, password: str | None, attempt_recovery: bool = False) -> Pdf:
    """The file as qpdf reads it; what restricts its owner's readers but opens without a password needs none.

    Raises Refused for a password that is missing or wrong, else what qpdf raises.
    """
    name = getattr(source, "name", None)
    # A password is UTF-8 in newer files, PDFDocEncoding (here: Latin 1) in older ones (ISO 32000-2, 7.6.4).
    spellings: list[str | bytes] = [""]
    if password:
        spellings += [password, password.encode("latin-1", "ignore")]
    for spelling in spellings:
        try:
            return pikepdf.open(
                name if isinstance(name, str) else source,
                password=spelling,
                attempt_recovery=attempt_recovery,
                suppress_warnings=True,
                inherit_page_attributes=False,
            )
        except pikepdf.PasswordError:
            source.seek(0)
    raise (PDF_PASSWORD_WRONG if password else PDF_ENCRYPTED)()


def _opened_whole(source: BinaryIO, size_bytes: int, *, password: str | None) -> Pdf:
    """The file with all its objects, those too whose numbers qpdf does not believe."""
    pdf = open_with_qpdf(source, password=password)
    highest = declared_numbers(pdf) - 1
    if not is_doubted(highest, size_bytes):
        return pdf
    pdf.close()
    source.seek(0)
    return open_with_qpdf(io.BytesIO(with_room(source.read(), highest)), password=password)


@contextmanager
def refusing_broken() -> Iterator[None]:
    """Turn what qpdf says of a bad file into its refusal. The file is hostile: any error of reading is the file's."""
    try:
        yield
    except Refused:
        raise
    except pikepdf.PdfError as error:
        if swollen():
            # qpdf takes an object that does not fit into memory for one that is not there.
            raise PDF_TOO_COMPLEX() from error
        raise (PDF_ENCRYPTION_UNKNOWN if "encrypt" in str(error) else PDF_BROKEN)() from error
    except (MemoryError, RecursionError) as error:
        raise PDF_TOO_COMPLEX() from error
    except Exception as error:
        raise PDF_BROKEN() from error


class Document:
    """One opened file. Its answers are facts; what is asked of it raises Refused when it cannot be."""

    def __init__(self, pdf: Pdf, *, size_bytes: int, head: bytes, foot: bytes, file: BinaryIO) -> None:
        self.pdf = pdf
        self.size_bytes = size_bytes
        self._foot = foot
        self._file = file
        header = _HEADER.search(head)
        self.version = header[1].decode() if header else pdf.pdf_version
        self.header_offset = head.find(b"%PDF-")
        self._geometries: dict[int, Geometry] = {}
        self._warnings: list[str] = []

    def report(self, plan: Plan) -> Report:
        """What the file is, with the plan for its last page."""
        count = plan.page
        fields = list(self._fields())
        signatures = [field.get("/V") for field in fields if field.get("/FT") == "/Sig" and "/V" in field]
        form = self.pdf.Root.get("/AcroForm")
        noted = {
            "signed": bool(signatures),
            "stamped": any(isinstance(value, Dictionary) and "/EMTR_OriginalSize" in value for value in signatures),
            "certified": certification(self.pdf) is not None,
            "form": bool(fields),
            "xfa": isinstance(form, Dictionary) and "/XFA" in form,
            "encrypted": self.pdf.is_encrypted,
        }
        shown = [*range(min(count, _SIZES_SHOWN)), *([count - 1] if count > _SIZES_SHOWN else [])]
        return Report(
            pages=count,
            size_bytes=self.size_bytes,
            pdf_version=self.version,
            signatures=len(signatures),
            page_sizes_pt=[self._geometry(index + 1).seen_size_pt for index in shown],
            notes=[note for note, holds in noted.items() if holds],
            plan=_kept(plan),
        )

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return len(self.pdf.pages)

    @property
    def has_made_up_pages(self) -> bool:
        """Whether qpdf shows a page that is no object of the file's own: one that stands in the tree twice, or bare."""
        return self.is_doubtful and any(page.obj.objgen not in self._written for page in self.pdf.pages)

    def locate(self, page: int | None) -> tuple[int, Geometry]:
        """The number and geometry of a page (None: the last). Refused: no pages, or not this one."""
        pages = len(self.pdf.pages)
        if pages == 0:
            raise PDF_NO_PAGES()
        number = pages if page is None else page
        if not 1 <= number <= pages:
            raise PAGE_NOT_IN_DOCUMENT(page=number, pages=pages)
        return number, self._geometry(number)

    def plan(self, page: int | None) -> Plan:
        """How to append a seal on a page (None: the last)."""
        self._refuse_guesses()
        previous_xref, xref_is_stream = self._newest_cross_reference()
        number, geometry = self.locate(page)
        refuse_forbidden(self.pdf, self._fields())
        first_number = self._first_free_number()
        page_object = self.pdf.pages[number - 1].obj
        if page_object.objgen not in self._written:
            raise PDF_BROKEN()
        numbers = NewNumbers.from_first(first_number)
        cipher = self._cipher()
        rewrites = Rewrites(cipher)
        shared = self._shares_annotations(page_object)
        changes = rewrites.append(page_object, "/Annots", b"%d 0 R" % numbers.widget, home=page_object, shared=shared)
        rewrites.change(page_object, changes)
        new_form = self._plan_form(rewrites, numbers)
        return Plan(
            size_bytes=self.size_bytes,
            header_offset=self.header_offset,
            previous_xref=previous_xref,
            xref_is_stream=xref_is_stream,
            first_number=first_number,
            page=number,
            page_reference=reference_to(page_object).decode(),
            geometry=geometry,
            rewrites=rewrites.all(),
            new_form=new_form,
            trailer=self._trailer_entries(),
            id_first=self._id_first(),
            cipher=cipher,
            numbers_declared=declared_numbers(self.pdf),
            calibrated=wants_calibrated(self.pdf.Root),
        )

    def plan_validation(self, certificates: int, crls: int, ocsps: int) -> Plan:
        """How to append validation data (a DSS, ISO 32000-2, 12.8.4.3) beside those that the file has already."""
        previous_xref, xref_is_stream = self._newest_cross_reference()
        number, geometry = self.locate(None)
        needed = FOR_A_SEAL + certificates + crls + ocsps
        first_number = self._first_free_number(needed=needed)
        rewrites = Rewrites(self._cipher())
        counts = {"/Certs": certificates, "/CRLs": crls, "/OCSPs": ocsps}
        new_store = add_to_store(self.pdf.Root, rewrites, first_number, counts)
        if self.pdf.Root.objgen not in self._written:
            raise PDF_BROKEN()
        return Plan(
            size_bytes=self.size_bytes,
            header_offset=self.header_offset,
            previous_xref=previous_xref,
            xref_is_stream=xref_is_stream,
            first_number=first_number,
            page=number,
            page_reference="",
            geometry=geometry,
            rewrites=[*rewrites.all(), *new_store],
            new_form=False,
            trailer=self._trailer_entries(),
            id_first=self._id_first(),
            cipher=self._cipher(),
            numbers_declared=declared_numbers(self.pdf),
        )

    def newest_seal(self, page: int) -> Reopened:
        """The newest field of the form as qpdf reads it: its byte range, and whether `page` shows it."""
        field = self.pdf.Root.AcroForm.Fields[-1]
        annotations = self.pdf.pages[page - 1].obj.get("/Annots", Array())
        return Reopened(
            byte_range=[int(number) for number in field.V.ByteRange],
            mark_on_page=any(
                isinstance(annotation, Dictionary) and annotation.objgen == field.objgen for annotation in annotations
            ),
        )

    def _geometry(self, number: int) -> Geometry:
        if number not in self._geometries:
            self._geometries[number] = page_geometry(self.pdf.pages[number - 1].obj)
        return self._geometries[number]

    @cached_property
    def _written(self) -> Mapping[tuple[int, int], Any]:
        """Every object that the file itself has; what qpdf mends in memory is not among them."""
        return self.pdf.get_xref_table()

    def _first_free_number(self, *, needed: int = FOR_A_SEAL) -> int:
        return first_free_number(self.pdf, self._written, self._file, size_bytes=self.size_bytes, needed=needed)

    def _newest_cross_reference(self) -> tuple[int, bool]:
        """Where the newest cross-reference is, and whether it is a stream."""
        found = list(_STARTXREF.finditer(self._foot))
        if not found:
            raise PDF_BROKEN()
        offset = int(found[-1][1])
        self._file.seek(offset + self.header_offset)
        text = self._file.read(64)
        if text.lstrip().startswith(b"xref"):
            return offset, False
        if _OBJECT.match(text):
            return offset, True
        raise PDF_BROKEN()

    @property
    def is_doubtful(self) -> bool:
        """Whether qpdf found anything wrong with what it has read so far."""
        self._warnings += map(str, self.pdf.get_warnings())
        return bool(self._warnings)

    def _refuse_guesses(self) -> None:
        """What qpdf must guess in a trailer or an object stream, other readers guess otherwise or not at all."""
        if self.is_doubtful and any(sign in warning for warning in self._warnings for sign in _GUESSED):
            raise PDF_BROKEN()

    def _shares_annotations(self, page_object: Object) -> bool:
        """Whether another page has the very same array of annotations: a mark added to it would show on both."""
        annotations = page_object.get("/Annots")
        if not (isinstance(annotations, Array) and annotations.is_indirect):
            return False
        held = (page.obj.get("/Annots") for page in self.pdf.pages)
        return sum(1 for array in held if isinstance(array, Array) and array.objgen == annotations.objgen) > 1

    def _plan_form(self, rewrites: Rewrites, numbers: NewNumbers) -> bool:
        """Put the new field into the form; True when there is none and the tail must bring one."""
        root = self.pdf.Root
        if root.objgen not in self._written:
            raise PDF_BROKEN()
        form = root.get("/AcroForm")
        if not isinstance(form, Dictionary):
            rewrites.change(root, {"/AcroForm": b"%d 0 R" % numbers.form})
            return True
        home = form if form.is_indirect else root
        changes = rewrites.append(form, "/Fields", b"%d 0 R" % numbers.widget, home=home)
        flags = form.get("/SigFlags", 0)
        flags = flags if isinstance(flags, int) else 0
        if flags & _APPEND_ONLY != _APPEND_ONLY:
            changes["/SigFlags"] = b"%d" % (flags | _APPEND_ONLY)
        if form.is_indirect:
            rewrites.change(form, changes)
        elif changes:
            rewrites.change(root, {"/AcroForm": rewrites.with_entries(form, changes, home=root)})
        return False

    def _trailer_entries(self) -> bytes:
        parts = [b"/Root " + reference_to(self.pdf.Root)]
        info = self.pdf.trailer.get("/Info")
        if isinstance(info, Object) and info.objgen in self._written:
            parts.append(b"/Info " + reference_to(info))
        if self.pdf.is_encrypted:
            # Its strings are never enciphered, and as a part of the trailer it is written as it was read.
            parts.append(b"/Encrypt " + self.pdf.trailer.Encrypt.unparse())
        return b"".join(parts)

    def _cipher(self) -> FileCipher | None:
        """How the file is encrypted. Refused when qpdf does not know the way."""
        if not self.pdf.is_encrypted:
            return None
        found = self.pdf.encryption
        if found.V < _CRYPT_FILTERS_SINCE:
            return FileCipher(bytes(found.encryption_key), "rc4", "rc4")
        strings, streams = (_METHODS.get(method.name) for method in (found.string_method, found.stream_method))
        if strings is None or streams is None:
            raise PDF_ENCRYPTION_UNKNOWN()
        return FileCipher(bytes(found.encryption_key), strings, streams)

    def _id_first(self) -> bytes:
        identifier = self.pdf.trailer.get("/ID")
        if isinstance(identifier, Array) and len(identifier) > 0 and isinstance(identifier[0], pikepdf.String):
            return bytes(identifier[0])
        return b""

    def _fields(self) -> Iterator[Dictionary]:
        """The fields of the form, parents before children, at most a fixed number of them."""
        form = self.pdf.Root.get("/AcroForm")
        roots = form.get("/Fields") if isinstance(form, Dictionary) else None
        waiting = list(roots) if isinstance(roots, Array) else []
        seen = 0
        while waiting and seen < _FIELDS_MAX:
            field = waiting.pop()
            seen += 1
            if not isinstance(field, Dictionary):
                continue
            yield field
            children = field.get("/Kids")
            if isinstance(children, Array):
                waiting.extend(children)
