"""More files that the tests make themselves: damaged, encrypted, certified, with odd numbers, forms and structures."""

from __future__ import annotations

import zlib

import pikepdf
from pikepdf import Array, Dictionary, Encryption, Name, Pdf
from seal_samples import LETTER, classic, hybrid, objects_of_a_letter, stream, text_field, with_pikepdf

PASSWORD = "rahasia"
FIRST_FREE = 6
"""The number after the highest object of a letter."""


def _lines(content: bytes) -> bytes:
    """The same file after a mail program has turned its line ends: every offset is wrong."""
    return content.replace(b"\n", b"\r\n")


def _direct_page() -> bytes:
    """A page that stands in the array of pages itself, where only an object of its own may stand."""
    objects = objects_of_a_letter()
    page = objects.pop(3)
    objects[2] = objects[2].replace(b"3 0 R", page)
    return classic(objects)


def numbered(number: int) -> bytes:
    """A letter whose font has that number and whose table leaves out all the others: large numbers in a small file."""
    content = classic(LETTER).replace(b"5 0 R", b"%d 0 R" % number).replace(b"5 0 obj", b"%d 0 obj" % number)
    at, font = content.index(b"xref\n"), content.index(b"%d 0 obj" % number)
    offsets = [content.index(b"%d 0 obj" % one) for one in range(1, 5)]
    rows = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    table = b"xref\n0 5\n0000000000 65535 f \n%b%d 1\n%010d 00000 n \n" % (rows, number, font)
    trailer = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (number + 1, at)
    return content[:at] + table + trailer


def _misnumbered() -> bytes:
    """A form that calls itself the catalog: qpdf puts it in the catalog's place as soon as it has read it."""
    objects = objects_of_a_letter(catalog=b"/AcroForm 6 0 R", extra={6: b"<</Fields[]/DA(/Helv 0 Tf 0 g)>>"})
    return classic(objects).replace(b"\n6 0 obj", b"\n1 0 obj")


DAMAGED: dict[str, bytes] = {
    "the end cut off": classic(LETTER)[: classic(LETTER).index(b"trailer")],
    "startxref is wrong": classic(LETTER).replace(b"startxref\n", b"startxref\n9"),
    "startxref is missing": classic(LETTER).replace(b"startxref", b"startxxxx"),
    "every offset is wrong": _lines(classic(LETTER)),
    "a stream of offsets is cut": stream(LETTER)[:-60],
    "a hybrid without its end": hybrid(LETTER)[: hybrid(LETTER).index(b"startxref")],
    "a page that is no object": _direct_page(),
    "a trailer with a key too many": classic(LETTER, trailer=b"/Info null/K 1/K"),
    "a trailer without its size": classic(LETTER).replace(b"/Size 6", b"       ").replace(b"startxref", b"startxxxx"),
    "numbers used up": numbered(4_194_303),
    "an object under another's number": _misnumbered(),
}
"""Unsigned files that only qpdf can read, or that have no room for a seal. Each must be repaired, then sealed."""


def encrypted(revision: int, *, user: str = "", aes: bool = True, metadata: bool = True, packed: bool = False) -> bytes:
    """A form with strings in it, encrypted in the given revision of the standard handler (ISO 32000-2, 7.6.4)."""

    def change(pdf: Pdf) -> None:
        text_field(pdf, indirect=packed)
        pdf.Root.Lang = "id"

    mode = pikepdf.ObjectStreamMode.generate if packed else pikepdf.ObjectStreamMode.disable
    how = Encryption(owner="pemilik", user=user, R=revision, aes=aes, metadata=metadata)  # type: ignore[arg-type]
    return with_pikepdf(change, encryption=how, object_stream_mode=mode)


KINDS_OF_ENCRYPTION: dict[str, dict[str, object]] = {
    "RC4, 40 bits": {"revision": 2, "aes": False, "metadata": False},
    "RC4, 128 bits": {"revision": 3, "aes": False, "metadata": False},
    "AES, 128 bits": {"revision": 4},
    "AES, 128 bits, packed": {"revision": 4, "packed": True},
    "AES, 128 bits, metadata in the clear": {"revision": 4, "metadata": False},
    "AES, 256 bits": {"revision": 6},
    "AES, 256 bits, packed": {"revision": 6, "packed": True},
    "AES, 256 bits, metadata in the clear": {"revision": 6, "metadata": False},
}


