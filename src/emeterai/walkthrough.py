"""The whole line as a person's program would walk it, over HTTP: `make run` uses it, and so may anyone who is curious.

Sign up, buy, pay at the sandbox, upload in resumable pieces, stamp, download, verify. Nothing here knows the inside.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from emeterai.infra.tls import trusted

_PIECE_BYTES = 512 * 1024
_PATIENCE_S = 60.0
_TUS = {"Tus-Resumable": "1.0.0"}


class WalkthroughError(Exception):
    """A step failed; `id` and `en` say which one and what the service said about it."""

    def __init__(self, *, step: str, detail: str, detail_id: str | None = None) -> None:
        super().__init__(step)
        self.id = f"Langkah {step} gagal: {detail_id or detail}"
        self.en = f"The step {step} failed: {detail}"


@dataclass(frozen=True, slots=True)
class Walked:
    """What came of it."""

    serial: str
    sealed: Path
    outcome: str
    verify_url: str


async def walk(
    base_url: str, file: Path, folder: Path, *, pay: Callable[[str], Any], say: Callable[[str], None]
) -> Walked:
    """Walk the line with one PDF; the sealed file is written into `folder`.

    `pay` is awaited with the order's pay address and plays the person at the bank. Raises WalkthroughError with the
    service's own words.
    """
    async with httpx.AsyncClient(base_url=base_url, timeout=_PATIENCE_S, trust_env=False, verify=trusted()) as client:
        await _sign_up(client)
        say("signed up, signed in")
        quota = await _buy(client, pay)
        say(f"bought and paid (sandbox): {quota['available']} stamp available")
        document_id, size_bytes = await _upload(client, file)
        say(f"uploaded {file.name}, {size_bytes:,} bytes, and inspected")
        stamp = await _stamp(client, document_id)
        say(f"sealed as {stamp['serial']} on page {stamp['page']}, level {stamp['level']}")
        content = await _download(client, stamp)
        sealed = folder / f"{file.stem}-bermeterai.pdf"
        await asyncio.to_thread(_write, sealed, content)
        verdict = await _call(client, "verify", "POST", "/v1/verify", files={"file": content})
        say(f"downloaded and verified: {verdict['outcome']}")
    return Walked(stamp["serial"], sealed, str(verdict["outcome"]), stamp["verify_url"])


async def _call(client: httpx.AsyncClient, step: str, method: str, url: str, **options: Any) -> dict[str, Any]:
    try:
        answer = await client.request(method, url, **options)
    except httpx.HTTPError as error:
        raise WalkthroughError(step=step, detail=type(error).__name__) from error
    if not answer.is_success:
        raise WalkthroughError(step=step, detail=f"{answer.status_code} {answer.text[:500]}")
    found: dict[str, Any] = answer.json() if answer.content else {}
    return found | {"headers": answer.headers}


async def _sign_up(client: httpx.AsyncClient) -> None:
    contact, password = f"warga-{secrets.token_hex(4)}@contoh.id", secrets.token_urlsafe(18)
    account = {"name": "Warga Contoh", "email": contact, "password": password}
    await _call(client, "sign up", "POST", "/v1/accounts", json=account)
    session = await _call(client, "sign in", "POST", "/v1/sessions", json={"contact": contact, "password": password})
    client.headers["Authorization"] = f"Bearer {session['token']}"


async def _buy(client: httpx.AsyncClient, pay: Callable[[str], Any]) -> dict[str, Any]:
    headers = {"Idempotency-Key": secrets.token_hex(16)}
    order = await _call(client, "order", "POST", "/v1/orders", json={"quantity": 1}, headers=headers)
    await pay(order["pay_url"])
    return await _until(
        client, "quota", "/v1/quota", lambda quota: quota["available"] > 0, "the paid order did not become quota"
    )


async def _upload(client: httpx.AsyncClient, file: Path) -> tuple[str, int]:
    """Send the file by tus 1.0, in pieces, as a phone on a weak line would."""
    content = await asyncio.to_thread(file.read_bytes)
    size = len(content)
    name = base64.b64encode(file.name.encode()).decode()
    headers = {**_TUS, "Upload-Length": str(size), "Upload-Metadata": f"filename {name}"}
    begun = await _call(client, "upload", "POST", "/v1/uploads", headers=headers)
    location = urlsplit(begun["headers"]["location"]).path
    for offset in range(0, size, _PIECE_BYTES):
        headers = {**_TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        piece = content[offset : offset + _PIECE_BYTES]
        await _call(client, "upload", "PATCH", location, headers=headers, content=piece)
    document_id = location.rsplit("/", 1)[-1]
    url = f"/v1/documents/{document_id}"
    document = await _until(client, "inspection", url, lambda it: it["state"] != "received", "it was not inspected")
    if document["state"] != "ready":
        raise WalkthroughError(step="inspection", detail=document["refusal"]["en"], detail_id=document["refusal"]["id"])
    return document_id, size


async def _stamp(client: httpx.AsyncClient, document_id: str) -> dict[str, Any]:
    headers = {"Idempotency-Key": secrets.token_hex(16), "Prefer": "wait=20"}
    asked = {"document_id": document_id, "place": "auto"}
    stamp = await _call(client, "stamp", "POST", "/v1/stamps", json=asked, headers=headers)
    url = f"/v1/stamps/{stamp['id']}"
    stamp = await _until(client, "stamp", url, lambda it: it["state"] != "held", "the stamp did not end")
    if stamp["state"] != "sealed":
        raise WalkthroughError(step="stamp", detail=stamp["refusal"]["en"], detail_id=stamp["refusal"]["id"])
    return stamp


async def _download(client: httpx.AsyncClient, stamp: dict[str, Any]) -> bytes:
    answer = await client.get(urlsplit(stamp["file_url"]).path)
    if not answer.is_success:
        raise WalkthroughError(step="download", detail=f"{answer.status_code} {answer.text[:500]}")
    return answer.content


def _write(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)


async def _until(
    client: httpx.AsyncClient, step: str, url: str, done: Callable[[dict[str, Any]], bool], complaint: str
) -> dict[str, Any]:
    """Ask, patiently but not for ever, until the answer is `done`."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while True:
                found = await _call(client, step, "GET", url, headers={"Prefer": "wait=5"})
                if done(found):
                    return found
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise WalkthroughError(step=step, detail=complaint) from error
