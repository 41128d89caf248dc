"""Is this stamp genuine? Asked over HTTP by anyone, with true files, bent ones, and files that are not ours."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pikepdf
import pytest
from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from emeterai.infra.clock import utc_now
from papers import letter
from running import Person, RunningService

Sealed = tuple[dict[str, Any], bytes, bytes]
"""A stamp as the API tells it, the sealed file, and the original."""


@pytest.fixture(scope="module")
async def anyone(service: RunningService) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has no account."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
async def sealed(buyer: Person) -> Sealed:
    """A stamped letter."""
    original = letter(text="Surat Rahasia")
    stamp = (await buyer.stamp(original, name="rahasia-siti.pdf")).json()
    file = await buyer.api.get(f"/v1/stamps/{stamp['id']}/file")
    return stamp, file.raise_for_status().content, original


async def check(anyone: httpx.AsyncClient, file: bytes) -> dict[str, Any]:
    """The verdict on a file."""
    answer = await anyone.post("/v1/verify", content=file, headers={"Content-Type": "application/pdf"})
    verdict: dict[str, Any] = answer.raise_for_status().json()
    return verdict


async def test_a_serial_tells_that_it_is_on_a_document(anyone: httpx.AsyncClient, sealed: Sealed) -> None:
    """Also as people type it: in small letters, with blanks and hyphens."""
    stamp, _, original = sealed
    serial = stamp["serial"]
    for typed in (serial, serial.lower(), f"{serial[:4]}-{serial[4:10]} {serial[10:]}"):
        facts = (await anyone.get(f"/v1/verify/{typed}")).raise_for_status().json()
        assert ("genuine", serial) == (facts["state"], facts["serial"])
        assert hashlib.sha256(original).hexdigest() == facts["original_sha256"]


async def test_a_sealed_file_is_genuine(anyone: httpx.AsyncClient, sealed: Sealed) -> None:
    """As the body itself and in a form; the seal's facts agree with the register."""
    stamp, file, _ = sealed
    by_form = await anyone.post("/v1/verify", files={"file": ("x.pdf", file, "application/pdf")})
    for verdict in (await check(anyone, file), by_form.json()):
        assert "genuine" == verdict["outcome"]
        (proof,) = verdict["stamps"]
        assert (stamp["serial"], "agrees", True, True) == (
            proof["serial"],
            proof["register"],
            proof["intact"],
            proof["covers_whole_file"],
        )


async def test_two_stamps_on_one_file_are_both_genuine(anyone: httpx.AsyncClient, buyer: Person) -> None:
    """A sealed file is stamped again: both seals hold."""
    first = (await buyer.stamp(letter())).json()
    once = (await buyer.api.get(f"/v1/stamps/{first['id']}/file")).content
    second = await buyer.stamp(once, box="50,50,130,130")
    assert 201 == second.status_code, second.text
    twice = (await buyer.api.get(f"/v1/stamps/{second.json()['id']}/file")).content
    verdict = await check(anyone, twice)
    assert "genuine" == verdict["outcome"]
    assert {first["serial"], second.json()["serial"]} == {proof["serial"] for proof in verdict["stamps"]}


def flipped(file: bytes, at: int) -> bytes:
    """The file with one bit of one byte changed."""
    return file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :]


def updated_by_hand(file: bytes) -> bytes:
    """The file with an incremental update that replaces its catalog's page (ISO 32000-2, 7.5.6)."""
    with pikepdf.open(io.BytesIO(file)) as pdf:
        number = pdf.pages[0].obj.objgen[0]
        size, root = int(pdf.trailer.Size), pdf.Root.objgen[0]
    startxref = int(file[file.rindex(b"startxref") + 9 :].split()[0])
    body = b"\n%d 0 obj\n<</Type/Page/MediaBox[0 0 100 100]>>\nendobj\n" % number
    at = len(file) + 1
    table = b"xref\n%d 1\n%010d 00000 n \n" % (number, at)
    trailer = b"trailer\n<</Size %d/Root %d 0 R/Prev %d>>\n" % (size, root, startxref)
    return file + body + table + trailer + b"startxref\n%d\n%%%%EOF\n" % (len(file) + len(body))


def saved_again(file: bytes) -> bytes:
    """The file as another program writes it anew."""
    target = io.BytesIO()
    with pikepdf.open(io.BytesIO(file)) as pdf:
        pdf.save(target)
    return target.getvalue()


async def test_a_changed_file_is_called_changed(anyone: httpx.AsyncClient, sealed: Sealed) -> None:
    """A byte behind it, a bit inside it, an update after it, or written anew: never genuine."""
    _, file, original = sealed
    text = file.index(b"stream") + 10
    assert text < len(original)
    bent = {
        "a byte appended": file + b"\n ",
        "a bit in the original": flipped(file, text),
        "a bit in the last bytes": flipped(file, len(original) + 40),
        "an update by hand": updated_by_hand(file),
        "saved again": saved_again(file),
        "cut short": file[:-200],
    }
    outcomes = {name: (await check(anyone, content))["outcome"] for name, content in bent.items()}
    assert dict.fromkeys(bent, "changed") == outcomes


async def test_the_original_is_not_ours(anyone: httpx.AsyncClient, sealed: Sealed) -> None:
    """A file that was never sealed bears no seal of ours, whatever was made of it elsewhere."""
    verdict = await check(anyone, sealed[2])
    assert ("not_ours", []) == (verdict["outcome"], verdict["stamps"])


async def test_a_file_signed_by_others_is_not_ours(anyone: httpx.AsyncClient) -> None:
    """A sound signature of somebody else's key is no stamp, even when its certificate bears our name."""
    verdict = await check(anyone, await signed_by_others(letter()))
    assert "not_ours" == verdict["outcome"]
    assert not any(proof["intact"] for proof in verdict["stamps"])


