"""The known attacks on signed PDF files, each made on a real sealed file. Names follow the papers that describe them.

Universal forgery, incremental saving, signature wrapping (Mladenov et al., 2019); shadow attacks (Mainka et al., 2021);
and tricks with cross-references that only some readers follow. Those in signed updates are in forgery_signed.py.
"""

from __future__ import annotations

import re

from forgeries import EVIL, Forgery, body_of, newest_xref, put, signed, stream_of, updated, with_object_stream
from forgery_signed import ANNOTATIONS, SNEAKY
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from seal_samples import LETTER, classic, objects_of_a_letter, text_field, with_pikepdf

_SLOT = re.compile(rb"/Contents<([0-9A-F]+)>>>")
_RANGE = re.compile(rb"/ByteRange\[0 (\d+) +(\d+) +(\d+) *\]")


def _number(content: bytes, pattern: bytes) -> int:
    """The number of one of the objects that a seal adds."""
    found = re.search(pattern, content)
    assert found
    return int(found[1])


def _signature(content: bytes) -> int:
    return _number(content, rb"(\d+) 0 obj\n<</Type/Sig/")


def _widget(content: bytes) -> int:
    return _number(content, rb"(\d+) 0 obj\n<</Type/Annot/Subtype/Widget/FT/Sig")


def _form(content: bytes) -> int:
    return _number(content, rb"/AcroForm (\d+) 0 R")


def _slot(content: bytes) -> re.Match[bytes]:
    found = _SLOT.search(content)
    assert found
    return found


def _with_slot(content: bytes, text: bytes) -> bytes:
    """Another value of /Contents in exactly as many bytes."""
    found = _slot(content)
    size = found.end(1) - found.start(1) + 2
    return content[: found.start(1) - 1] + text.ljust(size) + content[found.end(1) + 1 :]


def _replaced(content: bytes, *, signature: bytes) -> bytes:
    """Other content, and another dictionary in the place of the seal's."""
    return updated(content, {4: stream_of(EVIL), _signature(content): signature})


def _with_range(content: bytes, text: bytes) -> bytes:
    found = _RANGE.search(content)
    assert found
    return content[: found.start()] + text.ljust(len(found[0])) + content[found.end() :]


UNIVERSAL = {
    "contents removed": Forgery(lambda it: it.replace(b"/Contents<30", b"/Contentz<30")),
    "contents empty": Forgery(lambda it: _with_slot(it, b"<>")),
    "contents null": Forgery(lambda it: _with_slot(it, b"null")),
    "contents zero": Forgery(lambda it: _with_slot(it, b"<00>")),
    "contents all zeros": Forgery(lambda it: it.replace(_slot(it)[1], b"0" * len(_slot(it)[1]))),
    "contents with other filling": Forgery(lambda it: it[: _slot(it).end(1) - 2] + b"AB" + it[_slot(it).end(1) :]),
    "range removed": Forgery(lambda it: it.replace(b"/ByteRange[", b"/ByteRangz[")),
    "range null": Forgery(lambda it: _with_range(it, b"/ByteRange null")),
    "range empty": Forgery(lambda it: _with_range(it, b"/ByteRange[]")),
    "range of nothing": Forgery(lambda it: _with_range(it, b"/ByteRange[0 0 0 0]")),
    "range negative": Forgery(lambda it: _with_range(it, b"/ByteRange[0 -1 -1 -1]")),
    "range short of one": Forgery(lambda it: _with_range(it, b"/ByteRange[0 10]")),
    "range far too large": Forgery(lambda it: _with_range(it, b"/ByteRange[0 9999999999 1 1]")),
    "range a float": Forgery(lambda it: _with_range(it, b"/ByteRange[0 1.0 2.0 3.0]")),
    "sub-filter unknown": Forgery(lambda it: it.replace(b"ETSI.CAdES.detached", b"adbe.x509.rsa_sha1!")),
    "dictionary replaced by one without contents": Forgery(
        lambda it: updated(
            it, {4: stream_of(EVIL), _signature(it): b"<</Type/Sig/Filter/Adobe.PPKLite/Contents null>>"}
        )
    ),
    "dictionary replaced by one without range": Forgery(
        lambda it: updated(
            it, {4: stream_of(EVIL), _signature(it): body_of(it, _signature(it)).replace(b"/ByteRange", b"/Byte")}
        )
    ),
}

