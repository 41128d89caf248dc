"""Files that open with their password only, over HTTP: sealed when it comes along, and locked as before."""

from __future__ import annotations

import base64
import io
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pikepdf
import pypdfium2
import pytest
from asn1crypto import pem, x509
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from papers import PASSWORD, letter, locked
from programs import need_program
from running import Person, RunningService


@pytest.fixture
async def database(service: RunningService) -> AsyncIterator[asyncpg.Connection]:
    """The service's database."""
    connection = await asyncpg.connect(service.database_url)
    yield connection
    await connection.close()


def escaped(text: str) -> str:
    """As JSON in ASCII writes it."""
    return text.encode("unicode_escape").decode()


async def seen_in_the_clear(database: asyncpg.Connection, secret: str) -> list[str]:
    """The tables of the whole database in which a text is found, as itself, in hexadecimal digits or in base64."""
    plain = secret.encode()
    forms = [secret, escaped(secret), plain.hex(), base64.b64encode(plain).decode().rstrip("=")[:-1]]
    tables = await database.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables"
        " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    return [
        table["name"]
        for table in tables
        for form in forms
        if await database.fetchval(f"SELECT count(*) FROM {table['name']} AS t WHERE strpos(t::text, $1) > 0", form)
    ]


async def password_of(database: asyncpg.Connection, document_id: str) -> bytes | None:
    """What is kept for a document."""
    kept: bytes | None = await database.fetchval(
        "SELECT enciphered FROM stamping.passwords WHERE document_id = $1", document_id
    )
    return kept


async def last_document(person: Person) -> dict[str, Any]:
    """What they sent last."""
    items = (await person.api.get("/v1/documents", params={"limit": 1})).raise_for_status().json()["items"]
    found: dict[str, Any] = items[0]
    return found


async def ask(person: Person, document_id: str, **fields: Any) -> Any:
    """Ask for a stamp on a document that was sent before; answers whatever came back."""
    body = {"document_id": document_id, **fields}
    return await person.api.post("/v1/stamps", json=body, headers={"Prefer": "wait=20"})


def refusal(answer: Any) -> tuple[int, str]:
    """Status and code."""
    return answer.status_code, answer.json()["code"]


async def test_a_locked_file_is_sealed_with_its_password_and_stays_locked(
    buyer: Person, service: RunningService, database: asyncpg.Connection, tmp_path: Path
) -> None:
    """Valid for pyHanko and pdfsig, opened by qpdf and PDFium with the password only; nobody has kept it."""
    original = locked(letter())
    answer = await buyer.stamp(original, password=PASSWORD)
    assert (201, "sealed") == (answer.status_code, answer.json().get("state")), answer.text
    stamp = answer.json()
    file = (await buyer.api.get(f"/v1/stamps/{stamp['id']}/file")).raise_for_status().content
    assert file.startswith(original)
    with pytest.raises(pikepdf.PasswordError):
        pikepdf.open(io.BytesIO(file))
    with pikepdf.open(io.BytesIO(file), password=PASSWORD) as pdf:
        assert pdf.is_encrypted
    with pypdfium2.PdfDocument(file, password=PASSWORD) as document:
        assert 1 == len(document)

    reader = PdfFileReader(io.BytesIO(file))
    reader.decrypt(PASSWORD)
    (signature,) = reader.embedded_signatures
    (root,) = (service.data_path / "keys").rglob("root.pem")
    trusted = x509.Certificate.load(pem.unarmor(root.read_bytes())[2])
    context = ValidationContext(trust_roots=[trusted], allow_fetching=False)
    assert (await async_validate_pdf_signature(signature, context)).bottom_line
    path = tmp_path / "sealed.pdf"
    path.write_bytes(file)
    pdfsig = need_program("pdfsig", "poppler-utils")
    said = subprocess.run([pdfsig, "-upw", PASSWORD, str(path)], capture_output=True, check=False)
    assert b"Signature is Valid." in said.stdout

    verdict = await buyer.api.post("/v1/verify", files={"file": ("a.pdf", file, "application/pdf")})
    assert "genuine" == verdict.raise_for_status().json()["outcome"]
    assert await password_of(database, stamp["document_id"]) is None


async def test_a_password_is_nowhere_in_the_clear(
    buyer: Person, service: RunningService, database: asyncpg.Connection
) -> None:
    """While it is kept: in no table and in no log. The key of the file is not kept either."""
    answer = await buyer.stamp(locked(letter()), password=PASSWORD, box="1,1,3,3")
    assert (422, "box_too_small") == refusal(answer)
    document = await last_document(buyer)
    assert (True, "ready") == (document["locked"], document["state"])
    assert await password_of(database, document["id"])
    assert "" == await database.fetchval(
        "SELECT coalesce(report ->> 'plan', '') FROM stamping.documents WHERE id = $1", document["id"]
    )
    assert {"stamping.documents", "stamping.passwords"} <= set(await seen_in_the_clear(database, document["id"]))
    assert [] == await seen_in_the_clear(database, PASSWORD)
    log = service.log.read_text(errors="replace")
    assert [] == [form for form in (PASSWORD, escaped(PASSWORD)) if form in log]
    assert 201 == (await ask(buyer, document["id"])).status_code
    assert await password_of(database, document["id"]) is None


