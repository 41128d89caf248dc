"""Attacks on sealed files within an update that somebody signs: evil annotations and sneaky signatures.

The names are those of Rohlmann et al. (2021).
"""

from __future__ import annotations

from collections.abc import Awaitable

from forgeries import EVIL, SIGNATURE_BOX, Forgery, page_of, signed
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.generic import pdf_name
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import fields

_WHITE = b"1 g 0 0 1000 1000 re f"
_BLACK = b"0 g 0 0 1000 1000 re f"
_OVER_TEXT = (60, 700, 320, 760)


def _annotation(writer: IncrementalPdfFileWriter, entries: dict[str, generic.PdfObject]) -> None:
    page = page_of(writer)
    values = {"/Type": "/Annot", "/Subtype": "/FreeText"}
    annotation = generic.DictionaryObject({pdf_name(key): pdf_name(value) for key, value in values.items()})
    annotation[pdf_name("/Rect")] = generic.ArrayObject(map(generic.NumberObject, (60, 700, 460, 760)))
    annotation[pdf_name("/DA")] = generic.pdf_string("/Helv 18 Tf")
    annotation[pdf_name("/Contents")] = generic.pdf_string("Utang Rp 9.000.000")
    annotation.update({pdf_name(key): value for key, value in entries.items()})
    reference = writer.add_object(annotation)
    if "/Annots" in page:
        page["/Annots"].append(reference)
        writer.update_container(page["/Annots"])
    else:
        page["/Annots"] = generic.ArrayObject([reference])


def _turned(writer: IncrementalPdfFileWriter) -> None:
    page_of(writer)["/Rotate"] = generic.NumberObject(90)


def _cropped(writer: IncrementalPdfFileWriter) -> None:
    page_of(writer)["/CropBox"] = generic.ArrayObject(map(generic.NumberObject, (0, 0, 300, 300)))


def _script(writer: IncrementalPdfFileWriter) -> None:
    writer.root["/OpenAction"] = _script_action()
    writer.update_root()


def _attachment(writer: IncrementalPdfFileWriter) -> None:
    writer.root["/Names"] = generic.DictionaryObject({pdf_name("/EmbeddedFiles"): generic.DictionaryObject()})
    writer.update_root()


def _without_stamp(writer: IncrementalPdfFileWriter) -> None:
    page_of(writer)["/Annots"] = generic.ArrayObject()


def _second_page(writer: IncrementalPdfFileWriter) -> None:
    pages = writer.root["/Pages"]
    pages["/Kids"].append(
        writer.add_object(
            generic.DictionaryObject(
                {pdf_name("/Type"): pdf_name("/Page"), pdf_name("/Parent"): writer.root.raw_get("/Pages")}
            )
        )
    )
    pages["/Count"] = generic.NumberObject(2)
    writer.update_container(pages)


def _moved_mark(writer: IncrementalPdfFileWriter) -> None:
    widget = writer.root["/AcroForm"]["/Fields"][0]
    widget["/Rect"] = generic.ArrayObject(map(generic.NumberObject, (0, 0, 80, 80)))
    writer.update_container(widget)


def _orphan(writer: IncrementalPdfFileWriter) -> None:
    writer.add_object(generic.StreamObject(stream_data=EVIL))


def _annotated(content: bytes, **entries: str) -> Awaitable[bytes]:
    values = {f"/{key}": pdf_name(f"/{value}") for key, value in entries.items()}
    return signed(content, lambda writer: _annotation(writer, values))


ANNOTATIONS = {
    "free text": Forgery(_annotated),
    "a stamp's picture": Forgery(lambda it: _annotated(it, Subtype="Stamp")),
    "redaction": Forgery(lambda it: _annotated(it, Subtype="Redact")),
    "a widget of no field": Forgery(lambda it: _annotated(it, Subtype="Widget", FT="Sig")),
    "the page turned": Forgery(lambda it: signed(it, _turned)),
    "the page cut": Forgery(lambda it: signed(it, _cropped)),
    "a script": Forgery(lambda it: signed(it, _script)),
    "an attachment": Forgery(lambda it: signed(it, _attachment)),
    "the stamp taken off the page": Forgery(lambda it: signed(it, _without_stamp)),
    "the stamp moved": Forgery(lambda it: signed(it, _moved_mark)),
    "a page more": Forgery(lambda it: signed(it, _second_page)),
    "an object for later": Forgery(lambda it: signed(it, _orphan)),
}


def _with_odd_field(content: bytes, key: str, value: generic.PdfObject) -> Awaitable[bytes]:
    """A signature in a field that shows or does more than a signature."""

    def change(writer: IncrementalPdfFileWriter) -> None:
        spec = fields.SigFieldSpec("Penandatangan", box=SIGNATURE_BOX)
        fields.append_signature_field(writer, spec)
        writer.root["/AcroForm"]["/Fields"][-1][pdf_name(key)] = value

    return signed(content, change, box=None)


def _script_action() -> generic.DictionaryObject:
    action = {"/S": pdf_name("/JavaScript"), "/JS": generic.pdf_string("app.alert(1)")}
    return generic.DictionaryObject({pdf_name(key): value for key, value in action.items()})


SNEAKY = {
    "a white signature over the text": Forgery(lambda it: signed(it, box=_OVER_TEXT, look=_WHITE)),
    "a black signature over the text": Forgery(lambda it: signed(it, box=_OVER_TEXT, look=_BLACK)),
    "a signature over the stamp": Forgery(lambda it: signed(it, box=(480, 20, 590, 130), look=_WHITE)),
    "a signature as large as the page": Forgery(lambda it: signed(it, box=(0, 0, 595, 842), look=b"0 0 5 5 re f")),
    "a signature that shows on paper only": Forgery(lambda it: _with_odd_field(it, "/F", generic.NumberObject(4 + 32))),
    "a signature with a script": Forgery(lambda it: _with_odd_field(it, "/A", _script_action())),
    "a signature in a layer": Forgery(lambda it: _with_odd_field(it, "/OC", generic.DictionaryObject())),
    "a signature that is a note": Forgery(lambda it: _with_odd_field(it, "/Subtype", pdf_name("/FreeText"))),
}
