"""Whatever is sent to the public addresses, the answer is a polite refusal, and never a crash."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from verify_desk import SIZE_BYTES_MAX, Desk, files_in, letter

from emeterai.core.refusal import Refused
from emeterai.ledger.serials import SerialRegister
from emeterai.seal.reader import TAIL_SIZE_BYTES_MAX, FileReader
from emeterai.seal.service import Signer
from emeterai.verify import service
from emeterai.verify.intake import DISCARDED_BYTES_MAX
from emeterai.verify.service import FILES_AT_ONCE_MAX, Verification

PDF = {"content-type": "application/pdf"}
BOUND = SIZE_BYTES_MAX + TAIL_SIZE_BYTES_MAX
_noise = random.Random(20_261_121)
HOSTILE = {
    "empty": (422, "pdf_empty", b""),
    "one byte": (422, "pdf_not_pdf", b"%"),
    "noise": (422, "pdf_not_pdf", _noise.randbytes(50_000)),
    "a web page": (422, "pdf_not_pdf", b"<!doctype html><html><title>Meterai</title></html>"),
    "one byte too many": (413, "pdf_too_large", b"%PDF-1.7\n".ljust(BOUND + 1)),
    "far too large": (413, "pdf_too_large", b"%PDF-1.7\n".ljust(2 * BOUND)),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_bad_file_is_refused_by_name(client: httpx.AsyncClient, name: str) -> None:
    """As a body, in a form, and on the page, which shows its form again with the reason at the field."""
    status, code, content = HOSTILE[name]
    for answer in (
        await client.post("/v1/verify", content=content, headers=PDF),
        await client.post("/v1/verify", files={"file": ("surat.pdf", content)}),
    ):
        assert (status, code) == (answer.status_code, answer.json()["code"])
    page = await _submit(client, {"file": ("surat.pdf", content)})
    assert status == page.status_code
    assert 'href="#file"' in page.text


@pytest.mark.parametrize("seed", range(12))
async def test_noise_that_calls_itself_a_pdf_has_a_verdict(client: httpx.AsyncClient, desk: Desk, seed: int) -> None:
    """A header and then anything, or a sealed file with noise in it: an outcome, and never `genuine`."""
    noise = random.Random(seed)
    sealed = bytearray((await desk.stamp(letter())).content)
    for _ in range(seed + 1):
        place = noise.randrange(len(sealed))
        sealed[place] ^= 1 + noise.randrange(255)
    for content in (b"%PDF-1.4\n" + noise.randbytes(5_000), bytes(sealed)):
        answer = await client.post("/v1/verify", content=content, headers=PDF)
        assert answer.status_code in {200, 422}
        assert answer.json().get("outcome") != "genuine"


async def test_the_largest_sealed_file_passes(client: httpx.AsyncClient) -> None:
    """The bound is that of a document plus a seal, not that of the application's other requests."""
    content = letter() + b"%".ljust(BOUND - len(letter()))
    assert 200 == (await client.post("/v1/verify", content=content, headers=PDF)).status_code
    assert 200 == (await client.post("/v1/verify", files={"file": ("surat.pdf", content)})).status_code


async def test_a_body_without_a_length_is_bounded_too(client: httpx.AsyncClient, temporary_folder: Path) -> None:
    """Reading stops soon after the bound, and nothing beyond the bound is kept."""
    sent, kept_size_bytes = 0, 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent, kept_size_bytes
        while True:
            sent += 1
            yield b"x" * 65_536
            kept_size_bytes = max(kept_size_bytes, sum(path.stat().st_size for path in files_in(temporary_folder)))

    answer = await asyncio.wait_for(client.post("/v1/verify", content=endless(), headers=PDF), 20)
    assert (413, "pdf_too_large") == (answer.status_code, answer.json()["code"])
    assert sent <= (BOUND + DISCARDED_BYTES_MAX) // 65_536 + 3
    assert 0 < kept_size_bytes <= BOUND + 65_536


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "application/x-www-form-urlencoded", "", "\x7f/%"])
async def test_another_content_type_is_named(client: httpx.AsyncClient, kind: str) -> None:
    """The refusal says what to send."""
    answer = await client.post("/v1/verify", content=b"{}", headers={"content-type": kind})
    assert (415, "media_type_unknown") == (answer.status_code, answer.json()["code"])


FORMS = [
    b"",
    b"--x--\r\n",
    b"\xff\xfe",
    b"--x\r\n\r\n\r\n--x--\r\n",
    b'--x\r\ncontent-disposition: form-data; name="file"\r\n\r\ntext\r\n--x--\r\n',
    b'--x\r\ncontent-disposition: form-data; name="csrf"\r\n\r\n\xff\xfe\r\n--x--\r\n',
    b'--x\r\ncontent-disposition: form-data; name="a"\r\ncontent-type: a/b; charset=klingon\r\n\r\nb\r\n--x--\r\n',
    b'--x\r\ncontent-disposition: form-data; name="file"; filename="a.pdf"\r\n\r\n%PDF-',
    b'--x\r\ncontent-disposition: form-data; name="file"; filename=""\r\n\r\n\r\n--x--\r\n',
]