async def test_without_the_password_or_with_a_wrong_one_nothing_is_owed(
    buyer: Person, database: asyncpg.Connection
) -> None:
    """Each has its own name; the right one for the same document then makes the stamp."""
    file, before = locked(letter()), await buyer.quota()
    assert (422, "pdf_encrypted") == refusal(await buyer.stamp(file))
    assert (422, "pdf_password_wrong") == refusal(await buyer.stamp(file, password="salah"))
    document = await last_document(buyer)
    assert ("refused", "pdf_password_wrong", True) == (
        document["state"],
        document["refusal"]["code"],
        document["locked"],
    )
    assert await password_of(database, document["id"]) is None
    assert (422, "pdf_password_wrong") == refusal(await ask(buyer, document["id"]))
    assert (422, "pdf_password_wrong") == refusal(await ask(buyer, document["id"], password="juga salah"))
    assert before == await buyer.quota()
    answer = await ask(buyer, document["id"], password=PASSWORD)
    assert (201, "sealed") == (answer.status_code, answer.json().get("state")), answer.text
    assert before["available"] - 1 == (await buyer.quota())["available"]


async def test_a_file_that_came_in_pieces_is_asked_for_with_its_password(buyer: Person) -> None:
    """The upload ends, inspection says what is wanted, the request for the stamp brings it; `auto` finds the place."""
    file = locked(letter(text="Jakarta, 21 November 2026. Hormat saya,"))
    body = "application/offset+octet-stream"
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(file)), "Content-Type": body}
    upload = await buyer.api.post("/v1/uploads", headers=headers, content=file)
    document_id = upload.raise_for_status().headers["location"].rsplit("/", 1)[-1]
    assert (422, "pdf_encrypted") == refusal(await ask(buyer, document_id))
    answer = await ask(buyer, document_id, password=PASSWORD)
    assert (201, document_id) == (answer.status_code, answer.json()["document_id"]), answer.text


async def test_a_further_stamp_needs_the_password_again(buyer: Person, database: asyncpg.Connection) -> None:
    """It was forgotten with the first; a wrong one is refused before a unit is held, wherever the mark shall go."""
    first = (await buyer.stamp(locked(letter()), password=PASSWORD)).json()
    document_id, again = first["document_id"], {"additional": True}
    same = await ask(buyer, document_id, password=PASSWORD)
    assert (200, first["id"]) == (same.status_code, same.json()["id"])
    assert await password_of(database, document_id) is None
    before = await buyer.quota()
    assert (422, "pdf_encrypted") == refusal(await ask(buyer, document_id, **again))
    wrong = await ask(buyer, document_id, password="salah", box=[100, 100, 200, 200], cover=True, **again)
    assert (422, "pdf_password_wrong") == refusal(wrong)
    assert (await password_of(database, document_id), before) == (None, await buyer.quota())
    answer = await ask(buyer, document_id, password=PASSWORD, **again)
    assert (201, "sealed") == (answer.status_code, answer.json().get("state")), answer.text


async def test_guessing_ends(buyer: Person, person: Person, database: asyncpg.Connection) -> None:
    """After ten wrong ones the right one has to wait as well, also when the file is sent anew; others may try."""
    file = locked(letter())
    await buyer.stamp(file)
    document = await last_document(buyer)
    codes = {refusal(await ask(buyer, document["id"], password=f"salah {number}")) for number in range(10)}
    assert {(422, "pdf_password_wrong")} == codes
    over = await ask(buyer, document["id"], password=PASSWORD)
    assert (429, "password_tries_over") == refusal(over)
    assert 3000 < int(over.headers["retry-after"]) <= 3600
    assert (429, "password_tries_over") == refusal(await buyer.stamp(file, password=PASSWORD))
    assert (402, "quota_not_enough") == refusal(await person.stamp(file, password=PASSWORD))
    await database.execute("UPDATE stamping.password_tries SET ends_at = now() WHERE digest = sha256($1)", file)
    assert 201 == (await ask(buyer, document["id"], password=PASSWORD)).status_code
    assert 0 == await database.fetchval(
        "SELECT count(*) FROM stamping.password_tries WHERE digest = sha256($1) AND account_id = "
        "(SELECT account_id FROM stamping.documents WHERE id = $2)",
        file,
        document["id"],
    )


async def test_a_password_that_is_not_needed_is_not_kept(buyer: Person, database: asyncpg.Connection) -> None:
    """Files that open for everybody, restricted by their owner or not, are sealed without it."""
    for file in (letter(), locked(letter(), user="")):
        answer = await buyer.stamp(file, password="apa saja")
        assert 201 == answer.status_code, answer.text
        assert False is (await last_document(buyer))["locked"]
        assert await password_of(database, answer.json()["document_id"]) is None


async def test_a_password_is_text_of_some_length(buyer: Person) -> None:
    """Anything else is a mistake of the sender, and its answer does not repeat it."""
    assert (400, "request_malformed") == refusal(await buyer.stamp(letter(), password="x" * 501))
    document_id = (await buyer.stamp(letter())).json()["document_id"]
    for password in (4711_4711, "x" * 501):
        answer = await ask(buyer, document_id, password=password)
        assert (400, "request_malformed") == refusal(answer)
        assert str(password) not in answer.text
