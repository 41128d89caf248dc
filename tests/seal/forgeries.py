"""How sealed files are attacked: by updates written by hand, and by updates that somebody signs."""

from __future__ import annotations

import io
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pyhanko.keys import load_certs_from_pemder_data, load_private_key_from_pemder_data
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.content import RawContent
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.layout import BoxConstraints
from pyhanko.sign import signers
from pyhanko.sign.fields import SigFieldSpec
from pyhanko.stamp import StaticStampStyle
from pyhanko_certvalidator.registry import SimpleCertificateStore
from seal_samples import LETTER, classic

Change = Callable[[IncrementalPdfFileWriter], None]
EVIL = b"BT /F1 18 Tf 72 720 Td (Utang Rp 9.000.000) Tj ET"
SIGNATURE_BOX = (72, 100, 200, 150)


@dataclass(frozen=True)
class Forgery:
    """An attack: what was prepared before the seal, and what is done to the sealed file."""

    make: Callable[[bytes], bytes | Awaitable[bytes]]
    original: bytes = field(default_factory=lambda: classic(LETTER))


def stream_of(content: bytes, entries: bytes = b"") -> bytes:
    """The body of a stream object."""
    return b"<<%b/Length %d>>stream\n%b\nendstream" % (entries, len(content), content)


def newest_xref(content: bytes) -> int:
    """Where the newest cross-reference is said to be."""
    return int(content.rpartition(b"startxref")[2].split()[0])


def body_of(content: bytes, number: int) -> bytes:
    """The newest text of an object that stands in the clear."""
    found = re.findall(rb"(?<!\d)%d 0 obj\n(.*?)\nendobj" % number, content, re.DOTALL)
    return bytes(found[-1])


def updated(
    content: bytes,
    objects: dict[int, bytes],
    *,
    free: tuple[int, ...] = (),
    root: bytes = b"1 0 R",
    previous: int | None = None,
    entries: dict[int, int] | None = None,
    trailer: bytes = b"",
    between: bytes = b"",
) -> bytes:
    """The file with an incremental update as the standard wants it, except for what the other arguments bend."""
    body, offsets = content, dict(entries or {})
    for number, text in objects.items():
        offsets.setdefault(number, len(body))
        body += b"%d 0 obj\n%b\nendobj\n" % (number, text)
    body += between
    table = b"xref\n"
    for number in sorted({*offsets, *free}):
        state = (offsets[number], b"n") if number in offsets else (0, b"f")
        table += b"%d 1\n%010d 00000 %b \n" % (number, *state)
    before = newest_xref(content) if previous is None else previous
    table += b"trailer\n<</Size 200/Root %b/Prev %d%b>>\n" % (root, before, trailer)
    return body + table + b"startxref\n%d\n%%%%EOF\n" % len(body)


def with_object_stream(content: bytes, number: int, body: bytes) -> bytes:
    """An update that replaces one object from within an object stream (ISO 32000-2, 7.5.7)."""
    packed = b"%d 0 %b" % (number, body)
    first = len(b"%d 0 " % number)
    start = len(content)
    container = b"150 0 obj\n%b\nendobj\n" % stream_of(packed, b"/Type/ObjStm/N 1/First %d" % first)
    rows = b"\x02" + (150).to_bytes(4, "big") + b"\x00" + b"\x01" + start.to_bytes(4, "big") + b"\x00"
    at = start + len(container)
    rows += b"\x01" + at.to_bytes(4, "big") + b"\x00"
    entries = b"/Type/XRef/W[1 4 1]/Size 200/Root 1 0 R/Prev %d/Index[%d 1 150 2]" % (newest_xref(content), number)
    return content + container + b"151 0 obj\n%b\nendobj\nstartxref\n%d\n%%%%EOF\n" % (stream_of(rows, entries), at)


@cache
def somebody(name: str = "Somebody else", *, with_rsa: bool = False) -> signers.SimpleSigner:
    """A signer with a key and a certificate of its own."""
    key = rsa.generate_private_key(65537, 2048) if with_rsa else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=3_650))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return signers.SimpleSigner(
        signing_cert=next(iter(load_certs_from_pemder_data(certificate.public_bytes(Encoding.PEM)))),
        signing_key=load_private_key_from_pemder_data(private, None),
        cert_registry=SimpleCertificateStore(),
    )


async def signed(
    content: bytes,
    change: Change | None = None,
    *,
    box: tuple[int, int, int, int] | None = SIGNATURE_BOX,
    look: bytes | None = None,
    name: str = "Penandatangan",
    password: str | None = None,
) -> bytes:
    """The file with a visible signature of somebody else, who also makes a `change`; `look` draws the signature.

    Without a `box` an existing field is filled. `password` opens an encrypted file.
    """
    writer = IncrementalPdfFileWriter(io.BytesIO(content), strict=False)
    if password is not None:
        writer.encrypt(password)
    if change:
        change(writer)
    style = None
    if look is not None and box is not None:
        drawn = RawContent(look, box=BoxConstraints(width=box[2] - box[0], height=box[3] - box[1]))
        style = StaticStampStyle(background=drawn, border_width=0, background_opacity=1)
    spec = SigFieldSpec(name, box=box) if box else None
    metadata = signers.PdfSignatureMetadata(field_name=name)
    signer = signers.PdfSigner(metadata, somebody(), stamp_style=style, new_field_spec=spec)
    target = await signer.async_sign_pdf(writer)
    return bytes(target.getvalue())


def page_of(writer: IncrementalPdfFileWriter) -> generic.DictionaryObject:
    """The first page, about to be changed."""
    reference = writer.root["/Pages"]["/Kids"].raw_get(0)
    page = reference.get_object()
    writer.mark_update(reference)
    assert isinstance(page, generic.DictionaryObject)
    return page


def put(writer: IncrementalPdfFileWriter, number: int, value: generic.PdfObject) -> None:
    """Write an object under a number that the sealed file may be waiting for."""
    writer.objects[(0, number)] = value
