"""Files that the tests of the sealing engine make themselves: by hand, byte by byte, or with pikepdf."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pikepdf
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pikepdf import Array, Dictionary, Name, Pdf
from pyhanko.keys import load_certs_from_pemder_data, load_private_key_from_pemder_data
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import FieldMDPSpec, SigFieldSpec
from pyhanko_certvalidator.registry import SimpleCertificateStore

PAGE_CONTENT = b"BT /F1 18 Tf 72 720 Td (Surat Pernyataan) Tj ET"


def objects_of_a_letter(
    *, page: bytes = b"", catalog: bytes = b"", pages: bytes = b"", extra: dict[int, bytes] | None = None
) -> dict[int, bytes]:
    """The objects of a one-page document: 1 catalog, 2 pages, 3 page, 4 content, 5 font; entries may be added."""
    return {
        1: b"<</Type/Catalog/Pages 2 0 R" + catalog + b">>",
        2: b"<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 595 842]" + pages + b">>",
        3: b"<</Type/Page/Parent 2 0 R/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>" + page + b">>",
        4: b"<</Length %d>>stream\n%b\nendstream" % (len(PAGE_CONTENT), PAGE_CONTENT),
        5: b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        **(extra or {}),
    }


def classic(objects: dict[int, bytes], *, trailer: bytes = b"", version: bytes = b"1.4", before: bytes = b"") -> bytes:
    """A file with a classic cross-reference table; `before` stands in front of its header."""
    body, offsets = _body(objects, version)
    size = max(objects) + 1
    table = [b"xref\n0 %d\n0000000000 65535 f \n" % size]
    table += [
        b"%010d 00000 n \n" % offsets[number] if number in offsets else b"0000000000 00000 f \n"
        for number in range(1, size)
    ]
    end = b"trailer\n<</Size %d/Root 1 0 R%b>>\nstartxref\n%d\n%%%%EOF\n" % (size, trailer, len(body))
    return before + body + b"".join(table) + end


def stream(objects: dict[int, bytes]) -> bytes:
    """A file whose cross-reference is a stream (PDF 1.5)."""
    body, offsets = _body(objects, b"1.5")
    number = max(objects) + 1
    offsets[number] = len(body)
    rows = b"".join(
        (b"\x01" if row in offsets else b"\x00") + offsets.get(row, 0).to_bytes(3, "big") + b"\x00"
        for row in range(number + 1)
    )
    content = zlib.compress(rows)
    head = b"<</Type/XRef/W[1 3 1]/Size %d/Root 1 0 R/Filter/FlateDecode/Length %d>>" % (number + 1, len(content))
    return body + b"%d 0 obj\n%b\nstream\n%b\nendstream\nendobj\nstartxref\n%d\n%%%%EOF" % (
        number,
        head,
        content,
        len(body),
    )


def hybrid(objects: dict[int, bytes]) -> bytes:
    """A classic table that names a cross-reference stream as well (ISO 32000-2, 7.5.8.4), where one object hides."""
    hidden = max(objects) + 1
    body, offsets = _body({**objects, hidden: b"<</Hidden true>>"}, b"1.5")
    stream_at = len(body)
    row = b"\x01" + offsets[hidden].to_bytes(3, "big") + b"\x00"
    head = b"<</Type/XRef/W[1 3 1]/Size %d/Index[%d 1]/Length %d>>" % (hidden + 2, hidden, len(row))
    body += b"%d 0 obj\n%b\nstream\n%b\nendstream\nendobj\n" % (hidden + 1, head, row)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % hidden
    table += b"".join(b"%010d 00000 n \n" % offsets[number] for number in range(1, hidden))
    trailer = b"<</Size %d/Root 1 0 R/XRefStm %d>>" % (hidden + 2, stream_at)
    return body + table + b"trailer\n%b\nstartxref\n%d\n%%%%EOF\n" % (trailer, len(body))


def _body(objects: dict[int, bytes], version: bytes) -> tuple[bytes, dict[int, int]]:
    body, offsets = b"%PDF-" + version + b"\n%\xe2\xe3\xcf\xd3\n", {}
    for number, text in objects.items():
        offsets[number] = len(body)
        body += b"%d 0 obj\n%b\nendobj\n" % (number, text)
    return body, offsets


def with_pikepdf(change: Callable[[Pdf], None] | None = None, *, pages: int = 1, **save: object) -> bytes:
    """A file written by pikepdf, after `change` to the document."""
    pdf = pikepdf.new()
    for _ in range(pages):
        pdf.add_blank_page(page_size=(595, 842))
    if change:
        change(pdf)
    target = io.BytesIO()
    # The same bytes each time, so that the seed of a fuzzer's case says all; encrypted files have salts.
    save.setdefault("deterministic_id", "encryption" not in save)
    pdf.save(target, **save)  # type: ignore[arg-type]
    return target.getvalue()


def text_field(pdf: Pdf, *, indirect: bool) -> None:
    """Add a form with one text field; form, fields and annotations are objects of their own when `indirect`."""
    page = pdf.pages[0]
    field = pdf.make_indirect(
        Dictionary(
            Type=Name.Annot, Subtype=Name.Widget, FT=Name.Tx, T="nama", V="Siti", Rect=[72, 600, 300, 620], P=page.obj
        )
    )
    fields, annotations = Array([field]), Array([field])
    form = Dictionary(Fields=pdf.make_indirect(fields) if indirect else fields, DA="/Helv 0 Tf 0 g")
    page.obj.Annots = pdf.make_indirect(annotations) if indirect else annotations
    pdf.Root.AcroForm = pdf.make_indirect(form) if indirect else form


def certified(permission: int) -> bytes:
    """A file that claims a certification with the given permission (ISO 32000-2, 12.8.2.2)."""

    def change(pdf: Pdf) -> None:
        parameters = Dictionary(Type=Name.TransformParams, P=permission, V=Name("/1.2"))
        reference = Dictionary(Type=Name.SigRef, TransformMethod=Name.DocMDP, TransformParams=parameters)
        signature = pdf.make_indirect(Dictionary(Type=Name.Sig, Reference=Array([reference])))
        pdf.Root.Perms = Dictionary(DocMDP=signature)

    return with_pikepdf(change)


LETTER = objects_of_a_letter()
_FORM = {6: b"<</Fields[]/SigFlags 0>>", 7: b"[]", 8: b"[]"}

MUSEUM: dict[str, bytes] = {
    "classic table": classic(LETTER),
    "stream": stream(LETTER),
    "hybrid": hybrid(LETTER),
    "pdf 1.0": classic(LETTER, version=b"1.0"),
    "pdf 2.0": classic(LETTER, version=b"2.0"),
    "no line end after eof": classic(LETTER).rstrip(),
    "garbage after": classic(LETTER) + b"\r\n\x00\x00 some mail footer\r\n",
    "garbage before": classic(LETTER, before=b"\r\n junk \r\n"),
    "file id and info": classic(
        objects_of_a_letter(extra={6: b"<</Title(Surat \\(1\\))>>"}), trailer=b"/Info 6 0 R/ID[<0102><0304>]"
    ),
    "inherited turn": classic(objects_of_a_letter(pages=b"/Rotate 90")),
    "negative turn": classic(objects_of_a_letter(page=b"/Rotate -90")),
    "crop box": classic(objects_of_a_letter(page=b"/CropBox[100 200 500 800]")),
    "box with swapped corners": classic(objects_of_a_letter(page=b"/MediaBox[595 842 0 0]")),
    "box off the origin": classic(objects_of_a_letter(page=b"/MediaBox[-300 -400 295 442]")),
    "indirect box": classic(objects_of_a_letter(page=b"/MediaBox 6 0 R", extra={6: b"[0 0 400 400]"})),
    "no box at all": classic(LETTER).replace(b"/MediaBox[0 0 595 842]", b"                      "),
    "no resources": classic(LETTER).replace(b"/Resources<</Font<</F1 5 0 R>>>>", b"                                "),
    "direct annotations": classic(objects_of_a_letter(page=b"/Annots[]")),
    "indirect annotations": classic(objects_of_a_letter(page=b"/Annots 7 0 R", extra=_FORM)),
    "annotations are null": classic(objects_of_a_letter(page=b"/Annots null")),
    "annotations with a hole": classic(objects_of_a_letter(page=b"/Annots[null 99 0 R]")),
    "annotations dangle": classic(objects_of_a_letter(page=b"/Annots 99 0 R")),
    "indirect form": classic(objects_of_a_letter(catalog=b"/AcroForm 6 0 R", extra=_FORM)),
    "direct form": classic(objects_of_a_letter(catalog=b"/AcroForm<</Fields[]>>")),
    "form without fields": classic(objects_of_a_letter(catalog=b"/AcroForm<<>>")),
    "indirect fields": classic(objects_of_a_letter(catalog=b"/AcroForm<</Fields 7 0 R/SigFlags 3>>", extra=_FORM)),
    "large object numbers": classic(objects_of_a_letter(extra={70_000: b"null"})),
    "size too small": classic(LETTER).replace(b"/Size 6", b"/Size 3"),
    "object streams": with_pikepdf(object_stream_mode=pikepdf.ObjectStreamMode.generate),
    "linearised": with_pikepdf(linearize=True),
    "300 pages": with_pikepdf(pages=300),
    "form with direct parts": with_pikepdf(lambda pdf: text_field(pdf, indirect=False)),
    "form with indirect parts": with_pikepdf(lambda pdf: text_field(pdf, indirect=True)),
    "certified, forms allowed": certified(2),
}
"""Odd but sound files, each of which must be sealed."""


async def signed_by_somebody(content: bytes, *, locks: FieldMDPSpec | None = None, **claims: object) -> bytes:
    """The file with a visible signature that pyHanko makes, with a key of its own; `locks` names fields it locks."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Somebody else")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3_650))
        .sign(key, hashes.SHA256())
    )
    pem = Encoding.PEM
    private = key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
    signer = signers.SimpleSigner(
        signing_cert=next(iter(load_certs_from_pemder_data(certificate.public_bytes(pem)))),
        signing_key=load_private_key_from_pemder_data(private, None),
        cert_registry=SimpleCertificateStore(),
    )
    field = SigFieldSpec("Penandatangan", box=(72, 100, 200, 150), field_mdp_spec=locks)
    metadata = signers.PdfSignatureMetadata(field_name="Penandatangan", **claims)  # type: ignore[arg-type]
    writer = IncrementalPdfFileWriter(io.BytesIO(content), strict=False)
    target = await signers.PdfSigner(metadata, signer, new_field_spec=field).async_sign_pdf(writer)
    return bytes(target.getvalue())
