"""Verifying the public lines of a service: page by page back to the first, with one page in memory at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from email.utils import parsedate_to_datetime

import httpx
import msgspec

from emeterai.infra.clock import utc_now
from emeterai.status.lines import Proof, SignedLines, joined, verify_lines

_LINES_A_PAGE = 1_000
_PAGE_BYTES_MAX = 4_000_000
_TRIES_MAX = 6
_FIRST_PAUSE_S, _PAUSE_S_MAX = 1.0, 300.0
_BUSY = frozenset({429, 503})
_FAULTS_MAX = _KEYS_MAX = 100
"""Where more is wrong than that, or more keys signed, nothing is read on: what is kept in memory has a bound."""
Pause = Callable[[float], Awaitable[None]]


async def verify_service(
    client: httpx.AsyncClient,
    url: str,
    *,
    key: str | None = None,
    since: datetime | None = None,
    pause: Pause = asyncio.sleep,
) -> Proof:
    """Verify the lines of the service at `url`, newest first, back to the first or to a page that reaches `since`.

    It is a fault when they end before the first. Raises httpx.HTTPError or msgspec.DecodeError when a page is none.
    """
    proof, before = verify_lines([]), None
    while True:
        address = f"{url.rstrip('/')}/v1/invariants"
        page = await read_page(client, address, pause=pause, limit=_LINES_A_PAGE, before=before)
        proof = joined(verify_lines(page.lines, key=key), proof)
        if _is_enough(proof, since):
            return proof
        if not page.lines or page.before is None or (before is not None and page.before >= before):
            return _ended(proof)
        before = page.before


async def read_page(
    client: httpx.AsyncClient, url: str, *, pause: Pause = asyncio.sleep, **asked: int | None
) -> SignedLines:
    """The lines of one answer. Raises httpx.HTTPError or msgspec.DecodeError when it is none.

    A service in a rush (429, 503) is asked again when it says, five times, unless that is too long to wait for.
    """
    asked_for = httpx.URL(url).copy_merge_params({name: value for name, value in asked.items() if value is not None})
    for tried in range(_TRIES_MAX):
        async with client.stream("GET", asked_for) as answer:
            pause_s = _pause_s(answer, tried)
            if pause_s is None:
                answer.raise_for_status()
                return msgspec.json.decode(await _content_of(answer), type=SignedLines)
        await pause(pause_s)
    raise AssertionError("the last try answers or raises")


def _pause_s(answer: httpx.Response, tried: int) -> float | None:
    """How long to wait before this is asked again; None when it is not."""
    if answer.status_code not in _BUSY or tried + 1 >= _TRIES_MAX:
        return None
    wait_s = _retry_after_s(answer.headers)
    if wait_s is None:
        wait_s = _FIRST_PAUSE_S * 2.0**tried
    return wait_s if wait_s <= _PAUSE_S_MAX else None


def _retry_after_s(headers: httpx.Headers) -> float | None:
    """What `Retry-After` says (RFC 9110 section 10.2.3), a date by the clock of whoever says it; None when nothing."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    at = _date_of(text)
    return None if at is None else max(0.0, (at - (_date_of(headers.get("date", "")) or utc_now())).total_seconds())


def _date_of(text: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


async def _content_of(answer: httpx.Response) -> bytes:
    content = bytearray()
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > _PAGE_BYTES_MAX:
            raise httpx.HTTPError(f"an answer of more than {_PAGE_BYTES_MAX} bytes")
    return bytes(content)


def _is_enough(proof: Proof, since: datetime | None) -> bool:
    if len(proof.faults) > _FAULTS_MAX or len(proof.keys) > _KEYS_MAX:
        return True
    return since is not None and proof.since is not None and proof.since <= since


def _ended(proof: Proof) -> Proof:
    """What was verified, when the service has nothing earlier."""
    if not proof.lines or proof.first == 1:
        return proof
    return msgspec.structs.replace(proof, faults=[f"the lines begin with number {proof.first}", *proof.faults])