SAVING = {
    "update": Forgery(lambda it: updated(it, {4: stream_of(EVIL)})),
    "update without cross-reference": Forgery(
        lambda it: it + b"4 0 obj\n%b\nendobj\ntrailer\n<</Size 200/Root 1 0 R>>\n" % stream_of(EVIL)
    ),
    "update with a bare body": Forgery(lambda it: it + b"4 0 obj\n%b\nendobj\n" % stream_of(EVIL)),
    "update whose startxref is the old one": Forgery(
        lambda it: it + b"4 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (stream_of(EVIL), newest_xref(it))
    ),
    "update without trailer": Forgery(
        lambda it: updated(it, {4: stream_of(EVIL)}).replace(b"trailer\n<</Size 2", b"\n<</Size 2")
    ),
    "update with a copied signature": Forgery(lambda it: _replaced(it, signature=body_of(it, _signature(it)))),
    "update with a copied signature in a new field": Forgery(
        lambda it: updated(
            it,
            {
                4: stream_of(EVIL),
                _form(it): b"<</Fields[%d 0 R 20 0 R]/SigFlags 3>>" % _widget(it),
                20: b"<</FT/Sig/T(two)/V 21 0 R>>",
                21: body_of(it, _signature(it)),
            },
        )
    ),
    "the tail twice": Forgery(lambda it: it + it[len(classic(LETTER)) :]),
    "update that hides the stamp": Forgery(lambda it: updated(it, {1: b"<</Type/Catalog/Pages 2 0 R>>"})),
    "update in an object stream": Forgery(lambda it: with_object_stream(it, 3, LETTER[3].replace(b"4 0 R", b"5 0 R"))),
    "changed and restored": Forgery(lambda it: updated(updated(it, {4: stream_of(EVIL)}), {4: LETTER[4]})),
    "changed and signed": Forgery(lambda it: signed(updated(it, {4: stream_of(EVIL)}))),
    "trailing garbage": Forgery(lambda it: it + b"\n% so what\n"),
    "a second end of file": Forgery(lambda it: it + b"%%EOF\n"),
    "nothing but a new end": Forgery(lambda it: updated(it, {})),
    "zeros behind the end": Forgery(lambda it: it + bytes(100)),
}


def _wrapped(content: bytes, *, between: bytes, moved_range: bool) -> bytes:
    """The signed second piece goes to the end; behind the slot stands another tail, with the content of the forger."""
    slot = _slot(content)
    first, second = content[: slot.end(1) + 1], content[slot.end(1) + 1 :]
    forged = first + between + second
    if moved_range:
        old = _RANGE.search(content)
        assert old
        text = b"/ByteRange[0 %d %d %d]" % (int(old[1]), len(first) + len(between), len(second))
        forged = _with_range(forged, text)
    return forged


_BETWEEN = b">>\nendobj\n4 0 obj\n%b\nendobj\n99 0 obj\n<</Padding<00>" % stream_of(EVIL)
WRAPPING = {
    "wrapped": Forgery(lambda it: _wrapped(it, between=_BETWEEN, moved_range=False)),
    "wrapped, range moved": Forgery(lambda it: _wrapped(it, between=_BETWEEN, moved_range=True)),
    "wrapped in a longer slot": Forgery(lambda it: _wrapped(it, between=b"<00>" * 10, moved_range=True)),
    "bytes in front": Forgery(lambda it: b"%PDF-1.4\n" + it),
    "bytes between": Forgery(lambda it: it[:100] + b" " + it[100:]),
    "the sealed file inside another": Forgery(lambda it: classic(objects_of_a_letter(extra={6: stream_of(it)}))),
}


