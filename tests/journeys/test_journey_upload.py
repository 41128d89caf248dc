"""Uploads in pieces over HTTP, with a tus client that is not ours, and with lines that break (tus 1.0.0)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import secrets
from email.utils import parsedate_to_datetime

import httpx
import pytest
from tusclient import client as tus

from emeterai.infra.clock import utc_now
from papers import letter
from running import Person, RunningService

BODY = "application/offset+octet-stream"
VERSION = {"Tus-Resumable": "1.0.0"}


async def begin(person: Person, size_bytes: int, **headers: str) -> httpx.Response:
    """Begin an upload; answers whatever came back."""
    return await person.api.post("/v1/uploads", headers={**VERSION, "Upload-Length": str(size_bytes), **headers})


async def begun(person: Person, size_bytes: int) -> str:
    """The address of a new upload."""
    answer = await begin(person, size_bytes)
    assert 201 == answer.status_code, answer.text
    return str(answer.headers["location"])


async def send(person: Person, address: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
    """Send bytes at an offset."""
    sent = {**VERSION, "Upload-Offset": str(offset), "Content-Type": BODY, **headers}
    return await person.api.patch(address, content=data, headers=sent)


async def arrived(person: Person, address: str) -> int:
    """How many bytes the service has."""
    answer = await person.api.head(address, headers=VERSION)
    assert 200 == answer.status_code
    return int(answer.headers["upload-offset"])


async def document_of(person: Person, address: str, *, wait_s: int = 15) -> dict[str, object]:
    """The document that an upload became, once it is inspected."""
    path = address.replace("/v1/uploads/", "/v1/documents/")
    answer = await person.api.get(path, headers={"Prefer": f"wait={wait_s}"})
    found: dict[str, object] = answer.raise_for_status().json()
    return found


def refusal(answer: httpx.Response) -> tuple[int, str]:
    """Status and code of a refusal, which has its sentence in both languages."""
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem["id"]
    assert problem["en"]
    return answer.status_code, problem["code"]


def checksum(name: str, data: bytes) -> dict[str, str]:
    """The header that lets the service check a piece."""
    return {"Upload-Checksum": f"{name} {base64.b64encode(hashlib.new(name, data).digest()).decode()}"}


async def test_a_tus_client_uploads_in_pieces_and_the_document_is_ready(
    person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tuspy creates, sends pieces with checksums, and what arrived is what was sent, under its own name."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = letter(size_bytes=250_000)
    headers = {"Authorization": person.api.headers["Authorization"]}

    def upload() -> str:
        uploader = tus.TusClient(f"{person.service.base_url}/v1/uploads", headers=headers).uploader(
            file_stream=io.BytesIO(file),
            chunk_size=100_000,
            metadata={"filename": "Surat Pernyataan – Siti.pdf"},
            upload_checksum=True,
        )
        uploader.upload()
        return str(uploader.url)

    url = await asyncio.to_thread(upload)
    document = await document_of(person, url.removeprefix(person.service.base_url))
    assert ("ready", "Surat Pernyataan – Siti.pdf", len(file), hashlib.sha256(file).hexdigest()) == (
        document["state"],
        document["name"],
        document["received_bytes"],
        document["sha256"],
    )


async def test_a_tus_client_goes_on_where_it_stopped(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second client that knows only the address asks how far the first came, and sends the rest."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    file = letter(size_bytes=150_000)
    headers = {"Authorization": person.api.headers["Authorization"]}
    client = tus.TusClient(f"{person.service.base_url}/v1/uploads", headers=headers)

    def upload() -> tuple[int, str]:
        first = client.uploader(file_stream=io.BytesIO(file), chunk_size=60_000)
        first.upload(stop_at=60_000)
        second = client.uploader(file_stream=io.BytesIO(file), chunk_size=60_000, url=first.url)
        went_on_at = second.offset
        second.upload()
        return went_on_at, str(first.url)

    went_on_at, url = await asyncio.to_thread(upload)
    document = await document_of(person, url.removeprefix(person.service.base_url))
    assert (60_000, hashlib.sha256(file).hexdigest()) == (went_on_at, document["sha256"])


async def test_a_line_that_breaks_in_the_middle_keeps_what_arrived(service: RunningService, person: Person) -> None:
    """The socket is cut after most of the bytes; HEAD says what is safe, and the rest completes the document."""
    file = letter(size_bytes=1_500_000)
    address, cut = await begun(person, len(file)), 1_300_000
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    lines = [
        f"PATCH {address} HTTP/1.1",
        "Host: localhost",
        f"Authorization: {person.api.headers['Authorization']}",
        "Tus-Resumable: 1.0.0",
        "Upload-Offset: 0",
        f"Content-Type: {BODY}",
        f"Content-Length: {len(file)}",
    ]
    writer.write("\r\n".join([*lines, "", ""]).encode() + file[:cut])
    await writer.drain()
    writer.close()
    async with asyncio.timeout(20):
        while (reached := await arrived(person, address)) <= 1_048_576:
            await asyncio.sleep(0.05)
    assert cut >= reached
    assert "receiving" == (await document_of(person, address, wait_s=0))["state"]
    assert 204 == (await send(person, address, reached, file[reached:])).status_code
    assert hashlib.sha256(file).hexdigest() == (await document_of(person, address))["sha256"]


@pytest.mark.parametrize("name", ["sha1", "sha256", "sha512"])
async def test_a_right_checksum_is_kept(person: Person, name: str) -> None:
    """Each digest that OPTIONS names is one that PATCH checks."""
    data = secrets.token_bytes(1000)
    address = await begun(person, 2000)
    assert 204 == (await send(person, address, 0, data, **checksum(name, data))).status_code
    assert 1000 == await arrived(person, address)


async def test_a_wrong_checksum_keeps_nothing(person: Person) -> None:
    """460, the offset stays, and the same piece sent whole is taken."""
    data = secrets.token_bytes(1_200_000)
    address = await begun(person, 1_300_000)
    wrong = await send(person, address, 0, data[:-1] + b"?", **checksum("sha256", data))
    assert (460, "upload_checksum_wrong") == refusal(wrong)
    assert 0 == await arrived(person, address)
    assert 204 == (await send(person, address, 0, data, **checksum("sha256", data))).status_code


@pytest.mark.parametrize("header", ["md5 AAAA", "sha256", "sha256 ???", "sha256 AAAA=="])
async def test_a_checksum_that_cannot_be_checked_is_refused(person: Person, header: str) -> None:
    """An unknown digest or one that is not base64: nothing is kept."""
    address = await begun(person, 10)
    answer = await send(person, address, 0, b"0123456789", **{"Upload-Checksum": header})
    assert answer.status_code in {400, 460}
    assert 0 == await arrived(person, address)


async def test_an_upload_says_until_when_it_is_kept(person: Person) -> None:
    """`Upload-Expires` lies ahead, at creation, on looking and after each piece (tus, expiration extension)."""
    created = await begin(person, 10)
    address = created.headers["location"]
    looked, sent = await person.api.head(address, headers=VERSION), await send(person, address, 0, b"12345")
    for answer in (created, looked, sent):
        assert utc_now() < parsedate_to_datetime(answer.headers["upload-expires"])
        assert "1.0.0" == answer.headers["tus-resumable"]
    assert "10" == looked.headers["upload-length"]
    assert "no-store" == looked.headers["cache-control"]


async def test_an_ended_upload_is_gone(person: Person) -> None:
    """DELETE forgets it: looking, sending and ending it once more find nothing (tus, termination extension)."""
    address = await begun(person, 10)
    await send(person, address, 0, b"12345")
    assert 204 == (await person.api.delete(address, headers=VERSION)).status_code
    assert (await person.api.head(address, headers=VERSION)).status_code in {404, 410}
    assert (await send(person, address, 5, b"67890")).status_code in {404, 410}
    assert (await person.api.delete(address, headers=VERSION)).status_code in {404, 410}


async def test_a_finished_upload_cannot_be_ended(person: Person) -> None:
    """It is a document now, and the answer does not pretend otherwise."""
    file = letter()
    address = await begun(person, len(file))
    await send(person, address, 0, file)
    assert (410, "upload_ended") == refusal(await person.api.delete(address, headers=VERSION))
    assert "ready" == (await document_of(person, address))["state"]
    assert len(file) == await arrived(person, address)


async def test_bytes_may_come_with_the_creation(person: Person) -> None:
    """Whole or in part (tus, creation-with-upload extension)."""
    file = letter()
    headers = {**VERSION, "Upload-Length": str(len(file)), "Content-Type": BODY}
    whole = await person.api.post("/v1/uploads", headers=headers, content=file)
    assert (201, str(len(file))) == (whole.status_code, whole.headers["upload-offset"])
    assert "ready" == (await document_of(person, whole.headers["location"]))["state"]
    part = await person.api.post("/v1/uploads", headers=headers, content=file[:100])
    assert (201, "100") == (part.status_code, part.headers["upload-offset"])
    assert 204 == (await send(person, part.headers["location"], 100, file[100:])).status_code


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        ("0", (422, "document_empty")),
        ("25000001", (413, "document_too_large")),
        ("999999999999999999", (413, "document_too_large")),
        ("9" * 40, (400, "request_malformed")),
        ("-1", (400, "request_malformed")),
        ("1.5", (400, "request_malformed")),
        ("²", (400, "request_malformed")),
        ("", (400, "request_malformed")),
        (None, (400, "request_malformed")),
    ],
)
async def test_a_length_that_cannot_be_accepted_is_refused_before_a_byte(
    person: Person, length: str | None, expected: tuple[int, str]
) -> None:
    """Empty, over the bound, no number, or not said."""
    said = [] if length is None else [(b"Upload-Length", length.encode())]
    answer = await person.api.post("/v1/uploads", headers=[(b"Tus-Resumable", b"1.0.0"), *said])
    assert expected == refusal(answer)


@pytest.mark.parametrize("metadata", ["filename !!!", "filename gA==", "filename"])
async def test_metadata_is_base64_or_refused(person: Person, metadata: str) -> None:
    """Bytes that are no text are refused; a name without a value is empty, and the document gets a plain name."""
    answer = await begin(person, 10, **{"Upload-Metadata": metadata})
    assert (201 if metadata == "filename" else 400) == answer.status_code


async def test_another_version_of_the_protocol_is_refused(person: Person) -> None:
    """412, and the answer names the version that is spoken."""
    address = await begun(person, 10)
    for headers in ({}, {"Tus-Resumable": "0.2.2"}):
        answers = [
            await person.api.post("/v1/uploads", headers={"Upload-Length": "10", **headers}),
            await person.api.patch(address, headers={"Upload-Offset": "0", "Content-Type": BODY, **headers}),
            await person.api.delete(address, headers=headers),
        ]
        assert [(412, "tus_version_unknown")] * 3 == [refusal(answer) for answer in answers]
        assert {"1.0.0"} == {answer.headers.get("tus-version") for answer in answers}
        assert 412 == (await person.api.head(address, headers=headers)).status_code


async def test_a_wrong_offset_is_refused_with_the_right_one(person: Person) -> None:
    """409 names where to go on; nothing is kept."""
    address = await begun(person, 10)
    await send(person, address, 0, b"1234")
    for offset in (0, 3, 5, 10, 999_999):
        answer = await send(person, address, offset, b"5")
        assert (409, "upload_offset_wrong") == refusal(answer)
        assert 4 == answer.json()["offset"]
    assert 4 == await arrived(person, address)


@pytest.mark.parametrize("offset", ["", "-1", "x", "1e3", "9" * 19])
async def test_an_offset_that_is_no_number_is_refused(person: Person, offset: str) -> None:
    """400, and the upload stays as it is."""
    address = await begun(person, 10)
    answer = await send(person, address, 0, b"1", **{"Upload-Offset": offset})
    assert (400, "request_malformed") == refusal(answer)


async def test_a_body_of_another_kind_is_refused(person: Person) -> None:
    """A piece is `application/offset+octet-stream`, whatever else it says it is (tus, PATCH)."""
    address = await begun(person, 10)
    answer = await send(person, address, 0, b"1", **{"Content-Type": "application/pdf"})
    assert (415, "media_type_unknown") == refusal(answer)


async def test_more_bytes_than_declared_are_refused(person: Person) -> None:
    """What was declared is what fits; the upload can still be completed with that."""
    file = letter()
    address = await begun(person, len(file))
    assert (413, "upload_too_long") == refusal(await send(person, address, 0, file + b"!"))
    assert 0 == await arrived(person, address)
    assert 204 == (await send(person, address, 0, file)).status_code
    assert (410, "upload_ended") == refusal(await send(person, address, len(file), b"!"))


async def test_one_byte_short_is_still_arriving_and_cannot_be_stamped(buyer: Person) -> None:
    """No quota moves until the last byte is there; then it can be stamped."""
    file = letter()
    address = await begun(buyer, len(file))
    await send(buyer, address, 0, file[:-1])
    document = await document_of(buyer, address, wait_s=0)
    assert ("receiving", len(file) - 1) == (document["state"], document["received_bytes"])
    before = await buyer.quota()
    early = await buyer.api.post("/v1/stamps", json={"document_id": document["id"]})
    assert (409, "document_not_ready") == refusal(early)
    assert before == await buyer.quota()
    assert 204 == (await send(buyer, address, len(file) - 1, file[-1:])).status_code
    stamped = await buyer.api.post("/v1/stamps", json={"document_id": document["id"]}, headers={"Prefer": "wait=20"})
    assert (201, "sealed") == (stamped.status_code, stamped.json()["state"])


async def test_of_two_senders_at_the_same_offset_one_wins(person: Person) -> None:
    """Both send the whole rest at once: one is taken, the other is told how far the upload is; no byte is mixed."""
    file = letter(size_bytes=400_000)
    other = b"x" * len(file)
    address = await begun(person, len(file))
    answers = await asyncio.gather(send(person, address, 0, file), send(person, address, 0, other))
    assert 1 == [answer.status_code for answer in answers].count(204)
    assert {204, 409, 410} >= {answer.status_code for answer in answers}
    winner = file if answers[0].status_code == 204 else other
    assert hashlib.sha256(winner).hexdigest() == (await document_of(person, address))["sha256"]


async def test_a_method_may_come_in_a_header(person: Person) -> None:
    """For programs behind proxies that know no PATCH, DELETE or HEAD (tus 1.0.0, X-HTTP-Method-Override)."""
    address = await begun(person, 10)
    headers = {**VERSION, "Upload-Offset": "0", "Content-Type": BODY, "X-HTTP-Method-Override": "PATCH"}
    assert 204 == (await person.api.post(address, content=b"12345", headers=headers)).status_code
    assert 5 == await arrived(person, address)
    ended = await person.api.post(address, headers={**VERSION, "X-HTTP-Method-Override": "delete"})
    assert 204 == ended.status_code
    order = await person.api.post("/v1/quota", headers={"X-HTTP-Method-Override": "DELETE"})
    assert (405, "method_not_allowed") == refusal(order)


async def test_somebody_elses_upload_does_not_exist(person: Person, stranger: Person) -> None:
    """404 for looking, sending and ending; the upload is untouched."""
    address = await begun(person, 10)
    assert 404 == (await stranger.api.head(address, headers=VERSION)).status_code
    assert (404, "document_unknown") == refusal(await send(stranger, address, 0, b"0123456789"))
    assert (404, "document_unknown") == refusal(await stranger.api.delete(address, headers=VERSION))
    assert 0 == await arrived(person, address)


async def test_the_protocol_tells_what_it_can(service: RunningService) -> None:
    """OPTIONS needs no sign-in (tus 1.0.0, OPTIONS)."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as anyone:
        answer = await anyone.options("/v1/uploads")
    assert answer.status_code in {200, 204}
    assert "1.0.0" == answer.headers["tus-version"]
    assert {"creation", "creation-with-upload", "checksum", "expiration", "termination"} == set(
        answer.headers["tus-extension"].split(",")
    )
    assert 25_000_000 == int(answer.headers["tus-max-size"])
    assert {"sha1", "sha256", "sha512"} == set(answer.headers["tus-checksum-algorithm"].split(","))


async def test_without_a_sign_in_nothing_can_be_uploaded(service: RunningService) -> None:
    """401 before a byte is read."""
    async with httpx.AsyncClient(base_url=service.base_url, trust_env=False) as anyone:
        answer = await anyone.post("/v1/uploads", headers={**VERSION, "Upload-Length": "10"})
    assert (401, "sign_in_needed") == refusal(answer)
