"""Verifying the public lines of a service: page by page back to the first, with one page in memory at a time."""

from __future__ import annotations

from datetime import datetime

import httpx
import msgspec

from emeterai.status.lines import Proof, SignedLines, joined, verify_lines

_LINES_A_PAGE = 1_000
_PAGE_BYTES_MAX = 4_000_000
_FAULTS_MAX = _KEYS_MAX = 100
"""Where more is wrong than that, or more keys signed, nothing is read on: what is kept in memory has a bound."""


async def verify_service(
    client: httpx.AsyncClient, url: str, *, key: str | None = None, since: datetime | None = None
) -> Proof:
    """Verify the lines of the service at `url`, newest first, back to the first or to a page that reaches `since`.

    It is a fault when they end before the first. Raises httpx.HTTPError or msgspec.DecodeError when a page is none.
    """
    proof, before = verify_lines([]), None
    while True:
        page = await read_page(client, f"{url.rstrip('/')}/v1/invariants", limit=_LINES_A_PAGE, before=before)
        proof = joined(verify_lines(page.lines, key=key), proof)
        if _is_enough(proof, since):
            return proof
        if not page.lines or page.before is None or (before is not None and page.before >= before):
            return _ended(proof)
        before = page.before


async def read_page(client: httpx.AsyncClient, url: str, **asked: int | None) -> SignedLines:
    """The lines of one answer. Raises httpx.HTTPError or msgspec.DecodeError when it is none."""
    content = bytearray()
    asked_for = {name: value for name, value in asked.items() if value is not None}
    async with client.stream("GET", httpx.URL(url).copy_merge_params(asked_for)) as answer:
        answer.raise_for_status()
        async for part in answer.aiter_bytes():
            content += part
            if len(content) > _PAGE_BYTES_MAX:
                raise httpx.HTTPError(f"an answer of more than {_PAGE_BYTES_MAX} bytes")
    return msgspec.json.decode(content, type=SignedLines)


def _is_enough(proof: Proof, since: datetime | None) -> bool:
    if len(proof.faults) > _FAULTS_MAX or len(proof.keys) > _KEYS_MAX:
        return True
    return since is not None and proof.since is not None and proof.since <= since


def _ended(proof: Proof) -> Proof:
    """What was verified, when the service has nothing earlier."""
    if not proof.lines or proof.first == 1:
        return proof
    return msgspec.structs.replace(proof, faults=[f"the lines begin with number {proof.first}", *proof.faults])