_OVERLAY = b"q 1 g 60 700 400 60 re f Q BT /F1 18 Tf 72 720 Td (Tanpa utang) Tj ET"
_COVERED = classic(
    {
        **objects_of_a_letter(extra={6: stream_of(_OVERLAY)}),
        3: b"<</Type/Page/Parent 2 0 R/Contents[4 0 R 6 0 R]/Resources<</Font<</F1 5 0 R>>>>>>",
    }
)
_WAITING = classic(
    {
        **objects_of_a_letter(),
        3: b"<</Type/Page/Parent 2 0 R/Contents[4 0 R 99 0 R]/Resources<</Font<</F1 5 0 R>>>>>>",
    }
)
_SECOND_TREE = classic(
    objects_of_a_letter(
        extra={
            30: b"<</Type/Catalog/Pages 31 0 R>>",
            31: b"<</Type/Pages/Kids[32 0 R]/Count 1/MediaBox[0 0 595 842]>>",
            32: b"<</Type/Page/Parent 31 0 R/Contents 33 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
            33: stream_of(EVIL),
        }
    )
)
_METADATA_IS_CONTENT = classic(objects_of_a_letter(catalog=b"/Metadata 4 0 R"))
_SYMBOL = b"<</Type/Font/Subtype/Type1/BaseFont/Symbol>>"
_INFO_IS_FONT = classic(LETTER, trailer=b"/Info 5 0 R")
_FIELDS_ARE_PAGES = classic(
    {
        **objects_of_a_letter(catalog=b"/AcroForm<</Fields 6 0 R>>", extra={6: b"[3 0 R]"}),
        2: b"<</Type/Pages/Kids 6 0 R/Count 1/MediaBox[0 0 595 842]>>",
    }
)


def _at_hidden(it: bytes) -> bytes:
    """The content's entry points to the prepared one."""
    at = it.index(b"33 0 obj")
    return updated(it, {}, entries={4: at})


def _beyond() -> bytes:
    """A file with an entry that points to where nothing is yet."""
    original = classic(
        {**objects_of_a_letter(extra={6: b"null"}), 3: LETTER[3].replace(b"/Contents 4 0 R", b"/Contents[4 0 R 6 0 R]")}
    )
    entry = b"%010d 00000 n \n" % original.index(b"6 0 obj")
    return original.replace(entry, b"%010d 00000 n \n" % 20_002)


async def _fills_waiting(it: bytes) -> bytes:
    def change(writer: IncrementalPdfFileWriter) -> None:
        put(writer, 99, generic.StreamObject(stream_data=EVIL))

    return await signed(it, change)


SHADOW = {
    "hide: the cover taken away": Forgery(lambda it: updated(it, {6: stream_of(b"")}), _COVERED),
    "hide: the cover made free": Forgery(lambda it: updated(it, {}, free=(6,)), _COVERED),
    "replace: the font": Forgery(lambda it: updated(it, {5: _SYMBOL})),
    "replace: a form value": Forgery(
        lambda it: updated(it, {4: b"<</Type/Annot/Subtype/Widget/FT/Tx/T(nama)/V(Budi)/Rect[72 600 300 620]>>"}),
        with_pikepdf(lambda pdf: text_field(pdf, indirect=False)),
    ),
    "hide and replace: another catalog": Forgery(lambda it: updated(it, {}, root=b"30 0 R"), _SECOND_TREE),
    "hide and replace: another page tree": Forgery(
        lambda it: updated(it, {1: body_of(it, 1).replace(b"/Pages 2 0 R", b"/Pages 31 0 R")}), _SECOND_TREE
    ),
    "hide and replace: entries turned to hidden objects": Forgery(_at_hidden, _SECOND_TREE),
    "an object that was waited for": Forgery(lambda it: updated(it, {99: stream_of(EVIL)}), _WAITING),
    "an object that was waited for, signed": Forgery(_fills_waiting, _WAITING),
    "an entry that waited beyond the end": Forgery(
        lambda it: it[:] + b" " * (20_002 - len(it)) + b"6 0 obj\n%b\nendobj\n" % stream_of(EVIL), _beyond()
    ),
    "metadata that is the page's content": Forgery(lambda it: updated(it, {4: stream_of(EVIL)}), _METADATA_IS_CONTENT),
    "information that is a font": Forgery(
        lambda it: updated(it, {5: _SYMBOL}, trailer=b"/Info 5 0 R"),
        _INFO_IS_FONT,
    ),
    "fields that are pages": Forgery(signed, _FIELDS_ARE_PAGES),
}