def dynamic_form(pdf: Pdf) -> None:
    """Add an XFA form that asks its viewer to draw the pages from it."""
    text_field(pdf, indirect=True)
    pdf.Root.AcroForm.XFA = Array([pikepdf.String("template"), pdf.make_stream(b"<template/>")])
    pdf.Root.NeedsRendering = True


def portfolio(pdf: Pdf) -> None:
    """Make the document the cover of a collection with one attached file."""
    pdf.attachments["lampiran.txt"] = b"isi"
    pdf.Root.Collection = Dictionary(Type=Name.Collection, View=Name.D)


def tagged(pdf: Pdf) -> None:
    """Give the document a structure tree with one paragraph."""
    root = pdf.make_indirect(Dictionary(Type=Name.StructTreeRoot, ParentTreeNextKey=1))
    paragraph = pdf.make_indirect(Dictionary(Type=Name.StructElem, S=Name.P, P=root, K=0, Pg=pdf.pages[0].obj))
    root.K = Array([paragraph])
    root.ParentTree = Dictionary(Nums=Array([0, Array([paragraph])]))
    pdf.Root.StructTreeRoot = root
    pdf.Root.MarkInfo = Dictionary(Marked=True)
    pdf.pages[0].obj.StructParents = 0
    pdf.pages[0].obj.Tabs = Name.S


def dangling(first_free: int) -> bytes:
    """What refers, in vain, to three numbers from the first free one on."""
    return b"[%b]" % b" ".join(b"%d 0 R" % number for number in range(first_free, first_free + 3))


def dangling_behind_a_picture() -> bytes:
    """A letter with a long stream, behind which an object refers in vain."""
    data = bytes(70_000)
    picture = b"<</Length %d>>\nstream\n%b\nendstream" % (len(data), data)
    return classic(objects_of_a_letter(extra={6: picture, 9: b"<</Vain%b>>" % dangling(10)}))


def packed_dangling() -> bytes:
    """A letter whose catalog, which refers in vain, is out of sight in a compressed object stream."""
    catalog = zlib.compress(b"1 0 <</Type/Catalog/Pages 2 0 R/Vain %b>>" % dangling(8))
    entries = b"<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>" % len(catalog)
    objects = {**LETTER, 6: entries + b"stream\n" + catalog + b"\nendstream"}
    del objects[1]
    content, rows = b"%PDF-1.5\n", {0: bytes(5), 1: b"\x02" + (6).to_bytes(3, "big") + b"\x00"}
    for number, body in objects.items():
        rows[number] = b"\x01" + len(content).to_bytes(3, "big") + b"\x00"
        content += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    rows[7] = b"\x01" + len(content).to_bytes(3, "big") + b"\x00"
    table = b"".join(rows[number] for number in sorted(rows))
    head = b"<</Type/XRef/W[1 3 1]/Size 8/Root 1 0 R/Length %d>>" % len(table)
    end = b"startxref\n%d\n%%%%EOF\n" % len(content)
    return content + b"7 0 obj\n%b\nstream\n%b\nendstream\nendobj\n" % (head, table) + end


SOUND: dict[str, bytes] = {
    "dynamic form": with_pikepdf(dynamic_form),
    "portfolio": with_pikepdf(portfolio),
    "tagged": with_pikepdf(tagged),
    "a number in the thousands": numbered(5_000),
    "a number in the millions": numbered(4_000_000),
    "a size in the millions": classic(LETTER).replace(b"/Size 6", b"/Size 4000000"),
    "a senseless size": classic(LETTER).replace(b"/Size 6", b"/Size 4294967295"),
    "dangling references": classic(objects_of_a_letter(page=b"/Annots%b" % dangling(FIRST_FREE))),
    "packed dangling references": packed_dangling(),
    "dangling references behind a picture": dangling_behind_a_picture(),
    **{f"pdf 1.{minor}": classic(LETTER, version=b"1.%d" % minor) for minor in range(1, 8)},
    "zeros after the end": classic(LETTER) + b"\n" + bytes(900),
}
"""Odd but sound files, each of which must be sealed as it is."""