async def signed_by_others(file: bytes) -> bytes:
    """The file signed through pyHanko with a fresh key and a certificate that it signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "emeterai")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(utc_now() - timedelta(days=1))
        .not_valid_after(utc_now() + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain)
    signer = signers.SimpleSigner(
        asn1_x509.Certificate.load(made.public_bytes(serialization.Encoding.DER)),
        asn1_keys.PrivateKeyInfo.load(private),
        SimpleCertificateStore(),  # type: ignore[no-untyped-call]
    )
    meta = signers.PdfSignatureMetadata(field_name="Other")
    out = await signers.async_sign_pdf(IncrementalPdfFileWriter(io.BytesIO(file)), meta, signer=signer)
    return bytes(out.getvalue())


async def test_a_true_file_that_others_signed_later_keeps_its_seal(anyone: httpx.AsyncClient, sealed: Sealed) -> None:
    """The seal does not cover what came later, and the answer says so; it never says that the seal is broken."""
    verdict = await check(anyone, await signed_by_others(sealed[1]))
    (proof,) = [proof for proof in verdict["stamps"] if proof["serial"] == sealed[0]["serial"]]
    assert (True, False) == (proof["intact"], proof["covers_whole_file"])


async def test_a_voided_serial_says_so(service: RunningService, anyone: httpx.AsyncClient) -> None:
    """A stamp whose sealing failed gave its unit back with the reason, and its serial is on no document for ever."""
    person = await Person.sign_up(service, quota=1)
    file = letter()
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(file))}
    headers["Content-Type"] = "application/offset+octet-stream"
    sent = await person.api.post("/v1/uploads", headers=headers, content=file)
    document_id = sent.headers["location"].rsplit("/", 1)[-1]
    await person.api.get(f"/v1/documents/{document_id}", headers={"Prefer": "wait=15"})
    (kept,) = (path for path in service.data_path.glob(f"blobs/**/*{document_id}*") if path.is_file())
    sealer = service.pids()["sealer-1"]
    os.kill(sealer, signal.SIGSTOP)
    try:
        asked = await person.api.post("/v1/stamps", json={"document_id": document_id})
        assert (202, "held") == (asked.status_code, asked.json()["state"])
        kept.unlink()
    finally:
        os.kill(sealer, signal.SIGCONT)
    stamp = await person.ended(asked.json()["id"])
    assert ("given_back", "sealing_failed") == (stamp["state"], stamp["reason"])
    assert stamp["refusal"]["id"]
    assert stamp["refusal"]["en"]
    assert {"bought": 1, "available": 1, "held": 0, "used": 0, "refunded": 0} == await person.quota()
    history = (await person.api.get("/v1/quota/history")).json()["items"]
    assert ("release", "sealing_failed", 1) == (history[0]["kind"], history[0]["reason"], history[0]["change"])
    fetched = await person.api.get(f"/v1/stamps/{stamp['id']}/file")
    assert (409, "stamp_not_sealed") == (fetched.status_code, fetched.json()["code"])
    facts = (await anyone.get(f"/v1/verify/{stamp['serial']}")).raise_for_status().json()
    assert ("voided", None, None) == (facts["state"], facts["sealed_at"], facts["original_sha256"])
    await person.close()


async def test_a_typing_mistake_is_told_from_an_unknown_serial(anyone: httpx.AsyncClient, sealed: Sealed) -> None:
    """One wrong character is a mistake; a well-formed serial that nobody was given is unknown."""
    serial = sealed[0]["serial"]
    for typed in (
        serial[:-1] + ("0" if serial[-1] != "0" else "1"),
        serial[:-1],
        serial + "0",
        "x",
        "%00",
        "' OR 1=1 --",
        "é" * 22,
        "A" * 3000,
    ):
        answer = await anyone.get(f"/v1/verify/{typed}")
        assert (422, "serial_mistyped") == (answer.status_code, answer.json()["code"]), typed
    unknown = await anyone.get("/v1/verify/0000000000000000000001")
    assert unknown.status_code in {404, 422}
    assert unknown.json()["code"] in {"serial_unknown", "serial_mistyped"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 1000,
        b"%PDF-1.7\n%%EOF",
        b"%PDF-1.7\n" + b"1 0 obj\n<<" * 20_000,
        b"%PDF-1.4\nstartxref\n99999999999999999999\n%%EOF",
        b"%PDF-1.4\n1 0 obj<</Length 99999999999>>stream\n",
        secrets.token_bytes(100_000),
    ],
)
async def test_hostile_bytes_get_a_verdict_or_a_refusal(anyone: httpx.AsyncClient, content: bytes) -> None:
    """Never a crash, never genuine."""
    answer = await anyone.post("/v1/verify", content=content, headers={"Content-Type": "application/pdf"})
    if answer.is_success:
        assert answer.json()["outcome"] in {"not_ours", "changed"}
    else:
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.json()["id"]


async def test_no_answer_says_whose_document_it_is(
    service: RunningService, anyone: httpx.AsyncClient, buyer: Person, sealed: Sealed
) -> None:
    """No name, no contact, no account, no file name: neither in the API's answers nor on the QR code's page."""
    stamp, file, _ = sealed
    me = (await buyer.api.get("/v1/accounts/me")).json()
    told = [
        json.dumps(await check(anyone, file)),
        (await anyone.get(f"/v1/verify/{stamp['serial']}")).text,
        (await anyone.get(f"/v/{stamp['serial']}")).text,
    ]
    for secret in (buyer.contact, me["id"], me["name"], "rahasia-siti", stamp["id"], stamp["document_id"]):
        assert not any(secret in text for text in told), secret
        assert secret.encode() not in file