def _pointing(it: bytes, marker: bytes, *, into: bytes) -> bytes:
    """An update whose entry for the content points into the middle of something."""
    return updated(it, {20: into}, entries={4: len(it) + into.index(marker) + len(b"20 0 obj\n")})


_EVIL_OBJECT = b"4 0 obj\n%b\nendobj\n" % stream_of(EVIL)
STRUCTURE = {
    "an object twice in an update": Forgery(lambda it: updated(it, {4: LETTER[4]}, between=_EVIL_OBJECT)),
    "an object hidden in a stream": Forgery(lambda it: _pointing(it, b"4 0 obj", into=stream_of(_EVIL_OBJECT))),
    "an object hidden in a string": Forgery(lambda it: _pointing(it, b"4 0 obj", into=b"(4 0 obj\n<<>>\nendobj)")),
    "an object hidden in a comment": Forgery(lambda it: updated(it, {}, between=b"%4 0 obj <<>> endobj\n")),
    "an object that nothing lists": Forgery(lambda it: updated(it, {}, between=_EVIL_OBJECT)),
    "an entry into the slot": Forgery(lambda it: updated(it, {}, entries={4: _slot(it).start(1)})),
    "an entry into the original": Forgery(lambda it: updated(it, {}, entries={4: it.index(b"5 0 obj")})),
    "a previous table that skips the seal": Forgery(
        lambda it: updated(it, {20: b"null"}, previous=newest_xref(classic(LETTER)))
    ),
    "a previous table that is itself": Forgery(lambda it: updated(it, {}, previous=len(it))),
    "no previous table": Forgery(
        lambda it: updated(it, {20: b"null"}).replace(b"200/Root 1 0 R/Prev", b"200/Root 1 0 R/Pre_")
    ),
    "a hybrid stream beside the table": Forgery(lambda it: updated(it, {20: b"null"}, trailer=b"/XRefStm 15")),
    "startxref elsewhere": Forgery(lambda it: re.sub(rb"\d+\n%%EOF\n\Z", b"0\n%%EOF\n", updated(it, {20: b"null"}))),
    "an empty update": Forgery(lambda it: updated(it, {20: b"null"})),
    "only metadata": Forgery(lambda it: updated(it, {20: b"<</Title(Lunas)>>"}, trailer=b"/Info 20 0 R")),
    "encrypted afterwards": Forgery(lambda it: updated(it, {}, trailer=b"/Encrypt<</Filter/Standard>>")),
    "a header in the update": Forgery(lambda it: it + b"%PDF-1.7\n" + updated(it, {4: stream_of(EVIL)})[len(it) :]),
}

FORGERIES = {
    f"{family}: {name}": forgery
    for family, cases in (
        ("universal", UNIVERSAL),
        ("saving", SAVING),
        ("wrapping", WRAPPING),
        ("shadow", SHADOW),
        ("annotation", ANNOTATIONS),
        ("sneaky", SNEAKY),
        ("structure", STRUCTURE),
    )
    for name, forgery in cases.items()
}