@pytest.mark.parametrize("body", FORMS)
@pytest.mark.parametrize("boundary", ["; boundary=x", "", "; boundary=", "; boundary=%00"])
async def test_a_malformed_form_is_refused(client: httpx.AsyncClient, body: bytes, boundary: str) -> None:
    """Whatever bytes come as a form, for programs and for people."""
    for address in ("/v1/verify", "/verifikasi/berkas"):
        answer = await client.post(address, content=body, headers={"content-type": f"multipart/form-data{boundary}"})
        assert 400 <= answer.status_code < 500


async def test_a_line_that_breaks_is_no_bug(app: Litestar, temporary_folder: Path) -> None:
    """The sender goes away in the middle: a refusal that nobody reads, and nothing is left behind."""
    events = [
        {"type": "http.request", "body": b"%PDF-1.7", "more_body": True},
        {"type": "http.disconnect"},
    ]
    answers: list[Any] = []

    async def receive() -> Any:
        return events.pop(0)

    async def send(message: Any) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/verify",
        "raw_path": b"/v1/verify",
        "query_string": b"",
        "headers": [(b"content-type", b"application/pdf")],
        "server": ("x", 80),
        "client": ("203.0.113.7", 1),
        "scheme": "http",
        "http_version": "1.1",
        "root_path": "",
        "asgi": {"version": "3.0"},
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    assert 400 == answers[0]["status"]
    assert [] == files_in(temporary_folder)


async def test_too_many_files_at_once_are_told_to_come_back(verification: Verification) -> None:
    """Those on their way in are bounded; who comes on top hears it at once, and a place becomes free again."""
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        await go_on.wait()
        yield letter()

    uploads = [asyncio.create_task(verification.check_file(slow())) for _ in range(FILES_AT_ONCE_MAX)]
    await asyncio.sleep(0)
    assert "service_busy" == await _refusal(verification.check_file(slow()))
    for upload in uploads[1:]:
        upload.cancel()
    await asyncio.gather(*uploads[1:], return_exceptions=True)
    go_on.set()
    assert "not_ours" == (await uploads[0]).outcome
    assert "not_ours" == (await verification.check_file(slow())).outcome


async def test_a_file_that_never_arrives_is_given_up(
    verification: Verification, monkeypatch: pytest.MonkeyPatch, temporary_folder: Path
) -> None:
    """A sender that stalls does not hold its place for ever."""
    monkeypatch.setattr(service, "ARRIVAL_S_MAX", 0.05)

    async def stalled() -> AsyncIterator[bytes]:
        yield b"%PDF-"
        await asyncio.Event().wait()

    assert "file_too_slow" == await _refusal(verification.check_file(stalled()))
    assert [] == files_in(temporary_folder)


async def test_checks_leave_the_reader_to_others(
    signer: Signer, serials: SerialRegister, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the openers stuck, at most two checks wait for them; the others hear soon that it is busy."""
    monkeypatch.setattr(service, "_OPENING_WAIT_S", 0.1)
    reader = await FileReader.open(signer.roots, size_bytes_max=SIZE_BYTES_MAX, timeout_s=1.5)
    verification = Verification(reader, serials)

    async def file() -> AsyncIterator[bytes]:
        yield letter()

    for pid in reader.opener_pids:
        os.kill(pid, signal.SIGSTOP)
    codes = await asyncio.gather(*(_refusal(verification.check_file(file())) for _ in range(6)))
    assert 4 <= codes.count("service_busy")
    assert set(codes) <= {"service_busy", "pdf_too_complex"}
    await reader.close()


async def test_what_a_killed_process_left_is_deleted(
    reader: FileReader, serials: SerialRegister, temporary_folder: Path
) -> None:
    """At the next start old files of ours go; those that may be in use, and other people's, stay."""
    old, fresh, other = (temporary_folder / name for name in ("emeterai-verify-a", "emeterai-verify-b", "other"))
    for path in (old, fresh, other):
        path.write_bytes(b"%PDF-")
    for path in (old, other):
        os.utime(path, times=(time.time() - 7200,) * 2)
    Verification(reader, serials)
    assert [fresh, other] == files_in(temporary_folder)


async def _refusal(check: Any) -> str:
    with pytest.raises(Refused) as caught:
        await check
    return caught.value.code


async def _submit(client: httpx.AsyncClient, files: dict[str, tuple[str, bytes]]) -> httpx.Response:
    page = await client.get("/verifikasi")
    token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
    return await client.post("/verifikasi/berkas", data={"csrf": token}, files=files)
